"""Joining, first and again, on a server that answers late, wrongly or not at all: one handle is told, waits longer each time, or ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from syncline.client import (
    Backoff,
    Client,
    ClientError,
    Document,
    NotSent,
    Options,
    RequestError,
    RequestTimeout,
    Undecodable,
)
from syncline.client import connect as connect_to
from tests.waiting import until

from .links import GateClock
from .peer import Peer, ScriptedServer, scripted

Request = dict[str, Any]
STATE: dict[str, Any] = {
    "document": "d",
    "type": "text",
    "generation": "g",
    "revision": 0,
    "role": "editor",
    "unit": "unicode",
    "client": "",
    "seq": 0,
    "undo": 0,
    "redo": 0,
    "text": "here",
    "operations": None,
    "collaborators": [],
}
ROOM: dict[str, Any] = {
    "room": "r",
    "role": "member",
    "position": {"offset": 0, "epoch": "e"},
    "recovered": True,
    "publications": [],
    "members": [],
}
AGAIN = STATE | {"text": None, "operations": []}


def answer(peer: Peer, request: Request, result: Any = None, code: str | None = None) -> None:
    name = {"document:join": "document:state", "room:join": "room:joined"}.get(request["event"], request["event"])
    what = {"result": result} if code is None else {"error": {"code": code, "message": "for the test"}}
    peer.send({"id": request["id"], "event": name, **what})


def push(peer: Peer, event: str, /, **data: Any) -> None:
    peer.send({"event": event, "data": data})


class Waits(GateClock):
    """Notes how long the client means to wait, and waits a moment."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    async def sleep(self, seconds: float) -> None:
        if seconds < 20:  # no heartbeat
            self.asked.append(seconds)
        await super().sleep(seconds)


GROWING = Backoff(initial=0.001, maximum=100.0, random=lambda: 1.0)


async def connect(server: ScriptedServer, clock: GateClock | None = None, **options: Any) -> Client:
    backoff = options.pop("backoff", GROWING)
    return await connect_to(server.url, clock=clock, options=Options(backoff=backoff, close_timeout=0.1, **options))


def hurry(client: Client) -> None:
    """From now on answers are not waited for long; the first ones, which a test needs, are."""
    object.__setattr__(client.connection.options, "request_timeout", 0.2)


def joins(server: ScriptedServer) -> list[Request]:
    return [request for request in server.requests if request["event"] in ("document:join", "room:join")]


def scripted_by(server: ScriptedServer, on_join: Callable[[Peer, Request, int], object]) -> None:
    def script(peer: Peer, request: Request) -> None:
        if request["event"] in ("document:join", "room:join"):
            on_join(peer, request, len(joins(server)))
        elif request["event"] in ("document:leave", "ping"):
            answer(peer, request, {})

    server.script = script


async def test_a_resync_before_the_first_answer_is_passed_over() -> None:
    """The handle was given out empty, and joined some time later."""
    async with scripted() as server:

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 1:
                push(peer, "document:resync", document="d", reason="of the place before")
                answer(peer, request, STATE)

        scripted_by(server, on_join)
        async with await connect(server) as client, asyncio.timeout(30):
            document = await client.document("d")
            assert document.joined and document.text == "here"
            await client.ping()
            assert len(joins(server)) == 1


async def test_a_resync_while_it_is_joined_again_asks_no_second_time() -> None:
    async with scripted() as server:

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 2:
                push(peer, "document:resync", document="d", reason="the same once more")
            answer(peer, request, STATE if number == 1 else AGAIN)
            if number == 1:
                push(peer, "document:resync", document="d", reason="")

        scripted_by(server, on_join)
        async with await connect(server) as client, asyncio.timeout(30):
            document = await client.document("d")
            await until(lambda: document.joined and len(joins(server)) == 2)
            await client.ping()
            assert document.joined and len(joins(server)) == 2


async def test_who_is_left_while_it_joins_is_not_given_out() -> None:
    async with scripted() as server:
        coming: list[Callable[[], None]] = []
        scripted_by(server, lambda peer, request, number: coming.append(lambda: answer(peer, request, STATE)))
        async with await connect(server) as client, asyncio.timeout(30):
            opening = asyncio.get_running_loop().create_task(client.document("d"))
            await until(lambda: coming)
            await client._documents["d"].leave(settle_seconds=0)
            coming[0]()
            with pytest.raises(ClientError, match="left"):
                await opening


