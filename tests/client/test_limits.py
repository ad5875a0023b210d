"""What a server says of itself when it has accepted the user, its limits and when the token ends: the client keeps to it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jwt
import pytest

from syncline.client import Client, ConnectFailed, Document, NotSent, Options, RequestError, TextDocument, connect
from syncline.client.connection import REFRESH_SECONDS
from syncline.client.link import with_token
from syncline.client.pace import Pace
from syncline.core.bucket import Bucket
from syncline.core.limits import LEAST_BATCH_SIZE, LEAST_MESSAGE_BYTES
from syncline.server.app import App
from tests.server.wsclient import dial
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, cut, lose
from .peer import IDENTITY, Peer, scripted

SECRET = "a secret of at least thirty-two bytes"
JWT = {"mode": "jwt", "secret": SECRET, "leeway_seconds": 0.0, "expiry_warning_seconds": 0.0}


def take_least(app: App) -> None:
    """The server takes from new connections what every server takes, no more."""
    for limit in ("message_bytes", LEAST_MESSAGE_BYTES), ("batch_size", LEAST_BATCH_SIZE):
        object.__setattr__(app.node.config.limits, *limit)


def ask_too_much(app: App, client: Client) -> None:
    """As another connection of that user would; the client does not know yet."""
    client.connection._pace.told({})
    while not app.node.rates._users[client.user].take(1):
        pass


def token(seconds: float = 60.0, user: str = "ada") -> str:
    return jwt.encode({"sub": user, "exp": time.time() + seconds}, SECRET, algorithm="HS256")


async def test_what_is_sent_keeps_to_the_servers_limits(tmp_path: Path, codec: Any) -> None:
    """Sends of one turn, pastes, and everything that goes out first thing on a new connection."""
    limits = {"message_bytes": LEAST_MESSAGE_BYTES, "batch_size": LEAST_BATCH_SIZE, "bad_requests_per_minute": 0}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        rooms = [await ada.join(f"r{number}") for number in range(100)]
        room = rooms[0]
        sent = await asyncio.gather(*(room.send("x" * 1000) for _ in range(300)))
        assert [one.offset for one in sent] == list(range(1, 301))
        document = await ada.document("d")
        paste = "\x01ä漢💃" * 15_000
        document.insert(0, paste)
        await document.settled()
        assert ada.reconnects == 0 and app.node.documents.live["d"].core.content() == paste
        with pytest.raises(RequestError) as error:
            await room.send("x" * LEAST_MESSAGE_BYTES)
        assert error.value.code == "message_too_large"
        cut(ada)
        document.insert(0, paste)
        await document.settled()
        await asyncio.gather(*(one.send("back") for one in rooms))
        assert ada.reconnects == 1 and app.node.documents.live["d"].core.content() == paste * 2


async def test_a_server_that_takes_less_than_before(tmp_path: Path) -> None:
    """What was to be sent and is larger is not lost, and does not end the connection for good."""
    async with serving(tmp_path) as app, await connect(ws_url(app), name="Ada", backoff=QUICK) as ada:
        document = await ada.document("d")
        refused: list[str] = []
        document.on_refused(lambda operation, code: refused.append(code))
        lose(ada)
        document.insert(0, "\x01" * 50_000)
        await document.sent()  # in flight: it is as large as the server took then
        cut(ada)
        document.insert(25_000, "\x02" * 50_000)
        take_least(app)
        await document.settled()
        assert ada.reconnects == 1 and ada.state == "open" and not refused
        assert app.node.documents.live["d"].core.content() == "\x01" * 25_000 + "\x02" * 50_000 + "\x01" * 25_000


async def test_until_a_server_has_told_its_limits_large_requests_wait() -> None:
    async with scripted() as server:
        server.identity = None
        client = asyncio.ensure_future(connect(server.url, backoff=QUICK))
        await until(lambda: len(server.requests) == 1)
        server.peers[0].send(
            {"id": 1, "event": "auth:accepted", "result": IDENTITY | {"limits": {"message_bytes": 50_000}}}
        )
        ada = await client
        answers: list[str] = []
        cut(ada)
        await until(lambda: len(server.requests) == 2)  # auth again, without an answer so far

        def answered(_: Any, error: Any) -> None:
            answers.append(getattr(error, "code", "lost"))

        for size in (10, LEAST_MESSAGE_BYTES, 20, 45_000):
            ada.connection.post("x", "y" * size, answered)
        with pytest.raises(RequestError, match="message_too_large"):
            ada.connection.post("x", "y" * 50_000, answered)
        await until(lambda: len(server.requests) == 3)
        server.peers[1].send(
            {
                "id": server.requests[1]["id"],
                "event": "auth:accepted",
                "result": IDENTITY | {"limits": {"message_bytes": 40_000}},
            }
        )
        await until(lambda: len(server.requests) == 5)
        assert [len(one["data"]) for one in server.requests[2:]] == [10, LEAST_MESSAGE_BYTES, 20]
        assert answers == ["message_too_large"]
        await ada.close()


@pytest.mark.parametrize("told", [None, 5, {"batch_size": "x"}, {"batch_size": 0, "message_bytes": None}, []])
async def test_limits_that_are_none(told: Any) -> None:
    async with scripted() as server:
        server.identity = {**IDENTITY, "limits": told}
        server.script = lambda peer, envelope: peer.send({"id": envelope["id"], "event": "pong", "result": 1})
        async with await connect(server.url) as ada:
            assert await asyncio.gather(*(ada.request("x", "y" * 40_000) for _ in range(3))) == [1] * 3


@pytest.mark.parametrize("way", ["header", "query"])
@pytest.mark.parametrize("both", [False, True])
async def test_a_token_in_the_handshake(tmp_path: Path, way: str, both: bool) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        url, options = ws_url(app), Options(backoff=QUICK)
        if way == "query":
            url += f"?access_token={token()}"
        else:
            options = Options(backoff=QUICK, headers={"Authorization": f"Bearer {token()}"})
        async with await connect(url, options=options, token=token(70) if both else None) as ada:
            assert ada.user == "ada"
            room = await ada.join("team")
            cut(ada)
            assert (await room.send("still here")).offset == 1
            assert ada.reconnects == 1


async def test_a_token_in_the_handshake_that_has_ended_ends_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        with pytest.raises(RequestError, match="token_invalid"):
            await connect(f"{ws_url(app)}?access_token={token(-60)}", backoff=QUICK)
        async with await connect(f"{ws_url(app)}?access_token={token(2)}", backoff=QUICK) as ada:
            await until(lambda: ada.state == "closed")
            with pytest.raises(RequestError, match="token_invalid"):
                await ada.ping()


@pytest.mark.parametrize("way", ["header", "query"])
async def test_a_token_in_the_handshake_that_has_ended_is_not_sent_again(tmp_path: Path, way: str) -> None:
    """Where `get_token` has given newer ones."""
    given: list[str] = []

    async def get_token() -> str:
        given.append(token(600))
        return given[-1]

    async with serving(tmp_path, auth=JWT) as app:
        first, ends = token(1), time.time() + 1
        url = f"{ws_url(app)}?a=1&access_token={first}&b=%20" if way == "query" else ws_url(app)
        headers = {"authorization": f"bearer {first}", "X-Other": "1"} if way == "header" else {}
        async with await connect(url, options=Options(backoff=QUICK, headers=headers), get_token=get_token) as ada:
            await until(lambda: time.time() > ends)
            cut(ada)
            await (await ada.join("team")).send("still here")
            assert (ada.reconnects, len(given)) == (1, 1)
            assert ada.connection.options.headers == headers and ada.connection.url == url


async def test_a_handshake_that_fails_does_not_tell_the_token() -> None:
    async def get_token() -> str:
        return "se/cret"

    for url in ("ws://127.0.0.1:1/ws?x=%ff&flag&access_token=old&y=%20", "ws://[::1/ws?access_token=old"):
        with pytest.raises(ConnectFailed) as caught:
            await connect(url, get_token=get_token, backoff=QUICK)
        assert "cret" not in str(caught.value) and "old" not in str(caught.value)
    url, headers = with_token(
        "wss://x/ws?x=%ff&access_token=old&flag#y",
        {"AUTHORIZATION": "bearer old", "Authorization": "Basic abc"},
        "se/c&t",
    )
    assert url == "wss://x/ws?x=%ff&access_token=se%2Fc%26t&flag#y"
    assert headers == {"AUTHORIZATION": "Bearer se/c&t", "Authorization": "Basic abc"}


async def test_a_refresh_is_not_sooner_than_a_second_after_another() -> None:
    clock = GateClock()
    count = 0

    async def get_token() -> str:
        nonlocal count
        count += 1
        return f"token {count}"

    def refreshes() -> list[str]:
        return [one["data"]["token"] for one in server.requests if one["event"] == "auth:refresh"]

    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        peer.send({"id": envelope["id"], "event": envelope["event"], "result": {"expires_at": 0}})

    async with scripted() as server:
        server.script = script
        async with await connect(server.url, get_token=get_token, clock=clock) as ada:
            clock.gate.clear()
            server.peers[0].send(*[{"event": "auth:expiring", "data": {"expires_at": 0, "seconds_left": 0}}] * 50)
            await until(lambda: len(refreshes()) == 1)
            for _ in range(3):
                await ada.request("x")
                server.peers[0].send(*[{"event": "auth:expiring", "data": {"expires_at": 0, "seconds_left": 0}}] * 50)
            await ada.request("x")
            assert refreshes() == ["token 2"]
            clock.ahead += REFRESH_SECONDS
            clock.gate.set()
            await until(lambda: len(refreshes()) == 2)


async def test_a_token_that_is_given_again_is_not_sent_again() -> None:
    async def get_token() -> str:
        return "the same"

    async with scripted() as server:
        server.script = lambda peer, envelope: peer.send({"id": envelope["id"], "event": "x", "result": {}})
        async with await connect(server.url, get_token=get_token) as ada:
            server.peers[0].send({"event": "auth:expiring", "data": {"expires_at": 0, "seconds_left": 0}})
            await ada.request("x")
            await until(lambda: not ada.connection._tasks)
            await ada.request("x")
            assert [one["event"] for one in server.requests] == ["auth", "x", "x"]


async def test_a_token_function_that_caches_gets_another_chance(tmp_path: Path) -> None:
    async with serving(tmp_path, auth=JWT) as app:
        asked = 0

        async def get_token() -> str:
            nonlocal asked
            asked += 1
            return old if asked <= 3 else token()

        old = token(2)
        async with await connect(ws_url(app), get_token=get_token, backoff=QUICK) as ada:
            room = await ada.join("team")
            await until(lambda: ada.reconnects == 1 and ada.state == "open")
            assert (await room.send("still here")).offset == 1

        async def never() -> str:
            return old

        with pytest.raises(RequestError, match="token_expired"):
            await connect(ws_url(app), get_token=never, backoff=QUICK)


@pytest.mark.parametrize("type", ["text", "json", "rich-text"])
async def test_what_is_refused_for_now_is_sent_again_in_the_same_session(
    tmp_path: Path, codec: Any, type: Literal["text", "json", "rich-text"]
) -> None:
    """Edits, undo, redo and restore, of a user who has asked for too much elsewhere. Nobody joins again for it, and what is done meanwhile
    goes behind it."""

    limits = {"user_requests_per_second": 20.0, "user_requests_burst": 30}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
        await connect(ws_url(app), name="Bob", backoff=QUICK) as bob,
    ):
        if type == "text":
            mine: Document = await ada.document("d")
            theirs: Document = await bob.document("d")
        else:
            mine, theirs = await ada.document("d", type=type), await bob.document("d", type=type)

        def write(document: Document, word: str) -> None:
            if isinstance(document, TextDocument):
                document.insert(0, word)
            else:
                document.apply([{"p": [0], "li": word}] if type == "json" else [{"insert": word}])

        def shown(document: Document) -> str:
            return document.text if isinstance(document, TextDocument) else str(document.content)

        if not isinstance(mine, TextDocument) and type == "json":
            mine.set_content([])
        await mine.settled()
        joins = app.node.counters.requests["document:join"]
        refused: list[str] = []
        mine.on_refused(lambda operation, code: refused.append(code))
        ask_too_much(app, ada)
        first = mine.revision
        write(mine, "one ")
        await until(lambda: app.node.counters.errors["rate_limited"] > 0)
        write(mine, "two ")  # behind it
        write(theirs, "three ")  # before it
        await theirs.settled()
        await mine.settled()
        await until(lambda: shown(mine) == shown(theirs))
        assert all(shown(mine).count(word) == 1 for word in ("one", "two", "three"))
        assert theirs.revision - first in (3, 4)
        for step in (mine.undo, mine.redo, partial(mine.restore, first)):
            ask_too_much(app, ada)
            before = app.node.counters.errors["rate_limited"]
            assert await step() is not False
            assert app.node.counters.errors["rate_limited"] > before
        await until(lambda: theirs.revision == mine.revision)
        assert shown(mine) == shown(theirs) and "three" not in shown(mine)
        assert app.node.counters.requests["document:join"] == joins and not refused
        assert ada.reconnects == 0 and mine.healed == 0


async def test_a_first_join_that_is_refused_for_now_waits(tmp_path: Path, codec: Any) -> None:
    limits = {"user_requests_per_second": 20.0, "user_requests_burst": 30}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        for join in partial(ada.join, "r"), partial(ada.document, "d"), partial(ada.document, "j", type="json"):
            ask_too_much(app, ada)
            before = app.node.counters.errors["rate_limited"]
            handle = await join()
            assert handle.joined and app.node.counters.errors["rate_limited"] > before


async def test_a_first_join_waits_no_longer_than_a_request_may() -> None:
    async with scripted() as server:
        error = {"code": "rate_limited", "message": "not now", "retry_after": 100.0}
        server.script = lambda peer, envelope: peer.send({"id": envelope.get("id"), "event": "error", "error": error})
        async with await connect(server.url, options=Options(request_timeout=0.1), backoff=QUICK) as ada:
            for join in partial(ada.join, "r"), partial(ada.document, "d"), partial(ada.document, "j", type="json"):
                with pytest.raises(RequestError, match="rate_limited") as raised:
                    await join()
                assert raised.value.retry_after == 100.0
            assert sum(one["event"].endswith(":join") for one in server.requests) == 3


async def test_what_was_refused_for_now_is_sent_after_a_join_when_the_connection_is_lost(tmp_path: Path) -> None:
    clock = GateClock()
    limits = {"user_requests_per_second": 20.0, "user_requests_burst": 30}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", backoff=QUICK, clock=clock) as ada,
    ):
        document = await ada.document("d")
        ask_too_much(app, ada)
        clock.gate.clear()
        document.insert(0, "x")
        await until(lambda: clock.waiting > 0 and app.node.counters.errors["rate_limited"] == 1)
        document.insert(1, "y")
        cut(ada)
        clock.gate.set()
        await document.settled()
        assert ada.reconnects == 1 and app.node.documents.live["d"].core.content() == "xy"


async def test_what_is_sent_keeps_to_the_servers_rates(tmp_path: Path, codec: Any) -> None:
    """A burst of messages, edits beside it, an undo, and all of it on a new connection."""
    limits = {"requests_per_second": 50.0, "requests_burst": 20, "bytes_per_second": 60_000.0, "bytes_burst": 60_000}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        rooms = [await ada.join(f"r{number}") for number in range(25)]
        document = await ada.document("d")
        sent = await asyncio.gather(*(rooms[0].send("x" * 1000) for _ in range(100)))
        assert [one.offset for one in sent] == list(range(1, 101))
        document.insert(0, "x")
        await document.undo()
        cut(ada)  # the joins alone are more than the burst
        sent = await asyncio.gather(*(room.send("back") for room in rooms))
        assert [one.offset for one in sent] == [101] + [1] * 24
        document.insert(0, "y")
        await document.settled()
        assert ada.reconnects == 1 and document.text == "y"


@pytest.mark.parametrize("type", ["text", "rich-text"])
async def test_an_edit_larger_than_the_burst_gets_through_a_lost_connection(
    tmp_path: Path, codec: Any, type: Literal["text", "rich-text"]
) -> None:
    limits = {"bytes_per_second": 30_000.0, "bytes_burst": 20_000}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        size = 100_000 if type == "text" else 40_000
        if type == "text":
            text = await ada.document("d")
            document: Document = text
            lose(ada)
            text.insert(0, "x" * size)
        else:
            rich = await ada.document("d", type="rich-text")
            document = rich
            lose(ada)
            rich.apply([{"insert": "x" * size}])
        await until(lambda: document._state.in_flight is not None)
        cut(ada)
        await document.settled()
        assert ada.reconnects == 1 and app.node.counters.errors["rate_limited"] == 0
        live = app.node.documents.live["d"].core.content()
        assert live == ("x" * size if type == "text" else [{"insert": "x" * size}])


async def test_what_waits_for_its_turn_is_the_newest_and_what_is_wanted() -> None:
    """Of cursors that wait the newest goes out, of requests what is still waited for; one timer waits, and ends with the link."""
    clock = GateClock()
    rates = {"requests_per_second": 10.0, "requests_burst": 2}
    async with scripted() as server:
        server.identity = {**IDENTITY, "limits": rates, "ping_seconds": 1e9}
        server.script = lambda peer, envelope: peer.send({"id": envelope.get("id", 0), "event": "x", "result": 1})
        async with await connect(server.url, clock=clock, backoff=QUICK) as ada:
            clock.gate.clear()
            clock.ahead += 1
            await ada.request("first")  # the bucket of 1.8 has 0.8 left
            others = clock.waiting  # the watchdog and the heartbeat
            asked = [asyncio.ensure_future(ada.request("x", number)) for number in range(10)]
            await until(lambda: ada.connection._paced is not None and clock.waiting > others)
            for at in range(100):
                ada.connection.post("document:cursor", {"document": f"d{at % 2}", "anchor": at})
            asked[3].cancel()
            later = asyncio.ensure_future(ada.request("later"))
            await asyncio.sleep(0)
            assert clock.waiting == others + 1 and len(ada.connection._outbox) <= 12
            assert [one["event"] for one in server.requests] == ["auth", "first"]
            while ada.connection._paced is not None:
                clock.ahead += 0.2
                clock.gate.set()
                await asyncio.sleep(0)
            assert await later == 1
            assert [one["data"] for one in server.requests if one["event"] == "x"] == [0, 1, 2, *range(4, 10)]
            cursors = [one["data"] for one in server.requests if one["event"] == "document:cursor"]
            assert cursors == [{"document": "d0", "anchor": 98}, {"document": "d1", "anchor": 99}]
            clock.gate.clear()
            asked = [asyncio.ensure_future(ada.request("y", number)) for number in range(5)]
            await until(lambda: ada.connection._paced is not None)
            cut(ada)
            await until(lambda: ada.connection._paced is None)
            assert ada.connection._outbox == []
            clock.gate.set()
            for one in asked:
                one.cancel()


async def test_what_a_user_has_left_is_known_after_a_reconnect(tmp_path: Path, codec: Any) -> None:
    limits = {"user_requests_per_second": 5.0, "user_requests_burst": 20}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        room = await ada.join("r")
        for _ in range(2):
            await asyncio.gather(*(room.send(number) for number in range(9)))
            cut(ada)
        await room.send("back")
        assert app.node.counters.errors["rate_limited"] == 0 and ada.reconnects == 2


async def test_limits_that_are_lifted_end_what_is_owed(tmp_path: Path, codec: Any) -> None:
    limits = {"bytes_per_second": 1024.0, "bytes_burst": 1024}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        document = await ada.document("d")
        document.insert(0, "x" * 50_000)  # most of a minute
        await document.settled()
        asked = asyncio.ensure_future(ada.request("ping"))
        undone = asyncio.ensure_future(document.undo())
        await until(lambda: ada.connection._paced is not None)
        config = app.node.config
        await app.reload(replace(config, limits=replace(config.limits, bytes_per_second=0.0)))
        await asyncio.wait_for(asyncio.gather(asked, undone), 20)
        assert "bytes_per_second" not in ada.identity["limits"] and ada.identity["limits"]["message_bytes"] > 0
        assert document.text == "" and ada.reconnects == 0


async def test_several_connections_of_a_user_learn_what_is_left(tmp_path: Path, codec: Any) -> None:
    limits = {"user_requests_per_second": 5.0, "user_requests_burst": 12}
    async with (
        serving(tmp_path, auth=JWT, limits=limits) as app,
        await connect(ws_url(app), token=token(), codec=codec, backoff=QUICK) as one,
        dial(app.url, token=token()) as other,  # which has a pace of its own
    ):
        await other.send(*({"event": "ping", "id": number} for number in range(1, 13)))
        await other.take(lambda answer: answer.get("id") == 12)
        before = app.node.counters.errors["rate_limited"]
        answers = await asyncio.gather(*(one.request("ping") for _ in range(9)), return_exceptions=True)
        refused = app.node.counters.errors["rate_limited"]
        assert 0 < refused - before == sum(isinstance(answer, RequestError) for answer in answers)
        await until(lambda: one.identity["limits"]["user_requests_left"] < 2)
        await asyncio.gather(*(one.request("ping") for _ in range(5)))
        assert app.node.counters.errors["rate_limited"] == refused


async def test_the_limits_of_connection_and_user_are_kept_to_each(tmp_path: Path, codec: Any) -> None:
    """Larger than the burst of one, and not than that of the other."""
    limits = {
        "bytes_per_second": 4096.0,
        "bytes_burst": 4096,
        "user_bytes_per_second": 8000.0,
        "user_bytes_burst": 8192,
    }
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        for size in 1500, 7900:
            await ada.request("ping", {"x": "x" * size})
        assert app.node.counters.errors["rate_limited"] == 0


async def test_what_was_not_let_out_says_so(tmp_path: Path, codec: Any) -> None:
    limits, clock = {"requests_per_second": 0.5, "requests_burst": 4}, GateClock()
    options = Options(codec=codec, request_timeout=0.3, clock=clock, backoff=QUICK)
    async with serving(tmp_path, limits=limits) as app, await connect(ws_url(app), name="Ada", options=options) as ada:
        room = await ada.join("r")
        first, *others = await asyncio.gather(
            ada.request("ping"), ada.request("ping"), room.send("x"), ada.document("d"), return_exceptions=True
        )
        assert first is not None and [type(one) for one in others] == [NotSent] * 3
        assert all("held back by the rate limit" in str(one) for one in others)
        counted = app.node.counters.requests
        assert (counted["ping"], counted["message:send"], counted["document:join"]) == (1, 0, 0)
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
        with pytest.raises(NotSent, match="no connection"):
            await ada.request("ping")


async def test_what_had_not_left_goes_out_on_the_next_connection(tmp_path: Path, codec: Any) -> None:
    limits = {"requests_per_second": 0.5, "requests_burst": 6}
    async with (
        serving(tmp_path, limits=limits) as app,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        room = await ada.join("r")
        await asyncio.gather(*(ada.request("ping") for _ in range(3)))
        asked = [asyncio.ensure_future(one) for one in (ada.request("ping"), room.send("x", retry=False))]
        await until(lambda: ada.connection._paced is not None)
        cut(ada)
        await asyncio.gather(*asked)
        assert app.node.counters.requests["ping"] == 4 and ada.reconnects == 1


async def test_of_cursors_that_are_asked_about_each_is_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as app, await connect(ws_url(app), name="Ada", backoff=QUICK) as ada:
        document = await ada.document("d")
        data = {"document": "d", "revision": document.revision, "anchor": 0, "head": 0}
        asked = (data, data, {}, None)
        answers = await asyncio.gather(*(ada.request("document:cursor", one) for one in asked), return_exceptions=True)
        assert [getattr(answer, "code", "done") for answer in answers] == [
            "done",
            "done",
            "invalid_data",
            "invalid_data",
        ]


def test_what_went_out_before_the_limits_were_told_owes_nothing_beyond_the_burst() -> None:
    """Of joins that are refused nothing is counted by the server."""
    now = [1000.0]
    pace = Pace(lambda: now[0])
    for _ in range(60):
        assert pace.take(100) == 0.0
    pace.told({"requests_per_second": 3.0, "requests_burst": 10.0})
    wait = pace.take(100)
    assert 0 < wait < 1
    now[0] += wait + 0.001
    assert pace.take(100) == 0.0


def test_what_went_out_before_the_limits_were_told_is_owed_in_full_where_the_server_took_it() -> None:
    """A long token, or a join with much that is pending: it is more than the burst, and the server takes it from a full bucket."""
    for gone, spent in ((3000,), 3000), ((3000, 500), 3000), ((400, 3000), 3400), ((100, 100), 200):
        now = [1000.0]
        pace = Pace(partial(now.__getitem__, 0))
        for size in gone:
            assert pace.take(size) == 0.0
        pace.told({"bytes_per_second": 100.0, "bytes_burst": 1000.0})
        wait = pace.take(50)
        owed = spent + 50 - 900  # of a tenth less
        assert wait == pytest.approx(max(0.0, owed / 90), abs=0.3)
        now[0] += wait + 0.002
        assert pace.take(50) == 0.0


@pytest.mark.parametrize("less", [0, 5, 50])
@pytest.mark.parametrize("size", [3600, 3690, 4090, 4092, 4096, 4097, 4101, 4140, 4200])
def test_near_the_burst_the_servers_bucket_is_full(size: int, less: int) -> None:
    """``less``: the server counts what a frame has beside its requests' data for all of them in equal parts."""
    now = [1000.0]
    pace, server = Pace(partial(now.__getitem__, 0)), Bucket(1000.0, 4096.0, now[0])
    pace.told({"bytes_per_second": 1000.0, "bytes_burst": 4096.0})
    for asked in (1700, size, 100, size, 10):
        while wait := pace.take(asked):
            now[0] += wait
        assert server.take(now[0], asked - less if asked == size else asked + 5) == 0.0


async def test_a_token_larger_than_the_burst_is_paid_for(tmp_path: Path) -> None:
    limits = {"bytes_per_second": 2048.0, "bytes_burst": 2048}
    long = jwt.encode({"sub": "ada", "exp": time.time() + 60, "pad": "x" * 2400}, SECRET, algorithm="HS256")
    async with (
        serving(tmp_path, auth=JWT, limits=limits) as app,
        await connect(ws_url(app), token=long, backoff=QUICK) as ada,
    ):
        await ada.request("ping")
        assert app.node.counters.errors["rate_limited"] == 0


def test_waits_that_a_clock_can_tell() -> None:
    now = [1000.0]
    pace = Pace(lambda: now[0])
    pace.told({"bytes_per_second": 10, "bytes_burst": 100, "requests_per_second": 1, "requests_burst": 1})
    for _ in range(40):
        for _ in range(10):
            if not (wait := pace.take(50)):
                break
            now[0] += wait
        else:
            pytest.fail("it waits for ever")
