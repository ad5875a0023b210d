#!/usr/bin/env python3
"""Replays an editing history through real WebSocket clients and checks that the text comes out letter for letter.

    python examples/replay_trace.py
    python examples/replay_trace.py --seed 7 --edits 30000 --authors 5
    python examples/replay_trace.py path/to/automerge-paper.json.gz
    python examples/replay_trace.py path/to/friendsforever.json.gz --url ws://127.0.0.1:8000/ws

Without a file the history is made up by a seeded generator, ``syncline.testing.editing``: several authors who see each
other late and write at the same places, with characters above U+FFFF. The text that it must give is found by a model
that transforms nothing. --write puts such a history into a file.

Files are in the format of the editing-traces collection by Joseph Gentle, which has recorded histories:
https://github.com/josephg/editing-traces, folders sequential_traces and concurrent_traces. A sequential trace goes through
one client. A concurrent one goes through one client for each agent: each sees the others' edits exactly when the trace's
``parents`` say so, although they have arrived before (``Document.hold`` and ``show``).

Without --url the example starts a server of its own in a temporary directory, and checks the text once more after that
server was stopped and started again. The last line begins with "ok" and the exit code is 0 only when everything agrees.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import itertools
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from syncline.client import Client, ClientError, Committed, TextDocument, connect
from syncline.core.errors import SynclineError
from syncline.testing.editing import Patch, generate

SEED, EDITS, AUTHORS = 1, 10_000, 3  # of a history that is made up


class Mismatch(Exception):
    """The replay did not give the text that it must give."""


# The trace ---------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Run:
    """Consecutive transactions of one agent that see the same edits of the others.

    sees: for each agent how many of its transactions are visible (one's own: all before).
    """

    agent: int
    sees: tuple[int, ...]
    patches: list[Patch]
    transactions: int


@dataclass(frozen=True, slots=True)
class Trace:
    name: str
    start: str
    end: str
    agents: int
    runs: list[Run]

    @property
    def edits(self) -> int:
        return sum(len(run.patches) for run in self.runs)


def load(path: Path, limit: int = 0) -> Trace:
    """Reads a trace, sequential or concurrent. ``limit``: only so many transactions of a sequential one (0: all).

    Raises OSError, ValueError.
    """
    content = path.read_bytes()
    try:
        raw = json.loads(gzip.decompress(content) if path.suffix == ".gz" else content)
        if not {"txns", "endContent"} <= raw.keys():
            raise ValueError("it has no txns, or no endContent")
    except (ValueError, OSError, EOFError, AttributeError) as error:
        raise ValueError(f"this is no trace of the editing-traces collection: {error}") from error
    return parse(path.name.partition(".")[0], raw, limit)


def parse(name: str, raw: dict[str, Any], limit: int = 0) -> Trace:
    """As ``load``, of what is in the file."""
    transactions = raw["txns"]
    if raw.get("kind") == "concurrent" or (transactions and "parents" in transactions[0]):
        if limit:
            raise SystemExit("--limit: a concurrent trace has its endContent only as a whole")
        cut = list(runs(transactions, raw["numAgents"], raw.get("ties", False)))
        return Trace(name, "", raw["endContent"], raw["numAgents"], cut)
    patches = [[_patch(patch) for patch in transaction["patches"]] for transaction in transactions]
    end = raw["endContent"]
    if limit and limit < len(patches):
        patches = patches[:limit]
        end = apply_plainly(raw["startContent"], itertools.chain.from_iterable(patches))
    return Trace(name, raw["startContent"], end, 1, [Run(0, (0,), patch, 1) for patch in patches])


def _patch(patch: list[Any]) -> Patch:
    return int(patch[0]), int(patch[1]), str(patch[2])


def apply_plainly(text: str, patches: Iterator[Patch]) -> str:
    """What a beginning of a trace gives, by the simplest means: the oracle of --limit."""
    characters = list(text)
    for position, deleted, inserted in patches:
        characters[position : position + deleted] = inserted
    return "".join(characters)


def runs(transactions: list[dict[str, Any]], agents: int, ties: bool) -> Iterator[Run]:
    """Cuts the history where the author changes, where an author sees something new, and after every transaction up to
    which somebody sees: what goes out as one operation must be seen as a whole or not at all.

    With ``ties``, where people put something at one place at the same time, it is cut after every transaction: several
    operations made one may stand on another side of a concurrent one than one by one."""
    counts = [0] * agents
    seen: list[tuple[int, ...]] = []  # after each transaction: how many of each agent's are in its past
    views: list[tuple[int, ...]] = []  # before it
    for number, transaction in enumerate(transactions):
        agent = transaction["agent"]
        view = [0] * agents
        for parent in transaction["parents"]:
            view = [max(pair) for pair in zip(view, seen[parent], strict=True)]
        if view[agent] != counts[agent]:
            raise SystemExit(f"transaction {number}: agent {agent} does not see all of its own edits")
        views.append(tuple(view))
        counts[agent] += 1
        view[agent] += 1
        seen.append(tuple(view))
    cuts = {
        (other, seen_before[other])
        for seen_before, transaction in zip(views, transactions, strict=True)
        for other in range(agents)
        if other != transaction["agent"]
    }
    current: Run | None = None
    for seen_before, transaction in zip(views, transactions, strict=True):
        agent = transaction["agent"]
        others = without(agent, seen_before)
        same = current is not None and current.agent == agent and without(agent, current.sees) == others
        if current is None or ties or not same or (agent, seen_before[agent]) in cuts:
            if current is not None:
                yield current
            current = Run(agent, seen_before, [], 0)
        current.patches.extend(_patch(patch) for patch in transaction["patches"])
        current.transactions += 1
    if current is not None:
        yield current


def without(agent: int, view: tuple[int, ...]) -> tuple[int, ...]:
    return view[:agent] + view[agent + 1 :]


# The replay --------------------------------------------------------------------------------------------------------------


async def open_document(client: Client, name: str, trace: Trace) -> TextDocument:
    document = await client.document(name, hold_limit=1_000_000)
    if document.text != trace.start:
        raise Mismatch(f"the document begins with {len(document)} characters instead of {len(trace.start)}")
    return document


async def replay_sequential(document: TextDocument, trace: Trace, batch: int, advance: Callable[[int], None]) -> None:
    """As fast as it goes: what is typed while an operation is in flight becomes the next operation."""
    typed = 0
    for run in trace.runs:
        for position, deleted, inserted in run.patches:
            document.replace(position, deleted, inserted)
        typed += len(run.patches)
        if typed >= batch:
            advance(typed)
            typed = 0
            await asyncio.sleep(0)
    advance(typed)
    await document.settled()


class Agent:
    """One of the people of a concurrent trace: a document that shows the others' edits only when told."""

    def __init__(self, document: TextDocument) -> None:
        self.document = document
        self.done = 0  # own transactions so far
        self.newest = 0  # the newest revision that has arrived, shown or not
        self._revisions: dict[tuple[str, int], int] = {}  # (client, seq) -> revision, of what has arrived
        document.hold()
        document.on_committed(self._on_committed)

    def _on_committed(self, committed: Committed) -> None:
        self.newest = committed.revision
        self._revisions[committed.client, committed.seq] = committed.revision

    async def arrives(self, revision: int) -> None:
        await self.document.wait_for(lambda: self.newest >= revision)

    async def show(self, client: str, seq: int) -> None:
        """Lets in everything of ``client`` up to its operation ``seq``, once it is there."""
        await self.document.wait_for(lambda: (client, seq) in self._revisions)
        self.document.show(self._revisions[client, seq])


async def replay_concurrent(documents: list[TextDocument], trace: Trace, advance: Callable[[int], None]) -> None:
    """The people take turns in the recorded order of their edits, and each sees what it saw then.

    The order matters where two put something at one place, or a concurrent delete has made it one: an OT server then puts
    what comes later to the left. So a run is committed before the next person's run is sent; within a run and at its cuts
    nobody waits for more than that the operation before is under way.
    """
    agents = [Agent(document) for document in documents]
    sent: list[dict[int, int]] = [{0: 0} for _ in agents]  # per agent: transactions done -> sequence number
    for index, run in enumerate(trace.runs):
        agent, document = agents[run.agent], agents[run.agent].document
        for other, count in enumerate(run.sees):
            if other != run.agent and count:
                await agent.show(documents[other].client_id, sent[other][count])
        for position, deleted, inserted in run.patches:
            document.replace(position, deleted, inserted)
        agent.done += run.transactions
        following = trace.runs[index + 1].agent if index + 1 < len(trace.runs) else -1
        await (document.sent() if following == run.agent else document.settled())
        sent[run.agent][agent.done] = document.last_seq
        advance(len(run.patches))
    head = max(agent.newest for agent in agents)
    for agent in agents:
        await agent.arrives(head)
        if agent.document.hold_overflows:
            raise Mismatch("edits were shown before their time")
        agent.document.release()


def compare(where: str, text: str, trace: Trace) -> None:
    if text == trace.end:
        return
    at = next(
        (i for i, pair in enumerate(zip(text, trace.end, strict=False)) if pair[0] != pair[1]),
        min(len(text), len(trace.end)),
    )
    raise Mismatch(
        f"{where}: {len(text)} characters instead of {len(trace.end)}; from character {at} on it is "
        f"{text[at : at + 40]!r} instead of {trace.end[at : at + 40]!r}"
    )


# The server --------------------------------------------------------------------------------------------------------------


class OwnServer:
    """``syncline serve`` on a free port, with its data in ``directory``; started again it takes the same port."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}/ws"

    async def start(self) -> None:
        config = self._directory / "syncline.toml"
        database = json.dumps(str(self._directory / "syncline.db"))
        config.write_text(f'[server]\nport = {self._port}\n[store]\npath = {database}\n[log]\nlevel = "error"\n')
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "syncline", "serve", "--config", str(config)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while line := await self._process.stdout.readline():
                if line.startswith(b"listening on "):
                    self._port = int(line.rstrip().rpartition(b":")[2])
                    return
        raise Mismatch("the server did not start")

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


@contextlib.asynccontextmanager
async def serving(url: str | None) -> AsyncIterator[tuple[str, OwnServer | None]]:
    if url is not None:
        yield url, None
        return
    with tempfile.TemporaryDirectory(prefix="syncline-replay-") as directory:
        server = OwnServer(Path(directory))
        try:
            await server.start()
            yield server.url, server
        finally:
            await server.stop()


# The whole ---------------------------------------------------------------------------------------------------------------


async def check_anew(url: str, name: str, trace: Trace, options: argparse.Namespace, where: str) -> int:
    """The text as the server gives it to somebody new; returns its revision."""
    async with await connect(url, token=options.token, name="check", codec=options.codec) as client:
        document = await client.document(name)
        compare(where, document.text, trace)
        return document.revision


async def replay(trace: Trace, options: argparse.Namespace, console: Console) -> str:
    """Returns what to say after "ok". Raises Mismatch, ClientError, SynclineError."""
    name = options.document or f"replay-{trace.name}-{secrets.token_hex(4)}"
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with serving(options.url) as (url, server), contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                await connect(url, token=options.token, name=f"agent {agent}", codec=options.codec)
            )
            for agent in range(trace.agents)
        ]
        await clients[0].create_document(name, trace.start)
        documents = [await open_document(client, name, trace) for client in clients]
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            done, total = 0, trace.edits
            task = progress.add_task(trace.name, total=total)

            def advance(count: int) -> None:
                nonlocal done
                before, done = done, done + count
                progress.advance(task, count)
                if progress.disable and before * 10 // (total or 1) < done * 10 // (total or 1) < 10:
                    print(f"{trace.name}: {done:,} of {total:,} edits", flush=True)

            started = time.perf_counter()
            if trace.agents == 1:
                await replay_sequential(documents[0], trace, options.batch, advance)
            else:
                await replay_concurrent(documents, trace, advance)
            seconds = time.perf_counter() - started
        for agent, document in enumerate(documents):
            compare(f"client {agent}", document.text, trace)
        revision = await check_anew(url, name, trace, options, "the server")
        if any(document.revision != revision for document in documents):
            raise Mismatch(f"revisions differ: {[document.revision for document in documents]}, server {revision}")
        checked = "clients and server"
        if server is not None:
            for client in clients:
                await client.close()
            await server.stop()
            await server.start()
            if await check_anew(server.url, name, trace, options, "the server after a restart") != revision:
                raise Mismatch("the revision is another one after the restart")
            checked = "clients, server, and server after a restart"
    rate = f"{trace.edits / seconds:,.0f} edits/s" if seconds else ""
    return (
        f"{trace.name}: {trace.edits:,} edits by {trace.agents} client{'s'[: trace.agents > 1]}, revision {revision:,}, "
        f"{len(trace.end):,} characters, {seconds:.2f} seconds ({rate}); the same text in {checked}"
    )


def at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is less than 1")
    return number


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n\n")[0], epilog=__doc__.rpartition("\n\n")[2].strip()
    )
    parser.add_argument("trace", type=Path, nargs="?", metavar="TRACE", help="a trace file, .json or .json.gz")
    made_up = parser.add_argument_group("a history that is made up, without TRACE")
    made_up.add_argument("--seed", type=int, metavar="N", help=f"another one for each number (default: {SEED})")
    made_up.add_argument("--edits", type=at_least_one, metavar="N", help=f"how long it is (default: {EDITS:,})")
    made_up.add_argument(
        "--authors", type=at_least_one, metavar="N", help=f"how many people write it (default: {AUTHORS})"
    )
    made_up.add_argument(
        "--write", type=Path, metavar="PATH", help="write it to .json or .json.gz instead of replaying it"
    )
    parser.add_argument("--url", help="a running server, like ws://127.0.0.1:8000/ws (default: an own one)")
    parser.add_argument("--token", help="a token for that server (default: guests)")
    parser.add_argument("--document", help="name of the document to create (default: a new name)")
    parser.add_argument("--codec", choices=("json", "msgpack"), default="json", help="encoding (default: %(default)s)")
    parser.add_argument(
        "--batch", type=int, default=32, metavar="N",
        help="edits of a sequential trace typed per turn of the event loop (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="only N transactions of a sequential trace")
    options = parser.parse_args()
    if options.batch < 1 or options.limit < 0:
        parser.error("--batch is at least 1, --limit at least 0")
    if options.trace is not None and (options.seed, options.edits, options.authors, options.write) != (None,) * 4:
        parser.error("--seed, --edits, --authors and --write are for a history that is made up: leave out TRACE")
    console = Console(stderr=True)
    what = "the history" if options.trace is None else options.trace.name
    try:
        if options.trace is not None:
            trace = load(options.trace, options.limit)
        else:
            history = generate(
                SEED if options.seed is None else options.seed, options.edits or EDITS, options.authors or AUTHORS
            )
            what = history.name
            if options.write is not None:
                history.write(options.write)
                print(f"ok {what}: {history.edits:,} edits written to {options.write}", flush=True)
                return 0
            trace = parse(what, history.as_trace(), options.limit)
        said = asyncio.run(replay(trace, options, console))
    except (Mismatch, ClientError, SynclineError, OSError, KeyError, ValueError) as error:
        print(f"failed {what}: {error}", flush=True)
        return 1
    print(f"ok {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
