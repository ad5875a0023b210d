"""core.digest, and the digests that a history ring keeps, against an oracle that hashes everything anew."""

from __future__ import annotations

import gc
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.rooms.delivery_proof import RollingDigest, epoch_seed, item_hash, live_digests
from syncline.core.rooms.room import HistoryRing, Publication
from tests.oracle import digest as oracle

EPOCHS = st.text(max_size=20)
OFFSETS = st.integers(0, 2**53 - 1)


@given(EPOCHS, OFFSETS, st.binary(max_size=600))
def test_the_hash_is_zlibs(epoch: str, offset: int, payload: bytes) -> None:
    expected = oracle.item(epoch, offset, payload)
    seed = epoch_seed(epoch)
    assert item_hash(seed, offset, payload) == expected
    assert item_hash(seed, offset, memoryview(b"?" + payload)[1:]) == expected  # wherever it lies
    assert item_hash(seed, offset, msgspec.Raw(payload)) == expected


def test_the_numbers_of_the_documentation() -> None:
    """They are in docs/protocol.md and in tests/browser/proof.test.js too: three programs, one hash."""
    seed = epoch_seed("a1b2c3d4")
    assert item_hash(seed, 43, '{"text":"héllo, wörld 🙂"}'.encode()) == 2241307788
    assert item_hash(seed, 2**53 - 1, b"null") == 4059665934


def test_what_is_no_offset_or_payload_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        item_hash(0, -1, b"")
    with pytest.raises(TypeError):
        item_hash(0, 1, "text")  # type: ignore[arg-type]
    for since, limit in ((-1, 1), (0, 0)):
        with pytest.raises(ValueError, match=r"since|limit"):
            RollingDigest("e", since, limit)


@given(st.integers(0, 40), st.integers(1, 70), st.lists(st.binary(max_size=12), max_size=150), st.integers(0, 60))
def test_sums_at_the_newest_offsets(since: int, limit: int, payloads: list[bytes], taken: int) -> None:
    digest = RollingDigest("epoch", since, limit)
    known = [(since + 1 + index, payload) for index, payload in enumerate(payloads)]
    for payload in payloads:
        digest.fold(payload)
    assert (digest.since, digest.newest) == (since, since + len(payloads))
    for offset in range(max(0, since - 2), digest.newest + 3):
        held = max(since, digest.newest - limit + 1) <= offset <= digest.newest
        expected = oracle.digest("epoch", [item for item in known if item[0] <= offset]) if held else None
        assert digest.at(offset) == expected
    # Off again, from what a client is sent at its join: it folds that and is where the others are.
    sent = known[len(known) - min(taken, len(known)) :]
    before = digest.before(sent)
    folded = before + oracle.digest("epoch", sent)
    assert folded % 2**32 == oracle.digest("epoch", known) and 0 <= before < 2**32


@given(st.integers(0, 30), st.lists(st.binary(max_size=9), min_size=1, max_size=30), st.integers(0, 10), st.data())
def test_what_went_wrong_shows(since: int, payloads: list[bytes], round: int, data: st.DataObject) -> None:
    """A publication lost, twice, at another's place, or with another byte: never the same sum (CRC-32 permitting)."""
    sent = [(since + 1 + index, payload) for index, payload in enumerate(payloads)]
    digest = RollingDigest("e", since, 64)
    for payload in payloads:
        digest.fold(payload)
    at = data.draw(st.integers(0, len(sent) - 1))
    offset, payload = sent[at]
    faults = {
        "lost": sent[:at] + sent[at + 1 :],
        "twice": sent[: at + 1] + sent[at:],
        "another byte": [*sent[:at], (offset, bytes((payload[:1] or b"\0")[0] ^ 1 for _ in "x") + payload[1:])],
        "another place": [*sent[:at], (offset + 1, payload), *sent[at + 1 :]],
    }
    for name, got in faults.items():
        assert got == sent or oracle.digest("e", got) != digest.at(digest.newest), name


def made(offset: int, epoch: str, data: bytes, codec: str, time: float = 0.0) -> Publication:
    return Publication("r", "u", "U", time, codec, data, offset, epoch)


