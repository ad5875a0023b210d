"""The generator against real servers: Syncline's own, and one that lies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from syncline.load import cli
from syncline.load.work import Report, Work, WorkError, run
from tests.harness import ServerProcess

SECRET = "a secret for tests that is long enough"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    settings: Any = {
        "auth": {"mode": "jwt", "secret": SECRET},
        "store": {"backend": "memory"},
        "broker": {"backend": "memory"},
        "events": {"backend": "none"},
    }
    with ServerProcess(tmp_path_factory.mktemp("server"), settings) as started:
        yield started


def verified(report: Report) -> dict[str, int]:
    return {name: value for name, value in report["verified"].items() if value}


@pytest.mark.parametrize("dialect", ["syncline-json", "syncline-msgpack"])
@pytest.mark.parametrize("stepwise", [False, True])
def test_rounds(server: ServerProcess, dialect: str, stepwise: bool) -> None:
    lines: list[str] = []
    report = run(
        Work(
            "rounds",
            server.ws_url,
            dialect=dialect,
            stepwise=stepwise,
            mask=not stepwise,
            room=f"{dialect}-{stepwise}",
            members=20,
            window=4,
            seconds=1.1,
            warmup=0.1,
            secret=SECRET,
            server_pid=server.pid,
        ),
        lines.append,
    )
    assert verified(report) == {}
    measured = report["measured"]
    assert measured["published"] > 4
    assert measured["delivered"] >= (measured["published"] - 4) * 20
    assert report["each_ms"]["count"] == 20 * report["last_ms"]["count"]
    assert 0 < report["each_ms"]["p50"] <= report["last_ms"]["max"]
    assert report["connect"]["joined_ms"]["count"] == 20
    assert 0 < measured["generator_busy"] < 1.2
    assert measured["server_cpu_seconds"] >= 0 and measured["server_rss"] > 1_000_000
    assert lines and lines[-1].startswith("20 of 20 ready | ")


def test_everybody_publishes_in_many_rooms(server: ServerProcess) -> None:
    report = run(
        Work("rounds", server.ws_url, room="many", rooms=15, members=4, publishers=0, seconds=0.3, secret=SECRET)
    )
    assert verified(report) == {}
    assert report["measured"]["published"] >= 60


def test_a_schedule_is_kept(server: ServerProcess) -> None:
    report = run(Work("paced", server.ws_url, room="paced", members=5, rate=200, seconds=0.5, secret=SECRET))
    assert verified(report) == {}
    assert 99 <= report["measured"]["published"] <= 101


def test_large_payloads(server: ServerProcess) -> None:
    report = run(Work("rounds", server.ws_url, room="large", members=3, payload=300_000, seconds=0.3, secret=SECRET))
    assert verified(report) == {}
    assert report["measured"]["published"] > 0


def test_idle_connections(server: ServerProcess) -> None:
    report = run(
        Work("idle", server.ws_url, room="idle", members=30, seconds=0.2, secret=SECRET, server_pid=server.pid)
    )
    assert verified(report) == {}
    assert {"server_bytes_per_connection", "server_cpu_us_per_connection_second"} <= report["measured"].keys()


@pytest.mark.parametrize("dialect", ["syncline-json", "syncline-msgpack"])
def test_who_is_cut_off_gets_everything(server: ServerProcess, dialect: str) -> None:
    report = run(
        Work(
            "cut",
            server.ws_url,
            dialect,
            room=f"cut-{dialect}",
            members=12,
            rate=100,
            cut=0.4,
            seconds=1.5,
            secret=SECRET,
        )
    )
    assert verified(report) == {}
    faults = report["faults"]
    assert faults["cuts"] > 0 and faults["delivered_share"] == 1.0 and faults["not_back"] == 0
    assert report["recovered_ms"]["count"] == faults["cuts"]


async def test_without_recovery_something_is_missed() -> None:
    async with lying("honest") as url:
        work = Work("cut", url, "plain", members=6, rate=200, cut=0.3, retry=(0.1, 0.2), seconds=1, drain=0.5)
        report = await asyncio.to_thread(run, work)
    assert report["verified"]["missed"] > 0 and report["faults"]["delivered_share"] < 1


def test_a_restart_of_the_server(tmp_path: Path) -> None:
    settings: Any = {"auth": {"mode": "jwt", "secret": SECRET}, "server": {"drain_seconds": 0}}
    with ServerProcess(tmp_path, settings) as restarted:
        work = Work("avalanche", restarted.ws_url, members=20, rate=20, retry=(0.05, 0.2), seconds=40, secret=SECRET)
        with ThreadPoolExecutor(1) as pool:
            ready = threading.Event()
            running = pool.submit(run, work, lambda line: ready.set() if line.startswith("20 of 20") else None)
            assert ready.wait(20)
            restarted.restart()
            report = running.result(60)
    faults = report["faults"]
    assert faults["lost"] >= 20 and faults["not_back"] == 0
    assert report["recovered_ms"]["count"] >= 20
    assert 0 < faults["all_back_seconds"] < 40
    assert {"duplicates", "late", "corrupt", "stray"}.isdisjoint(verified(report))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"token": "nonsense"}, "0 of 2 connections became ready: .*refused.*token_invalid"),
        ({"url": "ws://127.0.0.1:1/"}, "Connection refused"),
        ({"payload": 10}, "at least 35 bytes"),
        ({"members": 0}, "a ledger needs"),
        ({"url": "gopher://x"}, "want ws://"),
        ({"dialect": "klingon"}, "no dialect"),
        ({"server_pid": 2**22 + 1}, "server process"),
    ],
)
def test_what_cannot_be_done_is_said(server: ServerProcess, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(WorkError, match=why):
        run(Work(**{"kind": "rounds", "url": server.ws_url, "members": 2, "timeout": 5.0, **changes}))


def test_the_wrong_path_is_said(server: ServerProcess) -> None:
    with pytest.raises(WorkError, match=r"handshake: HTTP/1\.1 40"):
        run(Work("connect", server.url.replace("http", "ws") + "/nothing", members=1, timeout=5.0))


# -- a server that lies ------------------------------------------------------------------------------------------------


class Liar:
    """The plain protocol, honest but to the last member of the first room, about the ``nth`` message: ``lie`` is how."""

    def __init__(self, lie: str, nth: int = 10) -> None:
        self.lie, self.nth = lie, nth
        self.rooms: defaultdict[str, list[ServerConnection]] = defaultdict(list)
        self.count = 0
        self.held: str | None = None

    async def __call__(self, connection: ServerConnection) -> None:
        room = str(await connection.recv())
        self.rooms[room].append(connection)
        await connection.send("joined")
        with contextlib.suppress(ConnectionClosed):
            async for message in connection:
                self.count += room == "bench-0"
                for member in list(self.rooms[room]):
                    await self.deliver(member, room, str(message))

    async def deliver(self, member: ServerConnection, room: str, message: str) -> None:
        victim = room == "bench-0" and member is self.rooms[room][-1]
        if not victim or self.count < self.nth or self.count > self.nth + 1:
            await member.send(message)
        elif self.lie == "swap":
            if self.held is None:
                self.held = message
            else:
                await member.send(message)
                await member.send(self.held)
        elif self.count > self.nth or self.lie == "honest":
            await member.send(message)
        elif self.lie == "twice":
            await member.send(message)
            await member.send(message)
        elif self.lie == "change":
            await member.send(message[:-1] + ("a" if message[-1] != "a" else "b"))
        elif self.lie == "shorten":
            await member.send(message[:-1])
        elif self.lie == "hang up":
            self.rooms[room].remove(member)
            await member.close(4001, "slow_consumer")
        elif self.lie == "elsewhere":
            await member.send(message)
            await next(other[0] for name, other in self.rooms.items() if name != room).send(message)
        else:
            assert self.lie == "drop"


@contextlib.asynccontextmanager
async def lying(lie: str) -> AsyncIterator[str]:
    async with serve(Liar(lie), "127.0.0.1", 0, compression=None) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        ("honest", set()),
        ("drop", {"missed"}),
        ("twice", {"duplicates"}),
        ("swap", {"late"}),
        ("change", {"missed", "corrupt"}),
        ("shorten", {"missed"}),
        ("hang up", {"missed", "lost_connections"}),
        ("elsewhere", {"stray"}),
    ],
)
async def test_a_lie_is_caught(lie: str, found: set[str]) -> None:
    async with lying(lie) as url:
        work = Work(
            "paced", url, dialect="plain", rooms=2, members=3, rate=100, seconds=0.5, warmup=0, drain=0.3, timeout=20
        )
        report = await asyncio.to_thread(run, work)
    assert verified(report).keys() - {"disordered_rooms"} == found
    if lie == "hang up":
        assert report["endings"] == {"closed by the server: 4001 slow_consumer": 1}
    if lie == "swap":
        assert report["verified"]["disordered_rooms"] == 1


async def test_rounds_that_a_dropped_message_stops(capsys: pytest.CaptureFixture[str]) -> None:
    async with lying("drop") as url:
        arguments = ["rounds", url, "--dialect", "plain", "--members", "3", "--drain", "0.3", "--warmup", "0"]
        assert await asyncio.to_thread(cli.main, [*arguments, "--json", "--quiet"]) == 1
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert report["verified"]["stalled"] and report["verified"]["missed"] == 1
    assert report["failures"] == [
        "1 deliveries missed, 0 allowed",
        "nothing moved any more before the time was over",
    ]
    assert "syncline bench: 1 deliveries missed" in told.err


# -- the command -------------------------------------------------------------------------------------------------------


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "syncline", "bench", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=dict(os.environ, PYTHONPATH=str(Path(cli.__file__).parents[2])),
    )


def test_the_command_reports_and_judges(server: ServerProcess) -> None:
    arguments = ["rounds", server.ws_url, "--secret", SECRET, "--members", "4", "--seconds", "1.2", "--warmup", "0.1"]
    done = bench(*arguments, "--server-pid", str(server.pid))
    assert done.returncode == 0, done.stderr
    for word in ("rounds over syncline-json: 1 x 4 members", "delivered", "to the last one", "missed 0", "server"):
        assert word in done.stdout
    assert "4 of 4 ready" in done.stderr
    limits = ["--max-p50", "1us", "--max-last-p99", "1us", "--min-rate", "1e12", "--min-connects", "1e9"]
    done = bench(*arguments, "--quiet", *limits)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 4, done.stderr
    assert "limit 0.001 ms" in done.stderr


def test_the_command_helps_and_refuses() -> None:
    helped = bench("--help")
    assert helped.returncode == 0
    assert "examples:" in helped.stdout and "exit code 1 when broken" in helped.stdout
    assert bench("rounds").returncode == 2
    assert bench("rounds", "ws://127.0.0.1:1/", "--max-p99", "soon").returncode == 2
    refused = bench("rounds", "ws://127.0.0.1:1/", "--members", "1", "--quiet")
    assert refused.returncode == 1
    assert refused.stderr == "syncline bench: 0 of 1 connections became ready: 1 x Connection refused\n"
