"""Rooms through the Python client against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from picows import WSMsgType

from syncline.client import (
    Backoff,
    Closed,
    ConnectionLost,
    Disconnected,
    Member,
    Occupancy,
    Options,
    Position,
    Publication,
    Removed,
    RequestError,
    connect,
)
from syncline.server.app import App
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, Open, cut, lose
from .peer import Peer, scripted


async def test_what_one_says_all_hear(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada", codec=codec), await open_client(name="Bob", codec="json")
    room, other = await ada.join("team"), await bob.join("team")
    heard = other.messages()
    first = await room.send({"text": "hello", "n": [1, 2.5, None, True]})
    second = await room.send("🙂")
    got = [await anext(heard), await anext(heard)]
    assert [publication.data for publication in got] == [{"text": "hello", "n": [1, 2.5, None, True]}, "🙂"]
    assert [publication.position for publication in got] == [first, second]
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch == second.epoch
    assert got[0].user == ada.user
    assert got[0].name == "Ada"
    assert room.position == second, "the sender hears itself before its answer"


async def test_history_and_callbacks(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    room = await ada.join("team")
    for number in range(5):
        await room.send(number)
    bob = await open_client(name="Bob")
    late = await bob.join("team", history=3)
    assert [publication.data for publication in late.history] == [2, 3, 4]
    heard: list[Publication] = []
    stop = late.on_message(heard.append)

    def bad(_: Publication) -> None:
        raise ValueError("a listener's own fault")

    late.on_message(bad)
    await room.send("on")
    await late.send("and on")
    stop()
    stop()
    await late.send("silent")
    assert [publication.data for publication in heard] == ["on", "and on"]


async def test_many_sends_at_once_share_frames_and_keep_their_order(open_client: Open, codec: str) -> None:
    ada = await open_client(codec=codec)
    room = await ada.join("team")
    stream = room.messages()
    positions = await asyncio.gather(*(room.send(number) for number in range(300)))
    assert [position.offset for position in positions] == list(range(1, 301))
    assert [(await anext(stream)).data for _ in range(300)] == list(range(300))


@pytest.mark.parametrize("pending", [4, 1024])
async def test_sends_keep_their_order_over_a_lost_connection(open_client: Open, pending: int) -> None:
    """Also those beyond ``max_pending``, those made while away, and those made in the moment in which it is back."""
    clock = GateClock()
    options = Options(max_pending=pending, backoff=QUICK, clock=clock)
    ada, bob = await open_client(options=options), await open_client()
    room = await ada.join("team")
    watched = (await bob.join("team")).messages()
    sending = [asyncio.ensure_future(room.send(number)) for number in range(20)]

    def back(state: str) -> None:
        if state == "open":
            sending.extend(asyncio.ensure_future(room.send(number)) for number in range(40, 50))

    ada.on_state(back)
    got = [(await anext(watched)).data]
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    sending.extend(asyncio.ensure_future(room.send(number)) for number in range(20, 40))
    await asyncio.sleep(0)
    clock.gate.set()
    got += [(await anext(watched)).data for _ in range(49)]
    assert got == list(range(50))
    await asyncio.gather(*sending)


async def test_a_large_room_is_counted(tmp_path: Path, codec: str) -> None:
    limits = {"occupancy_users": 3, "list_limit": 2, "sample_users": 2, "occupancy_seconds": 0.05}
    async with serving(tmp_path, presence=limits) as app, contextlib.AsyncExitStack() as stack:
        ada = await stack.enter_async_context(await connect(ws_url(app), codec=codec))
        room = await ada.join("team")
        told: list[Occupancy] = []
        room.on_occupancy(told.append)
        others = [await stack.enter_async_context(await connect(ws_url(app))) for _ in range(4)]
        handles = [await other.join("team") for other in others]
        await until(lambda: room.occupancy == Occupancy(5, 5))
        assert handles[3].occupancy == (5, 5) and len(handles[3].members) == 2
        for handle in handles[:3]:
            await handle.leave()
        await until(lambda: room.occupancy == Occupancy(2, 2))
        assert set(room.members) == {ada.user, others[3].user}, "no longer large: everybody is listed"
        assert told[-1] == Occupancy(2, 2)
        await handles[3].leave()
        await until(lambda: set(room.members) == {ada.user})
        assert room.occupancy.users == 1


async def test_members_notices_presence(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    room = await ada.join("team")
    seen: list[tuple[str, str, str]] = []
    room.on_members(lambda kind, member: seen.append((kind, member.user, member.status)))
    other = await bob.join("team")
    assert set(other.members) == {ada.user, bob.user}
    await bob.set_presence("busy", {"mood": "deep work"})
    await until(lambda: room.members.get(bob.user) and room.members[bob.user].status == "busy")
    assert room.members[bob.user].metadata == {"mood": "deep work"}
    await other.leave()
    await until(lambda: bob.user not in room.members)
    assert seen[0] == ("joined", bob.user, "online")
    assert ("presence", bob.user, "busy") in seen
    assert seen[-1][:2] == ("left", bob.user)
    roles = {member.user: member.role for member in await room.all_members()}
    assert roles == {ada.user: "owner", bob.user: "member"}
    for wrong in ("bzzy", "offline", None):
        for handle in (ada, room):
            with pytest.raises(ValueError, match="status: online, away, busy, not"):
                await handle.set_presence(wrong)  # type: ignore[arg-type]


async def test_who_came_and_left_while_one_was_away(open_client: Open) -> None:
    clock = GateClock()
    ada, bob, eve = await open_client(clock=clock), await open_client(), await open_client()
    room, leaving, changing = await ada.join("team"), await bob.join("team"), await eve.join("team")
    await until(lambda: len(room.members) == 3)
    told: list[tuple[str, str, str]] = []
    room.on_members(lambda kind, member: told.append((kind, member.user, member.status)))
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    await leaving.leave()
    await eve.set_presence("busy")
    coming = await open_client()
    await coming.join("team")
    assert told == []
    clock.gate.set()
    await until(lambda: coming.user in room.members)
    assert sorted(told) == sorted(
        [("left", bob.user, "online"), ("presence", eve.user, "busy"), ("joined", coming.user, "online")]
    )
    await until(lambda: ada.user in changing.members and changing.members[ada.user].status == "online")


async def test_presence_is_said_again_where_it_was_forgotten(tmp_path: Path) -> None:
    async with serving(tmp_path, presence={"grace_seconds": 0.0}) as app, contextlib.AsyncExitStack() as stack:
        ada = await stack.enter_async_context(await connect(ws_url(app), backoff=QUICK))
        bob = await stack.enter_async_context(await connect(ws_url(app)))
        rooms = [await ada.join("team"), await ada.join("other")]
        watched = [await bob.join("team"), await bob.join("other")]
        await ada.set_presence("busy", {"call": 1})
        await rooms[1].set_presence("away")

        def seen() -> list[tuple[str, Any]]:
            members = [room.members[ada.user] for room in watched if ada.user in room.members]
            return [(member.status, member.metadata) for member in members]

        said = [("busy", {"call": 1}), ("away", None)]
        await until(lambda: seen() == said)
        told: list[str] = []
        watched[0].on_members(lambda kind, member: told.append(kind))
        ada.connection.identity.pop("connection")  # it cannot resume: as after a restart
        cut(ada)
        await until(lambda: ada.reconnects == 1 and "left" in told)
        await until(lambda: seen() == said)


async def test_who_comes_is_not_as_who_left() -> None:
    """A slow reader may be told of the coming only (docs/protocol.md, "Slow readers")."""

    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        member = {"user": "bob", "name": "Bob", "role": "owner", "status": "busy", "metadata": {"call": 1}}
        joined = {
            "role": "member",
            "position": {"offset": 0, "epoch": "e"},
            "recovered": None,
            "publications": [],
            "members": [member],
        }
        pushed = {"event": "room:user_joined", "data": {"room": "team", "user": "bob", "name": "Bobby"}}
        peer.send({"id": envelope["id"], "event": "room:joined", "result": joined}, pushed)

    async with scripted() as server:
        server.script = script
        async with await connect(server.url, backoff=QUICK) as client:
            room = await client.join("team")
            await until(lambda: room.members["bob"].name == "Bobby")
            assert room.members["bob"] == Member("bob", "Bobby", "owner", "online", None, None)


async def test_a_join_that_cannot_be_decoded_is_asked_for_again() -> None:
    """Something in it that the decoder here does not hold; the link stays, and the room does not stay silent."""
    joins = 0

    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        nonlocal joins
        joins += 1
        member = {"user": "bob", "name": "Bob", "role": "owner", "status": "busy", "metadata": float("inf")}
        joined = {
            "role": "member",
            "position": {"offset": 0, "epoch": "e"},
            "recovered": None,
            "publications": [],
            "members": [member] if joins == 2 else [],
        }
        text = json.dumps({"id": envelope["id"], "event": "room:joined", "result": joined}).replace("Infinity", "1e999")
        peer.transport.send(WSMsgType.TEXT, text.encode())
        if joins == 1:
            peer.send({"event": "room:behind", "data": {"room": "team", "position": {"offset": 0, "epoch": "e"}}})
        elif joins == 3:
            data = {
                "room": "team",
                "offset": 1,
                "epoch": "e",
                "user": "bob",
                "name": "Bob",
                "time": 0.0,
                "data": "hello",
            }
            peer.send({"event": "message:received", "data": data})

    async with scripted() as server:
        server.script = script
        async with await connect(server.url, backoff=QUICK) as client:
            states: list[str] = []
            client.on_state(states.append)
            room = await client.join("team")
            heard: list[Any] = []
            room.on_message(lambda publication: heard.append(publication.data))
            await until(lambda: heard == ["hello"])
            assert joins == 3 and states == [] and len(server.peers) == 1


async def test_custom_events(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    room, other = await ada.join("team"), await bob.join("team")
    got = asyncio.get_running_loop().create_future()
    other.on_event(got.set_result)
    await room.send_event("confetti", {"x": 3})
    event = await got
    assert (event.name, event.user, event.data) == ("confetti", ada.user, {"x": 3})
    assert room.position.offset == 0


async def test_errors_carry_the_code(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    await ada.create_room("vault", password="s3cret", default_role="reader")
    with pytest.raises(RequestError) as error:
        await ada.create_room("vault")
    assert error.value.code == "room_exists"
    with pytest.raises(RequestError) as error:
        await bob.join("vault")
    assert error.value.code == "password_required"
    with pytest.raises(RequestError) as error:
        await bob.join("vault", password="wrong")
    assert error.value.code == "password_wrong"
    room = await bob.join("vault", password="s3cret")
    assert room.role == "reader"
    with pytest.raises(RequestError) as error:
        await room.send("no")
    assert error.value.code == "forbidden"
    owner = await ada.join("vault")
    await owner.grant(bob.user, "member")
    assert (await room.send("yes")).offset == 1


async def test_a_full_stream_drops_the_oldest_and_counts(open_client: Open) -> None:
    ada = await open_client()
    room = await ada.join("team")
    async with room.messages(limit=3) as stream:
        for number in range(8):
            await room.send(number)
        assert stream.dropped == 5
        assert [(await anext(stream)).data for _ in range(3)] == [5, 6, 7]
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_leaving_ends_iterations_and_the_handle(open_client: Open) -> None:
    ada = await open_client()
    room = await ada.join("team")
    stream = room.messages()
    await room.send("last")
    await room.leave()
    await room.leave()
    assert [publication.data async for publication in stream] == ["last"]
    with pytest.raises(Closed):
        await room.send("gone")
    assert await ada.join("team") is not room


async def test_coming_back_is_one_frame_and_one_round_trip(app: App, open_client: Open, codec: str) -> None:
    client, other = await open_client(name="Ada", codec=codec), await open_client(name="Bob")
    rooms = [await client.join(f"room {number}") for number in range(5)]
    notes = await client.document("notes")
    await (await other.join("room 0")).send("heard")
    counters = app.node.counters
    await until(lambda: rooms[0].position.offset == 1)
    link = client.connection._link
    assert link is not None
    before, received = client.identity["connection"], counters.frames_in
    client.connection.on_lost(link, 1006, "half-open: the server does not know")
    await until(lambda: client.reconnects == 1 and all(room.recovered for room in rooms))
    await notes.settled()
    assert client.identity["resumed"] is True and client.identity["connection"] != before
    assert counters.frames_in == received + 1
    assert before not in app.node.sessions.connections
    link.abort()


async def test_messages_are_sent_again_in_order_and_published_once(app: App, open_client: Open, codec: str) -> None:
    clock = GateClock()
    ada, bob = await open_client(name="Ada", codec=codec, clock=clock), await open_client(name="Bob")
    room, other = await ada.join("team"), await bob.join("team")
    heard: list[Any] = []
    other.on_message(lambda publication: heard.append(publication.data))
    clock.gate.clear()
    answered = [asyncio.create_task(room.send(number)) for number in range(3)]
    taken, ada.connection._codec.decode = ada.connection._codec.decode, lambda _: iter(())  # type: ignore[method-assign]
    await until(lambda: heard == [0, 1, 2])  # published; the answers are lost
    cut(ada)
    await until(lambda: ada.state == "waiting")
    ada.connection._codec.decode = taken  # type: ignore[method-assign]
    away = [asyncio.create_task(room.send(number)) for number in range(3, 6)]
    clock.gate.set()
    positions = await asyncio.gather(*answered, *away)
    assert [position.offset for position in positions] == [1, 2, 3, 4, 5, 6]
    await until(lambda: heard == [0, 1, 2, 3, 4, 5])
    assert app.node.counters.publish_duplicates == 3


async def test_without_retry_a_lost_connection_is_told(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    room = await ada.join("team")
    lose(ada)
    sending = asyncio.create_task(room.send(1, retry=False))
    await until(lambda: any(asked.turn and asked.turn.sent for asked in ada.connection._answers.values()))
    cut(ada)
    with pytest.raises(ConnectionLost):
        await sending
    assert (await room.send(2)).offset == 1


async def test_without_echo_the_position_moves_on_and_the_digest_with_it(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada", codec=codec), await open_client(name="Bob")
    room, other = await ada.join("team"), await bob.join("team")
    heard: list[Any] = []
    proofs: list[bool] = []
    room.on_message(lambda publication: heard.append(publication.data))
    room.on_proof(lambda complete, _: proofs.append(complete))
    await other.send("one")
    assert (await room.send({"mine": [1.5, "é"]}, echo=False)).offset == 2
    await other.send("three")
    await until(lambda: room.position.offset == 3)
    assert heard == ["one", "three"]
    ada._heartbeat.ask([room])
    await until(lambda: proofs)
    assert proofs == [True] and room.proof.proven == room.position


async def test_events_for_some(open_client: Open) -> None:
    ada, bob, eve = await open_client(name="Ada"), await open_client(name="Bob"), await open_client(name="Eve")
    rooms = [await client.join("team") for client in (ada, bob, eve)]
    heard: list[tuple[int, str]] = []
    for number, room in enumerate(rooms):
        room.on_event(lambda event, number=number: heard.append((number, event.name)))  # type: ignore[misc]
    await rooms[0].send_event("a", users=[bob.user])
    await rooms[0].send_event("b", connections=[str(eve.identity["connection"])])
    for nobody in ({"users": []}, {"connections": []}, {"users": [], "connections": []}):
        with pytest.raises(RequestError, match="names nobody"):  # and never to all
            await rooms[0].send_event("none", **nobody)
    with pytest.raises(TypeError, match="a list of ids"):
        await rooms[0].send_event("none", users=bob.user)
    await rooms[0].send_event("c")
    await until(lambda: len(heard) == 5)
    assert sorted(heard) == [(0, "c"), (1, "a"), (1, "c"), (2, "b"), (2, "c")]


async def test_what_was_missed_comes_after_the_reconnect(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(), await open_client(clock=clock)
    room, other = await ada.join("team"), await bob.join("team", password="unused")
    heard: list[int] = []
    other.on_message(lambda publication: heard.append(publication.data))
    await room.send(0)
    await until(lambda: heard == [0])
    clock.gate.clear()
    cut(bob)
    await until(lambda: bob.state == "waiting")
    for number in range(1, 30):
        await room.send(number)
    clock.gate.set()
    await until(lambda: len(heard) >= 30)
    last = await room.send(30)
    await until(lambda: len(heard) >= 31)
    assert heard == list(range(31))
    assert other.recovered is True
    assert other.position == last
    assert bob.reconnects == 1


async def test_what_cannot_be_recovered_is_told(tmp_path: Path) -> None:
    clock = GateClock()
    async with (
        serving(tmp_path, rooms={"history_size": 4}) as app,
        await connect(ws_url(app)) as ada,
        await connect(ws_url(app), clock=clock, backoff=Backoff(0.01, 0.05)) as bob,
    ):
        room, other = await ada.join("team"), await bob.join("team", history=2)
        heard: list[int] = []
        gaps: list[tuple[Position, Position]] = []
        other.on_message(lambda publication: heard.append(publication.data))
        other.on_gap(lambda had, now: gaps.append((had, now)))
        await room.send(1)
        await until(lambda: heard == [1])
        clock.gate.clear()
        cut(bob)
        await until(lambda: bob.state == "waiting")
        for number in range(2, 12):
            await room.send(number)
        clock.gate.set()
        await until(lambda: 11 in heard)
        await room.send(12)
        await until(lambda: 12 in heard)
        assert heard == [1, 10, 11, 12]
        assert other.recovered is False
        [(had, now)] = gaps
        assert (had.offset, now.offset) == (1, 9)


async def test_a_room_that_is_closed_to_one_meanwhile(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(), await open_client(clock=clock)
    await ada.create_room("club", default_role=None)
    room = await ada.join("club")
    await room.grant(bob.user, "member")
    other = await bob.join("club")
    stream = other.messages()
    clock.gate.clear()
    cut(bob)
    await until(lambda: bob.state == "waiting")
    await room.grant(bob.user, None)
    clock.gate.set()
    assert [publication async for publication in stream] == []
    assert isinstance(stream.error, Removed) and stream.error.code == "forbidden"
    assert other.error is stream.error and not other.joined and not other.writable


async def test_closing_the_client_ends_everything(app: App) -> None:
    client = await connect(ws_url(app))
    room = await client.join("team")
    stream = room.messages()
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    await client.close()
    await client.close()
    with pytest.raises(Closed):
        await waiting
    with pytest.raises(Closed):
        await client.join("team")
    assert client.state == "closed"
    await until(lambda: not app.node.sessions.connections)


async def test_a_server_that_drains(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        client = await connect(ws_url(app), backoff=Backoff(0.01, 0.02, attempts=3))
        room = await client.join("team")
        stream = room.messages()
    with pytest.raises(Disconnected):
        await anext(stream)
    await client.close()


@pytest.mark.parametrize("room_class", ["latest", "volatile"])
async def test_holes_are_none_where_slow_readers_do_not_get_all(room_class: str) -> None:
    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        result = {
            "room": "ticker",
            "role": "member",
            "class": room_class,
            "position": {"offset": 1, "epoch": "e"},
            "recovered": None,
            "publications": [],
            "members": [],
        }
        peer.send({"id": envelope["id"], "event": "room:joined", "result": result})

    async with scripted() as server:
        server.script = script
        async with await connect(server.url, backoff=QUICK) as client:
            room = await client.join("ticker")
            assert room.room_class == room_class
            heard: list[int] = []
            room.on_message(lambda publication: heard.append(publication.offset))
            for offset in (2, 5, 5, 4, 9):
                data = {
                    "room": "ticker",
                    "offset": offset,
                    "epoch": "e",
                    "user": "u",
                    "name": "U",
                    "time": 1.0,
                    "data": 0,
                }
                server.peers[0].send({"event": "message:received", "data": data})
            await until(lambda: room.position.offset == 9)
            assert heard == [2, 5, 9]
            assert sum(one["event"] == "room:join" for one in server.requests) == 1


async def test_repetitions_are_passed_over_and_holes_are_filled() -> None:
    """What the real server never does: the client would not notice a fault there otherwise."""

    def publication(offset: int) -> dict[str, Any]:
        return {
            "room": "team",
            "offset": offset,
            "epoch": "e",
            "user": "bob",
            "name": "Bob",
            "time": 1.0,
            "data": offset,
        }

    def script(peer: Peer, envelope: dict[str, Any]) -> None:
        recover = envelope["data"].get("recover")
        missed = [] if recover is None else [publication(offset) for offset in range(recover["offset"] + 1, 6)]
        result = {
            "room": "team",
            "role": "member",
            "position": {"offset": 1 if recover is None else 5, "epoch": "e"},
            "recovered": None if recover is None else True,
            "publications": missed,
            "members": [],
        }
        peer.send({"id": envelope["id"], "event": "room:joined", "result": result})

    async with scripted() as server:
        server.script = script
        async with await connect(server.url, backoff=QUICK) as client:
            room = await client.join("team")
            heard: list[int] = []
            room.on_message(lambda publication: heard.append(publication.data))
            for offset in (1, 2, 2, 1, 3, 5):
                server.peers[0].send({"event": "message:received", "data": publication(offset)})
            await until(lambda: room.position.offset == 5)
            server.peers[0].send({"event": "message:received", "data": publication(6)})
            await until(lambda: room.position.offset == 6)
            assert heard == [2, 3, 4, 5, 6]
            assert client.reconnects == 0


async def test_nothing_is_missed_between_a_join_and_the_first_listener(open_client: Open) -> None:
    """However long that takes: in a ``gather`` the slowest join decides. What is more than a bound is dropped, oldest first."""
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", options=Options(early_messages=8))
    room = await ada.join("team")
    for number in range(3):
        await room.send(number)
    theirs = await bob.join("team", history=2)
    assert [one.data for one in theirs.history] == [1, 2]
    for number in range(3, 6):
        await room.send(number)
    await until(lambda: theirs.position == room.position)
    assert [one.data for one in theirs.history] == [1, 2, 3, 4, 5]
    cut(bob)
    for number in range(6, 12):
        await room.send(number)
    await until(lambda: bob.reconnects == 1 and theirs.position.offset == 12)
    assert [one.data for one in theirs.history] == [*range(2, 12)], "eight after the two that the join brought"
    assert theirs.history_dropped == 1
    async with theirs.messages() as messages:
        await room.send(12)
        assert (await anext(messages)).data == 12
        assert theirs.history[-1].data == 11
    heard: list[Any] = []
    other = await ada.join("other")
    other.on_message(heard.append)
    await other.send(1)
    await until(lambda: len(heard) == 1)
    assert not other.history
    for many in (0, 3):
        none = await (await open_client(options=Options(early_messages=0))).join("team", history=many)
        await room.send("x")
        await until(lambda none=none: none.position == room.position)
        assert (len(none.history), none.history_dropped) == (many, 1)
    walker = await bob.join("slow", history=2)
    other = await ada.join("slow")
    seen: list[Any] = []
    await other.send(0)
    await until(lambda: walker.position == other.position)
    for number, one in enumerate(walker.history, 1):  # who walks through it while more comes sees that, too
        seen.append(one.data)
        if number < 6:
            await other.send(number)
            await until(lambda: walker.position == other.position)
    assert seen == [*range(6)]
