"""The main job: recorded editing histories come out letter for letter, through real clients and a real server."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import traces
from tests.harness import ServerProcess


def replay(*arguments: str | Path) -> tuple[int, str, str]:
    """Exit code, last line and everything that the example printed."""
    command = [sys.executable, str(traces.EXAMPLE), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, lines[-1] if lines else "", done.stdout + done.stderr


def test_two_people_who_saw_each_other_a_second_late() -> None:
    code, last, output = replay(traces.concurrent("friendsforever"))
    assert code == 0, output
    assert last.startswith("ok friendsforever: 26,078 edits by 2 clients, revision ")
    assert last.endswith("the same text in clients, server, and server after a restart")


@pytest.mark.parametrize(
    ("name", "limit", "codec"),
    [
        ("automerge-paper", 30_000, "json"),
        ("rustcode", 15_000, "msgpack"),
        ("json-crdt-blog-post", 0, "json"),
        ("friendsforever_flat", 0, "msgpack"),
    ],
)
def test_one_person(server: ServerProcess, name: str, limit: int, codec: str) -> None:
    code, last, output = replay(
        traces.sequential(name), "--url", server.ws_url, "--limit", str(limit), "--codec", codec, "--batch", "4"
    )
    assert code == 0, output
    assert last.startswith(f"ok {name}: ")


@pytest.fixture
def small_trace(tmp_path: Path) -> Path:
    """With characters above U+FFFF, which the recorded ones do not have: every offset counts code points."""
    patches = [[0, 0, "a🙂b🎉c"], [2, 1, "𝄞𝄢"], [6, 0, "!"], [1, 1, ""], [0, 0, "🧵"]]
    text = "start: "
    for position, deleted, inserted in patches:
        position = int(str(position))
        text = text[:position] + str(inserted) + text[position + int(str(deleted)) :]
    trace = {"startContent": "start: ", "endContent": text, "txns": [{"patches": [patch]} for patch in patches]}
    path = tmp_path / "small.json.gz"
    path.write_bytes(gzip.compress(json.dumps(trace).encode()))
    return path


def test_characters_of_two_code_units(server: ServerProcess, small_trace: Path) -> None:
    code, last, output = replay(small_trace, "--url", server.ws_url, "--batch", "1")
    assert code == 0, output
    assert last.startswith("ok small: 5 edits by 1 client")


def test_another_text_is_a_failure(server: ServerProcess, small_trace: Path) -> None:
    trace = json.loads(gzip.decompress(small_trace.read_bytes()))
    trace["endContent"] = trace["endContent"].replace("!", "?")
    small_trace.write_bytes(gzip.compress(json.dumps(trace).encode()))
    code, last, output = replay(small_trace, "--url", server.ws_url)
    assert code == 1, output
    assert last.startswith("failed small.json.gz: client 0: ")
    assert "Traceback" not in output


def test_no_server_is_a_failure_in_words(small_trace: Path) -> None:
    code, last, output = replay(small_trace, "--url", "ws://127.0.0.1:1/ws")
    assert code == 1
    assert last.startswith("failed small.json.gz: no connection to ws://127.0.0.1:1/ws")
    assert "Traceback" not in output
