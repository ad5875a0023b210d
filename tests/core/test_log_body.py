"""How committed operations are stored: against JSON, bodies of the first form, damage, merging and packing."""

from __future__ import annotations

import json
import random
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.documents.text_type import TextType
from syncline.core.ot.ot import Operation
from syncline.core.storage.commits import (
    Entry,
    decode_entries,
    decode_payloads,
    decode_snapshot,
    encode_entries,
    encode_payloads,
    merge_bodies,
    payload_digest,
)
from syncline.core.storage.log_body import pack_entries
from syncline.core.storage.record_format import pack, raw_size
from syncline.testing.editing import generate
from tests import traces
from tests.core.log_histories import FIRST_FORM, FIRST_FORM_TEXT, history
from tests.scale import seeds


def plain(entry: Entry) -> dict[str, Any]:
    """An entry as JSON knows it."""
    other = entry.unicode_operation
    return {
        "client": entry.client,
        "user": entry.user,
        "seq": entry.seq,
        "time": entry.time,
        "digest": entry.digest,
        "kind": entry.kind,
        "operation": entry.operation.components,
        "unicode": None if other is None else other.components,
    }


def written(entries: list[Entry]) -> str:
    return json.dumps([plain(entry) for entry in entries])


@given(st.integers(0, 2**32))
def test_a_round_trip_is_json(seed: int) -> None:
    document, entries = history(seed)
    body = encode_entries(entries)
    assert written(decode_entries(body)) == written(entries)
    assert encode_entries(decode_entries(body)) == body
    assert written(decode_entries(pack_entries(body))) == written(entries)
    again = TextType().open("notes", "g")
    again.replay(0, decode_entries(body))
    assert again.content() == document.content() and again.revision == document.revision


@given(st.integers(0, 2**32), st.data())
def test_merged_bodies_hold_the_same_entries(seed: int, data: st.DataObject) -> None:
    _, entries = history(seed)
    bodies, at = [], 0
    while at < len(entries):
        size = data.draw(st.integers(1, 20))
        body = encode_entries(entries[at : at + size])
        bodies.append(pack_entries(body) if data.draw(st.booleans()) else body)
        at += size
    merged = merge_bodies(bodies)
    assert merged == encode_entries(entries)
    middle = len(bodies) // 2
    assert merge_bodies([merge_bodies(bodies[:middle]), merge_bodies(bodies[middle:])]) == merged
    step = data.draw(st.sampled_from([1000, 60_000]))
    coarse = decode_entries(merge_bodies(bodies, step))
    for found, wanted in zip(coarse, entries, strict=True):
        assert {**plain(found), "time": 0} == {**plain(wanted), "time": 0}
        assert found.time == round(wanted.time * 1000) // step * step / 1000


@given(st.integers(0, 2**32), st.integers(0, 70), st.none() | st.integers(0, 70))
def test_a_part_of_a_body(seed: int, skip: int, count: int | None) -> None:
    _, entries = history(seed)
    for body, there in ((encode_entries(entries), entries), (FIRST_FORM, decode_entries(FIRST_FORM))):
        wanted = there[skip:] if count is None else there[skip : skip + count]
        assert written(decode_entries(body, skip, count)) == written(wanted)
    for bad in ((-1, None), (0, -1)):
        with pytest.raises(ValueError, match="negative"):
            decode_entries(FIRST_FORM, *bad)


def test_kinds_are_kept() -> None:
    kinds: list[Any] = ["edit", "undo", "undo", "redo", "restore", "edit"]
    entries = [
        Entry("c", "u", number, Operation([number, "x"]), None, 1.0, None, kind) for number, kind in enumerate(kinds, 1)
    ]
    assert written(decode_entries(encode_entries(entries))) == written(entries)


@pytest.mark.parametrize("kind", ["edit", "undo", "redo", "restore"])
def test_a_burst_of_typing_costs_its_text(kind: Any) -> None:
    def size(count: int) -> int:
        entries = [Entry("c", "u", at + 1, Operation([at + 1, "x"]), None, 5.0, None, kind) for at in range(count)]
        return len(encode_entries(entries))

    assert size(1000) - size(1) <= 1000 + 6


def test_times_are_kept_in_milliseconds() -> None:
    def kept(time: float) -> float:
        return decode_entries(encode_entries([Entry("c", "u", 1, Operation([]), None, time)]))[0].time

    assert kept(1_700_000_000.1234) == 1_700_000_000.123
    assert kept(1_700_000_000.1236) == 1_700_000_000.124
    assert kept(-0.0016) == -0.002
    for bad in (float("nan"), float("inf"), -1e300):
        with pytest.raises(ValueError, match="time"):
            kept(bad)


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ValueError, match="range"):
        encode_entries([Entry("c", "u", -1, Operation([]))])
    with pytest.raises(ValueError, match="surrogates"):
        encode_entries([Entry("c", "\ud800", 1, Operation([]))])


