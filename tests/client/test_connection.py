"""The connection: authentication, what its end means, limits. The real server where it can, a scripted peer elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows import WSMsgType

from syncline.client import (
    Backoff,
    Closed,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    Options,
    RequestError,
    RequestTimeout,
    connect,
)
from syncline.client.codec import Codec
from syncline.client.connection import Connection
from syncline.client.errors import ProtocolViolation
from syncline.server.app import App
from tests.serving import serving, ws_url
from tests.waiting import PATIENCE, until

from .links import QUICK, GateClock, Open, cut
from .peer import Peer, scripted

SECRET = "a secret of at least thirty-two bytes"
JWT = {"mode": "jwt", "secret": SECRET, "leeway_seconds": 0.0, "expiry_warning_seconds": 0.0}


def token(user: str = "ada", seconds: float = 60.0) -> str:
    return jwt.encode({"sub": user, "name": user.title(), "exp": time.time() + seconds}, SECRET, algorithm="HS256")


# Authentication ----------------------------------------------------------------------------------------------------------


async def test_a_guest_comes_back_as_the_same(open_client: Open, codec: str) -> None:
    ada = await open_client(name="Ada", codec=codec)
    user = ada.user
    assert (ada.name, ada.identity["guest"], ada.state, ada.reconnects) == ("Ada", True, "open", 0)
    assert await ada.ping() < 5
    cut(ada)
    await until(lambda: ada.reconnects == 1 and ada.state == "open")
    assert (ada.user, ada.name) == (user, "Ada")
    again = await open_client(token=ada.token)
    assert again.user == user


async def test_tokens(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        async with await connect(ws_url(app), token=token()) as ada:
            assert (ada.user, ada.name, ada.identity["guest"]) == ("ada", "Ada", False)
        for bad in ("nonsense", token(seconds=-10), jwt.encode({"sub": "ada"}, SECRET)):
            with pytest.raises(RequestError) as error:
                await connect(ws_url(app), token=bad)
            assert error.value.code in ("token_invalid", "token_expired")
        with pytest.raises(RequestError):
            await connect(ws_url(app), name="no token")
        asked: list[int] = []

        async def get_token() -> str:
            asked.append(1)
            return token()

        async with await connect(ws_url(app), token=token(seconds=-10), get_token=get_token) as ada:
            assert ada.user == "ada"
        assert asked == [1]


async def test_a_token_is_refreshed_before_it_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, auth={**JWT, "expiry_warning_seconds": 60.0}) as app:
        given_out: list[str] = []

        async def get_token() -> str:
            given_out.append(token(seconds=3600 if given_out else 5))
            return given_out[-1]

        async with await connect(ws_url(app), get_token=get_token) as ada:
            await until(lambda: len(given_out) == 2)
            await ada.ping()
            cut(ada)
            await until(lambda: ada.reconnects == 1 and ada.state == "open")
            assert len(given_out) == 2, "the refreshed token is the one that is used"


async def test_an_expired_connection_comes_back_with_a_fresh_token(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        count = 0

        async def get_token() -> str:
            nonlocal count
            count += 1
            return token(seconds=4 if count == 1 else 60)

        async with await connect(ws_url(app), get_token=get_token, backoff=QUICK) as ada:
            room = await ada.join("team")
            await until(lambda: ada.reconnects == 1 and ada.state == "open")
            assert count == 2
            assert (await room.send("still here")).offset == 1


async def test_an_expired_connection_without_a_fresh_token_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        ada = await connect(ws_url(app), token=token(seconds=4), backoff=QUICK)
        room = await ada.join("team")
        with pytest.raises(RequestError) as error:
            await anext(room.messages())
        assert error.value.code == "token_expired"
        assert ada.state == "closed"
        await ada.close()


# Not connecting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1/ws", "http://127.0.0.1/", "ws://", "nonsense"])
async def test_no_connection(url: str) -> None:
    with pytest.raises(ConnectFailed):
        await connect(url)


async def test_a_server_that_goes_away_during_the_handshake() -> None:
    """As one that is killed does: its socket was accepted, and is closed before it has answered."""

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ConnectFailed, match="during the handshake"):
            await connect(f"ws://127.0.0.1:{port}/ws")


async def test_a_path_that_is_not_there(app: App) -> None:
    with pytest.raises(ConnectFailed):
        await connect(app.url.replace("http", "ws") + "/nothing/here")


async def test_patience_at_the_first_attempt() -> None:
    clock = GateClock()
    with pytest.raises(Disconnected) as error:
        await connect("ws://127.0.0.1:1/ws", retry=True, clock=clock, backoff=Backoff(attempts=4))
    assert "4 attempts" in error.value.reason


@pytest.mark.parametrize("subprotocol", ["", "syncline.v1.msgpack", "chat"])
async def test_another_protocol(subprotocol: str) -> None:
    async with scripted() as server:
        server.subprotocol = subprotocol
        with pytest.raises(ConnectFailed, match="does not speak"):
            await connect(server.url)


async def test_a_server_that_does_not_answer_auth() -> None:
    async with scripted() as server:
        server.identity = None
        with pytest.raises(RequestTimeout):
            await connect(server.url, options=Options(open_timeout=0.5))
        server.script = lambda peer, envelope: peer.drop()
        with pytest.raises(ConnectionLost):
            await connect(server.url)
        server.script = lambda peer, envelope: peer.close(4500, "authentication_timeout")
        with pytest.raises(Disconnected) as error:
            await connect(server.url)
        assert (error.value.code, error.value.reason) == (4500, "authentication_timeout")


# What the end of a connection means --------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [4000, 4001, 4002, 4003, 4006, 1001, 1011, 1012, 1013, 3000, None, 0])
async def test_codes_that_mean_come_back(code: int | None) -> None:
    async with scripted() as server, await connect(server.url, backoff=QUICK) as client:
        if code is None:
            server.peers[0].drop()
        elif code == 0:  # a close frame without one
            server.peers[0].transport.send(WSMsgType.CLOSE, b"")
        else:
            server.peers[0].close(code, "reason")
        await until(lambda: client.reconnects == 1 and client.state == "open")


@pytest.mark.parametrize("code", [4500, 4501, 4502, 4503, 1002, 1003, 1007, 1008, 1009])
async def test_codes_that_mean_stay_away(code: int) -> None:
    async with scripted() as server, await connect(server.url, backoff=QUICK) as client:
        waiting = asyncio.ensure_future(client.request("never:answered"))
        await until(lambda: len(server.requests) == 2)
        server.peers[0].close(code, "reason")
        with pytest.raises((ConnectionLost, Disconnected)):
            await waiting
        await until(lambda: client.state == "closed")
        with pytest.raises(Disconnected) as error:
            await client.request("anything")
        assert (error.value.code, error.value.reason) == (code, "reason")
        assert len(server.peers) == 1


async def test_a_request_under_way_has_an_unknown_fate(open_client: Open) -> None:
    async with scripted() as server, await connect(server.url, backoff=QUICK) as client:
        waiting = asyncio.ensure_future(client.request("message:send", {"room": "team", "data": 1}))
        await until(lambda: len(server.requests) == 2)
        server.peers[0].drop()
        with pytest.raises(ConnectionLost):
            await waiting
        await until(lambda: client.reconnects == 1)
        assert [request["event"] for request in server.requests] == ["auth", "message:send", "auth"], "sent only once"


async def test_a_request_made_while_away_waits(open_client: Open) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    room = await ada.join("team")
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    sending = asyncio.ensure_future(room.send("late"))
    await asyncio.sleep(0)
    assert not sending.done()
    clock.gate.set()
    assert (await sending).offset == 1


async def test_a_link_that_breaks_just_before_auth_is_written(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells of it any more: it must be seen, not waited for until ``open_timeout``."""
    ask = Connection.ask
    broken = 0

    async def late(self: Connection, event: str, *arguments: Any) -> Any:
        nonlocal broken
        link = self._link
        if event == "auth" and not broken:
            broken += 1
            assert link is not None
            link.abort()
            await link.gone.wait()
        return await ask(self, event, *arguments)

    monkeypatch.setattr(Connection, "ask", late)
    options = Options(backoff=QUICK, open_timeout=3600.0)
    async with asyncio.timeout(PATIENCE), await connect(ws_url(app), name="Ada", retry=True, options=options) as ada:
        assert broken == 1 and ada.state == "open"


