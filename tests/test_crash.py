"""The server is killed (SIGKILL) again and again in the middle of work; the clients come back by themselves.

The work is editing histories that are made up, recorded ones where they are there, and people who write at random.

Held afterwards: everybody has the same text; every operation and message that was acknowledged is there, at the place that
the ack named; nothing is there twice.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncline.client import (
    Backoff,
    Client,
    Committed,
    ConnectionLost,
    Position,
    Publication,
    RequestTimeout,
    TextDocument,
    connect,
)
from syncline.core.ot.ot import Operation, apply
from tests import traces
from tests.harness import ServerProcess
from tests.scale import seeds
from tests.waiting import wait_until


def quick(seed: int) -> Backoff:
    return Backoff(initial=0.02, maximum=0.25, random=random.Random(seed).random)


class Killer:
    """Kills and starts the server at given points of a progress, once for each. ``clients`` are who must come back.

    A point that is passed while the server is still being started, or somebody is not back, has its turn after that.
    """

    def __init__(self, server: ServerProcess, points: list[int], clients: list[Client]) -> None:
        self.kills = 0
        self.up = asyncio.Event()
        self.down = asyncio.Event()
        self.up.set()
        self._server = server
        self._points = sorted(points)
        self._clients = clients
        self._done = 0
        self._restart: asyncio.Task[None] | None = None

    def advance(self, count: int) -> None:
        self._done += count
        if self._restart is None and self._points and self._done >= self._points[0]:
            self._points.pop(0)
            self.kills += 1
            self.up.clear()
            self.down.set()
            returns = [self._return_of(client) for client in self._clients]
            self._server.kill()  # here and now, whatever is under way
            self._restart = asyncio.get_running_loop().create_task(self._start(returns))

    async def finished(self) -> None:
        """Every point that was passed had its kill, and everybody is back."""
        while self._restart is not None:
            await self._restart

    async def _start(self, returns: list[asyncio.Event]) -> None:
        try:
            await asyncio.to_thread(self._server.start)
            for back in returns:
                await back.wait()
        finally:  # nobody waits for one that did not start: ``finished`` says why
            self.down.clear()
            self.up.set()
        self._restart = None
        self.advance(0)

    def _return_of(self, client: Client) -> asyncio.Event:
        """Set when ``client`` has come back once more."""
        back = asyncio.Event()
        client.on_state(lambda state: back.set() if state == "open" else None)
        return back


async def history(client: Client, document: TextDocument) -> list[dict[str, Any]]:
    """Every operation of the document from the first on, as the server sends them to somebody who has nothing."""
    entries: list[dict[str, Any]] = []
    more = asyncio.Event()

    def on_push(event: str, data: dict[str, Any]) -> None:
        if event == "document:operation" and data["document"] == document.name:
            entries.extend(data["operations"])
            more.set()

    client.on_push(on_push)
    asked = {"unit": "unicode", "client": "auditor", "revision": 0, "generation": document.generation}

    def accept(result: dict[str, Any]) -> None:
        entries[:0] = result["operations"]

    await client.request("document:join", {"document": document.name, **asked}, accept)
    while len(entries) < document.revision:
        more.clear()
        await more.wait()
    return entries


async def audit(server: ServerProcess, documents: list[TextDocument], start: str, acks: list[Committed]) -> str:
    """Everything of the module's first lines; returns the text."""
    async with await connect(server.ws_url, name="auditor") as client, AsyncExitStack() as stack:
        there = await stack.enter_async_context(await client.document(documents[0].name))
        text = there.text
        for document in documents:
            await document.wait_for(lambda document=document: document.revision >= there.revision)  # type: ignore[misc]
            assert document.text == text
            assert document.revision == there.revision
            assert not document.lost_work
        entries = await history(client, there)
    assert len(entries) == documents[0].revision
    names = [(entry["client"], entry["seq"]) for entry in entries]
    assert len(set(names)) == len(names), "an operation was applied twice"
    assert len(acks) == len({(ack.client, ack.seq) for ack in acks})
    for ack in acks:
        assert names[ack.revision - 1] == (ack.client, ack.seq), "an acknowledged operation is not where it was"
    rebuilt = start
    for entry in entries:
        rebuilt = apply(rebuilt, Operation(entry["operation"], "unicode"))
    assert rebuilt == text
    return text


def collect_acks(document: TextDocument, acks: list[Committed]) -> None:
    document.on_committed(lambda committed: acks.append(committed) if committed.own else None)