# The first form -------------------------------------------------------------------------------------------------------


def test_the_first_form_is_read() -> None:
    entries = decode_entries(FIRST_FORM)
    assert [(entry.client, entry.user, entry.seq, entry.time, entry.digest) for entry in entries] == [
        ("c1", "ada", 1, 1_700_000_000.25, 11756147564205461919),
        ("c1", "ada", 2, 1_700_000_000.25, 17521579772597398045),
        ("c2", "eve é", 7, 1_700_000_001.5, 74481064763019459),
        ("c2", "eve é", 9, 1_700_000_001.5, 17280346270528514342),
        ("c1", "ada", 3, -2.0, 16054269538550282986),
    ]
    assert [entry.operation.components for entry in entries] == [
        ["Hello 💃 world"],
        [6, "x"],
        [5, -1, 1, -2, "😀é"],
        [],
        [1, "ab", 2, -1, 2, "c"],
    ]
    document = TextType().open("notes", "g")
    document.replay(0, entries)
    assert document.content() == FIRST_FORM_TEXT


def test_the_first_form_is_merged_into_the_new_one() -> None:
    entries = decode_entries(FIRST_FORM)
    more = [Entry("c3", "bob", 1, Operation([3, "x"]))]
    merged = merge_bodies([FIRST_FORM, encode_entries(more)])
    assert merged[0] == 0x12
    assert written(decode_entries(merged)) == written(entries + more)
    assert pack_entries(FIRST_FORM) == FIRST_FORM


# Payloads -------------------------------------------------------------------------------------------------------------


def test_payloads_of_other_types() -> None:
    payloads = [b"", b"{}", bytes(range(256)), b"{}"]
    commits = [
        Entry("c1", "ada", 1, Operation([]), None, 1.5, payload_digest(b"")),
        Entry("c1", "ada", 2, Operation([]), None, 1.5, 77, "undo"),
        Entry("c2", "bob", 9, Operation([]), None, 2.0, payload_digest(payloads[2])),
        Entry("c1", "ada", 3, Operation([]), None, 2.0, payload_digest(b"{}"), "restore"),
    ]
    wanted = [
        (one.client, one.user, one.seq, one.time, one.digest, one.kind, payload)
        for one, payload in zip(commits, payloads, strict=True)
    ]
    body = encode_payloads(commits, payloads)  # type: ignore[arg-type]
    assert decode_payloads(body) == wanted
    halves = [encode_payloads(commits[:2], payloads[:2]), encode_payloads(commits[2:], payloads[2:])]  # type: ignore[arg-type]
    assert merge_bodies(halves) == body
    assert decode_payloads(pack_entries(merge_bodies([body] * 40)))[-4:] == wanted
    with pytest.raises(ValueError, match="not those of a text"):
        decode_entries(body)
    with pytest.raises(ValueError, match="those of a text"):
        decode_payloads(encode_entries([]))
    for pair in ([body, encode_entries([])], [encode_entries([]), body], [body, FIRST_FORM]):
        with pytest.raises(ValueError, match="different types"):
            merge_bodies(pair)
    with pytest.raises(ValueError, match="argument 2 is longer"):
        encode_payloads([], [b""])


def test_the_digest_of_a_payload_is_fnv() -> None:
    assert payload_digest(b"") == 0xCBF29CE484222325
    assert payload_digest(b"foobar") == 0x85944171F73967E8


# Packing --------------------------------------------------------------------------------------------------------------


def test_packing() -> None:
    document, entries = history(1, 500)
    body = encode_entries(entries)
    packed = pack_entries(body)
    assert len(packed) < len(body) and raw_size(packed) == raw_size(body) == len(body)
    assert pack_entries(packed) == packed and pack(packed) == packed
    document.receive("c9", "u", 1, document.revision, ["many words, many words, " * 40])
    snapshot = document.snapshot()
    small = pack(snapshot)
    assert len(small) < len(snapshot) / 2 and raw_size(small) == len(snapshot)
    assert decode_snapshot(small)[0] == document.content()
    tiny = encode_entries([])
    assert pack_entries(tiny) == tiny
    for junk in (b"", b"\x13", b"abcd"):
        with pytest.raises(ValueError, match="body"):
            raw_size(junk)


