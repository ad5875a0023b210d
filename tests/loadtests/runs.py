"""locust in a process of its own, because it changes the standard library (gevent); and what a finished run says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import syncline

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 90
END = ("--stop-after", "60")  # deliveries: what a busy machine takes longer for


def command(host: str, summary: Path, *arguments: str, locustfile: str = "locustfile.py") -> list[str]:
    return [
        *(sys.executable, "-W", "error", "-m", "locust", "-f", str(ROOT / "loadtests" / locustfile)),
        *("--host", host, "--headless", "--only-summary", "--summary-json", str(summary), *arguments),
    ]


def environment() -> dict[str, str]:
    """locust's own settings may be in variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCUST_")}
    return kept | {"PYTHONPATH": os.pathsep.join((str(Path(syncline.__file__).parent.parent), str(ROOT)))}


class Run:
    """What a finished run says."""

    def __init__(self, code: int, output: str, summary: Path) -> None:
        self.code = code
        self.output = output
        assert summary.exists(), output
        content = json.loads(summary.read_text("utf-8"))
        self.counts: dict[str, int] = content["counts"]
        self.broken: list[str] = content["broken"]
        self.times: dict[tuple[str, str], dict[str, Any]] = {
            (entry["kind"], entry["name"]): entry for entry in content["times"]
        }

    def count(self, kind: str, name: str) -> int:
        return int(self.times.get((kind, name), {"count": 0})["count"])


def run(host: str, directory: Path, *arguments: str, locustfile: str = "locustfile.py") -> Run:
    summary = directory / "summary.json"
    done = subprocess.run(
        command(host, summary, *arguments, locustfile=locustfile),
        cwd=directory,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Run(done.returncode, done.stdout + done.stderr, summary)
