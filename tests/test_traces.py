"""The main job: editing histories come out letter for letter, through real clients and a real server.

Those of the generator (``syncline.testing.editing``) always; the recorded ones in addition, where they are there.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import traces
from tests.harness import ServerProcess
from tests.scale import seeds


def replay(*arguments: str | Path | int, timeout: float = 240) -> tuple[int, str, str]:
    """Exit code, last line and everything that the example printed."""
    command = [sys.executable, str(traces.EXAMPLE), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, lines[-1] if lines else "", done.stdout + done.stderr


# Made up --------------------------------------------------------------------------------------------------------------


def test_without_arguments() -> None:
    code, last, output = replay()
    assert code == 0, output
    assert last.startswith("ok generated-1-10000-3: 10,000 edits by 3 clients, revision ")
    assert last.endswith("the same text in clients, server, and server after a restart")
    assert "\ngenerated-1-10000-3: 5,0" in output, "it says how far it is"


@pytest.mark.parametrize(
    ("seed", "edits", "authors", "codec"),
    [(2, 1_500, 2, "msgpack"), (3, 1_500, 5, "json"), (4, 10_000, 1, "json"), (5, 10_000, 1, "msgpack")],
)
def test_made_up(server: ServerProcess, seed: int, edits: int, authors: int, codec: str) -> None:
    which = ("--seed", seed, "--edits", edits, "--authors", authors)
    code, last, output = replay(*which, "--url", server.ws_url, "--codec", codec, "--batch", 4)
    assert code == 0, output
    assert last.startswith(f"ok generated-{seed}-{edits}-{authors}: {edits:,} edits by {authors} client")


@pytest.mark.full
@pytest.mark.timeout(0)
@pytest.mark.parametrize("seed", seeds(1, 12))
def test_made_up_and_longer(server: ServerProcess, seed: int) -> None:
    which = ("--seed", seed, "--edits", 10_000, "--authors", 2 + seed % 6)
    code, last, output = replay(*which, "--url", server.ws_url, "--codec", ("json", "msgpack")[seed % 2], timeout=600)
    assert code == 0, output
    assert last.startswith(f"ok generated-{seed}-10000-")


def test_one_that_was_written_to_a_file(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "mine.json.gz"
    code, last, output = replay("--seed", 6, "--edits", 300, "--authors", 2, "--write", path)
    assert (code, last) == (0, f"ok generated-6-300-2: 300 edits written to {path}"), output
    code, last, output = replay(path, "--url", server.ws_url)
    assert code == 0, output
    assert last.startswith("ok mine: 300 edits by 2 clients")


@pytest.mark.parametrize("arguments", [("--edits", 0), ("--authors", 0), ("file.json", "--seed", 1)])
def test_arguments_that_make_no_sense(arguments: tuple[str | int, ...]) -> None:
    code, _, output = replay(*arguments)
    assert code == 2
    assert "replay_trace.py: error: " in output


# Recorded -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit", "codec"),
    [
        ("automerge-paper", 30_000, "json"),
        ("rustcode", 15_000, "msgpack"),
        ("json-crdt-blog-post", 0, "json"),
        ("friendsforever_flat", 0, "msgpack"),
        pytest.param("automerge-paper", 0, "json", marks=pytest.mark.full),
        pytest.param("rustcode", 0, "msgpack", marks=pytest.mark.full),
    ],
)
def test_one_person(server: ServerProcess, name: str, limit: int, codec: str) -> None:
    trace = traces.sequential(name)
    code, last, output = replay(trace, "--url", server.ws_url, "--limit", limit, "--codec", codec, "--batch", 4)
    assert code == 0, output
    assert last.startswith(f"ok {name}: ")


@pytest.mark.full
def test_two_people_who_saw_each_other_a_second_late() -> None:
    code, last, output = replay(traces.concurrent("friendsforever"))
    assert code == 0, output
    assert last.startswith("ok friendsforever: 26,078 edits by 2 clients, revision ")
    assert last.endswith("the same text in clients, server, and server after a restart")


def test_data_that_is_not_there_is_skipped_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing, an empty folder, a part: what is there is used."""
    monkeypatch.setenv("SYNCLINE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(pytest.skip.Exception, match=r"editing-traces/sequential_traces/rustcode\.json\.gz is not here"):
        traces.sequential("rustcode")
    monkeypatch.setenv("SYNCLINE_DATA", str(tmp_path))
    there = tmp_path / "editing-traces" / "sequential_traces" / "rustcode.json.gz"
    there.parent.mkdir(parents=True)
    there.write_bytes(b"")
    assert traces.sequential("rustcode") == there
    with pytest.raises(pytest.skip.Exception, match=r"automerge-paper\.json\.gz is not here"):
        traces.sequential("automerge-paper")
    with pytest.raises(pytest.skip.Exception, match=r"concurrent_traces/friendsforever\.json\.gz is not here"):
        traces.concurrent("friendsforever")


# Small ones -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_trace(tmp_path: Path) -> Path:
    """With characters above U+FFFF: every offset counts code points."""
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
