"""Servers for bench/fanout.py and bench/faults.py: Syncline as it is run, and its peers; each a process on a core of its own.

The load generator (`syncline bench`) is another process, on another core. Both are pinned where the system can do that.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import comparison

SECRET = "the secret of a benchmark, which is none"

#: Whole: tokens are checked, joins are rooms with members and presence, messages get positions and go through a broker.
#: Only disks are left out, which no peer here has.
SYNCLINE = f"""\
[server]
port = {{port}}
drain_seconds = {{drain}}
[auth]
mode = "jwt"
secret = "{SECRET}"
[events]
backend = "none"
[log]
level = "warning"
format = "json"
[limits]
connections = 19_500
"""
IN_MEMORY = """\
[store]
backend = "memory"
[broker]
backend = "memory"
"""
ON_DISK = """\
[store]
path = "syncline.db"
"""

Report = dict[str, Any]


class BenchError(Exception):
    """A server did not start, or a delivery was not what it must be: nothing is measured then."""


@dataclass(frozen=True)
class Stand:
    """``dialect`` and ``path`` are what the generator speaks; ``peer`` is what bench/peers/fanout.mjs starts."""

    name: str
    dialect: str
    path: str = ""
    peer: tuple[str, ...] = ()

    @property
    def ours(self) -> bool:
        return not self.peer


STANDS = (
    Stand("syncline json", "syncline-json"),
    Stand("syncline msgpack", "syncline-msgpack"),
    Stand("uws", "plain", "/", ("uws",)),
    Stand("uws envelope", "envelope", "/envelope", ("uws",)),
    Stand("ws", "plain", "/", ("ws",)),
    Stand("ws envelope", "envelope", "/envelope", ("ws",)),
    Stand("socketio", "socketio", "", ("socketio",)),
    Stand("websockets (PyPI)", "plain", "/", ("websockets",)),
    Stand("python-socketio", "socketio", "", ("python-socketio",)),
)
#: Peers in Python: bench/peers/python_fanout.py starts them.
IN_PYTHON = ("websockets", "python-socketio")
RECOVERY = Stand("socketio recovery", "socketio-recovery", "", ("socketio", "recovery"))


def cores() -> tuple[int, int] | None:
    """(server's, generator's); None where there are no two, or no way to pin."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    have = sorted(os.sched_getaffinity(0))
    return (have[0], have[1]) if len(have) > 1 else None


def _pinned(which: int) -> Callable[[], None]:
    chosen = cores()

    def prepare() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if chosen is not None:
            os.sched_setaffinity(0, {chosen[which]})

    return prepare


def environment() -> dict[str, str]:
    """Without settings of whoever runs it, and with the package that this file lies beside."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}
    kept["PYTHONPATH"] = str(comparison.ROOT / "build" / "typing")
    return kept


class Server:
    """One server process. ``start`` may be called again after ``stop`` or ``kill``: it takes the same port."""

    def __init__(self, stand: Stand, folder: Path, drain: float = 0.0, durable: bool = False) -> None:
        self.stand, self.folder, self.drain, self.durable = stand, folder, drain, durable
        self.port = 0
        self.process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}{self.stand.path}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Returns when it listens. Raises BenchError."""
        if self.stand.ours:
            config = self.folder / "syncline.toml"
            where = ON_DISK if self.durable else IN_MEMORY
            config.write_text(SYNCLINE.format(port=self.port, drain=self.drain) + where, "utf-8")
            command = [sys.executable, "-m", "syncline", "serve", "--config", str(config)]
        elif self.stand.peer[0] in IN_PYTHON:
            script = comparison.PEERS / "python_fanout.py"
            command = [sys.executable, str(script), self.stand.peer[0], str(self.port)]
        else:
            node = comparison.node()
            if node is None:
                raise BenchError(f"{self.stand.name} needs Node")
            system, *more = self.stand.peer
            command = [node, str(comparison.PEERS / "fanout.mjs"), system, str(self.port), *more]
        self._log = (self.folder / "server.log").open("a", encoding="utf-8")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,  # the peers stop when it is closed
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            cwd=self.folder,
            env=environment(),
            preexec_fn=_pinned(0),  # noqa: PLW1509 (no threads here)
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        port = line.rpartition(":")[2]
        if not port.isdigit():
            self.kill()
            raise BenchError(f"{self.stand.name} did not start: {(self.folder / 'server.log').read_text()[-2000:]}")
        self.port = int(port)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self.process = self.process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, self._log):
            if pipe is not None:
                pipe.close()


@contextmanager
def serving(stand: Stand, drain: float = 0.0, durable: bool = False) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        server = Server(stand, Path(folder), drain, durable)
        server.start()
        try:
            yield server
        finally:
            server.kill()


def generator(server: Server, kind: str, *options: str | float, quiet: bool = True) -> subprocess.Popen[str]:
    """`syncline bench` against ``server``, running."""
    command = [sys.executable, "-m", "syncline", "bench", kind, server.url, "--dialect", server.stand.dialect]
    command += ["--json", *map(str, options)]
    if quiet:
        command += ["--quiet", "--server-pid", str(server.pid)]
    if server.stand.ours:
        command += ["--secret", SECRET]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        preexec_fn=_pinned(1),  # noqa: PLW1509
    )


def result(running: subprocess.Popen[str], timeout: float) -> Report:
    """Its report. Raises BenchError when it could not work."""
    try:
        told, errors = running.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        running.kill()
        running.communicate()
        raise BenchError(f"no report within {timeout:g} s") from None
    if not told:
        raise BenchError(errors.strip()[-500:])
    report: Report = json.loads(told)
    return report


def load(server: Server, kind: str, *options: str | float, timeout: float = 300.0) -> Report:
    """One piece of work. Raises BenchError unless every delivery was verified."""
    report = result(generator(server, kind, *options), timeout)
    if report["failures"]:
        raise BenchError("; ".join(report["failures"]))
    return report
