"""Coming back in one round trip: auth, joins and what was missed in one frame; the old connection gives way."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serving import Serve

from .wsclient import Wire, dial


async def come_back(client: Wire, auth: dict[str, Any], **join: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answers, in order, to one frame."""
    await client.send({"event": "auth", "data": auth, "id": 1}, {"event": "room:join", "data": join, "id": 2})
    first = await client.take(lambda one: "id" in one)
    return first, await client.take(lambda one: "id" in one)


@pytest.mark.parametrize("grace", [0.0, 30.0])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_auth_and_joins_in_one_frame(serve: Serve, codec: str, grace: float) -> None:
    async with serve(presence={"grace_seconds": grace}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        async with dial(app.url, name="Bob") as old, dial(app.url, codec=codec) as new:
            renewed = await old.call("auth:refresh")
            await old.call("room:join", room="r")
            await old.call("presence:update", status="busy", metadata=5)
            position = await ada.call("message:send", room="r", data="seen")
            await ada.flushed()
            old.socket.transport.pause_reading()  # half-open: the server does not know
            await ada.call("message:send", room="r", data="missed")
            (session,) = app.node.sessions.of_user(old.user)
            since = {"offset": position["offset"], "epoch": position["epoch"]}
            auth = {"token": renewed["token"], "resume": session.connection.id}
            accepted, joined = await come_back(new, auth, room="r", recover=since)
            assert accepted["result"]["resumed"] is True and accepted["result"]["user"] == old.user
            assert app.node.arrivals.known == 3, "its socket is there until it is closed"
            assert joined["result"]["recovered"] is True
            assert [one["data"] for one in joined["result"]["publications"]] == ["missed"]
            own = next(one for one in joined["result"]["members"] if one["user"] == old.user)
            assert (own["status"], own["metadata"]) == ("busy", 5)
            assert joined["result"]["occupancy"] == {"users": 2, "connections": 2}
            assert [one["event"] for one in await ada.flushed()] == ["message:received"], "nobody is told"
            assert [one.connection.id for one in app.node.sessions.of_user(old.user)] == [
                accepted["result"]["connection"]
            ]
            old.socket.transport.resume_reading()
            assert await old.closed() == (4504, "resumed")


async def test_only_ones_own_connection_gives_way(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        (session,) = app.node.sessions.of_user(ada.user)
        for resume in (session.connection.id, "gone"):
            async with dial(app.url) as new:
                result = await new.call("auth", name="Eve", resume=resume)
                assert result["resumed"] is False
        for client in (ada, bob):
            await client.call("ping")


async def test_who_resumes_and_stays_away_has_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncline.server.rooms.presence._RESUME_SECONDS", 0.05)
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as old:
        token = (await old.call("auth:refresh"))["token"]
        for client in (ada, old):
            await client.call("room:join", room="r")
        (session,) = app.node.sessions.of_user(old.user)
        async with dial(app.url) as new:
            assert (await new.call("auth", token=token, resume=session.connection.id))["resumed"] is True
            assert (await ada.push("room:user_left"))["user"] == old.user


async def test_joins_behind_a_refused_token_are_refused_and_forgiven(serve: Serve) -> None:
    async with serve(limits={"bad_requests_per_minute": 3}) as app, dial(app.url) as client:
        joins = [{"event": "room:join", "data": {"room": f"r{n}"}, "id": n} for n in range(2, 12)]
        await client.send({"event": "auth", "data": {"token": "x"}, "id": 1}, *joins)
        codes = [(await client.take(lambda one: "id" in one))["error"]["code"] for _ in range(11)]
        assert codes == ["token_invalid", *["unauthenticated"] * 10]
        assert (await client.call("auth", name="Ada"))["name"] == "Ada"
