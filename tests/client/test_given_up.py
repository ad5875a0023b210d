"""What is given up is undone: joins, leaves and other requests that nobody waits for any more, against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from syncline.client import Client, Closed, ConnectionLost, Document, RequestError, Room
from syncline.client import link as link_module
from syncline.client.link import Link
from syncline.server.app import App
from tests.waiting import until

from .links import Open, cut

Kind = Literal["room", "text", "rich-text", "json"]
KINDS: tuple[Kind, ...] = ("room", "text", "rich-text", "json")
Handle = Room | Document


class Gate:
    """Holds up what the server asks of its store for joins."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open = asyncio.Event()
        self.held = 0
        self.error: Exception | None = None
        for name in ("room_role", "document_role"):
            monkeypatch.setattr(app.node.store, name, self.holding(getattr(app.node.store, name)))

    def holding(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def held(*args: Any) -> Any:
            self.held += 1
            await self.open.wait()
            return await call(*args)

        return held


@pytest.fixture
def gate(app: App, monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(app, monkeypatch)


def join(client: Client, kind: Kind) -> asyncio.Task[Handle]:
    async def run() -> Handle:
        return await (client.join("x") if kind == "room" else client.document("x", type=kind))

    return asyncio.get_running_loop().create_task(run())


def inside(app: App, kind: Kind) -> list[str]:
    """Who is in it, by the server."""
    if kind == "room":
        return [session.user for session in app.node.sessions.connections.values() if "x" in session.rooms]
    return [session.user for session in app.node.sessions.connections.values() if "x" in session.documents]


async def given_up(task: asyncio.Task[Handle]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("kind", KINDS)
async def test_a_join_that_is_cancelled_leaves_nobody_behind(
    app: App, open_client: Open, gate: Gate, kind: Kind
) -> None:
    client = await open_client(name="Ada")
    task = join(client, kind)
    await until(lambda: gate.held)
    await given_up(task)
    gate.open.set()
    await client.ping()  # answered in order
    assert not inside(app, kind)
    assert not client._rooms and not client._documents
    handle = await join(client, kind)
    assert inside(app, kind) == [client.user] and handle.error is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_join_right_after_one_that_was_given_up(app: App, open_client: Open, gate: Gate, kind: Kind) -> None:
    client = await open_client(name="Ada")
    task = join(client, kind)
    await until(lambda: gate.held)
    await given_up(task)
    second = join(client, kind)
    gate.open.set()
    handle = await second
    await client.ping()
    assert inside(app, kind) == [client.user] and handle.error is None
    if isinstance(handle, Room):
        async with asyncio.timeout(30), handle.messages() as messages:
            await handle.send("heard")
            assert (await anext(messages)).data == "heard"


@pytest.mark.parametrize("kind", KINDS)
async def test_who_waits_for_the_same_join_still_gets_it(app: App, open_client: Open, gate: Gate, kind: Kind) -> None:
    client = await open_client(name="Ada")
    first, second = join(client, kind), join(client, kind)
    await until(lambda: gate.held)
    await given_up(first)
    gate.open.set()
    handle = await second
    await client.ping()
    assert inside(app, kind) == [client.user] and handle.error is None
    assert await join(client, kind) is handle


@pytest.mark.parametrize("kind", KINDS)
async def test_a_join_that_takes_too_long_is_undone(app: App, open_client: Open, gate: Gate, kind: Kind) -> None:
    client = await open_client(name="Ada")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await join(client, kind)
    await until(lambda: gate.held)
    gate.open.set()
    await client.ping()
    assert not inside(app, kind)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_join_given_up_without_a_connection_is_not_made_later(
    app: App, open_client: Open, gate: Gate, kind: Kind
) -> None:
    client = await open_client(name="Ada")
    task = join(client, kind)
    await until(lambda: gate.held)
    cut(client)
    await asyncio.wait([task])
    assert task.exception() is not None  # ConnectionLost: it is not known what became of it
    again = join(client, kind)
    await asyncio.sleep(0)
    await given_up(again)
    gate.open.set()
    await until(lambda: client.state == "open")
    await client.ping()
    await until(lambda: not inside(app, kind))
    assert not client._rooms and not client._documents


@pytest.mark.parametrize("kind", KINDS)
async def test_leaving_while_it_is_joined_again(app: App, open_client: Open, gate: Gate, kind: Kind) -> None:
    gate.open.set()
    client = await open_client(name="Ada")
    handle = await join(client, kind)
    gate.open.clear()
    gate.held = 0
    app.node.hub._away.clear()
    cut(client)
    await until(lambda: client.state != "open")
    await until(lambda: client.state == "open")
    leaving = asyncio.get_running_loop().create_task(handle.leave())
    await asyncio.sleep(0)
    gate.open.set()
    await leaving
    await client.ping()
    assert isinstance(handle.error, Closed)
    await until(lambda: not inside(app, kind))


@pytest.mark.parametrize("kind", KINDS)
async def test_leaving_takes_no_connection_and_cannot_be_given_up(
    app: App, open_client: Open, gate: Gate, kind: Kind
) -> None:
    gate.open.set()
    client = await open_client(name="Ada")
    handle = await join(client, kind)
    leaving = asyncio.get_running_loop().create_task(handle.leave())
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.wait([leaving])
    await client.ping()
    assert not inside(app, kind)
    handle = await join(client, kind)
    cut(client)
    await handle.leave()  # at once, and nothing is raised
    await until(lambda: client.state == "open")
    await client.ping()
    await until(lambda: not inside(app, kind))


async def test_a_rejoin_that_failed_is_not_tried_again_after_leaving(
    app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_client(name="Ada")
    room = await client.join("x")
    room._rejoined(None, RequestError("unavailable"))
    assert client._timers
    await room.leave()
    await until(lambda: not client._timers)
    await client.ping()
    assert not inside(app, "room")


async def test_an_owner_who_may_not_resign_is_still_in_the_room(app: App, open_client: Open) -> None:
    client = await open_client(name="Ada")
    room = await client.join("x")
    with pytest.raises(RequestError, match="forbidden"):
        await room.leave(resign=True)
    assert room.error is None and inside(app, "room") == [client.user]
    await room.send("here")


async def test_who_joins_again_as_one_resigns_is_in_the_room(app: App, open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    await ada.join("x")
    room = await bob.join("x")
    leaving = asyncio.get_running_loop().create_task(room.leave(resign=True))
    while not bob.connection._answers:  # until it is written
        await asyncio.sleep(0)
    assert await bob.join("x") is room
    await leaving
    await room.send("here")
    assert room.error is None and sorted(inside(app, "room")) == sorted([ada.user, bob.user])
    assert await room.leave(resign=True) == 0
    assert isinstance(room.error, Closed) and inside(app, "room") == [ada.user]
    assert [member.user for member in await ada._rooms["x"].all_members()] == [ada.user]
    with pytest.raises(Closed):
        await room.leave(resign=True)  # of a room that was left it would not be told to the server
    assert await room.leave() == 0


async def test_a_resignation_that_is_lost_changes_nothing(app: App, open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    await ada.join("x")
    room = await bob.join("x")
    leaving = asyncio.get_running_loop().create_task(room.leave(resign=True))
    while not bob.connection._answers:  # until it is written
        await asyncio.sleep(0)
    cut(bob)
    with pytest.raises(ConnectionLost):
        await leaving
    await room.send("here")
    assert room.error is None


async def test_nothing_goes_before_authentication(app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await open_client(name="Ada")
    room = await client.join("x")
    tried = []

    async def open_link(*args: Any, **options: Any) -> Link:
        link = await link_module.open_link(*args, **options)
        asyncio.get_running_loop().call_soon(lambda: tried.append(room._say_left()))
        return link

    monkeypatch.setattr("syncline.client.connection.open_link", open_link)
    cut(client)
    await until(lambda: tried and client.state == "open")
    await room.send("here")
    assert tried == [False] and client.reconnects == 1


async def test_a_leave_that_the_server_cannot_do_now_is_said_again(
    app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await open_client(name="Ada")
    await client.join("x")
    real, failed = app.node.rooms.leave, []

    async def leave(*args: Any, **options: Any) -> None:
        if not failed:
            failed.append(True)
            raise RuntimeError("a fault")
        await real(*args, **options)

    monkeypatch.setattr(app.node.rooms, "leave", leave)
    await client._rooms["x"].leave()
    await until(lambda: not inside(app, "room"))
    assert failed


async def test_requests_that_are_given_up_are_forgotten(app: App, open_client: Open, gate: Gate) -> None:
    gate.open.set()
    client = await open_client(name="Ada")
    document = await client.document("x")
    task = asyncio.get_running_loop().create_task(document.history())
    await asyncio.sleep(0)
    assert client.connection._answers
    task.cancel()
    await asyncio.wait([task])
    assert not client.connection._answers