async def test_states_are_told(open_client: Open) -> None:
    ada = await open_client()
    states: list[str] = []
    ada.on_state(states.append)
    cut(ada)
    await until(lambda: ada.reconnects == 1 and ada.state == "open")
    await ada.close()
    assert states == ["waiting", "connecting", "open", "closed"]


async def test_silence_is_noticed() -> None:
    clock = GateClock()
    async with scripted() as server:
        assert server.identity is not None
        server.identity["ping_seconds"] = 10.0
        async with await connect(server.url, clock=clock, backoff=QUICK) as client:
            clock.ahead += 13
            await until(lambda: any(request["event"] == "ping" for request in server.requests))
            assert client.reconnects == 0, "before it gives up it asks"
            link = client.connection._link
            assert link is not None
            before = link.last_heard
            server.peers[0].transport.send_ping(b"alive")
            await until(lambda: link.last_heard > before)
            clock.ahead += 13
            looked = clock.slept
            await until(lambda: clock.slept >= looked + 4)
            assert client.reconnects == 0, "a ping is a sign of life"
            clock.ahead += 13
            await until(lambda: client.reconnects == 1 and client.state == "open")


class Told(GateClock):
    """Time that only passes when it is told to. Who sleeps looks every millisecond whether it is over."""

    def monotonic(self) -> float:
        return self.ahead

    async def sleep(self, seconds: float) -> None:
        until = self.ahead + seconds
        while self.ahead < until:
            self.slept += 1
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("spoke", [0.5, 4.9, 5.0, 5.1, 9.0])
async def test_silence_is_noticed_to_the_moment(spoke: float) -> None:
    """What docs/python-client.md says, in every phase of whatever looks after it: silent for twice ``ping_seconds``."""
    clock = Told()
    async with scripted() as server:
        assert server.identity is not None
        server.identity["ping_seconds"] = 10.0
        async with await connect(server.url, clock=clock, backoff=Backoff(attempts=1)) as client:

            async def lives(moment: float) -> bool:
                """Whether it still takes the connection for alive then."""
                clock.ahead = moment
                looked = clock.slept
                await until(lambda: clock.slept >= looked + 10 or client.state != "open")
                return client.state == "open"

            link = client.connection._link
            assert link is not None and await lives(spoke)
            before = link.last_heard
            server.peers[-1].transport.send_ping(b"alive")
            await until(lambda: link.last_heard > before)
            heard, asked = link.last_heard, len(server.requests)
            assert await lives(heard + 11.9) and len(server.requests) == asked
            assert await lives(heard + 12.0)
            await until(lambda: len(server.requests) == asked + 1 and server.requests[-1]["event"] == "ping")
            assert await lives(heard + 19.9)
            assert not await lives(heard + 20.0)


