"""Every document type keeps the laws of the seam, and any document of it behaves as the one class of text does."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.documents import undo
from syncline.core.documents.document import Document
from syncline.core.documents.document_type import DocumentType
from syncline.core.documents.value_engine import TypedEntry
from syncline.core.errors import ErrorCode, Laborious, OutdatedRevision, SynclineError, TooFarBehind
from syncline.core.types import DOCUMENT_TYPES, document_type, open_document
from syncline.core.values.json_values import exceeds
from tests.oracle.edits import random_content, random_edit
from tests.scale import seeds

randoms = st.integers(0, 2**32).map(Random)
every_type = pytest.mark.parametrize("name", sorted(DOCUMENT_TYPES))


class Case:
    """A type with a content and operations on it; contents are made anew for each use, as they may change in place."""

    def __init__(self, name: str, random: Random) -> None:
        self.name = name
        self.type: DocumentType[Any, Any] = document_type(name)
        self.random = random
        self.start = self.type.show(self.type.parse_content(random_content(name, random)))

    def content(self, *shown: Any) -> Any:
        return self.type.parse_content(copy.deepcopy(shown[0] if shown else self.start))

    def operation(self, shown: Any) -> Any:
        return self.type.parse(random_edit(self.name, self.random, shown))

    def after(self, shown: Any, *operations: Any) -> Any:
        content = self.type.parse_content(copy.deepcopy(shown))
        for operation in operations:
            content = self.type.apply(content, operation)
        return copy.deepcopy(self.type.show(content))


# The laws of a type -------------------------------------------------------------------------------------------------


@every_type
@given(randoms)
def test_laws(name: str, random: Random) -> None:
    case = Case(name, random)
    kind, start = case.type, case.start
    a, b = case.operation(start), case.operation(start)
    with_a, with_b = case.after(start, a), case.after(start, b)
    assert case.after(with_b, kind.transform(a, b, "left")) == case.after(with_a, kind.transform(b, a, "right"))
    assert case.after(with_b, kind.transform(a, b, "right")) == case.after(with_a, kind.transform(b, a, "left"))
    c = case.operation(with_a)
    assert case.after(start, kind.compose(a, c)) == case.after(with_a, c)
    assert case.after(with_a, kind.invert(a, case.content())) == start
    assert case.after(start, kind.diff(case.content(), case.content(with_b))) == with_b
    assert kind.is_identity(kind.diff(case.content(), case.content()))
    assert kind.cost(a, b) >= 0
    assert case.after(start, *kind.split(a, random.randrange(1, 60))) == with_a
    assert kind.split(a) == [a]


@every_type
@given(randoms)
def test_round_trips(name: str, random: Random) -> None:
    case = Case(name, random)
    kind = case.type
    operation = case.operation(case.start)
    again = kind.decode(kind.encode(operation))
    assert kind.describe(again) == kind.describe(operation) and kind.digest(again) == kind.digest(operation)
    wire = msgspec.json.decode(msgspec.json.encode(kind.describe(operation)))
    assert kind.digest(kind.parse(wire)) == kind.digest(operation)
    content = case.content()
    loaded = kind.load(kind.dump(content))
    assert kind.show(loaded) == kind.show(content) and kind.size(loaded) == kind.size(content)
    assert kind.hash(loaded) == kind.hash(content)


@every_type
@given(randoms)
def test_the_size_is_kept_and_bounded(name: str, random: Random) -> None:
    case = Case(name, random)
    kind, content = case.type, case.content()
    before, size = case.start, kind.size(content)
    operation = case.operation(case.start)
    try:
        content, size, told = kind.commit(content, size, operation, size + 4)
    except SynclineError as error:
        assert error.code == ErrorCode.DOCUMENT_TOO_LARGE
        assert kind.show(content) == before
    else:
        assert size == kind.size(content)
        assert kind.show(content) == case.after(before, told) == case.after(before, operation)


@every_type
def test_what_is_no_operation_and_no_content_is_refused(name: str) -> None:
    kind = document_type(name)
    for value in (None, 5, 1.5, "text", True, b"bytes", [None], [[[]]], [{"p": 1}], {"ops": 5}, [float("nan")]):
        with pytest.raises(SynclineError) as error:
            kind.parse(value)
        assert error.value.code == ErrorCode.OPERATION_INVALID
    for value in (object(), float("nan"), {"a": "\ud800"}, b"bytes"):
        with pytest.raises(SynclineError) as error:
            kind.parse_content(value)
        assert error.value.code == ErrorCode.OPERATION_INVALID
    for data in (b"", b"\xff\xff", b"\x91", b"\x93abc"):
        with pytest.raises(ValueError):
            kind.decode(data)
    if name != "text":
        for dumped in ("", "{", '"\\ud800"', "[" * 5000 + "]" * 5000):
            with pytest.raises(ValueError):
                kind.load(dumped)


def test_the_page_on_types_is_true() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "types.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        exec(example, {})
    assert set(re.findall(r"^\| `([a-z-]+)`", page, re.MULTILINE)) == set(DOCUMENT_TYPES)


def test_an_unknown_type() -> None:
    with pytest.raises(SynclineError) as error:
        open_document("spreadsheet", "d", "g")
    assert error.value.code == ErrorCode.INVALID_DATA


# Documents ----------------------------------------------------------------------------------------------------------


def shown(document: Any) -> Any:
    state = document.state()
    return state["content"] if state["text"] is None else state["text"]


def start_of(name: str, case: Case, **bounds: int) -> Any:
    document = open_document(name, "d", "g", **bounds)
    document.restore(0, case.type.new_snapshot(copy.deepcopy(case.start), 10**6))
    return document


@every_type
@given(randoms)
def test_clients_converge_with_a_document_and_with_what_is_stored(name: str, random: Random) -> None:
    """Three clients with one operation in flight each, delivered at any time, some twice; the server's document is
    saved as turns, trimmed and widened again, and loaded from a snapshot and the turns after it."""
    case = Case(name, random)
    kind = case.type
    document = start_of(name, case, window_operations=random.choice([0, 2, 100]))
    log: list[Any] = []
    turns: list[tuple[int, bytes]] = []
    snapshot: tuple[int, bytes] = (0, document.snapshot())
    clients = [{"at": 0, "shown": case.start, "sent": None, "seq": 0} for _ in range(3)]

    def catch_up(number: int, client: Any) -> None:
        for entry in log[client["at"] :]:
            if entry.client == f"c{number}":
                client["sent"] = None
            else:
                theirs = kind.parse(copy.deepcopy(entry.told()))
                if client["sent"] is not None:
                    sent, base = client["sent"]
                    client["sent"] = (kind.transform(sent, theirs, "left"), base)
                    theirs = kind.transform(theirs, sent, "right")
                client["shown"] = case.after(client["shown"], theirs)
        client["at"] = len(log)

    def submit(number: int, base: int, value: Any) -> Any:
        while True:
            try:
                receipt = document.receive(f"c{number}", f"u{number}", clients[number]["seq"], base, value, time=1.5)
                break
            except OutdatedRevision as outdated:
                floor = document.floor
                stored = [entry for at, body in turns for entry in kind.decode_entries(body)]
                document.prepend(outdated.base + 1, stored[outdated.base : floor])
        if not receipt.duplicate:
            turns.append((len(log), kind.encode_entries([receipt.entry])))
            log.append(receipt.entry)
            if random.random() < 0.5:
                document.trim()
        return receipt

    for _ in range(12):
        number = random.randrange(3)
        client = clients[number]
        if client["sent"] is None and random.random() < 0.7:
            catch_up(number, client)
            client["seq"] += 1
            value = random_edit(name, random, client["shown"])
            operation = kind.parse(copy.deepcopy(value))
            base = client["at"]
            client["shown"] = case.after(client["shown"], operation)
            client["sent"] = (operation, base)
            if random.random() < 0.6:  # at once, else it arrives late
                submit(number, base, value)
                if random.random() < 0.4:
                    assert submit(number, base, value).duplicate
            else:
                client["late"] = (base, value)
        elif client.get("late"):
            submit(number, *client.pop("late"))
        elif random.random() < 0.5:
            catch_up(number, client)
        else:
            snapshot = (document.revision, document.snapshot())
    for number, client in enumerate(clients):
        if client.get("late"):
            submit(number, *client.pop("late"))
    for number, client in enumerate(clients):
        catch_up(number, client)
        assert client["shown"] == shown(document)
        assert document.last_seq(f"c{number}") == client["seq"]
    again = open_document(name, "d", "g")
    again.restore(*snapshot)
    for base, body in turns:
        again.replay(base, kind.decode_entries(body))
    assert shown(again) == shown(document) and again.revision == document.revision
    assert [entry.told() for entry in again.since(snapshot[0])] == [entry.told() for entry in log[snapshot[0] :]]
    assert all(again.last_seq(f"c{number}") == client["seq"] for number, client in enumerate(clients))


def edit_of(name: str) -> Any:
    """An operation on the empty content."""
    return {"text": ["x"], "rich-text": [{"insert": "x"}], "json": [{"p": [], "od": None, "oi": {}}]}[name]


def second_edit(name: str) -> Any:
    """One on what that leaves."""
    return {"text": ["y"], "rich-text": [{"insert": "y"}], "json": [{"p": ["y"], "oi": 1}]}[name]


@every_type
def test_exactly_once(name: str) -> None:
    document = open_document(name, "d", "g")
    first = document.receive("a", "u", 1, 0, edit_of(name))
    assert (first.revision, first.duplicate) == (1, False)
    again = document.receive("a", "u", 1, 0, edit_of(name))
    assert (again.revision, again.duplicate, again.entry) == (1, True, None)

    def refused(*arguments: Any) -> str:
        before = shown(document), document.revision
        with pytest.raises(SynclineError) as error:
            document.receive(*arguments)
        assert (shown(document), document.revision) == before
        return error.value.code.value

    assert refused("a", "u", 1, 0, second_edit(name)) == "sequence_conflict"
    assert refused("a", "other", 2, 1, second_edit(name)) == "client_taken"
    assert refused("b", "u", 1, 2, second_edit(name)) == "revision_unknown"
    assert refused("b", "u", 0, 1, second_edit(name)) == "invalid_data"
    assert refused("b", "u", 1, -1, second_edit(name)) == "invalid_data"
    assert refused("b", "u", 1, 1, "nonsense") == "operation_invalid"
    assert refused("\ud800", "u", 1, 1, second_edit(name)) == "invalid_data"
    assert document.receive("b", "u", 5, 1, second_edit(name)).revision == 2
    assert document.last_seq("b") == 5 and document.client_user("b") == "u" and document.client_count == 2


@every_type
def test_bounds(name: str) -> None:
    document = open_document(name, "d", "g", max_length=200, window_operations=3, max_clients=2)
    document.receive("a", "u", 1, 0, edit_of(name))
    large = {"text": ["z" * 200], "rich-text": [{"insert": "z" * 200}], "json": [{"p": ["z"], "oi": "z" * 200}]}[name]
    with pytest.raises(SynclineError) as error:
        document.receive("a", "u", 2, 1, large)
    assert error.value.code == ErrorCode.DOCUMENT_TOO_LARGE and document.revision == 1
    for number in range(6):
        value = second_edit(name) if name != "json" else [{"p": [f"k{number}"], "oi": 1}]
        document.receive(f"c{number}", "u", 1, document.revision, value)
    assert document.window_bytes > 0
    document.trim()
    assert document.floor == 4 and document.client_count == 3 and document.has_forgotten
    with pytest.raises(OutdatedRevision):
        document.receive("late", "u", 1, 2, second_edit(name))
    with pytest.raises(OutdatedRevision):
        document.since(1)


def test_cursors_in_json_are_paths() -> None:
    document = open_document("json", "d", "g")
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": {"items": ["hello", "you"]}}])
    assert document.cursor("a") is None, "only who types in a string has a cursor by that"
    document.set_cursor("b", 1, ["items", 0, 2], ["items", 1])
    document.receive("a", "u", 2, 1, [{"p": ["items", 0, 1], "si": "XY"}])
    assert document.cursor("a") == (("items", 0, 3), ("items", 0, 3))
    assert document.cursor("b") == (("items", 0, 4), ("items", 1))
    document.receive("a", "u", 3, 2, [{"p": ["items", 0], "li": 1}])
    assert document.cursor("b") == (("items", 1, 4), ("items", 2))
    document.set_cursor("c", 1, ["items", 0, 5], ["items", 0, 5])
    assert document.cursor("c") == (("items", 1, 7), ("items", 1, 7))
    with pytest.raises(SynclineError):
        document.set_cursor("c", 3, ["items", 9], ["items", 9])
    document.receive("a", "u", 4, 3, [{"p": ["items", 1], "ld": ""}])
    assert document.cursor("c") == (("items", 1), ("items", 1))


@pytest.mark.parametrize("name", ["rich-text", "text"])
def test_cursors_follow_the_edits(name: str) -> None:
    document = open_document(name, "d", "g")

    def insert(position: int, text: str) -> Any:
        if name == "text":
            return [position, text] if position else [text]
        return [*([{"retain": position}] if position else []), {"insert": text}]

    document.receive("a", "u", 1, 0, insert(0, "hello"))
    assert document.cursor("a") == (5, 5)
    document.set_cursor("b", 1, 2, 4)
    document.receive("a", "u", 2, 1, insert(2, "XY"))
    assert document.cursor("b") == (2, 6) and document.cursor("a") == (4, 4)
    document.set_cursor("c", 1, 5, 5)
    assert document.cursor("c") == (7, 7)
    with pytest.raises(SynclineError):
        document.set_cursor("c", 2, 8, 0)
    with pytest.raises(SynclineError):
        document.set_cursor("c", 3, 0, 0)
    document.drop_cursor("c")
    assert document.cursor("c") is None


def test_a_difference_of_formats_touches_no_text() -> None:
    kind = document_type("rich-text")
    before = [{"insert": "Hello world"}, {"insert": {"image": "x"}}, {"insert": "!", "attributes": {"bold": True}}]
    after = [
        {"insert": "Hello", "attributes": {"bold": True}},
        {"insert": " brave"},
        {"insert": " world", "attributes": {"color": "red"}},
        {"insert": {"image": "x"}, "attributes": {"width": 1}},
        {"insert": "!"},
    ]
    told = kind.describe(kind.diff(kind.parse_content(before), kind.parse_content(after)))
    assert told == [
        {"retain": 5, "attributes": {"bold": True}},
        {"retain": 1},
        {"insert": "brave"},
        {"insert": " ", "attributes": {"color": "red"}},
        {"retain": 5, "attributes": {"color": "red"}},
        {"retain": 1, "attributes": {"width": 1}},
        {"retain": 1, "attributes": {"bold": None}},
    ]


def test_json_has_no_cursors() -> None:
    document = open_document("json", "d", "g")
    with pytest.raises(SynclineError) as error:
        document.set_cursor("a", 0, 0, 0)
    assert error.value.code == ErrorCode.INVALID_DATA
    assert document.cursor("a") is None


def test_an_operation_too_large_for_what_it_missed() -> None:
    """The work of one arriving operation is bounded: nobody holds up the event loop."""
    document = open_document("json", "d", "g")
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": []}])
    many = [{"p": [0], "li": 0}] * 1000
    for number in range(3):
        document.receive("a", "u", number + 2, number + 1, many)
    with pytest.raises(TooFarBehind):
        document.receive("b", "u", 1, 1, many)
    # Less is done beside the loop, in steps that may rest, and is asked for again then.
    with pytest.raises(Laborious) as needs:
        document.receive("b", "u", 2, 1, many[:10])
    assert document.revision == 4 and len(list(needs.value.steps)) > 3
    assert document.receive("b", "u", 2, 1, many[:10]).revision == 5
    with pytest.raises(Laborious) as needs:
        document.receive("b", "u", 3, 1, many[:10])
    assert len(list(needs.value.steps)) > 4
    # What was prepared is for that operation and that head only.
    with pytest.raises(Laborious):
        document.receive("b", "u", 3, 1, many[:9])
    assert document.receive("c", "u", 1, 5, many[:1]).revision == 6


WIDE = {  # content, an operation on it, and one after that or beside it
    "elements": ([0], [{"p": [0], "li": 1}] * 700, [{"p": [1], "li": 2}] * 700),
    "edits": (
        {"s": "x" * 3000},
        [{"p": ["s"], "t": "text0", "o": [{"p": 4 * at, "i": "y"} for at in range(350)]}],
        [{"p": ["s"], "t": "text0", "o": [{"p": 2 * at, "i": "z"} for at in range(350)]}],
    ),
}


@pytest.mark.parametrize("kind", WIDE)
@pytest.mark.parametrize("undone", [True, False])
def test_one_wide_operation_past_another_one_is_work_in_parts(kind: str, undone: bool) -> None:
    """Beside the loop there is still one interpreter: what does not rest holds up everybody."""
    content, mine, theirs = WIDE[kind]
    type = document_type("json")
    document = open_document("json", "d", "g")
    document.initialize("x", "u", 1, 0, content)
    document.receive("a", "u", 1, 1, mine)
    first = type.parse(mine)
    if undone:
        document.receive("b", "u", 1, 2, theirs)
        first = type.invert(first, content)
    else:
        content = document.content()
    left = type.apply(content, type.transform(type.parse(theirs), first, "right" if undone else "left"))

    def ask() -> object:
        if undone:
            return document.undo("a", "u", 2, document.revision)
        return document.receive("b", "u", 1, 1, theirs)

    with pytest.raises(Laborious) as needs:
        ask()
    parts = len(list(needs.value.steps))
    assert parts > 20 and needs.value.cost > 500 * parts, "some milliseconds each at most, and all of it known before"
    ask()
    assert document.content() == left


def test_what_was_undone_is_loaded_in_parts() -> None:
    """It is planned again then, and a document that is loaded holds up the others no more than one that is edited."""
    content, mine, theirs = WIDE["elements"]
    document, twin = open_document("json", "d", "g"), open_document("json", "d", "g")
    document.initialize("x", "u", 1, 0, content)
    document.receive("a", "u", 1, 1, mine)
    document.receive("b", "u", 1, 2, theirs)
    assert patiently(lambda: document.undo("a", "u", 2, document.revision)) == 1
    assert len(list(twin.replaying(0, document.since(0)))) > 20
    assert twin.content() == document.content() and twin.undo_depth("a") == document.undo_depth("a") == (0, 1)
    assert twin.undo_labour == document.undo_labour > 100_000, "and that much is worth a snapshot"


def patiently(request: Callable[[], object]) -> int:
    """Asks again after each labour; returns how many there were."""
    labours = 0
    while True:
        try:
            request()
        except Laborious as needs:
            labours += 1
            for _ in needs.steps:
                pass
        else:
            return labours


def grown(name: str, count: int) -> Document:
    """A document to which three clients have added one by one what makes the work of a fourth one long."""
    document = open_document(name, "d", "g")
    assert isinstance(document, Document)
    first: Any = [{"p": [], "od": None, "oi": []}] if name == "json" else [{"insert": "begin"}]
    document.receive("z", "u", 1, 0, first)
    for number in range(count):
        edit: Any = (
            [{"p": [0], "li": number}] if name == "json" else [{"insert": f"{number} ", "attributes": {"b": number}}]
        )
        document.receive("abc"[number % 3], "u", number + 1, document.revision, edit)
    return document


@pytest.mark.parametrize(("name", "count"), [("json", 200), ("rich-text", 2500)])
def test_what_is_moved_beside_the_loop_is_what_transforms_give(name: str, count: int) -> None:
    document, twin = grown(name, count), grown(name, count)
    edit: Any = [{"p": [0], "li": "x"}] * 100 if name == "json" else [{"insert": "x"}, {"retain": 5}, {"insert": "y"}]
    assert patiently(lambda: document.receive("x", "u", 1, 1, edit)) == 1
    moved = twin.engine.type.parse(edit)
    for entry in twin.since(1):
        moved = twin.engine.type.transform(moved, entry.operation, "left")
    twin.receive("x", "u", 1, twin.revision, twin.engine.type.describe(moved))
    assert document.content() == twin.content() and document.revision == twin.revision


def test_an_undo_beside_the_loop_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    contents = []
    for quick in (undo.QUICK, -1):
        monkeypatch.setattr(undo, "QUICK", quick)
        document = grown("json", 30)
        labours = patiently(lambda document=document: document.undo("a", "u", 100, document.revision))  # type: ignore[misc]
        labours += patiently(lambda document=document: document.undo("a", "u", 101, document.revision, "redo"))  # type: ignore[misc]
        labours += patiently(lambda document=document: document.undo("b", "u", 100, document.revision))  # type: ignore[misc]
        assert labours == (0 if quick > 0 else 2), "a redo right behind its undo has nothing to pass"
        contents.append((document.content(), document.undo_depth("a"), document.undo_depth("b")))
    assert contents[0] == contents[1]


def test_a_large_content_is_restored_beside_the_loop() -> None:
    document = open_document("json", "d", "g")
    value = [["x" * 100] for _ in range(500)]
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": value}])
    document.receive("a", "u", 2, 1, [{"p": [7], "ld": 0}])
    assert patiently(lambda: document.restore_content("a", "u", 3, 2, 1, value)) == 1
    assert document.content() == value


@pytest.mark.parametrize("name", ["rich-text", "json"])
def test_a_damaged_log_is_an_error(name: str) -> None:
    kind = document_type(name)
    document = open_document(name, "d", "g")
    document.receive("a", "u", 1, 0, edit_of(name))
    document.receive("a", "u", 2, 1, second_edit(name))
    entries = document.since(0)
    body = kind.encode_entries(entries)
    for broken in (body[:-1], body[:5], b"", body[:-1] + bytes([body[-1] ^ 1])):
        with pytest.raises(ValueError):
            kind.decode_entries(broken)
    for base, part in ((1, entries), (-1, entries), (0, [entries[0], entries[0]])):
        with pytest.raises(ValueError):
            open_document(name, "d", "g").replay(base, part)
    with pytest.raises(ValueError):
        open_document(name, "d", "g").restore(1, document.snapshot()[:-1])
    with pytest.raises(ValueError):
        document.prepend(1, entries)


def test_what_a_server_tells_may_have_grown_past_the_bounds() -> None:
    """Bounds hold for what comes in one piece; many operations make more of it, and clients must still read that."""
    kind = document_type("rich-text")
    grown = [{"insert": "x", "attributes": {"a": number % 7}} for number in range(100_001)]
    with pytest.raises(SynclineError):
        kind.parse_content(grown)
    assert kind.size(kind.parse_content(grown, trusted=True)) > 100_000


def test_many_edits_of_one_long_string_are_one_copy() -> None:
    """However they are cut into components: each was a copy of the string, a thousand of them half a minute."""
    document = open_document("json", "d", "g")
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": {"s": "é" * 200_000, "t": ["short"]}}])
    many: list[Any] = [{"p": ["s", 5], "si": "x"} for _ in range(100)]
    many += [
        {"p": ["t", 0, 1], "si": "y"},
        {"p": ["s", 0], "sd": "é"},
        {"p": ["t", 0], "ld": 0},
        {"p": ["s", 0], "si": "z"},
    ]
    document.receive("a", "u", 2, 1, many)
    assert document.content() == {"s": "z" + "é" * 4 + "x" * 100 + "é" * 199_995, "t": []}
    turns: list[Any] = [{"p": ["s", 0], "si": "x"}, {"p": ["t"], "od": 0, "oi": "é" * 20_000}] * 400
    with pytest.raises(SynclineError, match="too many changes"):  # from one to the other, a copy each
        document.receive("a", "u", 3, 2, turns)
    assert document.revision == 2


@pytest.mark.parametrize(
    ("value", "limit", "more"),
    [
        ("x" * 10, 10, True),
        ("x" * 9, 10, False),
        ([0] * 5, 10, True),
        ([0] * 4, 10, False),
        ({"a": {"b": "c" * 9}}, 10, True),
        (1, 0, True),
    ],
)
def test_whether_a_value_is_large_is_known_without_looking_at_all_of_it(value: Any, limit: int, more: bool) -> None:
    assert exceeds(value, limit) == more


@pytest.mark.parametrize("name", ["rich-text", "json"])
@pytest.mark.parametrize("seed", seeds(4, 20))
def test_cursors_are_taken_on_in_turn_and_go_where_each_edit_takes_them(name: str, seed: int) -> None:
    """With a few of them none is ever behind the window, whatever its size."""
    dice, kind = Random(seed), document_type(name)
    document = open_document(name, "d", "g", window_operations=dice.randint(1, 20))
    start: Any = [{"insert": "x" * 50}] if name == "rich-text" else [{"p": [], "od": None, "oi": ["x" * 50]}]
    document.receive("a", "u", 1, 0, start)
    places: dict[str, Any] = {}
    for seq in range(2, 120):
        if dice.random() < 0.3:
            client, at = dice.choice("bcdefgh"), dice.randint(0, 20)
            places[client] = at if name == "rich-text" else (0, at)
            document.set_cursor(client, document.revision, places[client], places[client])
        at = dice.randint(0, 20)
        change: Any = {"insert": "yy"} if dice.random() < 0.6 else {"delete": 1}
        edit: Any = [*([{"retain": at}] if at else []), change]
        if name == "json":
            edit = [{"p": [0, at], "si": "yy"}] if "insert" in change else [{"p": [0, at], "sd": "?"}]
            if "delete" in change:
                edit = [{"p": [0, at], "sd": document.content()[0][at]}]
        operation = document.receive("a", "u", seq, document.revision, edit).entry.operation
        places = {client: kind.move(operation, place) for client, place in places.items()}
        if dice.random() < 0.7:
            document.trim()
        if dice.random() < 0.2:
            for client, place in places.items():
                assert document.cursor(client) == (place, place)
    for client, place in places.items():
        assert document.cursor(client) == (place, place)


@pytest.mark.parametrize(("depth", "one_end", "both_ends"), [(1, 18, 9), (60, 4, 2)])
def test_a_cursor_counts_its_paths_and_both_of_its_ends(depth: int, one_end: int, both_ends: int) -> None:
    """How many operations of 1,000 components behind it may be: what they take of the loop is what is counted."""
    path = [f"k{step}" for step in range(depth - 1)]
    content: Any = [0] * 10
    for key in reversed(path):
        content = {key: content}
    document = open_document("json", "d", "g", window_bytes=10**8)
    document.initialize("x", "u", 1, 0, content)
    for seq in range(1, 41):
        document.receive("a", "u", seq, document.revision, [{"p": [*path, 0], "li": 0}] * 1000)
    for most, head in ((one_end, 5), (both_ends, 6)):
        document.set_cursor("b", document.revision - most, [*path, 5], [*path, head])
        with pytest.raises(SynclineError, match="too much was committed"):
            document.set_cursor("b", document.revision - 2 * most, [*path, 5], [*path, head])


def test_cursors_far_behind_take_no_time() -> None:
    """What would take long is left: a cursor is set again, and nobody waits for those of others."""
    document = open_document("json", "d", "g", window_bytes=10**8)
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": ["x" * 1000, "y" * 1000]}])
    for client in range(50):
        document.set_cursor(f"c{client}", 1, [1, 5], [1, 7])
    large = [{"p": [0], "t": "text0", "o": [{"p": 0, "i": "."}] * 1000}]
    for seq in range(2, 102):
        document.receive("a", "u", seq, document.revision, large)
    with pytest.raises(SynclineError, match="cursor"):
        document.set_cursor("late", 1, [1, 5], [1, 5])
    document.set_cursor("soon", 100, [1, 5], [1, 5])
    assert document.cursor("soon") == ((1, 5), (1, 5))
    assert document.cursor("c0") is None
    for _ in range(200 * 50):
        document.trim()  # each of which takes some on
    assert document.cursor("c0") == ((1, 5), (1, 7)) == document.cursor("c49")


@pytest.mark.parametrize("name", ["rich-text", "json"])
def test_a_cursor_that_cannot_be_moved_costs_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = document_type(name)
    document = open_document(name, "d", "g", window_operations=1)
    place: Any = 0 if name == "rich-text" else []
    for client in "abc":
        document.set_cursor(client, 0, place, place)
    document.receive("a", "u", 1, 0, edit_of(name))
    move = type(kind).move

    def broken(self: Any, operation: Any, position: Any, stick: Any = "left") -> Any:
        if "c" in faulty:
            faulty.remove("c")
            raise OverflowError
        return move(self, operation, position, stick)

    faulty = ["c"]
    monkeypatch.setattr(type(kind), "move", broken)
    document.trim()
    document.receive("a", "u", 2, 1, second_edit(name))
    document.trim()
    document.trim()
    assert [document.cursor(client) is None for client in "abc"].count(True) == 1
    assert document.floor == document.revision - 1


def test_what_was_committed_is_loaded_whatever_it_costs() -> None:
    """A bound that came later must not make a document that there is unloadable."""
    kind = document_type("json")
    content = {"a": "é" * 300_000, "b": "é" * 300_000}
    many = [{"p": [name, 0], "si": "x"} for _ in range(100) for name in ("a", "b")]
    entry = TypedEntry(kind, "c", "u", 1, kind.parse(many))
    document = open_document("json", "d", "g")
    document.receive("z", "u", 1, 0, [{"p": [], "od": None, "oi": content}])
    with pytest.raises(SynclineError, match="too many changes"):
        document.receive("c", "u", 1, 1, many)
    document.replay(1, [entry])
    assert document.revision == 2 and document.content()["a"].startswith("x" * 100 + "é")
