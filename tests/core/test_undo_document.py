"""Documents undo, redo and restore: exactly once, after a restart too, and in every client's unit."""

from __future__ import annotations

import random
from typing import Any, Literal

import pytest

from syncline.core.documents import undo
from syncline.core.documents.document import Document
from syncline.core.documents.text_type import TextType
from syncline.core.errors import ErrorCode, Laborious, OutdatedRevision, SynclineError
from syncline.core.ot.ot import Operation
from syncline.core.storage.commits import Entry, decode_entries, encode_entries, new_text_snapshot
from syncline.core.types import open_document
from tests.scale import seeds


def refused(code: ErrorCode) -> Any:
    return pytest.raises(SynclineError, check=lambda error: error.code is code)


def new(text: str = "", **bounds: Any) -> Document:
    document = TextType().open("notes", "g1", **bounds)
    if text:
        document.restore(0, new_text_snapshot(text))
    return document


def replayed(document: Document, entries: list[Entry], snapshot: tuple[int, bytes] | None, **bounds: Any) -> Document:
    again = new(**bounds)
    if snapshot is not None:
        again.restore(*snapshot)
    again.replay(0, decode_entries(encode_entries(entries)))
    assert (again.content(), again.revision) == (document.content(), document.revision)
    return again


class TestUndo:
    def test_it_is_an_entry_like_any_other(self) -> None:
        document = new("Hello")
        document.receive("a", "ada", 1, 0, [5, ", world"], time=1.0)
        document.receive("b", "bob", 1, 1, ["> "], time=1.5)
        receipt = document.undo("a", "ada", 2, 1, time=2.0)
        entry = receipt.entry
        assert (receipt.revision, receipt.duplicate, document.content()) == (3, False, "> Hello")
        assert (entry.client, entry.user, entry.seq, entry.kind, entry.time) == ("a", "ada", 2, "undo", 2.0)
        assert entry.operation == Operation([7, -7]) and document.since(2) == [entry]
        assert document.last_seq("a") == 2 and document.cursor("a") == (7, 7)
        assert document.undo_depth("a") == (0, 1)
        receipt = document.undo("a", "ada", 3, 3, "redo")
        assert receipt.entry.kind == "redo" and document.content() == "> Hello, world"
        assert document.undo_depth("a") == (1, 0) and document.since(0)[0].kind == "edit"

    def test_refusals(self) -> None:
        document = new("abc", window_operations=1)
        with refused(ErrorCode.NOTHING_TO_UNDO):
            document.undo("a", "ada", 1, 0)
        with refused(ErrorCode.NOTHING_TO_REDO):
            document.undo("a", "ada", 1, 0, "redo")
        document.receive("a", "ada", 2, 0, ["x"])
        before = document.snapshot()
        with refused(ErrorCode.CLIENT_TAKEN):
            document.undo("a", "eve", 3, 1)
        with refused(ErrorCode.REVISION_UNKNOWN):
            document.undo("a", "ada", 3, 2)
        with refused(ErrorCode.INVALID_DATA):
            document.undo("a", "ada", 0, 1)
        with refused(ErrorCode.SEQUENCE_CONFLICT):
            document.undo("a", "ada", 2, 1)
        with pytest.raises(ValueError, match="kind"):
            document.undo("a", "ada", 3, 1, "edit")  # type: ignore[arg-type]
        assert document.snapshot() == before
        document.receive("b", "bob", 1, 1, ["y"])
        document.trim()
        with pytest.raises(OutdatedRevision):
            document.undo("a", "ada", 3, 0)
        assert document.undo("a", "ada", 3, 1).revision == 3

    def test_too_large_for_the_document(self) -> None:
        document = new("x" * 10, max_length=12)
        document.receive("a", "ada", 1, 0, [-10])
        document.receive("b", "bob", 1, 1, ["y" * 3])
        with refused(ErrorCode.DOCUMENT_TOO_LARGE):
            document.undo("a", "ada", 2, 2)
        document.receive("b", "bob", 2, 2, [-1])
        assert document.undo("a", "ada", 2, 3).revision == 4 and document.content() == "x" * 10 + "yy"

    def test_exactly_once(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["one"], time=1)
        document.receive("a", "ada", 2, 1, [3, " two"], time=9)
        first = document.undo("a", "ada", 3, 2)
        for loaded in (document, replayed(document, document.since(0), None)):
            again = loaded.undo("a", "ada", 3, 2)
            assert again == (first.revision, None, True) and loaded.content() == "one"
            with refused(ErrorCode.SEQUENCE_CONFLICT):
                loaded.undo("a", "ada", 3, 2, "redo")
            with refused(ErrorCode.SEQUENCE_CONFLICT):
                loaded.receive("a", "ada", 3, 2, [3, -4])
            loaded.undo("a", "ada", 4, 3)
            assert loaded.content() == "" and loaded.undo("a", "ada", 3, 2).duplicate

    def test_units(self) -> None:
        document = new("💃")
        document.receive("a", "ada", 1, 0, [1, "a💃b"], "unicode")
        document.receive("b", "bob", 1, 1, ["🤟"])
        receipt = document.undo("a", "ada", 2, 2)
        assert document.content() == "🤟💃"
        assert receipt.entry.in_unit("unicode").components == [2, -3]
        assert receipt.entry.in_unit("utf-16").components == [4, -4]

    def test_none_at_all(self) -> None:
        document = new(undo_depth=0)
        document.receive("a", "ada", 1, 0, ["x"])
        with refused(ErrorCode.NOTHING_TO_UNDO):
            document.undo("a", "ada", 2, 1)
        assert document.undo_bytes == 0

    def test_bounds(self) -> None:
        document = new(undo_depth=2, undo_group_ms=0)
        for index in range(4):
            document.receive("a", "ada", index + 1, index, [index, "x"] if index else ["x"], time=float(index))
        assert document.undo_depth("a") == (2, 0) and document.undo_dropped == 2
        assert document.undo_bytes > 0


