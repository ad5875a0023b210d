"""server.pings: the wheel, second by second."""

from __future__ import annotations

from syncline.core.frames import PING, encode_frame
from syncline.server.connection import Connection
from syncline.server.flusher import Flusher
from syncline.server.pings import PingWheel


class Socket:
    def __init__(self) -> None:
        self.written: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def buffered(self) -> int:
        return 0


class Bench:
    def __init__(self, interval: float, timeout: float) -> None:
        self.dead: list[Connection] = []
        self.flusher = Flusher(lambda callback: None)
        self.wheel = PingWheel(interval, timeout, self.dead.append)
        self.second = 0

    def connection(self) -> tuple[Connection, Socket]:
        socket = Socket()
        connection = Connection("c", "json", socket, self.flusher, 1000, lambda: None)  # type: ignore[arg-type]
        self.wheel.add(connection)
        return connection, socket

    def until(self, second: int) -> None:
        while self.second < second:
            self.second += 1
            self.wheel.turn()
            self.flusher.flush()


def pings(socket: Socket) -> int:
    return socket.written.count(encode_frame(PING, b""))


def test_a_silent_connection_is_pinged_and_then_dead() -> None:
    bench = Bench(25, 10)
    connection, socket = bench.connection()
    bench.until(24)
    assert pings(socket) == 0
    bench.until(34)
    assert pings(socket) == 1 and bench.dead == []
    bench.until(35)
    assert bench.dead == [connection] and len(bench.wheel) == 0
    bench.until(200)
    assert bench.dead == [connection]


def test_pongs_keep_it_and_pings_come_each_interval() -> None:
    bench = Bench(25, 10)
    connection, socket = bench.connection()
    for second in range(1, 251):
        bench.until(second)
        bench.wheel.heard(connection, pong=True)
    assert pings(socket) == 10 and bench.dead == []


def test_one_that_talks_is_not_pinged() -> None:
    bench = Bench(5, 2)
    connection, socket = bench.connection()
    for second in range(1, 100):
        bench.until(second)
        bench.wheel.heard(connection, pong=False)
    assert pings(socket) == 0
    bench.until(200)
    assert bench.dead == [connection]


def test_a_late_message_instead_of_a_pong_shows_life_too() -> None:
    bench = Bench(5, 3)
    connection, socket = bench.connection()
    bench.until(7)
    assert pings(socket) == 1
    bench.wheel.heard(connection, pong=False)
    bench.until(11)
    assert bench.dead == []


def test_removed_ones_are_forgotten() -> None:
    bench = Bench(5, 2)
    connection, socket = bench.connection()
    bench.wheel.remove(connection)
    bench.wheel.remove(connection)
    bench.until(50)
    assert socket.written == [] and bench.dead == [] and len(bench.wheel) == 0


def test_timeout_longer_than_interval() -> None:
    bench = Bench(2, 7)
    connection, _ = bench.connection()
    bench.until(8)
    assert bench.dead == []
    bench.until(9)
    assert bench.dead == [connection]
