"""A page over plain http whose name is not localhost: no secure context, so browsers leave out crypto.randomUUID, crypto.subtle,
navigator.clipboard and more (Secure Contexts, W3C)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.harness import ServerProcess

from .tabs import PATIENCE, Open, opener

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

#: conftest.py lets Chromium find it at 127.0.0.1.
HOST = "rooms.syncline.test"

WORK = """async () => {
  const { Client } = await import("/syncline.js");
  const client = new Client(undefined, { name: "Grace" });
  await client.connect();
  const room = await client.join("team");
  const said = await room.send("hello");
  const notes = await client.document("notes").ready;
  notes.insert(0, "text");
  const board = await client.document("board", { type: "json" }).ready;
  board.setContent({ items: [1] });
  const page = await client.document("page", { type: "rich-text" }).ready;
  page.edit([{ insert: "rich", attributes: { bold: true } }]);
  const lost = await client.close();
  return [isSecureContext, typeof crypto.randomUUID, said.offset, lost, notes.text, board.content, page.content];
}"""


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with ServerProcess(tmp_path, environ={"SYNCLINE_SERVER__ALLOWED_HOSTS": HOST}) as server:
        yield f"http://{HOST}:{server.port}"


@pytest.fixture
def open_insecure(browser: Browser, url: str) -> Iterator[Open]:
    with opener(browser, url, "team") as open_one:
        yield open_one


def test_the_client_does_all_of_its_work(browser: Browser, url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(url)
    rich = [{"insert": "rich", "attributes": {"bold": True}}]
    assert page.evaluate(WORK) == [False, "undefined", 1, 0, "text", {"items": [1]}, rich]
    context.close()


def test_the_demo_page(open_insecure: Open) -> None:
    ada, bob = open_insecure("Ada"), open_insecure("Bob")
    ada.type("written")
    bob.shows("written")
    ada.say("hello")
    expect(bob.page.locator("#log .text")).to_have_text("hello", timeout=PATIENCE)
    ada.page.click("#share")
    expect(ada.page.locator("#share .label")).to_have_text("Copied", timeout=PATIENCE)
    bob.page.click("#message")
    bob.page.keyboard.press("Control+v")
    expect(bob.page.locator("#message")).to_have_value(bob.page.url, timeout=PATIENCE)
