#!/usr/bin/env python3
"""What a connection, a room and a document cost in memory, and what that memory is: `make bench-memory`.

    python bench/memory.py [NAME ...] [--scale 1.0] [--json FILE] [--write]

A real server (census.py: the parts of `syncline serve`, SQLite, uvloop) in a process of its own is filled through its
socket in equal batches: one to warm up, then five that count. Each scenario runs twice: once for resident memory
(Private and shared pages of /proc/PID/smaps_rollup after a collection), per unit the median of the batches; once more
with a walk over the heap before and after, for the kinds of objects. Pings are off, so that idle is idle. Each batch
is checked: the server must say that it has exactly what was asked for, and at the end it must still serve.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import report
from comparison import circumstances
from load import Client, frame

HERE = Path(__file__).resolve().parent
BATCHES = 5

CONFIG = """
[server]
port = 0
[store]
path = "{folder}/syncline.db"
synchronous = "normal"
[limits]
ping_seconds = 3600.0
rooms = 100000
documents = 10000
[documents]
create_on_join = true
"""


METHOD = """\
`make bench-memory ARGS=--write` measures this and writes it here ([memory.py](memory.py), [census.py](census.py)). A real
server (the parts of `syncline serve`, SQLite, uvloop, pings off) in a process of its own is filled through its socket in
equal batches; the first one warms up. *Resident* is what /proc/PID/smaps_rollup says after a collection, divided by the
units of a batch: median, least and most of five. The kernel's buffers of a socket are not in it.

