"""For the whole suite: a hanging test shows where its asyncio tasks wait; hypothesis runs by a named profile; a server in
a process of its own for who asks for one."""

from __future__ import annotations

import asyncio
import gc
import os
import random
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

import syncline
from tests import scale
from tests.harness import ServerProcess
from tests.peers import Peers

# No deadlines, no complaints about slow examples: a busy machine is no bug. The gate repeats itself; more examples, from a seed
# that the first lines name (`make test-all` passes it as --hypothesis-seed), come with the longer levels.
PATIENT = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True)
hypothesis.settings.register_profile("gate", PATIENT, derandomize=True, database=None)
hypothesis.settings.register_profile("full", PATIENT, derandomize=False, max_examples=500)
hypothesis.settings.register_profile("nightly", PATIENT, derandomize=False, max_examples=2_000)
hypothesis.settings.load_profile(scale.LEVEL)


def pytest_report_header() -> str:
    """Which build is tested: the one in src/, or a debug or sanitized one; how much, and from which seed."""
    build = os.path.dirname(syncline.__file__)
    return f"syncline {syncline.__version__} from {build}; level {scale.LEVEL}, SYNCLINE_TEST_SEED={scale.SEED}"


def awaiting(task: asyncio.Task[object]) -> Iterator[str]:
    """Where a task waits, one line a coroutine, the outermost first."""
    coroutine: object = task.get_coro()
    while (frame := getattr(coroutine, "cr_frame", None)) is not None:
        yield f"  {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_qualname}"
        coroutine = getattr(coroutine, "cr_await", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """pytest-timeout's own traceback ends in the selector; what matters is which coroutine never got its answer."""
    report = yield
    if call.excinfo is not None and str(call.excinfo.value).startswith("Timeout"):
        tasks = [thing for thing in gc.get_objects() if isinstance(thing, asyncio.Task) and not thing.done()]
        lines = [line for task in tasks for line in (task.get_name(), *awaiting(task))]
        if lines:
            report.sections.append(("asyncio tasks that were waiting", "\n".join(lines)))
    # A report goes from pytest-xdist's worker to its master as UTF-8; half a surrogate pair in it would end the whole run.
    report.sections[:] = [(title, printable(text)) for title, text in report.sections]
    if report.failed and (shown := str(report.longrepr)) != printable(shown):
        report.longrepr = printable(shown)
    return report


def printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


@pytest.fixture(autouse=True)
def seeded(request: pytest.FixtureRequest) -> None:
    """Clients and server spread what they do by chance; in a test that chance is always the same."""
    random.seed(f"{scale.SEED} {request.node.nodeid}")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One server for all tests that leave it running; take names of rooms and documents from ``name``."""
    with ServerProcess(tmp_path_factory.mktemp("server")) as process:
        yield process


@pytest.fixture(scope="session")
def peers() -> Iterator[Peers]:
    """Other implementations to compare with, under Node; ``batch`` asks them."""
    process = Peers()
    yield process
    process.close()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server of this test's own, to kill and start again."""
    with ServerProcess(tmp_path) as process:
        yield process


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name of room or document that no other test uses."""
    return str(request.node.nodeid)[-120:]
