"""Idempotency keys, echo control and targeted events, over the real server."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from syncline.core.rooms.delivery_proof import epoch_seed, item_hash
from syncline.server.app import App
from tests.serving import Serve
from tests.waiting import PATIENCE

from .wsclient import dial


async def test_a_message_with_a_key_is_published_once(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        for client in (ada, bob):
            await client.call("room:join", room="r")
        first = await ada.call("message:send", room="r", data=1, idempotency_key="k")
        again = await ada.call("message:send", room="r", data=1, idempotency_key="k")
        assert again == {**first, "duplicate": True} and first["offset"] == 1
        assert (await bob.call("message:send", room="r", data=2, idempotency_key="k"))["offset"] == 2
        envelope = {"event": "message:send", "data": {"room": "r", "data": 3, "idempotency_key": "l"}}
        await ada.send({**envelope, "id": 901}, {**envelope, "id": 902})  # before the first is stored
        results = [(await ada.take(lambda one, id=id: one.get("id") == id))["result"] for id in (901, 902)]  # type: ignore[misc]
        assert results[1] == {**results[0], "duplicate": True} and results[0]["offset"] == 3
        assert [(await bob.push("message:received"))["data"] for _ in range(3)] == [1, 2, 3]
        assert not [one for one in await bob.flushed() if one["event"] == "message:received"]
        for bad in ("", "x" * 65, 7):
            assert await ada.error("message:send", room="r", data=1, idempotency_key=bad) == "invalid_data"
        assert app.node.counters.publish_duplicates == 2


async def test_keys_are_known_however_many_messages_have_come_since(serve: Serve) -> None:
    async with serve(rooms={"history_size": 5}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        first = await ada.call("message:send", room="r", data=1, idempotency_key="k")
        for number in range(8):
            await ada.call("message:send", room="r", data=number)
        assert await ada.call("message:send", room="r", data=1, idempotency_key="k") == {**first, "duplicate": True}
        text = (await app.node.scrape()).decode().splitlines()
        assert "syncline_idempotency_keys 1.0" in text and "syncline_idempotency_dropped_total 0.0" in text


async def test_a_duplicate_is_logged_with_its_position(serve: Serve, backend: str) -> None:
    async with serve(events={"backend": backend}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        for _ in range(2):
            await ada.call("message:send", room="r", data=1, idempotency_key="k")
        events = app.node.events
        assert events is not None
        async with asyncio.timeout(PATIENCE):  # it is written beside the answer, not before it
            while len(logged := await events.read(0, 10)) < 2:
                await asyncio.sleep(0.01)
        bodies = [msgspec.msgpack.decode(event.body) for event in logged]
        assert [body["offset"] for body in bodies] == [1, 1]
        assert bodies[0]["epoch"] == bodies[1]["epoch"] != ""


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_without_echo_the_sender_gets_the_position_in_order(app: App, codec: str) -> None:
    async with dial(app.url, name="Ada", codec=codec) as ada, dial(app.url, name="Bob") as bob:
        token = (await ada.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second:
            for client in (ada, bob, second):
                await client.call("room:join", room="r")
            await bob.call("message:send", room="r", data="one")
            sent = await ada.call("message:send", room="r", data={"n": 2}, echo=False)
            await bob.call("message:send", room="r", data="three")
            got = [one for one in await ada.flushed() if one["event"].startswith("message:")]
            assert [(one["event"], one["data"]["offset"]) for one in got] == [
                ("message:received", 1),
                ("message:sent", 2),
                ("message:received", 3),
            ]
            payload = b'{"n": 2}' if codec == "json" else msgspec.msgpack.encode({"n": 2})
            expected = item_hash(epoch_seed(sent["epoch"]), 2, payload)
            assert got[1]["data"] == {"room": "r", "offset": 2, "epoch": sent["epoch"], "hash": expected}
            for client in (bob, second):
                assert [(await client.push("message:received"))["offset"] for _ in range(3)] == [1, 2, 3]
            since = {"offset": 0, "epoch": sent["epoch"]}
            joined = await ada.call("room:join", room="r", recover=since)
            assert [one["offset"] for one in joined["publications"]] == [1, 2, 3]


async def test_where_positions_may_have_holes_none_is_told(serve: Serve) -> None:
    async with serve(rooms={"volatile": ["game:*"]}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="game:1")
        assert (await ada.call("message:send", room="game:1", data=1, echo=False))["offset"] == 1
        assert await ada.flushed() == []


async def test_events_for_some(app: App) -> None:
    async with (
        dial(app.url, name="Ada") as ada,
        dial(app.url, name="Bob", codec="msgpack") as bob,
        dial(app.url, name="Eve") as eve,
        dial(app.url, name="Joe") as joe,
    ):
        token = (await eve.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second:
            for client in (ada, bob, eve, second):
                await client.call("room:join", room="r")
            (connection,) = (one.connection.id for one in app.node.sessions.of_user(ada.user))
            both = [one.connection.id for one in app.node.sessions.of_user(eve.user)]

            async def told(**to: Any) -> list[str]:
                for client in (ada, bob, eve, second, joe):
                    await client.flushed()
                await ada.call("event:custom", room="r", name="x", data={"y": 1}, to=to)
                heard = []
                for name, client in {"ada": ada, "bob": bob, "eve": eve, "second": second, "joe": joe}.items():
                    for one in await client.flushed():
                        assert one["event"] == "event:custom"
                        assert one["data"] == {"room": "r", "name": "x", "user": ada.user, "data": {"y": 1}}
                        heard.append(name)
                return heard

            assert await told(users=[bob.user, joe.user, "nobody"]) == ["bob"]
            assert await told(users=[eve.user]) == ["eve", "second"]
            assert await told(connections=[both[1], "none"]) == ["second"]
            assert await told(users=[eve.user], connections=[both[0], connection]) == ["ada", "eve", "second"]
            for bad in ({}, {"users": ["x"] * 101}, {"everyone": True}, ["bob"]):
                assert await ada.error("event:custom", room="r", name="x", to=bad) == "invalid_data"
            assert await joe.error("event:custom", room="r", name="x", to={"users": [ada.user]}) == "not_a_member"


async def test_what_is_meant_for_everywhere_is_no_room_of_clients(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.raw(json.dumps({"event": "room:join", "data": {"room": "\0everywhere"}, "id": 5}))
        assert (await ada.take(lambda one: one.get("id") == 5))["error"]["code"] == "invalid_data"
