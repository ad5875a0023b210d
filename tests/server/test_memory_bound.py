"""What a node lets go of when it holds too much, in which order, and what becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest

from syncline.core import errors
from syncline.core.rooms.room import HistoryRing, Position, Publication
from syncline.server.app import App
from syncline.server.backends.memory.broker import MemoryBroker
from syncline.server.backends.sqlite import SqliteBroker, open_database
from syncline.server.memory_bound import IDLE_SHARE, Histories
from syncline.testing import Recorder
from tests.serving import serving
from tests.waiting import until

from .rawclient import CLOSE, RawClient, frame
from .wsclient import dial

BIG = "x" * 100_000


async def fill(app: App, rooms: int, messages: int = 5) -> dict[str, dict[str, Any]]:
    """Rooms that a guest fills and leaves; their positions."""
    positions = {}
    async with dial(app.url, name="Ada") as ada:
        for number in range(rooms):
            room = f"r{number}"
            await ada.call("room:join", room=room)
            for _ in range(messages):
                await ada.call("message:send", room=room, data=BIG)
            await ada.call("room:leave", room=room)
            positions[room] = {"offset": messages - 1, "epoch": ""}
    await until(lambda: not app.node.hub.rooms)
    return positions


def histories(app: App) -> Histories:
    broker = app.node.broker
    assert isinstance(broker, Histories)
    return broker


async def test_what_one_guest_wrote_and_left_is_not_kept(tmp_path: Path) -> None:
    """1 MB into each of 300 rooms stayed as 300 MB."""
    bound = 8_000_000
    async with serving(tmp_path, "sqlite", limits={"memory_bytes": bound}) as app:
        await fill(app, 20)
        app.node.memory.check()
        held = histories(app)
        assert held.idle_bytes + held.busy_bytes() <= bound // IDLE_SHARE
        assert app.node.memory.released["histories"] >= 15
        # Nothing is lost: it is read again, in the same epoch, and who knew a position recovers.
        async with dial(app.url, name="Bob") as bob:
            joined = await bob.call("room:join", room="r3", history=5)
            assert [len(one["data"]) for one in joined["publications"]] == [len(BIG)] * 5
            since = {"offset": 2, "epoch": joined["position"]["epoch"]}
            again = await bob.call("room:join", room="r3", recover=since)
            assert again["recovered"] and len(again["publications"]) == 3


async def test_it_is_looked_at_soon_while_much_is_published(tmp_path: Path) -> None:
    async with serving(tmp_path, "sqlite", limits={"memory_bytes": 8_000_000}, rooms={"history_size": 50}) as app:
        looked = []
        check = app.node.memory.check
        app.node.memory.check = lambda: (looked.append(1), check())[1]  # type: ignore[method-assign, func-returns-value]
        for _ in range(100):
            app.node.memory.grew(200_000)
        await asyncio.sleep(0)
        assert len(looked) == 1, "but not again at once"


async def test_in_memory_the_longest_unused_room_begins_anew(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"memory_bytes": 3_000_000}) as app:
        async with dial(app.url, name="Bob") as bob:
            epochs = {}
            for room in ("r0", "r4"):
                epochs[room] = (await bob.call("room:join", room=room))["position"]["epoch"]
                await bob.call("room:leave", room=room)
            await fill(app, 5)
            app.node.memory.check()
            assert sum(app.node.memory.held.values()) > 3_000_000 >= histories(app).idle_bytes
            old = await bob.call("room:join", room="r0", recover={"offset": 5, "epoch": epochs["r0"]})
            assert old["recovered"] is False and old["position"] != {"offset": 5, "epoch": epochs["r0"]}
            new = await bob.call("room:join", room="r4", recover={"offset": 2, "epoch": epochs["r4"]})
            assert new["recovered"] and len(new["publications"]) == 3


async def test_idle_documents_go_before_what_is_in_use(tmp_path: Path) -> None:
    config: dict[str, Any] = {"limits": {"memory_bytes": 1_000_000}, "documents": {"idle_seconds": 3600.0}}
    async with serving(tmp_path, "sqlite", **config) as app, dial(app.url, name="Ada") as ada:
        for name in ("idle", "used"):
            await ada.call("document:join", document=name)
            await ada.call("document:operation", document=name, seq=1, revision=0, operation=["y" * 400_000])
        await ada.call("document:leave", document="idle")
        app.node.memory.check()
        await until(lambda: set(app.node.documents.live) == {"used"})
        assert app.node.memory.released["documents"] == 1
        assert len((await ada.call("document:join", document="idle"))["text"]) == 400_000


async def test_rooms_in_use_keep_their_newest_and_read_the_rest_again(tmp_path: Path) -> None:
    async with serving(tmp_path, "sqlite", limits={"memory_bytes": 400_000}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            position = (await ada.call("room:join", room="r"))["position"]
            for number in range(40):
                await ada.call("message:send", room="r", data=[number, "z" * 10_000])
            app.node.memory.check()
            assert app.node.memory.released["recent"] >= 1
            ring = app.node.hub.rooms["r"].group.history
            assert ring.held_bytes <= 400_000 and 0 < len(ring) < 40
            joined = await bob.call("room:join", room="r", recover=position)
            assert [one["data"][0] for one in joined["publications"]] == list(range(40))
            await ada.call("message:send", room="r", data=[40, ""])
            assert (await bob.push("message:received"))["offset"] == 41


def slow_reader(port: int, number: int) -> RawClient:
    """Somebody who is let in and reads nothing any more."""
    client = RawClient(port, receive_bytes=4096)
    return client.login(f"Reader {number}")


async def test_the_readers_that_have_most_waiting_go_last(tmp_path: Path) -> None:
    """A frame that many wait for counts once: a large room with slow readers is no reason."""
    limits = {"memory_bytes": 6_000_000, "queue_bytes": 30_000_000, "queue_high_bytes": 1_000_000, "unsent_bytes": 4096}
    async with serving(tmp_path, limits=limits, rooms={"volatile": [], "history_size": 10}) as app:
        async with dial(app.url, name="Ada") as ada:
            stack = contextlib.ExitStack()
            for number in range(4):
                stack.enter_context(await asyncio.to_thread(slow_reader, app.port, number))
            await until(lambda: len(app.node.sessions.users) == 5)
            sessions = [one for one in app.node.sessions.connections.values() if one.user != ada.user]
            shared = b"\x82\x7f" + (2_000_000).to_bytes(8, "big") + bytes(2_000_000)
            for session in sessions:
                for _ in range(2):
                    session.connection.deliver(shared)
            await until(lambda: all(session.connection.held for session in sessions))
            app.node.memory.check()
            assert app.node.memory.held["queues"] <= 4_000_000 and app.node.memory.released["queues"] == 0
            for _ in range(3):  # its own
                sessions[0].connection.deliver(shared[:-1] + bytes([_ + 1]))
            app.node.memory.check()
            assert app.node.memory.released["queues"] == 1
            assert [session.connection.closed for session in sessions] == [True, False, False, False]
            stack.close()


async def test_what_waits_behind_a_request_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small it was on the wire: else some kilobytes make a node hold hundreds of megabytes."""
    answered = asyncio.Event()
    limits = {"pending_bytes": 300_000, "message_bytes": 200_000}
    async with serving(tmp_path, limits=limits) as app, dial(app.url, name="Ada", compression="deflate") as ada:
        find = app.node.store.room

        async def slow(name: str) -> Any:
            await answered.wait()
            return await find(name)

        monkeypatch.setattr(app.node.store, "room", slow)
        (session,) = app.node.sessions.of_user(ada.user)
        await ada.send({"event": "room:join", "data": {"room": "r"}, "id": 100})
        for number in range(40):
            await ada.send({"event": "message:send", "data": {"room": "r", "data": BIG}, "id": 101 + number})
        await until(lambda: session.incoming > 300_000)
        app.node.memory.check()
        assert app.node.memory.held["requests"] == session.incoming < 500_000
        answered.set()
        for number in range(41):
            await ada.take(lambda envelope, due=100 + number: envelope.get("id") == due)  # type: ignore[misc]
        assert session.incoming == 0
        assert (await ada.call("message:send", room="r", data=1))["offset"] == 41


