"""bench/instructions.py: the guard that counts instructions finds what got slower, and says so where it cannot compare."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
GUARD = ROOT / "bench" / "instructions.py"

#: Two workloads, one of which does a bit more for the same unit when MORE is not empty.
WORKLOADS = """
from dataclasses import dataclass
from syncline.core.bucket import Bucket

@dataclass
class Workload:
    name: str
    count: int
    more: bytes

    def prepare(self, count):
        bucket = Bucket(1.0, 1e9, 0.0)
        def run():
            for _ in range(count):
                for _ in range(20):
                    bucket.take(1.0, 1.0)
                if self.more:
                    self.more.count(b"x")
            return count
        def check(done):
            assert done == count
        return run, check

WORKLOADS = [Workload("steady", 20, b""), Workload("touched", 20, MORE)]
"""

pytestmark = pytest.mark.skipif(
    shutil.which("valgrind") is None or not GUARD.exists() or not (ROOT / "build" / "typing").exists(),
    reason="needs valgrind and a checkout with its natives built",
)


class Guard:
    def __init__(self, folder: Path) -> None:
        self.workloads = folder / "workloads.py"
        self.stored = folder / "stored.json"

    def run(self, *arguments: str, more: bytes = b"") -> tuple[int, str]:
        self.workloads.write_text(WORKLOADS.replace("MORE", repr(more)), "utf-8")
        done = subprocess.run(
            [sys.executable, GUARD, "--workloads", self.workloads, "--stored", self.stored, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.mark.full
def test_what_got_slower_is_an_error_and_named(tmp_path: Path) -> None:
    guard = Guard(tmp_path)
    assert guard.run("--update")[0] == 0
    counts = next(iter(json.loads(guard.stored.read_text("utf-8"))["platforms"].values()))["counts"]
    assert 1000 < counts["steady"] < 100_000
    assert guard.run()[0] == 0

    # About a tenth more than before, in one of the two.
    code, told = guard.run(more=b"y" * 8000)
    assert code == 1, told
    assert "SLOWER by more than 5 %: touched\n" in told

    # And when that is the price: stored, and then going back is an improvement, which is no error.
    assert guard.run("--update", more=b"y" * 8000)[0] == 0
    code, told = guard.run()
    assert code == 0, told
    assert "faster, to be stored with `make guard ARGS=--update`: touched" in told


@pytest.mark.full
def test_counts_of_another_platform_are_not_compared(tmp_path: Path) -> None:
    guard = Guard(tmp_path)
    other = {"another machine; CPython 2.7": {"libraries": {}, "counts": {"steady": 1.0, "touched": 1.0}}}
    guard.stored.write_text(json.dumps({"platforms": other}), "utf-8")
    code, told = guard.run()
    assert code == 0, told
    assert "NOTHING WAS COMPARED" in told and "another machine; CPython 2.7" in told
    # Storing keeps what others have stored.
    assert guard.run("--update")[0] == 0
    assert len(json.loads(guard.stored.read_text("utf-8"))["platforms"]) == 2


def test_a_workload_that_nobody_counted_is_an_error(tmp_path: Path) -> None:
    guard = Guard(tmp_path)
    assert guard.run("--update", "steady")[0] == 0
    code, told = guard.run()
    assert code == 1, told
    assert "workloads without stored counts: ['touched']" in told
