"""Undo and redo in documents of rich text and JSON."""

from __future__ import annotations

import copy
import random
from typing import Any
from zlib import crc32

import pytest

from syncline.core.documents.document import Document
from syncline.core.documents.document_type import DocumentType
from syncline.core.documents.text_type import TextType
from syncline.core.documents.undo import Undo
from syncline.core.documents.value_log import ValueLog
from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.json import json0
from syncline.core.json.json_type import JsonType
from syncline.core.rich.rich_type import RichType
from syncline.core.storage.commits import decode_snapshot
from syncline.core.types import open_document
from syncline.core.values.text0 import units
from tests.oracle.typed_undo import Eager
from tests.scale import seeds

from .typed_edits import edit

TYPES: list[DocumentType[Any, Any]] = [RichType(), JsonType()]


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
@pytest.mark.parametrize("seed", seeds(60, 300))
def test_the_only_author_goes_back_and_forth_through_every_content(type: DocumentType[Any, Any], seed: int) -> None:
    dice, document, seq = random.Random(seed), type.open("d", "g", undo_group_ms=0), 0
    shown = [copy.deepcopy(document.content())]
    for seq in range(1, 11):
        depth = document.undo_depth("a")[0]
        document.receive("a", "ann", seq, document.revision, edit(document, dice))
        if document.undo_depth("a")[0] > depth:
            shown.append(copy.deepcopy(document.content()))
    for kind, path in (("undo", shown[-2::-1]), ("redo", shown[1:])):
        for expected in path:
            seq += 1
            document.undo("a", "ann", seq, document.revision, kind)
            assert document.content() == expected
        with pytest.raises(SynclineError):
            document.undo("a", "ann", seq + 1, document.revision, kind)


class Schedule:
    """Several clients who edit, undo and redo at random; what the document does is compared with the oracle."""

    def __init__(self, type: DocumentType[Any, Any], seed: int, **bounds: int) -> None:
        self.type, self.dice, self.bounds = type, random.Random(seed), bounds
        self.document = self.fresh()
        self.oracle = Eager(type)
        self.seqs = dict.fromkeys("abc", 0)
        self.done = {"edit": 0, "undo": 0, "redo": 0, "nothing": 0}
        self.log: list[Any] = []

    def fresh(self) -> Document:
        return self.type.open("d", "g", **{"undo_group_ms": 0, **self.bounds})

    def step(self) -> None:
        document, client = self.document, self.dice.choice("abc")
        kind = self.dice.choices(["edit", "undo", "redo"], [5, 3, 2])[0]
        self.seqs[client] += 1
        arguments = (client, client, self.seqs[client], document.revision)
        before = self.type.load(self.type.dump(self.type.parse_content(document.content(), trusted=True)))
        expected = None if kind == "edit" else self.oracle.expected(client, kind)
        if kind == "edit":
            receipt = document.receive(*arguments, edit(document, self.dice))
        elif expected is None:
            with pytest.raises(SynclineError, match="nothing"):
                document.undo(*arguments, kind)
            self.done["nothing"] += 1
            return
        else:
            receipt = document.undo(*arguments, kind)
            assert self.type.is_same(expected, receipt.entry.operation)
        operation = receipt.entry.operation
        self.log.append(receipt.entry)
        self.done[kind] += 1
        self.oracle.commit(client, kind, operation, self.type.invert(operation, before))

    def document_stacks(self) -> bytes:
        """The part of the snapshot that is about undo."""
        stacks = Undo(ValueLog(self.type), group_ms=0)
        content = self.type.empty()
        for entry in self.log:
            inverse = self.type.invert(entry.operation, content)
            content = self.type.apply(content, entry.operation)
            stacks.record(entry.client, entry.user, entry.kind, entry.operation, inverse)
        return stacks.snapshot()

    def loaded(self, since: int = 0, snapshot: bytes | None = None) -> Document:
        other = self.fresh()
        if snapshot is not None:
            other.restore(since, snapshot)
        other.replay(since, self.log[since:])
        return other


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
@pytest.mark.parametrize("seed", seeds(40, 200))
def test_looking_late_sees_what_looking_at_once_would(type: DocumentType[Any, Any], seed: int) -> None:
    schedule = Schedule(type, seed)
    for _ in range(60):
        schedule.step()
    assert schedule.done["edit"] and schedule.done["undo"]


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_the_schedules_are_not_idle(type: DocumentType[Any, Any]) -> None:
    schedule = Schedule(type, 1)
    for _ in range(400):
        schedule.step()
    assert min(schedule.done.values()) > 10, schedule.done


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
@pytest.mark.parametrize("seed", seeds(25, 125))
def test_stacks_are_the_same_after_loading(type: DocumentType[Any, Any], seed: int) -> None:
    bounds = {"undo_depth": 5, "undo_history": 30, "undo_bytes": 20_000} if seed % 2 else {}
    schedule = Schedule(type, seed, **bounds)
    document, snapshots = schedule.document, [(0, None)]
    for _ in range(50):
        if not bounds:
            schedule.step()
        else:
            client, kind = schedule.dice.choice("abc"), schedule.dice.choice(["edit", "edit", "undo", "redo"])
            schedule.seqs[client] += 1
            arguments = (client, client, schedule.seqs[client], document.revision)
            try:
                receipt = (
                    document.receive(*arguments, edit(document, schedule.dice))
                    if kind == "edit"
                    else document.undo(*arguments, kind)  # type: ignore[arg-type]
                )
            except SynclineError:
                continue
            schedule.log.append(receipt.entry)
        if schedule.dice.random() < 0.1:
            snapshots.append((document.revision, document.snapshot()))  # type: ignore[arg-type]
    for revision, snapshot in snapshots:
        other = schedule.loaded(revision, snapshot)
        assert other.snapshot() == document.snapshot()
        assert (other.content(), other.undo_bytes) == (document.content(), document.undo_bytes)


