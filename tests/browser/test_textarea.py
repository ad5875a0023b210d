"""The README's page and `bindTextarea`, in real Chromium: the caret stays, input methods are not disturbed, undo is one's own."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.harness import ServerProcess
from tests.project import readme_example

from .tabs import PATIENCE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

#: The README's page, with a document of the test's own; what a test looks at is global.
OPEN = "globalThis.notes = notes; globalThis.unbind = bindTextarea("


class Pages:
    """A folder with pages of one's own, served as `python3 -m http.server` does: on another port than the server's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        handler = functools.partial(Quiet, directory=str(folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def put(self, html: str) -> str:
        """Its URL."""
        name = f"{len(list(self._folder.iterdir()))}.html"
        (self._folder / name).write_text(html, "utf-8")
        return f"http://127.0.0.1:{self._server.server_port}/{name}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None: ...


class Tab:
    def __init__(self, page: Page, pages: Pages, url: str, name: str, who: str) -> None:
        self.page = page
        page.set_default_timeout(PATIENCE)
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        html = readme_example("html").replace("http://127.0.0.1:8000", url).replace("ws://127.0.0.1:8000", url)
        html = (
            html.replace('"notes"', repr(name))
            .replace('"Grace"', repr(who))
            .replace("bindTextarea(notes,", f"{OPEN}notes,")
        )
        assert OPEN in html
        page.goto(pages.put(html))
        page.wait_for_function("globalThis.unbind && !document.getElementById('text').readOnly")

    def do(self, script: str, arg: Any = None) -> Any:
        return self.page.evaluate(f"arg => {{ const area = document.getElementById('text'); {script} }}", arg)

    @property
    def state(self) -> list[Any]:
        """The text, the selection."""
        return list(self.do("return [area.value, area.selectionStart, area.selectionEnd]"))

    def shows(self, text: str) -> None:
        self.page.wait_for_function("text => document.getElementById('text').value === text", arg=text)
        self.page.wait_for_function("notes.settled")

    def select(self, start: int, end: int, direction: str = "forward") -> None:
        self.do("area.focus(); area.setSelectionRange(...arg)", [start, end, direction])

    def edit(self, *operation: int | str) -> None:
        """As another part of the page does."""
        self.do("notes.edit(arg)", list(operation))


Open = Callable[[str], Tab]


@pytest.fixture
def open_tab(browser: Browser, server: ServerProcess, name: str, tmp_path: Path) -> Iterator[Open]:
    contexts = []
    pages = Pages(tmp_path)
    tabs: list[Tab] = []
    document = re.sub(r"\W", "-", name)

    def open_one(who: str) -> Tab:
        contexts.append(browser.new_context())
        tabs.append(Tab(contexts[-1].new_page(), pages, server.url, document, who))
        return tabs[-1]

    yield open_one
    problems = [problem for tab in tabs for problem in tab.problems]
    for context in contexts:
        context.close()
    pages.close()
    assert not problems


def test_two_write_and_the_carets_stay(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.page.click("#text")
    ada.page.keyboard.type("one three")
    bob.shows("one three")
    ada.select(6, 6)
    bob.select(4, 9, "backward")
    bob.page.wait_for_function("[...notes.cursors.values()].some(({ head }) => head === 6)")
    ada.page.wait_for_function("[...notes.cursors.values()].some(({ anchor, head }) => anchor === 9 && head === 4)")
    bob.edit(4, "two ")  # before Ada's caret, at the beginning of Bob's selection
    ada.shows("one two three")
    assert ada.state[1:] == [10, 10]
    assert bob.state[1:] == [8, 13]
    assert bob.do("return area.selectionDirection") == "backward"
    bob.edit(10, " ")  # at Ada's caret: what she types next stays with what she had typed
    ada.shows("one two th ree")
    assert ada.state[1:] == [10, 10]
    ada.page.keyboard.type("x")
    bob.shows("one two thx ree")
    bob.edit(2, -11)  # around it
    ada.shows("onee")
    assert ada.state[1:] == [2, 2]


def test_it_follows_what_one_may_do(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    user = bob.do("return notes.client.identity.user")
    for role, locked in (("reader", True), ("editor", False), ("reader", True), ("owner", False)):
        ada.do("return notes.grant(...arg)", [user, role])
        bob.page.wait_for_function(
            "([role, locked]) => notes.role === role && document.getElementById('text').readOnly === locked",
            arg=[role, locked],
        )
        bob.page.click("#text")
        bob.page.keyboard.type(role[0])
    ada.shows("eo")
    bob.shows("eo")


def test_the_same_letters_again_are_put_where_they_were_typed(open_tab: Open) -> None:
    ada = open_tab("Ada")
    ada.edit("aaa\naaa😀😀")
    ada.do("globalThis.seen = []; notes.on('change', ({ operation }) => seen.push(operation))")
    ada.select(1, 1)
    ada.page.keyboard.type("a")
    ada.page.keyboard.press("Delete")
    ada.page.keyboard.press("Backspace")
    ada.select(8, 8)
    ada.page.keyboard.insert_text("😁")
    operations = ada.do("return seen")
    assert operations[:3] == [[1, "a"], [2, -1], [1, -1]]
    assert ada.state[0] == "aa\naaa😀😁😀"
    assert sorted(operations[3][-1:]) == ["😁"]


def test_an_input_method_is_not_disturbed(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.edit("one ")
    bob.shows("one ")
    ada.select(4, 4)
    keyboard = ada.page.context.new_cdp_session(ada.page)
    keyboard.send("Input.imeSetComposition", {"text": "に", "selectionStart": 1, "selectionEnd": 1})
    assert ada.state == ["one に", 5, 5]
    bob.edit("zero ")
    ada.page.wait_for_function("notes.text === 'zero one '")
    assert ada.state == ["one に", 5, 5], "what others do waits"
    keyboard.send("Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3})
    assert ada.state == ["one にほん", 7, 7]
    keyboard.send("Input.insertText", {"text": "日本"})
    ada.shows("zero one 日本")
    assert ada.state[1:] == [11, 11]
    bob.shows("zero one 日本")


def test_the_keys_of_undo_take_back_own_steps_alone(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.page.click("#text")
    ada.page.keyboard.insert_text("mine is longer than sixteen. ")
    bob.shows("mine is longer than sixteen. ")
    bob.edit("theirs ")
    ada.shows("theirs mine is longer than sixteen. ")
    ada.page.keyboard.press("Control+z")
    bob.shows("theirs ")
    ada.shows("theirs ")
    ada.page.keyboard.press("Control+Shift+z")
    bob.shows("theirs mine is longer than sixteen. ")
    assert ada.state[1:] == [36, 36]
    ada.page.keyboard.press("Control+z")
    ada.page.keyboard.press("Control+y")
    bob.shows("theirs mine is longer than sixteen. ")


def test_scrolling_stays(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.edit("\n".join(map(str, range(200))))
    bob.shows("\n".join(map(str, range(200))))
    ada.select(300, 300)
    ada.do("area.scrollTop = 777")
    bob.edit("first\n")
    ada.page.wait_for_function("document.getElementById('text').value.startsWith('first')")
    assert ada.do("return area.scrollTop") == 777


def test_other_ends_of_lines(open_tab: Open) -> None:
    """A textarea shows each way to end a line as a line feed; what is there must not be rewritten for that."""
    ada, bob = open_tab("Ada"), open_tab("Bob")
    bob.edit("one\r\ntwo\rthree\n")
    ada.page.wait_for_function("notes.text.length === 15")
    assert ada.state[0] == "one\ntwo\nthree\n"
    ada.select(7, 7)
    ada.page.keyboard.type("!")
    bob.page.wait_for_function("notes.text === 'one\\r\\ntwo!\\rthree\\n'")
    ada.select(4, 9)
    ada.page.keyboard.press("Delete")
    bob.page.wait_for_function("notes.text === 'one\\r\\nthree\\n'")
    bob.edit(3, -2, " ")
    ada.shows("one three\n")


def test_unbound_and_read_only(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.do("area.value = 'put there by the page'")
    ada.page.click("#text")
    ada.page.keyboard.press("End")
    ada.page.keyboard.type("!")
    bob.shows("put there by the page!")
    ada.do("unbind()")
    bob.edit("more ")
    ada.page.wait_for_function("notes.text.startsWith('more')")
    assert ada.state[0] == "put there by the page!"
    assert ada.do("return area.readOnly")
    bob.do("notes.leave()")
    bob.page.wait_for_function("document.getElementById('text').readOnly")


CREATE = """async () => {
  const { Client } = await import("/syncline.js");
  const [ada, bob] = ["Ada", "Bob"].map((name) => new Client(undefined, { name }));
  await Promise.all([ada.connect(), bob.connect()]);
  const codes = [];
  const refused = (promise) => promise.then(() => codes.push("done"), ({ code }) => codes.push(code));
  await ada.createRoom("vault", { password: "s3cret", defaultRole: "reader" });
  await refused(ada.createRoom("vault"));
  await refused(bob.join("vault"));
  await ada.createRoom("closed", { defaultRole: null });
  const closed = await ada.join("closed");
  await refused(bob.join("closed"));
  await closed.grant(bob.identity.user, "member");
  await refused(bob.join("closed"));
  await ada.createDocument("minutes", "# Minutes", { defaultRole: null });
  await ada.createDocument("list", "", { type: "json", content: { items: [] }, defaultRole: "reader" });
  const minutes = await ada.document("minutes").ready;
  await refused(bob.document("minutes").ready);
  await minutes.grant(bob.identity.user, "editor");
  const theirs = await bob.document("minutes").ready;
  const list = await ada.document("list", { type: "json" }).ready;
  const same = await bob.document("list", { type: "json" }).ready;
  const roles = [same.role];
  const told = new Promise((resolve) => same.on("role", ({ role }) => resolve(roles.push(role))));
  const eve = new Client(undefined, { name: "Eve" });
  await eve.connect();
  for (const type of ["text", "rich-text"]) await refused(eve.document("list", { type }).ready); // on the server it is another
  await list.grant(bob.identity.user, "editor");
  await told;
  const result = [codes, theirs.text, theirs.role, same.content, roles];
  await Promise.all([ada.close(), bob.close(), eve.close()]);
  return result;
}"""


def test_rooms_and_documents_are_created_and_granted(browser: Browser, own_server: ServerProcess) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(own_server.url)
    codes = ["room_exists", "password_required", "forbidden", "done", "forbidden", "invalid_data", "invalid_data"]
    assert page.evaluate(CREATE) == [codes, "# Minutes", "editor", {"items": []}, ["reader", "editor"]]
    context.close()
