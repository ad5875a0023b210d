"""Slow and hostile sockets against the real server: what waits is bounded, others lose nothing, contents are whole.

Rung by rung as docs/protocol.md, "Slow readers", has it. The readers are bare sockets that do not read.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from syncline.client import connect
from syncline.server.app import App
from tests.serving import Serve
from tests.waiting import until

from ..rawclient import PING, PONG, TEXT, RawClient, frame
from ..wsclient import dial

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])  # what serves; the queue itself is tested without a loop

#: The kernel's own buffers take some megabytes before a socket counts as slow: so much is published to be sure.
ENOUGH = 12_000_000


@pytest.fixture
def backend() -> str:
    return "memory"


def text(number: int, size: int) -> str:
    return f"{number}:".ljust(size, "x")


async def test_who_fell_behind_recovers_everything(serve: Serve) -> None:
    """Contents of all readers are compared: the quick one gets all live, the slow one part of it from the history."""
    size, count = 20_000, ENOUGH // 20_000
    rooms = {"history_bytes": 2 * ENOUGH, "history_size": 10_000}
    async with serve(rooms=rooms) as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        slow = await asyncio.to_thread(RawClient, app.port, receive_bytes=8192)
        with slow:
            await asyncio.to_thread(slow.login, "Eve", "r")
            for client in (ada, bob):
                await client.call("room:join", room="r")
            for number in range(1, count + 1):
                sent = await ada.call("message:send", room="r", data=text(number, size))
                assert sent["offset"] == number
            for number in range(1, count + 1):
                got = await bob.push("message:received")
                assert (got["offset"], got["data"]) == (number, text(number, size))
            [connection] = [one.connection for one in app.node.sessions.connections.values() if one.name == "Eve"]
            assert app.node.flusher.behind == 1 and connection.behind_in("r")
            assert connection.backlog <= app.node.config.limits.queue_high_bytes + 2 * size

            def wake() -> list[tuple[int, str]]:
                heard: list[tuple[int, str]] = []
                told = None
                for envelope in slow.envelopes():
                    if envelope["event"] == "message:received" and told is None:
                        heard.append((envelope["data"]["offset"], envelope["data"]["data"]))
                    elif envelope["event"] == "room:behind":
                        assert told is None
                        told = envelope["data"]["position"]
                        assert told["offset"] == heard[-1][0]
                        # The kernel held little of it (limits.unsent_bytes): by itself it takes some megabytes.
                        assert told["offset"] * size < 2_000_000
                        slow.send("room:join", id=77, room="r", recover=told)
                    elif envelope.get("id") == 77:
                        result = envelope["result"]
                        assert result["recovered"] is True
                        return heard + [(one["offset"], one["data"]) for one in result["publications"]]
                raise AssertionError("closed")

            heard = await asyncio.to_thread(wake)
            assert heard == [(number, text(number, size)) for number in range(1, count + 1)]
            assert not connection.behind_in("r") and app.node.flusher.slow_consumers == 0
            await ada.call("message:send", room="r", data="live again")
            live = await asyncio.to_thread(lambda: next(slow.envelopes()))
            assert live["data"]["data"] == "live again" and live["data"]["offset"] == count + 1


async def test_the_client_recovers_by_itself(serve: Serve) -> None:
    size, count = 20_000, ENOUGH // 20_000
    rooms = {"history_bytes": 2 * ENOUGH, "history_size": 10_000}
    async with serve(rooms=rooms, limits={"ping_seconds": 1.0}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        async with await connect(app.url.replace("http", "ws") + "/ws", name="Bob") as client:
            room = await client.join("r")
            heard: list[tuple[int, Any]] = []
            room.on_message(lambda one: heard.append((one.offset, one.data)))
            link = client.connection._link
            assert link is not None and link._transport is not None
            link._transport.underlying_transport.pause_reading()
            for number in range(1, count + 1):
                await ada.call("message:send", room="r", data=text(number, size))
            assert app.node.flusher.behind == 1
            link._transport.underlying_transport.resume_reading()
            await until(lambda: len(heard) >= count)
            assert heard == [(number, text(number, size)) for number in range(1, count + 1)]
            assert room.recovered is True and client.reconnects == 0
            # The digests agree, and nothing is counted as lost: what was left out was told to be.
            await until(lambda: room.proof.proven is not None and room.proof.proven.offset == count)
            assert room.proof.failures == 0 and not any(app.node.counters.deliveries_unproven.values())
            assert sum(app.node.counters.deliveries_proven.values()) == count


async def test_falling_behind_again_and_again_while_publications_pour_in(serve: Serve) -> None:
    """What is recovered joins with what comes live, each time, without gap or duplicate."""
    size = 20_000
    rooms = {"history_bytes": 5 * ENOUGH, "history_size": 10_000}
    async with serve(rooms=rooms) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=131_072) as slow:
            await asyncio.to_thread(slow.login, "Eve", "r")
            await ada.call("room:join", room="r")
            awake = threading.Event()
            recovered: list[int] = []

            def read() -> list[int]:
                """As the clients do it: pushes of the room are passed over while it is being joined again. Then it sleeps."""
                heard: list[int] = []
                joining = False
                awake.wait(30)
                for envelope in slow.envelopes():
                    data = envelope.get("data", {})
                    if envelope["event"] == "message:received" and not joining:
                        heard.append(data["offset"])
                        if data["data"] == "end":
                            return heard
                        assert data["data"] == text(data["offset"], size)
                    elif envelope["event"] == "room:behind" and not joining:
                        assert data["position"]["offset"] == heard[-1]
                        joining = True
                        slow.send("room:join", id=7, room="r", recover=data["position"])
                    elif envelope.get("id") == 7:
                        joining = False
                        assert envelope["result"]["recovered"] is True
                        heard += [one["offset"] for one in envelope["result"]["publications"]]
                        if len(recovered) < 2:
                            awake.clear()
                        recovered.append(heard[-1])
                        awake.wait(30)
                raise AssertionError("closed")

            number = 0

            async def publish() -> None:
                nonlocal number
                number += 1
                assert number * size < 4 * ENOUGH
                await ada.call("message:send", room="r", data=text(number, size))

            reading = asyncio.create_task(asyncio.to_thread(read))
            for times in range(3):
                while app.node.flusher.behind <= times:
                    await publish()
                awake.set()
                while len(recovered) <= times and not reading.done():
                    await publish()
                    await asyncio.sleep(0.005)
            awake.set()
            await ada.call("message:send", room="r", data="end")
            assert await reading == list(range(1, number + 2))
            assert len(recovered) >= 3 and app.node.flusher.slow_consumers == 0


async def test_a_latest_room_gives_the_newest_of_each_key(serve: Serve) -> None:
    size, count = 20_000, ENOUGH // 20_000
    async with serve(rooms={"latest": ["ticker:*"]}) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as slow:
            await asyncio.to_thread(slow.login, "Eve", "ticker:1")
            joined = await ada.call("room:join", room="ticker:1")
            assert joined["class"] == "latest"
            newest = {}
            for number in range(1, count + 1):
                key = f"k{number % 5}"
                newest[key] = number
                await ada.call("message:send", room="ticker:1", data=text(number, size), key=key)
            flusher = app.node.flusher
            assert flusher.conflated > count // 10 and flusher.behind == flusher.slow_consumers == 0
            await ada.call("message:send", room="ticker:1", data="end", key="end")

            def wake() -> list[tuple[int, str]]:
                heard = []
                for envelope in slow.envelopes():
                    if envelope["event"] == "message:received":
                        heard.append((envelope["data"]["offset"], envelope["data"]["data"]))
                        if heard[-1][1] == "end":
                            break
                return heard

            heard = await asyncio.to_thread(wake)
            offsets = [offset for offset, _ in heard]
            assert offsets == sorted(set(offsets)) and len(offsets) < count
            assert all(data == text(offset, size) for offset, data in heard[:-1])
            assert offsets[-6:] == [*sorted(newest.values()), count + 1]


async def test_a_volatile_room_and_custom_events_drop(serve: Serve) -> None:
    size, count = 20_000, ENOUGH // 20_000
    async with serve(rooms={"volatile": ["game:*"]}) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as slow:
            await asyncio.to_thread(slow.login, "Eve", "game:1", "plain")
            for room in ("game:1", "plain"):
                await ada.call("room:join", room=room)
            for number in range(1, count + 1):
                await ada.call("message:send", room="game:1", data=text(number, size))
                await ada.call("event:custom", room="plain", name="n", data=number)
            flusher = app.node.flusher
            assert flusher.dropped > count // 10 and flusher.behind == flusher.slow_consumers == 0
            assert flusher.take_queue_bytes_max() <= app.node.config.limits.queue_low_bytes + 2 * size

            def wake() -> list[dict[str, Any]]:
                slow.send("ping", id=5)
                heard = []
                for envelope in slow.envelopes():
                    if envelope.get("id") == 5:
                        break
                    heard.append(envelope)
                return heard

            heard = await asyncio.to_thread(wake)
            messages = [one["data"]["offset"] for one in heard if one["event"] == "message:received"]
            events = [one["data"]["data"] for one in heard if one["event"] == "event:custom"]
            for numbers in (messages, events):
                assert numbers == sorted(set(numbers)) and 0 < len(numbers) < count
            await ada.call("message:send", room="game:1", data="live again")
            assert (await asyncio.to_thread(lambda: next(slow.envelopes())))["data"]["data"] == "live again"


async def test_documents_catch_up_from_their_history(serve: Serve) -> None:
    """Operations are not dropped: who reads too slowly is given them, in order, when it reads again."""
    count, size = 400, 40_000
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as slow:
            await asyncio.to_thread(slow.login, "Eve")
            await ada.call("document:join", document="d", client="a")
            await bob.call("document:join", document="d", client="b")
            await asyncio.to_thread(lambda: slow.call("document:join", document="d", client="e"))
            for seq in range(1, count + 1):
                # Each replaces the text of the one before.
                operation = [text(seq, size)] + ([-size] if seq > 1 else [])
                await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=operation)
                await ada.send(
                    {"event": "document:cursor", "data": {"document": "d", "revision": seq, "anchor": seq, "head": seq}}
                )
            flusher = app.node.flusher
            assert flusher.behind >= 1 and flusher.slow_consumers == 0
            assert flusher.take_queue_bytes_max() < app.node.config.limits.queue_high_bytes + 2 * size
            seen = 0
            while seen < count:  # the quick one has it all, live
                push = await bob.push("document:operation")
                for one in push["operations"]:
                    seen += 1
                    assert (one["seq"], one["operation"][0]) == (seen, text(seen, size))
                assert push["revision"] == seen

            def wake() -> tuple[int, int]:
                revision, cursor = 0, -1
                for envelope in slow.envelopes():
                    data = envelope.get("data", {})
                    if envelope["event"] == "document:operation":
                        for one in data["operations"]:
                            revision += 1
                            assert (one["seq"], one["operation"][0]) == (revision, text(revision, size))
                        assert data["revision"] == revision
                    elif envelope["event"] == "document:cursor" and data["revision"] == count:
                        [moved] = [one for one in data["cursors"] if one["client"] == "a"]
                        cursor = moved["head"]
                    if revision == count and cursor == count:
                        return revision, cursor
                raise AssertionError("closed")

            assert await asyncio.to_thread(wake) == (count, count)
            await ada.call("document:operation", document="d", seq=count + 1, revision=count, operation=["live again"])
            live = await asyncio.to_thread(lambda: next(slow.envelopes()))
            assert live["data"]["operations"][0]["operation"] == ["live again"]


async def test_presence_of_many_is_one_notice_each(serve: Serve) -> None:
    """A sleeping reader is owed the newest status of each user, not the story."""
    async with serve(presence={"metadata_bytes": 60_000}) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as slow:
            await asyncio.to_thread(slow.login, "Eve", "r")
            await ada.call("room:join", room="r")
            for number in range(300):
                metadata = text(number, 50_000)
                await ada.call("presence:update", status="online", metadata=metadata, room="r")
            await ada.call("presence:update", status="busy", metadata="newest", room="r")
            flusher = app.node.flusher
            assert flusher.conflated > 50 and flusher.behind == flusher.slow_consumers == 0

            def wake() -> int:
                heard = 0
                for envelope in slow.envelopes():
                    if envelope["event"] == "presence:update":
                        heard += 1
                        if envelope["data"]["metadata"] == "newest":
                            assert envelope["data"]["status"] == "busy"
                            return heard
                raise AssertionError("closed")

            assert await asyncio.to_thread(wake) < 250


# Floods ------------------------------------------------------------------------------------------------------------------


async def test_pings_whose_answers_nobody_reads(serve: Serve) -> None:
    async with serve() as app:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=4096) as flooder:
            await asyncio.to_thread(flooder.login, "Eve")
            [session] = app.node.sessions.connections.values()
            count = 100_000

            def flood() -> None:
                chunk = b"".join(frame(PING, str(number).ljust(100).encode()) for number in range(1000))
                for _ in range(count // 1000):
                    flooder.socket.sendall(chunk)

            await asyncio.to_thread(flood)
            low = app.node.config.limits.queue_low_bytes
            assert session.connection.queued <= low and session.connection.backlog <= low + 65_536

            def answers() -> int:
                flooder.send("ping", id=5)
                seen = 0
                while True:
                    opcode, payload = flooder.frame()
                    if opcode == PONG:
                        seen += 1
                    elif json.loads(payload).get("id") == 5:
                        return seen

            assert 0 < await asyncio.to_thread(answers) <= count
            assert app.node.flusher.slow_consumers == 0


async def test_replies_nobody_reads_end_the_connection(serve: Serve) -> None:
    async with serve(limits={"queue_messages": 1000}) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=4096, seconds=5) as flooder:
            await asyncio.to_thread(flooder.login, "Eve")

            def flood() -> None:
                chunk = frame(TEXT, b"[" + b",".join(b'{"event":"ping","id":%d}' % n for n in range(200)) + b"]")
                for _ in range(2000):
                    flooder.socket.sendall(chunk)

            await asyncio.to_thread(flood)  # what comes after the code is not looked at
            assert app.node.flusher.slow_consumers == 1
            assert app.node.flusher.take_queue_messages_max() <= 2001
            assert app.node.counters.disconnects["slow_consumer"] == 1
        await until(lambda: len(app.node.sessions.connections) == 1)
        await ada.call("ping")


async def test_tiny_frames_that_mean_nothing(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port) as flooder:
            await asyncio.to_thread(flooder.login, "Eve")

            def flood() -> list[str]:
                for _ in range(1000):
                    flooder.socket.sendall(frame(TEXT, b"x") * 100)
                return [one["data"]["code"] for one in flooder.envelopes()]

            codes = await asyncio.to_thread(flood)
            assert set(codes) == {"malformed_frame"} and len(codes) <= 61
            assert app.node.counters.disconnects["misbehaving"] == 1
        await ada.call("ping")


async def test_a_message_in_countless_fragments(app: App) -> None:
    """Empty ones cost nothing, and those of one byte are still one message."""
    with await asyncio.to_thread(RawClient, app.port) as client:
        await asyncio.to_thread(client.login, "Eve")

        def speak() -> dict[str, Any]:
            text = json.dumps({"event": "ping", "id": 7, "data": {"filler": "y" * 2000}}).encode()
            client.socket.sendall(frame(TEXT, text[:1], fin=False))
            for start in range(1, len(text), 10):
                piece = text[start : start + 10]
                client.socket.sendall(b"".join(frame(0, bytes([byte]), fin=False) for byte in piece))
                client.socket.sendall(frame(0, b"", fin=False) * 100)
            client.socket.sendall(frame(0, b""))
            return next(client.envelopes())

        assert (await asyncio.to_thread(speak))["id"] == 7


async def test_pings_to_a_reader_that_keeps_up_are_all_answered(app: App) -> None:
    with await asyncio.to_thread(RawClient, app.port) as client:
        await asyncio.to_thread(client.login, "Eve")

        def speak() -> list[tuple[int, bytes]]:
            client.socket.sendall(b"".join(frame(PING, b"%d" % number) for number in range(200)))
            return [client.frame() for _ in range(200)]

        assert await asyncio.to_thread(speak) == [(PONG, b"%d" % number) for number in range(200)]


async def test_who_sends_byte_by_byte_is_understood(app: App) -> None:
    with await asyncio.to_thread(RawClient, app.port) as client:

        def speak() -> tuple[dict[str, Any], dict[str, Any]]:
            for byte in client.request():
                client.socket.sendall(bytes([byte]))
            client.answered()
            assert client.status == 101
            envelope = {"event": "auth", "data": {"name": "Eve"}, "id": 1}
            for byte in frame(TEXT, json.dumps(envelope).encode()):
                client.socket.sendall(bytes([byte]))
            accepted = next(client.envelopes())
            for byte in frame(PING, b"are you there"):
                client.socket.sendall(bytes([byte]))
            assert client.frame() == (PONG, b"are you there")
            return accepted, client.call("room:join", room="r")

        accepted, joined = await asyncio.to_thread(speak)
        assert accepted["result"]["name"] == "Eve" and joined["room"] == "r"


async def test_a_peer_that_vanished_is_found_by_the_wheel(serve: Serve) -> None:
    """No close, no reset, no answer: as when a cable is pulled."""
    async with (
        serve(limits={"ping_seconds": 1.0, "pong_timeout_seconds": 1.0}) as app,
        dial(app.url, name="Ada") as ada,
    ):
        await ada.call("room:join", room="r")
        with await asyncio.to_thread(RawClient, app.port) as gone:
            await asyncio.to_thread(gone.login, "Eve", "r")
            await ada.push("room:user_joined")
            await ada.push("room:user_left")
            assert app.node.counters.disconnects["ping_timeout"] == 1


async def test_a_slow_reader_is_not_taken_for_dead(serve: Serve) -> None:
    """It cannot see the ping before what waits in front of it; that it takes bytes shows that it lives.

    The wheel is turned by hand, its own turns are too few to matter: how fast this machine is does not either.
    """
    limits = {"ping_seconds": 3600.0, "pong_timeout_seconds": 3600.0, "queue_high_bytes": 4_000_000}
    async with serve(limits=limits) as app, dial(app.url, name="Ada") as ada:
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as slow:
            await asyncio.to_thread(slow.login, "Eve", "r")
            await ada.call("room:join", room="r")
            for number in range(200):
                await ada.call("message:send", room="r", data=text(number, 50_000))
            assert app.node.flusher.behind == 1
            (eve,) = (one.connection for one in app.node.sessions.connections.values() if one.name == "Eve")
            (socket,) = (one for slot in app.node.pings._slots for one in slot if one.connection is eve)

            def taken() -> int:
                return socket._acknowledged()  # type: ignore[attr-defined, no-any-return]

            def turn(rounds: int, enough: Callable[[], bool] = lambda: False) -> bool:
                for _ in range(rounds * len(app.node.pings._slots)):
                    if enough():
                        return True
                    app.node.pings.turn()
                return False

            for _ in range(10):
                assert turn(4, lambda: socket.pinged)
                before = taken()
                while taken() <= before and socket.pinged:
                    await asyncio.to_thread(slow.socket.recv, 50_000)
                await ada.call("ping")  # no time passes for it to answer the wheel
                turn(1)
                assert app.node.counters.disconnects["ping_timeout"] == 0
            # And who takes nothing any more is dead.
            assert turn(6, lambda: eve.closed)


async def test_who_asks_much_and_takes_nothing_is_dead(serve: Serve) -> None:
    """It is not listened to while its answers wait; that must not spare it."""
    limits = {"ping_seconds": 3600.0, "pong_timeout_seconds": 3600.0, "pending_requests": 4, "message_bytes": 8_000_000}
    async with serve(limits=limits) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="d", text="x" * 6_000_000)
        with await asyncio.to_thread(RawClient, app.port, receive_bytes=8192) as eve:
            await asyncio.to_thread(eve.login, "Eve")
            for number in range(12):
                await asyncio.to_thread(eve.send, "document:join", id=100 + number, document="d", client=f"c{number}")
            (session,) = (one for one in app.node.sessions.connections.values() if one.name == "Eve")
            await until(lambda: session._paused and session.connection.held)
            (socket,) = (one for slot in app.node.pings._slots for one in slot if one.connection is session.connection)
            taken = -1
            while taken != (taken := socket._acknowledged()):  # type: ignore[attr-defined]
                await asyncio.sleep(0.05)  # the kernel's buffers are full when it takes no more
            for _ in range(6 * len(app.node.pings._slots)):
                app.node.pings.turn()
            assert session.connection.closed and app.node.counters.disconnects["ping_timeout"]


async def test_a_large_operation_cuts_nobody_off(serve: Serve) -> None:
    """What a tiny operation removes is told: more than ``queue_bytes`` of it."""
    limits = {"message_bytes": 1_048_576, "queue_bytes": 1_048_576, "queue_high_bytes": 500_000}
    async with serve(limits=limits) as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", type="json", content={})
        for client in (ada, bob):
            await client.call("document:join", document="d", client=client.user)
        for number in range(4):
            operation = [{"p": [f"k{number}"], "oi": "x" * 700_000}]
            data = {"document": "d", "seq": number + 1, "revision": number, "operation": operation}
            await ada.send({"event": "document:operation", "data": data})
            for client in (ada, bob):
                await client.push("document:operation", revision=number + 1)
        gone = [{"p": [f"k{number}"], "od": None} for number in range(4)]
        await bob.send(
            {"event": "document:operation", "data": {"document": "d", "seq": 1, "revision": 4, "operation": gone}}
        )
        for client in (ada, bob):
            pushed = await client.push("document:operation", revision=5)
            assert [len(one["od"]) for one in pushed["operations"][0]["operation"]] == [700_000] * 4
        assert not any(app.node.counters.disconnects.values())


# Order -------------------------------------------------------------------------------------------------------------------


async def test_offsets_are_in_order_for_everybody_with_parallel_publishers(serve: Serve) -> None:
    publishers, each = 8, 100
    async with serve() as app:
        url = app.url.replace("http", "ws") + "/ws"
        clients = [await connect(url, name=f"P{number}") for number in range(publishers)]
        heard: list[list[int]] = [[] for _ in clients]
        rooms = [await client.join("r") for client in clients]
        for room, offsets in zip(rooms, heard, strict=True):
            room.on_message(lambda one, offsets=offsets: offsets.append(one.offset))  # type: ignore[misc]

        async def publish(room: Any) -> list[int]:
            return [(await room.send(number)).offset for number in range(each)]

        sent = await asyncio.gather(*(publish(room) for room in rooms))
        assert sorted(offset for offsets in sent for offset in offsets) == list(range(1, publishers * each + 1))
        assert all(offsets == sorted(offsets) for offsets in sent)
        await until(lambda: all(len(offsets) == publishers * each for offsets in heard))
        assert all(offsets == list(range(1, publishers * each + 1)) for offsets in heard)
        for client in clients:
            await client.close()
