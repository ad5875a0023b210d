"""server.pings: the wheel, second by second."""

from __future__ import annotations

import random

from syncline.server.pings import TURNS, PingWheel


class Peer:
    """A socket whose pings are counted. It answers when it is told to."""

    def __init__(self) -> None:
        self.heard = self.pinged = self.awaiting = self.lost = False
        self.pings: list[int] = []
        self.waiting = 0
        self.bench: Bench | None = None

    def ping(self) -> None:
        assert self.bench is not None
        self.pings.append(self.bench.turns)

    def takes(self) -> bool:
        self.waiting = max(0, self.waiting - 1)
        return self.waiting > 0

    def says(self, *, pong: bool) -> None:
        self.pinged = False
        if not pong:
            self.heard = True


class Bench:
    def __init__(self, interval: float, timeout: float) -> None:
        self.dead: list[Peer] = []
        self.seen: list[Peer] = []
        self.wheel: PingWheel[Peer] = PingWheel(interval, timeout, self.dead.append, self.seen.append)
        self.turns = 0

    def peer(self) -> Peer:
        peer = Peer()
        peer.bench = self
        self.wheel.add(peer)
        return peer

    def until(self, second: float) -> None:
        while self.turns < second * TURNS:
            self.turns += 1
            self.wheel.turn()


def test_a_silent_connection_is_pinged_and_then_dead() -> None:
    bench = Bench(25, 10)
    peer = bench.peer()
    bench.until(24.8)
    assert len(peer.pings) == 0
    bench.until(34.8)
    assert len(peer.pings) == 1 and bench.dead == []
    bench.until(35)
    assert bench.dead == [peer] and len(bench.wheel) == 0
    bench.until(200)
    assert bench.dead == [peer]


def test_one_that_takes_what_the_ping_waits_behind_is_not_dead() -> None:
    bench = Bench(25, 10)
    peer = bench.peer()
    peer.waiting = 4
    bench.until(64.8)
    assert bench.dead == [] and len(peer.pings) == 1
    bench.until(65)
    assert bench.dead == [peer]


def test_pongs_keep_it_and_pings_come_each_interval() -> None:
    bench = Bench(25, 10)
    peer = bench.peer()
    for second in range(1, 251):
        bench.until(second)
        peer.says(pong=True)
    assert len(peer.pings) == 10 and bench.dead == []


def test_one_that_talks_is_not_pinged() -> None:
    bench = Bench(5, 2)
    peer = bench.peer()
    for second in range(1, 100):
        bench.until(second)
        peer.says(pong=False)
    assert len(peer.pings) == 0
    bench.until(200)
    assert bench.dead == [peer]


def test_a_late_message_instead_of_a_pong_shows_life_too() -> None:
    bench = Bench(5, 3)
    peer = bench.peer()
    bench.until(7)
    assert len(peer.pings) == 1
    peer.says(pong=False)
    bench.until(11)
    assert bench.dead == []


def test_lost_ones_are_forgotten() -> None:
    bench = Bench(5, 2)
    peer = bench.peer()
    peer.lost = True
    assert len(bench.wheel) == 0
    bench.until(50)
    assert peer.pings == [] and bench.dead == [] and not any(bench.wheel._slots)


def test_timeout_longer_than_interval() -> None:
    bench = Bench(2, 7)
    peer = bench.peer()
    bench.until(8.8)
    assert bench.dead == []
    bench.until(9)
    assert bench.dead == [peer]


def test_a_storm_is_spread_and_everybody_is_seen_often_enough() -> None:
    bench = Bench(25, 10)
    peers = [bench.peer() for _ in range(2000)]
    rng = random.Random(3)
    last = dict.fromkeys(peers, 0)
    for turn in range(1, 200 * TURNS):
        bench.until(turn / TURNS)
        pinged = [peer for peer in peers if peer.pings and peer.pings[-1] == bench.turns]
        assert len(pinged) <= 2000 / (25 / 2 * TURNS) * 3
        for peer in pinged:
            if rng.random() < 0.5:
                peer.says(pong=True)
        for peer in peers:
            if rng.random() < 0.02:
                peer.says(pong=rng.random() < 0.5)
        for peer in bench.seen:
            assert (bench.turns - last[peer]) / TURNS <= bench.wheel.longest
            last[peer] = bench.turns
        bench.seen.clear()
    assert all(peer in bench.dead or bench.turns - last[peer] <= bench.wheel.longest * TURNS for peer in peers)
