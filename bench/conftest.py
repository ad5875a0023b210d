"""Prints the rows beside their peers at the end; ``--rows FILE`` also writes them as Markdown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import comparison
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rows", metavar="FILE", default=None, help="write the rows beside their peers to FILE (Markdown)"
    )


@pytest.fixture(scope="session", autouse=True)
def pinned() -> Iterator[None]:
    """One core for everything that is timed in this process, and for the peers that it starts one after the other."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not comparison.ROWS and not comparison.SERVERS:
        return
    parts = [comparison.circumstances()]
    if comparison.ROWS:
        parts.append(comparison.markdown(comparison.ROWS))
    if comparison.SERVERS:
        parts.append(comparison.servers_markdown(comparison.SERVERS))
    told = "\n\n".join(parts) + "\n"
    terminalreporter.section("beside the peers")
    terminalreporter.write_line(told)
    target = config.getoption("--rows")
    if target:
        Path(target).write_text(told, "utf-8")