def typed(document: Document, seq: int, at: int, text: str, time: float, client: str = "a") -> None:
    operation: list[Any] = [{"retain": at}, {"insert": text}] if at else [{"insert": text}]
    document.receive(client, client, seq, document.revision, operation, time=time)


def plain(document: Document) -> str:
    return "".join(op["insert"] for op in document.content())


def test_typing_in_rich_text_is_undone_word_by_word() -> None:
    document = RichType().open("d", "g")
    for index, letter in enumerate("two words"):
        typed(document, index + 1, index, letter, 1.0 + index / 10)
    assert document.undo_depth("a") == (2, 0)
    document.undo("a", "a", 10, document.revision)
    assert plain(document) == "two "
    document.undo("a", "a", 11, document.revision)
    assert plain(document) == ""
    document.undo("a", "a", 12, document.revision, "redo")
    document.undo("a", "a", 13, document.revision, "redo")
    assert plain(document) == "two words"


def test_others_move_the_place_where_typing_goes_on() -> None:
    document = RichType().open("d", "g")
    typed(document, 1, 0, "a", 1.0)
    typed(document, 1, 0, "other ", 1.1, client="b")
    typed(document, 2, 7, "b", 1.2)
    assert document.undo_depth("a") == (1, 0)
    document.undo("a", "a", 3, document.revision)
    assert plain(document) == "other "
    document.undo("a", "a", 4, document.revision, "redo")
    assert plain(document) == "other ab"


def test_what_is_typed_in_one_go_lies_on_what_was_done_before() -> None:
    document = RichType().open("d", "g")
    typed(document, 1, 0, "theirs", 1.0, client="b")  # so that there is a log
    typed(document, 1, 0, "a paste that is long", 2.0)
    for index, letter in enumerate("xyz"):
        typed(document, 2 + index, index, letter, 3.0 + index / 10)
    assert document.undo_depth("a") == (2, 0)
    document.undo("a", "a", 5, document.revision)
    assert plain(document) == "a paste that is longtheirs"
    document.undo("a", "a", 6, document.revision)
    assert plain(document) == "theirs"


def test_backspaces_are_one_group_and_a_pause_ends_it() -> None:
    document = RichType().open("d", "g")
    typed(document, 1, 0, "a long text to begin with", 1.0)
    for index in range(3):
        operation = [{"retain": 24 - index}, {"delete": 1}]
        document.receive("a", "a", 2 + index, document.revision, operation, time=2.0 + index / 10)
    document.receive("a", "a", 5, document.revision, [{"retain": 21}, {"delete": 1}], time=9.0)
    assert document.undo_depth("a") == (3, 0) and plain(document) == "a long text to begin "
    document.undo("a", "a", 6, document.revision)
    assert plain(document) == "a long text to begin w"
    document.undo("a", "a", 7, document.revision)
    assert plain(document) == "a long text to begin with"


