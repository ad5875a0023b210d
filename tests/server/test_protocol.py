"""docs/protocol.md against the real server: connecting, envelopes, authentication, errors, disconnects."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
import websockets
from websockets.typing import Subprotocol

from syncline.core.errors import DISCONNECTS, Disconnect, ErrorCode
from syncline.server.app import App
from syncline.server.seams.auth import Credentials
from syncline.server.seams.outcome import Unavailable
from tests.project import ROOT
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
    """Firefox sends `Connection: keep-alive, Upgrade`."""
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
        assert (await again.call("auth", name="Eve"))["name"] == "Ada"
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
        result = await client.call(
            "auth", token=app.node.authentication.auth.issue("ada", "Ada", ttl=60), name="Somebody Else"
        )
        assert (result["user"], result["name"]) == ("ada", "Ada")


async def test_jwt_in_the_handshake(serve: Serve) -> None:
    async with serve(auth=JWT) as app:
        token = app.node.authentication.auth.issue("ada", "Ada Lovelace", ttl=60)
        async with dial(app.url, additional_headers={"Authorization": f"Bearer {token}"}) as client:
            accepted = await client.push("auth:accepted")
            assert (accepted["user"], accepted["name"], accepted["guest"]) == ("ada", "Ada Lovelace", False)
        for bad in ("nonsense", token[:-2] + "xx", app.node.authentication.auth.issue("ada", "", ttl=-600)):
            with pytest.raises(websockets.InvalidStatus) as caught:
                async with dial(app.url, path="/ws?access_token=" + bad):
                    pass
            assert caught.value.response.status_code == 401
        async with dial(app.url) as client:
            assert await client.error("auth", name="Eve") == "unauthenticated"
            assert await client.error("auth", token="x.y.z") == "token_invalid"
            assert (
                await client.error("auth", token=app.node.authentication.auth.issue("ada", "", ttl=-600))
                == "token_expired"
            )
            assert (await client.call("auth", token=token))["user"] == "ada"


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_token_in_the_handshake_and_auth_go_together(serve: Serve, way: str) -> None:
    async with serve(auth=JWT) as app:
        issue = app.node.authentication.auth.issue
        first = issue("ada", "Ada", ttl=60)
        given: dict[str, Any] = (
            {"additional_headers": {"Authorization": f"Bearer {first}"}}
            if way == "header"
            else {"path": f"/ws?access_token={first}"}
        )
        async with dial(app.url, **given) as client:
            accepted = await client.push("auth:accepted")
            assert await client.error("auth", token=issue("eve", "Eve", ttl=60)) == "token_invalid"
            assert await client.error("auth", token="x.y.z") == "already_authenticated"
            assert await client.call("ping")
        async with dial(app.url, **given) as client:
            accepted = await client.push("auth:accepted")
            assert await client.call("auth") == accepted
            assert await client.error("auth") == "already_authenticated"
        async with dial(app.url, **given) as client:
            later = await client.call("auth", token=issue("ada", "Ada", ttl=3600), resume=accepted["connection"])
            assert later["expires_at"] > accepted["expires_at"] and later["resumed"] is False


async def test_who_could_not_be_recorded_at_the_handshake_is_no_guest(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = app.node.authentication.auth.issue("ada", "Ada", ttl=60)
    real, failures = app.node.users.record, [Unavailable("not now")]

    async def record(credentials: Credentials, *, known: bool) -> None:
        if failures:
            raise failures.pop()
        await real(credentials, known=known)

    monkeypatch.setattr(app.node.users, "record", record)
    async with dial(app.url, path="/ws?access_token=" + token) as client:
        assert (await client.push("error"))["code"] == "unavailable"
        assert (await client.call("auth", name="Eve"))["user"] == "ada"


async def test_limits_are_told(serve: Serve) -> None:
    async with serve(limits={"message_bytes": 40_000, "batch_size": 20}, rooms={"idempotency_seconds": 7.0}) as app:
        async with dial(app.url) as client:
            assert (await client.call("auth", name="Ada"))["limits"] == {
                "message_bytes": 40_000,
                "batch_size": 20,
                "rooms": app.node.config.limits.rooms,
                "documents": app.node.config.limits.documents,
                "idempotency_seconds": 7.0,
            }


async def test_a_token_is_warned_of_once_and_in_time(serve: Serve) -> None:
    """Tokens that live shorter than the warning: at a third of their life; one that comes again is known already."""
    async with serve(auth={**JWT, "leeway_seconds": 0.0, "expiry_warning_seconds": 60.0}) as app:
        token = app.node.authentication.auth.issue("ada", "", ttl=30)
        async with dial(app.url, token=token) as client:
            for _ in range(3):
                await client.call("auth:refresh", token=token)
            short = app.node.authentication.auth.issue("ada", "", ttl=3)
            await client.call("auth:refresh", token=short)
            warning = await client.push("auth:expiring")
            assert 0 < warning["seconds_left"] <= 1.0
            await client.call("auth:refresh", token=short)
            assert await client.closed() == (4006, "token_expired")
            assert not [envelope for envelope in client.inbox if envelope["event"] == "auth:expiring"]


async def test_leeway_is_the_same_for_new_and_open_connections(serve: Serve) -> None:
    async with serve(auth={**JWT, "leeway_seconds": 3.0, "expiry_warning_seconds": 0.0}) as app:
        token = app.node.authentication.auth.issue("ada", "", ttl=-1)
        async with dial(app.url, token=token) as client:
            assert (await client.call("ping"))["time"] > 0
            assert await client.closed() == (4006, "token_expired")
        async with dial(app.url) as client:
            assert await client.error("auth", token=token) == "token_expired"


def test_the_table_of_close_codes_is_that_of_the_server() -> None:
    text = (
        (ROOT / "docs" / "protocol.md").read_text("utf-8").partition("## Disconnect codes")[2].partition("## Limits")[0]
    )
    rows = re.findall(r"^\| ([0-9, -]+) \| (yes|no) \|(?: `([a-z_0-9]+)`)? \|", text, re.MULTILINE)
    told: dict[int, bool] = {}
    for codes, back, _ in rows:
        for part in codes.split(", "):
            first, _, last = part.partition("-")
            told.update(dict.fromkeys(range(int(first), int(last or first) + 1), back == "yes"))
    assert {code: Disconnect(code, "").reconnect for code in range(1000, 5000)} == dict(sorted(told.items()))
    named = {(int(codes), name) for codes, _, name in rows if name}
    assert named == {(one.code, one.reason) for one in DISCONNECTS}


async def test_expiry_is_warned_of_refreshed_and_enforced(serve: Serve) -> None:
    async with serve(auth={**JWT, "leeway_seconds": 0.0, "expiry_warning_seconds": 60.0}) as app:
        async with dial(app.url, token=app.node.authentication.auth.issue("ada", "", ttl=6)) as client:
            warning = await client.push("auth:expiring")
            assert 0 < warning["seconds_left"] <= 2
            assert (
                await client.error("auth:refresh", token=app.node.authentication.auth.issue("eve", "", ttl=30))
                == "token_invalid"
            )
            assert await client.error("auth:refresh") == "invalid_data"
            later = await client.call("auth:refresh", token=app.node.authentication.auth.issue("ada", "", ttl=3600))
            assert later["expires_at"] > warning["expires_at"]
            await client.call("auth:refresh", token=app.node.authentication.auth.issue("ada", "", ttl=1.5))
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
        for name in ("a\nb", "a\n"):
            answer = await client.ask("room:join", room=name)
            told = "Expected `str` without control characters - at `$.room`"
            assert answer["error"] == {"code": "invalid_data", "message": told}
        for name in ("k\n", "é"):
            answer = await client.ask("document:join", document="d", client=name)
            assert answer["error"]["message"] == "Expected `str` of visible ASCII characters - at `$.client`"
        answer = await client.ask("presence:update", status="asleep")
        assert answer["error"]["message"] == "Invalid enum value 'asleep' - at `$.status`: one of online, away, busy"
        answer = await client.ask("document:create", document="new", default_role="owner")
        assert answer["error"]["message"].endswith("at `$.default_role`: one of editor, reader")
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


async def test_a_frame_without_a_request_is_a_bad_one(serve: Serve) -> None:
    """It would cost nothing, however long it is."""
    async with serve(limits={"bad_requests_per_minute": 5}) as app:
        for codec, empty in ("json", "[" + " " * 1000 + "]"), ("msgpack", b"\x90"), ("msgpack", b"\xdd\0\0\0\0"):
            async with dial(app.url, codec=codec, name="Ada") as client:
                await client.raw(empty)
                assert (await client.push("error"))["code"] == "malformed_frame"
                for _ in range(5):
                    await client.raw(empty)
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
    limits = {"rooms": 2, "documents": 1, "bad_requests_per_minute": 5}
    async with serve(limits=limits) as app, dial(app.url, name="Ada") as client:
        for room in ("a", "b", "b"):
            await client.call("room:join", room=room)
        assert await client.error("room:join", room="c") == "limit_exceeded"
        await client.call("document:join", document="a")
        await client.call("document:join", document="a")
        for _ in range(20):  # what a node's other limits refuse is no fault of the client's
            assert await client.error("document:join", document="b") == "limit_exceeded"
        for _ in range(6):
            await client.send(*[{"event": "ping"}] * 257)  # this one was told
        assert await client.closed() == (4502, "misbehaving")


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
        assert (
            len(app.node.sessions.connections) == 2
            and len(app.node.documents.live) == 1
            and len(app.node.hub.rooms) == 1
        )
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