def grows(waits: list[float], times: int) -> bool:
    return len(waits) >= times and all(later > sooner for sooner, later in pairwise(waits[:times]))


@pytest.mark.parametrize("code", ["unavailable", "internal", "limit_exceeded", "client_taken"])
async def test_joins_that_fail_again_and_again_wait_longer_each_time(code: str) -> None:
    async with scripted() as server:
        clock = Waits()
        scripted_by(
            server,
            lambda peer, request, number: (
                answer(peer, request, STATE) if number == 1 else answer(peer, request, code=code)
            ),
        )
        async with await connect(server, clock) as client, asyncio.timeout(30):
            document = await client.document("d")
            push(server.peers[0], "document:resync", document="d", reason="")
            await until(lambda: grows(clock.asked, 5))
            assert isinstance(document.trouble, RequestError) and document.trouble.code == code
            assert not document.joined and document.error is None


@pytest.mark.parametrize("code", ["not_joined", "document_unavailable", "resync", "internal"])
async def test_a_server_that_takes_no_edit_is_asked_less_and_less(code: str) -> None:
    """Each join went well, and each edit ended it: without a wait that was as fast as the network."""
    async with scripted() as server:
        clock = Waits()

        def script(peer: Peer, request: Request) -> None:
            if request["event"] == "document:join":
                answer(peer, request, STATE if "revision" not in request["data"] else AGAIN)
            elif request["event"] == "document:operation" and code == "resync":
                push(peer, "document:resync", document="d", reason="")
            elif request["event"] == "document:operation":
                data = request["data"]
                push(peer, "error", code=code, message="", event="document:operation", document="d", seq=data["seq"])

        server.script = script
        async with await connect(server, clock, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            document.insert(0, "typed")
            await until(lambda: grows(clock.asked, 5))
            assert not document.refused and document.text == "typedhere"


async def test_an_edit_that_was_refused_for_now_is_not_asked_after_before_it_has_gone_out_again() -> None:
    async with scripted() as server:
        clock = GateClock()

        def script(peer: Peer, request: Request) -> None:
            data = request["data"]
            if request["event"] == "document:join":
                answer(peer, request, STATE)
            elif request["event"] == "document:operation" and clock.gate.is_set():
                committed = {"client": document.client_id, "seq": data["seq"], "operation": data["operation"]}
                push(peer, "document:operation", document="d", revision=1, operations=[committed])
            elif request["event"] == "document:operation":
                why = {"code": "rate_limited", "message": "", "event": "document:operation", "retry_after": 100.0}
                push(peer, "error", document="d", seq=data["seq"], **why)

        server.script = script
        async with await connect(server, clock) as client, asyncio.timeout(30):
            document = await client.document("d")
            clock.gate.clear()
            document.insert(0, "kept")
            await until(lambda: document._limited[1] == 1)
            assert document._watch is None
            clock.gate.set()
            await document.settled()
            assert len(joins(server)) == 1 and document.text == "kepthere"


@pytest.mark.parametrize("told", [0, 1])
async def test_one_that_is_never_told_what_became_of_an_edit_under_its_old_name(told: int) -> None:
    """More is to come each time: nothing is sent, for it may have got in, and it is asked less and less."""
    async with scripted() as server:
        clock = Waits()
        more = AGAIN | {"revision": told, "operations": [{"client": "zoe", "seq": 1, "operation": ["?"]}] * told}

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 2:
                answer(peer, request, code="client_taken")
            else:
                answer(peer, request, STATE if number == 1 else more | {"more": True})

        scripted_by(server, on_join)
        async with await connect(server, clock, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            document.insert(0, "in doubt")
            await until(lambda: any(one["event"] == "document:operation" for one in server.requests))
            server.peers[0].drop()
            await until(lambda: grows(clock.asked, 6))
            edits = [one for one in server.requests if one["event"] == "document:operation"]
            assert len(edits) == 1 and "in doubt" in document.text


async def test_a_room_that_misses_something_again_and_again_is_joined_less_and_less() -> None:
    async with scripted() as server:
        clock = Waits()

        def on_join(peer: Peer, request: Request, number: int) -> None:
            answer(peer, request, ROOM)
            push(peer, "message:received", room="r", offset=9, epoch="e", user="bob", name="", time=1.0, data=1)

        scripted_by(server, on_join)
        async with await connect(server, clock) as client, asyncio.timeout(30):
            room = await client.join("r")
            await until(lambda: grows([wait for wait in clock.asked if wait in POWERS], 5))
            assert room.error is None


POWERS = {0.001 * 2.0**power for power in range(20)}


async def test_a_join_that_is_too_large_without_its_edits_is_told_and_over() -> None:
    """It was sent again and again, without a wait."""
    async with scripted() as server:

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 1:
                answer(peer, request, STATE)
            else:
                answer(peer, request, code="message_too_large")

        scripted_by(server, on_join)
        async with await connect(server) as client, asyncio.timeout(30):
            document = await client.document("d")
            document.insert(0, "typed")
            await document.sent()
            server.peers[0].drop()
            await until(lambda: document.error is not None)
            assert isinstance(document.error, RequestError) and document.error.code == "message_too_large"
            assert len(joins(server)) == 3 and [lost.content for lost in document.lost_work] == ["typedhere"]
            assert await client.ping() and client.reconnects == 1


async def test_attempts_end_a_handle_too() -> None:
    async with scripted() as server:
        scripted_by(
            server,
            lambda peer, request, number: (
                answer(peer, request, STATE) if number == 1 else answer(peer, request, code="unavailable")
            ),
        )
        backoff = Backoff(initial=0.001, maximum=0.002, attempts=3)
        async with await connect(server, backoff=backoff) as client, asyncio.timeout(30):
            document = await client.document("d")
            push(server.peers[0], "document:resync", document="d", reason="")
            await until(lambda: document.error is not None)
            assert isinstance(document.error, RequestError) and document.error.code == "unavailable"
            assert client.state == "open" and len(joins(server)) == 3


UNREADABLE: dict[str, dict[str, Any]] = {
    "no text": STATE | {"text": {"no": "text"}},
    "no operation": STATE | {"text": None, "operations": [{"operation": {"no": "operation"}}], "revision": 1},
    "no entry": STATE | {"text": None, "operations": ["no entry"], "revision": 1},
    "no collaborator": STATE | {"collaborators": ["nobody"]},
    "nothing": {},
}


@pytest.mark.parametrize("what", UNREADABLE)
async def test_a_content_that_cannot_be_read_costs_its_document_only(what: str) -> None:
    """The link was given up, and with it whatever else was on it, again and again."""
    async with scripted() as server:
        clock, well = Waits(), False

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if request["event"] == "room:join":
                answer(peer, request, ROOM)
            elif number == 2 or well:
                answer(peer, request, STATE)
            else:
                answer(peer, request, UNREADABLE[what])

        scripted_by(server, on_join)
        async with await connect(server, clock) as client, asyncio.timeout(30):
            room = await client.join("r")
            document = await client.document("d")
            push(server.peers[0], "document:resync", document="d", reason="")
            await until(lambda: grows([wait for wait in clock.asked if wait in POWERS], 4))
            assert isinstance(document.trouble, ClientError) and not document.joined
            assert room.joined and client.reconnects == 0 and len(server.peers) == 1
            well = True
            await until(lambda: document.joined)
            assert document.trouble is None and document.text == "here" and client.reconnects == 0


async def test_a_first_content_that_cannot_be_read_is_raised_and_forgotten() -> None:
    """It was raised at each later call as well."""
    async with scripted() as server:
        scripted_by(
            server,
            lambda peer, request, number: answer(peer, request, UNREADABLE["no text"] if number == 1 else STATE),
        )
        async with await connect(server) as client, asyncio.timeout(30):
            with pytest.raises(Undecodable):
                await client.document("d")
            await until(lambda: server.requests[-1]["event"] == "document:leave")
            assert (await client.document("d")).text == "here" and client.reconnects == 0


@pytest.mark.parametrize("event", ["document:operation", "document:cursor", "document:role", "document:ack", "error"])
async def test_a_push_that_is_none_costs_its_document_only(event: str) -> None:
    async with scripted() as server:
        scripted_by(server, lambda peer, request, number: answer(peer, request, STATE if number == 1 else AGAIN))
        async with await connect(server) as client, asyncio.timeout(30):
            document = await client.document("d")
            push(server.peers[0], event, document="d", event="document:operation")
            await until(lambda: len(joins(server)) == 2 and document.joined)
            assert client.reconnects == 0


@pytest.mark.parametrize("kind", ["room", "document"])
async def test_a_join_that_is_not_answered_is_undone_and_asked_for_again(kind: str) -> None:
    """The handle was out of it for as long as the connection lasted."""
    async with scripted() as server:
        left: list[Request] = []
        first: dict[str, Any] = STATE if kind == "document" else ROOM

        def script(peer: Peer, request: Request) -> None:
            if request["event"].endswith(":leave"):
                left.append(request)
                late = first | {"text": "late"} if kind == "document" else first
                answer(peer, joins(server)[1], late)  # after all: nobody is there to take it
                answer(peer, request, {})
            elif request["event"] == "ping" or (request["event"].endswith(":join") and len(joins(server)) != 2):
                answer(peer, request, first)

        server.script = script
        async with await connect(server) as client, asyncio.timeout(30):
            handle: Any = await (client.document("d") if kind == "document" else client.join("r"))
            hurry(client)
            peer = server.peers[0]
            if kind == "document":
                push(peer, "document:resync", document="d", reason="")
            else:
                push(peer, "room:behind", room="r")
            await until(lambda: isinstance(handle.trouble, RequestTimeout) and left)
            await until(lambda: handle.joined)
            assert len(joins(server)) >= 3 and handle.trouble is None and client.reconnects == 0
            if isinstance(handle, Document):
                assert handle.content == "here"


BOB = {"client": "b", "user": "bob", "name": "Bob", "role": "editor", "anchor": None, "head": None}


def typed(client: str, text: str) -> dict[str, Any]:
    return {"client": client, "seq": 1, "operation": [text]}


@pytest.mark.parametrize("holding", [False, True])
@pytest.mark.parametrize("first", [True, False], ids=["told before", "told after"])
async def test_a_cursor_is_placed_at_its_revision(first: bool, holding: bool) -> None:
    """Of who joins again and is told what it missed in parts. It was placed after what had moved it on the server."""
    async with scripted() as server:

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 1:
                answer(peer, request, STATE)
                push(peer, "document:resync", document="d", reason="")
                return
            part = {"operations": [typed("x", "1")], "revision": 1, "more": True, "collaborators": [BOB]}
            answer(peer, request, AGAIN | part)
            cursors = [{"client": "b", "anchor": 3, "head": 4}]
            if first:
                push(peer, "document:cursor", document="d", revision=2, cursors=cursors)
            rest = [typed("b", "2")] if not first else [typed("b", "2"), typed("x", "3")]
            push(peer, "document:operation", document="d", revision=1 + len(rest), operations=rest)
            if not first:
                push(peer, "document:cursor", document="d", revision=2, cursors=cursors)
                push(peer, "document:operation", document="d", revision=3, operations=[typed("x", "3")])
            someone = BOB | {"client": "c", "anchor": 5, "head": 5}
            push(peer, "document:collaborator_joined", document="d", **someone)

        scripted_by(server, on_join)
        async with await connect(server) as client, asyncio.timeout(30):
            document = await client.document("d")
            if holding:
                document.hold()
            await until(lambda: "c" in document.collaborators)
            document.release()
            assert document.content == "321here" and document.revision == 3
            assert dict(document.cursors) == {"b": (4, 5), "c": (5, 5)}


async def test_an_undo_that_is_not_answered_raises_and_its_fate_is_asked_for() -> None:
    """It waited for as long as the connection lasted, and so did every edit behind it."""
    async with scripted() as server:
        scripted_by(server, lambda peer, request, number: answer(peer, request, STATE if number == 1 else AGAIN))
        async with await connect(server, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            hurry(client)
            with pytest.raises(RequestTimeout) as raised:
                await document.undo()
            assert not isinstance(raised.value, NotSent)
            await until(lambda: len(joins(server)) >= 2)
            asked = [request for request in server.requests if request["event"] == "document:undo"]
            await until(lambda: len([one for one in server.requests if one["event"] == "document:undo"]) > len(asked))
            assert server.requests[-1]["data"]["seq"] == 1, (
                "the same once more: that is how it learns what became of it"
            )


@pytest.mark.parametrize("call", ["undo", "redo", "restore", "initialize"])
async def test_what_has_not_gone_out_in_time_never_does(call: str) -> None:
    async with scripted() as server:
        scripted_by(server, lambda peer, request, number: answer(peer, request, STATE))
        async with await connect(server, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            hurry(client)
            document.insert(0, "in flight")
            await document.sent()
            arguments = {"restore": (0,), "initialize": ("first",)}.get(call, ())
            with pytest.raises(NotSent):
                await getattr(document, call)(*arguments)
            given_up = asyncio.get_running_loop().create_task(getattr(document, call)(*arguments))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.wait([given_up])
            assert document._state.unsettled == 1


async def test_an_edit_that_is_not_answered_joins_again() -> None:
    async with scripted() as server:

        def script(peer: Peer, request: Request) -> None:
            if request["event"] == "document:join":
                again = "revision" in request["data"]
                answer(peer, request, AGAIN if again else STATE)
            elif request["event"] == "document:operation" and len(joins(server)) > 1:
                data = request["data"]
                entry = {
                    "client": joins(server)[0]["data"]["client"],
                    "seq": data["seq"],
                    "operation": data["operation"],
                }
                push(peer, "document:operation", document="d", revision=1, operations=[entry])

        server.script = script
        async with await connect(server, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            hurry(client)
            document.insert(0, "typed ")
            await document.settled()
            assert document.text == "typed here" and len(joins(server)) >= 2 and client.reconnects == 0


async def test_what_is_done_while_it_joins_again_is_not_carried_over_a_content_that_could_lose_it() -> None:
    """Of JSON: an edit within an element that others have moved and changed has no place in a difference."""
    state = STATE | {"type": "json", "unit": "utf-16", "text": None, "content": {"list": [{"t": "abc"}, 1]}}
    moved = {"list": [1, {"t": "xabc"}]}
    others = [
        {"client": "b", "seq": 1, "operation": [{"p": ["list", 0, "t"], "t": "text0", "o": [{"p": 0, "i": "x"}]}]},
        {"client": "b", "seq": 2, "operation": [{"p": ["list", 0], "lm": 1}]},
    ]
    async with scripted() as server:
        again: list[tuple[Peer, Request]] = []

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 1:
                answer(peer, request, state)
            else:
                again.append((peer, request))

        scripted_by(server, on_join)
        async with await connect(server, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d", type="json")
            push(server.peers[0], "document:resync", document="d", reason="")
            await until(lambda: len(again) == 1)
            assert again[0][1]["data"]["pending"] == []
            document.apply([{"p": ["list", 0, "t", 3], "si": "!"}])
            answer(*again[0], state | {"revision": 2, "content": moved, "pending": []})
            await until(lambda: len(again) == 2)
            assert "pending" not in again[1][1]["data"] and again[1][1]["data"]["revision"] == 0
            answer(*again[1], state | {"revision": 2, "content": None, "operations": others})
            await until(lambda: document.joined and document.revision == 2)
            assert document.content == {"list": [1, {"t": "xabc!"}]}
            push(server.peers[0], "document:resync", document="d", reason="")
            await until(lambda: len(again) == 3)
            assert len(again[2][1]["data"]["pending"]) == 1


async def test_an_edit_of_which_a_join_says_that_it_follows_is_asked_after_when_it_does_not() -> None:
    async with scripted() as server:

        def on_join(peer: Peer, request: Request, number: int) -> None:
            answer(peer, request, STATE if number == 1 else AGAIN | {"seq": 1, "more": True})

        scripted_by(server, on_join)
        async with await connect(server, settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d")
            hurry(client)
            document.insert(0, "mine")
            await until(lambda: len(joins(server)) > 4)


async def test_what_keeps_it_from_being_joined_is_told_also_when_more_was_done_than_a_join_had_told() -> None:
    async with scripted() as server:
        state = STATE | {"type": "json", "text": None, "content": {"list": []}}
        held: list[tuple[Peer, Request]] = []

        def on_join(peer: Peer, request: Request, number: int) -> None:
            if number == 1:
                answer(peer, request, state)
            else:
                held.append((peer, request))

        scripted_by(server, on_join)
        async with await connect(server, Waits(), settle_seconds=0) as client, asyncio.timeout(30):
            document = await client.document("d", type="json")
            for number in (1, 2):  # the second time nothing has come of it
                push(server.peers[0], "document:resync", document="d", reason="")
                await until(lambda number=number: len(held) == number)  # type: ignore[misc]
                document.apply([{"p": ["list", 0], "li": number}])
                answer(*held[-1], state | {"pending": []})
            await until(lambda: len(held) == 3)
            assert document.trouble is not None and not document.joined
