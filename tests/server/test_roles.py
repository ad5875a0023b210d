"""Roles that are changed take effect at once and everywhere: no authorisation that was read before outlives the change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from syncline.server.app import App
from syncline.server.limits.fair_thread import Key
from syncline.server.rooms import passwords
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial, submit


@contextlib.asynccontextmanager
async def another(app: App, client: Wire) -> AsyncIterator[Wire]:
    """One more connection of the same user."""
    async with dial(app.url, token=(await client.call("auth:refresh"))["token"]) as other:
        yield other


@pytest.mark.parametrize("memberships", [1, 2])
@pytest.mark.parametrize("password", ["s3cret", None])
@pytest.mark.parametrize("before", ["owner", "moderator", "member", "reader"])
async def test_who_is_removed_stays_out(app: App, before: str, password: str | None, memberships: int) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob, another(app, bob) as second:
        await ada.call("room:create", room="r", password=password, default_role=None)
        await ada.call("room:join", room="r")
        await ada.call("room:grant", room="r", user=bob.user, role=before)
        for client in (bob, second)[:memberships]:
            assert (await client.call("room:join", room="r"))["role"] == before
        await ada.call("room:grant", room="r", user=bob.user, role=None)
        for client in (bob, second)[:memberships]:
            await client.push("room:removed", room="r")
        async with another(app, bob) as third:
            for client in (bob, second, third):
                assert await client.error("room:join", room="r") == "forbidden"
                assert await client.error("message:send", room="r", data=1) == "not_a_member"
        assert set((await app.node.store.room_members("r")).items()) == {(ada.user, "owner")}


async def test_who_is_removed_from_an_open_room_needs_its_password_again(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("room:create", room="r", password="s3cret")
        await ada.call("room:join", room="r")
        await bob.call("room:join", room="r", password="s3cret")
        await ada.call("room:grant", room="r", user=bob.user, role=None)
        assert await bob.error("room:join", room="r") == "password_required"
        assert (await bob.call("room:join", room="r", password="s3cret"))["role"] == "member"


async def test_who_resigns_is_out_on_all_connections(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob, another(app, bob) as second:
        await ada.call("room:create", room="r", default_role=None)
        await ada.call("room:join", room="r")
        await ada.call("room:grant", room="r", user=bob.user, role="moderator")
        for client in (bob, second):
            await client.call("room:join", room="r")
        await bob.call("room:leave", room="r", resign=True)
        for client in (bob, second):
            assert await client.error("room:join", room="r") == "forbidden"


async def test_who_is_removed_within_the_grace_period_is_not_waited_for(serve: Serve) -> None:
    async with serve(presence={"grace_seconds": 50.0}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        async with dial(app.url, name="Bob") as bob:
            await bob.call("room:join", room="r")
            await ada.push("room:user_joined")
        await until(lambda: len(app.node.sessions.connections) == 1)
        await ada.call("room:grant", room="r", user=bob.user, role=None)
        assert (await ada.push("room:user_left"))["user"] == bob.user
        assert [one["user"] for one in (await ada.call("room:join", room="r"))["members"]] == [ada.user]


async def test_a_resumed_connection_has_the_role_of_now(serve: Serve) -> None:
    async with serve(presence={"grace_seconds": 50.0}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:create", room="r", default_role=None)
        await ada.call("room:join", room="r")
        async with dial(app.url) as bob:
            accepted = await bob.call("auth", name="Bob")
            await ada.call("room:grant", room="r", user=accepted["user"], role="member")
            await bob.call("room:join", room="r")
        await until(lambda: len(app.node.sessions.connections) == 1)
        await ada.call("room:grant", room="r", user=accepted["user"], role=None)
        async with dial(app.url) as back:
            await back.call("auth", token=accepted["token"], resume=accepted["connection"])
            assert await back.error("room:join", room="r") == "forbidden"


async def test_a_role_that_is_given_while_a_password_is_checked_stays(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("room:create", room="r", password="s3cret", default_role="member")
        await ada.call("room:join", room="r")
        checking, go = asyncio.Event(), asyncio.Event()
        run = app.node.hashing.run

        async def slow(key: Key, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
            result = await run(key, call, *arguments, **options)
            if call is passwords.verify_password:
                checking.set()
                await go.wait()
            return result

        monkeypatch.setattr(app.node.hashing, "run", slow)
        join = asyncio.create_task(bob.call("room:join", room="r", password="s3cret"))
        await checking.wait()
        await ada.call("room:grant", room="r", user=bob.user, role="reader")
        go.set()
        assert (await join)["role"] == "reader"
        assert (await app.node.store.room_members("r"))[bob.user] == "reader"


@pytest.mark.parametrize("noun", ["room", "document"])
async def test_owners_who_demote_each_other_at_once(app: App, noun: str) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        for number in range(20):
            where = {noun: f"n{number}"}
            await ada.call(f"{noun}:create", **where)
            for client in (ada, bob):
                await client.call(f"{noun}:join", **where)
            await ada.call(f"{noun}:grant", user=bob.user, role="owner", **where)
            answers = await asyncio.gather(
                ada.ask(f"{noun}:grant", user=bob.user, role="reader", **where),
                bob.ask(f"{noun}:grant", user=ada.user, role="reader", **where),
            )
            assert {answer["event"] for answer in answers} == {"error", f"{noun}:grant"}
            roles = await getattr(app.node.store, "room_members" if noun == "room" else "document_roles")(f"n{number}")
            assert sorted(roles.values()) == ["owner", "reader"]


async def test_an_owner_who_was_demoted_grants_nothing(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The grant was decided on before, and is written after."""
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob, dial(app.url, name="Eve") as eve:
        for client in (ada, bob, eve):
            await client.call("room:join", room="r")
        await ada.call("room:grant", room="r", user=bob.user, role="owner")
        write, asked, go = app.node.store.set_room_role, asyncio.Event(), asyncio.Event()

        async def slow(room: str, user: str, *arguments: Any) -> None:
            if user == eve.user and not asked.is_set():
                asked.set()
                await go.wait()
            await write(room, user, *arguments)

        monkeypatch.setattr(app.node.store, "set_room_role", slow)
        grant = asyncio.create_task(bob.error("room:grant", room="r", user=eve.user, role="owner"))
        await asked.wait()
        await ada.call("room:grant", room="r", user=bob.user, role="member")
        go.set()
        assert await grant == "forbidden"
        assert (await app.node.store.room_members("r"))[eve.user] == "member"


