"""What the tests of the browser side are run with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).resolve().parents[2] / "tools" / "browser" / "build.py"


def build(*options: str) -> str:
    """What tools/browser/build.py prints last."""
    done = subprocess.run([sys.executable, str(BUILD), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().rpartition("\n")[2]
