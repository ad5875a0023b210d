"""What is let in can be decoded by every member, now and when it is replayed: over the real server, by every door."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from syncline.client import Client, connect
from syncline.core.rooms.room import Publication
from syncline.core.values.json_values import json_decoder
from syncline.server.app import App
from syncline.server.protocol.handlers import table
from tests.serving import Serve, serving, ws_url
from tests.waiting import until

from .wsclient import Wire, dial

KEY = "0123456789abcdef"
JSON = [
    b"1e400",
    b"-1e400",
    b"9" * 5000,
    b"18446744073709551616",
    b"-9223372036854775809",
    b'{"deep":[1e999]}',
    b"[" * 129 + b"]" * 129,
]
MSGPACK = [
    msgspec.msgpack.encode(float("nan")),
    msgspec.msgpack.encode([float("-inf")]),
    b"\x81\xc0\x01",
    b"\xd6\xff\x00\x00\x00\x01",
    b"\xa1\xff",
    b"\x91" * 129 + b"\xc0",
]
WHOLE = [2**64 - 1, -(2**63), 2**53 + 1, 1.7976931348623157e308, 5e-324, "\x00\ud7ff\U0010ffff", {"": [[], {}]}]


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[App]:
    async with serve(api={"key": KEY}) as running:
        yield running


async def sent_raw(client: Wire, event: str, fields: dict[str, Any], member: str, payload: bytes) -> str:
    """The code of the answer to a request whose ``member`` is these bytes; "" for none."""
    if client.codec == "json":
        head = json.dumps({"event": event, "id": 77, "data": fields})[:-2]
        await client.raw(head + ("," if fields else "") + f'"{member}":' + payload.decode() + "}}")
    else:
        data = {**fields, member: msgspec.Raw(payload)}
        await client.raw(msgspec.msgpack.encode({"event": event, "id": 77, "data": data}))
    reply = await client.take(lambda envelope: envelope.get("id") == 77 or envelope["event"] == "error")
    return str((reply.get("error") or reply.get("data") or {}).get("code", ""))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_at_the_door(app: App, codec: str) -> None:
    async with dial(app.url, name="Ada", codec=codec) as ada, dial(app.url, name="Bob") as bob:
        for client in (ada, bob):
            await client.call("room:join", room="r")
        for payload in JSON if codec == "json" else MSGPACK:
            for event, fields, member in (
                ("message:send", {"room": "r"}, "data"),
                ("event:custom", {"room": "r", "name": "n"}, "data"),
                ("presence:update", {"room": "r", "status": "busy"}, "metadata"),
            ):
                assert await sent_raw(ada, event, fields, member, payload) == "invalid_data", (event, payload[:20])
        told = [one["event"] for one in await bob.flushed() if one["event"] != "ping"]
        assert told == ["room:user_joined"] or told == [], told


async def test_who_may_not_send_is_told_that_first(app: App) -> None:
    """Whatever it sent: a client that was just removed has done nothing wrong."""
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("room:create", room="r", default_role="reader")
        await bob.call("room:join", room="r")
        for payload in JSON:
            assert await sent_raw(ada, "message:send", {"room": "elsewhere"}, "data", payload) == "not_a_member"
            assert await sent_raw(bob, "message:send", {"room": "r"}, "data", payload) == "forbidden"
            assert await sent_raw(bob, "event:custom", {"room": "r", "name": "n"}, "data", payload) == "forbidden"
        assert [session._bad for session in app.node.sessions.connections.values()] == [0, 0]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_numbers_of_64_bits_and_all_doubles_pass_whole(app: App, codec: str) -> None:
    async with dial(app.url, name="Ada", codec=codec) as ada:
        others = [dial(app.url, name="Bob"), dial(app.url, name="Cy", codec="msgpack")]
        async with others[0] as bob, others[1] as cy:
            for client in (ada, bob, cy):
                await client.call("room:join", room="r")
            for value in WHOLE:
                await ada.call("message:send", room="r", data=value)
                await ada.call("event:custom", room="r", name="n", data=value)
            for client in (bob, cy):
                for value in WHOLE:
                    assert (await client.push("message:received"))["data"] == value
                    assert (await client.push("event:custom"))["data"] == value
            assert (await ada.call("presence:update", status="busy", metadata=WHOLE[0]))["status"] == "busy"
            for client in (bob, cy):
                assert (await client.push("presence:update", status="busy"))["metadata"] == WHOLE[0]


@pytest.mark.parametrize("payload", [*JSON, b'"\xff"', b'"\xed\xa0\x80"', b'"\\udx"'])
async def test_by_http(app: App, payload: bytes) -> None:
    async with dial(app.url, name="Ada") as ada, httpx.AsyncClient(base_url=app.url, trust_env=False) as api:
        await ada.call("room:join", room="r")
        headers = {"authorization": f"Bearer {KEY}"}
        for path, where in (
            ("/api/messages", b'"rooms":["r"],'),
            ("/api/events", b'"name":"n","rooms":["r"],'),
            ("/api/events", b'"name":"n","everyone":true,'),
        ):
            answer = await api.post(path, content=b"{" + where + b'"data":' + payload + b"}", headers=headers)
            assert answer.status_code == 400, answer.text
        assert not [one for one in await ada.flushed() if one["event"] != "ping"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("type", ["text", "rich-text", "json"])
async def test_into_documents(app: App, codec: str, type: str) -> None:
    operations = {
        "text": [b"[1e400]", b"[" + b"9" * 400 + b"]"],
        "rich-text": [
            b'[{"insert":"a","attributes":{"x":1e400}}]',
            b'[{"insert":"a","attributes":{"x":' + b"9" * 40 + b"}}]",
            b'[{"insert":{"x":1e400}}]',
        ],
        "json": [b'[{"p":["x"],"oi":1e400}]', b'[{"p":["x"],"oi":' + b"9" * 40 + b"}]", b'[{"p":["x"],"na":1e400}]'],
    }[type]
    async with dial(app.url, name="Ada", codec=codec) as ada, dial(app.url, name="Bob") as bob:
        content = {"content": {}} if type == "json" else {}
        await ada.call("document:create", document="d", type=type, **content)
        for client, id in ((ada, "a"), (bob, "b")):
            await client.call("document:join", document="d", client=id, type=type)
        for operation in operations:
            payload = operation if codec == "json" else packed(operation)
            fields = {"document": "d", "seq": 1, "revision": 0}
            code = await sent_raw(ada, "document:operation", fields, "operation", payload)
            assert code in ("invalid_data", "operation_invalid"), (operation, code)
        assert not [one for one in await bob.flushed() if one["event"] == "document:operation"]


def packed(text: bytes) -> bytes:
    """As a MessagePack client can say it: infinities as themselves, integers as far as they go."""
    value = json.loads(text, parse_int=lambda digits: min(int(digits), 2**64 - 1) if len(digits) < 20 else float("inf"))
    return msgspec.msgpack.encode(value)


class Steadfast:
    """A Python client in the room, and what it heard."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.heard: list[Any] = []
        self.states: list[str] = []
        client.on_state(self.states.append)

    async def join(self) -> None:
        self.room = await self.client.join("r", history=10)
        self.heard += [publication.data for publication in self.room.history]
        self.room.on_message(lambda publication: self.heard.append(publication.data))


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_what_cannot_be_decoded_costs_that_one_message(app: App, codec: str) -> None:
    """As another server would send it: past the door."""
    async with (
        await connect(ws_url(app), name="Ada", codec=codec) as ada,  # type: ignore[arg-type]
        await connect(ws_url(app), name="Bob", codec=codec) as late,  # type: ignore[arg-type]
    ):
        first, second = Steadfast(ada), Steadfast(late)
        await first.join()
        for data in (
            (b"1", b"1e400", b'["\xff"]', b"2") if codec == "json" else (b"\x01", b"\xa1\xff", b"\x81\x80\x01", b"\x02")
        ):
            app.node.messages.publish(Publication("r", "x", "x", 0.0, codec, data), lambda position, error: None)
        await until(lambda: first.heard == [1, 2])
        await second.join()
        assert second.heard == [1, 2]
        assert first.states == second.states == []
        room = first.room
        assert room.position.offset == 4
        assert await room.send(3) and first.heard == second.heard == [1, 2, 3]


