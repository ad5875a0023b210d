"""The end of a node: what was accepted is finished, and waiting for it always lets the loop go on."""

from __future__ import annotations

import asyncio
import os
import resource
from typing import Any

import pytest

from syncline.server.app import App
from syncline.server.observe.log_repeats import FEW
from syncline.server.process import readiness
from tests.loglines import LogLines
from tests.serving import Serve, samples
from tests.waiting import until

from .wsclient import dial


class EagerGather:
    """``asyncio.gather`` as Python 3.12 and newer have it, on any version: of futures that are all done it makes a done one, and who
    awaits that lets nothing else run. ``most`` such calls in a row are taken for a loop without end."""

    def __init__(self, most: int = 100) -> None:
        self._gather: Any = asyncio.gather
        self._most = most
        self._in_a_row = 0

    def __call__(self, *futures: asyncio.Future[Any], return_exceptions: bool = False) -> asyncio.Future[Any]:
        if not all(future.done() for future in futures):
            self._in_a_row = 0
            result: asyncio.Future[Any] = self._gather(*futures, return_exceptions=return_exceptions)
            return result
        self._in_a_row += 1
        assert self._in_a_row < self._most, "waits for ended tasks for ever: nothing runs that would forget them"
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done


async def test_a_node_ends_though_a_task_ends_just_then(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last task has ended when the node looks, and the callback that forgets it has not run yet."""
    node = app.node
    monkeypatch.setattr(asyncio, "gather", EagerGather())
    waiting = asyncio.Event()
    ended: list[str] = []

    async def second() -> None:
        await asyncio.sleep(0)  # ends in the very turn in which the node learns that the first one has ended
        ended.append("second")

    async def first() -> None:
        await waiting.wait()
        node.spawn(second())
        ended.append("first")

    close = node.documents.close

    async def closed() -> None:
        await close()
        waiting.set()  # the next thing that the node does is to wait for its tasks

    monkeypatch.setattr(node.documents, "close", closed)
    node.spawn(first())
    await node.stop()
    assert ended == ["first", "second"]
    assert not node._tasks


@pytest.mark.parametrize("backend", ["sqlite"])
async def test_a_node_that_cannot_write_is_not_ready(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on as ever when the disk is full."""
    monkeypatch.setattr(readiness, "HOLDS", 0.0)
    async with serve() as app:
        assert await app.node.ready() == {}
        log = os.stat(app.node.config.store.path + "-wal")
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.st_size, usual[1]))
        try:
            assert await app.node.ready() == {"store": "no answer"}
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert await app.node.ready() == {}


@pytest.mark.parametrize("backend", ["sqlite"])
async def test_a_full_disk_does_not_fill_the_log(serve: Serve, log_lines: LogLines) -> None:
    """A client that goes on sending got 1,896 lines, 345 kB, in three seconds."""
    async with serve() as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        log = os.stat(app.node.config.store.path + "-wal")
        usual = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.st_size, usual[1]))
        try:
            for _ in range(300):
                assert await ada.error("message:send", room="r", data=1) in ("unavailable", "fate_unknown")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        assert app.node.counters.publish_failures == 300
        assert (await ada.call("message:send", room="r", data=1))["offset"] == 1
    told = log_lines("publish to")
    assert len(told) == FEW + 1 and told[-1]["repeated"] == 300 - FEW
    assert told[0]["message"].startswith("publish to r failed: ") and told[0]["address"] == "127.0.0.1"


async def test_a_node_that_cannot_deliver_is_not_ready(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "HOLDS", 0.0)
    monkeypatch.setattr(readiness, "PATIENCE", 0.05)
    monkeypatch.setattr(app.node.broker, "publish_ephemeral", lambda room, event, payload: None)
    assert (await app.node.ready())["broker"] == "no answer"


async def test_a_scrape_says_what_works(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks, and comes back though the store does not."""
    monkeypatch.setattr(readiness, "HOLDS", 0.0)
    node, answers = app.node, asyncio.Event()
    ping, deliver = node.store.ping, node.broker.publish_ephemeral

    async def hanging() -> None:
        await answers.wait()
        await ping()

    async def scraped() -> dict[str, float]:
        await node.scrape()
        found = samples(node)
        return {part: found[f'syncline_ready{{part="{part}"}}'] for part in ("store", "broker")}

    assert await scraped() == {"store": 1, "broker": 1}
    monkeypatch.setattr(readiness, "SCRAPE_PATIENCE", 0.05)
    monkeypatch.setattr(node.store, "ping", hanging)
    assert await scraped() == {"store": 0, "broker": 1}
    assert await scraped() == {"store": 0, "broker": 1}  # the same question
    answers.set()
    await until(lambda: node.readiness.works["store"])
    assert await scraped() == {"store": 1, "broker": 1}
    monkeypatch.setattr(readiness, "PATIENCE", 0.01)
    monkeypatch.setattr(node.broker, "publish_ephemeral", lambda room, event, payload: None)
    assert await scraped() == {"store": 1, "broker": 0}
    monkeypatch.setattr(node.broker, "publish_ephemeral", deliver)
    monkeypatch.setattr(readiness, "PATIENCE", 5.0)
    monkeypatch.setattr(readiness, "SCRAPE_PATIENCE", 5.0)
    assert await scraped() == {"store": 1, "broker": 1}


async def test_who_asks_often_costs_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "HOLDS", 3600.0)
    asked = 0
    ping = app.node.store.ping

    async def counted() -> None:
        nonlocal asked
        asked += 1
        await ping()

    monkeypatch.setattr(app.node.store, "ping", counted)
    assert await asyncio.gather(*(app.node.ready() for _ in range(50))) == [{}] * 50
    assert await app.node.ready() == {}
    assert asked == 1
