"""The browser client in a process of its own (typed_client.mjs), with one document open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@asynccontextmanager
async def a_client(node: str, url: str, type: str) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    """The browser client of a document, under Node: gives what says a line to it and has the answer, if it is a question."""
    process = await asyncio.create_subprocess_exec(
        *(node, "--no-warnings", "--experimental-websocket", "typed_client.mjs", url, type),
        cwd=HERE,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, into = process.stdout, process.stdin
    assert out is not None and into is not None and process.stderr is not None

    async def say(line: str) -> Any:
        into.write(line.encode() + b"\n")
        return (
            json.loads(await out.readline())
            if line.split()[0] in ("content", "cursors", "past", "first", "undo")
            else None
        )

    try:
        assert await out.readline() == b"joined\n", (await process.stderr.read()).decode()
        yield say
    finally:
        into.close()
        assert await process.wait() == 0


async def until(say: Callable[[str], Awaitable[Any]], question: str, wanted: Any) -> None:
    while (answer := await say(question)) != wanted:
        assert answer is not None
        await asyncio.sleep(0.01)
