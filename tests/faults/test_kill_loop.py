"""The server is killed (SIGKILL) again and again under five who write at once in a text, a rich text and a JSON document.

Three use the Python client, two the browser's. In each round each makes its edits, the server is killed in the midst of it and started
again. Before that one with each client no longer hears what the server says, and now and then somebody is away for the whole of a round.
In the end all come to rest, and everybody, a fresh reader, and a reader after one more kill have the same; what was inserted is there once,
and what was added is the sum.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

import pytest

from syncline.client import connect
from tests.browser.tools import build
from tests.faults.writer import KINDS
from tests.faults.writers import Writer, writing
from tests.harness import ServerProcess
from tests.scale import by_level, seeds
from tests.waiting import PATIENCE, until

PYTHON, BROWSER = 3, 2
#: Seconds: for a round, and to come to rest in the end. A busy machine is no fault; to need as long again as one has written is one.
BOUND = by_level(2, 3, 5) * PATIENCE
EMPTY: dict[str, Any] = {"list": [], "text": "", "keys": {}, "number": 0}
#: Part of the rounds that a writer is away.
AWAY = 0.3


async def one_round(server: ServerProcess, writers: list[Writer], rng: random.Random, share: int, **how: Any) -> None:
    deaf = [rng.choice(writers[:PYTHON]), rng.choice(writers[PYTHON:])]
    steady, *others = (writer for writer in writers if writer not in deaf)
    away = [writer for writer in others if rng.random() < AWAY]
    for writer in away:
        writer.proxy.away = True
        writer.proxy.cut()
    hearing = [steady, *(writer for writer in others if writer not in away)]
    begun = sum(writer.edits for writer in hearing)
    point = rng.randint(2, max(2, len(hearing) * share * 3 // 4))
    first = rng.randrange(1, point)
    before = [(writer, writer.online) for writer in writers]
    writing = [writer.write(share, **how) for writer in writers]
    await until(lambda: sum(writer.edits for writer in hearing) >= begun + first, BOUND)
    for writer in deaf:
        writer.proxy.policy = nothing  # what it sends now is committed, and it is not told
    await until(lambda: sum(writer.edits for writer in hearing) >= begun + point, BOUND)
    server.kill()
    for writer in deaf:
        writer.proxy.policy = None
    await asyncio.to_thread(server.start)
    await asyncio.gather(*writing)
    for writer in away:
        writer.proxy.away = False
    await until(lambda: all(writer.online > online for writer, online in before), BOUND)


def nothing(opcode: int, payload: bytes) -> list[bytes]:
    """A Policy of the proxy."""
    return []


async def read(server: ServerProcess) -> tuple[dict[str, Any], dict[str, int]]:
    """The contents as somebody gets them who comes for the first time, and their revisions."""
    async with await connect(server.ws_url, name="reader") as client:
        documents: Any = {kind: await client.document(kind, type=kind) for kind in KINDS}  # type: ignore[call-overload]
        contents = {kind: one.text if kind == "text" else one.content for kind, one in documents.items()}
        return contents, {kind: one.revision for kind, one in documents.items()}


def flat(content: Any) -> str:
    """The same text for the same content, with its characters as they are."""
    return json.dumps(content, ensure_ascii=False, sort_keys=True)


def compare(contents: dict[str, Any], writers: list[Writer], reports: list[dict[str, Any]]) -> list[str]:
    """All that is wrong."""
    wrong = []
    for kind in KINDS:
        content = flat(contents[kind])
        counts = Counter(content)
        for writer, report in zip(writers, reports, strict=True):
            if flat(report["content"][kind]) != content:
                wrong.append(f"{writer.name} has another {kind}")
            for at, marker in enumerate(report["typed"][kind]):
                if counts[marker] != 1:
                    known = "acknowledged" if at < report["acknowledged"][kind] else "not known to be acknowledged"
                    wrong.append(f"{kind}: {counts[marker]} times U+{ord(marker):X} of {writer.name}, {known}")
    for writer, report in zip(writers, reports, strict=True):
        wrong += [f"{writer.name}: {what} {report[what]}" for what in ("refused", "lost", "healed") if report[what]]
    added = sum(report["added"] for report in reports)
    if contents["json"]["number"] != added:
        wrong.append(f"the number is {contents['json']['number']}, not {added}")
    return wrong


@pytest.fixture(scope="module")
def node() -> str:
    return build("--node")


async def kill_loop(server: ServerProcess, node: str, seed: int, kills: int, share: int, **how: Any) -> None:
    """``share``: edits of each writer in a round."""
    rng = random.Random(f"kill loop {seed}")
    async with AsyncExitStack() as stack:
        async with await connect(server.ws_url, name="maker") as maker:
            for kind in KINDS:
                content = {"text": None, "rich-text": [], "json": EMPTY}[kind]
                await maker.create_document(kind, type=kind, content=content)  # type: ignore[call-overload]
        writers = [
            await stack.enter_async_context(
                writing(number, server.port, f"{seed} {number}", None if number < PYTHON else node)
            )
            for number in range(PYTHON + BROWSER)
        ]
        try:
            for _ in range(kills):
                async with asyncio.timeout(BOUND):
                    await one_round(server, writers, rng, share, **how)
            async with asyncio.timeout(BOUND):
                await asyncio.gather(*(writer.settle() for writer in writers))
                contents, revisions = await read(server)
                reports = await asyncio.gather(*(writer.level(revisions) for writer in writers))
        except TimeoutError:
            states = [f"{writer.name}: {await writer.state()}" for writer in writers]
            pytest.fail("\n".join([f"seed {seed}: not in {BOUND} s, after {server.starts - 1} kills", *states]))
        assert server.starts == kills + 1
        if wrong := compare(contents, writers, reports):
            logs = [
                f"{writer.name} said:\n{writer.said}"
                for writer in writers
                if any(one.startswith(writer.name) for one in wrong)
            ]
            pytest.fail("\n".join([f"seed {seed}: {len(wrong)} faults", *wrong[:50], *logs]))
        server.kill()
        await asyncio.to_thread(server.start)
        assert await read(server) == (contents, revisions)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(1, 2, 1))
async def test_five_writers(own_server: ServerProcess, node: str, seed: int) -> None:
    await kill_loop(own_server, node, seed, by_level(2, 8, 40), 40, kinds=list(KINDS), patience=0.2)


@pytest.mark.full
@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(1, 1, 1))
async def test_json_writers_that_wait_for_nothing(own_server: ServerProcess, node: str, seed: int) -> None:
    """They fall behind by hundreds of edits, and all of them have to catch up with each other.

    How long that takes is what they transform, own edits times others': on a busy machine it is BOUND that decides, so that one green run
    does not say that they always catch up.
    """
    share = by_level(
        300, 300, 150
    )  # with 300 in 40 rounds a browser has 100 million pairs of edits to take past each other: minutes
    await kill_loop(own_server, node, seed, by_level(2, 4, 40), share, kinds=["json"], patience=0.0)
