"""`room:digest` and `room:joined.digest`, against an oracle that hashes what came on the wire."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from syncline.server.app import App
from syncline.server.observe.log_repeats import FEW
from tests.loglines import LogLines
from tests.oracle import digest as oracle
from tests.serving import Serve

from .wsclient import Wire, dial


def payload(codec: str, value: Any) -> bytes:
    """As it is sent on when a JSON client of these tests sent it."""
    return json.dumps(value).encode() if codec == "json" else msgspec.msgpack.encode(value)


async def said(client: Wire, *claims: dict[str, Any]) -> list[dict[str, Any]]:
    result = await client.call("room:digest", rooms=list(claims))
    rooms: list[dict[str, Any]] = result["rooms"]
    return rooms


def counted(app: App) -> tuple[int, int]:
    counters = app.node.counters
    return counters.deliveries_proven["history"], counters.deliveries_unproven["history"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_a_client_proves_what_it_has(app: App, codec: str) -> None:
    async with dial(app.url, name="Ada", codec="json") as ada, dial(app.url, name="Bob", codec=codec) as bob:
        plain = await ada.call("room:join", room="team")
        assert "digest" not in plain
        for number in range(5):
            await ada.call("message:send", room="team", data={"n": number, "é": [1.5, None]})
        joined = await bob.call("room:join", room="team", history=3, digest=True)
        epoch = joined["position"]["epoch"]
        got = [(entry["offset"], payload(codec, entry["data"])) for entry in joined["publications"]]
        assert [offset for offset, _ in got] == [3, 4, 5] and joined["digest"]["since"] == 5
        for number in range(5, 9):
            await ada.call("message:send", room="team", data=number)
            data = await bob.push("message:received")
            got.append((data["offset"], payload(codec, data["data"])))
        mine = (joined["digest"]["value"] + oracle.digest(epoch, got)) % 2**32
        claim = {"room": "team", "epoch": epoch, "offset": 9, "digest": mine}
        assert await said(bob, claim) == [claim]
        assert counted(app) == (7, 0)  # 3, 4 and 5 too
        assert await said(bob, claim) == [claim]
        assert counted(app) == (7, 0)
        # Behind the room: what it says is held against the digest there, the answer says where the room is.
        await ada.call("message:send", room="team", data="more")
        answer = (await said(bob, claim))[0]
        assert answer["offset"] == 10
        assert answer["digest"] == (mine + oracle.item(epoch, 10, payload(codec, "more"))) % 2**32


async def test_what_does_not_agree_is_counted_and_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    async with dial(app.url, name="Ada") as ada:
        joined = await ada.call("room:join", room="team", digest=True)
        epoch, since, value = joined["position"]["epoch"], joined["digest"]["since"], joined["digest"]["value"]
        assert (since, value) == (0, 0)
        for number in range(4):
            await ada.call("message:send", room="team", data=number)
        right = [(offset, payload("json", offset - 1)) for offset in range(1, 5)]
        wrong = oracle.digest(epoch, [*right[:2], right[2], right[2], right[3]])
        answer = (await said(ada, {"room": "team", "epoch": epoch, "offset": 4, "digest": wrong}))[0]
        assert answer == {"room": "team", "epoch": epoch, "offset": 4, "digest": oracle.digest(epoch, right)}
        assert counted(app) == (0, 4)
        assert f"at offset 4 it has {wrong:08x}" in caplog.text
        # It asks again for everything: counted already.
        again = await ada.call("room:join", room="team", digest=True, recover={"offset": 0, "epoch": epoch})
        assert again["recovered"] and len(again["publications"]) == 4
        assert again["digest"] == {"since": 0, "value": 0}
        assert counted(app) == (0, 4)
        assert await said(ada, answer) == [answer]
        assert counted(app) == (4, 4)
        # Lost without a word: it asks for what came after the last proven one.
        await ada.call("message:send", room="team", data="lost")
        await ada.call("room:join", room="team", digest=True, recover={"offset": 4, "epoch": epoch})
        assert counted(app) == (4, 5)
        assert "asks again for 1 after offset 4" in caplog.text
        metrics = app.node.metrics.render().decode()
        assert 'syncline_deliveries_proven_total{class="history"} 4.0' in metrics
        assert 'syncline_deliveries_unproven_total{class="history"} 5.0' in metrics


async def test_a_client_that_says_wrong_things_does_not_fill_the_log(app: App, log_lines: LogLines) -> None:
    async with dial(app.url, name="Ada") as ada:
        joined = await ada.call("room:join", room="team", digest=True)
        wrong = {"room": "team", "epoch": joined["position"]["epoch"], "offset": 0, "digest": 1}
        for _ in range(4):
            assert len(await said(ada, *[wrong] * 100)) == 100
        assert counted(app) == (0, 400)
    told = log_lines("deliveries")
    assert len(told) == FEW + 1 and told[-1]["repeated"] == 400 - FEW
    assert told[0]["address"] == "127.0.0.1" and told[0]["user"] == ada.user


async def test_what_cannot_be_told_counts_for_nothing(serve: Serve) -> None:
    async with serve(rooms={"history_size": 3}) as app, dial(app.url, name="Ada") as ada:
        joined = await ada.call("room:join", room="team", digest=True)
        epoch = joined["position"]["epoch"]
        for number in range(10):
            await ada.call("message:send", room="team", data=number)
        for offset, of in ((2, epoch), (11, epoch), (10, "another")):
            answers = await said(ada, {"room": "team", "epoch": of, "offset": offset, "digest": 7})
            assert [answer["offset"] for answer in answers] == [10]
        assert counted(app) == (0, 0)
        # Rooms that are not joined, or joined without a digest, are left out.
        await ada.call("room:join", room="other")
        claim = {"epoch": epoch, "offset": 1, "digest": 7}
        assert await said(ada, {"room": "other", **claim}, {"room": "nowhere", **claim}) == []
        assert await said(ada) == []


async def test_no_history_is_no_hindrance(serve: Serve) -> None:
    async with serve(rooms={"history_size": 0}) as app, dial(app.url, name="Ada") as ada:
        joined = await ada.call("room:join", room="team", digest=True)
        epoch = joined["position"]["epoch"]
        for number in range(3):
            await ada.call("message:send", room="team", data=number)
        mine = oracle.digest(epoch, [(offset, payload("json", offset - 1)) for offset in (1, 2, 3)])
        claim = {"room": "team", "epoch": epoch, "offset": 3, "digest": mine}
        assert await said(ada, claim) == [claim] and counted(app) == (3, 0)


async def test_what_came_before_a_cut_is_counted_when_the_digest_goes_on(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        first = await ada.call("room:join", room="team", digest=True)
        await bob.call("room:join", room="team")
        epoch = first["position"]["epoch"]
        for number in range(4):
            await bob.call("message:send", room="team", data=number)
        await ada.socket.close()
        await bob.call("message:send", room="team", data=4)
        claim = {"room": "team", "epoch": epoch, "offset": 5}
        claim["digest"] = oracle.digest(epoch, [(offset, payload("json", offset - 1)) for offset in range(1, 6)])
        for state, total in (({"since": 1, "proven": 1}, 1), ({"since": 0, "proven": 1}, 1 + 4), (True, 5 + 1)):
            async with dial(app.url, name="Ada") as back:
                recover = {"offset": 4, "epoch": epoch}
                again = await back.call("room:join", room="team", digest=state, recover=recover)
                assert again["recovered"] and again["digest"]["since"] == 0
                assert await said(back, claim) == [claim]
                assert counted(app) == (total, 0)
        assert await bob.error("room:join", room="team", digest={"since": -1, "proven": 0}) == "invalid_data"


async def test_nobody_asks_nothing_is_kept(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="team")
        await ada.call("message:send", room="team", data=1)
        ring = app.node.hub.rooms["team"].group.history
        position = ring.position
        assert all(ring.digest_at(codec, *position) is None for codec in ("json", "msgpack"))
        await ada.call("room:join", room="team", digest=True)
        assert ring.digest_at("json", *position) == 0 and ring.digest_at("msgpack", *position) is None


async def test_what_is_too_old_is_not_recovered(serve: Serve) -> None:
    async with serve(rooms={"history_seconds": 0.05}) as app, dial(app.url, name="Ada") as ada:
        joined = await ada.call("room:join", room="team", digest=True)
        start = joined["position"]
        for number in range(3):
            await ada.call("message:send", room="team", data=number)
        while joined["recovered"] is not False:
            joined = await ada.call("room:join", room="team", digest=True, recover=start, history=10)
        assert joined["position"]["offset"] == 3
        while joined["publications"]:
            joined = await ada.call("room:join", room="team", digest=True, history=10)
        mine = oracle.digest(start["epoch"], [(offset, payload("json", offset - 1)) for offset in (1, 2, 3)])
        assert joined["digest"] == {"since": 0, "value": mine}
        assert (await ada.call("room:join", room="team", recover=joined["position"]))["recovered"] is True


async def test_malformed_claims_are_refused(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        claim = {"room": "team", "epoch": "e", "offset": 1, "digest": 1}
        for bad in ({"digest": -1}, {"digest": 2**32}, {"offset": -1}, {"epoch": "e" * 65}, {"room": ""}):
            assert await ada.error("room:digest", rooms=[{**claim, **bad}]) == "invalid_data"
        assert await ada.error("room:digest", rooms=[claim] * 257) == "invalid_data"
        assert await ada.error("room:digest") == "invalid_data"


async def test_every_codec_has_its_own_bytes(app: App) -> None:
    """A payload as it was typed, with its spaces, is what JSON members get and hash; the others hash MessagePack."""
    async with dial(app.url, name="A", codec="json") as ada, dial(app.url, name="B", codec="msgpack") as bob:
        first = await ada.call("room:join", room="team", digest=True)
        second = await bob.call("room:join", room="team", digest=True)
        epoch = first["position"]["epoch"]
        text = '{"a":  [1,"\\u00e9é"]}'
        await ada.raw('{"event": "message:send", "data": {"room": "team", "data": ' + text + "}}")
        received = await bob.push("message:received")
        assert received["data"] == json.loads(text)
        for client, data in ((ada, text.encode()), (bob, msgspec.msgpack.encode(json.loads(text)))):
            claim = {"room": "team", "epoch": epoch, "offset": 1, "digest": oracle.item(epoch, 1, data)}
            assert await said(client, claim) == [claim]
        assert counted(app) == (2, 0)
        assert first["digest"] == second["digest"] == {"since": 0, "value": 0}
