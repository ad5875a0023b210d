"""Endurance: people come, talk, write, break off and leave, round after round, and nothing of them stays in the server.

`make nightly` does it at length; the gate's few rounds show that it works.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import urllib.request
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest

from syncline.client import Backoff, Client, ConnectionLost, Options, connect
from tests.harness import ServerProcess, Settings
from tests.proxy import Proxy, proxied
from tests.scale import by_level, dice
from tests.waiting import PATIENCE

T = TypeVar("T")

ROUNDS = by_level(3, 30, 2_000)
PEOPLE = 8
#: Gauges of what is there for somebody. Each returns to zero when all have left.
GAUGES = {
    *("connections", "sessions", "users", "rooms", "members", "presence_entries", "documents", "collaborators"),
    *("pending_requests", "pending_operations", "store_pending_writes"),
}


def gauges(server: ServerProcess) -> dict[str, float]:
    """What of GAUGES is not zero, summed over labels."""
    with urllib.request.urlopen(server.url + "/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    found: dict[str, float] = dict.fromkeys(GAUGES, 0.0)
    seen = set()
    for line in lines:
        match = re.match(r"syncline_(\w+)(?:\{.*\})? (\S+)$", line)
        if match and match[1] in GAUGES and 'transport="http"' not in line:  # this question itself
            seen.add(match[1])
            found[match[1]] += float(match[2])
    assert GAUGES - {"sessions"} <= seen  # that one has no rows when there are none
    return {name: value for name, value in found.items() if value}


def descriptors(server: ServerProcess) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def resident(server: ServerProcess) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def again(ask: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As people do whose connection broke before there was an answer."""
    while True:
        with contextlib.suppress(ConnectionLost):
            return await ask()


async def person(url: str, number: int, chance: random.Random, arrived: asyncio.Semaphore) -> Client:
    """Says and writes something; returns the client, still open."""
    options = Options(codec="json" if number % 2 else "msgpack", backoff=Backoff(initial=0.01, maximum=0.1))
    client = await connect(url, name=f"P{number}", options=options)
    arrived.release()
    for room in chance.sample(range(30), 3):
        joined = await again(partial(client.join, f"room {room}"))
        for _ in range(3):
            await joined.send({"text": "x" * chance.randrange(300)})  # sent again by itself
    name = f"text {chance.randrange(10)}"
    document = await again(lambda: client.document(name))
    for _ in range(5):
        document.insert(chance.randint(0, len(document)), chance.choice(["a", "word ", "🙂"]))
    await document.settled()
    return client


async def a_round(server: ServerProcess, proxy: Proxy, chance: random.Random) -> None:
    arrived = asyncio.Semaphore(0)
    clients = [person(proxy.url, number, random.Random(chance.random()), arrived) for number in range(PEOPLE)]
    working = asyncio.gather(*clients)
    for _ in range(PEOPLE):
        await arrived.acquire()
    assert not working.done()
    proxy.cut(lambda: chance.random() < 0.5)  # in the middle of their work: it goes on when they are back
    for client in await working:
        if chance.random() < 0.3:
            proxy.cut(lambda: chance.random() < 0.2)
        await client.close()
    async with asyncio.timeout(PATIENCE):
        while left := await asyncio.to_thread(gauges, server):
            assert left
            await asyncio.sleep(0.01)


@pytest.mark.fuzz
@pytest.mark.timeout(0 if ROUNDS > 1000 else 300)
async def test_nothing_is_kept_of_who_has_left(tmp_path: Path) -> None:
    chance = dice("endurance")
    settings: Settings = {"documents": {"idle_seconds": 0.0}, "presence": {"grace_seconds": 0.0}}
    with ServerProcess(tmp_path, settings) as server:
        async with proxied(server.port) as proxy:
            for _ in range(max(1, ROUNDS // 4)):
                await a_round(server, proxy, chance)
            before = (descriptors(server), resident(server))
            for _ in range(ROUNDS - ROUNDS // 4):
                await a_round(server, proxy, chance)
            after = (descriptors(server), resident(server))
    print(f"descriptors and bytes of memory after a quarter {before}, at the end {after}")
    assert after[0] <= before[0] + 2, "a file or socket is left open"
    assert after[1] < 2 * before[1], "memory is kept"