async def test_an_idle_client_stays(tmp_path: Path) -> None:
    """The server's pings are the sign of life, and come in time: it need not ask."""
    async with serving(tmp_path, limits={"ping_seconds": 1.0}) as app, await connect(ws_url(app)) as client:
        states: list[str] = []
        client.on_state(states.append)
        await until(lambda: app.node.pings.sent >= 4)
        assert not states


async def test_an_idle_client_asks_who_sends_no_pings(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"ping_seconds": 1.0}) as app:
        app.node.pings.turn = lambda passed=1: None  # type: ignore[method-assign, misc]
        async with await connect(ws_url(app)) as client:
            states: list[str] = []
            client.on_state(states.append)
            await until(lambda: app.node.counters.requests["ping"] >= 3)
            assert not states


async def test_a_flapping_server_is_not_hammered() -> None:
    """A connection that ends at once does not start the count of the backoff anew; a stable one does."""
    asked: list[float] = []

    class Recording(GateClock):
        async def sleep(self, seconds: float) -> None:
            if seconds < 5:  # not the watchdog's
                asked.append(seconds)
            await super().sleep(seconds)

    clock = Recording()
    backoff = Backoff(initial=0.25, maximum=2.0, random=lambda: 1.0)
    async with scripted() as server, await connect(server.url, clock=clock, backoff=backoff) as client:
        for number in range(1, 6):
            server.peers[-1].drop()
            await until(lambda number=number: client.reconnects == number and client.state == "open")  # type: ignore[misc]
        assert asked == [0.25, 0.5, 1.0, 2.0, 2.0]
        clock.ahead += 6
        server.peers[-1].drop()
        await until(lambda: client.reconnects == 6)
        assert asked[-1] == 0.25


