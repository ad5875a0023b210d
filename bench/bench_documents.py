"""One document from end to end: WebSocket in, WebSocket out, beside other servers doing the same work.

N clients on one core, the server on another. Each client keeps one single-character insert in flight (a closed loop): a
figure of N clients is N operations in flight, not more. The generators are lean on purpose (load.py, peers/load.mjs) and
report how busy they were, so that one sees that the server was measured. All clients must have ended up with the server's
text, else there is no figure.

The processor time that the server took for one operation is told as well: on a machine that others use too it is the
figure that holds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import comparison
import pytest
from comparison import HERE, PEERS, ROWS, Row, node

from tests.harness import ServerProcess, Settings

SECONDS = float(os.environ.get("BENCH_SECONDS", "2"))
TICKS = os.sysconf("SC_CLK_TCK")

#: What 100 clients got from each peer, for the rows of the table.
BEST: dict[str, float] = {}


def on_core(index: int) -> None:
    """Where the processes started from here on run. With one core only, there is no choice."""
    cores = sorted(os.sched_getaffinity(os.getppid())) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[index % len(cores)]})


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def run_load(command: list[str], pid: int) -> dict[str, float]:
    on_core(1)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    marks: dict[str, float] = {}
    complaints = []
    with process:
        for line in process.stderr:
            if line in ("start\n", "stop\n"):
                marks[line.strip()] = processor_seconds(pid)
            else:
                complaints.append(line)
        printed = process.stdout.read()
    assert process.returncode == 0, "".join(complaints)[-3000:]
    figures: dict[str, float] = json.loads(printed)
    used = (marks["stop"] - marks["start"]) / SECONDS
    figures["server busy"] = used
    figures["server us/op"] = used / figures["rate"] * 1e6
    return figures


@contextmanager
def peer(kind: str) -> Iterator[tuple[int, int]]:
    """Its server: (port, process id)."""
    if kind == "pycrdt":
        pytest.importorskip("pycrdt.websocket")
        command = [sys.executable, str(PEERS / "pycrdt_server.py")]
    else:
        found = node()
        if found is None:
            pytest.skip("there is no Node")
        command = [found, str(PEERS / "servers.mjs"), kind]
    if not (PEERS / "node_modules").is_dir():
        pytest.skip("the peers are not installed: make bench-ot")
    on_core(0)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()
            process.communicate()


def tell(server: str, figures: dict[str, float]) -> None:
    comparison.SERVERS.append((server, figures))
    print(server, {name: round(value, 2) for name, value in figures.items()})


@pytest.mark.parametrize("clients", [1, 10, 100])
@pytest.mark.parametrize("kind", ["sharedb", "y-websocket", "hocuspocus", "pycrdt"])
def test_peer(kind: str, clients: int) -> None:
    with peer(kind) as (port, pid):
        found = node()
        assert found is not None
        command = [found, str(PEERS / "load.mjs"), kind, str(port), str(clients), str(SECONDS)]
        figures = run_load(command, pid)
    if clients == 100:
        BEST[kind] = figures["rate"]
    tell(kind, figures)


@pytest.mark.parametrize("clients", [1, 10, 100])
@pytest.mark.parametrize(("store", "target"), [("memory", 20_000), ("sqlite", 10_000)])
def test_syncline(tmp_path: Path, store: str, target: int, clients: int) -> None:
    on_core(0)
    settings: Settings = {"store": {"backend": store, "synchronous": "full"}, "broker": {"backend": store}}
    with ServerProcess(tmp_path, settings) as server:
        command = [sys.executable, str(HERE / "load.py"), str(server.port), "--clients", str(clients)]
        figures = run_load([*command, "--seconds", str(SECONDS)], server.pid)
    tell(f"syncline, {'SQLite FULL' if store == 'sqlite' else 'memory'}", figures)
    if clients < 100:
        return
    what = "one document, 100 clients, in memory" if store == "memory" else "the same, SQLite FULL before the ack"
    beside = BEST if store == "memory" else {}
    note = f"p99 {figures['p99']:.0f} ms; {figures['server us/op']:.0f} us of the server's core for one"
    ROWS.append(Row(what, "operations/s", figures["rate"], target, beside, more_is_better=True, note=note))
    if store == "memory":
        delivered = {name: rate * clients for name, rate in BEST.items()}
        row = Row("operation deliveries", "1/s", figures["deliveries"], 2_000_000, delivered, more_is_better=True)
        ROWS.append(row)
        ROWS.append(Row("p99 from send to ack, 100 clients, in memory", "ms", figures["p99"], 20))
