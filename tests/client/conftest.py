"""The real server inside the test's event loop, and clients on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Client, connect
from syncline.server.app import App
from tests.serving import serving, ws_url

from .links import QUICK, Open


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
