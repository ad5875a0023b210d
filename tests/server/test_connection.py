"""server.connection: one write per turn, the bound, the order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.core.rooms.room import HistoryRing, Publication, Room
from syncline.core.wire.deflate import Deflater
from syncline.core.wire.envelopes import push_frame
from syncline.core.wire.frames import PONG, TEXT, encode_frame
from syncline.server.sessions.connection import Connection
from syncline.server.sessions.flusher import Flusher
from tests.oracle.slow_queue import SlowQueue


class Socket:
    """A socket whose reader takes nothing beyond ``takes`` bytes, until it ``reads`` more."""

    def __init__(self, takes: int = 10**9) -> None:
        self.writes: list[bytes] = []
        self.takes = takes
        self.closed: tuple[int, str] | None = None
        self.connection: Connection
        self.paused = False

    def write(self, data: bytes) -> None:
        assert self.closed is None
        assert not self.paused
        self.writes.append(data)
        self._told()

    def buffered(self) -> int:
        return max(0, sum(map(len, self.writes)) - self.takes)

    def unread(self) -> tuple[int, float]:
        return 0, 0.0

    def reads(self, count: int) -> None:
        self.takes += count
        self._told()

    def _told(self) -> None:
        # As uvloop with write buffer limits of 0.
        if self.buffered() and not self.paused:
            self.paused = True
            self.connection.paused()
        elif self.paused and not self.buffered():
            self.paused = False
            self.connection.drained()

    @property
    def read(self) -> bytes:
        return b"".join(self.writes)[: self.takes]

    def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)


class Loop:
    def __init__(self) -> None:
        self.soon: list[Callable[[], object]] = []

    def call_soon(self, callback: Callable[[], object]) -> None:
        self.soon.append(callback)

    def turn(self) -> int:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()
        return len(soon)


def make(socket: Socket, loop: Loop, limit: int = 100) -> tuple[Connection, Flusher]:
    flusher = Flusher(loop.call_soon)
    connection: Connection
    connection = Connection("c", "json", socket, flusher, limit, lambda: connection.close(4001, "slow"))  # type: ignore[arg-type]
    socket.connection = connection
    return connection, flusher


def test_one_write_per_turn_in_order() -> None:
    socket, loop = Socket(), Loop()
    connection, flusher = make(socket, loop)
    for frame in (b"a", b"b", b"c"):
        assert connection.deliver(frame) == 1
    assert socket.writes == [] and connection.queued == 3
    assert loop.turn() == 1
    assert socket.writes == [b"abc"] and connection.queued == 0
    assert (flusher.frames, flusher.bytes_out, flusher.flushes) == (3, 3, 1)
    frame = b"shared"
    connection.deliver(frame)
    loop.turn()
    assert socket.writes[1] is frame  # a single frame is not copied
    assert loop.turn() == 0


def test_the_queue_is_bounded() -> None:
    socket, loop = Socket(takes=1), Loop()
    connection, flusher = make(socket, loop)
    assert connection.deliver(b"x") == 1 and connection.deliver(b"x") == 1
    loop.turn()
    assert connection.held and socket.buffered() == 1
    assert connection.deliver(b"x" * 99) == 1
    assert connection.deliver(b"x") == 0
    assert socket.closed == (4001, "slow") and connection.closed
    assert flusher.slow_consumers == 1 and connection.queued == 0
    assert connection.deliver(b"x") == 0
    loop.turn()
    assert len(b"".join(socket.writes)) == 2
    assert flusher.take_queue_bytes_max() == 100 and flusher.take_queue_bytes_max() == 0


def test_a_burst_to_a_willing_reader_is_no_overflow() -> None:
    socket, loop = Socket(), Loop()
    connection, flusher = make(socket, loop)
    for _ in range(10):
        assert connection.deliver(b"x" * 60) == 1
        assert connection.queued <= 100
    loop.turn()
    assert socket.read == b"x" * 600 and flusher.slow_consumers == 0


def test_frames_are_counted_too() -> None:
    socket, loop = Socket(takes=0), Loop()
    flusher = Flusher(loop.call_soon, max_messages=10)
    connection: Connection
    connection = Connection("c", "json", socket, flusher, 10**6, lambda: connection.close(4001, "slow"))  # type: ignore[arg-type]
    socket.connection = connection
    connection.deliver(b"x")
    loop.turn()
    assert connection.held
    for _ in range(20):
        assert connection.deliver(b"x") == 1
    assert connection.queued_messages == 20 and socket.closed is None
    assert connection.deliver(b"x") == 0 and socket.closed == (4001, "slow")
    assert flusher.take_queue_messages_max() == 21


def test_what_the_kernel_did_not_take_counts_too() -> None:
    socket, loop = Socket(takes=50), Loop()
    connection, flusher = make(socket, loop)
    for _ in range(3):
        connection.deliver(b"x" * 50)
        loop.turn()
    assert socket.closed is None and connection.backlog == 100
    connection.deliver(b"x")
    assert socket.closed == (4001, "slow") and flusher.slow_consumers == 1


def test_close_sends_what_is_queued_first() -> None:
    socket, loop = Socket(), Loop()
    connection, _ = make(socket, loop)
    connection.deliver(b"last words")
    connection.close(4000, "drain")
    connection.close(4003, "again")
    assert socket.writes == [b"last words"] and socket.closed == (4000, "drain")
    loop.turn()
    assert socket.writes == [b"last words"]


def test_a_lost_connection_takes_nothing() -> None:
    socket, loop = Socket(), Loop()
    connection, _ = make(socket, loop)
    connection.deliver(b"x")
    connection.lost()
    loop.turn()
    assert socket.writes == [] and connection.deliver(b"y") == 0


def test_a_slow_one_costs_the_others_nothing() -> None:
    loop = Loop()
    flusher = Flusher(loop.call_soon)
    slow, quick = Socket(takes=0), Socket()
    connections: list[Connection] = []
    for socket in (slow, quick):
        connections.append(Connection("c", "json", socket, flusher, 100, lambda: connections[0].close(4001, "slow")))  # type: ignore[arg-type]
        socket.connection = connections[-1]
    for _ in range(10):
        for connection in connections:
            connection.deliver(b"x" * 60)
        loop.turn()
    assert slow.closed == (4001, "slow") and len(slow.writes) == 1
    assert b"".join(quick.writes) == b"x" * 600


def test_none_is_refused() -> None:
    connection, _ = make(Socket(), Loop())
    with pytest.raises(TypeError):
        connection.deliver(None)  # type: ignore[arg-type]


def test_a_large_reply_makes_its_own_room() -> None:
    socket, loop = Socket(takes=0), Loop()
    connection, _ = make(socket, loop)
    assert connection.reply(b"x" * 500) == 1
    loop.turn()
    assert socket.closed is None and connection.backlog == 500
    assert connection.deliver(b"y" * 100) == 1
    loop.turn()
    assert socket.closed is None
    socket.reads(600)  # the reader has caught up
    connection.deliver(b"z")
    loop.turn()
    assert connection.held and socket.closed is None
    assert connection.deliver(b"y" * 100) == 0  # the usual bound holds again
    assert socket.closed == (4001, "slow")


def test_of_a_key_the_newest_is_kept_in_the_newest_place() -> None:
    socket, loop = Socket(takes=0), Loop()
    connection, flusher = make(socket, loop)
    connection.deliver(b"0")
    loop.turn()
    for frame, key in (
        (b"a1", "a"),
        (b"b1", "b"),
        (b"-", None),
        (b"a2", "a"),
        (b"c1", "c"),
        (b"a3", "a"),
        (b"a4", "a"),
    ):
        assert (connection.deliver(frame) if key is None else connection.deliver_latest(frame, key)) == 1
    assert connection.queued == 7 and connection.queued_messages == 4 and flusher.conflated == 3
    socket.reads(1)
    connection.deliver_latest(b"b2", "b")  # the old one is on its way already
    socket.reads(100)
    assert socket.read == b"0b1-c1a4b2"
    connection.deliver_latest(b"a5", "a")
    connection.deliver_latest(b"a6", "a")  # who keeps up gets all
    loop.turn()
    assert socket.read == b"0b1-c1a4b2a5a6"


def test_a_key_updated_for_ever_costs_nothing() -> None:
    socket, loop = Socket(takes=0), Loop()
    connection, flusher = make(socket, loop, 10_000)
    connection.deliver(b"0")
    loop.turn()
    for number in range(50_000):
        connection.deliver_latest(b"%05d" % number, number % 7)
    assert connection.queued == 35 and connection.queued_messages == 7 and flusher.conflated == 49_993
    socket.reads(100)
    assert socket.read == b"0" + b"".join(b"%05d" % number for number in range(49_993, 50_000))


def test_volatile_frames_are_dropped_above_the_low_mark() -> None:
    socket, loop = Socket(takes=0), Loop()
    flusher = Flusher(loop.call_soon, low_bytes=10)
    connection = Connection("c", "json", socket, flusher, 1000, lambda: None)  # type: ignore[arg-type]
    socket.connection = connection
    connection.deliver(b"0123456")
    loop.turn()
    assert connection.deliver_volatile(b"abcd") == 1
    assert connection.deliver_volatile(b"efgh") == 0 and flusher.dropped == 1
    assert connection.deliver(b"!") == 1
    socket.reads(7)
    socket.reads(5)
    assert connection.deliver_volatile(b"ijkl") == 1
    loop.turn()
    socket.reads(100)
    assert socket.read == b"0123456abcd!ijkl"


def test_pongs_nobody_reads_are_one() -> None:
    socket, loop = Socket(takes=0), Loop()
    connection, _ = make(socket, loop)
    connection.deliver(b"0")
    loop.turn()
    for number in range(1000):
        connection.pong(b"%d" % number)
    assert connection.queued_messages == 1
    socket.reads(1000)
    assert socket.read == b"0" + encode_frame(PONG, b"999")


def test_waiting_for_the_socket() -> None:
    socket, loop = Socket(takes=0), Loop()
    connection, _ = make(socket, loop)
    heard: list[str] = []
    connection.deliver(b"0")
    loop.turn()
    connection.when_drained(lambda: heard.append("drained"))
    assert not heard
    socket.reads(1)
    assert heard == ["drained"]
    connection.when_drained(lambda: heard.append("lost"))
    connection.lost()
    assert heard == ["drained", "lost"]


class Broken(Socket):
    aborted = False

    def write(self, data: bytes) -> None:
        raise OSError("broken")

    def abort(self) -> None:
        self.aborted = True


def test_a_socket_that_fails_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()
    flusher = Flusher(loop.call_soon)
    broken, whole = Broken(), Socket()
    for socket in (broken, whole):
        socket.connection = Connection("c", "json", socket, flusher, 100, lambda: None)  # type: ignore[arg-type]
        socket.connection.deliver(b"x")
    loop.turn()
    assert whole.read == b"x" and broken.aborted and broken.connection.closed
    assert "could not be written to" in caplog.text


# The ladder against the oracle: the same frames to a reader that reads now and then.

ROOMS = ("r", "s")
SIZES = st.sampled_from([1, 100, 9_000, 40_000, 70_000])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("deliver"), SIZES, st.just("")),
        st.tuples(st.just("reply"), SIZES, st.just("")),
        st.tuples(st.just("latest"), SIZES, st.sampled_from("abc")),
        st.tuples(st.just("volatile"), SIZES, st.just("")),
        st.tuples(st.just("publish"), SIZES, st.sampled_from(ROOMS)),
        st.tuples(st.just("publish"), SIZES, st.sampled_from(ROOMS)),
        st.tuples(st.just("turn"), st.just(0), st.just("")),
        st.tuples(st.just("read"), st.sampled_from([1, 30_000, 65_536, 500_000]), st.just("")),
        st.tuples(st.just("join"), st.just(0), st.sampled_from(ROOMS)),
    ),
    max_size=60,
)


#: What the transport has left is asked near the bound only; from then on there is room for more.
ASKED = [("deliver", 70_000, ""), ("read", 65_536, ""), *[("deliver", size, "") for size in (1, 40_000, 40_000)]]


@example(0, 4, 150_000, [*ASKED, ("publish", 1, "r")])
@given(st.integers(0, 100_000), st.sampled_from([4, 1000]), st.sampled_from([150_000, 300_000]), STEPS)
def test_the_ladder_against_a_list(takes: int, messages: int, limit: int, steps: list[tuple[str, int, str]]) -> None:
    low, high = 50_000, 120_000
    loop = Loop()
    flusher = Flusher(loop.call_soon, low, high, messages)
    socket = Socket(takes)
    connection: Connection
    connection = Connection("c", "json", socket, flusher, limit, lambda: connection.close(4001, "slow"))  # type: ignore[arg-type]
    socket.connection = connection
    model = SlowQueue(low, high, limit, messages, takes)
    rooms = {name: Room(name, HistoryRing("e")) for name in ROOMS}
    for room in rooms.values():
        room.add(connection)

    def told(names: list[str], behind: dict[str, tuple[int, str]]) -> None:
        for name in names:
            offset, epoch = behind[name]
            data = {"room": name, "position": {"offset": offset, "epoch": epoch}}
            model.deliver(push_frame("json", "room:behind", data))

    for number, (verb, size, what) in enumerate(steps):
        frame = (b"%d." % number).ljust(size, b"x")
        if verb == "deliver":
            assert connection.deliver(frame) == model.deliver(frame)
        elif verb == "reply":
            assert connection.reply(frame) == model.reply(frame)
        elif verb == "latest":
            assert connection.deliver_latest(frame, what) == model.deliver(frame, what)
        elif verb == "volatile":
            assert connection.deliver_volatile(frame) == model.volatile(frame)
        elif verb == "publish":
            room = rooms[what]
            before = room.history.position
            one = Publication(what, "u", "U", 0.0, "json", b'"%b"' % frame, before.offset + 1, "e")
            assert room.publish(one) == model.publication(one.frame("json"), what, (before.offset, "e"))
        elif verb == "turn":
            loop.turn()
            model.write()
        elif verb == "join":
            assert connection.caught_up(what) == (what in model.behind or what in model.told)
            model.behind.pop(what, None)
            model.told.discard(what)
        else:
            behind = dict(model.behind)
            told(model.read(size), behind)
            socket.reads(size)
            model.write()  # what was told goes out at the end of the turn
            loop.turn()
        if model.closed:
            assert connection.closed and flusher.slow_consumers == 1
            return
        assert (connection.held, connection.queued) == (model.held, model.size)
        assert connection.queued_messages == len(model.queue)
        assert connection.queued + socket.buffered() <= limit + model.room
        assert {name for name in ROOMS if connection.behind_in(name)} == set(model.behind) | model.told
        assert (flusher.conflated, flusher.dropped) == (model.conflated, model.dropped)
        assert flusher.behind == model.fell_behind
    assert socket.read == model.sent


def test_conflated_frames_are_compressed_as_others() -> None:
    socket, loop = Socket(takes=0), Loop()
    flusher = Flusher(loop.call_soon)
    deflater = Deflater(15, 1, 1)
    connections = []
    for _ in range(2):  # the second gets what was compressed for the first
        connection = Connection("c", "json", socket, flusher, 10_000, lambda: None, deflater)  # type: ignore[arg-type]
        connections.append(connection)
    connection = socket.connection = connections[0]
    connection.deliver(encode_frame(TEXT, b"0" * 100))
    loop.turn()
    frames = [encode_frame(TEXT, b"%d" % number * 100) for number in range(10, 13)]
    for number, frame in enumerate(frames):
        connection.deliver_latest(frame, number % 2)
    assert connection.queued == sum(len(deflater.frame(frame)) for frame in frames[1:]) < 100
    socket.reads(1000)
    due = [encode_frame(TEXT, b"0" * 100), *frames[1:]]
    assert socket.read == b"".join(deflater.frame(frame) for frame in due)
    other = connections[1]
    socket.connection = other
    taken = len(socket.read)
    for frame in frames:
        other.deliver(frame)
    loop.turn()
    assert socket.read[taken:] == b"".join(deflater.frame(frame) for frame in frames)


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), min_size=2, max_size=6))
def test_what_several_have_waiting_is_joined_once_and_never_mixed_up(queues: list[list[int]]) -> None:
    loop = Loop()
    flusher = Flusher(loop.call_soon)
    frames = [bytes([65 + number]) * 3 for number in range(4)]
    sockets = [Socket() for _ in queues]
    for socket in sockets:
        socket.connection = Connection("c", "json", socket, flusher, 100, lambda: None)  # type: ignore[arg-type]
    for _ in range(2):
        for socket, queue in zip(sockets, queues, strict=True):
            for number in queue:
                socket.connection.deliver(frames[number])
        loop.turn()
    for socket, queue in zip(sockets, queues, strict=True):
        wanted = b"".join(frames[number] for number in queue)
        assert socket.writes == [wanted, wanted] * bool(wanted)


def test_members_with_the_same_frames_share_the_bytes() -> None:
    loop = Loop()
    flusher = Flusher(loop.call_soon)
    sockets = [Socket(), Socket()]
    first, second = b"one " * 10, b"two " * 10
    for socket in sockets:
        socket.connection = Connection("c", "json", socket, flusher, 1000, lambda: None)  # type: ignore[arg-type]
        socket.connection.deliver(first)
        socket.connection.deliver(second)
    loop.turn()
    assert sockets[0].writes[0] is sockets[1].writes[0]