async def test_the_writer_of_whom_most_waits_goes(tmp_path: Path) -> None:
    limits = {"memory_bytes": 2_000_000, "message_bytes": 3_000_000}
    async with serving(tmp_path, limits=limits) as app:
        memory = app.node.memory
        with RawClient(app.port) as small, RawClient(app.port) as large:
            for client, size in ((small, 60_000), (large, 2_500_000)):
                await asyncio.to_thread(client.login, "Ada")
                await asyncio.to_thread(client.socket.sendall, frame(1, bytes(size), fin=False))
            await until(lambda: (memory.check(), memory.released["requests"])[1])
            assert await asyncio.to_thread(ended_with, large) == (4004, "overloaded")
            memory.check()
            assert memory.released["requests"] == 1 and 60_000 <= memory.held["requests"] < 200_000


async def test_who_is_nobody_goes_before_histories_and_users(tmp_path: Path) -> None:
    """Half a message costs its sender a second try; a history in memory is gone for good."""
    limits = {"memory_bytes": 3_000_000}
    async with serving(tmp_path, limits=limits) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        for _ in range(8):
            await ada.call("message:send", room="r", data=BIG)
        memory = app.node.memory
        with contextlib.ExitStack() as stack:
            user = stack.enter_context(RawClient(app.port))
            await asyncio.to_thread(user.login, "Bob")
            await asyncio.to_thread(user.socket.sendall, frame(1, bytes(900_000), fin=False))
            for _ in range(4):
                nobody = stack.enter_context(RawClient(app.port))
                await asyncio.to_thread(nobody.handshake)
                await asyncio.to_thread(nobody.socket.sendall, frame(1, bytes(1_000_000), fin=False))
            await until(lambda: (memory.check(), memory.released["requests"] >= 2)[1])
            assert not memory.released["recent"] and not memory.released["histories"]
            assert {
                session.user for session in app.node.sessions.connections.values() if session.incoming > 800_000
            } >= {session.user for session in app.node.sessions.connections.values() if session.name == "Bob"}
            assert sum(memory.held.values()) - memory.held["requests"] > 700_000
        assert len((await ada.call("room:join", room="r", history=100))["publications"]) == 8


