"""Prints the rows beside their peers at the end; ``--write`` also writes them into results.md, with a chart."""

from __future__ import annotations

import os
from collections.abc import Iterator

import chart
import comparison
import pytest
import report


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write", action="store_true", help="write the rows beside their peers into results.md")


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
    if config.getoption("--write"):
        bars = [
            chart.Bar(name, one["rate"], one["rate"], one["rate"], ours=name.startswith("syncline"))
            for name, one in comparison.SERVERS
            if one["clients"] == 100
        ]
        if bars:
            title = "One document, 100 clients typing"
            chart.draw("documents-100", title, "operations/s", bars, True)
            told += f"\n![{title}](charts/documents-100.svg)\n"
        report.write("ot", "Collaboration", told)
