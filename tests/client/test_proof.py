"""The delivery digest, through a proxy that loses, doubles, swaps and alters frames; and recovery while messages pour in."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client import Client, Options, Position, Publication, Room, connect
from syncline.client.codec import Received
from syncline.client.proof import BYTES, MESSAGES, Proof
from tests.oracle import digest as oracle
from tests.proxy import Policy, faulty, proxied, taken
from tests.scale import by_level, dice
from tests.serving import serving
from tests.serving import ws_url as direct
from tests.waiting import until

from .links import QUICK
from .peer import Peer, scripted

# The proof alone ---------------------------------------------------------------------------------------------------------


def received(offset: int, data: bytes = b"1", epoch: str = "e") -> Received:
    return Received("team", offset, epoch, "ada", "Ada", 0.0, msgspec.Raw(data))


def joined(proof: Proof, since: int, value: int, offset: int, publications: list[Received], *, again: bool) -> None:
    proof.joined({"since": since, "value": value}, Position(offset, "e"), publications, again)


@given(st.integers(0, 50), st.integers(0, 2**32 - 1), st.lists(st.binary(max_size=20), max_size=20), st.integers(0, 20))
def test_what_is_folded_is_what_the_oracle_sums(since: int, value: int, payloads: list[bytes], first: int) -> None:
    proof = Proof()
    sent = [(since + 1 + index, payload) for index, payload in enumerate(payloads)]
    at_join, live = sent[:first], sent[first:]
    joined(proof, since, value, since + len(at_join), [received(*one) for one in at_join], again=False)
    for offset, payload in live:
        assert not proof.fold(offset, msgspec.Raw(payload))
    total = (value + oracle.digest("e", sent)) % 2**32
    claim = proof.claim("team")
    assert claim == {"room": "team", "epoch": "e", "offset": since + len(sent), "digest": total}
    assert proof.claim("team") is None, "one question at a time"
    proof.asked = False
    wrong = {**claim, "digest": total ^ 1}
    assert not proof.compare(wrong) and (proof.failures, proof.row, proof.proven) == (1, 1, None)
    assert proof.floor == (since, "e")
    assert proof.compare(claim) and (proof.checks, proof.row) == (1, 0)
    assert proof.proven == proof.floor == (since + len(sent), "e")
    assert proof.claim("team") == claim, "what came last may be lost: asked again"


def test_what_was_not_sent_back_counts_by_its_hash() -> None:
    heard, spoke = Proof(), Proof()
    for proof in (heard, spoke):
        joined(proof, 0, 5, 0, [], again=False)
        proof.fold(1, msgspec.Raw(b"1"))
    heard.fold(2, msgspec.Raw(b"2"))
    spoke.fold_hash(2, oracle.item("e", 2, b"2"))
    assert spoke.claim("team") == heard.claim("team")
    spoke.joined(None, Position(2, "e"), [], False)
    spoke.fold_hash(3, 7)
    assert spoke.digest == heard.digest


def test_over_a_lost_connection_it_goes_on_when_the_server_does() -> None:
    proof = Proof()
    joined(proof, 3, 0, 3, [], again=False)
    proof.fold(4, msgspec.Raw(b"ALTERED"))
    joined(proof, 3, oracle.item("e", 4, b"4"), 5, [received(5)], again=True)
    assert proof.digest == (oracle.item("e", 4, b"ALTERED") + oracle.item("e", 5, b"1")) % 2**32
    assert proof.floor == (3, "e")
    # Another start, or a hole: the server's number.
    joined(proof, 5, 0, 6, [received(6)], again=True)
    assert proof.digest == oracle.item("e", 6, b"1") and proof.floor == (5, "e")
    joined(proof, 5, 77, 9, [received(9)], again=False)
    assert proof.digest == (77 + oracle.item("e", 9, b"1")) % 2**32 and proof.floor == (8, "e")
    # A repair brings what was had too, and all of it counts.
    joined(proof, 5, 1, 9, [received(offset) for offset in (7, 8, 9)], again=False)
    assert proof.digest == (1 + oracle.digest("e", [(offset, b"1") for offset in (7, 8, 9)])) % 2**32
    # A server that keeps no digest of this room.
    proof.joined(None, Position(9, "e"), [], False)
    assert proof.claim("team") is None and not proof.fold(10, msgspec.Raw(b"1"))


def test_a_busy_room_is_compared_in_between() -> None:
    proof = Proof()
    joined(proof, 0, 0, 0, [], again=False)
    assert [offset for offset in range(1, MESSAGES + 3) if proof.fold(offset, msgspec.Raw(b"1"))] == [
        MESSAGES,
        MESSAGES + 1,
        MESSAGES + 2,
    ]
    assert proof.claim("team") is not None
    assert not proof.fold(MESSAGES + 3, msgspec.Raw(b"1"))
    assert not proof.fold(MESSAGES + 4, msgspec.Raw(b"x" * BYTES)), "it has asked"
    proof.asked = False
    assert proof.fold(MESSAGES + 5, msgspec.Raw(b"1"))


# Through a proxy ---------------------------------------------------------------------------------------------------------

PING = {"ping_seconds": 1.0}


class Listener:
    """A client in the room, and what its application saw."""

    def __init__(self, client: Client, room: Room) -> None:
        self.client = client
        self.room = room
        self.got: list[Publication] = []
        self.proofs: list[tuple[bool, Position]] = []
        self.gaps: list[Any] = []
        room.on_message(self.got.append)
        room.on_proof(lambda complete, at: self.proofs.append((complete, at)))
        room.on_gap(lambda *what: self.gaps.append(what))

    @property
    def data(self) -> list[Any]:
        return [publication.data for publication in self.got]

    def proven(self, offset: int) -> bool:
        return self.room.proof.proven is not None and self.room.proof.proven.offset >= offset


@pytest.mark.parametrize("place", ["middle", "last"])
async def test_a_fault_is_found_within_a_heartbeat_and_repaired(tmp_path: Path, codec: Any, place: str) -> None:
    """One client for each fault, in the message 5 of 12 or in the last one, after which nothing shows that it was sent."""
    faults = ("lost", "twice", "swapped", "altered")
    count = 12
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(serving(tmp_path, limits=PING))
        sender = await stack.enter_async_context(await connect(direct(app), name="Ada", codec=codec))
        room = await sender.join("team")
        proxies = [await stack.enter_async_context(proxied(app.port)) for _ in faults]
        clients = [await stack.enter_async_context(await connect(proxy.url, codec=codec)) for proxy in proxies]
        listeners = [Listener(client, await client.join("team")) for client in clients]
        for fault, proxy in zip(faults, proxies, strict=True):
            proxy.policy = faulty({5 if place == "middle" else count - 1: fault})
        for number in range(count):
            await room.send({"n": number, "is": "text"})
        await until(lambda: all(listener.proven(count) for listener in listeners))
        for fault, listener in zip(faults, listeners, strict=True):
            assert [data["n"] for data in listener.data] == list(range(count))
            assert not listener.gaps and listener.client.reconnects == 0
            assert listener.proofs[-1] == (True, (count, room.position.epoch))
            found = [complete for complete, _ in listener.proofs].count(False)
            assert (
                found == listener.room.proof.failures == (fault == "altered" or (place == "last" and fault != "twice"))
            )
            assert (fault == "twice") == (listener.room.proof.duplicates == 1)
        counters = app.node.counters
        assert counters.deliveries_unproven["history"] >= 3  # lost, swapped, altered: each at least one message
        assert counters.deliveries_proven["history"] >= count * len(faults)
        for number in range(count, count + 3):
            await room.send({"n": number, "is": "text"})
        await until(lambda: all(listener.proven(count + 3) for listener in listeners))
        assert all([data["n"] for data in listener.data] == list(range(count + 3)) for listener in listeners)
        # All is proven, one more is lost, and then nothing is said any more.
        proxies[0].policy = faulty({count + 3: "lost"})
        await room.send({"n": count + 3, "is": "text"})
        await until(lambda: listeners[0].proven(count + 4))
        assert listeners[0].data[-1]["n"] == count + 3


@pytest.mark.parametrize("lost", [False, True])
async def test_a_sender_that_does_not_hear_itself_is_proven_too(tmp_path: Path, codec: Any, lost: bool) -> None:
    """Several at once, so that other messages come between its own; with ``lost`` one `message:sent` does not arrive."""
    dropped: list[bytes] = []

    def policy(opcode: int, payload: bytes) -> list[bytes]:
        if lost and b"message:sent" in payload and not dropped:
            dropped.append(payload)
            return []
        return [payload]

    async with serving(tmp_path, "sqlite", limits=PING) as app, proxied(app.port) as proxy:
        proxy.policy = policy
        async with (
            await connect(direct(app), name="Ada", codec="json") as ada,
            await connect(proxy.url, name="Bob", codec=codec) as bob,
        ):
            one, other = await ada.join("team"), Listener(bob, await bob.join("team"))
            for round in range(5):
                await asyncio.gather(
                    *(one.send([round, number]) for number in range(4)),
                    *(other.room.send({"own": number}, echo=False) for number in range(4)),
                )
            await until(lambda: other.proven(40))
            heard = [data for data in other.data if isinstance(data, list)]
            assert heard == [[round, number] for round in range(5) for number in range(4)]
            own = len(other.data) - len(heard)
            assert other.room.proof.failures == 0 and not other.gaps
            if lost:
                assert dropped and own >= 1, "what is recovered is sent like any other"
            else:
                assert own == 0 and app.node.counters.deliveries_unproven["history"] == 0


def bad_network(dice: random.Random) -> Policy:
    """A tenth of all messages is lost, doubled, altered, or comes after the next frame."""
    held: list[bytes] = []

    def policy(opcode: int, payload: bytes) -> list[bytes]:
        if b"message:received" not in payload or dice.random() > 0.1:
            return [payload, *taken(held)]
        fault = dice.randrange(4)
        if fault == 0:
            held.append(payload)
        return [[], [], [payload, payload], [payload.replace(b"text", b"TEXT")]][fault]

    return policy


async def test_a_bad_network_and_cuts(tmp_path: Path) -> None:
    """Faults of every kind at random: then everything was seen once, in order, and is proven."""
    async with contextlib.AsyncExitStack() as stack:
        app = await stack.enter_async_context(serving(tmp_path, "sqlite", limits=PING))
        senders = [await stack.enter_async_context(await connect(direct(app), name="S")) for _ in range(3)]
        rooms = [await sender.join("team") for sender in senders]
        proxies = [await stack.enter_async_context(proxied(app.port)) for _ in range(8)]
        listeners = []
        for number, proxy in enumerate(proxies):
            options = Options(codec="json" if number % 2 else "msgpack", backoff=QUICK)
            client = await stack.enter_async_context(await connect(proxy.url, options=options))
            listeners.append(Listener(client, await client.join("team")))
            proxy.policy = bad_network(random.Random(number))
        chance = dice("bad network")

        async def cut(count: int) -> None:
            if count % 12 == 0:
                chance.choice(proxies).cut()

        sent = await pour(rooms, by_level(80, 400, 4000), cut, "text")
        for proxy in proxies:
            proxy.policy = None
        await until(lambda: all(listener.proven(len(sent)) for listener in listeners))
        for listener in listeners:
            assert [data[:2] for data in listener.data] == [data[:2] for data in sent]
            assert not listener.gaps
        found = sum(listener.room.proof.failures + listener.room.proof.duplicates for listener in listeners)
        assert found > 0 and app.node.counters.deliveries_unproven["history"] > 0


async def test_a_lost_answer_is_asked_for_again(tmp_path: Path) -> None:
    lost: list[bytes] = []

    def policy(opcode: int, payload: bytes) -> list[bytes]:
        if b'"room:digest"' in payload and len(lost) < 2:
            lost.append(payload)
            return []
        return [payload]

    async with serving(tmp_path, limits=PING) as app, proxied(app.port) as proxy, await connect(proxy.url) as bob:
        listener = Listener(bob, await bob.join("team"))
        proxy.policy = policy
        await listener.room.send("text")
        await until(lambda: listener.proven(1))
        assert len(lost) == 2 and listener.room.proof.failures == 0


async def test_a_fault_that_does_not_go_away_is_not_asked_about_all_the_time(tmp_path: Path) -> None:
    """A proxy that alters every message, those of the repair too: one repair a heartbeat, and the application goes on."""
    async with serving(tmp_path, limits=PING) as app, proxied(app.port) as proxy:
        async with (
            await connect(direct(app), name="Ada") as ada,
            await connect(proxy.url, name="Bob") as bob,
        ):
            sender, listener = await ada.join("team"), Listener(bob, await bob.join("team"))
            proxy.policy = lambda opcode, payload: [payload.replace(b"text", b"TEXT")]
            await sender.send("text")
            await until(lambda: listener.room.proof.failures == 3, 20)
            soon = bob._heartbeat._soon
            assert soon is not None and soon.done(), "the next question waits for the next beat"
            assert listener.data == ["TEXT"]
            proxy.policy = None
            await sender.send("text")
            await until(lambda: listener.proven(2))
            assert listener.data == ["TEXT", "text"] and not listener.gaps


async def test_what_is_proven_too_far_back_is_left_at_that(tmp_path: Path) -> None:
    """The server no longer has what an altered message needs: the application is not told of a gap, for there is none."""
    async with serving(tmp_path, limits=PING, rooms={"history_size": 3}) as app, proxied(app.port) as proxy:
        async with (
            await connect(direct(app), name="Ada") as ada,
            await connect(proxy.url, name="Bob") as bob,
        ):
            sender, listener = await ada.join("team"), Listener(bob, await bob.join("team"))
            proxy.policy = faulty({2: "altered"})
            for number in range(8):
                await sender.send({"n": number, "is": "text"})
            await until(lambda: listener.room.proof.failures == 1)
            await sender.send({"n": 8, "is": "text"})
            await until(lambda: listener.proven(9))
            assert [data["n"] for data in listener.data] == list(range(9)) and not listener.gaps


async def test_a_server_that_does_not_know_of_the_room_is_told() -> None:
    async with scripted() as server:
        server.identity = {**(server.identity or {}), "ping_seconds": 0.05}
        joins: list[dict[str, Any]] = []
        message = {"room": "team", "offset": 1, "epoch": "e", "user": "u", "data": "hi"}

        def script(peer: Peer, envelope: dict[str, Any]) -> None:
            if envelope["event"] == "room:join":
                joins.append(envelope["data"])
                result = {"position": {"offset": 0, "epoch": "e"}, "digest": {"since": 0, "value": 0}, "members": []}
                result |= {"role": "member", "recovered": True if len(joins) > 1 else None, "publications": []}
                if len(joins) > 1:
                    result["publications"], result["position"] = [message], {"offset": 1, "epoch": "e"}
                peer.send({"id": envelope["id"], "event": "room:joined", "result": result})
                peer.send({"event": "message:received", "data": message})
            elif envelope["event"] == "room:digest":
                peer.send({"id": envelope["id"], "event": "room:digest", "result": {"rooms": []}})

        server.script = script
        async with await connect(server.url) as client:
            room = await client.join("team")
            assert joins[0]["digest"] is True
            await until(lambda: len(joins) >= 2)
            assert joins[1]["recover"] == {"offset": 1, "epoch": "e"}
            assert room.error is None and room.proof.proven is None


@pytest.mark.parametrize("answer", [None, {}, {"rooms": 1}, {"rooms": [{"room": "team"}]}, {"rooms": ["team"]}])
async def test_an_answer_that_is_none_ends_the_link(answer: Any) -> None:
    async with scripted() as server:
        server.identity = {**(server.identity or {}), "ping_seconds": 0.05}

        def script(peer: Peer, envelope: dict[str, Any]) -> None:
            if envelope["event"] == "room:join":
                result = {"position": {"offset": 1, "epoch": "e"}, "digest": {"since": 0, "value": 0}, "members": []}
                result |= {"role": "member", "recovered": None, "publications": []}
                peer.send({"id": envelope["id"], "event": "room:joined", "result": result})
            elif envelope["event"] == "room:digest":
                peer.send({"id": envelope["id"], "event": "room:digest", "result": answer})

        server.script = script
        async with await connect(server.url, backoff=QUICK) as client:
            await client.join("team")
            await until(lambda: client.reconnects > 0)


# Recovery while messages pour in -------------------------------------------------------------------------------------------


async def pour(senders: list[Room], count: int, meanwhile: Callable[[int], Awaitable[object]], *more: Any) -> list[Any]:
    """Publishes ``count`` from each of them, all at once; returns what was published, by offset.

    ``meanwhile`` is awaited with the number of all so far, so that what else happens does so between the messages.
    """
    sent: dict[int, Any] = {}

    async def one(number: int, room: Room) -> None:
        for own in range(count):
            data = [number, own, *more]
            position = await room.send(data)
            sent[position.offset] = data
            await meanwhile(len(sent))

    await asyncio.gather(*(one(number, room) for number, room in enumerate(senders)))
    assert sorted(sent) == list(range(1, len(sent) + 1))
    return [sent[offset] for offset in sorted(sent)]


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_clients_that_are_cut_all_the_time_miss_nothing(tmp_path: Path, backend: str) -> None:
    """40 clients, a tenth of them cut again and again while three publish: everything once, in order, and proven at the end."""
    limits = {"ping_seconds": 1.0}
    async with (
        serving(tmp_path, backend, limits=limits, presence={"grace_seconds": 1.0}) as app,
        proxied(app.port) as proxy,
    ):
        senders = [await connect(direct(app), name="S") for _ in range(3)]
        rooms = [await sender.join("team") for sender in senders]
        options = [Options(codec="json" if number % 2 else "msgpack", backoff=QUICK) for number in range(40)]
        clients = await asyncio.gather(*(connect(proxy.url, name="C", options=one) for one in options))
        listeners = [Listener(client, await client.join("team")) for client in clients]
        chance, cuts = dice("cut all the time"), 0

        async def cut(count: int) -> None:
            nonlocal cuts
            if count % 4 == 0:
                await until(lambda: proxy.links > 30)  # else there is soon nobody to cut
                cuts += proxy.cut(lambda: chance.random() < 0.1)

        sent = await pour(rooms, by_level(40, 400, 4000), cut)
        await until(lambda: all(len(listener.got) >= len(sent) for listener in listeners))
        assert cuts > len(sent) / 4 and proxy.opened > 40 + cuts / 2, "they were cut"  # one may be cut twice at once
        for listener in listeners:
            assert listener.data == sent
            assert [publication.offset for publication in listener.got] == list(range(1, len(sent) + 1))
            assert not listener.gaps
        await until(lambda: all(listener.proven(len(sent)) for listener in listeners))
        counters = app.node.counters
        assert counters.deliveries_unproven["history"] == 0
        # The tails before the cuts too. More when an answer was cut off: then both say of the same messages that they are.
        assert counters.deliveries_proven["history"] >= len(sent) * len(listeners)
        assert all(listener.room.proof.failures == 0 for listener in listeners)
        await asyncio.gather(*(client.close() for client in [*clients, *senders]))