class TestRestore:
    def test_a_former_text(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["one two"])
        document.receive("b", "bob", 1, 1, [3, "💃", -1])
        receipt = document.restore_content("c", "cyd", 1, 0, 1, "one two", 3.0)
        assert receipt.entry.kind == "restore" and receipt.entry.operation.components == [3, " ", -2]
        assert document.content() == "one two" and document.undo_depth("c") == (1, 0)
        assert document.undo("c", "cyd", 2, 3).entry is not None and document.content() == "one💃two"
        with refused(ErrorCode.OPERATION_INVALID):
            document.restore_content("c", "cyd", 3, 4, 1, "\ud800")

    def test_exactly_once(self) -> None:
        document = new("abc")
        document.receive("a", "ada", 1, 0, [-3])
        document.restore_content("a", "ada", 2, 1, 0, "abc")
        assert document.restore_content("a", "ada", 2, 1, 0, "abc") == (2, None, True)
        with refused(ErrorCode.SEQUENCE_CONFLICT):
            document.restore_content("a", "ada", 2, 1, 1, "")
        assert document.restore_content("a", "ada", 3, 2, 0, "abc").revision == 3  # the same text: a commit, no change


class TestRestart:
    @pytest.mark.parametrize("seed", seeds(25, 100))
    def test_the_same_stacks(self, seed: int) -> None:
        """Random edits, undos and restarts from a random snapshot: the stacks are the same, byte for byte."""
        choices = random.Random(seed)
        bounds: dict[str, Any] = {"undo_depth": choices.choice([3, 100]), "undo_bytes": choices.choice([3000, 10**6])}
        document = new(**bounds)
        entries: list[Entry] = []
        seqs = dict.fromkeys("abc", 0)
        snapshot, time = None, 0.0
        for _ in range(150):
            client = choices.choice("abc")
            seqs[client] += 1
            time += choices.choice([0.1234567, 0.9996, 1.0004, 4.0])  # the log keeps milliseconds
            size = document.length()
            try:
                match choices.choice("eeeeurRs"):
                    case "e":
                        at = choices.choice([size, size, choices.randint(0, size)])
                        edit: list[Any] = [at] if at else []
                        edit.append(choices.choice(["x", "wörd", " "]) if at == size or choices.random() < 0.5 else -1)
                        receipt = document.receive(client, client, seqs[client], document.revision, edit, time=time)
                    case "u" | "r" as kind:
                        receipt = document.undo(
                            client, client, seqs[client], document.revision, "undo" if kind == "u" else "redo", time
                        )
                    case "R":
                        text = choices.choice(["", "x y", document.content() + "!"])
                        receipt = document.restore_content(
                            client, client, seqs[client], document.revision, 0, text, time
                        )
                    case _:
                        if choices.random() < 0.5:
                            snapshot = (document.revision, document.snapshot())
                        loaded = replayed(document, entries, snapshot, **bounds)
                        assert loaded.snapshot() == document.snapshot()
                        if choices.random() < 0.5:
                            document = loaded
                        continue
            except SynclineError as error:
                assert error.code in {ErrorCode.NOTHING_TO_UNDO, ErrorCode.NOTHING_TO_REDO}
                continue
            entries.append(receipt.entry)
        assert {entry.kind for entry in entries} >= {"edit", "undo", "restore"}
        assert replayed(document, entries, None, **bounds).snapshot() == document.snapshot()

    def test_bounds_that_were_changed(self) -> None:
        """An undo of what the smaller bound has dropped: the stack starts anew, the text is right."""
        document = new(undo_group_ms=0)
        for index in range(5):
            document.receive("a", "ada", index + 1, index, ["x"], time=float(index))
        for index in range(3):
            document.undo("a", "ada", 6 + index, 5 + index)
        again = replayed(document, document.since(0), None, undo_depth=2, undo_group_ms=0)
        assert again.content() == "xx" and again.undo_depth("a") == (0, 0)
        again.receive("a", "ada", 9, 8, ["y"])
        again.undo("a", "ada", 10, 9)
        assert again.content() == "xx"

    def test_old_snapshots_are_read(self) -> None:
        # Written before there was anything to undo: flags 0, one client, text.
        from zlib import crc32

        content = b"\x21\x00\x01\x01a\x03ada\x01\x01" + bytes(8) + b"\x03abc"
        document = new()
        document.restore(1, content + crc32(content).to_bytes(4, "little"))
        assert document.content() == "abc" and document.undo_depth("a") == (0, 0)
        document.receive("a", "ada", 2, 1, ["x"])
        document.undo("a", "ada", 3, 2)
        assert document.content() == "abc"