# Documents ---------------------------------------------------------------------------------------------------------------


async def test_a_document_that_is_closed_to_one_while_he_joins(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", default_role=None)
        await ada.call("document:join", document="d", client="a")
        await ada.call("document:grant", document="d", user=bob.user, role="editor")
        read, asked, go = app.node.store.document_role, asyncio.Event(), asyncio.Event()

        async def slow(document: str, user: str) -> str | None:
            role = await read(document, user)
            if user == bob.user and not asked.is_set():
                asked.set()
                await go.wait()
            return role

        monkeypatch.setattr(app.node.store, "document_role", slow)
        join = asyncio.create_task(bob.error("document:join", document="d", client="b"))
        await asked.wait()
        await ada.call("document:grant", document="d", user=bob.user, role=None)
        go.set()
        assert await join == "forbidden"


@pytest.mark.parametrize("role", [None, "reader"])
async def test_what_waits_of_one_who_may_no_longer_write(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, role: str | None
) -> None:
    """An operation that was made long ago waits for the history that it needs."""
    async with serve(documents={"window_operations": 16}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await ada.call("document:create", document="d", default_role=None)
            await ada.call("document:join", document="d", client="a")
            await ada.call("document:grant", document="d", user=bob.user, role="editor")
            await bob.call("document:join", document="d", client="b")
            for revision in range(40):
                await submit(ada, revision + 1, revision, ["x"])
                await ada.push("document:operation", revision=revision + 1)
            read, asked, go = app.node.store.turns, asyncio.Event(), asyncio.Event()

            async def slow(document: str, since: int, until: int) -> Any:
                asked.set()
                await go.wait()
                return await read(document, since, until)

            monkeypatch.setattr(app.node.store, "turns", slow)
            await submit(bob, 1, 0, ["late "])
            await asked.wait()
            await ada.call("document:grant", document="d", user=bob.user, role=role)
            go.set()
            assert (await bob.push("error"))["code"] == "forbidden"
            assert app.node.documents.live["d"].core.revision == 40


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_whose_role_changes_is_told_on_all_connections(app: App, codec: str) -> None:
    async with (
        dial(app.url, name="Ada") as ada,
        dial(app.url, name="Bob", codec=codec) as bob,
        another(app, bob) as second,
    ):
        for client in (ada, bob, second):
            await client.call("room:join", room="r")
            await client.call("document:join", document="d", client=client.codec + str(id(client)))
        for role in ("reader", "moderator"):
            await ada.call("room:grant", room="r", user=bob.user, role=role)
            for client in (bob, second):
                assert await client.push("room:role") == {"room": "r", "role": role}
        await ada.call("document:grant", document="d", user=bob.user, role="reader")
        for client in (ada, bob, second):  # the other clients in it see it, too
            told = [await client.push("document:role") for _ in range(2)]
            assert {(one["document"], one["user"], one["role"]) for one in told} == {("d", bob.user, "reader")}
            assert len({one["client"] for one in told}) == 2
        await ada.call("document:grant", document="d", user=bob.user, role="reader")
        assert not [one for one in await ada.flushed() if one["event"] in ("room:role", "document:role")]
