"""Tabs of real Chromium with the demo page in them."""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, WebSocketRoute, expect

PATIENCE = 60_000  # milliseconds; conditions are awaited, this only bounds the wait


class Tab:
    """One person at the page."""

    def __init__(
        self, context: BrowserContext, url: str, name: str, sockets: Callable[[WebSocketRoute], None] | None = None
    ) -> None:
        """``sockets``: stands between the page and the server."""
        self.page: Page = context.new_page()
        if sockets is not None:
            self.page.route_web_socket(re.compile("/ws$"), sockets)
        self.page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self._said(message.type, message.text))
        self.page.goto(url)
        self.page.fill("#join-name", name)
        self.page.click("#join-form .primary")
        self.connected()
        self.settled()  # its document is there: what is typed before that is typed into nothing

    def _said(self, kind: str, text: str) -> None:
        # A refused connection is the browser's own complaint, and expected while the server is down.
        if kind == "error" and "WebSocket connection" not in text:
            self.problems.append(text)

    def connected(self) -> None:
        expect(self.page.locator("#connection")).to_have_attribute("data-state", "online", timeout=PATIENCE)

    def settled(self) -> None:
        expect(self.page.locator("#saved")).to_have_attribute("data-state", "saved", timeout=PATIENCE)

    def type(self, text: str, at: str = "Control+End") -> None:
        self.page.click(".cm-content")
        self.page.keyboard.press(at)
        self.page.keyboard.type(text)

    def put(self, text: str) -> None:
        """As a paste: one step to undo, however slow the machine is."""
        self.page.click(".cm-content")
        self.page.keyboard.press("Control+End")
        self.page.keyboard.insert_text(text)

    @property
    def text(self) -> str:
        """What the editor shows, without the others' name flags."""
        lines: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll(".cm-line")].map((line) => {
              const copy = line.cloneNode(true);
              copy.querySelectorAll(".remote-caret, .cm-placeholder").forEach((one) => one.remove());
              return copy.textContent;
            })"""
        )
        return "\n".join(lines)

    def shows(self, text: str) -> None:
        self.page.wait_for_function(
            """(text) => [...document.querySelectorAll(".cm-line")].map((line) => {
              const copy = line.cloneNode(true);
              copy.querySelectorAll(".remote-caret, .cm-placeholder").forEach((one) => one.remove());
              return copy.textContent;
            }).join("\\n") === text""",
            arg=text,
        )

    def say(self, text: str) -> None:
        self.page.fill("#message", text)
        self.page.press("#message", "Enter")

    @property
    def messages(self) -> list[str]:
        return self.page.locator("#log .text").all_text_contents()


Open = Callable[..., Tab]


@contextlib.contextmanager
def opener(browser: Browser, url: str, default: str) -> Iterator[Open]:
    contexts: list[BrowserContext] = []
    tabs: list[Tab] = []

    def open_one(
        name: str, room: str = default, sockets: Callable[[WebSocketRoute], None] | None = None, **options: Any
    ) -> Tab:
        contexts.append(browser.new_context(**options))
        tabs.append(Tab(contexts[-1], f"{url}/#{urllib.parse.quote(room, safe='')}", name, sockets))
        return tabs[-1]

    yield open_one
    problems = [problem for tab in tabs for problem in tab.problems]
    for context in contexts:
        context.close()
    assert not problems
