"""The HTTP API over a real server: what an application's own servers publish."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import websockets

from syncline.server.app import App
from syncline.server.net.bearer import bearer
from tests.serving import Serve, ws_url

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
            connection = app.node.sessions.of_user(ada.user)[1].connection.id

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


async def refusal(api: httpx.AsyncClient, path: str, body: bytes) -> dict[str, Any]:
    answer = await api.post(path, content=body)
    assert answer.status_code == 400, (body, answer.content)
    error: dict[str, Any] = answer.json()["error"]
    assert error.pop("message")
    return error


MESSAGE, EVENT = "/api/messages", "/api/events"
WRONG: list[tuple[str, bytes, dict[str, Any]]] = [
    (MESSAGE, b'{"rooms":["r"],"data":1,"usr":"x"}', {"code": "unknown_field", "field": "usr", "nearest": "user"}),
    (MESSAGE, b'{"Rooms":["r"],"data":1}', {"code": "unknown_field", "field": "Rooms", "nearest": "rooms"}),
    (
        MESSAGE,
        b'{"rooms":["r"],"data":1,"idempotencyKey":"k"}',
        {"code": "unknown_field", "field": "idempotencyKey", "nearest": "idempotency_key"},
    ),
    (MESSAGE, b'{"rooms":["r"],"data":1,"zzz":{"user":1}}', {"code": "unknown_field", "field": "zzz", "nearest": None}),
    (MESSAGE, b'{"message":{"rooms":["r"],"data":1}}', {"code": "unknown_field", "field": "message", "nearest": None}),
    (MESSAGE, b'{"rooms":["r"],"data":1,"":1}', {"code": "unknown_field", "field": "", "nearest": None}),
    (
        MESSAGE,
        b'{"rooms":["r"],"data":1,"us\\u0065rs":1}',
        {"code": "unknown_field", "field": "users", "nearest": "user"},
    ),
    (
        MESSAGE,
        b'{"rooms":["r"],"data":1,"' + b"x" * 900 + b'":1}',
        {"code": "unknown_field", "field": "x" * 200, "nearest": None},
    ),
    (MESSAGE, b'{"rooms":["r"],"data":1,"data":2}', {"code": "duplicate_field", "field": "data"}),
    (MESSAGE, b'{"rooms":["r"],"data":1,"us\\u0065r":"a","user":"b"}', {"code": "duplicate_field", "field": "user"}),
    (MESSAGE, b'{"data":1}', {"code": "no_target"}),
    (MESSAGE, b'{"rooms":[],"data":1}', {"code": "no_target"}),
    (EVENT, b'{"name":"x"}', {"code": "no_target"}),
    (EVENT, b'{"name":"x","rooms":[],"users":[],"connections":[],"everyone":false}', {"code": "no_target"}),
    (EVENT, b'{"name":"x","user":"ada"}', {"code": "no_target"}),
    (EVENT, b'{"name":"x","room":"r"}', {"code": "unknown_field", "field": "room", "nearest": "rooms"}),
    (EVENT, b'{"name":"x","everyone":true,"everyone":true}', {"code": "duplicate_field", "field": "everyone"}),
    (EVENT, b'{"name":"x","users":[{"user":"ada"}]}', {"code": "bad_request"}),
    (EVENT, b'[{"name":"x","everyone":true}]', {"code": "bad_request"}),
    (EVENT, b'{"name":"x","everyone":true}{}', {"code": "bad_request"}),
    (EVENT, b'{"name":"x","everyone":true,}', {"code": "bad_request"}),
]


@pytest.mark.parametrize("number", range(len(WRONG)))
async def test_what_is_misspelt_is_told(app: App, number: int) -> None:
    path, body, told = WRONG[number]
    async with dial(app.url, name="Ada") as ada, caller(app) as api:
        await ada.call("room:join", room="r")
        assert await refusal(api, path, body) == told
        assert not [one for one in await ada.flushed() if one["event"] in ("message:received", "event:custom")]
    assert app.node.refusals.counts["body"] == 1


async def test_payloads_are_anybodys(app: App) -> None:
    """What is in ``data`` is no field, whatever it is called."""
    async with dial(app.url, name="Ada") as ada, caller(app) as api:
        await ada.call("room:join", room="r")
        for data in ({"usr": {"usr": 1}, "rooms": []}, [{"data": 1}], "data"):
            assert (await api.post(MESSAGE, json={"rooms": ["r"], "data": data})).status_code == 200
            assert (await ada.push("message:received"))["data"] == data


@pytest.mark.parametrize("query", ["?user=x", "?usr", "?a=b&a=c"])
async def test_there_are_no_query_parameters(app: App, query: str) -> None:
    async with caller(app) as api:
        for path, told in ((MESSAGE, {"rooms": ["r"], "data": 1}), (EVENT, {"name": "x", "everyone": True})):
            answer = await api.post(path + query, json=told)
            error = answer.json()["error"]
            assert (answer.status_code, error["code"]) == (400, "unknown_parameter")
            assert error["parameter"] == query[1:].partition("=")[0]
            assert (await api.post(path + "?", json=told)).status_code in (200, 202)


SCHEMES = {
    "Bearer {}": True,
    "bearer {}": True,
    "BEARER {}": True,
    "bEaReR    {}": True,
    "Bearer\t{}": False,
    "Bearer{}": False,
    "Bearer": False,
    "Basic {}": False,
    "{}": False,
    "": False,
}


@pytest.mark.parametrize("written", SCHEMES)
async def test_the_scheme_is_written_as_one_likes(app: App, written: str) -> None:
    """RFC 9110, 11.1 and 11.4: by the API, and in handshakes, where what is no bearer's says nothing."""
    assert bearer(written.format("a b") + "  ") == ("a b" if SCHEMES[written] else "")
    async with httpx.AsyncClient(base_url=app.url, trust_env=False) as api:
        for headers in ([written], [written, written]):
            told = [("authorization", one.format(KEY)) for one in headers]
            answer = await api.post(EVENT, json={"name": "x", "everyone": True}, headers=told)
            assert answer.status_code == (202 if SCHEMES[written] and len(headers) == 1 else 401)
    async with dial(app.url, name="Ada") as ada:
        token = (await ada.call("auth:refresh"))["token"]
    given = {"Authorization": written.format(token)}
    async with websockets.connect(ws_url(app), additional_headers=given, proxy=None) as raw:
        await raw.send('{"event":"ping","id":1}')
        assert ("auth:accepted" in str(await raw.recv())) is SCHEMES[written]
