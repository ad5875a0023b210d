"""The browser client's own tests, which run under Node, and its types."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests import peers, traces

from .tools import build

HERE = Path(__file__).resolve().parent
#: Seconds; below pytest's own, so that what was said until then is told.
PATIENCE = 240
SCRIPTS = sorted(path.name for path in HERE.glob("*.test.js"))


def test_there_are_scripts() -> None:
    assert {"client.test.js", "documents.test.js", "ot.test.js", "surface.test.js"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_under_node(script: str, node: str) -> None:
    environment = {**os.environ, "NO_COLOR": "1"}
    if script == "ot.test.js":
        found = [peers.vectors(), *filter(Path.is_file, [traces.data() / "ot-vectors.jsonl.gz"])]
        environment["SYNCLINE_VECTORS"] = os.pathsep.join(map(str, found))
    command = [node, "--test", "--test-reporter=tap", script]
    run = subprocess.Popen(
        command,
        cwd=HERE,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, errors = run.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)  # also the script itself: the runner is only its parent
        # a test that has failed may leave a client behind, and Node waits for that
        pytest.fail(f"still runs after {PATIENCE} s: {run.communicate()[0][-8000:]}")
    assert run.returncode == 0, said[-8000:] + errors[-2000:]
    assert "\n# fail 0\n" in said and "\n# pass 0\n" not in said, said[-2000:]


def test_types(node: str) -> None:
    """types.ts compiles: what it may do is allowed, what it must not do is an error."""
    build("--tests")
    compiler = HERE / "node_modules" / "typescript" / "bin" / "tsc"
    environment = dict(os.environ, NODE_DISABLE_COMPILE_CACHE="1")  # it would stay behind in the temporary folder
    command = [node, str(compiler), "-p", str(HERE)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