def test_undo_brings_back_what_others_changed_meanwhile_as_it_was() -> None:
    document = JsonType().open("d", "g")
    document.receive("a", "a", 1, 0, [{"p": [], "od": None, "oi": {"list": [1, 2], "n": 0}}])
    document.receive("a", "a", 2, 1, [{"p": ["list", 0], "ld": 1}])
    document.receive("b", "b", 1, 2, [{"p": ["list", 0], "li": 0}])
    document.receive("b", "b", 2, 3, [{"p": ["n"], "na": 7}])
    document.undo("a", "a", 3, 4)
    assert document.content() == {"list": [1, 0, 2], "n": 7}
    document.undo("a", "a", 4, 5, "redo")
    assert document.content() == {"list": [0, 2], "n": 7}


def test_a_subtree_that_somebody_removed_is_passed_over() -> None:
    document = JsonType().open("d", "g")
    document.receive("a", "a", 1, 0, [{"p": [], "od": None, "oi": {"n": 0}}])
    document.receive("a", "a", 2, 1, [{"p": ["x"], "oi": {"deep": 1}}])
    document.receive("a", "a", 3, 2, [{"p": ["x", "deep"], "na": 1}])
    document.receive("b", "b", 1, 3, [{"p": ["x"], "od": None}])
    document.receive("a", "a", 4, 4, [{"p": ["n"], "na": 1}])
    document.undo("a", "a", 5, 5)
    assert document.content() == {"n": 0}
    document.undo("a", "a", 6, 6)  # both steps in x are gone
    assert document.content() is None
    with pytest.raises(SynclineError, match="nothing"):
        document.undo("a", "a", 7, 7)


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_bounds(type: DocumentType[Any, Any]) -> None:
    dice = random.Random(5)
    document = type.open("d", "g", undo_depth=4, undo_bytes=8000, undo_history=50, undo_group_ms=0)
    for seq in range(1, 301):
        for client in "ab":
            document.receive(client, client, seq, document.revision, edit(document, dice))
            assert document.undo_depth(client)[0] <= 4 and document.undo_bytes <= 8000
    assert document.undo_dropped > 500
    for seq in range(301, 360):  # long ago for a: beyond the history
        document.receive("b", "b", seq, document.revision, edit(document, dice))
    while document.revision % 256:
        document.receive("b", "b", document.revision, document.revision, edit(document, dice))
    assert document.undo_depth("a") == (0, 0)
    none = type.open("d", "g", undo_depth=0)
    none.receive("a", "a", 1, 0, edit(none, dice))
    assert none.undo_depth("a") == (0, 0) and none.undo_bytes == 0


def test_typing_in_a_string_of_json_is_undone_word_by_word() -> None:
    """Also while another one types in another string, and moves this one."""
    document = JsonType().open("d", "g")
    document.receive("z", "z", 1, 0, [{"p": [], "od": None, "oi": ["", "other"]}])
    for number, character in enumerate("one two"):
        document.receive("b", "b", 2 * number + 1, document.revision, [{"p": [0], "li": number}])
        document.receive("b", "b", 2 * number + 2, document.revision, [{"p": [number + 2, 0], "si": "x"}])
        operation = [{"p": [number + 1, number], "si": character}]
        document.receive("a", "a", number + 1, document.revision, operation, time=1.0 + number / 100)
    assert document.undo_depth("a") == (2, 0)
    again = JsonType().open("d", "g")
    again.restore(document.revision, document.snapshot())
    for one in (document, again):
        assert one.content()[7] == "one two"
        one.undo("a", "a", 20, one.revision)
        assert one.content()[7] == "one " and one.content()[8] == "xxxxxxxother"
        one.undo("a", "a", 21, one.revision)
        assert one.content()[7] == ""
    document.receive("a", "a", 22, document.revision, [{"p": [7, 0], "si": "a"}], time=5.0)
    document.receive("a", "a", 23, document.revision, [{"p": [8, 1], "si": "b"}], time=5.0)
    assert document.undo_depth("a") == (2, 0), "another string is another group"


