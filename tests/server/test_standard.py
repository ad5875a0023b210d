"""Standard output and error that are closed, full, or not read: none of them holds up or ends a server. Real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest

import syncline
from syncline.server.observe import standard
from tests.waiting import PATIENCE, wait_until

#: What becomes of the descriptors 0, 1 and 2: "" stays, "-" is closed, "|" is a full pipe that nobody reads, "!" one without a reader,
#: else the file.
KINDS = {
    "closed": ("-", "-", "-"),
    "only the output closed": ("", "-", ""),
    "only the input closed": ("-", "", ""),
    "a full disk": ("", "/dev/full", "/dev/full"),
    "not read": ("", "|", "|"),
    "reader gone": ("", "!", "!"),
}

#: Runs its arguments after the first three with its descriptors so.
LAUNCHER = """
import os, sys
for at, what in enumerate(sys.argv[1:4]):
    if what == "-":
        os.close(at)
    elif what:
        reads, writes = os.pipe() if what in "|!" else (0, os.open(what, os.O_WRONLY))
        if what == "|":
            os.set_blocking(writes, False)
            try:
                while os.write(writes, b"x" * 4096):
                    pass
            except BlockingIOError:
                os.set_blocking(writes, True)
            os.set_inheritable(reads, True)
        os.dup2(writes, at)
os.execvp(sys.argv[4], sys.argv[4:])
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def command(where: tuple[str, str, str], *arguments: str) -> list[str]:
    return [sys.executable, "-c", LAUNCHER, *where, sys.executable, "-m", "syncline", *arguments]


def environment() -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("SYNCLINE_")}
    return ours | {"PYTHONPATH": str(Path(syncline.__file__).parent.parent)}


@pytest.mark.parametrize("where", KINDS.values(), ids=KINDS.keys())
def test_it_serves_and_starts_again_and_ends(tmp_path: Path, where: tuple[str, str, str]) -> None:
    port = free_port()
    arguments = command(where, "serve", "--log-level", "debug", "--port", str(port))
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port, "/ready") or process.poll() is not None)
        assert process.poll() is None
        life = Path(f"/proc/{process.pid}/task")
        before = {int(one.name) for one in life.iterdir()} - {process.pid}
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
            process.send_signal(number)
        # Its other threads are others after execv.
        wait_until(lambda: not before & {int(one.name) for one in life.iterdir()})
        wait_until(lambda: answers(port, "/ready"))
        head = (tmp_path / "syncline.db").read_bytes()[:16]
        assert head == b"SQLite format 3\0"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("output", ["-", "/dev/full"])
def test_a_command_ends_in_order(tmp_path: Path, output: str) -> None:
    arguments = command(("-", output, ""), "print-config")
    done = subprocess.run(
        arguments, check=False, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True, timeout=PATIENCE
    )
    full = "syncline: what it has to say cannot be written: No space left on device\n"
    assert (done.returncode, done.stderr) == ((0, "") if output == "-" else (1, full))


def test_all_of_it_is_written_also_where_nobody_waits() -> None:
    reads, writes = os.pipe()
    try:
        os.set_blocking(writes, False)
        with open(reads, closefd=False) as reader:
            got: list[str] = []
            thread = threading.Thread(target=lambda: got.append(reader.read()))
            thread.start()
            standard.write(writes, "ä" * 1_000_000)
            os.close(writes)
            thread.join(PATIENCE)
        assert got == ["ä" * 1_000_000]
    finally:
        os.close(reads)
