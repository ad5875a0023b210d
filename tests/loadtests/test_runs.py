"""locust against the real server: in a process of its own, because it changes the standard library (gevent)."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import ServerProcess, Settings
from tests.loadtests.runs import END, ROOT, SECONDS, Run, command, environment, run
from tests.proxy import proxied

#: One worker makes the run that they all look at.
pytestmark = pytest.mark.xdist_group("locust")


@pytest.fixture(scope="module")
def busy_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """One that puts a slow reader behind after little, so that this is seen within seconds."""
    settings: Settings = {
        "limits": {"queue_low_bytes": 16_384, "queue_high_bytes": 65_536},
        "rooms": {"history_bytes": 16_777_216},
    }
    with ServerProcess(tmp_path_factory.mktemp("load"), settings) as process:
        yield process


@pytest.fixture(scope="module")
def everything(busy_server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """All scenarios at once, once."""
    tags = ("chat", "huge", "editors", "documents", "presence", "storm", "slow", "mixed")
    short = ("--storm-seconds", "2", "--slow-seconds", "1", "--rooms", "2", "--rate", "2")
    speakers = ("--speak-rate", "60", "--payload", "8000", "--sources", "3")
    directory = tmp_path_factory.mktemp("everything")
    return run(busy_server.ws_url, directory, "--tags", *tags, "-u", "50", "-r", "100", "-t", "6s", *short, *speakers)


def test_a_run_of_all_scenarios_loses_nothing_and_exits_with_0(everything: Run) -> None:
    assert everything.code == 0, everything.output
    assert "Traceback" not in everything.output and "Warning" not in everything.output
    for name in ("missed", "duplicate", "reordered", "diverged", "unrecovered", "failures"):
        assert everything.counts[name] == 0, (name, everything.output)
    assert everything.counts["delivered"] > 0
    assert everything.counts["audited"] > 0
    assert everything.counts["converged"] > 0
    assert not everything.broken


@pytest.mark.parametrize("scenario", ["chat", "huge room", "storm", "beside slow", "slow reader", "mixed"])
def test_rooms(everything: Run, scenario: str) -> None:
    for kind in ("connect", "auth", "join", "delivery"):
        assert everything.count(kind, scenario) > 0, kind
    if scenario != "slow reader":
        assert everything.count("ack", scenario) > 0


@pytest.mark.parametrize("scenario", ["editors", "documents"])
def test_documents(everything: Run, scenario: str) -> None:
    for kind in ("connect", "join", "edit", "edit ack"):
        assert everything.count(kind, scenario) > 0, kind


def test_presence_and_cursors(everything: Run) -> None:
    for kind in ("presence", "cursor"):
        assert everything.count(kind, "presence") > 0, kind
        assert 0 < everything.times[kind, "presence"]["max_ms"] < 60_000


def test_the_storm_comes_back_and_recovers(everything: Run) -> None:
    assert everything.count("reconnect", "storm") > 0
    assert everything.count("connect", "storm") > everything.count("join", "chat")


def test_slow_readers_fall_behind_and_catch_up(everything: Run) -> None:
    assert everything.counts["behind"] > 0
    assert everything.count("catch up", "slow reader") > 0


def test_a_broken_limit_makes_the_exit_code_1(busy_server: ServerProcess, tmp_path: Path) -> None:
    late = ("--max-p99-delivery-ms", "0.0001")
    result = run(
        busy_server.ws_url, tmp_path, "--tags", "chat", "-u", "4", "-r", "20", "-t", "30s", "--rate", "5", *END, *late
    )
    assert result.code == 1
    assert [problem.split()[0] for problem in result.broken] == ["--max-p99-delivery-ms"]
    assert result.counts["delivered"] > 0 and result.counts["missed"] == 0


def test_a_server_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        host = f"ws://127.0.0.1:{reserved.getsockname()[1]}/ws"
        short = ("-u", "2", "-r", "20", "-t", "1s", "--settle-seconds", "1")
        result = run(host, tmp_path, "--tags", "chat", *short)
    assert result.code == 1
    assert {problem.split()[0] for problem in result.broken} == {"--max-failure-ratio", "--min-deliveries"}


async def test_losses_and_duplicates_are_caught(busy_server: ServerProcess, tmp_path: Path) -> None:
    """A proxy between the two loses some messages, and doubles others."""
    seen = 0

    def lie(opcode: int, payload: bytes) -> list[bytes]:
        nonlocal seen
        if b'"message:received"' not in payload:
            return [payload]
        seen += 1
        return [] if seen % 10 == 0 else [payload, payload] if seen % 10 == 5 else [payload]

    summary = tmp_path / "summary.json"
    async with proxied(busy_server.port) as proxy:
        proxy.policy = lie
        process = await asyncio.create_subprocess_exec(
            *command(
                proxy.url,
                summary,
                "--tags",
                "chat",
                "-u",
                "6",
                "-r",
                "20",
                "-t",
                "30s",
                "--rate",
                "5",
                "--rooms",
                "2",
                *END,
            ),
            cwd=tmp_path,
            env=environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
    result = Run(process.returncode or 0, output.decode(), summary)
    assert result.code == 1, result.output
    assert {problem.split()[0] for problem in result.broken} == {"--max-missed", "--max-duplicates"}
    assert result.counts["missed"] >= seen // 10
    assert result.counts["duplicate"] >= seen // 10 - 1
    assert seen >= 20


def test_a_scenario_of_ones_own_as_in_the_docs(busy_server: ServerProcess, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "load-testing.md").read_text("utf-8")
    example = re.search(r"## Your own scenario.*?```python\n(.*?)```", page, re.DOTALL)
    assert example
    (tmp_path / "my.py").write_text(example[1], "utf-8")
    mine = {"locustfile": str(tmp_path / "my.py")}
    result = run(
        busy_server.ws_url, tmp_path, "-u", "4", "-r", "50", "-t", "20s", "--rate", "5", "--stop-after", "20", **mine
    )
    assert result.code == 0, result.output
    assert result.count("join", "support") == 8  # the queue and a case
    assert result.counts["delivered"] + result.count("edit", "support") > 0 and result.counts["missed"] == 0
    summary = tmp_path / "no.json"
    done = subprocess.run(
        command(busy_server.ws_url, summary, "--tags", "nosuch", "-u", "1", "-t", "1s", **mine),
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert "no scenario is left with these tags; there are support" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
def test_a_master_with_two_workers(busy_server: ServerProcess, tmp_path: Path) -> None:
    """The workers' numbers come together: every user is in them, also what only the audits at the end count."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    users = ("--tags", "chat", "editors", "-u", "12", "-r", "50", "-t", "30s", "--rate", "3", "--stop-after", "200")
    workers = [
        subprocess.Popen(
            [*command(busy_server.ws_url, tmp_path / f"worker-{number}")[:7], "--worker", "--master-port", port],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for number in range(2)
    ]
    try:
        master = (
            "--master",
            "--master-bind-host",
            "127.0.0.1",
            "--master-bind-port",
            port,
            "--expect-workers",
            "2",
            "--expect-workers-max-wait",
            "20",
        )
        result = run(busy_server.ws_url, tmp_path, *users, *master)
        codes = [worker.wait(20) for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert result.code == 0, result.output
    assert codes == [0, 0]
    assert result.count("connect", "chat") + result.count("connect", "editors") == 12
    assert result.counts["audited"] == 6
    assert result.counts["converged"] == 6
    assert result.counts["delivered"] > 0 and result.counts["missed"] == 0
    assert result.count("edit", "editors") > 0


@pytest.mark.full
def test_a_day_in_small(busy_server: ServerProcess, tmp_path: Path) -> None:
    result = run(busy_server.ws_url, tmp_path, "-u", "12", "-r", "20", "-t", "6s", "--rate", "3", locustfile="day.py")
    assert result.code == 0, result.output
    assert "Shape test stopping" in result.output
    assert result.count("join", "mixed") >= 10
    assert result.counts["missed"] == 0