def test_too_much_since_is_refused_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from syncline.core.documents import undo

    document = RichType().open("d", "g")
    typed(document, 1, 0, "mine", 1.0)
    for seq in range(1, 11):
        typed(document, seq, 0, "theirs", 2.0, client="b")
    monkeypatch.setattr(undo, "MAX_COST", 5)
    with pytest.raises(SynclineError, match="too much"):
        document.undo("a", "a", 2, document.revision)
    monkeypatch.undo()
    document.undo("a", "a", 2, document.revision)
    assert plain(document) == "theirs" * 10


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_another_user_under_the_client_id_cannot_undo(type: DocumentType[Any, Any]) -> None:
    document = type.open("d", "g")
    document.receive("a", "ann", 1, 0, edit(document, random.Random(1)))
    with pytest.raises(SynclineError):
        document.undo("a", "bob", 2, 1)


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_damaged_stacks_are_noticed(type: DocumentType[Any, Any]) -> None:
    schedule = Schedule(type, 3)
    for _ in range(30):
        schedule.step()
    stacks = Undo(ValueLog(type))
    body = whole = schedule.document_stacks()
    stacks.restore(schedule.document.revision, whole)
    assert stacks.snapshot() == whole
    dice = random.Random(9)
    for _ in range(600):
        damaged = bytearray(body)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        fresh = Undo(ValueLog(type))
        try:
            fresh.restore(schedule.document.revision, bytes(damaged[: dice.randint(1, len(damaged))]))
        except ValueError:
            assert fresh.snapshot() == b"" and fresh.revision == 0


def submit(document: Document, client: str, operation: Any, time: float = 1.0) -> None:
    document.receive(client, client, document.last_seq(client) + 1, document.revision, operation, time=time)


def test_a_place_may_be_longer_than_that_of_a_cursor() -> None:
    document = JsonType().open("d", "g")
    path = [f"{level}" * 200 for level in range(8)]
    value: Any = "abc"
    for step in reversed(path):
        value = {step: value}
    submit(document, "a", [{"p": [], "od": None, "oi": value}])
    submit(document, "b", [{"p": path, "t": "text0", "o": [{"p": 1, "i": "!"}]}])
    again = JsonType().open("d", "g")
    again.restore(2, document.snapshot())
    assert again.undo_lost is None and again.snapshot() == document.snapshot()
    submit(again, "b", [{"p": path, "t": "text0", "o": [{"p": 2, "i": "?"}]}], time=1.5)
    assert again.undo_depth("b") == (1, 0)  # typing goes on


def test_steps_of_any_size_are_read_back() -> None:
    """Those that wait for an item may have grown by what others did."""
    many = [{"p": ["t"], "t": "text0", "o": [{"p": 2 * at, "d": "x"}]} for at in range(1000)]
    grown = json0.parse([*many, *({**one, "p": ["u"]} for one in many)], trusted=True)
    with pytest.raises(SynclineError, match="1000 components"):
        json0.parse(grown.components)
    undo = Undo(ValueLog(JsonType()))
    for client in "ab":
        undo.record(client, client, "edit", grown, json0.invert_told(grown))
    other = Undo(ValueLog(JsonType()))
    other.restore(2, undo.snapshot())
    assert other.snapshot() == undo.snapshot()


@pytest.mark.parametrize("type", [*TYPES, TextType()], ids=lambda type: type.name)
def test_damaged_stacks_cost_no_more_than_the_stacks(type: DocumentType[Any, Any]) -> None:
    first, second = {
        "text": (["ab"], [-1]),
        "rich-text": ([{"insert": "ab"}], [{"delete": 1}]),
        "json": ([{"p": [], "od": None, "oi": ["a", "b"]}], [{"p": [0], "ld": "a"}]),
    }[type.name]
    document = type.open("d", "g")
    submit(document, "a", first)
    submit(document, "b", second)
    body = document.snapshot()
    stacks = decode_snapshot(body)[3]
    at = body.index(stacks)
    damaged = body[:at] + bytes([stacks[0] + 1]) + body[at + 1 : -4]
    again = type.open("d", "g")
    again.restore(2, damaged + crc32(damaged).to_bytes(4, "little"))
    assert again.undo_lost is not None and again.undo_depth("a") == (0, 0)
    assert (again.content(), again.last_seq("a")) == (document.content(), 1)
    with pytest.raises(SynclineError, check=lambda error: error.code is ErrorCode.NOTHING_TO_UNDO):
        again.undo("a", "a", 2, 2)
    submit(again, "a", second)
    again.undo("a", "a", 9, again.revision)
    assert again.content() == document.content()
    again.restore(2, body)
    assert again.undo_lost is None and again.undo_depth("a") == (1, 0)


