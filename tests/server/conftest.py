"""``serve`` and ``app``: a real server inside the test's event loop, over each backend."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path

import pytest

from syncline.server.app import App
from tests.loglines import LogLines, kept
from tests.serving import Serve, serving


@pytest.fixture(params=["memory", "sqlite"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def serve(backend: str, tmp_path: Path) -> Serve:
    return partial(serving, tmp_path, backend)


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[App]:
    async with serve() as running:
        yield running


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    with kept():
        yield LogLines()