async def test_many_small_ones_are_no_way_around_it(tmp_path: Path) -> None:
    limits = {"memory_bytes": 2_000_000}
    async with serving(tmp_path, limits=limits) as app:
        memory = app.node.memory
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                one = stack.enter_context(RawClient(app.port))
                await asyncio.to_thread(one.login, "Ada")
                await asyncio.to_thread(one.socket.sendall, frame(1, bytes(60_000), fin=False))
            await until(lambda: (memory.check(), memory.released["requests"] >= 16)[1])
            memory.check()
            assert 250_000 <= memory.held["requests"] <= 2_000_000, (
                "down to the bound, and no further than to its share"
            )


async def test_nothing_is_kept_of_who_is_gone_or_told_to_go(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        with RawClient(app.port) as one:
            await asyncio.to_thread(one.handshake)
            await asyncio.to_thread(one.socket.sendall, frame(1, bytes(500_000), fin=False))
            (session,) = app.node.sessions.connections.values()
            socket: Any = session.connection.transport
            await until(lambda: socket.incomplete >= 500_000)
            session.close(errors.OVERLOADED)
            assert socket.incomplete == 0
            await asyncio.to_thread(one.socket.sendall, frame(0, bytes(500_000), fin=False))
            assert await asyncio.to_thread(ended_with, one) == (4004, "overloaded")
            assert socket.incomplete == 0
        with RawClient(app.port) as one:
            await asyncio.to_thread(one.handshake)
            await asyncio.to_thread(one.socket.sendall, frame(1, bytes(500_000), fin=False))
            await until(lambda: [session for session in app.node.sessions.connections.values() if session.incoming])
            (session,) = [session for session in app.node.sessions.connections.values() if session.incoming]
            socket = session.connection.transport
        await until(lambda: socket.lost)
        assert socket.incomplete == 0


def ended_with(client: RawClient) -> tuple[int, str]:
    while (read := client.frame())[0] != CLOSE:
        pass
    return int.from_bytes(read[1][:2], "big"), read[1][2:].decode()


async def test_documents_in_use_leave_the_rest_its_share(tmp_path: Path) -> None:
    """Else a node with a large document would let go of everything else, every second, for ever."""
    config: dict[str, Any] = {"limits": {"memory_bytes": 2_000_000}}
    async with serving(tmp_path, **config) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="used")
        for seq in (1, 2):
            await ada.call("document:operation", document="used", seq=seq, revision=seq - 1, operation=["y" * 700_000])
        epoch = (await ada.call("room:join", room="small"))["position"]["epoch"]
        for _ in range(20):
            await ada.call("message:send", room="small", data="z" * 2000)
        await ada.call("room:leave", room="small")
        await until(lambda: not app.node.hub.rooms)
        for _ in range(3):
            app.node.memory.check()
        assert sum(app.node.memory.held.values()) > 2_000_000 and not any(app.node.memory.released.values())
        joined = await ada.call("room:join", room="small", recover={"offset": 5, "epoch": epoch})
        assert joined["recovered"] and len(joined["publications"]) == 15