@pytest.mark.parametrize("seed", seeds(60, 300))
def test_all_undone_and_redone_is_what_was_there(seed: int) -> None:
    """Two clients that type words into each other's; then one takes everything of its own back, and back again."""
    choices = random.Random(seed)
    document = TextType().open("d", "g")
    numbers = {"a": 0, "b": 0}
    time = 0.0

    def number(client: str) -> int:
        numbers[client] += 1
        return numbers[client]

    def all_of(kind: Literal["undo", "redo"]) -> int:
        for count in range(1000):
            try:
                document.undo("a", "ada", number("a"), document.revision, kind, time)
            except SynclineError as error:
                assert error.code == f"nothing_to_{kind}", error
                return count
        raise AssertionError("no end")

    for _ in range(choices.randint(2, 8)):
        client, length = choices.choice("ab"), len(document.content())
        at = choices.choice([0, length, choices.randint(0, length)])
        if at < length and choices.random() < 0.25:
            document.receive(
                client, client + "da", number(client), document.revision, [at, -1] if at else [-1], "utf-16", time
            )
            continue
        for character in choices.choice(["one", " two", "BOB ", "a b "]):
            time += choices.choice([50, 400, 1500])
            document.receive(
                client,
                client + "da",
                number(client),
                document.revision,
                [at, character] if at else [character],
                "utf-16",
                time,
            )
            at += 1
    before = document.content()
    undone = all_of("undo")
    assert all_of("redo") == undone
    assert document.content() == before


class TestMuchWork:
    """What an undo has to see may be thousands of operations, past a thousand places each."""

    def long(self, places: int, others: int) -> tuple[Document, list[Entry]]:
        document = new()
        document.receive("z", "zoe", 1, 0, ["x" * 10_000])
        document.receive("a", "ada", 1, 1, [1, "ab"] * places)
        choices = random.Random(4)
        for number in range(others):
            document.receive("b", "bob", number + 1, document.revision, [choices.randrange(1, 3 * places), "q"])
        return document, document.since(0)

    def test_it_is_done_in_steps(self) -> None:
        document, _ = self.long(1000, 1000)
        before = document.content()
        with pytest.raises(Laborious) as needs:
            document.undo("a", "ada", 2, document.revision)
        assert sum(1 for _ in needs.value.steps) > 5
        assert document.content() == before
        receipt = document.undo("a", "ada", 2, document.revision)
        assert document.content().count("ab") == 0 and document.content().count("q") == 1000
        again = replayed(document, document.since(0), None)  # there it is not planned before
        assert again.undo_depth("a") == (0, 1) and receipt.entry.kind == "undo"

    def test_few_places_are_no_work(self) -> None:
        document, _ = self.long(1, 1000)
        document.undo("a", "ada", 2, document.revision)
        assert "ab" not in document.content()

    def test_it_has_a_bound(self, monkeypatch: pytest.MonkeyPatch) -> None:
        document, entries = self.long(300, 1000)
        monkeypatch.setattr(undo, "MAX_COST", 3000)
        monkeypatch.setattr(undo, "QUICK", 3000)
        with refused(ErrorCode.OPERATION_INVALID):
            document.undo("a", "ada", 2, document.revision)
        assert document.revision == len(entries)
        monkeypatch.undo()
        with pytest.raises(Laborious) as needs:
            document.undo("a", "ada", 2, document.revision)
        for _ in needs.value.steps:
            pass
        document.undo("a", "ada", 2, document.revision)
        assert "ab" not in document.content()