def test_a_packed_body_unpacks_to_what_it_says_or_is_refused() -> None:
    _, entries = history(2, 300)
    body = encode_entries(entries)
    packed = pack_entries(body)
    size, length = raw_size(packed) - 5, 0
    while packed[1 + length] & 0x80:
        length += 1
    for claim in (size - 1, size + 1, 0, 2**28, 2**28 + 1):
        number, left = bytearray(), claim
        while left >= 0x80:
            number.append(left & 0x7F | 0x80)
            left >>= 7
        number.append(left)
        content = packed[:1] + bytes(number) + packed[2 + length : -4]
        with pytest.raises(ValueError, match="too large" if claim > 2**28 else "another length"):
            decode_entries(content + crc32(content).to_bytes(4, "little"))


def test_text_that_nothing_inserts_is_damage() -> None:
    content = encode_entries([Entry("a", "ada", 1, Operation(["x"]))])[:-4]
    assert content.endswith(b"\x01x")
    content = content[:-2] + b"\x02xy"
    for read in (decode_entries, lambda body: merge_bodies([body])):
        with pytest.raises(ValueError, match="goes on after the last operation"):
            read(content + crc32(content).to_bytes(4, "little"))


# Damage ---------------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_and_every_cut_is_noticed() -> None:
    _, entries = history(3, 12)
    bodies = [encode_entries(entries), pack_entries(merge_bodies([encode_entries(entries)] * 9)), FIRST_FORM]
    for body in bodies:
        flipped = [
            body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :] for at in range(len(body)) for bit in (0, 3, 7)
        ]
        for bad in (*flipped, *(body[:at] for at in range(len(body))), body + b"\0"):
            for read in (decode_entries, decode_payloads, lambda body: merge_bodies([body])):
                with pytest.raises(ValueError, match=r"body|byte|operations are"):
                    read(bad)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(4, 20, 80))
def test_fuzzed_bodies_with_a_right_checksum(seed: int) -> None:
    """Whoever writes the checksum may write anything before it: ValueError or sound entries, never a crash."""
    rng = random.Random(seed)
    sources = [encode_entries(history(number, 20)[1]) for number in range(6)] + [FIRST_FORM]
    accepted = 0
    for _ in range(4000):
        content = bytearray(rng.choice(sources)[:-4])
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(1, len(content))
            match rng.randrange(4):
                case 0:
                    content[at] = rng.randrange(256)
                case 1:
                    content[at:at] = rng.randbytes(rng.randint(1, 3))
                case 2:
                    del content[at : at + rng.randint(1, 4)]
                case _:
                    content[at : at + 1] = rng.choice([b"\0", b"\1", b"\x7f", b"\x80", b"\xff\xff\xff\xff\x07"])
        body = bytes(content) + crc32(content).to_bytes(4, "little")
        for read in (lambda body: written(decode_entries(body)), lambda body: merge_bodies([body]), decode_payloads):
            try:
                read(body)
            except ValueError:
                continue
            accepted += 1
            if read is not decode_payloads:
                assert written(decode_entries(merge_bodies([body]))) == written(decode_entries(body))
    assert accepted > 0


# Size -----------------------------------------------------------------------------------------------------------------


def sizes(entries: list[Entry]) -> tuple[int, int]:
    """Bytes as blocks, and packed; what is packed is all of it."""
    blocks = [encode_entries(entries[at : at + 131_072]) for at in range(0, len(entries), 131_072)]
    packed = [pack_entries(block) for block in blocks]
    back = [entry for block in packed for entry in decode_entries(block)]
    assert all(
        found.operation == wanted.operation and found.seq == wanted.seq and found.digest == wanted.digest
        for found, wanted in zip(back, entries, strict=True)
    )
    return sum(map(len, blocks)), sum(map(len, packed))


def test_a_text_with_its_whole_history_is_small() -> None:
    """4.2 bytes an edit, packed 1.3: words chosen at random, and many jumps."""
    history = generate(1, 20_000)
    document = TextType().open("notes", "g")
    entries: list[Entry] = []
    for transaction in history.transactions:
        for patch in transaction.patches:
            seq = len(entries) + 1
            entry = document.receive(
                "0123456789abcdef", "ada", seq, seq - 1, components(*patch), "unicode", 1.7e9
            ).entry
            assert entry is not None
            entries.append(entry)
    assert document.content() == history.end
    size, packed = sizes(entries)
    assert size < 86_000
    assert packed < 27_500


def test_a_paper_with_its_whole_history_is_small() -> None:
    trace = traces.example().load(traces.sequential("automerge-paper"))
    entries = [
        Entry("0123456789abcdef", "ada", seq, Operation(components(*patch)), None, 1.7e9)
        for seq, patch in enumerate((patch for run in trace.runs for patch in run.patches), 1)
    ]
    assert len(entries) == 259_778
    size, packed = sizes(entries)
    assert size < 212_000
    assert packed < 75_000


def components(position: int, deleted: int, inserted: str) -> list[int | str]:
    return [*([position] if position else []), *([inserted] if inserted else []), *([-deleted] if deleted else [])]