*Kinds* come from a second run of the same work, by a walk over the heap before and after (gc.get_objects and
get_referents): a class of its own counts with its struct; what is of a builtin type counts under the object that was
found to hold it, so `dict (of Session)` is a dict that a Session holds. What the two allocators (pymalloc, glibc's
malloc) have handed out beyond that is native: uvloop's handles, buffers, gap buffers and chunks of texts, and fields that
Python cannot see. What is left to the resident memory is free memory inside the allocators, more of it or less."""


class Server:
    def __init__(self, folder: Path) -> None:
        config = folder / "syncline.toml"
        config.write_text(CONFIG.format(folder=folder), "utf-8")
        self._log = (folder / "log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "census.py"), "--config", str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={key: value for key, value in os.environ.items() if not key.startswith("SYNCLINE_")},
        )
        line = self._line()
        if not line.startswith(b"listening on "):
            self._log.seek(0)
            raise RuntimeError(self._log.read().decode("utf-8", "replace")[-4000:])
        self.port = int(line.rstrip().rpartition(b":")[2])

    def _line(self) -> bytes:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, question: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(question.encode() + b"\n")
        self.process.stdin.flush()
        told: dict[str, Any] = json.loads(self._line())
        return told

    def resident(self) -> int:
        for line in Path(f"/proc/{self.process.pid}/smaps_rollup").read_text("ascii").splitlines():
            if line.startswith("Rss:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no Rss in smaps_rollup")

    def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            code = self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self._log.close()
        assert code == 0, code


@contextlib.contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        running = Server(Path(folder))
        try:
            yield running
        except BaseException:
            running.process.kill()
            running.process.wait()
            raise
        running.stop()


class World:
    """The clients of one scenario."""

    def __init__(self, running: Server) -> None:
        self.server = running
        self.clients: list[Client] = []
        self.units = 0

    def connect(self) -> Client:
        client = Client(self.server.port, f"c{len(self.clients)}")
        client.request("auth", {"name": client.name}, b'"id":1')
        self.clients.append(client)
        return client

    def one(self) -> Client:
        return self.clients[0] if self.clients else self.connect()

    def drain(self) -> None:
        """Until each client has read everything that was sent to it: a ping goes through the same queue."""
        for client in self.clients:
            client.request("ping", {}, b'"id":1')


def batch(client: Client, requests: list[tuple[str, dict[str, Any]]]) -> None:
    """All in one frame; returns when the last one is answered, which must not be with an error."""
    wanted = [{"event": event, "data": data} for event, data in requests]
    message = json.dumps([*wanted[:-1], {**wanted[-1], "id": 1}]).encode()
    client.socket.sendall(frame(message))
    while True:
        for reply in client.messages(client.socket.recv(262_144)):
            assert not reply.startswith(b'{"event":"error"'), reply
            if b'"id":1' in reply:
                return


# -- scenarios --------------------------------------------------------------------------------------------------------


def add_connections(world: World, count: int) -> None:
    for _ in range(count):
        world.connect()


def add_members(world: World, count: int) -> None:
    for _ in range(count):
        world.connect().request("room:join", {"room": "everybody"}, b'"id":1')
    world.drain()  # everybody was told of everybody


def add_rooms(world: World, count: int) -> None:
    for index in range(world.units, world.units + count):
        world.one().request("room:join", {"room": f"room-{index}"}, b'"id":1')


MESSAGES = 100


def add_rooms_with_history(world: World, count: int) -> None:
    for index in range(world.units, world.units + count):
        name = f"room-{index}"
        world.one().request("room:join", {"room": name}, b'"id":1')
        batch(world.one(), [("message:send", {"room": name, "data": "x" * 98})] * MESSAGES)


TEXT = "0123456789" * 10
OPERATIONS = 100


def add_documents(world: World, count: int) -> None:
    for index in range(world.units, world.units + count):
        name = f"document-{index}"
        world.one().request("document:create", {"document": name, "text": TEXT}, b'"id":1')
        world.one().request("document:join", {"document": name, "client": f"writer-{index}"}, b'"id":1')


def add_documents_with_history(world: World, count: int) -> None:
    first = world.units
    add_documents(world, count)
    for index in range(first, first + count):
        name = f"document-{index}"
        typed = [
            ("document:operation", {"document": name, "seq": seq, "revision": 0, "operation": [50 + seq, "x"]})
            for seq in range(1, OPERATIONS + 1)
        ]
        # Each operation names the newest revision: typing as one person does it, who waits for nothing.
        for seq, (_, data) in enumerate(typed):
            data["revision"] = seq
        batch(world.one(), typed)


@dataclass(frozen=True)
class Scenario:
    name: str
    unit: str
    batch: int
    add: Callable[[World, int], None]
    #: What the server must say to have for so many units, beside what ``one`` client needs.
    expect: Callable[[int], dict[str, int]]
    note: str = ""


SCENARIOS = (
    Scenario(
        "connection",
        "connection, authenticated, idle",
        400,
        add_connections,
        lambda units: {"connections": units},
        "each a guest of its own",
    ),
    Scenario(
        "member",
        "connection in one room with all others",
        200,
        add_members,
        lambda units: {"connections": units, "rooms": 1, "members": units},
    ),
    Scenario(
        "room",
        "room with one member, empty history",
        400,
        add_rooms,
        lambda units: {"connections": 1, "rooms": units, "members": units},
    ),
    Scenario(
        "room-history",
        f"the same with {MESSAGES} messages of 100 bytes",
        100,
        add_rooms_with_history,
        lambda units: {"connections": 1, "rooms": units, "publications": units * MESSAGES},
    ),
    Scenario(
        "document",
        f"document of {len(TEXT)} characters, one collaborator",
        200,
        add_documents,
        lambda units: {"connections": 1, "documents": units},
    ),
    Scenario(
        "document-history",
        f"the same with {OPERATIONS} operations in its window",
        60,
        add_documents_with_history,
        lambda units: {"connections": 1, "documents": units},
    ),
)


# -- measuring --------------------------------------------------------------------------------------------------------


@dataclass
class Result:
    scenario: Scenario
    units: int
    resident: list[float]  # bytes per unit, of each batch
    kinds: dict[str, list[float]] = field(default_factory=dict)  # label -> objects, small, large bytes per unit
    pymalloc: float = 0.0
    malloc: float = 0.0
    live: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.resident)

    def parts(self) -> list[tuple[str, float, float]]:
        """(what, objects, bytes) per unit, largest first; together they are the resident memory."""
        shown = [(label, row[0], row[1] + row[2]) for label, row in self.kinds.items()]
        shown.sort(key=lambda one: -one[2])
        small = sum(row[1] for row in self.kinds.values())
        large = sum(row[2] for row in self.kinds.values())
        shown += [
            ("native: in use at pymalloc, not found by the walk", 0.0, self.pymalloc - small),
            ("native: in use at malloc, not found by the walk (uvloop's handles, buffers, texts)", 0.0, self.malloc - large),
            ("free at the allocators: more (fragments), or less (what was free is used)", 0.0, self.median - self.pymalloc - self.malloc),
        ]  # fmt: skip
        return shown


def fill(world: World, scenario: Scenario, count: int) -> dict[str, Any]:
    """One batch; returns what the server says then."""
    scenario.add(world, count)
    world.units += count
    told = world.server.ask("settle")
    expected = scenario.expect(world.units)
    found = {key: told["state"][key] for key in expected}
    assert found == expected, f"{scenario.name}: the server has {found}, it should have {expected}"
    return told


def measure(scenario: Scenario, scale: float) -> Result:
    count = max(1, round(scenario.batch * scale))
    with server() as running:
        world = World(running)
        fill(world, scenario, count)
        sizes = [running.resident()]
        for _ in range(BATCHES):
            fill(world, scenario, count)
            sizes.append(running.resident())
        world.drain()  # all are still served
    resident = [(after - before) / count for before, after in itertools.pairwise(sizes)]
    result = Result(scenario, count * (BATCHES + 1), resident)
    with server() as running:
        world = World(running)
        fill(world, scenario, count)
        running.ask("census")  # its own lists are there from now on
        before = running.ask("census")
        fill(world, scenario, BATCHES * count)
        after = running.ask("census")
        world.drain()
    units = BATCHES * count
    nothing = [0, 0, 0]
    for label in before["kinds"].keys() | after["kinds"].keys():
        old, new = before["kinds"].get(label, nothing), after["kinds"].get(label, nothing)
        result.kinds[label] = [(b - a) / units for a, b in zip(old, new, strict=True)]
    result.pymalloc = (after["pymalloc"] - before["pymalloc"]) / units
    result.malloc = (after["malloc"] - before["malloc"]) / units
    result.live = {name: (after["live"][name] - before["live"][name]) / units for name in after["live"]}
    return result


def markdown(results: list[Result], shown: int) -> str:
    parts = [METHOD, circumstances()]
    rows = [
        (
            result.scenario.unit + (f" ({result.scenario.note})" if result.scenario.note else ""),
            f"{result.median:,.0f}",
            f"{min(result.resident):,.0f} ... {max(result.resident):,.0f}",
            f"{result.units:,}",
        )
        for result in results
    ]
    parts.append(report.table(("one more of", "bytes (median)", "batches", "units"), rows))
    for result in results:
        every = result.parts()
        kinds, rest = every[:-3], every[-3:]
        less = kinds[shown:]
        table = [(name, f"{objects:.2f}", f"{size:,.0f}") for name, objects, size in kinds[:shown] if size >= 8]
        objects, size = sum(row[1] for row in less), sum(row[2] for row in less)
        table.append((f"{sum(abs(row[2]) >= 1 for row in less)} other kinds", f"{objects:.2f}", f"{size:,.0f}"))
        table += [(name, "", f"{size:,.0f}") for name, _, size in rest]
        table.append(("**resident**", "", f"**{result.median:,.0f}**"))
        counted = ", ".join(f"{name[5:]} {value:.2f}" for name, value in sorted(result.live.items()) if value >= 0.005)
        parts.append(
            f"### One {result.scenario.unit}\n\n{report.table(('kind', 'objects', 'bytes'), table)}"
            + (f"\n\nNative objects by their own counters: {counted}." if counted else "")
        )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description="Memory of connections, rooms and documents, by kind of object.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(one.name for one in SCENARIOS))
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of units")
    parser.add_argument("--kinds", type=int, default=14, help="how many kinds of objects are shown")
    parser.add_argument("--json", type=Path, help="write everything to this file")
    parser.add_argument("--write", action="store_true", help="write the section of results.md")
    options = parser.parse_args()
    unknown = set(options.names) - {one.name for one in SCENARIOS}
    if unknown:
        parser.error(f"no scenario {', '.join(sorted(unknown))}")
    if not Path("/proc/self/smaps_rollup").exists():
        sys.exit("needs /proc/PID/smaps_rollup (Linux)")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    results = []
    for scenario in SCENARIOS:
        if options.names and scenario.name not in options.names:
            continue
        print(f"{scenario.name} ...", file=sys.stderr, flush=True)
        results.append(measure(scenario, options.scale))
    text = markdown(results, options.kinds)
    print(text)
    if options.json is not None:
        told = {
            result.scenario.name: {
                "bytes": result.median,
                "batches": result.resident,
                "pymalloc": result.pymalloc,
                "malloc": result.malloc,
                "kinds": {name: [objects, size] for name, objects, size in result.parts()},
                "live": result.live,
            }
            for result in results
        }
        options.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if options.write:
        report.write("memory", "Memory", text)


if __name__ == "__main__":
    main()
