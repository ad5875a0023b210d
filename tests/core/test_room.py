"""core.room: the history ring against a slow oracle, and the fan-out."""

from __future__ import annotations

import json
from collections.abc import Hashable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.rooms.room import HistoryRing, Member, Position, Publication, Room, publications_raw
from syncline.core.wire.envelopes import Push


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


@given(st.lists(st.tuples(st.sampled_from(["add", "discard", "publish"]), st.integers(0, 5)), max_size=40))
def test_members_against_a_set(steps: list[tuple[str, int]]) -> None:
    room = Room("r", HistoryRing("e"))
    members = [Taker("json") for _ in range(6)]
    inside: set[int] = set()
    received = [0] * 6
    for offset, (verb, number) in enumerate(steps, 1):
        if verb == "add":
            assert room.add(members[number]) == (number not in inside)
            inside.add(number)
        elif verb == "discard":
            assert room.discard(members[number]) == (number in inside)
            inside.discard(number)
        else:
            members[number].room = room  # it leaves by its own delivery
            assert room.publish(publication(offset, str(offset))) == len(inside)
            for one in inside:
                received[one] += 1
            members[number].room = None
            inside.discard(number)
        assert len(room) == len(inside) and set(room) == {members[one] for one in inside}
        assert [len(member.frames) for member in members] == received


def test_a_publication_inside_a_fan_out_finds_the_members_of_its_time() -> None:
    room = Room("r", HistoryRing("e"))

    class Talker(Taker):
        def deliver(self, frame: bytes) -> int:
            super().deliver(frame)
            if len(self.frames) == 1:
                room.discard(last)
                room.broadcast(Push("e", {}))
                room.add(late)
            return 1

    first, last, late = Talker("json"), Taker("json"), Taker("json")
    room.add(first)
    room.add(last)
    assert room.publish(publication(1)) == 2  # it began when they were two
    assert [len(member.frames) for member in (first, last, late)] == [2, 1, 0]
    assert set(room) == {first, late}
    assert room.publish(publication(2)) == 2


def test_room_classes() -> None:
    class Ways(Taker):
        def __init__(self) -> None:
            super().__init__("json")
            self.ways: list[object] = []

        def deliver(self, frame: bytes) -> int:
            self.ways.append("deliver")
            return 1

        def deliver_latest(self, frame: bytes, key: Hashable) -> int:
            self.ways.append(key)
            return 1

        def deliver_volatile(self, frame: bytes) -> int:
            self.ways.append("volatile")
            return 0

    for room_class, expected in (
        ("history", ["deliver", "deliver"]),
        ("latest", [("r", "u"), ("r", "k")]),
        ("volatile", ["volatile", "volatile"]),
    ):
        room, member = Room("r", HistoryRing("e"), room_class), Ways()
        room.add(member)
        room.publish(publication(1))
        room.publish(Publication("r", "u", "U", 1.5, "json", b"1", 2, "e", "k"))
        assert member.ways == expected and room.room_class == room_class
        room.broadcast(Push("event:custom", {}))
        room.broadcast(Push("presence:update", {}, key="ada"))
        room.broadcast(Push("room:grant", {}))
        assert member.ways[2:] == ["volatile", ("r", "", "ada"), "deliver"]
    with pytest.raises(ValueError, match="no room class"):
        Room("r", HistoryRing("e"), "histories")


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


@given(
    st.lists(
        st.tuples(st.sampled_from(["json", "msgpack"]), st.sampled_from([0, 1, 20, 90, 200, 70_000]), st.booleans()),
        max_size=20,
    ),
    st.sampled_from(["json", "msgpack"]),
)
def test_publications_are_cut_out_of_their_frames(made: list[tuple[str, int, bool]], codec: str) -> None:
    publications = []
    for offset, (source, size, sent) in enumerate(made, 1):
        value = {"text": 'é"\\' * size}
        data = msgspec.json.encode(value) if source == "json" else msgspec.msgpack.encode(value)
        one = Publication('r"', "u", "Ü", 1.5, source, data, offset, "e")
        if sent:
            one.frame("json")
            one.frame("msgpack")
        publications.append(one)
    encode, decode = (
        (msgspec.json.encode, msgspec.json.decode)
        if codec == "json"
        else (msgspec.msgpack.encode, msgspec.msgpack.decode)
    )
    expected = encode([one.as_data(codec) for one in publications])
    assert bytes(publications_raw(codec, publications)) == expected
    assert len(decode(expected)) == len(made)


def test_many_publications_in_one_array() -> None:
    publications = [publication(offset) for offset in range(1, 70_000)]
    for count in (0, 15, 16, 65_535, 65_536, 69_999):
        raw = publications_raw("msgpack", publications[:count])
        assert len(msgspec.msgpack.decode(raw)) == count


def test_a_stored_payload_that_is_sent_as_null_counts_for_what_it_was() -> None:
    ring = HistoryRing("e", 0, 10, 1_000)
    for number in range(1, 4):
        ring.append(Publication("r", "u", "n", 0.0, "json", b"[" * 300, number, "e", stored=True))
    before = ring.size_bytes
    (*_, last) = ring.last(3)
    assert last.data == b"[" * 300
    assert (last.payload("json"), last.payload("msgpack"), last.data) == (b"null", b"\xc0", b"null")
    assert ring.size_bytes == before
    for number in range(4, 40):
        ring.append(Publication("r", "u", "n", 0.0, "json", b"1", number, "e"))
    assert ring.size_bytes == sum(publication.size for publication in ring.last(40))