# Frames ------------------------------------------------------------------------------------------------------------------


async def test_fragments_are_put_together() -> None:
    async with scripted() as server:
        text = "🙂" * 20_000

        def script(peer: Peer, envelope: dict[str, Any]) -> None:
            reply = {"id": envelope["id"], "event": envelope["event"], "result": {"text": text}}
            peer.send_fragments(json.dumps(reply, ensure_ascii=False).encode(), 997)

        server.script = script
        async with await connect(server.url) as client:
            assert (await client.request("echo"))["text"] == text


@pytest.mark.parametrize(
    "garbage", [b"", b"nonsense", b"[1]", b"7", b'"x"', b"{}", b'{"event": 1}', b'{"event": "x", "data": 3}', b"\xff"]
)
async def test_garbage_ends_the_connection_not_the_client(garbage: bytes) -> None:
    async with scripted() as server, await connect(server.url, backoff=QUICK) as client:
        server.peers[0].transport.send(WSMsgType.TEXT, garbage)
        await until(lambda: client.reconnects == 1 and client.state == "open")
        await until(lambda: server.peers[0].closed is not None)
        assert server.peers[0].closed == (1002, b"protocol_error")


async def test_frames_that_are_not_allowed() -> None:
    async with scripted() as server, await connect(server.url, backoff=QUICK) as client:
        server.peers[-1].transport.send(WSMsgType.BINARY, b"{}")
        await until(lambda: client.reconnects == 1 and client.state == "open")
        server.peers[-1].transport.send(WSMsgType.CONTINUATION, b"{}")
        await until(lambda: client.reconnects == 2 and client.state == "open")
        server.peers[-1].transport.send(WSMsgType.TEXT, b"[", fin=False)
        server.peers[-1].transport.send(WSMsgType.TEXT, b"{}")
        await until(lambda: client.reconnects == 3 and client.state == "open")


async def test_a_message_over_the_limit_is_not_collected() -> None:
    async with scripted() as server:
        server.script = lambda peer, envelope: peer.send_fragments(b"[" + b" " * 5000 + b"]", 100)
        options = Options(max_message_bytes=2000, backoff=QUICK)
        async with await connect(server.url, options=options) as client:
            with pytest.raises(ConnectionLost):
                await client.request("anything")
            await until(lambda: client.reconnects == 1)


async def test_unknown_pushes_and_late_answers_are_passed_over() -> None:
    async with scripted() as server:
        pushed: list[str] = []

        def script(peer: Peer, envelope: dict[str, Any]) -> None:
            peer.send(
                {
                    "event": "message:received",
                    "data": {"room": "not here", "offset": 1, "epoch": "e", "user": "u", "data": 1},
                },
                {"event": "document:operation", "data": {"document": "not here"}},
                {"event": "error", "data": {"code": "internal", "message": "", "event": "x"}},
                {"event": "new:in:version:2", "data": {}, "and": "more"},
                {"id": 999, "event": "x", "result": {}},
                {"id": envelope["id"], "event": "x", "result": 7},
            )

        server.script = script
        async with await connect(server.url) as client:
            client.on_push(lambda event, data: pushed.append(event))
            assert await client.request("x") == 7
            assert pushed == ["message:received", "document:operation", "error", "new:in:version:2"]
            assert client.reconnects == 0


# Limits ------------------------------------------------------------------------------------------------------------------