async def test_a_history_that_is_cut_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    database = open_database(tmp_path / "b.db")
    broker = SqliteBroker(database)
    await broker.start(Recorder())

    async def publish(count: int) -> None:
        for _ in range(count):
            done = asyncio.get_running_loop().create_future()
            data = b'"' + b"x" * 20_000 + b'"'
            told = lambda position, error, done=done: done.set_result(error)  # noqa: E731
            broker.publish(Publication("r", "u", "n", 1.0, "json", data), told)
            assert await done is None

    await publish(10)
    broker.release(0)
    epoch = (await broker.subscribe("r")).epoch
    broker.shrink(0)
    read, cuts = database.read, 0

    async def slow(work: Any) -> Any:
        nonlocal cuts
        found = await read(work)
        if not cuts:
            cuts += 1
            await publish(5)
            broker.shrink(65_536)
        return found

    database.read = slow  # type: ignore[method-assign]
    history = await broker.history("r", Position(3, epoch), 100)
    assert [one.offset for one in history.publications] == list(range(4, 16)) and cuts == 1
    await broker.close()


async def test_no_bound_lets_go_of_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, "sqlite", limits={"memory_bytes": 0}) as app:
        await fill(app, 3)
        app.node.memory.check()
        assert histories(app).idle_bytes >= 3 * 2 * 500_000
        assert not any(app.node.memory.released.values())


@pytest.mark.parametrize("seed", range(5))
async def test_what_idle_rooms_hold_is_counted_right(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    broker = SqliteBroker(
        open_database(tmp_path / "b.db"), history_size=8, history_seconds=5.0, max_histories=6, now=lambda: 100.0
    )
    await broker.start(Recorder())
    for step in range(400):
        room = f"r{rng.randrange(10)}"
        match rng.randrange(7):
            case 0:
                await broker.subscribe(room)
            case 1:
                await broker.unsubscribe(room)
            case 2:
                await broker.history(room, None, 5)
            case 3:
                await broker.forget(room)
            case 4:
                broker.shrink(rng.randrange(3000))
            case 5:
                if rng.random() < 0.3:
                    broker.release(rng.randrange(8000))
                await broker.sweep()
            case 6:
                done = asyncio.get_running_loop().create_future()
                data = b'"' + b"x" * rng.randrange(300) + b'"'
                publication = Publication(room, "u", "n", 90.0 + step / 40, "json", data)
                broker.publish(publication, lambda position, error, done=done: done.set_result(error))  # type: ignore[misc]
                assert await done is None
        if rng.random() < 0.2:
            broker.release(broker.idle_bytes)  # nothing
        counted = sum(channel.counted for channel in broker._idle.values())
        assert broker.idle_bytes == counted and all(not channel.counted for channel in broker._busy.values())
        assert counted >= sum(channel.ring.held_bytes for channel in broker._idle.values())
    await broker.close()
    assert broker.idle_bytes == 0


async def test_the_memory_broker_holds_what_it_says() -> None:
    broker = MemoryBroker(history_size=100)
    await broker.start(Recorder())
    await broker.subscribe("busy")
    for number in range(30):
        for room in ("busy", "idle", f"one {number}"):
            broker.publish(Publication(room, "u", "n", 1.0, "json", b"1" * 1000), lambda position, error: None)
    assert broker.busy_bytes() >= 30 * 2000 and broker.idle_bytes >= 60 * 2000
    assert broker.release(10_000) > 20 and broker.idle_bytes <= 10_000
    assert broker.shrink(10_000) == 1 and broker.busy_bytes() <= 10_000
    assert (await broker.history("busy", None, 100)).position.offset == 30


def test_a_ring_drops_its_oldest() -> None:
    ring = HistoryRing("e", 0, 100, 1_000_000)
    for offset in range(1, 11):
        ring.append(Publication("r", "u", "n", 1.0, "json", b"1" * 1000, offset, "e"))
    before = ring.held_bytes
    assert ring.drop_to(before) == 0 and ring.drop_to(before - 1) == 1
    assert [one.offset for one in ring.last(100)] == list(range(2, 11))
    assert ring.since(0, "e") is None and ring.since(1, "e") is not None
    assert ring.drop_to(0) == 9 and len(ring) == 0 == ring.size_bytes == ring.held_bytes and ring.offset == 10
