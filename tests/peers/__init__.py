"""Other implementations (npm quill-delta 5, ot-json0, ot-text-unicode 4; richText of syncline.js), asked live: the fixture ``peers``.

Node is started once a session; a batch is one line there and one line back, so that thousands of cases cost little.
``vectors`` are cases that ot-text-unicode has computed, in a file.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = ROOT / "tools" / "browser" / "build.py"


class PeerError(Exception):
    """The other implementation threw; its message."""


def _environment() -> dict[str, str]:
    """A sanitizer that is loaded into Python must not be loaded into Node as well."""
    return {name: value for name, value in os.environ.items() if name not in ("LD_PRELOAD", "PYTHONMALLOC")}


def _output(command: list[str]) -> str:
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().rpartition("\n")[2]


def _built(option: str) -> str:
    return _output([sys.executable, str(BUILD), option])


def vectors() -> Path:
    """4,000 cases (vectors.mjs says what is in one), made anew when the script or a package has changed."""
    inputs = (HERE / "vectors.mjs", HERE / "package-lock.json")
    key = hashlib.sha256(b"".join(path.read_bytes() for path in inputs)).hexdigest()[:16]
    path = ROOT / "build" / f"ot-vectors-{key}.jsonl.gz"
    if not path.exists():
        _built("--tests")
        path.parent.mkdir(exist_ok=True)
        made = path.with_suffix(f".{os.getpid()}")
        _output([_built("--node"), str(inputs[0]), str(made)])
        made.replace(path)  # at once: another run may be here too
    return path


class Peers:
    """``batch`` takes calls (name, *arguments) of JSON values. Names: ``quill.compose``, ``quill.transform``,
    ``quill.transformPosition``, ``quill.invert``, ``quill.diff``, ``quill.push``, ``quill.attributes.*`` (peer.mjs), and each
    function of the types as ``json0.apply``, ``text.transform``, ``rich.diff``, ... JavaScript's undefined comes back as None.
    """

    def __init__(self) -> None:
        _built("--tests")
        self._process = subprocess.Popen(
            [_built("--node"), str(HERE / "peer.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            encoding="utf-8",
        )

    def answers(self, calls: Sequence[Sequence[Any]]) -> list[dict[str, Any]]:
        """{"ok": value} or {"error": message} for each call."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(calls) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the peer process is gone"
        answers: list[dict[str, Any]] = json.loads(line)
        assert len(answers) == len(calls)
        return answers

    def batch(self, calls: Sequence[Sequence[Any]]) -> list[Any]:
        """The values. Raises PeerError for the first call that threw."""
        values = []
        for call, answer in zip(calls, self.answers(calls), strict=True):
            if "error" in answer:
                raise PeerError(f"{answer['error']}: {call!r}")
            values.append(answer["ok"])
        return values

    def call(self, name: str, *arguments: Any) -> Any:
        """One call; use ``batch`` for many."""
        return self.batch([(name, *arguments)])[0]

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(PATIENCE)