async def test_requests_that_wait_are_bounded() -> None:
    async with scripted() as server:
        options = Options(max_pending=5, request_timeout=30, batch_size=2)
        async with await connect(server.url, options=options) as client:
            tasks = [asyncio.ensure_future(client.request("x", number)) for number in range(12)]
            await until(lambda: len(server.requests) == 1 + 5)
            await client.connection.options.clock.sleep(0)
            assert len(server.requests) == 1 + 5
            server.script = lambda peer, envelope: peer.send({"id": envelope["id"], "event": "x", "result": 1})
            for request in server.requests[1:]:
                server.peers[0].send({"id": request["id"], "event": "x", "result": 1})
            assert await asyncio.gather(*tasks) == [1] * 12
            assert [request["data"] for request in server.requests[1:]] == list(range(12))


async def test_an_answer_that_never_comes() -> None:
    async with scripted() as server:
        async with await connect(server.url, options=Options(request_timeout=0.05)) as client:
            with pytest.raises(RequestTimeout):
                await client.request("x")
            assert not client.connection._answers
            cancelled = asyncio.ensure_future(client.request("y"))
            await until(lambda: client.connection._answers)
            cancelled.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cancelled
            assert not client.connection._answers


async def test_what_is_too_large_is_not_sent(open_client: Open) -> None:
    ada = await open_client(options=Options(max_send_bytes=1000, backoff=QUICK))
    room = await ada.join("team")
    with pytest.raises(RequestError) as error:
        await room.send("x" * 2000)
    assert error.value.code == "message_too_large"
    with pytest.raises(RequestError, match="invalid_data"):
        await room.send(object())
    assert (await room.send("fits")).offset == 1
    assert ada.reconnects == 0


async def test_who_gives_up_while_connecting_leaves_no_connection(tmp_path: Path) -> None:
    """At whichever turn of the loop: picows goes on with a handshake that nobody waits for any more."""
    async with serving(tmp_path, auth={"timeout_seconds": 600.0}) as app:
        for turns in range(40):
            opening = asyncio.ensure_future(connect(ws_url(app), name="Ada"))
            for _ in range(turns):
                await asyncio.sleep(0)
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await opening).close()
        async with await connect(ws_url(app)):  # has come later than all of them
            await until(lambda: len(app.node.sessions.connections) == 1)


async def test_closing_while_opening() -> None:
    async with scripted() as server:
        server.identity = None
        opening = asyncio.ensure_future(connect(server.url, retry=True))
        await until(lambda: server.requests)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await until(lambda: server.peers[0].transport.is_disconnected)


async def test_requests_after_the_end(open_client: Open) -> None:
    ada = await open_client()
    await ada.close()
    with pytest.raises(Closed):
        await ada.request("ping")


# Plain parts -------------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 10_000))
def test_delays_stay_in_bounds(value: float, attempt: int) -> None:
    backoff = Backoff(initial=0.5, maximum=8.0, random=lambda: value)
    assert 0 <= backoff.delay(attempt) <= min(8.0, 0.5 * 2 ** min(attempt, 20))
    assert backoff.bound(attempt) <= backoff.bound(attempt + 1) <= 8.0


@pytest.mark.parametrize("wrong", [{"initial": 0}, {"maximum": 0.1}, {"factor": 0.5}, {"attempts": -1}])
def test_a_backoff_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(**wrong)


@pytest.mark.parametrize("name", ["json", "msgpack"])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 300])
def test_envelopes_share_a_frame(name: Any, count: int) -> None:
    codec = Codec(name)
    envelopes = [{"event": "x", "data": {"n": number, "text": "é🙂"}} for number in range(count)]
    decoded = codec.decode(codec.join([codec.encode(envelope) for envelope in envelopes]))
    assert [{"event": one.event, "data": codec.value(one.data)} for one in decoded] == envelopes


@pytest.mark.parametrize("name", ["json", "msgpack"])
@given(data=st.binary(max_size=50))
def test_decoding_raises_nothing_else(name: Any, data: bytes) -> None:
    try:
        for envelope in Codec(name).decode(data):
            Codec(name).value(envelope.data)
            Codec(name).result(envelope)
    except ProtocolViolation:
        pass


@pytest.mark.parametrize("scheme", ["http", "HTTP"])
async def test_the_url_of_the_server_may_be_of_http(app: App, scheme: str) -> None:
    async with await connect(ws_url(app).replace("ws", scheme, 1)) as client:
        assert client.state == "open"
    with pytest.raises(ConnectFailed):
        await connect("https://127.0.0.1:1/ws")
