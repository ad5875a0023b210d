"""What was told of somebody is what every read says from then on, whatever the presence backend has by then."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

from syncline.server.app import App
from syncline.server.backends.memory import MemoryPresence
from syncline.server.rooms import presence_writes
from syncline.server.seams.outcome import Unavailable
from syncline.server.seams.presence import PresenceChange, PresenceEntry
from tests.serving import Serve

from .wsclient import Wire, dial


class Gate:
    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.reached = asyncio.Event()
        self.calls = 0


@contextlib.contextmanager
def gate(backend: object, method: str, *, after: bool = False) -> Iterator[Gate]:
    """Calls of one method of the backend wait here: before they are made, or, with ``after``, with their answer in the hand."""
    held = Gate()
    call: Any = getattr(backend, method)

    async def gated(*arguments: Any) -> Any:
        held.calls += 1
        answer = await call(*arguments) if after else None
        held.reached.set()
        await held.open.wait()
        return answer if after else await call(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, method, gated)
        try:
            yield held
        finally:
            held.open.set()  # a test that fails still ends


def presence_of(app: App) -> Any:
    return app.node.backends()["presence"]


async def away(changes: Sequence[PresenceChange], ttl: float) -> None:
    """In place of a backend's ``write``."""
    raise Unavailable("the disk is gone")


@contextlib.asynccontextmanager
async def two_in_a_room(app: App) -> AsyncIterator[tuple[Wire, Wire]]:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        for client in (ada, bob):
            await client.call("room:join", room="r")
        yield ada, bob


async def member(asking: Wire, user: str) -> dict[str, Any]:
    listed = (await asking.call("room:members", room="r"))["members"]
    (found,) = (one for one in listed if one["user"] == user)
    return dict(found)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


def written(app: App) -> bool:
    return not app.node.presence.writes


async def test_who_was_told_to_be_away_is_away_before_that_is_written(app: App) -> None:
    async with two_in_a_room(app) as (ada, bob):
        with gate(presence_of(app), "write") as write:
            bob.socket.transport.abort()
            told = await ada.push("presence:update", user=bob.user)
            await ada.push("room:user_left", user=bob.user)
            assert (told["status"], told["name"]) == ("away", "Bob")
            await write.reached.wait()
            before = await member(ada, bob.user)
            del told["room"]
            assert before == {**told, "role": "member"}
        await until(lambda: written(app))
        assert await member(ada, bob.user) == before


async def test_the_time_that_is_told_after_the_grace_period_is_the_one_that_is_read(serve: Serve) -> None:
    async with serve(presence={"grace_seconds": 0.05}) as app, two_in_a_room(app) as (ada, bob):
        bob.socket.transport.abort()
        told = await ada.push("presence:update", user=bob.user)
        assert (await member(ada, bob.user))["last_seen"] == told["last_seen"]


async def test_who_waits_behind_a_write_is_seen_too(app: App) -> None:
    async with two_in_a_room(app) as (ada, bob), dial(app.url, name="Eve") as eve:
        await eve.call("room:join", room="r")
        with gate(presence_of(app), "write") as write:
            await bob.call("room:leave", room="r")
            await write.reached.wait()
            await eve.call("room:leave", room="r")
            assert [(await member(ada, user))["status"] for user in (bob.user, eve.user)] == ["away", "away"]
            await bob.call("room:join", room="r")
            await bob.call("room:leave", room="r")
            left = await member(ada, bob.user)
            assert left["status"] == "away" and write.calls == 1
        await until(lambda: written(app))
        assert await member(ada, bob.user) == left


async def test_a_read_that_was_overtaken_by_a_departure(app: App) -> None:
    """Asked while he is here, answered from before his departure was written; it is written before the answer comes."""
    async with two_in_a_room(app) as (ada, bob):
        for backend, method in ((app.node.store, "room_members"), (presence_of(app), "last_seen")):
            with gate(backend, method, after=True) as read:
                asked = asyncio.create_task(member(ada, bob.user))
                await read.reached.wait()
                await bob.call("room:leave", room="r")
                await until(lambda: written(app))
            answer = await asked
            assert (answer["status"], answer["name"]) == ("away", "Bob"), method
            assert answer["last_seen"] is not None
            await bob.call("room:join", room="r")


