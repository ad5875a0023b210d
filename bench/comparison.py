"""What bench_ot.py and bench_documents.py share: rows beside their peers, and Node.

A row is one figure of ours, the same work by its peers in the same run on the same core, and the target. Peers in Node
time themselves inside their process (peers/core.mjs); those in Python are timed here. A peer that is not installed is
left out of its row.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PEERS = HERE / "peers"


@dataclass
class Row:
    """``ours`` and ``peers`` in ``unit``; ``target`` as well, None where there is none."""

    work: str
    unit: str
    ours: float
    target: float | None = None
    peers: dict[str, float] = field(default_factory=dict)
    more_is_better: bool = False
    note: str = ""

    @property
    def best(self) -> tuple[str, float] | None:
        """The best peer."""
        if not self.peers:
            return None
        choose = max if self.more_is_better else min
        return choose(self.peers.items(), key=lambda one: one[1])

    @property
    def ratio(self) -> float | None:
        """How many times better than the best peer."""
        if self.best is None or not self.ours or not self.best[1]:
            return None
        return self.ours / self.best[1] if self.more_is_better else self.best[1] / self.ours

    @property
    def reached(self) -> bool | None:
        if self.target is None:
            return None
        return self.ours >= self.target if self.more_is_better else self.ours <= self.target


#: Every row of this run, in order.
ROWS: list[Row] = []


#: End to end: (server, figures of one run of a load generator).
SERVERS: list[tuple[str, dict[str, float]]] = []


def figure(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def markdown(rows: list[Row]) -> str:
    lines = [
        "| work | unit | here | target | best peer | times | peers |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        sign = ">=" if row.more_is_better else "<="
        target = "-" if row.target is None else f"{sign} {figure(row.target)}{'' if row.reached else ' (missed)'}"
        best = "-" if row.best is None else f"{row.best[0]} {figure(row.best[1])}"
        ratio = "-" if row.ratio is None else figure(row.ratio)
        others = ", ".join(f"{name} {figure(value)}" for name, value in row.peers.items()) or "-"
        work = f"{row.work}; {row.note}" if row.note else row.work
        lines.append(f"| {work} | {row.unit} | {figure(row.ours)} | {target} | {best} | {ratio} | {others} |")
    return "\n".join(lines)


def servers_markdown(rows: list[tuple[str, dict[str, float]]]) -> str:
    lines = [
        "| server | clients | operations/s | deliveries/s | p50 ms | p99 ms | server us/operation | server busy | "
        "generator busy |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in rows:
        lines.append(
            f"| {name} | {one['clients']:.0f} | {figure(one['rate'])} | {figure(one['deliveries'])} | "
            f"{figure(one['p50'])} | {figure(one['p99'])} | {figure(one['server us/op'])} | "
            f"{one['server busy']:.0%} | {one['generator busy']:.0%} |"
        )
    return "\n".join(lines)


def circumstances() -> str:
    """Machine, versions, commit, date: a figure says nothing without them."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    try:
        asked = ["git", "rev-parse", "--short", "HEAD"]
        commit = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    except FileNotFoundError:  # no git; in an unpacked archive, and where git refuses, it says nothing
        commit = ""
    found = node()
    version = "no Node"
    if found is not None:
        version = (
            "Node " + subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        )
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; Python {platform.python_version()}, "
        f"{version}; commit {commit or '?'}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average "
        f"{os.getloadavg()[0]:.1f}"
    )


# -- Node -------------------------------------------------------------------------------------------------------------


def node() -> str | None:
    """Node's path, or None: peers that need it are left out."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "browser" / "build.py"), "--node"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip().rpartition("\n")[2] if done.returncode == 0 else None


def peers(row: str, *arguments: str) -> dict[str, float]:
    """The figures of one row of peers/core.mjs; nothing when the peers are not installed (`make bench-ot` does)."""
    found = node()
    if found is None or not (PEERS / "node_modules").is_dir():
        return {}
    done = subprocess.run(
        [found, str(PEERS / "core.mjs"), row, *arguments], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    result: dict[str, float] = json.loads(done.stdout)
    return result


# -- Python -----------------------------------------------------------------------------------------------------------


def optional(name: str) -> Any:
    """A peer's module, or None when it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def median_ms(run: Callable[[], Any], rounds: int = 3) -> float:
    """Of a peer in Python."""
    took = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def ours_ms(benchmark: Any) -> float:
    """The median of what ``benchmark`` has just measured; skips the comparison with --benchmark-disable."""
    if benchmark.stats is None:
        pytest.skip("benchmarks are disabled: results were checked, nothing was timed")
    return float(benchmark.stats.stats.median) * 1000


class Randoms:
    """The same sequence as in peers/core.mjs."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, limit: int) -> int:
        self.state = (self.state * 1664525 + 1013904223) % 2**32
        return self.state * limit // 2**32


def keystrokes(count: int, length: int, seed: int, letter: str) -> list[tuple[int, int, str]]:
    """Typing as one person does it, as in peers/core.mjs: the same edits for the same arguments."""
    random = Randoms(seed)
    done: list[tuple[int, int, str]] = []
    at = random.below(length + 1)
    for _ in range(count):
        if random.below(20) == 0:
            at = random.below(length + 1)
        if at > 0 and random.below(8) == 0:
            at -= 1
            length -= 1
            done.append((at, 1, ""))
        else:
            done.append((at, 0, letter))
            at += 1
            length += 1
    return done
