"""The real server inside the test's event loop, clients on it, and a clock whose sleeps a test can stop."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Backoff, Client, connect
from syncline.server import app as app_module
from syncline.server.app import App
from tests.server.conftest import configure

Open = Callable[..., Awaitable[Client]]
QUICK = Backoff(initial=0.01, maximum=0.05)


def ws_url(app: App) -> str:
    return app.url.replace("http://", "ws://") + "/ws"


@contextlib.asynccontextmanager
async def serving(folder: Path, backend: str = "memory", **sections: dict[str, Any]) -> AsyncIterator[App]:
    """``async with serving(tmp_path, limits={"rooms": 2}) as app``."""
    async with app_module.running(configure(backend, folder, **sections)) as app:
        yield app


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    async with serving(tmp_path) as running:
        yield running


@pytest.fixture(params=["json", "msgpack"])
def codec(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def open_client(app: App) -> AsyncIterator[Open]:
    """``await open_client(name="Ada")``: closed at the end of the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def open_one(**options: Any) -> Client:
            options.setdefault("backoff", QUICK)
            return await stack.enter_async_context(await connect(ws_url(app), **options))

        yield open_one


class GateClock:
    """Real time, but every sleep of the client also waits until the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.ahead = 0.0  # seconds that have passed beside the real ones

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
            await asyncio.sleep(min(seconds, 0.01))
        finally:
            self.waiting -= 1


def cut(client: Client) -> None:
    """The client's socket breaks."""
    link = client.connection._link
    assert link is not None
    link.abort()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """For conditions that nothing tells of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
