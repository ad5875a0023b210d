"""The server is killed (SIGKILL) again and again in the middle of work; the clients come back by themselves.

Held afterwards: everybody has the same text; every operation and message that was acknowledged is there, at the place that
the ack named; nothing is there twice.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

from syncline.client import Backoff, Client, Committed, ConnectionLost, Document, Position, RequestTimeout, connect
from syncline.core.ot import Operation, apply
from tests import traces
from tests.harness import ServerProcess
from tests.waiting import until

QUICK = Backoff(initial=0.02, maximum=0.25)


class Killer:
    """Kills and starts the server at given points of a progress."""

    def __init__(self, server: ServerProcess, points: list[int]) -> None:
        self.kills = 0
        self._server = server
        self._points = sorted(points)
        self._done = 0
        self._starting: asyncio.Task[None] | None = None

    def advance(self, count: int) -> None:
        self._done += count
        if self._points and self._done >= self._points[0] and (self._starting is None or self._starting.done()):
            while self._points and self._done >= self._points[0]:
                self._points.pop(0)
            self.kills += 1
            self._server.kill()  # here and now, whatever is under way
            self._starting = asyncio.get_running_loop().create_task(asyncio.to_thread(self._server.start))

    async def finished(self) -> None:
        if self._starting is not None:
            await self._starting


async def history(client: Client, document: Document) -> list[dict[str, Any]]:
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


async def audit(server: ServerProcess, documents: list[Document], start: str, acks: list[Committed]) -> str:
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


def collect_acks(document: Document, acks: list[Committed]) -> None:
    document.on_committed(lambda committed: acks.append(committed) if committed.own else None)


def points(seed: int, count: int, total: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(total) for _ in range(count)]


async def open_clients(stack: AsyncExitStack, server: ServerProcess, count: int, codec: Any) -> list[Client]:
    return [
        await stack.enter_async_context(
            await connect(server.ws_url, name=f"writer {index}", codec=codec, backoff=QUICK)
        )
        for index in range(count)
    ]


async def test_a_concurrent_replay(own_server: ServerProcess) -> None:
    replay = traces.example()
    trace = replay.load(traces.concurrent("friendsforever"))
    killer = Killer(own_server, points(1, 6, trace.edits))
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        clients = await open_clients(stack, own_server, 2, "json")
        await clients[0].create_document("notes")
        documents = [await replay.open_document(client, "notes", trace) for client in clients]
        for document in documents:
            collect_acks(document, acks)
        await replay.replay_concurrent(documents, trace, killer.advance)
        await killer.finished()
        assert await audit(own_server, documents, "", acks) == trace.end
        assert all(client.reconnects >= killer.kills >= 3 for client in clients)


async def test_a_sequential_replay(own_server: ServerProcess) -> None:
    replay = traces.example()
    trace = replay.load(traces.sequential("json-crdt-blog-post"))
    killer = Killer(own_server, points(3, 5, trace.edits))
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        [client] = await open_clients(stack, own_server, 1, "json")
        await client.create_document("notes", trace.start)
        document = await replay.open_document(client, "notes", trace)
        collect_acks(document, acks)
        await replay.replay_sequential(document, trace, 1, killer.advance)
        await killer.finished()
        assert await audit(own_server, [document], trace.start, acks) == trace.end


class Writer:
    """Types at random places without waiting for anything. Its characters are its own and each is typed once."""

    def __init__(self, document: Document, first: int, count: int, rng: random.Random) -> None:
        self.document = document
        self.characters = [chr(first + index) for index in range(count)]
        self.deleted: set[str] = set()
        self._rng = rng

    async def write(self, advance: Callable[[int], None]) -> None:
        document, rng = self.document, self._rng
        for character in self.characters:
            length = len(document)
            if length > 20 and rng.random() < 0.2:
                at = rng.randrange(length)
                self.deleted |= set(document.slice(at, at + 1))
                document.delete(at, 1)
            document.insert(rng.randint(0, len(document)), character)
            advance(1)
            if rng.random() < 0.05:
                await document.settled()
            await asyncio.sleep(rng.random() * 0.004)  # people type; nothing waits for this


def blocks() -> Iterator[int]:
    """Where each writer's characters begin; one block above U+FFFF."""
    yield from (0x4E00, 0x10400, 0xAC00)


async def write_at_random_places(own_server: ServerProcess, seed: int, count: int) -> None:
    killer = Killer(own_server, points(seed, 5, 3 * count))
    acks: list[Committed] = []
    async with AsyncExitStack() as stack:
        clients = await open_clients(stack, own_server, 3, "msgpack")
        writers = []
        for client, first in zip(clients, blocks(), strict=True):
            document = await client.document("notes")
            collect_acks(document, acks)
            writers.append(Writer(document, first, count, random.Random(first)))
        await asyncio.gather(*(writer.write(killer.advance) for writer in writers))
        await killer.finished()
        await asyncio.gather(*(writer.document.settled() for writer in writers))
        text = await audit(own_server, [writer.document for writer in writers], "", acks)
        deleted = set[str]().union(*(writer.deleted for writer in writers))
        typed = {character for writer in writers for character in writer.characters}
        assert len(text) == len(set(text)), "something was typed once and is there twice"
        assert typed - deleted <= set(text), "something was lost"
        assert killer.kills >= 3


async def test_writers_at_random_places(own_server: ServerProcess) -> None:
    await write_at_random_places(own_server, 5, 500)


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
        await write_at_random_places(server, 11, 500)
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
    with closing(sqlite3.connect(tmp_path / "syncline.db")) as database:
        blocks, most = database.execute("SELECT count(*), max(count) FROM turns WHERE count > 50").fetchone()
        assert blocks >= 3 and most >= 100
        assert database.execute("SELECT count(*) FROM checkpoints").fetchone()[0] >= 1


async def test_messages(own_server: ServerProcess) -> None:
    """An acknowledged message is in the history where the ack said; one whose answer was lost is there once or not."""
    total = 400
    killer = Killer(own_server, points(7, 4, total))
    acknowledged: dict[int, Position] = {}
    heard: list[int | str] = []
    async with AsyncExitStack() as stack:
        sender, listener = await open_clients(stack, own_server, 2, "json")
        out = await sender.join("team")
        inward = await listener.join("team")
        inward.on_message(lambda publication: heard.append(publication.data))
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
        await until(lambda: heard and heard[-1] == "end")
        assert heard == [publication.data for publication in stored.history], "the listener missed something"
        assert inward.position == last
        assert inward.recovered is True
