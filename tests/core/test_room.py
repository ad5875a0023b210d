"""core.room: the history ring against a slow oracle, and the fan-out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.room import HistoryRing, Member, Position, Publication, Room
from syncline.core.wire import Push


def publication(offset: int, epoch: str = "e", data: bytes = b"1", codec: str = "json") -> Publication:
    return Publication("r", "u", "U", 1.5, codec, data, offset, epoch)


class Taker(Member):
    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.frames: list[bytes] = []
        self.room: Room | None = None

    def deliver(self, frame: bytes) -> int:
        self.frames.append(frame)
        if self.room is not None:
            self.room.discard(self)
        return 1


@given(
    st.integers(0, 6),
    st.integers(0, 200),
    st.lists(st.tuples(st.integers(0, 9), st.sampled_from([1, 1, 1, 2, 7]), st.integers(0, 60))),
)
def test_ring_against_a_list(max_count: int, max_bytes: int, steps: list[tuple[int, int, int]]) -> None:
    ring = HistoryRing("e0", 0, max_count, max_bytes)
    epoch, offset, kept = "e0", 0, []  # the oracle: a list
    for new_epoch, skip, size in steps:
        if new_epoch == 0:
            epoch, offset, kept = epoch + "+", 0, []
        offset += skip
        if skip > 1:
            kept = []
        one = publication(offset, epoch, b"x" * size)
        ring.append(one)
        kept.append(one)
        while kept and (len(kept) > max_count or sum(item.size for item in kept) > max_bytes):
            kept.pop(0)
        assert ring.position == Position(offset, epoch)
        assert ring.size_bytes == sum(item.size for item in kept) and len(ring) == len(kept)
        for since in range(max(0, offset - 8), offset + 2):
            due = None if since > offset or offset - since > len(kept) else kept[len(kept) - (offset - since) :]
            assert ring.since(since, epoch) == due
        assert ring.since(offset, "other") is None
        for count in range(8):
            assert ring.last(count) == kept[max(0, len(kept) - count) :]


def test_ring_refuses_to_go_back() -> None:
    ring = HistoryRing("e", 5)
    for offset in (5, 4):
        with pytest.raises(ValueError):
            ring.append(publication(offset))
    assert ring.since(5, "e") == [] and ring.since(4, "e") is None


def test_fan_out_encodes_once_per_kind() -> None:
    room = Room("r", HistoryRing("e"))
    members = [Taker("json"), Taker("json"), Taker("msgpack"), Taker("msgpack")]
    for member in members:
        assert room.add(member) and not room.add(member)
    assert room.publish(publication(1, data=b'{"a":  1}')) == 4
    first, second, third, fourth = (member.frames[0] for member in members)
    assert first is second and third is fourth
    assert b'"data":{"a":  1}' in first  # raw, white space and all
    assert json.loads(first[first.index(b"{") :])["data"]["offset"] == 1
    assert room.history.position == Position(1, "e")


def test_a_member_may_leave_during_its_own_delivery() -> None:
    room = Room("r", HistoryRing("e"))
    members = [Taker("json") for _ in range(3)]
    for member in members:
        room.add(member)
        member.room = room
    assert room.publish(publication(1)) == 3
    assert len(room) == 0 and not room.discard(members[0])


def test_broadcast_skips_one() -> None:
    room = Room("r", HistoryRing("e"))
    one, two = Taker("json"), Taker("msgpack")
    room.add(one)
    room.add(two)
    assert room.broadcast(Push("e", {}), one) == 1
    assert (len(one.frames), len(two.frames)) == (0, 1)
    assert list(room) == [one, two] and one in room


def test_a_payload_without_a_counterpart_is_null_and_the_rest_stays() -> None:
    one = publication(1, data=b"\xc7\x01\x05x", codec="msgpack")
    frame = one.frame("json")
    data = json.loads(frame[frame.index(b"{") :])["data"]
    assert (data["room"], data["offset"], data["data"]) == ("r", 1, None)


def test_member_is_abstract() -> None:
    with pytest.raises(NotImplementedError):
        Member("json").deliver(b"")
