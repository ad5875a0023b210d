"""The HTTP API over a real server: what an application's own servers publish."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from syncline.server.app import App
from tests.serving import Serve

from .wsclient import dial

KEY = "0123456789abcdef"


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[App]:
    async with serve(api={"key": KEY, "body_bytes": 2048}) as running:
        yield running


@contextlib.asynccontextmanager
async def caller(app: App, key: str = KEY) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=app.url, headers=headers, trust_env=False) as client:
        yield client


async def test_messages_into_rooms(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob, caller(app) as api:
        for client, room in ((ada, "a"), (bob, "b"), (ada, "empty")):
            await client.call("room:join", room=room)
        await ada.call("room:leave", room="empty")
        told = {"rooms": ["a", "b", "empty", "nowhere", "a"], "data": {"n": 1}, "user": "billing", "name": "Billing"}
        answer = await api.post("/api/messages", json=told)
        assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
        results = answer.json()["results"]
        assert [(one["room"], one.get("offset"), one.get("error")) for one in results] == [
            ("a", 1, None),
            ("b", 1, None),
            ("empty", 1, None),
            ("nowhere", None, "room_not_found"),
        ]
        for client, room in ((ada, "a"), (bob, "b")):
            got = await client.push("message:received", room=room)
            assert (got["user"], got["name"], got["data"], got["offset"]) == ("billing", "Billing", {"n": 1}, 1)
        joined = await ada.call("room:join", room="empty", history=5)
        assert [one["data"] for one in joined["publications"]] == [{"n": 1}]


async def test_sent_again_it_is_published_once(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, caller(app) as api:
        await ada.call("room:join", room="a")
        told = {"rooms": ["a"], "data": 1, "idempotency_key": "k"}
        first, second = [(await api.post("/api/messages", json=told)).json()["results"][0] for _ in range(2)]
        assert second == {**first, "duplicate": True}
        got = [one["data"] for one in await ada.flushed() if one["event"] == "message:received"]
        assert [(one["data"], one["user"], one["name"]) for one in got] == [(1, "server", "server")]


async def test_events(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        token = (await ada.call("auth:refresh"))["token"]
        async with dial(app.url, token=token) as second, dial(app.url) as nobody, caller(app) as api:
            clients = {"ada": ada, "second": second, "bob": bob}
            await bob.call("room:join", room="r")
            connection = app.node.hub.sessions_of(ada.user)[1].connection.id

            async def heard(**told: Any) -> dict[str, Any]:
                answer = await api.post("/api/events", json={"name": "x", "data": {"n": 1}, **told})
                assert (answer.status_code, answer.content) == (202, b"")
                found = {}
                for name, client in clients.items():
                    for one in await client.flushed():
                        assert one["event"] == "event:custom" and one["data"]["data"] == {"n": 1}
                        assert one["data"]["user"] == "server" and one["data"]["name"] == "x"
                        assert name not in found
                        found[name] = one["data"]["room"]
                return found

            assert await heard(users=[ada.user, "nobody"]) == {"ada": None, "second": None}
            assert await heard(connections=[connection]) == {"second": None}
            assert await heard(users=[bob.user], connections=[connection]) == {"second": None, "bob": None}
            assert await heard(rooms=["r", "nowhere"]) == {"bob": "r"}
            assert await heard(everyone=True, users=[ada.user]) == {"ada": None, "second": None, "bob": None}
            assert await heard() == {}
            assert (await nobody.call("ping"))["time"] > 0 and nobody.inbox == []


async def test_refusals(app: App, serve: Serve) -> None:
    for key in ("y", "x", KEY + "x", "é"):
        async with caller(app) as api:
            headers = {b"authorization": f"Bearer {key}".encode()}
            answer = await api.post("/api/messages", json={"rooms": ["a"], "data": 1}, headers=headers)
            assert answer.status_code == 401 and answer.json()["error"]["code"] == "unauthorized"
            assert answer.headers["www-authenticate"] == "Bearer"
    async with caller(app) as api:
        assert (await api.get("/api/messages")).status_code == 405
        assert (await api.post("/api/messages", json={"rooms": ["a"], "data": "x" * 2048})).status_code == 413
        bad: list[Any] = [{}, [], {"rooms": [], "data": 1}, {"rooms": ["\0"], "data": 1}, {"rooms": "a", "data": 1}]
        for told in [*bad, {"rooms": ["a"], "data": 1, "user": ""}, {"rooms": ["a"] * 1001, "data": 1}]:
            assert (await api.post("/api/messages", json=told)).status_code in (400, 413)
        for told in [{}, {"name": "x", "users": [7]}, {"name": "x", "everyone": "yes"}]:
            answer = await api.post("/api/events", json=told)
            assert answer.status_code == 400 and answer.json()["error"]["code"] == "bad_request"
        for body in (b"", b"{", b"\xff", b"[" * 2000):
            assert (await api.post("/api/events", content=body)).status_code == 400


async def test_without_a_key_there_is_no_api(serve: Serve) -> None:
    async with serve() as app, caller(app) as api:
        assert (await api.post("/api/messages", json={"rooms": ["a"], "data": 1})).status_code == 404