def test_a_ring_keeps_a_digest_per_codec_from_the_first_call() -> None:
    random_ = random.Random(4)
    for _ in range(60):
        ring = HistoryRing("e0", random_.randrange(5), max_count=random_.randrange(12), max_bytes=400)
        sent: dict[str, list[tuple[int, bytes]]] = {"json": [], "msgpack": []}
        since: dict[str, int] = {}
        for _ in range(40):
            if random_.random() < 0.2:
                codec = random_.choice(["json", "msgpack"])
                digest = ring.digest(codec)
                since.setdefault(codec, ring.offset)
                assert (digest.since, digest.newest) == (since[codec], ring.offset)
            value = {"n": random_.randrange(10**6), "s": "é" * random_.randrange(9)}
            kind = random_.choice(["json", "msgpack"])
            encoded = {"json": msgspec.json.encode(value), "msgpack": msgspec.msgpack.encode(value)}
            fate, epoch, offset = random_.random(), ring.epoch, ring.offset + 1
            if fate < 0.1:
                epoch, offset = ring.epoch + "+", random_.randrange(1, 4)
            elif fate < 0.2:
                offset += random_.randrange(1, 4)
            if (epoch, offset) != (ring.epoch, ring.offset + 1):
                sent = {"json": [], "msgpack": []}
                since = dict.fromkeys(since, offset - 1)
            one = made(offset, epoch, encoded[kind], kind)
            if random_.random() < 0.5:
                one.frame(random_.choice(["json", "msgpack"]))
            ring.append(one)
            for codec in sent:
                assert one.payload(codec) == encoded[codec]
                sent[codec].append((offset, encoded[codec]))
            for codec in ("json", "msgpack"):
                counted = [item for item in sent[codec] if codec in since and item[0] > since[codec]]
                for place in range(max(0, offset - 3), offset + 2):
                    got = ring.digest_at(codec, place, epoch)
                    if codec not in since or not since[codec] <= place <= offset:
                        assert got is None
                    elif got is not None:
                        assert got == oracle.digest(epoch, [item for item in counted if item[0] <= place])
                    else:
                        assert offset - place >= ring.max_count + 1
                assert ring.digest_at(codec, offset, "another") is None
    with pytest.raises(ValueError, match="codec"):
        ring.digest("xml")


def test_a_payload_is_taken_from_the_frame_once_there_is_one() -> None:
    one = made(1, "e", b'{"a":  [1, 2]}', "json")
    packed = one.payload("msgpack")
    assert one.frame("msgpack").endswith(packed) and one.payload("msgpack") == packed
    assert one.frame("json").endswith(b'"data":{"a":  [1, 2]}}}') and one.payload("json") == b'{"a":  [1, 2]}'
    other = made(1, "e", packed, "msgpack")
    other.frame("json")
    assert other.payload("json") == b'{"a":[1,2]}' and other.as_data("json")["data"] == msgspec.Raw(b'{"a":[1,2]}')
    strange = made(1, "e", b"\xc7\x01\x05x", "msgpack")
    assert strange.payload("json") == b"null"
    strange.frame("json")
    assert strange.payload("json") == b"null"


def test_publications_grow_too_old() -> None:
    ring = HistoryRing("e", 0, 100, 10_000, 10.0)
    for offset, time in enumerate((100.0, 101.0, 99.0, 108.0, 110.5, 111.5), start=1):
        ring.append(made(offset, "e", b"1", "json", time))
    # 1 and 2 went with 5 and 6; 3 was older than 2 and waited for it.
    assert [publication.offset for publication in ring.last(10)] == [4, 5, 6]
    assert ring.since(3, "e") is not None and ring.since(2, "e") is None
    assert ring.expire(118.0) == 0 and ring.expire(120.75) == 2
    assert ring.since(5, "e") == ring.last(10) and ring.since(4, "e") is None
    assert ring.size_bytes == sum(publication.size for publication in ring.last(10))
    assert ring.expire(1e9) == 1 and len(ring) == 0 and ring.size_bytes == 0
    assert ring.since(6, "e") == [] and ring.position.offset == 6
    ring.append(made(7, "e", b"1", "json", 1e9))
    assert len(ring) == 1
    eternal = HistoryRing("e")
    eternal.append(made(1, "e", b"1", "json", 0.0))
    assert eternal.expire(1e12) == 0
    with pytest.raises(ValueError, match="negative"):
        HistoryRing("e", max_age=-1.0)


def test_nothing_leaks() -> None:
    gc.collect()
    before = live_digests()
    rings = [HistoryRing("e") for _ in range(5)]
    for ring in rings:
        ring.digest("json")
        ring.append(made(1, "f", b"1", "json"))
    assert live_digests() == before + 5
    del rings, ring
    assert live_digests() == before
