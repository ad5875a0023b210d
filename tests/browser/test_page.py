"""The demo page in real Chromium tabs, against a real server that is killed and started again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, WebSocketRoute, expect

from tests.harness import ServerProcess

from .tabs import PATIENCE, Open, opener

#: One worker has the browser: started once, and beside one other worker only.
pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]

PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A room of this test's own, with what an address has to escape."""
    return f"{request.node.name} #1?"[-60:]


@pytest.fixture
def open_tab(browser: Browser, server: ServerProcess, room: str) -> Iterator[Open]:
    with opener(browser, server.url, room) as open_one:
        yield open_one


@pytest.fixture
def open_own(browser: Browser, own_server: ServerProcess) -> Iterator[Open]:
    """Tabs of a server that this test may kill."""
    with opener(browser, own_server.url, "team") as open_one:
        yield open_one


def test_two_tabs_write_one_document(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.type("Notes\nfrom Ada 😀")
    bob.shows("Notes\nfrom Ada 😀")
    # Both at once, at both ends.
    bob.page.click(".cm-content")
    ada.page.click(".cm-content")
    bob.page.keyboard.press("Control+Home")
    ada.page.keyboard.press("Control+End")
    for left, right in zip("HELLO ", " world", strict=True):
        bob.page.keyboard.type(left)
        ada.page.keyboard.type(right)
    for tab in (ada, bob):
        tab.shows("HELLO Notes\nfrom Ada 😀 world")
        tab.settled()
    # Selected and replaced; a line taken out.
    ada.page.keyboard.press("Control+a")
    ada.page.keyboard.type("gone")
    bob.shows("gone")
    bob.type("\nindented\n  line\nsecond")
    ada.shows("gone\nindented\n  line\n  second")


def test_typing_in_the_same_place_converges(open_tab: Open) -> None:
    tabs = [open_tab("Ada"), open_tab("Bob"), open_tab("Cyd")]
    for tab in tabs:
        tab.page.click(".cm-content")
    for round_ in range(12):
        for number, tab in enumerate(tabs):
            tab.page.keyboard.type("abc"[number])
            if round_ % 4 == 3:
                tab.page.keyboard.press("Backspace")
    for tab in tabs:
        tab.settled()
    tabs[0].page.wait_for_function("document.querySelector('.cm-content').innerText.length >= 27")
    text = tabs[0].text
    assert sorted(text) == sorted("abc" * 9)
    for tab in tabs:
        tab.shows(text)


def test_cursors_and_selections_show(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.type("one two three")
    bob.shows("one two three")
    flag = bob.page.locator(".remote-caret .remote-flag")
    expect(flag).to_have_text("Ada", timeout=PATIENCE)
    for _ in range(5):
        ada.page.keyboard.press("Shift+ArrowLeft")
    expect(bob.page.locator(".remote-range")).to_have_text("three", timeout=PATIENCE)
    bob.type(">> ", at="Control+Home")  # it moves along
    expect(bob.page.locator(".remote-range")).to_have_text("three", timeout=PATIENCE)
    expect(ada.page.locator(".remote-caret .remote-flag")).to_have_text("Bob", timeout=PATIENCE)
    ada.page.context.close()
    expect(bob.page.locator(".remote-caret")).to_have_count(0, timeout=PATIENCE)


def test_a_name_at_a_caret_fades_until_its_owner_moves(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    # The page notes by itself that a name stands there: it may have faded by the time that somebody looks.
    bob.page.evaluate(
        """() => {
          globalThis.shown = 0;
          const look = () => {
            for (const flag of document.querySelectorAll(".remote-flag")) if (getComputedStyle(flag).opacity > 0.5) shown += 1;
          };
          new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
          setInterval(look, 50); // an animation that begins is no mutation
        }"""
    )
    flag = bob.page.locator(".remote-caret .remote-flag")
    ada.type("one two three")
    bob.shows("one two three")
    bob.page.wait_for_function("() => shown > 0")
    expect(flag).to_have_css("opacity", "0", timeout=PATIENCE)
    ada.settled()
    bob.page.evaluate("shown = 0")
    bob.type("mine ", at="Control+Home")  # what others do, and elements that are made anew, are no movement of hers
    ada.shows("mine one two three")
    bob.page.click("#history-toggle")
    expect(bob.page.locator("#editor")).to_be_hidden(timeout=PATIENCE)
    bob.page.click("#history-toggle")
    expect(bob.page.locator("#editor")).to_be_visible(timeout=PATIENCE)
    bob.page.click(".cm-content")
    bob.page.keyboard.press("Control+Home")
    bob.page.keyboard.insert_text("line\n" * 80)  # out of sight
    bob.page.keyboard.press("Control+End")
    expect(flag).to_have_css("opacity", "0", timeout=PATIENCE)
    assert bob.page.evaluate("shown") == 0
    ada.page.keyboard.press("Control+End")
    ada.page.keyboard.press("ArrowLeft")
    bob.page.wait_for_function("() => shown > 0")


def test_what_is_shown_of_others_is_true_while_the_server_does_not_answer(open_tab: Open) -> None:
    silent = False

    def between(page: WebSocketRoute) -> None:
        server = page.connect_to_server()
        page.on_message(lambda message: None if silent else server.send(message))
        server.on_message(lambda message: None if silent else page.send(message))

    bob, ada = open_tab("Bob"), open_tab("Ada", sockets=between)
    connection, status = ada.page.locator("#connection"), ada.page.locator("#members .status")
    count, faces = ada.page.locator("#people-count"), ada.page.locator("#faces .face")
    expect(status).to_have_text("Online", timeout=PATIENCE)
    expect(count).to_have_text("2", timeout=PATIENCE)
    expect(faces).to_have_count(1, timeout=PATIENCE)
    silent = True
    expect(connection).to_have_attribute("data-state", "stalled", timeout=PATIENCE)  # by its heartbeat
    expect(ada.page.locator("#connection-text")).to_have_text("No answer")
    expect(status).to_have_text("Not known")
    expect(count).to_have_text("?")
    expect(faces).to_have_count(0)
    expect(ada.page.locator("#saved")).to_have_attribute("data-state", "offline")
    expect(ada.page.locator("#members .face")).to_have_css("filter", "grayscale(1)")
    silent = False
    ada.page.evaluate("dispatchEvent(new Event('online'))")
    expect(status).to_have_text("Online", timeout=PATIENCE)
    expect(count).to_have_text("2", timeout=PATIENCE)
    expect(faces).to_have_count(1)
    ada.connected()
    silent = True
    ada.page.evaluate("dispatchEvent(new Event('offline'))")
    assert connection.get_attribute("data-state") == "stalled"  # at once
    expect(connection).to_have_attribute("data-state", re.compile("waiting|connecting"), timeout=PATIENCE)
    expect(status).to_have_text("Not known")
    bob.page.context.close()
    silent = False
    ada.connected()
    expect(status).to_have_count(0, timeout=PATIENCE)
    expect(count).to_have_text("1", timeout=PATIENCE)


def test_people_have_different_colours(open_tab: Open) -> None:
    tabs = [open_tab(name) for name in ("Ada", "Bob", "Cyd", "Dan")]
    for tab in tabs:
        expect(tab.page.locator("#faces .face")).to_have_count(3, timeout=PATIENCE)
        hues = tab.page.evaluate(
            """() => ["#you-face", "#members .face", "#faces .face"].map((where) =>
              [...document.querySelectorAll(where)].map((face) => [face.textContent, face.style.getPropertyValue("--hue")]))"""
        )
        colours = {tuple(face) for faces in hues for face in faces}
        assert len(colours) == 4, "the same in each place"
        assert len({hue for _, hue in colours}) == 4


def test_addresses_in_the_chat_are_links(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    text = (
        "See https://example.org/a_(b)?q=1#c, (http://example.org/x). HTTPS://EXAMPLE.ORG! javascript:alert(1) "
        "ftp://example.org <a href=http://example.org/y>z</a> https:// http://[bad xhttp://example.org"
    )
    ada.say(text)
    for tab in (ada, bob):
        expect(tab.page.locator("#log .text")).to_have_text(text, timeout=PATIENCE)
        links = tab.page.evaluate(
            """() => [...document.querySelectorAll("#log .text *")].map(
              ({ tagName, textContent, href, target, rel }) => [tagName, textContent, href, target, rel])"""
        )
        safe = ["_blank", "noopener noreferrer"]
        assert links == [
            ["A", "https://example.org/a_(b)?q=1#c", "https://example.org/a_(b)?q=1#c", *safe],
            ["A", "http://example.org/x", "http://example.org/x", *safe],
            ["A", "HTTPS://EXAMPLE.ORG", "https://example.org/", *safe],
            ["A", "http://example.org/y", "http://example.org/y", *safe],
        ]


def test_a_chat_line_crosses(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.say("Hello <b>Bob</b> 😀")
    expect(bob.page.locator("#log .text")).to_have_text(["Hello <b>Bob</b> 😀"], timeout=PATIENCE)
    expect(bob.page.locator("#log .name")).to_have_text("Ada")
    expect(bob.page.locator("#log time")).to_have_text(re.compile(r"\d\d?[:.]\d\d"))
    bob.say("Hello Ada")
    expect(ada.page.locator("#log .text")).to_have_text(["Hello <b>Bob</b> 😀", "Hello Ada"], timeout=PATIENCE)
    expect(ada.page.locator("#log .pending")).to_have_count(0, timeout=PATIENCE)
    # Who comes later sees what was said.
    cyd = open_tab("Cyd")
    expect(cyd.page.locator("#log .text")).to_have_text(["Hello <b>Bob</b> 😀", "Hello Ada"], timeout=PATIENCE)


def test_who_may_no_longer_write_finds_nothing_to_write_with(open_tab: Open, room: str) -> None:
    routes: list[WebSocketRoute] = []

    def sockets(route: WebSocketRoute) -> None:
        route.connect_to_server()
        routes.append(route)

    ada = open_tab("Ada", sockets=sockets)
    message, editor = ada.page.locator("#message"), ada.page.locator(".cm-content")

    def told(event: str, **data: str) -> None:
        routes[-1].send(json.dumps({"event": event, "data": data}))

    for role, free in (("reader", False), ("member", True)):
        told("room:role", room=room, role=role)
        expect(message).to_be_enabled(enabled=free, timeout=PATIENCE)
    told("room:removed", room=room)
    expect(message).to_be_disabled(timeout=PATIENCE)
    expect(ada.page.locator("#notice-text")).to_have_text("You were taken out of this room.", timeout=PATIENCE)
    expect(editor).to_have_attribute("contenteditable", "true")
    told("document:removed", document=room)
    expect(editor).to_have_attribute("contenteditable", "false", timeout=PATIENCE)
    expect(ada.page.locator("#saved")).to_have_text("Not available")


def test_who_is_here(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    expect(ada.page.locator("#members .who")).to_have_text("Bob", timeout=PATIENCE)
    bob.page.select_option("#you-status", "busy")
    expect(ada.page.locator("#members .status")).to_have_text("Busy", timeout=PATIENCE)
    bob.page.fill("#you-name", "Robert")
    bob.page.press("#you-name", "Enter")
    expect(ada.page.locator("#members .who")).to_have_text("Robert", timeout=PATIENCE)
    bob.connected()
    bob.type("x")
    expect(ada.page.locator(".remote-flag")).to_have_text("Robert", timeout=PATIENCE)
    expect(ada.page.locator("#members .status")).to_have_text("Busy", timeout=PATIENCE)
    assert ada.page.locator("#members li").count() == 1
    bob.page.context.close()
    expect(ada.page.locator("#members .alone")).to_be_visible(timeout=PATIENCE)


def test_a_killed_server_heals_without_a_reload(open_own: Open, own_server: ServerProcess) -> None:
    ada, bob = open_own("Ada"), open_own("Bob")
    for tab in (ada, bob):
        tab.page.evaluate("window.notReloaded = true")
    ada.type("before")
    bob.shows("before")
    ada.settled()
    ada.say("said before")
    expect(bob.page.locator("#log .text")).to_have_count(1, timeout=PATIENCE)

    own_server.kill()
    expect(ada.page.locator("#connection-text")).to_have_text(re.compile("Reconnecting|Connecting"), timeout=PATIENCE)
    expect(bob.page.locator("#connection-text")).to_have_text(re.compile("Reconnecting|Connecting"), timeout=PATIENCE)
    ada.type(" by Ada", at="Control+End")
    bob.type("By Bob ", at="Control+Home")
    expect(ada.page.locator("#saved")).to_have_attribute("data-state", "offline")
    bob.say("said while down")
    expect(bob.page.locator("#log .pending.offline")).to_have_count(1)
    own_server.start()

    for tab in (ada, bob):
        tab.connected()
        tab.shows("By Bob before by Ada")
        tab.settled()
        expect(tab.page.locator("#log .text")).to_have_text(["said before", "said while down"], timeout=PATIENCE)
        expect(tab.page.locator("#log .pending")).to_have_count(0, timeout=PATIENCE)
        assert tab.page.evaluate("window.notReloaded")
        expect(tab.page.locator("#members li .who")).to_have_count(1, timeout=PATIENCE)
    # And on it goes.
    ada.type("!")
    bob.shows("By Bob before by Ada!")
    expect(bob.page.locator(".remote-flag")).to_have_text("Ada", timeout=PATIENCE)


@pytest.mark.full
def test_killed_again_and_again_while_typing(open_own: Open, own_server: ServerProcess) -> None:
    ada, bob = open_own("Ada"), open_own("Bob")
    # In an empty text both ends are one place, and there what Bob types may come to stand within a word of Ada's.
    ada.type("|")
    bob.shows("|")
    for round_ in range(4):
        ada.type(f"<a{round_}", at="Control+Home")
        bob.type(f"b{round_}>", at="Control+End")
        own_server.kill()
        ada.type(f"A{round_}", at="Control+Home")
        bob.type(f"B{round_}", at="Control+End")
        own_server.start()
    for tab in (ada, bob):
        tab.page.evaluate("document.getElementById('connection-retry').click()")
        tab.connected()
        tab.settled()
    text = ada.text
    bob.shows(text)
    for round_ in range(4):
        for mark in (f"<a{round_}", f"b{round_}>", f"A{round_}", f"B{round_}"):
            assert text.count(mark) == 1, (mark, text)
    assert len(text) == 1 + 4 * 10


def test_undo_takes_back_only_what_is_ones_own(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.put("mine")
    bob.shows("mine")
    bob.put("+yours")
    ada.shows("mine+yours")
    ada.page.click(".cm-content")
    ada.page.keyboard.press("Control+z")
    bob.shows("+yours")
    ada.page.keyboard.press("Control+Shift+Z")
    bob.shows("mine+yours")
    bob.page.click(".cm-content")
    bob.page.keyboard.press("Control+z")
    ada.shows("mine")


def test_undo_is_the_servers(open_tab: Open) -> None:
    """With others' text in between, by the buttons and by the keys."""
    ada, bob = open_tab("Ada"), open_tab("Bob")
    undo, redo = ada.page.locator("#undo"), ada.page.locator("#redo")
    expect(undo).to_be_disabled()
    ada.put("one")
    bob.shows("one")
    expect(undo).to_be_enabled(timeout=PATIENCE)
    bob.type("BOB ", at="Control+Home")
    ada.shows("BOB one")
    undo.click()
    bob.shows("BOB ")
    expect(redo).to_be_enabled(timeout=PATIENCE)
    expect(undo).to_be_disabled(timeout=PATIENCE)
    ada.page.click(".cm-content")
    ada.page.keyboard.press("Control+y")
    bob.shows("BOB one")
    expect(redo).to_be_disabled(timeout=PATIENCE)


def test_typed_words_are_redone_one_by_one(open_tab: Open) -> None:
    """More keys than there are steps, and none waits for the answer to the one before."""
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.type("one")
    bob.shows("one")
    bob.type("BOB ", at="Control+Home")
    ada.shows("BOB one")
    ada.type(" two")
    for _ in range(9):
        ada.page.keyboard.press("Control+z")
    bob.shows("BOB ")
    for _ in range(9):
        ada.page.keyboard.press("Control+y")
    for tab in (ada, bob):
        tab.shows("BOB one two")
    expect(ada.page.locator("#redo")).to_be_disabled(timeout=PATIENCE)


def test_undo_after_a_reload(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.put("before")
    ada.settled()
    ada.page.reload()
    ada.connected()
    ada.shows("before")
    expect(ada.page.locator("#undo")).to_be_enabled(timeout=PATIENCE)
    assert ada.page.evaluate("sessionStorage.getItem('syncline.documents')") is None, "a duplicated tab would share it"
    ada.page.click(".cm-content")
    ada.page.keyboard.press("Control+z")
    bob.shows("")
    ada.page.keyboard.press("Control+Shift+Z")
    bob.shows("before")
    ada.type("!")
    bob.shows("before!")


def test_the_history_slider(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.type("A")
    bob.shows("A")
    bob.type("B")
    ada.shows("AB")
    ada.type("C")
    bob.shows("ABC")
    bob.settled()
    page = bob.page
    page.click("#history-toggle")
    expect(page.locator("#history-slider")).to_be_focused()
    expect(page.locator("#editor")).to_be_hidden()
    past = page.locator("#past")
    expect(past).to_have_text("ABC", timeout=PATIENCE)
    expect(page.locator("#history-restore")).to_be_disabled()
    page.keyboard.press("ArrowLeft")
    expect(past).to_have_text("AB", timeout=PATIENCE)
    expect(past.locator("ins")).to_have_text("B")
    expect(page.locator("#history-about")).to_have_text(re.compile(r"Version 2 of 3 · you · \d"), timeout=PATIENCE)
    page.click("#history-older")
    expect(past).to_have_text("A", timeout=PATIENCE)
    expect(page.locator("#history-about")).to_contain_text("Ada", timeout=PATIENCE)
    expect(page.locator("#history-slider")).to_have_attribute("aria-valuetext", re.compile("^Version 1 of 3, Ada"))
    page.locator("#history-slider").focus()
    page.keyboard.press("Home")
    expect(past).to_have_text("Nothing was here.", timeout=PATIENCE)
    # The others go on meanwhile: the slider grows, the past stays.
    ada.type("D")
    expect(page.locator("#history-about")).to_contain_text("Version 0 of 4", timeout=PATIENCE)
    expect(past).to_have_text("Nothing was here.")
    page.keyboard.press("Escape")
    expect(page.locator("#history-toggle")).to_be_focused()
    expect(page.locator("#editor")).to_be_visible()
    bob.shows("ABCD")


def test_the_history_follows_the_newest_version_until_another_one_is_chosen(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    page = bob.page
    bob.settled()
    page.click("#history-toggle")
    past, about = page.locator("#past"), page.locator("#history-about")
    expect(about).to_have_text("Version 0 of 0 · the beginning", timeout=PATIENCE)
    expect(past).to_have_text("Nothing was here.", timeout=PATIENCE)
    ada.put("A")
    expect(past).to_have_text("A", timeout=PATIENCE)
    expect(about).to_have_text(re.compile(r"Version 1 of 1 · Ada · .* · now"), timeout=PATIENCE)
    page.click("#history-older")
    ada.put("B")
    expect(about).to_have_text("Version 0 of 2 · the beginning", timeout=PATIENCE)
    for _ in range(2):
        page.click("#history-newer")
    ada.put("C")
    expect(past).to_have_text("ABC", timeout=PATIENCE)
    expect(about).to_have_text(re.compile(r"Version 3 of 3 · Ada · .* · now"), timeout=PATIENCE)


def test_the_history_goes_on_when_the_server_is_back(open_own: Open, own_server: ServerProcess) -> None:
    ada = open_own("Ada")
    ada.put("A")
    ada.settled()
    ada.put("B")
    ada.settled()
    page = ada.page
    past, about = page.locator("#past"), page.locator("#history-about")
    page.click("#history-toggle")
    expect(past).to_have_text("AB", timeout=PATIENCE)
    own_server.kill()
    expect(page.locator("#connection-text")).to_have_text(re.compile("Reconnecting|Connecting"), timeout=PATIENCE)
    page.click("#history-older")
    expect(about).to_have_text("Not connected: the history is on the server.", timeout=PATIENCE)
    own_server.start()
    expect(past).to_have_text("A", timeout=PATIENCE)
    expect(about).to_have_text(re.compile(r"Version 1 of 2 · you · \d"), timeout=PATIENCE)


def test_the_history_names_its_writers_as_soon_as_they_are_known(open_tab: Open) -> None:
    ada, eve = open_tab("Ada"), open_tab("Eve")
    ada.put("A")
    eve.shows("A")
    ada.page.goto("about:blank")
    expect(eve.page.locator("#members .who")).to_have_count(
        0, timeout=PATIENCE
    )  # only the stored members have her name
    asked: list[Callable[[], None]] = []

    def held(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(frame: str | bytes) -> None:
            told = json.loads(frame)
            for one in told if isinstance(told, list) else [told]:
                send = partial(server.send, json.dumps(one))
                asked.append(send) if one["event"] == "room:members" else send()

        socket.on_message(pass_on)

    bob = open_tab("Bob", sockets=held)
    bob.shows("A")
    bob.page.click("#history-toggle")
    about = bob.page.locator("#history-about")
    expect(about).to_have_text(re.compile(r"Version 1 of 1 · somebody · "), timeout=PATIENCE)
    assert asked
    for answer in asked:
        answer()
    expect(about).to_have_text(re.compile(r"Version 1 of 1 · Ada · "), timeout=PATIENCE)


def test_a_version_is_restored_and_that_is_undone(open_tab: Open) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob")
    ada.type("kept ")
    ada.settled()
    bob.shows("kept ")
    bob.page.click(".cm-content")
    bob.page.keyboard.press("Control+a")
    bob.page.keyboard.press("Backspace")
    ada.shows("")
    ada.page.click("#history-toggle")
    ada.page.keyboard.press("ArrowLeft")
    expect(ada.page.locator("#past")).to_have_text("kept ", timeout=PATIENCE)
    ada.page.click("#history-restore")
    expect(ada.page.locator("#past")).to_be_hidden(timeout=PATIENCE)
    for tab in (ada, bob):
        tab.shows("kept ")
    ada.page.click("#undo")
    for tab in (ada, bob):
        tab.shows("")


def test_another_room_is_another_document(open_tab: Open, room: str) -> None:
    ada, bob = open_tab("Ada"), open_tab("Bob", f"other {room}")
    ada.type("first")
    ada.settled()
    bob.type("second")
    bob.settled()
    ada.page.click("#room-button")
    ada.page.fill("#join-room", f"other {room}")
    ada.page.click("#join-form .primary")
    ada.shows("second")
    expect(bob.page.locator("#members .who")).to_have_text("Ada", timeout=PATIENCE)
    ada.page.evaluate("room => { location.hash = encodeURIComponent(room); }", room)
    ada.shows("first")
    ada.page.reload()
    ada.connected()
    ada.shows("first")
    assert ada.page.input_value("#you-name") == "Ada"


def test_on_a_phone(open_tab: Open) -> None:
    ada, bob = open_tab("Ada", **PHONE), open_tab("Bob")
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bob.say("Are you there?")
    expect(ada.page.locator("#unread")).to_have_text("1", timeout=PATIENCE)
    ada.page.tap(".tabs [data-panel=chat]")
    expect(ada.page.locator("#log .text")).to_have_text("Are you there?")
    expect(ada.page.locator("#unread")).to_be_hidden()
    expect(ada.page.locator("#editor")).to_be_hidden()
    ada.say("Yes")
    expect(bob.page.locator("#log .text").last).to_have_text("Yes", timeout=PATIENCE)
    ada.page.tap(".tabs [data-panel=document]")
    bob.type("for the phone")
    ada.shows("for the phone")
    ada.page.tap("#history-toggle")
    ada.page.tap("#history-older")
    expect(ada.page.locator("#past")).to_have_text(re.compile("^f"), timeout=PATIENCE)
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert ada.page.evaluate("document.body.scrollWidth <= innerWidth")
    ada.page.tap("#history-live")
    expect(ada.page.locator("#past")).to_be_hidden()
    assert ada.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_and_controls_have_names(open_tab: Open, scheme: str) -> None:
    """WCAG 2.2: 4.5 to 1 for text (1.4.3), a name for every control (4.1.2)."""
    ada, bob = open_tab("Ada", color_scheme=scheme), open_tab("Bob Builder")
    bob.say("Hello")
    bob.type("x")
    expect(ada.page.locator("#log .text")).to_have_count(1, timeout=PATIENCE)
    script = (Path(__file__).parent / "contrast.js").read_text("utf-8")
    assert ada.page.evaluate(script) == []
    ada.page.click("#history-toggle")
    expect(ada.page.locator("#past ins")).to_have_text("x", timeout=PATIENCE)
    ada.page.mouse.move(0, 0)
    assert ada.page.evaluate(script) == []
    nameless = ada.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, [contenteditable=true]")]
          .filter((one) => !(one.getAttribute("aria-label") || one.labels?.length || one.textContent.trim()))
          .map((one) => one.outerHTML)"""
    )
    assert nameless == []