async def test_a_read_that_was_overtaken_by_a_return(app: App) -> None:
    async with two_in_a_room(app) as (ada, bob):
        await bob.call("room:leave", room="r")
        with gate(presence_of(app), "last_seen", after=True) as read:
            asked = asyncio.create_task(member(ada, bob.user))
            await read.reached.wait()
            await bob.call("room:join", room="r")
            await bob.call("presence:update", room="r", status="busy")
        assert (await asked)["status"] == "busy"


async def test_what_was_not_written_is_seen_and_written_later(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    backend, tracker = presence_of(app), app.node.presence
    failed = asyncio.Event()

    async def unavailable(changes: Sequence[PresenceChange], ttl: float) -> None:
        failed.set()
        raise Unavailable("the disk is gone")

    async with two_in_a_room(app) as (ada, bob):
        with monkeypatch.context() as patch:
            patch.setattr(backend, "write", unavailable)
            await bob.call("room:leave", room="r")
            await failed.wait()
            left = await member(ada, bob.user)
            assert left["status"] == "away" and left["last_seen"] is not None
            assert await backend.last_seen("r", [bob.user]) == {} and len(tracker.writes) == 1
            # Back and away again: what is newer is not replaced by what is put back.
            await bob.call("room:join", room="r")
            failed.clear()
            await bob.call("room:leave", room="r")
            await failed.wait()
            left = await member(ada, bob.user)
            assert len(tracker.writes) == 1
        tracker.touch_all()  # the node does that a few times a minute
        await until(lambda: written(app))
        assert await backend.last_seen("r", [bob.user]) == {bob.user: left["last_seen"]}
        assert await member(ada, bob.user) == left


async def test_what_is_not_written_is_written_at_the_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as app:
        backend = presence_of(app)
        failed = asyncio.Event()
        written: list[str] = []
        write = backend.write

        async def recording(changes: Sequence[PresenceChange], ttl: float) -> None:
            if not failed.is_set():
                failed.set()
                raise Unavailable("not now")
            written.extend(change.entry.name for change in changes)
            await write(changes, ttl)

        monkeypatch.setattr(backend, "write", recording)
        async with two_in_a_room(app) as (_, bob):
            await bob.call("room:leave", room="r")
            await failed.wait()
            await until(lambda: not app.node.presence.writes._writing)
    assert sorted(written) == ["Ada", "Bob"]


async def test_a_change_that_breaks_the_backend_keeps_no_other_from_being_written(
    app: App, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    backend, tracker = presence_of(app), app.node.presence

    async def broken(changes: Sequence[PresenceChange], ttl: float) -> None:
        raise ZeroDivisionError

    async with two_in_a_room(app) as (ada, bob):
        with monkeypatch.context() as patch:
            patch.setattr(backend, "write", broken)
            await bob.call("room:leave", room="r")
            await until(lambda: written(app))
        assert "a task failed" in caplog.text
        await bob.call("room:join", room="r")
        await bob.call("room:leave", room="r")
        await until(lambda: written(app))
        assert (await member(ada, bob.user))["last_seen"] is not None and tracker.writes.dropped == 0


async def test_what_waits_for_a_backend_that_is_away_is_bounded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(presence={"unwritten": 2}) as app, contextlib.AsyncExitStack() as stack:
        ada, *others = [await stack.enter_async_context(dial(app.url, name=f"n{n}")) for n in range(5)]
        for client in (ada, *others):
            await client.call("room:join", room="r")
        await until(lambda: written(app))
        writes = app.node.presence.writes
        with monkeypatch.context() as patch:
            patch.setattr(presence_of(app), "write", away)
            for client in others:
                await client.call("room:leave", room="r")
                await until(lambda: not writes._writing)
            assert (len(writes), writes.dropped) == (2, 2)
            states = [(await member(ada, client.user))["status"] for client in others]
            assert states == ["offline", "offline", "away", "away"], "the oldest were dropped"
        writes.retry()
        await until(lambda: written(app))
        assert [(await member(ada, client.user))["status"] for client in others] == states
        assert (len(writes), writes.dropped) == (0, 2)


async def test_many_at_once_are_not_too_many_for_a_backend_that_is_there(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence_writes, "_SLOW_SECONDS", 3600.0)
    async with serve(presence={"unwritten": 2}) as app, contextlib.AsyncExitStack() as stack:
        ada, *others = [await stack.enter_async_context(dial(app.url, name=f"n{n}")) for n in range(5)]
        for client in (ada, *others):
            await client.call("room:join", room="r")
        await until(lambda: written(app))
        writes = app.node.presence.writes
        with gate(presence_of(app), "write") as write:
            await others[0].call("room:leave", room="r")
            await write.reached.wait()  # one is under way, the others wait
            for client in others[1:]:
                await client.call("room:leave", room="r")
            assert (len(writes), writes.dropped) == (4, 0)
        await until(lambda: written(app))
        assert [(await member(ada, client.user))["status"] for client in others] == ["away"] * 4


async def test_what_waits_for_a_backend_that_is_silent_is_bounded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(presence={"unwritten": 2}) as app, contextlib.AsyncExitStack() as stack:
        ada, *others = [await stack.enter_async_context(dial(app.url, name=f"n{n}")) for n in range(6)]
        for client in (ada, *others):
            await client.call("room:join", room="r")
        await until(lambda: written(app))
        monkeypatch.setattr(presence_writes, "_SLOW_SECONDS", 0.01)
        writes = app.node.presence.writes
        with gate(presence_of(app), "write") as write:
            await others[0].call("room:leave", room="r")
            await write.reached.wait()
            await until(lambda: writes._failing)
            for client in others[1:]:
                await client.call("room:leave", room="r")
            assert (len(writes), writes.dropped) == (3, 2), "two, and what is under way"
        await until(lambda: written(app))
        assert not writes._failing


async def test_a_backend_that_does_not_answer_is_one_that_is_away(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as app, two_in_a_room(app) as (ada, bob):
        await until(lambda: written(app))
        writes = app.node.presence.writes
        monkeypatch.setattr(writes, "_ttl", 0.01)
        with gate(presence_of(app), "write"):
            await bob.call("room:leave", room="r")
            await until(lambda: writes._failing and not writes._writing)
            assert (await member(ada, bob.user))["status"] == "away"
        monkeypatch.setattr(writes, "_ttl", 60.0)
        writes.retry()
        await until(lambda: written(app))
        assert (await member(ada, bob.user))["status"] == "away" and not writes._failing


@pytest.mark.parametrize("backend", ["memory"])
async def test_own_departures_are_no_ghosts_of_other_nodes(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list of a shared backend that was made before the departure, and is answered after it was written."""
    monkeypatch.setattr(MemoryPresence, "shared", True)
    async with serve() as app, two_in_a_room(app) as (ada, bob), dial(app.url, name="Eve") as eve:
        there = PresenceEntry("zoe", "elsewhere", "Zoe", "busy", 1.0)
        await presence_of(app).write([PresenceChange("r", there, here=True)], 60.0)
        await until(lambda: written(app))
        with gate(presence_of(app), "list", after=True) as listing:
            asked = asyncio.create_task(ada.call("room:members", room="r"))
            joined = asyncio.create_task(eve.call("room:join", room="r"))
            await until(lambda: listing.calls == 2)
            bob.socket.transport.abort()
            await until(lambda: len(app.node.sessions.connections) == 2 and written(app))
        states = {one["user"]: one["status"] for one in (await asked)["members"]}
        assert states[bob.user] == "away"
        assert {one["user"] for one in (await joined)["members"]} == {ada.user, eve.user, "zoe"}


async def test_the_sample_of_a_large_room_has_nobody_who_was_told_to_have_left(serve: Serve) -> None:
    settings = {"list_limit": 3, "sample_users": 6, "occupancy_seconds": 600.0}
    async with serve(presence=settings) as app, contextlib.AsyncExitStack() as stack:
        users = [await stack.enter_async_context(dial(app.url, name=f"n{n}")) for n in range(6)]
        for client in users[:5]:
            await client.call("room:join", room="r")
        assert app.node.hub.rooms["r"].sample is not None, "the fifth was answered with a sample"
        await users[1].call("presence:update", status="busy", room="r")
        await users[4].push("presence:update", user=users[1].user)
        listed = (await users[5].call("room:join", room="r"))["members"]
        assert [one["status"] for one in listed if one["user"] == users[1].user] == ["busy"]
        for client in users[:2]:
            await client.call("room:leave", room="r")
            await users[4].push("room:user_left", user=client.user)
            listed = (await users[5].call("room:join", room="r"))["members"]
            assert client.user not in {one["user"] for one in listed}
