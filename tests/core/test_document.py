"""Documents: exactly once, the window, cursors, snapshots; against a document that forgets nothing."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.core.documents.document import Document, live_documents
from syncline.core.documents.text_type import TextType
from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError
from syncline.core.ot.ot import Operation, map_position
from syncline.core.storage.commits import Entry, decode_entries, encode_entries, new_text_snapshot
from syncline.core.storage.window import Cursor, Receipt
from syncline.core.types import document_type
from tests.oracle import document as oracle_document
from tests.oracle.strategies import operations, units
from tests.scale import seeds

UNITS: tuple[Any, ...] = ("utf-16", "unicode")


def refused(code: ErrorCode) -> Any:
    return pytest.raises(SynclineError, check=lambda error: error.code is code)


def outdated(base: int, floor: int) -> Any:
    return pytest.raises(OutdatedRevision, check=lambda error: (error.base, error.floor) == (base, floor))


def new(text: str = "", **bounds: Any) -> Document:
    document = TextType().open("notes", "g1", **bounds)
    if text:
        document.restore(0, new_text_snapshot(text))
    return document


def state(document: Document) -> Any:
    return (
        document.content(),
        document.revision,
        document.floor,
        document.window_bytes,
        document.snapshot(),
        [document.cursor(client) for client in "abc"],
        encode_entries(document.since(document.floor)),
    )


class TestReceive:
    def test_an_operation(self) -> None:
        document = new("Hello, world")
        receipt = document.receive("a", "ada", 1, 0, [5, " there"], time=12.5)
        assert document.content() == "Hello there, world"
        assert (document.revision, document.floor, document.length()) == (1, 0, 18)
        assert receipt.entry is not None
        entry = receipt.entry
        assert (receipt.revision, receipt.duplicate) == (1, False)
        assert (entry.client, entry.user, entry.seq, entry.time) == ("a", "ada", 1, 12.5)
        assert entry.operation == Operation([5, " there"])
        assert entry.in_unit("unicode") == Operation([5, " there"], "unicode")
        assert document.since(0) == [entry] and document.since(1) == []
        assert (document.last_seq("a"), document.client_user("a")) == (1, "ada")
        assert (document.last_seq("b"), document.client_user("b")) == (0, None)

    def test_a_late_one_goes_to_the_left(self) -> None:
        document = new("ab")
        document.receive("a", "ada", 1, 0, [1, "first"])
        receipt = document.receive("b", "bob", 1, 0, {"type": "insert", "position": 1, "content": "late"})
        assert document.content() == "alatefirstb"
        assert receipt.entry is not None and receipt.entry.operation.components == [1, "late"]

    def test_an_operation_that_is_parsed_already(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, Operation(["x"]))
        with pytest.raises(ValueError, match="unit"):
            document.receive("a", "ada", 2, 0, Operation(["x"], "unicode"))

    def test_an_operation_that_does_nothing_is_a_revision_too(self) -> None:
        document = new("ab")
        document.receive("a", "ada", 1, 0, [-2])
        document.set_cursor("b", 1, 0, 0)
        assert document.receive("b", "bob", 1, 0, [-2]).revision == 2
        assert document.content() == "" and document.since(1)[0].operation.is_identity
        assert document.cursor("b") == Cursor(0, 0)

    def test_units_meet(self) -> None:
        document = new("a💃b")
        document.receive("p", "pat", 1, 0, [2, "🤟"], "unicode")
        document.receive("j", "jo", 1, 0, [3, "!"], "utf-16")
        document.receive("p", "pat", 2, 1, [4, "?"], "unicode")
        assert document.content() == "a💃!🤟b?"
        assert [entry.in_unit("utf-16").components for entry in document.since(0)] == [[3, "🤟"], [3, "!"], [7, "?"]]
        assert [entry.in_unit("unicode").components for entry in document.since(0)] == [[2, "🤟"], [2, "!"], [5, "?"]]
        assert (document.length("utf-16"), document.length("unicode")) == (8, 6)

    @pytest.mark.parametrize(
        ("arguments", "code"),
        [
            (("c", "eve", 1, 0, [0]), ErrorCode.OPERATION_INVALID),
            (("c", "eve", 1, 0, None), ErrorCode.OPERATION_INVALID),
            (("c", "eve", 1, 1, [2, "x"]), ErrorCode.OPERATION_INVALID),
            (("c", "eve", 1, 1, [4, "x"]), ErrorCode.OPERATION_OUT_OF_RANGE),
            (("c", "eve", 1, 1, [3, "x"], "unicode"), ErrorCode.OPERATION_OUT_OF_RANGE),
            # The text has grown since revision 0, but it was empty then.
            (("c", "eve", 1, 0, [1, "x"]), ErrorCode.OPERATION_OUT_OF_RANGE),
            (("c", "eve", 1, 2, ["x"]), ErrorCode.REVISION_UNKNOWN),
            (("c", "eve", 1, 10**30, ["x"]), ErrorCode.REVISION_UNKNOWN),
            (("c", "eve", 1, -1, ["x"]), ErrorCode.INVALID_DATA),
            (("c", "eve", 1, True, ["x"]), ErrorCode.INVALID_DATA),
            (("c", "eve", 0, 1, ["x"]), ErrorCode.INVALID_DATA),
            (("c", "eve", "1", 1, ["x"]), ErrorCode.INVALID_DATA),
            (("c", "eve", 10**30, 1, ["x"]), ErrorCode.INVALID_DATA),
            (("c\ud800", "eve", 1, 1, ["x"]), ErrorCode.INVALID_DATA),
            (("a", "eve", 2, 1, ["x"]), ErrorCode.CLIENT_TAKEN),
            (("a", "ada", 1, 0, ["other"]), ErrorCode.SEQUENCE_CONFLICT),
            (("c", "eve", 1, 1, ["12345678"]), ErrorCode.DOCUMENT_TOO_LARGE),
        ],
    )
    def test_refusals_change_nothing(self, arguments: Any, code: ErrorCode) -> None:
        document = new(max_length=10)
        document.receive("a", "ada", 1, 0, ["a💃"])
        document.set_cursor("b", 1, 0, 3)
        before = state(document)
        with refused(code):
            document.receive(*arguments)
        assert state(document) == before

    def test_a_text_over_the_limit_may_shrink(self) -> None:
        document = new("0123456789", max_length=5)
        document.receive("a", "ada", 1, 0, [-2])
        with refused(ErrorCode.DOCUMENT_TOO_LARGE):
            document.receive("a", "ada", 2, 1, ["x"])
        document.receive("a", "ada", 2, 1, ["x", -1])
        assert document.content() == "x3456789"


class TestExactlyOnce:
    def test_the_same_again(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["x"])
        document.receive("b", "bob", 1, 1, ["y"])
        document.receive("a", "ada", 2, 2, ["z"])
        before = state(document)
        assert document.receive("a", "ada", 2, 2, ["z"]) == (3, None, True)
        assert document.receive("a", "ada", 1, 0, ["x"]) == (1, None, True)
        assert document.receive("a", "ada", 1, 3, ["x"]) == (1, None, True)
        for seq in (1, 2):
            with refused(ErrorCode.SEQUENCE_CONFLICT):
                document.receive("a", "ada", seq, 0, ["other"])
        assert state(document) == before

    def test_a_refused_number_leaves_a_gap(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["x"])
        with refused(ErrorCode.OPERATION_INVALID):
            document.receive("a", "ada", 2, 1, [""])
        document.receive("a", "ada", 3, 1, ["y"])
        with refused(ErrorCode.SEQUENCE_CONFLICT):  # a late copy of what was refused
            document.receive("a", "ada", 2, 1, ["z"])
        assert document.content() == "yx"

    def test_the_digest_is_of_what_was_submitted(self) -> None:
        """What is kept is the transformed operation; a resubmission is the original one, also after a reload."""
        document = new()
        document.receive("a", "ada", 1, 0, ["x💃"])
        document.receive("b", "bob", 1, 0, ["y"])
        document.receive("c", "cy", 1, 0, ["left"])
        document.receive("a", "ada", 2, 1, [2, "!"], "unicode")
        body = encode_entries(document.since(0))
        replayed, restored = new(), new()
        replayed.replay(0, decode_entries(body))
        restored.restore(4, document.snapshot())
        for each in (document, replayed, restored):
            assert each.content() == document.content()
            assert each.receive("a", "ada", 2, 1, [2, "!"], "unicode") == (4, None, True)
            assert each.receive("b", "bob", 1, 0, ["y"]) == (2, None, True)
            for client, seq, components in (("a", 2, [7, "!"]), ("b", 1, ["other"])):
                with refused(ErrorCode.SEQUENCE_CONFLICT):
                    each.receive(client, each.client_user(client) or "", seq, 1, components)

    def test_an_older_number_is_found_in_the_window_or_asked_for(self) -> None:
        document = new(window_operations=1)
        entries = [document.receive("a", "ada", seq, seq - 1, [f"{seq}"]).entry for seq in (1, 2, 3)]
        document.trim()
        assert document.floor == 2
        assert document.receive("a", "ada", 3, 2, ["3"]).duplicate
        with outdated(1, 2):
            document.receive("a", "ada", 2, 1, ["2"])
        with refused(ErrorCode.SEQUENCE_CONFLICT):  # cannot have been made at 2 and be committed as 2
            document.receive("a", "ada", 2, 2, ["2"])
        document.prepend(2, decode_entries(encode_entries([entries[1]])))  # type: ignore[list-item]
        assert document.receive("a", "ada", 2, 1, ["2"]) == (2, None, True)
        document.trim()
        assert document.floor == 2

    def test_a_forgotten_client_comes_back(self) -> None:
        document = new(window_operations=2, max_clients=2)
        bodies = []
        for number, client in enumerate("abcd"):
            document.receive(client, client, 1, number, [client])
            bodies.append(encode_entries(document.since(number)))
            document.trim()
        assert document.client_count == 2 and document.has_forgotten
        assert document.last_seq("a") == 0 and document.last_seq("c") == 1
        with outdated(0, 2):
            document.receive("a", "a", 1, 0, ["a"])
        before = document.content()
        document.prepend(1, [entry for body in bodies[:2] for entry in decode_entries(body)])
        assert document.last_seq("a") == 1 and document.client_user("b") == "b"
        assert document.receive("a", "a", 1, 0, ["a"]) == (1, None, True)
        with refused(ErrorCode.CLIENT_TAKEN):
            document.receive("a", "eve", 2, 0, ["x"])
        assert document.receive("a", "a", 2, 1, ["A"]).revision == 5  # and goes on
        assert document.content() != before
        document.trim()
        assert document.client_count == 2 and document.last_seq("a") == 2

    def test_clients_in_the_window_are_never_forgotten(self) -> None:
        document = new(max_clients=1)
        for number, client in enumerate("abc"):
            document.receive(client, client, 1, number, [client])
        assert document.client_count == 3 and not document.has_forgotten
        assert document.receive("a", "a", 1, 0, ["a"]).duplicate

    def test_who_is_forgotten_is_who_was_silent_longest(self) -> None:
        document = new(window_operations=0, max_clients=2)
        for number, (client, seq) in enumerate((("a", 1), ("b", 1), ("a", 2), ("c", 1))):
            document.receive(client, client, seq, number, ["x"])
            document.trim()
        assert [document.last_seq(client) for client in "abc"] == [2, 0, 1]
        again = new()
        again.restore(4, document.snapshot())
        assert again.has_forgotten and [again.last_seq(client) for client in "abc"] == [2, 0, 1]


class TestWindow:
    def test_bounds(self) -> None:
        document = new(window_operations=3)
        for revision in range(200):
            document.receive("a", "ada", revision + 1, revision, ["x"])
            document.trim()
            assert document.floor == max(0, revision - 2)
        assert [entry.seq for entry in document.since(198)] == [199, 200]
        with outdated(196, 197):
            document.since(196)
        with outdated(196, 197):
            document.set_cursor("a", 196, 0, 0)
        for bad in (201, 10**30):
            with refused(ErrorCode.REVISION_UNKNOWN):
                document.since(bad)
        for wrong in (-1, True, "3"):
            with refused(ErrorCode.INVALID_DATA):
                document.since(wrong)  # type: ignore[arg-type]

    def test_bytes(self) -> None:
        document = new(window_bytes=10_000)
        for revision in range(10):
            document.receive("a", "ada", revision + 1, revision, ["x" * 3000])
        assert document.window_bytes > 30_000 and document.floor == 0
        document.trim()
        assert document.window_bytes <= 10_000 and document.floor == 7

    def test_prepend_wants_what_fits(self) -> None:
        document = new("abc", window_operations=0)
        bodies = []
        for revision in range(3):
            document.receive("a", "ada", revision + 1, revision, [-1])
            bodies.append(encode_entries(document.since(revision)))
            document.trim()
        one, two, three = (decode_entries(body) for body in bodies)
        before = state(document)
        for first, entries in ((2, two), (3, three + one), (0, three), (4, three), (5, []), (1, two + three)):
            with pytest.raises(ValueError, match="floor"):
                document.prepend(first, entries)
        strange = Entry("a", "ada", 3, Operation(["x"]))
        with pytest.raises(ValueError, match="fit"):
            document.prepend(3, [strange])
        assert state(document) == before
        document.prepend(3, three)
        document.prepend(2, two)
        document.prepend(2, [])
        document.prepend(1, one)
        assert document.floor == 0 and [entry.seq for entry in document.since(0)] == [1, 2, 3]
        with refused(ErrorCode.OPERATION_OUT_OF_RANGE):
            document.receive("b", "bob", 1, 1, [3, "x"])
        document.receive("b", "bob", 1, 1, [2, "x"])
        assert document.content() == "x"


class TestCursors:
    def test_they_move(self) -> None:
        document = new("abcdef")
        document.set_cursor("a", 0, 2, 4)
        document.receive("b", "bob", 1, 0, ["12"])
        assert document.cursor("a") == (4, 6)
        assert document.cursor("b") == (2, 2)
        document.receive("b", "bob", 2, 1, [5, -2])
        assert document.cursor("a") == (4, 5) and document.cursor("b") == (5, 5)
        document.receive("b", "bob", 3, 2, [4, "at the cursor"])
        assert document.cursor("a") == (4, 18)
        document.set_cursor("a", 0, 6, 0)  # an old one, at its revision
        assert document.cursor("a") == (len("12ab") + 13 + len("cf"), 0)
        document.drop_cursor("a")
        document.drop_cursor("a")
        assert document.cursor("a") is None

    def test_units(self) -> None:
        document = new("a💃b💃")
        document.set_cursor("a", 0, 2, 4, "unicode")
        assert document.cursor("a") == (3, 6) and document.cursor("a", "unicode") == (2, 4)
        document.set_cursor("a", 0, 2, 5)  # both inside pairs
        assert document.cursor("a") == (1, 4)
        document.receive("b", "bob", 1, 0, [1, -1], "unicode")
        assert document.cursor("a") == (1, 2) and document.cursor("a", "unicode") == (1, 2)

    @pytest.mark.parametrize(("anchor", "head"), [(-1, 0), (0, 4), (4, 0), (True, 0), (0, 1.0), (0, None), (10**30, 0)])
    def test_bad_ones(self, anchor: Any, head: Any) -> None:
        document = new("abc")
        with refused(ErrorCode.INVALID_DATA):
            document.set_cursor("a", 0, anchor, head)
        with refused(ErrorCode.REVISION_UNKNOWN):
            document.set_cursor("a", 1, 0, 0)
        assert document.cursor("a") is None

    def test_bounded(self) -> None:
        document = new(max_clients=2)
        for client in "abc":
            document.set_cursor(client, 0, 0, 0)
        assert [document.cursor(client) for client in "abc"] == [None, (0, 0), (0, 0)]


class TestPersistence:
    def test_a_created_text(self) -> None:
        document = new("a💃")
        assert (document.content(), document.revision, document.floor, document.length("unicode")) == ("a💃", 0, 0, 2)
        with refused(ErrorCode.OPERATION_INVALID):
            new_text_snapshot("\ud800")

    def test_replay_skips_and_notices_gaps(self) -> None:
        document = new()
        for revision in range(4):
            document.receive("a", "ada", revision + 1, revision, [f"{revision}"])
        entries = decode_entries(encode_entries(document.since(0)))
        loaded = new()
        loaded.replay(0, entries[:3])
        loaded.replay(1, entries[1:2])
        loaded.replay(2, entries[2:])
        assert state(loaded)[:4] == state(document)[:4] and loaded.last_seq("a") == 4
        for base in (1, 5):
            with pytest.raises(ValueError, match="missing"):
                new().replay(base, entries)
        with pytest.raises(ValueError, match="negative"):
            new().replay(-1, entries)

    @pytest.mark.parametrize(
        "entry",
        [
            Entry("a", "ada", 2, Operation([9, "x"])),
            Entry("a", "ada", 2, Operation([2, "x"])),
            Entry("a", "ada", 1, Operation(["x"])),
            Entry("a", "eve", 2, Operation(["x"])),
            Entry("a", "ada", 2, Operation([3, "x"])),
            Entry("a", "ada", 2, Operation([1, "x"]), Operation([2, "x"], "unicode")),
        ],
    )
    def test_replay_notices_what_does_not_fit(self, entry: Entry) -> None:
        document = new()
        document.replay(0, [Entry("a", "ada", 1, Operation(["a💃"]), Operation(["a💃"], "unicode"))])
        with pytest.raises(ValueError, match=r"fit|follow"):
            document.replay(1, [entry])
        assert document.content() == "a💃"

    def test_restore_refuses_damage_and_stays_as_it_was(self) -> None:
        document = new()
        document.receive("a", "ada", 1, 0, ["a💃"])
        document.receive("b", "bob", 1, 1, ["é"])
        body, before = document.snapshot(), state(document)
        for bad in (*damages(body), encode_entries(document.since(0)), b""):
            with pytest.raises(ValueError, match=r"body|byte"):
                document.restore(2, bad)
        for revision in (-1, 1, 0):  # a client's last commit may not lie ahead
            with pytest.raises(ValueError, match=r"revision|body"):
                document.restore(revision, body)
        assert state(document) == before
        document.restore(2, body)
        assert document.content() == "éa💃" and document.floor == 2 and document.cursor("a") is None

    def test_entries_round_trip(self) -> None:
        entries = [
            Entry("a", "ada", 1, Operation([]), time=1.25),
            Entry(
                "b💃", "böb", 2**53 - 1, Operation([5, "a💃", -3, "é"]), Operation([4, "a💃", -2, "é"], "unicode"), 1.25
            ),
            Entry("a", "ada", 2, Operation(["x", -1] * 40), digest=2**64 - 1, time=-3.5),
            Entry("a", "ada", 3, Operation([3, "💃"]), Operation([2, "💃"], "unicode"), digest=7),
        ]
        read = decode_entries(encode_entries(entries))
        for found, wanted in zip(read, entries, strict=True):
            for name in ("client", "user", "seq", "time", "operation", "unicode_operation", "digest"):
                assert getattr(found, name) == getattr(wanted, name)
            assert getattr(copy.copy(wanted), name) == getattr(wanted, name)
        assert decode_entries(encode_entries([])) == []
        with pytest.raises(ValueError, match="unicode"):
            Entry("a", "ada", 1, Operation([], "unicode"))
        with pytest.raises(ValueError, match="surrogates"):
            encode_entries([Entry("\ud800", "ada", 1, Operation([]))])

    def test_damaged_entries_are_noticed(self) -> None:
        operations = Operation([5, "a💃", -3]), Operation([4, "a💃", -2], "unicode")
        for bad in damages(encode_entries([Entry("a", "ada", 1, *operations, 1.5)])):
            with pytest.raises(ValueError, match=r"body|byte"):
                decode_entries(bad)

    def test_a_turn_is_small(self) -> None:
        document = new()
        for revision in range(100):
            document.receive(
                "k3j9x0q2", "ada", revision + 1, revision, [revision, "x"] if revision else ["x"], time=9.0
            )
        assert len(encode_entries(document.since(0))) < 1000


def damages(body: bytes) -> list[bytes]:
    """Every bit flipped, every prefix, something behind."""
    flipped = [
        body[:at] + bytes([body[at] ^ (1 << bit)]) + body[at + 1 :] for at in range(len(body)) for bit in range(8)
    ]
    return flipped + [body[:at] for at in range(len(body))] + [body + b"\0"]


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(3, 20, 100))
def test_fuzzed_bodies_with_a_right_checksum(seed: int) -> None:
    """Whoever writes the checksum may write anything before it: ValueError or a sound result, never a crash."""
    from zlib import crc32

    choices = random.Random(seed)
    document = new("a💃")
    for revision in range(6):
        document.receive("ab"[revision % 2], "u", revision + 1, revision, [1, "é💃", "x"])
    document.receive("c", "u", 1, 2, [1, -1, "🤟", -2], "unicode")
    sources = [encode_entries(document.since(0)), document.snapshot(), new_text_snapshot("")]
    accepted = 0
    for _ in range(6000):
        content = bytearray(choices.choice(sources)[:-4])
        for _ in range(choices.randint(1, 4)):
            at = choices.randrange(1, len(content)) if len(content) > 1 else 0
            match choices.randrange(4):
                case 0:
                    content[at : at + 1] = bytes([choices.randrange(256)])
                case 1:
                    content[at:at] = choices.randbytes(choices.randint(1, 3))
                case 2:
                    del content[at : at + choices.randint(1, 9)]
                case _:
                    content[at : at + 1] = choices.choice([b"\0", b"\1", b"\x7f", b"\x80", b"\xff"])
        body = bytes(content) + crc32(content).to_bytes(4, "little")
        target = new("a💃")
        try:
            if content[:1] == b"\x21":
                target.restore(7, body)
            else:
                entries = decode_entries(body)
                again = decode_entries(encode_entries(entries))
                assert [entry.operation for entry in again] == [entry.operation for entry in entries]
                target.replay(0, entries)
            accepted += 1
        except ValueError:
            continue
        text = target.content()
        assert text.encode("utf-16-le").decode("utf-16-le") == text
    assert accepted > 0


def test_none_is_left_behind() -> None:
    before = live_documents()
    document = new("abc")
    with refused(ErrorCode.OPERATION_INVALID):
        document.receive("a", "ada", 1, 0, [0])
    assert live_documents() == before + 1
    del document
    assert live_documents() == before
    with pytest.raises(TypeError, match="snapshot"):
        copy.copy(new())


@given(st.data())
@settings(max_examples=150)
def test_against_a_document_that_forgets_nothing(data: st.DataObject) -> None:
    """Random submissions, repetitions and nonsense in both units, with a window so small that it is widened all the
    time.
    """
    bounds: dict[str, Any] = {
        "window_operations": data.draw(st.integers(0, 3)),
        "max_clients": data.draw(st.integers(1, 2)),
    }
    document = new(max_length=30, **bounds)
    reference = oracle_document.Document(max_length=30)
    sent: list[Any] = []
    seqs = dict.fromkeys("abc", 0)
    cursors: dict[str, int] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        kind = data.draw(st.sampled_from(["new", "new", "new", "again", "other", "wrong"]))
        if kind == "again" and sent:
            arguments = data.draw(st.sampled_from(sent))
        else:
            client, unit = data.draw(st.sampled_from("abc")), data.draw(units)
            if kind != "other" or not seqs[client]:
                seqs[client] += 1
            # Nobody makes an operation at the revision that it made, or after it.
            made = [at for at, done in enumerate(reference.history) if done[:2] == (client, seqs[client])]
            newest = made[0] if made else reference.revision
            base = data.draw(st.integers(max(0, newest - 4), newest))
            components = data.draw(operations(reference.texts[base], unit))
            if kind == "wrong":
                components = [*components, data.draw(st.integers(1, 30)), -1]
            arguments = (client, "user of " + client, seqs[client], base, components, unit)
            sent.append(arguments)
        try:
            expected: Any = reference.receive(*arguments)
        except oracle_document.Refused as error:
            expected = str(error)
        try:
            receipt = receive(document, reference, arguments)
            found: Any = (receipt.revision, receipt.duplicate)
            assert (receipt.entry is None) is receipt.duplicate
        except SynclineError as error:
            found = error.code.value
        assert found == expected
        assert (document.content(), document.revision) == (reference.text, reference.revision)
        if isinstance(found, tuple) and not found[1]:
            client, operation = arguments[0], document.since(document.revision - 1)[0].operation
            for unit in UNITS:
                entry = document.since(document.revision - 1)[0]
                assert entry.in_unit(unit).components == reference.history[-1].components[unit]
            cursors = {name: map_position(at, operation, "left") for name, at in cursors.items()}
            if not operation.is_identity:
                cursors[client] = operation.end
                while len(cursors) > bounds["max_clients"]:
                    cursors.pop(next(name for name in cursors if name != client))
            for name, at in cursors.items():
                cursor = document.cursor(name)
                assert cursor is None or cursor == (at, at)
        if data.draw(st.booleans()):
            document.trim()
        if data.draw(st.integers(0, 9)) == 0:
            document = reload(document, bounds)
            cursors = {}


@pytest.mark.parametrize("name", ["text", "rich-text", "json"])
@pytest.mark.parametrize("seed", seeds(15, 150))
def test_what_was_accepted_is_replayed_whatever_was_forgotten_meanwhile(name: str, seed: int) -> None:
    """Clients come back under small numbers, and under other users, when they are forgotten: when that is depends on the bounds and on how
    the turns were cut, which the log does not tell."""
    dice = random.Random(seed)
    kind = document_type(name)
    document = kind.open("d", "g", window_operations=dice.randint(0, 2), max_clients=dice.randint(1, 3))
    edit: Any = {"text": ["x"], "rich-text": [{"insert": "x"}], "json": [{"p": [], "od": None, "oi": 1}]}[name]
    log: list[Any] = []
    again = 0
    snapshots: list[tuple[int, bytes]] = []
    for _ in range(60):
        client = dice.choice("abcd")
        user = document.client_user(client) or dice.choice(["ada", "bob"])
        seq = document.last_seq(client) + 1
        again += any(one.client == client and (one.seq >= seq or one.user != user) for one in log)
        log.append(document.receive(client, user, seq, document.revision, edit).entry)
        if dice.random() < 0.5:
            document.trim()
        if dice.random() < 0.1:
            snapshots.append((document.revision, document.snapshot()))
    assert again
    for bounds in ({}, {"max_clients": 1}, {"window_operations": 0, "max_clients": 2}):
        for revision, snapshot in [(0, None), *snapshots]:
            loaded = kind.open("d", "g", **bounds)
            if snapshot is not None:
                loaded.restore(revision, snapshot)
            while loaded.revision < len(log):
                base = loaded.revision
                loaded.replay(base, kind.decode_entries(kind.encode_entries(log[base : base + dice.randint(1, 30)])))
            assert (loaded.content(), loaded.revision) == (document.content(), len(log))
            last = log[-1]
            assert (loaded.last_seq(last.client), loaded.client_user(last.client)) == (last.seq, last.user)


def receive(document: Document, reference: oracle_document.Document, arguments: Any) -> Receipt:
    """As the pipeline does: what is outdated is tried again with the history that the store holds."""
    while True:
        try:
            return document.receive(*arguments)
        except OutdatedRevision as error:
            assert error.floor == document.floor > error.base
            document.prepend(error.base + 1, stored(reference, error.base, error.floor))


def stored(reference: oracle_document.Document, since: int, until: int) -> list[Entry]:
    entries = []
    for done in reference.history[since:until]:
        unit: Any = done.unit
        operations = Operation(done.components["utf-16"]), Operation(done.components["unicode"], "unicode")
        digest = Operation(done.submitted, unit).digest
        entries.append(Entry(done.client, reference.users[done.client], done.seq, *operations, digest=digest))
    return entries


def reload(document: Document, bounds: dict[str, Any]) -> Document:
    again = new(max_length=30, **bounds)
    again.restore(document.revision, document.snapshot())
    return again
