"""Node for the client's own tests, Chromium for the demo page's. Both are found, never downloaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "tools" / "browser" / "build.py"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def build(*options: str) -> str:
    """What tools/browser/build.py prints last."""
    done = subprocess.run([sys.executable, str(BUILD), *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().rpartition("\n")[2]


@pytest.fixture(scope="session")
def node() -> str:
    return build("--node")


@pytest.fixture(scope="session")
def bundle() -> None:
    """The page needs its editor."""
    build()


@pytest.fixture(scope="module")
def browser(bundle: None) -> Iterator[Browser]:
    """One for a module, not for the session: Playwright's event loop runs in this thread as long as it lives, so that no
    asynchronous test could."""
    path = os.environ.get("SYNCLINE_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path in (None, "none"):
        pytest.skip("there is no Chromium (SYNCLINE_CHROMIUM names one)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()
