"""server.connection: one write per turn, the bound, the order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.server.connection import Connection, Flusher


class Socket:
    """A socket whose reader takes nothing beyond ``takes`` bytes."""

    def __init__(self, takes: int = 10**9) -> None:
        self.writes: list[bytes] = []
        self.takes = takes
        self.closed: tuple[int, str] | None = None

    def write(self, data: bytes) -> None:
        assert self.closed is None
        self.writes.append(data)

    def buffered(self) -> int:
        return max(0, sum(map(len, self.writes)) - self.takes)

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
    socket, loop = Socket(), Loop()
    connection, flusher = make(socket, loop)
    assert connection.deliver(b"x" * 100) == 1
    assert connection.deliver(b"x") == 0
    assert socket.closed == (4001, "slow") and connection.closed
    assert flusher.slow_consumers == 1 and connection.queued == 0
    assert connection.deliver(b"x") == 0
    loop.turn()
    assert socket.writes == []
    assert flusher.take_queue_bytes_max() == 101 and flusher.take_queue_bytes_max() == 0


def test_what_the_kernel_did_not_take_counts_too() -> None:
    socket, loop = Socket(takes=50), Loop()
    connection, flusher = make(socket, loop)
    for _ in range(3):
        connection.deliver(b"x" * 50)
        loop.turn()
    assert socket.closed is None
    connection.deliver(b"x")
    loop.turn()
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
    for _ in range(10):
        for connection in connections:
            connection.deliver(b"x" * 60)
        loop.turn()
    assert slow.closed == (4001, "slow") and len(slow.writes) == 2
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
    socket.takes = 10_000  # the reader has caught up
    connection.deliver(b"z")
    loop.turn()
    assert connection.deliver(b"y" * 101) == 0  # the usual bound holds again
    assert socket.closed == (4001, "slow")
