"""Joins that cost little, rooms of many users, notices of one turn: over the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from syncline.server.app import App
from syncline.server.backends.memory import MemoryPresence
from syncline.server.seams.presence import PresenceChange, PresenceEntry
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial


@contextlib.asynccontextmanager
async def crowd(app: App, count: int, codec: str = "json") -> AsyncIterator[list[Wire]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(dial(app.url, name=f"n{n}", codec=codec)) for n in range(count)]


def receive(app: App, client: Wire, event: str, **data: Any) -> None:
    """As if it had come over the socket, in this turn of the loop."""
    (session,) = app.node.sessions.of_user(client.user)
    session.receive(json.dumps({"event": event, "data": data}).encode(), 0.0)


class Reads:
    """Counts what is read of the store."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        for name in ("room", "room_role", "user"):
            monkeypatch.setattr(app.node.store, name, self._counting(name, getattr(app.node.store, name)))

    def _counting(self, name: str, call: Any) -> Any:
        async def counted(*arguments: Any) -> Any:
            self.seen.append(name)
            return await call(*arguments)

        return counted

    def take(self) -> list[str]:
        seen, self.seen = self.seen, []
        return sorted(seen)


async def test_a_live_room_is_joined_with_one_read_per_new_user(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Reads(app, monkeypatch)
    async with crowd(app, 3) as (ada, bob, eve):
        assert reads.take() == [], "a guest that was just made is nobody that the store knows"
        await ada.call("room:join", room="r")
        assert reads.take() == ["room", "room_role"]
        for client in (bob, eve):
            await client.call("room:join", room="r")
            assert reads.take() == ["room_role"]
        await bob.call("room:leave", room="r")
        for client in (ada, bob):  # again, and back
            await client.call("room:join", room="r")
        token = (await bob.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as other:
            assert (await other.call("room:join", room="r"))["role"] == "member"
        assert reads.take() == []


async def test_what_is_remembered_of_roles_is_bounded_and_follows_grants(serve: Serve) -> None:
    async with serve(limits={"recent_users": 2}) as app, crowd(app, 5) as (ada, *others):
        for client in (ada, *others):
            await client.call("room:join", room="r")
        for client in others:
            await client.call("room:leave", room="r")
        assert app.node.hub.remembered == 2
        await ada.call("room:grant", room="r", user=others[3].user, role="reader")
        await ada.call("room:grant", room="r", user=others[2].user, role=None)
        assert (await others[3].call("room:join", room="r"))["role"] == "reader"
        await ada.call("room:grant", room="r", user=others[3].user, role="moderator")
        token = (await others[3].call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second:
            assert (await second.call("room:join", room="r"))["role"] == "moderator"
        assert (await others[0].call("room:join", room="r"))["role"] == "member"


async def test_a_role_that_is_taken_away_while_its_user_joins(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as app, crowd(app, 2) as (ada, bob):
        await ada.call("room:create", room="r", default_role=None)
        await ada.call("room:join", room="r")
        await ada.call("room:grant", room="r", user=bob.user, role="member")
        read, asked, go = app.node.store.room_role, asyncio.Event(), asyncio.Event()

        async def slow(room: str, user: str) -> str | None:
            role = await read(room, user)
            if user == bob.user and not asked.is_set():
                asked.set()
                await go.wait()
            return role

        monkeypatch.setattr(app.node.store, "room_role", slow)
        join = asyncio.create_task(bob.error("room:join", room="r"))
        await asked.wait()
        await ada.call("room:grant", room="r", user=bob.user, role=None)
        go.set()
        assert await join == "forbidden"
        assert bob.user not in app.node.hub.rooms["r"].users


async def test_resigning_takes_all_connections_of_the_user_out(app: App) -> None:
    async with crowd(app, 2) as (ada, bob):
        token = (await bob.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second:
            for client in (ada, bob, second):
                await client.call("room:join", room="r")
            await bob.call("room:leave", room="r", resign=True)
            assert await second.push("room:removed") == {"room": "r"}
            assert (await ada.push("room:user_left"))["user"] == bob.user


async def test_changes_of_one_turn_come_in_one_frame(app: App) -> None:
    async with crowd(app, 4) as (ada, bob, eve, joe), dial(app.url, name="Max", codec="msgpack") as max_:
        for client in (ada, max_, joe, bob, eve):
            await client.call("room:join", room="r")
        for client in (bob, eve):  # their roles are known: joining again does not wait
            await client.call("room:leave", room="r")
        for client in (ada, max_, joe, bob, eve):
            await client.flushed()
        receive(app, joe, "room:leave", room="r")
        receive(app, bob, "room:join", room="r")
        receive(app, eve, "room:join", room="r")
        receive(app, bob, "presence:update", status="away")
        receive(app, bob, "presence:update", status="busy")
        expected = [
            ("room:user_left", joe.user),
            ("room:user_joined", bob.user),
            ("room:user_joined", eve.user),
            ("presence:update", bob.user),
        ]
        first = json.loads(await ada.socket.recv())
        assert [(one["event"], one["data"]["user"]) for one in first] == expected
        assert first[3]["data"]["status"] == "busy", "the newest of the turn"
        assert len(await max_.socket.recv()) > 0
        for client, after in ((bob, 2), (eve, 3)):
            pushes = await client.flushed()
            assert pushes[0]["event"] == "room:joined"
            listed = {member["user"] for member in pushes[0]["data"]["members"]}
            assert joe.user not in listed and {ada.user, max_.user, bob.user, client.user} <= listed
            told = [(one["event"], one["data"]["user"]) for one in pushes[1:]]
            assert told == expected[after:], "what was before its own join, the answer has said"


async def test_a_large_room_is_counted(serve: Serve) -> None:
    limits = {"occupancy_users": 4, "list_limit": 3, "sample_users": 3, "occupancy_seconds": 0.05}
    async with serve(presence=limits) as app, crowd(app, 6) as users:
        for number, client in enumerate(users, 1):
            joined = await client.call("room:join", room="r")
            assert joined["occupancy"] == {"users": number, "connections": number}
            listed = [member["user"] for member in joined["members"]]
            assert len(listed) == min(number, 3) and client.user in listed and listed[:2] == sorted(listed[:2])
        ada = users[0]
        assert await ada.push("room:occupancy", users=6) == {"room": "r", "users": 6, "connections": 6}
        told = [one["data"]["user"] for one in await ada.flushed() if one["event"] == "room:user_joined"]
        assert told == [client.user for client in users[1:4]], "above the bound nobody is told who"
        await ada.call("presence:update", status="busy")
        assert not [one for one in await users[1].flushed() if one["event"] == "presence:update"]
        token = (await users[5].call("auth:refresh"))["token"]
        async with dial(app.url, token=token, codec="msgpack") as second:
            joined = await second.call("room:join", room="r")
            assert joined["occupancy"] == {"users": 6, "connections": 7}
            assert len(joined["members"]) == 3 and second.user in [member["user"] for member in joined["members"]]
        await ada.push("room:occupancy", users=6, connections=6)
        for client in users[3:]:
            await client.call("room:leave", room="r")
        # Three quarters of the bound: told one by one again, and everybody who is here first.
        now = await ada.push("room:occupancy", users=3)
        assert {member["user"] for member in now["members"]} == {client.user for client in users[:3]}
        assert not app.node.presence.counted
        await users[2].call("room:leave", room="r")
        assert (await ada.push("room:user_left"))["user"] == users[2].user


async def test_the_list_of_a_large_room_is_made_once_in_a_while(serve: Serve) -> None:
    async with (
        serve(presence={"list_limit": 3, "sample_users": 2, "occupancy_seconds": 600.0}) as app,
        crowd(app, 5) as users,
    ):
        for client in users[:4]:
            await client.call("room:join", room="r")
        sample = app.node.hub.rooms["r"].sample
        assert sample is not None
        joined = await users[4].call("room:join", room="r")
        assert app.node.hub.rooms["r"].sample is sample
        assert [member["name"] for member in joined["members"]][1:] == ["n4"]


async def test_a_user_who_comes_back_is_as_it_was(serve: Serve) -> None:
    async with serve(presence={"grace_seconds": 30.0}) as app, crowd(app, 2) as (ada, bob):
        for client in (ada, bob):
            await client.call("room:join", room="r")
        await bob.call("presence:update", status="busy", metadata={"mood": "deep"})
        token = (await bob.call("auth:refresh"))["token"]
        bob.socket.transport.abort()
        await until(lambda: len(app.node.sessions.connections) == 1)
        await ada.flushed()
        async with dial(app.url, token=token) as back:
            members = (await back.call("room:join", room="r"))["members"]
            (own,) = (member for member in members if member["user"] == bob.user)
            assert (own["status"], own["metadata"]) == ("busy", {"mood": "deep"})
            assert await ada.flushed() == []
        assert (await ada.call("room:join", room="r"))["occupancy"] == {"users": 2, "connections": 1}


async def test_another_connection_changes_the_status(app: App) -> None:
    async with crowd(app, 2) as (ada, bob):
        for client in (ada, bob):
            await client.call("room:join", room="r")
        await bob.call("presence:update", status="away")
        await ada.push("presence:update", status="away")
        token = (await bob.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second:
            await second.call("room:join", room="r")
            await ada.push("presence:update", status="online")


async def test_users_of_other_nodes_are_listed(serve: Serve, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    if backend != "memory":
        return
    backends: list[MemoryPresence] = []
    start = MemoryPresence.start

    async def started(self: MemoryPresence) -> None:
        backends.append(self)
        await start(self)

    monkeypatch.setattr(MemoryPresence, "start", started)
    monkeypatch.setattr(MemoryPresence, "shared", True)
    async with serve(presence={"list_limit": 2, "sample_users": 2}) as app, crowd(app, 2) as (ada, bob):
        for name in ("zoe", "yan"):
            there = PresenceEntry(name, "connection-" + name, name.title(), "busy", 1.0)
            await backends[0].write([PresenceChange("r", there, here=True)], 60.0)
        joined = await ada.call("room:join", room="r")
        assert [member["user"] for member in joined["members"]] == [ada.user, "yan"]
        assert joined["occupancy"] == {"users": 3, "connections": 3}
        await bob.call("room:join", room="r")
        await until(lambda: len(backends[0]) == 4)
        app.node.presence.touch_all()
        listed = await ada.call("room:members", room="r")
        assert {member["user"] for member in listed["members"]} == {ada.user, bob.user}
        await bob.call("room:leave", room="r")
        joined = await ada.call("room:join", room="r")
        assert joined["occupancy"] == {"users": 3, "connections": 3}
