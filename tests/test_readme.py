"""Examples of the README and of the page on embedding run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.harness import ServerProcess
from tests.project import ROOT, readme_example


def test_the_python_example(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        code = readme_example("python").replace("ws://127.0.0.1:8000/ws", server.ws_url)
        assert server.ws_url in code
        command = [sys.executable, "-W", "error", "-c", code]
        run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    assert "Ada {'text': 'hello'}" in run.stdout
    assert "1 Hello from Python." in run.stdout


def test_the_browser_example_names_what_is_there() -> None:
    """The demo page's tests run the client; here only that the example does not lag behind it."""
    code = readme_example("html")
    modules = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "client" / "browser").glob("*.js"))
    for method in re.findall(r"\b(?:client|room|notes)\.(\w+)\(", code):
        assert re.search(rf"^  (?:async )?{method}\(", modules, re.MULTILINE), method
    for getter in re.findall(r"\bnotes\.(\w+)\b(?!\()", code):
        assert re.search(rf"^  get {getter}\(|this\.{getter} =", modules, re.MULTILINE), getter


def test_the_example_of_embedding(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "embedding.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "1 {'text': 'paid'}\n"), run.stderr