@pytest.mark.parametrize("character", ["x", "é", "я", "漢", "💃"])
@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.name)
def test_a_large_text_is_no_more_than_its_bytes(type: DocumentType[Any, Any], character: str) -> None:
    """So that what was pasted, and removed, can be undone within the bounds that a server has by default."""
    large = character * (900_000 // len(character.encode()))
    first, second, third = {
        "rich-text": ([{"insert": "a"}], [{"insert": large}], [{"delete": units(large)}]),
        "json": (
            [{"p": [], "od": None, "oi": {"a": 1}}],
            [{"p": ["b"], "oi": {"text": large}}],
            [{"p": ["b"], "od": None}],
        ),
    }[type.name]
    document = type.open("d", "g")
    submit(document, "b", first)
    submit(document, "a", second)
    submit(document, "a", third, time=100.0)
    assert document.undo_bytes < 4_194_304 > document.window_bytes
    removed = document.content()
    document.undo("a", "a", 10, document.revision)
    assert large in repr(document.content())
    document.undo("a", "a", 11, document.revision)
    document.undo("a", "a", 12, document.revision, "redo")
    document.undo("a", "a", 13, document.revision, "redo")
    assert document.content() == removed and document.undo_dropped == 0
    again = type.open("d", "g")
    again.restore(document.revision, document.snapshot())
    assert again.undo_bytes == document.undo_bytes


SINCE = {
    "key": (
        "json",
        {"k": "0"},
        [{"p": ["k"], "od": None, "oi": "A"}],
        [{"p": ["k"], "od": None, "oi": "B"}],
        ({"k": "B"}, {"k": "A"}),
    ),
    "key that was removed": (
        "json",
        {"k": "0"},
        [{"p": ["k"], "od": None}],
        [{"p": ["k"], "oi": "B"}],
        ({"k": "B"}, {}),
    ),
    "element": (
        "json",
        ["0"],
        [{"p": [0], "ld": None, "li": "A"}],
        [{"p": [0], "ld": None, "li": "B"}],
        (["B"], ["A"]),
    ),
    "format": (
        "rich-text",
        [{"insert": "word"}],
        [{"retain": 4, "attributes": {"color": "A"}}],
        [{"retain": 4, "attributes": {"color": "B"}}],
        ([{"insert": "word", "attributes": {"color": "B"}}], [{"insert": "word", "attributes": {"color": "A"}}]),
    ),
}


@pytest.mark.parametrize(("kind", "first", "mine", "theirs", "after"), SINCE.values(), ids=SINCE)
def test_a_value_that_another_has_set_since_is_theirs(
    kind: str, first: Any, mine: Any, theirs: Any, after: tuple[Any, Any]
) -> None:
    """Neither undo nor redo sets it back, and nobody gets what somebody else had made."""
    document = open_document(kind, "d", "g")
    document.initialize("c", "c", 1, 0, first)
    document.receive("a", "a", 1, 1, mine)
    document.receive("b", "b", 1, 2, theirs)
    for seq, which in ((2, "undo"), (3, "redo")):
        with pytest.raises(SynclineError, check=lambda error: error.code.value.startswith("nothing_to")):
            document.undo("a", "a", seq, document.revision, which)
    document.undo("b", "b", 2, document.revision)
    assert document.content() == after[1]
    with pytest.raises(SynclineError):
        document.undo("a", "a", 4, document.revision, "redo")
    document.undo("b", "b", 3, document.revision, "redo")
    assert document.content() == after[0]


def test_what_is_put_in_comes_back_in_the_same_order() -> None:
    """Places are no values: undone by all and done again it is as it was."""
    document = open_document("json", "d", "g")
    document.initialize("c", "c", 1, 0, [])
    for client in "ab":
        document.receive(client, client, 1, document.revision, [{"p": [0], "li": client}])
    for seq, which, order in ((2, "undo", "ba"), (3, "redo", "ab")):
        for client in order:
            document.undo(client, client, seq, document.revision, which)
    assert document.content() == ["b", "a"]