async def test_what_an_older_server_stored_is_replayed_as_null(tmp_path: Path) -> None:
    async with serving(tmp_path, "sqlite") as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        for data in (1, 2, 3):
            await ada.call("message:send", room="r", data=data)
    database = tmp_path / "syncline.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("UPDATE publications SET data = ? WHERE offset = 2", (b'["\xff"]',))
    async with serving(tmp_path, "sqlite") as app:
        async with dial(app.url, name="Bob") as bob, dial(app.url, name="Cy", codec="msgpack") as cy:
            for client in (bob, cy):
                joined = await client.call("room:join", room="r", history=10)
                assert [one["data"] for one in joined["publications"]] == [1, None, 3]


async def test_presence_is_measured_before_it_is_read(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        large = b"[" + b",".join([b"9e307"] * 20_000) + b"]"
        assert (
            await sent_raw(ada, "presence:update", {"room": "r", "status": "busy"}, "metadata", large)
            == "message_too_large"
        )


def test_what_a_number_costs_has_a_bound() -> None:
    """msgspec by itself takes 10 us for one near the ends of the doubles; through ``float`` it takes a fraction of one."""
    hook = json_decoder().float_hook
    assert hook is not None and all(handler.json.float_hook is hook for handler in table().values())
    with pytest.raises(ValueError):
        json_decoder().decode(b"[1e400]")
    assert json_decoder().decode(b"[9e307,5e-324,-0.5,1,1e2]") == [9e307, 5e-324, -0.5, 1, 100.0]