def points(seed: int, count: int, total: int) -> list[int]:
    """One at random in each part of the first nine tenths, so that there is work left after the last."""
    rng = random.Random(seed)
    part = total * 0.9 / count
    return [int((index + rng.random()) * part) for index in range(count)]


async def open_clients(stack: AsyncExitStack, server: ServerProcess, count: int, codec: Any) -> list[Client]:
    return [
        await stack.enter_async_context(
            await connect(server.ws_url, name=f"writer {index}", codec=codec, backoff=quick(index))
        )
        for index in range(count)
    ]


async def replay_concurrently(server: ServerProcess, trace: Any, kills: int, seed: int) -> None:
    replay = traces.example()
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        clients = await open_clients(stack, server, trace.agents, "json")
        killer = Killer(server, points(seed, kills, trace.edits), clients)
        await clients[0].create_document("notes")
        documents = [await replay.open_document(client, "notes", trace) for client in clients]
        for document in documents:
            collect_acks(document, acks)
        await replay.replay_concurrent(documents, trace, killer.advance)
        await killer.finished()
        # What waits while the server is away becomes one operation, "delete, then insert" at one place is then another tie than the two
        # one after the other: so the order at one place, and nothing else, may be another one than the trace's.
        assert Counter(await audit(server, documents, "", acks)) == Counter(trace.end)
        assert killer.kills == kills
        assert all(client.reconnects >= kills for client in clients)


async def replay_sequentially(server: ServerProcess, trace: Any, kills: int, seed: int) -> None:
    replay = traces.example()
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        [client] = await open_clients(stack, server, 1, "json")
        killer = Killer(server, points(seed, kills, trace.edits), [client])
        await client.create_document("notes", trace.start)
        document = await replay.open_document(client, "notes", trace)
        collect_acks(document, acks)
        # In parts, so that it is not all typed while the server is away for the first time.
        for start in range(0, len(trace.runs), 50):
            part = replace(trace, runs=trace.runs[start : start + 50])
            await replay.replay_sequential(document, part, 1, killer.advance)
        await killer.finished()
        assert await audit(server, [document], trace.start, acks) == trace.end
        assert killer.kills == kills


@pytest.mark.parametrize("authors", [2, 4])
async def test_a_concurrent_replay(own_server: ServerProcess, authors: int) -> None:
    await replay_concurrently(own_server, traces.made_up(40 + authors, 1_200, authors), 4, authors)


async def test_a_sequential_replay(own_server: ServerProcess) -> None:
    await replay_sequentially(own_server, traces.made_up(50, 8_000, 1), 4, 1)


@pytest.mark.full
@pytest.mark.parametrize("seed", seeds(1, 6))
async def test_longer_concurrent_replays(own_server: ServerProcess, seed: int) -> None:
    await replay_concurrently(own_server, traces.made_up(seed, 6_000, 2 + seed % 4), 8, seed)


@pytest.mark.full
async def test_a_recorded_concurrent_replay(own_server: ServerProcess) -> None:
    await replay_concurrently(own_server, traces.example().load(traces.concurrent("friendsforever")), 6, 1)


@pytest.mark.full
async def test_a_recorded_sequential_replay(own_server: ServerProcess) -> None:
    await replay_sequentially(own_server, traces.example().load(traces.sequential("json-crdt-blog-post")), 6, 3)


async def first(*awaitables: Coroutine[Any, Any, Any]) -> None:
    """Until one of them is done; the others are given up."""
    tasks = [asyncio.ensure_future(one) for one in awaitables]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()


class Writer:
    """Types at random places. Its characters are its own and each is typed once.

    Mostly it goes on as soon as what it typed is under way, so that there are many operations; it does not wait for acks,
    and while the server is away it types ``OFFLINE`` characters more.
    """

    OFFLINE = 20

    def __init__(self, document: TextDocument, characters: list[str], rng: random.Random, killer: Killer) -> None:
        self.document = document
        self.characters = characters
        self.deleted: set[str] = set()
        self._rng = rng
        self._killer = killer
        self._offline = 0

    async def write(self) -> None:
        document, rng = self.document, self._rng
        for character in self.characters:
            length = len(document)
            if length > 20 and rng.random() < 0.2:
                at = rng.randrange(length)
                self.deleted |= set(document.slice(at, at + 1))
                document.delete(at, 1)
            document.insert(rng.randint(0, len(document)), character)
            self._killer.advance(1)
            await self._breathe(rng.random())

    async def _breathe(self, chance: float) -> None:
        killer, document = self._killer, self.document
        if not killer.down.is_set():
            self._offline = 0
            if chance < 0.8:
                await first(document.settled() if chance < 0.05 else document.sent(), killer.down.wait())
        elif self._offline == self.OFFLINE:
            await killer.up.wait()
        else:
            self._offline += 1
        await asyncio.sleep(0)


