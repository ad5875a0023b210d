"""Writers in processes of their own (writer.py, writer.mjs), as the test that drives them has them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.proxy import Proxy, proxied
from tests.waiting import PATIENCE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
#: Bytes of a line: a report has whole documents in it.
LINE = 64 * 1024 * 1024
#: Bytes of a log that are kept: its end.
SAID = 40_000


class Writer:
    """``edits``: how many it has made by now; ``online``: how often it has come online. ``proxy``: on its way to the server."""

    def __init__(self, name: str, process: Process, proxy: Proxy) -> None:
        self.name = name
        self.proxy = proxy
        self.edits = 0
        self.online = 0
        self._process = process
        self._said = b""
        self._answers: dict[str, asyncio.Future[Any]] = {}
        self.joined = self._answer("joined")
        self._reading = asyncio.get_running_loop().create_task(self._read())

    def write(self, count: int, kinds: list[str], patience: float) -> asyncio.Future[int]:
        return self._ask("wrote", write={"count": count, "kinds": kinds, "patience": patience})

    def settle(self) -> asyncio.Future[int]:
        return self._ask("settled", settle=True)

    def level(self, revisions: dict[str, int]) -> asyncio.Future[dict[str, Any]]:
        return self._ask("report", level=revisions)

    async def state(self) -> Any:
        """For people; also of one that does not answer."""
        try:
            async with asyncio.timeout(5):
                return await self._ask("state", state=True)
        except TimeoutError:
            return f"does not answer; {self.edits} edits"

    def _answer(self, name: str) -> asyncio.Future[Any]:
        """The next line of that name. Raises RuntimeError when the writer ends before."""
        future = self._answers[name] = asyncio.get_running_loop().create_future()
        return future

    def _ask(self, answer: str, **command: Any) -> asyncio.Future[Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        return self._answer(answer)

    async def _read(self) -> None:
        assert self._process.stdout is not None and self._process.stderr is not None
        errors = asyncio.ensure_future(self._listen(self._process.stderr))  # else a writer that says much would wait
        async for line in self._process.stdout:
            for name, value in json.loads(line).items():
                if name == "edits":
                    self.edits = value
                elif name == "online":
                    self.online = value
                elif (future := self._answers.pop(name, None)) is not None and not future.done():
                    future.set_result(value)
        await errors
        for future in self._answers.values():
            if not future.done():
                future.set_exception(RuntimeError(f"{self.name} has ended:\n{self.said}"))

    async def _listen(self, errors: asyncio.StreamReader) -> None:
        while part := await errors.read(65_536):
            self._said = (self._said + part)[-SAID:]

    @property
    def said(self) -> str:
        """The end of its log."""
        return self._said.decode("utf-8", "replace")

    async def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
        finally:
            await self._process.wait()
            await self._reading


@contextlib.asynccontextmanager
async def writing(number: int, port: int, seed: str, node: str | None) -> AsyncIterator[Writer]:
    """A writer that has joined. ``node``: the program, for one of the browser client."""
    async with proxied(port) as proxy:
        if node is None:
            command = [sys.executable, "-m", "tests.faults.writer"]
        else:  # Node 20 has its WebSocket behind a flag.
            command = [node, "--no-warnings", "--experimental-websocket", str(HERE / "writer.mjs")]
        process = await asyncio.create_subprocess_exec(
            *(*command, proxy.url, str(number), seed), cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LINE
        )
        writer = Writer(f"writer {number} ({'Python' if node is None else 'browser client'})", process, proxy)
        try:
            await writer.joined
            yield writer
        finally:
            await writer.close()