@pytest.mark.parametrize("seed", seeds(10, 60))
def test_in_steps_or_at_once_is_the_same(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    document, seqs = new("some text"), dict.fromkeys("abc", 0)
    for _ in range(80):
        client = dice.choice("abc")
        at = dice.randint(0, document.length())
        kind = dice.choice(["edit", "edit", "edit", "undo", "redo"])
        seqs[client] += 1
        if kind == "edit":
            change: Any = "yz" if dice.random() < 0.6 or at == document.length() else -1
            document.receive(client, client, seqs[client], document.revision, [at, change] if at else [change])
            continue
        outcomes = []
        for quick in (2000, -1):
            monkeypatch.setattr(undo, "QUICK", quick)
            fork = new()
            fork.restore(document.revision, document.snapshot())
            while True:
                try:
                    fork.undo(client, client, seqs[client], fork.revision, kind)  # type: ignore[arg-type]
                except Laborious as needs:
                    for _ in needs.steps:
                        pass
                    continue
                except SynclineError as error:
                    outcomes.append((error.code, fork.snapshot()))
                else:
                    outcomes.append((None, fork.snapshot()))
                break
        assert outcomes[0] == outcomes[1]
        monkeypatch.undo()
        if outcomes[0][0] is None:
            document.undo(client, client, seqs[client], document.revision, kind)  # type: ignore[arg-type]


class TestFirstContent:
    """What others did on it would go with it, so that it is no step of undo."""

    CASES = (
        ("text", "first", ["theirs "], "theirs first"),
        ("rich-text", [{"insert": "first"}], [{"insert": "theirs "}], [{"insert": "theirs first"}]),
        ("json", {"items": []}, [{"p": ["items", 0], "li": "theirs"}], {"items": ["theirs"]}),
    )

    @pytest.mark.parametrize(
        ("kind", "first", "edit", "content"), CASES, ids=lambda case: case if type(case) is str else ""
    )
    @pytest.mark.parametrize("again", [False, True])
    def test_it_stays(self, kind: str, first: Any, edit: Any, content: Any, again: bool) -> None:
        document = open_document(kind, "d", "g")
        entries = [
            document.initialize("a", "ada", 1, 0, first).entry,
            document.receive("b", "bob", 1, 1, edit).entry,
        ]
        if again:  # loaded from the log
            before, document = document, open_document(kind, "d", "g")
            document.replay(0, entries)
            assert document.content() == before.content()
        assert document.undo_depth("a") == (0, 0)
        with refused(ErrorCode.NOTHING_TO_UNDO):
            document.undo("a", "ada", 2, 2)
        assert document.content() == content
        document.undo("b", "bob", 2, document.revision)
        assert document.content() == first

    @pytest.mark.parametrize("again", [False, True])
    def test_nor_is_one_of_a_document_in_which_something_was(self, again: bool) -> None:
        document = open_document("json", "d", "g")
        entries = [
            document.initialize("a", "ada", 1, 0, None).entry,
            document.receive("a", "ada", 2, 1, [{"p": [], "od": None, "oi": [1]}]).entry,
            document.receive("a", "ada", 3, 2, [{"p": [], "od": None, "oi": None}]).entry,
            document.initialize("b", "bob", 1, 3, {"items": []}).entry,
            document.receive("a", "ada", 4, 4, [{"p": ["items", 0], "li": "mine"}]).entry,
        ]
        if again:
            document = open_document("json", "d", "g")
            document.replay(0, entries)
        assert document.undo_depth("b") == (0, 0)
        with refused(ErrorCode.NOTHING_TO_UNDO):
            document.undo("b", "bob", 2, 5)
        document.undo("a", "ada", 5, 5)
        assert document.content() == {"items": []}

    @pytest.mark.parametrize("again", [False, True])
    def test_but_a_restoration_of_what_was_deleted_is_one(self, again: bool) -> None:
        document = new()
        entries = [
            document.receive("a", "ada", 1, 0, ["kept"]).entry,
            document.receive("b", "bob", 1, 1, [-4]).entry,
            document.restore_content("a", "ada", 2, 2, 1, "kept").entry,
        ]
        if again:
            document = replayed(document, entries, None)
        for seq, kind, content in ((3, "undo", ""), (4, "redo", "kept")):
            document.undo("a", "ada", seq, document.revision, kind)  # type: ignore[arg-type]
            assert document.content() == content

    def test_what_its_author_did_before_it_is_undone_around_it(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["old"])
        document.receive("a", "ada", 2, 1, [-3])
        document.initialize("a", "ada", 3, 2, "new")
        document.undo("a", "ada", 4, 3)
        assert sorted(document.content()) == sorted("newold")
        document.undo("a", "ada", 5, 4)
        assert document.content() == "new"
