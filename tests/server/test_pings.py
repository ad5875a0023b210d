"""server.pings: the wheel, turn by turn."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from syncline.server.sessions.pings import CROWD, TURNS, PingWheel

#: A turn, in seconds: the slack that is promised.
TURN = 1 / TURNS


class Peer:
    """A socket whose pings are counted. It answers when it is told to."""

    def __init__(self, bench: Bench) -> None:
        self.heard = self.sent = self.pinged = 0
        self.lost = False
        self.pings: list[float] = []  # when, in seconds
        self.waiting = 0
        self.holds = False  # what is written waits in its queue
        self.bench = bench

    def ping(self) -> bool:
        self.pings.append(self.bench.now)
        if not self.holds:
            self.sent = self.bench.wheel.now
        return True

    def takes(self) -> bool:
        self.waiting = max(0, self.waiting - 1)
        return self.waiting > 0

    def says(self) -> None:
        """Anything: a message, or a pong."""
        self.pinged = 0
        self.heard = self.bench.wheel.now

    def is_told(self) -> None:
        self.sent = self.bench.wheel.now


class Bench:
    def __init__(self, interval: float, timeout: float) -> None:
        self.dead: dict[Peer, float] = {}
        self.seen: list[Peer] = []
        self.wheel: PingWheel[Peer] = PingWheel(interval, timeout, self._died, self.seen.append)
        self.turns = 0

    @property
    def now(self) -> float:
        return self.turns / TURNS

    def _died(self, peer: Peer) -> None:
        self.dead[peer] = self.now

    def peer(self) -> Peer:
        peer = Peer(self)
        self.wheel.add(peer)
        return peer

    def turn(self, passed: int = 1) -> None:
        self.turns += passed
        self.wheel.turn(passed)

    def until(self, second: float) -> None:
        while self.turns < second * TURNS:
            self.turn()


#: ``ping_seconds`` and ``pong_timeout_seconds``: longer and shorter than one another, and what is no whole number of turns.
TIMES = [(25.0, 10.0), (10.0, 25.0), (1.0, 600.0), (1.0, 0.5), (3.3, 0.7), (2.0, 2.0)]


@pytest.mark.parametrize(("interval", "timeout"), TIMES)
def test_a_silent_connection_is_pinged_in_time_and_dead_in_time(interval: float, timeout: float) -> None:
    for spoke in range(1, 2 * TURNS, 3):  # in every phase of the wheel
        bench = Bench(interval, timeout)
        peer = bench.peer()
        bench.until(spoke / TURNS)
        peer.says()
        peer.is_told()
        peer.pings.clear()
        # What came in a turn came before the next one; so at most a turn later than this.
        while not peer.pings:
            bench.turn()
        silence = bench.now - spoke / TURNS
        assert interval - TURN < silence <= interval + TURN
        while not bench.dead:
            bench.turn()
        waited = bench.now - peer.pings[0]
        assert timeout - TURN < waited <= timeout + TURN
        assert len(bench.wheel) == 0
        bench.until(bench.now + interval + timeout + 1)
        assert len(bench.dead) == 1


@pytest.mark.parametrize(("interval", "timeout"), TIMES)
@pytest.mark.parametrize("way", ["says", "is_told"])
def test_traffic_in_one_direction_does_not_stand_for_the_other(interval: float, timeout: float, way: str) -> None:
    """What lies between may count one of them only. Whoever answers is never dead."""
    bench = Bench(interval, timeout)
    peer = bench.peer()
    bench.until(1)
    began = bench.now
    other = "heard" if way == "is_told" else "sent"
    last = getattr(peer, other)
    for _ in range(int(6 * interval * TURNS)):
        getattr(peer, way)()
        bench.turn()
        if peer.pinged:
            peer.says()
        if getattr(peer, other) > last:
            last = getattr(peer, other)
        assert bench.wheel.now - last <= interval * TURNS + 1
    assert len(peer.pings) in (5, 6) and bench.now - began > 5 * interval and not bench.dead


@pytest.mark.parametrize(("interval", "timeout"), TIMES)
def test_answers_keep_it_and_pings_come_each_interval(interval: float, timeout: float) -> None:
    bench = Bench(interval, timeout)
    peer = bench.peer()
    for turn in range(int(20 * interval * TURNS)):
        bench.turn()
        if peer.pinged and turn % 3 == 0:
            peer.says()
    assert not bench.dead
    gaps = [after - before for before, after in zip(peer.pings, peer.pings[1:], strict=False)]
    assert max(gaps) <= interval + 3 * TURN and min(gaps) > interval - TURN


def test_one_that_talks_and_is_told_things_is_not_pinged() -> None:
    bench = Bench(5, 2)
    peer = bench.peer()
    for second in range(1, 100):
        bench.until(second)
        peer.says()
        peer.is_told()
    assert not peer.pings
    bench.until(99 + 5 + 2 + 2 * TURN)
    assert bench.dead


@pytest.mark.parametrize("timeout", [2.0, 600.0])
def test_a_word_between_two_looks_does_not_put_the_next_ping_off(timeout: float) -> None:
    """It counts from the word, not from the look that found it."""
    for second in range(1, 40):
        bench = Bench(5, timeout)
        peer = bench.peer()
        bench.until(second / 8 + 0.5)
        peer.says()
        peer.is_told()
        spoke = bench.now
        while not (peer.pings and peer.pings[-1] > spoke):
            bench.turn()
        assert peer.pings[-1] - spoke <= 5 + TURN


def test_until_it_is_dead_it_is_pinged_on() -> None:
    """A long time for a pong is no reason for what lies between to forget the connection."""
    bench = Bench(2, 7)
    peer = bench.peer()
    bench.until(8)
    assert peer.pings == pytest.approx([2 + TURN, 4 + 2 * TURN, 6 + 3 * TURN])
    bench.until(2 + 7 + 2 * TURN)
    assert peer in bench.dead


def test_one_that_takes_what_the_ping_waits_behind_is_not_dead() -> None:
    bench = Bench(25, 10)
    peer = bench.peer()
    peer.waiting, peer.holds = 4, True
    bench.until(25 + 40)
    assert not bench.dead
    bench.until(25 + 40 + 1)
    assert peer in bench.dead


def test_lost_ones_are_forgotten() -> None:
    bench = Bench(5, 2)
    peer = bench.peer()
    peer.lost = True
    assert len(bench.wheel) == 0
    bench.until(50)
    assert not peer.pings and not bench.dead and not any(bench.wheel._slots) and bench.wheel._count == 0


def test_an_event_loop_that_stands_still_makes_nobody_dead() -> None:
    """Answers lie unread meanwhile: whoever is silent after it, is. However long it was."""
    for stall in (3 * TURNS, 200 * TURNS):
        bench = Bench(5, 2)
        alive, gone = bench.peer(), bench.peer()
        bench.until(6)
        assert alive.pings and gone.pings
        bench.turn(stall)
        assert not bench.dead and bench.now >= 6 + 3
        alive.says()  # the loop reads between two calls
        bench.turn()
        assert list(bench.dead) == [gone]


def test_a_loop_that_is_always_late_finds_the_dead_too() -> None:
    bench = Bench(5, 2)
    alive, gone = bench.peer(), bench.peer()
    for _ in range(20):
        bench.turn(5)
        if alive.pinged:
            alive.says()
    assert list(bench.dead) == [gone] and bench.dead[gone] <= 5 + 2 + 4 * 5 * TURN


async def test_the_wheel_follows_the_clock() -> None:
    """A timer that is late by half a turn each time must not make the interval longer by half."""
    time = 0.0
    turns: list[int] = []
    wheel: PingWheel[Any] = PingWheel(5, 2, lambda peer: None)
    usual = wheel.turn

    def turn(passed: int = 1) -> None:
        turns.append(passed)
        usual(passed)

    wheel.turn = turn  # type: ignore[method-assign]

    def monotonic() -> float:
        nonlocal time
        time += 0.7 * TURN  # the loop is as late as that, twice a turn
        return time

    running = asyncio.create_task(wheel.run(monotonic))
    async with asyncio.timeout(60):
        while sum(turns) < 40:
            await asyncio.sleep(0)
    running.cancel()
    assert abs(sum(turns) - time * TURNS) <= 3


def test_a_socket_that_fails_leaves_the_others_their_turn(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(5, 2)
    failing, peer = bench.peer(), bench.peer()
    failing.ping = lambda: 1 // 0  # type: ignore[method-assign]
    for _ in range(int(11 * TURNS)):
        bench.turn()
        if peer.pinged:
            peer.says()
    assert len(peer.pings) == 2 and caplog.text.count("could not be pinged") >= 2


@pytest.mark.parametrize("storm", ["connect", "speak", "stall"])
def test_a_storm_is_spread_and_everybody_is_seen_often_enough(storm: str) -> None:
    bench, count = Bench(25, 10), 4000
    peers = [bench.peer() for _ in range(count)]
    if storm == "speak":
        bench.until(12)
        for peer in peers:
            peer.says()
            peer.is_told()
    elif storm == "stall":
        bench.turn(20 * TURNS)
        for peer in peers:
            peer.says()
    bench.seen.clear()
    rng = random.Random(3)
    last = dict.fromkeys(peers, bench.now)
    first = bench.now
    spread = max(CROWD, 2 * count // (25 * TURNS))
    while bench.now < first + 120:
        bench.turn()
        pinged = [peer for peer in peers if peer.pings and peer.pings[-1] == bench.now]
        if bench.now > first + 60:  # the first time some that were there already are moved by half an interval only
            assert len(pinged) <= 2 * spread
        assert len(pinged) <= count // 4 or storm != "connect"
        for peer in pinged:
            if rng.random() < 0.9:
                peer.says()
        for peer in bench.seen:
            assert bench.now - last[peer] <= bench.wheel.longest
            last[peer] = bench.now
        bench.seen.clear()
    assert all(peer in bench.dead or bench.now - last[peer] <= bench.wheel.longest for peer in peers)


def test_looks_are_few() -> None:
    """What an idle connection costs: two looks and one ping an interval."""
    bench, count = Bench(25, 10), 1000
    peers = [bench.peer() for _ in range(count)]
    for _ in range(100 * TURNS):
        bench.turn()
        for peer in peers:
            if peer.pinged:
                peer.says()
    pings = sum(len(peer.pings) for peer in peers)
    assert pings <= 5 * count
    assert len(bench.seen) <= 2 * pings + 3 * count