def blocks() -> Iterator[int]:
    """Where each writer's characters begin; one block above U+FFFF."""
    yield from (0x4E00, 0x10400, 0xAC00)


async def write_at_random_places(own_server: ServerProcess, seed: int, count: int) -> None:
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        clients = await open_clients(stack, own_server, 3, "msgpack")
        killer = Killer(own_server, points(seed, 5, 3 * count), clients)
        writers = []
        for client, start in zip(clients, blocks(), strict=True):
            document = await client.document("notes")
            collect_acks(document, acks)
            characters = [chr(start + index) for index in range(count)]
            writers.append(Writer(document, characters, random.Random(seed + start), killer))
        await asyncio.gather(*(writer.write() for writer in writers))
        await killer.finished()
        await asyncio.gather(*(writer.document.settled() for writer in writers))
        text = await audit(own_server, [writer.document for writer in writers], "", acks)
        deleted = set[str]().union(*(writer.deleted for writer in writers))
        typed = {character for writer in writers for character in writer.characters}
        assert len(text) == len(set(text)), "something was typed once and is there twice"
        assert typed - deleted <= set(text), "something was lost"
        assert killer.kills == 5


async def test_writers_at_random_places(own_server: ServerProcess) -> None:
    await write_at_random_places(own_server, 5, 350)


async def test_writers_while_their_history_is_merged(tmp_path: Path) -> None:
    """Turns become blocks all the time, and the server dies in the middle of it."""
    often = {
        "snapshot_operations": 10,
        "window_operations": 20,
        "compact_operations": 64,
        "block_bytes": 4096,
        "checkpoint_bytes": 4096,
    }
    with ServerProcess(tmp_path, {"documents": {**often}}) as server:
        await write_at_random_places(server, 11, 350)
        async with await connect(server.ws_url, name="reader") as client:
            operations: list[dict[str, Any]] = []
            while page := await client.request("document:history", {"document": "notes", "since": len(operations)}):
                if not page["operations"]:
                    break
                operations += page["operations"]
            assert [one["revision"] for one in operations] == list(range(1, page["revision"] + 1))
            text = ""
            for one in operations:
                text = apply(text, Operation(one["operation"]))
                if one["revision"] % 97 == 0:
                    at = await client.request("document:at", {"document": "notes", "revision": one["revision"]})
                    assert (at["text"], at["client"]) == (text, one["client"])
        await asyncio.to_thread(wait_for_blocks, tmp_path / "syncline.db")


def wait_for_blocks(path: Path) -> None:
    """Merging goes on in the background: until it has made what a history of this length gives at the least."""
    with closing(sqlite3.connect(path)) as database:

        def merged() -> bool:
            blocks, most = database.execute("SELECT count(*), max(count) FROM turns WHERE count > 50").fetchone()
            checkpoints = database.execute("SELECT count(*) FROM checkpoints").fetchone()[0]
            return bool(blocks >= 2 and most >= 100 and checkpoints >= 1)

        wait_until(merged)


async def test_messages(own_server: ServerProcess) -> None:
    """An acknowledged message is in the history where the ack said; one whose answer was lost is there once or not."""
    total = 400
    acknowledged: dict[int, Position] = {}
    heard: list[int | str] = []
    async with AsyncExitStack() as stack:
        sender, listener = clients = await open_clients(stack, own_server, 2, "json")
        killer = Killer(own_server, points(7, 4, total), clients)
        out = await sender.join("team")
        inward = await listener.join("team")
        ended = asyncio.Event()

        def hear(publication: Publication) -> None:
            heard.append(publication.data)
            if publication.data == "end":
                ended.set()

        inward.on_message(hear)
        unknown = 0
        for number in range(total):
            try:
                acknowledged[number] = await out.send(number)
            except (ConnectionLost, RequestTimeout):
                unknown += 1
            killer.advance(1)
        await killer.finished()
        last = await out.send("end")
        [reader] = await open_clients(stack, own_server, 1, "msgpack")
        stored = await reader.join("team", history=1000)
        places = {publication.data: publication.position for publication in stored.history}
        assert len(stored.history) == len(places), "a message is there twice"
        assert all(places[number] == position for number, position in acknowledged.items())
        assert unknown <= killer.kills
        await ended.wait()
        assert killer.kills == 4
        assert heard == [publication.data for publication in stored.history], "the listener missed something"
        assert inward.position == last
        assert inward.recovered is True
