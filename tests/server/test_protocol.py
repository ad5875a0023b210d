"""docs/protocol.md against the real server: connecting, envelopes, authentication, errors, disconnects."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets
from websockets.typing import Subprotocol

from syncline.core.errors import ErrorCode
from syncline.server.app import App
from tests.serving import Serve, leak_free

from .wsclient import dial

SECRET = "a secret of at least thirty-two bytes!"
JWT = {"mode": "jwt", "secret": SECRET}


async def test_subprotocols(app: App) -> None:
    for name, kind in (("syncline.v1.json", str), ("syncline.v1.msgpack", bytes)):
        async with dial(app.url, subprotocols=[Subprotocol("other"), Subprotocol(name)]) as client:
            assert client.socket.subprotocol == name
            client.codec = name.rpartition(".")[2]
            await client.send({"event": "ping", "id": 1})
            assert isinstance(await client.socket.recv(), kind)
    async with dial(app.url, subprotocols=None) as client:
        assert client.socket.subprotocol is None
        assert "time" in await client.call("ping")
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with dial(app.url, subprotocols=[Subprotocol("other")]):
            pass
    assert caught.value.response.status_code == 400


async def test_other_paths_are_not_found(app: App) -> None:
    with pytest.raises(websockets.InvalidStatus) as caught:
        async with dial(app.url, path="/elsewhere"):
            pass
    assert caught.value.response.status_code == 404


async def test_origins(serve: Serve) -> None:
    async with serve(server={"port": 0, "allowed_origins": ["https://good.example"]}) as app:
        async with dial(app.url, origin="https://good.example"), dial(app.url):
            pass
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dial(app.url, origin="https://evil.example"):
                pass
        assert caught.value.response.status_code == 403


async def test_the_connection_header_may_list_more(app: App) -> None:
    """Firefox sends `Connection: keep-alive, Upgrade`, which picows alone refuses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    writer.write(
        b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    assert (await reader.readline()).startswith(b"HTTP/1.1 101")
    writer.close()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_guest(app: App, codec: str) -> None:
    async with dial(app.url, codec=codec) as client:
        result = await client.call("auth", name="Ada")
        assert result["guest"] and result["name"] == "Ada" and result["user"].startswith("guest-")
        assert result["expires_at"] > 0 and result["ping_seconds"] == 25.0
        assert await client.error("auth", name="Eve") == "already_authenticated"
    async with dial(app.url, token=result["token"]) as again:
        assert again.user == result["user"]
    async with dial(app.url, path="/ws?access_token=" + result["token"]) as again:
        assert (await again.push("auth:accepted"))["user"] == result["user"]
        assert await again.error("auth", name="Eve") == "already_authenticated"
    record = await app.node.store.user(result["user"])
    assert record is not None and record.guest and record.name == "Ada"


async def test_a_guest_may_change_its_name(app: App) -> None:
    async with dial(app.url) as client:
        first = await client.call("auth", name="Ada")
    async with dial(app.url) as client:
        renamed = await client.call("auth", token=first["token"], name="Ada Lovelace")
        assert (renamed["user"], renamed["name"]) == (first["user"], "Ada Lovelace")
    async with dial(app.url) as client:
        again = await client.call("auth", token=renamed["token"])
        assert (again["user"], again["name"], "token" in again) == (first["user"], "Ada Lovelace", False)


async def test_a_name_beside_a_token_that_has_one_is_ignored(serve: Serve) -> None:
    async with serve(auth=JWT) as app, dial(app.url) as client:
        result = await client.call("auth", token=app.node.auth.issue("ada", "Ada", ttl=60), name="Somebody Else")
        assert (result["user"], result["name"]) == ("ada", "Ada")


async def test_jwt_in_the_handshake(serve: Serve) -> None:
    async with serve(auth=JWT) as app:
        token = app.node.auth.issue("ada", "Ada Lovelace", ttl=60)
        async with dial(app.url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            accepted = await client.push("auth:accepted")
            assert (accepted["user"], accepted["name"], accepted["guest"]) == ("ada", "Ada Lovelace", False)
        for bad in ("nonsense", token[:-2] + "xx", app.node.auth.issue("ada", "", ttl=-600)):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with dial(app.url, path="/ws?access_token=" + bad):
                    pass
            assert caught.value.response.status_code == 401
        async with dial(app.url) as client:
            assert await client.error("auth", name="Eve") == "unauthenticated"
            assert await client.error("auth", token="x.y.z") == "token_invalid"
            assert await client.error("auth", token=app.node.auth.issue("ada", "", ttl=-600)) == "token_expired"
            assert (await client.call("auth", token=token))["user"] == "ada"


async def test_expiry_is_warned_of_refreshed_and_enforced(serve: Serve) -> None:
    async with serve(auth={**JWT, "leeway_seconds": 0.0, "expiry_warning_seconds": 60.0}) as app:
        async with dial(app.url, token=app.node.auth.issue("ada", "", ttl=30)) as client:
            warning = await client.push("auth:expiring")
            assert 0 < warning["seconds_left"] <= 30
            assert await client.error("auth:refresh", token=app.node.auth.issue("eve", "", ttl=30)) == "token_invalid"
            assert await client.error("auth:refresh") == "invalid_data"
            later = await client.call("auth:refresh", token=app.node.auth.issue("ada", "", ttl=3600))
            assert later["expires_at"] > warning["expires_at"]
            await client.call("auth:refresh", token=app.node.auth.issue("ada", "", ttl=1.5))
            assert await client.closed() == (4006, "token_expired")


async def test_a_guest_refreshes_without_a_token(app: App) -> None:
    async with dial(app.url, name="Ada") as client:
        fresh = await client.call("auth:refresh")
    async with dial(app.url, token=fresh["token"]) as again:
        assert again.user == client.user


async def test_time_to_authenticate(serve: Serve) -> None:
    async with serve(auth={"timeout_seconds": 0.1}) as app, dial(app.url) as client:
        assert await client.closed() == (4500, "authentication_timeout")


async def test_errors_as_reply_and_as_push(app: App) -> None:
    async with dial(app.url) as client:
        assert await client.error("room:join", room="r") == "unauthenticated"
        await client.call("auth", name="Ada")
        assert await client.error("no:such") == "unknown_event"
        assert await client.error("room:join") == "invalid_data"
        assert await client.error("room:join", room="") == "invalid_data"
        assert await client.error("room:join", room="a\nb") == "invalid_data"
        assert await client.error("room:join", room="x" * 129) == "invalid_data"
        assert await client.error("room:join", room="r", history=-1) == "invalid_data"
        assert await client.error("message:send", room="r", data=1) == "not_a_member"
        await client.send({"event": "message:send", "data": {"room": "r", "data": 1}})
        pushed = await client.push("error")
        assert (pushed["code"], pushed["event"], pushed["room"]) == ("not_a_member", "message:send", "r")
        await client.raw("{")
        assert (await client.push("error"))["code"] == "malformed_frame"
        await client.raw(b"{}")
        assert (await client.push("error"))["code"] == "malformed_frame"
        await client.send(*[{"event": "ping"}] * 257)
        assert (await client.push("error"))["code"] == "limit_exceeded"


async def test_batches_are_handled_in_order(app: App) -> None:
    async with dial(app.url, name="Ada") as client:
        await client.send(
            {"event": "room:join", "data": {"room": "r"}, "id": 101},
            {"event": "message:send", "data": {"room": "r", "data": "one"}, "id": 102},
            {"event": "message:send", "data": {"room": "r", "data": "two"}, "id": 103},
            {"event": "room:leave", "data": {"room": "r"}, "id": 104},
            {"event": "message:send", "data": {"room": "r", "data": "three"}, "id": 105},
        )
        last = await client.take(lambda envelope: envelope.get("id") == 105)
        assert last["error"]["code"] == "not_a_member"
        first = await client.take(lambda envelope: envelope.get("id") == 102)
        second = await client.take(lambda envelope: envelope.get("id") == 103)
        assert (first["result"]["offset"], second["result"]["offset"]) == (1, 2)


async def test_requests_without_id(app: App) -> None:
    async with dial(app.url) as client:
        await client.send({"event": "auth", "data": {"name": "Ada"}})
        assert (await client.push("auth:accepted"))["name"] == "Ada"
        await client.send({"event": "room:join", "data": {"room": "r"}})
        assert (await client.push("room:joined"))["room"] == "r"
        await client.send({"event": "message:send", "data": {"room": "r", "data": "x"}})
        assert (await client.push("message:received"))["data"] == "x"
        assert await client.flushed() == []


async def test_a_session_that_misbehaves_is_disconnected(serve: Serve) -> None:
    async with serve(limits={"bad_requests_per_minute": 5}) as app, dial(app.url, name="Ada") as client:
        for _ in range(6):
            await client.send({"event": "no:such"})
        assert await client.closed() == (4502, "misbehaving")


async def test_too_large_messages(serve: Serve) -> None:
    async with serve(limits={"message_bytes": 2048}) as app:
        async with dial(app.url, name="Ada") as client:
            await client.raw(json.dumps({"event": "ping", "data": "x" * 4000}))
            assert (await client.closed())[0] == 1009
        async with dial(app.url, name="Ada") as client:
            await client.socket.send([json.dumps({"event": "ping", "data": "x" * 1500})[:-1], "y" * 1500])  # fragments
            assert await client.closed() == (1009, "message_too_large")


async def test_fragments_and_bad_utf8(app: App) -> None:
    async with dial(app.url) as client:
        await client.socket.send(['{"event": "pi', 'ng", "i', 'd": 5}'])
        assert (await client.take(lambda envelope: envelope.get("id") == 5))["event"] == "ping"
        await client.socket.send(b'{"event": "\xff"}', text=True)
        assert await client.closed() == (1007, "invalid_utf8")


async def test_too_many_connections(serve: Serve) -> None:
    async with serve(limits={"connections": 1}) as app, dial(app.url, name="Ada"):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dial(app.url):
                pass
        assert caught.value.response.status_code == 503


async def test_drain_closes_with_a_code_that_means_reconnect(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as client:
        draining = asyncio.create_task(app.node.drain())
        assert await client.closed() == (4000, "drain")
        await draining
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dial(app.url):
                pass
        assert caught.value.response.status_code == 503


async def test_a_flood_of_waiting_requests_pauses_reading_and_loses_nothing(serve: Serve) -> None:
    async with serve(limits={"pending_requests": 8, "rooms": 1000}) as app, dial(app.url, name="Ada") as client:
        for number in range(300):
            await client.send({"event": "room:join", "data": {"room": f"r{number}"}, "id": 1000 + number})
        for number in range(300):
            reply = await client.take(lambda envelope, due=1000 + number: envelope.get("id") == due)  # type: ignore[misc]
            assert reply["result"]["room"] == f"r{number}"


async def test_limit_of_rooms_and_documents(serve: Serve) -> None:
    async with serve(limits={"rooms": 2, "documents": 1}) as app, dial(app.url, name="Ada") as client:
        for room in ("a", "b", "b"):
            await client.call("room:join", room=room)
        assert await client.error("room:join", room="c") == "limit_exceeded"
        await client.call("document:join", document="a")
        await client.call("document:join", document="a")
        assert await client.error("document:join", document="b") == "limit_exceeded"


async def test_internal_faults_stay_inside(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(name: str) -> None:
        raise RuntimeError("the password of the database is 1234")

    async with dial(app.url, name="Ada") as client:
        monkeypatch.setattr(app.node.store, "room", broken)
        reply = await client.ask("room:join", room="r")
        assert reply["error"] == {"code": "internal", "message": "internal error"}
        monkeypatch.undo()
        await client.call("room:join", room="r")


def test_every_error_code_is_documented(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "docs" / "protocol.md").read_text()
    for code in ErrorCode:
        assert f"`{code.value}`" in text, code
    types = (pytestconfig.rootpath / "src" / "client" / "browser" / "syncline.d.ts").read_text()
    for code in ErrorCode:
        assert f'"{code.value}"' in types, code


async def test_counts_return_to_zero(app: App) -> None:
    async with dial(app.url, name="Ada") as one, dial(app.url, name="Bob", codec="msgpack") as two:
        for client in (one, two):
            await client.call("room:join", room="r")
            await client.call("document:join", document="d", client=client.user)
        await one.send(
            {"event": "document:operation", "data": {"document": "d", "seq": 1, "revision": 0, "operation": ["x"]}}
        )
        await two.push("document:operation", revision=1)
        assert len(app.node.hub.sessions) == 2 and len(app.node.documents.live) == 1 and len(app.node.hub.rooms) == 1
    await leak_free(app)


async def test_abrupt_losses_leave_nothing_behind(app: App) -> None:
    async def come_and_go(number: int) -> None:
        async with dial(app.url, name=f"n{number}") as client:
            # Requests are under way while the socket is cut.
            await client.send(
                {"event": "room:join", "data": {"room": f"r{number % 3}"}},
                {"event": "document:join", "data": {"document": f"d{number % 3}"}},
                {"event": "message:send", "data": {"room": f"r{number % 3}", "data": 1}},
            )
            if number % 2:
                await client.push("room:joined")
            client.socket.transport.abort()

    await asyncio.gather(*(come_and_go(number) for number in range(40)))
    await leak_free(app)
