"""Node for the client's own tests, Chromium for the demo page's. Both are found, never downloaded."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from .tools import build

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
    "--host-resolver-rules=MAP *.syncline.test 127.0.0.1",
)


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
