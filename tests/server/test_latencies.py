"""Latencies as operators are told them: by a clock that moves, from the request's arrival until its fate is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import uvloop

from syncline.core.rooms.room import Position
from syncline.server.app import App
from syncline.server.seams.clock import LoopClock
from syncline.server.seams.outcome import NotWritten
from tests.serving import Serve, samples
from tests.waiting import until

from .wsclient import dial, submit

KEY = "0123456789abcdef"


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[App]:
    async with serve(api={"key": KEY}) as running:
        yield running


class Standing:
    """In the place of a node's monotonic clock: stands still until it is moved."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(app.node.clock, "monotonic", lambda: self.now)


async def call(app: App, path: str, told: dict[str, Any]) -> httpx.Response:
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=app.url, headers=headers, trust_env=False) as client:
        return await client.post(path, json=told)


def counted(app: App, metric: str, source: str = "") -> tuple[float, float]:
    """(how many, seconds in all)."""
    found, label = samples(app.node), f'{{source="{source}"}}' if source else ""
    return found[f"{metric}_count{label}"], found[f"{metric}_sum{label}"]


def test_the_clock_is_read_when_asked() -> None:
    """uvloop's own stands still while a turn of it runs, and has whole milliseconds."""

    async def look() -> None:
        clock = LoopClock(asyncio.get_running_loop())
        began, real = clock.monotonic(), time.perf_counter()
        seen = set()
        while time.perf_counter() - real < 0.005:
            seen.add(clock.monotonic())
        assert clock.monotonic() - began >= 0.005
        assert len(seen) > 6

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(look())


async def test_a_message_counts_from_its_arrival(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits behind a join that waits for the store, and then for the broker."""
    publish, room = app.node.broker.publish, app.node.store.room
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(name: str) -> Any:
        asked.set()
        await answered.wait()
        return await room(name)

    def late(publication: Any, done: Any, once: str = "") -> None:
        def told(position: Position | None, error: Exception | None) -> None:
            clock.now += 0.25
            done(position, error)

        publish(publication, told, once)

    async with dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        clock = Standing(app, monkeypatch)
        monkeypatch.setattr(app.node.store, "room", slow)
        monkeypatch.setattr(app.node.broker, "publish", late)
        send = {"event": "message:send", "data": {"room": "r", "data": 1}}
        (session,) = app.node.sessions.of_user(ada.user)
        await ada.send({"event": "room:join", "data": {"room": "s"}, "id": 70}, {**send, "id": 71})
        await asked.wait()
        assert session.pending == 1
        clock.now += 3.0
        answered.set()
        await ada.take(lambda envelope: envelope.get("id") == 71)
    assert counted(app, "syncline_publish_seconds", "client") == (1, 3.25)
    assert counted(app, "syncline_publish_seconds", "api") == (0, 0)


async def test_what_the_api_publishes_is_measured_and_counted(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    publish, fails = app.node.broker.publish, False

    def late(publication: Any, done: Any, once: str = "") -> None:
        def told(position: Position | None, error: Exception | None) -> None:
            clock.now += 0.25
            done(*((None, NotWritten("full")) if fails else (position, error)))

        publish(publication, told, once)

    async with dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        clock = Standing(app, monkeypatch)
        monkeypatch.setattr(app.node.broker, "publish", late)
        told = {"rooms": ["r", "nowhere"], "data": 1, "idempotency_key": "k"}
        for _ in range(2):
            assert (await call(app, "/api/messages", told)).status_code == 200
        fails = True
        answer = await call(app, "/api/messages", {"rooms": ["r"], "data": 1})
        assert answer.json()["results"] == [{"room": "r", "error": "unavailable"}]
        assert (await call(app, "/api/events", {"name": "x", "rooms": ["r"]})).status_code == 202
        await ada.call("event:custom", room="r", name="x", data=1)
        await ada.call("event:custom", room="r", name="x", data=1, to={"users": [ada.user]})
    assert counted(app, "syncline_publish_seconds", "api") == (3, 0.75)
    assert counted(app, "syncline_publish_seconds", "client") == (0, 0)
    assert counted(app, "syncline_event_seconds", "api") == (1, 0)
    assert counted(app, "syncline_event_seconds", "client") == (2, 0)
    found = samples(app.node)
    assert found["syncline_publish_duplicates_total"] == 1
    assert found["syncline_publish_failures_total"] == 1


async def test_an_operation_counts_from_its_arrival(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits for the commit before it, its own, and one that is lost with the document."""
    append = app.node.store.append
    dones: list[Any] = []

    def held(document: str, generation: str, turn: Any, done: Any) -> None:
        append(document, generation, turn, lambda *told: dones.append((done, told)))

    def go_on(*told: Any) -> None:
        done, usual = dones.pop(0)
        done(*(told or usual))

    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        live = app.node.documents.live["d"]
        clock = Standing(app, monkeypatch)
        monkeypatch.setattr(app.node.store, "append", held)
        await submit(ada, 1, 0, ["a"])
        await until(lambda: dones)
        clock.now += 1.0
        await submit(ada, 2, 0, ["b"])
        await until(lambda: live.pending)
        clock.now += 2.0
        go_on()
        await until(lambda: dones)
        clock.now += 4.0
        go_on()
        await ada.push("document:operation", revision=2)
        assert counted(app, "syncline_operation_seconds") == (2, 3.0 + 6.0)
        assert counted(app, "syncline_commit_seconds") == (2, 3.0 + 4.0)
        await submit(ada, 2, 0, ["b"])  # again, after a lost ack
        await ada.push("document:ack", seq=2)
        assert counted(app, "syncline_operation_seconds") == (3, 9.0)
        await submit(ada, 3, 2, [2, "c"])
        await until(lambda: dones)
        clock.now += 8.0
        go_on(None, NotWritten("full"))
        await ada.push("document:resync")
    assert counted(app, "syncline_operation_seconds") == (4, 17.0)
    assert counted(app, "syncline_commit_seconds") == (3, 15.0)


@pytest.mark.parametrize("backend", ["memory"])
async def test_messages_of_one_read_have_one_arrival(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last of them has waited for the others."""
    publish = app.node.broker.publish

    def slow(publication: Any, done: Any, once: str = "") -> None:
        clock.now += 1.0
        publish(publication, done, once)

    async with dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        clock = Standing(app, monkeypatch)
        monkeypatch.setattr(app.node.broker, "publish", slow)
        (session,) = app.node.sessions.of_user(ada.user)
        send = b'{"event":"message:send","data":{"room":"r","data":1}}'
        frame = bytes([0x81, 0x80 | len(send), 0, 0, 0, 0]) + send  # masked with zeros
        session.connection.transport.data_received(3 * frame)
    assert counted(app, "syncline_publish_seconds", "client") == (3, 1.0 + 2.0 + 3.0)
