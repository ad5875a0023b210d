"""What ``get_token`` may do wrong, and how often it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncline.client import Backoff, ConnectFailed, NoToken, Options, RequestError, connect
from tests.waiting import until

from .links import QUICK, cut
from .peer import IDENTITY, Peer, ScriptedServer, scripted

#: For what has to take too long.
SHORT = 0.5


async def never() -> str:
    return await asyncio.Future()


async def raising() -> str:
    raise OSError("no answer")


async def late() -> str:
    raise TimeoutError


async def cancelled() -> str:
    """As when what it waits for was called off."""
    raise asyncio.CancelledError


def plain() -> Any:
    """No coroutine."""
    return "token"


def giving(value: Any) -> Any:
    async def get_token() -> Any:
        return value

    return get_token


WRONG = [
    pytest.param(never, "took longer than 0.5 s", id="never"),
    pytest.param(raising, "no answer", id="raises"),
    pytest.param(late, "failed: TimeoutError", id="times out"),
    pytest.param(cancelled, "failed: CancelledError", id="cancelled"),
    pytest.param(giving(None), "returned NoneType", id="None"),
    pytest.param(giving(""), "returned an empty string", id="empty"),
    pytest.param(giving(b"token"), "returned bytes", id="bytes"),
    pytest.param(giving({"token": "t"}), "returned dict", id="dict"),
]


def sent(server: ScriptedServer) -> list[Any]:
    return [one["data"].get("token") for one in server.requests if one["event"] == "auth"]


@pytest.mark.parametrize(("wrong", "why"), WRONG)
async def test_without_a_token_nothing_is_sent_and_it_is_tried_again(wrong: Any, why: str) -> None:
    asked = 0

    async def get_token() -> str:
        nonlocal asked
        asked += 1
        return "good" if asked in (3, 5) else await wrong()

    options = Options(open_timeout=SHORT, backoff=QUICK)
    async with scripted() as server:
        with pytest.raises(NoToken, match=why) as caught:
            await connect(server.url, get_token=wrong, options=options)
        assert issubclass(caught.type, ConnectFailed) and server.requests == []
        async with await connect(server.url, get_token=get_token, retry=True, options=options) as ada:
            assert asked == 3 and set(sent(server)) == {"good"}
            ada.connection.token = None  # as at its end
            cut(ada)
            await until(lambda: ada.reconnects == 1 and ada.state == "open")
            assert asked == 5 and set(sent(server)) == {"good"}


@pytest.mark.parametrize(("wrong", "why"), WRONG)
async def test_a_token_that_cannot_be_refreshed_is_used_to_its_end(
    wrong: Any, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    asked = 0

    async def get_token() -> str:
        nonlocal asked
        asked += 1
        return "good" if asked == 1 else await wrong()

    async with scripted() as server:
        server.script = lambda peer, envelope: peer.send({"id": envelope["id"], "event": "x", "result": {}})
        options = Options(open_timeout=SHORT, backoff=QUICK)
        async with await connect(server.url, get_token=get_token, retry=True, options=options) as ada:
            server.peers[-1].send({"event": "auth:expiring", "data": {"expires_at": 0, "seconds_left": 0}})
            await until(lambda: asked == 2 and not ada.connection._tasks)
            await ada.request("x")
            assert (ada.token, ada.reconnects, ada.state) == ("good", 0, "open")
            assert any(why in record.getMessage() for record in caplog.records)
            assert "auth:refresh" not in [one["event"] for one in server.requests]


async def test_who_is_cancelled_while_it_waits_for_a_token_is_cancelled() -> None:
    async with scripted() as server:
        opening = asyncio.ensure_future(connect(server.url, get_token=never))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


class Waits:
    """A clock that notes the waits instead of waiting."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(0)


async def test_a_refused_token_is_asked_for_once_a_connection() -> None:
    asked, clock = 0, Waits()

    async def get_token() -> str:
        nonlocal asked
        asked += 1
        return f"token {asked}"

    def refuse(peer: Peer, envelope: dict[str, Any]) -> None:
        peer.send({"id": envelope["id"], "event": "auth", "error": {"code": "token_invalid", "message": ""}})

    backoff = Backoff(initial=1.0, random=lambda: 1.0)
    async with scripted() as server:
        server.identity, server.script = None, refuse
        with pytest.raises(RequestError, match="token_invalid"):
            await connect(server.url, get_token=get_token, retry=True, clock=clock, backoff=backoff)
        assert (asked, len(server.peers)) == (3, 3) and sent(server) == ["token 1", "token 2", "token 3"]
        assert clock.waits == [1.0 + 1.0, 2.0 + 2.0]  # the backoff's, and time for what the function remembers to end


async def test_a_token_that_was_there_before_is_exchanged_on_the_same_connection() -> None:
    async def get_token() -> str:
        return "good"

    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"error": {"code": "token_expired", "message": ""}}
        if envelope["data"]["token"] == "good":
            answer = {"result": IDENTITY}
        peer.send({"id": envelope["id"], "event": "auth:accepted", **answer})

    async with scripted() as server:
        server.identity, server.script = None, script
        async with await connect(server.url, token="old", get_token=get_token):
            assert sent(server) == ["old", "good"] and len(server.peers) == 1


async def test_a_token_function_that_is_not_async_is_told_so() -> None:
    async with scripted() as server:
        with pytest.raises(NoToken, match="get_token is no async function"):
            await connect(server.url, get_token=plain)  # type: ignore[arg-type]
        assert server.requests == []
