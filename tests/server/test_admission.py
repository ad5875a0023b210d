"""server.admission: handshakes above the rate are refused, told when to come back, and come back spread."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
from collections import Counter

from syncline.client import Client, ConnectFailed, connect
from syncline.client.backoff import Backoff
from syncline.server.limits.admission import LONGEST, Admission
from tests.serving import Serve

from .rawclient import RawClient


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_rate_all_come_in() -> None:
    admission = Admission(0.0, 1, Time())
    assert all(admission.refusal() is None for _ in range(10_000)) and admission.refused == 0


def test_a_storm_is_worked_off_at_the_rate() -> None:
    """10,000 clients at once at 500 a second: each does as it is told, and nobody needs to be told often."""
    time, chance = Time(), random.Random(7)
    admission = Admission(500.0, 500, time, chance.random)
    arrivals = [(chance.random(), client) for client in range(10_000)]
    heapq.heapify(arrivals)
    tries: Counter[int] = Counter()
    accepted: Counter[int] = Counter()  # per second
    while arrivals:
        time.now, client = heapq.heappop(arrivals)
        tries[client] += 1
        wait = admission.refusal()
        if wait is None:
            accepted[int(time.now)] += 1
        else:
            assert 1 <= wait <= LONGEST and wait == int(wait)
            heapq.heappush(arrivals, (time.now + wait + chance.random(), client))  # as docs/protocol.md allows
    assert max(accepted.values()) <= 1000  # a burst and a second's worth
    assert max(accepted) < 40  # 20 seconds would be perfect
    assert sum(tries.values()) / 10_000 < 3.0 and max(tries.values()) < 12


def test_who_never_came_back_is_forgotten() -> None:
    time = Time()
    admission = Admission(10.0, 1, time, lambda: 0.5)
    assert admission.refusal() is None
    waits = [admission.refusal() for _ in range(100_000)]
    assert waits[0] == 1 and waits[-1] == LONGEST
    time.now += 100_000 / 10.0
    assert admission.refusal() is None
    assert admission.refusal() == 1


async def test_503_with_a_time_to_come_back(serve: Serve) -> None:
    async with serve(limits={"handshakes_per_second": 0.5, "handshakes_burst": 2}) as app:

        def knock() -> list[tuple[int, str | None]]:
            answers = []
            for _ in range(4):
                with RawClient(app.port) as client:
                    client.handshake()
                    answers.append((client.status, client.headers.get("retry-after")))
            return answers

        answers = await asyncio.to_thread(knock)
        assert [status for status, _ in answers] == [101, 101, 503, 503]
        waits = [int(wait) for status, wait in answers if wait is not None]
        assert len(waits) == 2 and 2 <= waits[0] <= 3 and waits[0] < waits[1] <= 5
        assert app.node.admission.refused == 2


class Patient:
    """A clock that notes how long the client means to wait."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(min(seconds, 0.05))


async def test_the_client_comes_back_when_it_is_told_to(serve: Serve) -> None:
    limits = {"handshakes_per_second": 5.0, "handshakes_burst": 1}
    async with serve(limits=limits) as app, contextlib.AsyncExitStack() as stack:
        url = app.url.replace("http", "ws") + "/ws"
        await stack.enter_async_context(await connect(url, name="Ada"))
        try:
            await connect(url, name="Bob")
            raise AssertionError("it was let in")
        except ConnectFailed as error:
            assert error.retry_after is not None and 1 <= error.retry_after <= 2
        clock = Patient()
        # Its own backoff would be much shorter, and much longer.
        for backoff in (Backoff(initial=0.0001, maximum=0.0001), Backoff(initial=1000.0, maximum=1000.0)):
            clock.slept.clear()
            client: Client = await connect(url, name="Eve", retry=True, clock=clock, backoff=backoff)
            await stack.enter_async_context(client)
            waits = [seconds for seconds in clock.slept if seconds < 10]
            assert waits and all(1.0 <= seconds <= 4.0 for seconds in waits)
