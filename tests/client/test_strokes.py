"""What was done without a connection is undone in the steps in which it was done."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from syncline.client import Client, TextDocument
from syncline.client.code_points import TEXT
from syncline.client.strokes import Stroke, continues, stroke_of
from syncline.core.types import document_type
from tests.waiting import until

from .links import GateClock, Open, cut, hold


async def offline(client: Client, clock: GateClock) -> None:
    clock.gate.clear()
    cut(client)
    await until(lambda: client.state == "waiting")


async def test_a_text_typed_without_a_connection(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    await offline(ada, clock)
    for letter in "one two three":
        document.insert(len(document), letter)
    document.insert(0, "A title\n")  # at another place: a step of its own
    for _ in range(5):
        document.delete(len(document) - 1, 1)
    other.insert(0, "theirs ")
    await other.settled()
    clock.gate.set()
    await document.settled()
    assert document.text.replace("theirs ", "") == "A title\none two "
    seen = []
    while await document.undo():
        seen.append(document.text.replace("theirs ", ""))
    assert seen == ["A title\none two three", "one two three", "one two ", "one ", ""]
    assert await document.redo()
    await document.settled()
    await until(lambda: other.text == document.text)
    assert document.text in ("theirs one ", "one theirs ")


async def test_a_rich_text_and_a_json_document(open_client: Open) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    page, board = await ada.document("page", type="rich-text"), await ada.document("board", type="json")
    board.apply([{"p": [], "od": None, "oi": {"items": []}}])
    await board.settled()
    await offline(ada, clock)
    for at, letter in enumerate("one two"):
        page.apply([*([{"retain": at}] if at else []), {"insert": letter}])
    page.apply([{"retain": 3, "attributes": {"bold": True}}])
    for number in range(3):
        board.apply([{"p": ["items", number], "li": number}])
    clock.gate.set()
    await page.settled()
    await board.settled()
    seen: list[Any] = []
    while await page.undo():
        seen.append(page.content)
    assert seen == [[{"insert": "one two"}], [{"insert": "one "}], []]
    seen.clear()
    for _ in range(3):
        assert await board.undo()
        seen.append(board.content["items"])
    assert seen == [[0, 1], [0], []]


async def test_what_is_done_while_the_server_does_not_answer_goes_in_steps(open_client: Open) -> None:
    """As without a connection: composed into one operation, all of it would be undone at once."""
    clock = GateClock()
    ada = await open_client(clock=clock)
    text, rich, board = await ada.document("t"), *[await ada.document(f"d-{t}", type=t) for t in ("rich-text", "json")]
    board.set_content([])
    await board.settled()
    release = hold(ada)
    text.insert(0, "zero ")
    rich.apply([{"insert": "zero "}])
    board.apply([{"p": [0], "li": 0}])
    await text.sent()
    for number, word in enumerate(("one ", "two ", "three"), 1):
        clock.ahead += 1.2
        for letter in word:
            text.insert(len(text), letter)
            length = len(rich.content[0]["insert"])
            rich.apply([{"retain": length}, {"insert": letter}])
            await asyncio.sleep(0)
        board.apply([{"p": [number], "li": number}])
    release()
    for one in (text, rich, board):
        await one.settled()
    assert (text.text, rich.content, board.content) == (
        "zero one two three",
        [{"insert": "zero one two three"}],
        [0, 1, 2, 3],
    )
    for words in ("zero one two ", "zero one ", "zero "):
        assert await text.undo() and await rich.undo() and await board.undo()
        assert (text.text, rich.content) == (words, [{"insert": words}])
        assert board.content == [*range(words.count(" "))]


async def test_on_a_link_where_every_answer_takes_long_steps_do_not_pile_up(open_client: Open) -> None:
    """Each would wait for an answer of its own."""
    clock = GateClock()
    ada = await open_client(clock=clock)
    text, board = await ada.document("t"), await ada.document("d", type="json")
    board.set_content([])
    await board.settled()
    link = ada.connection._link
    assert link is not None
    send = link.send

    def slowly(message: bytes) -> None:
        send(message)
        clock.ahead += 1.25

    link.send = slowly  # type: ignore[method-assign]
    for known in (False, True, True):
        text.insert(0, "x ")
        board.apply([{"p": [0], "li": 0}])
        await text.sent()
        for number in range(5):
            text.insert(0, "y ")
            board.apply([{"p": [0], "li": number}])
        assert (len(text._state.queue), len(board._state.queue)) == ((1, 1) if known else (5, 5))
        await text.settled()
        await board.settled()


@pytest.mark.parametrize("way", ["leave", "close"])
@pytest.mark.parametrize("type", ["text", "rich-text", "json"])
async def test_who_leaves_sends_the_steps_that_wait_as_one(open_client: Open, type: Any, way: str) -> None:
    """Each would cost a round trip, and there may not be time for that."""
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, other = await ada.document("d", type=type), await bob.document("d", type=type)
    await offline(ada, clock)
    for word in ("one ", "two ", "three "):
        if isinstance(document, TextDocument):
            document.insert(0, word)
        elif type == "json":
            document.set_content(word)
        else:
            document.apply([{"insert": word}])
    leaving = asyncio.create_task(document.leave() if way == "leave" else ada.close())
    clock.gate.set()
    assert await leaving == 0
    await until(lambda: other.revision > 0)
    assert other.revision == 1


async def test_many_steps_and_bounds(open_client: Open) -> None:
    """Neighbours become one where they are smallest: all stay about as large."""
    clock = GateClock()
    ada = await open_client(clock=clock)
    document = await ada.document("notes")
    board = await ada.document("board", type="json")
    await offline(ada, clock)
    for number in range(100):
        document.insert(len(document), f"word{number} ")
        board.apply([{"p": [], "od": None, "oi": number}])
    assert document._state.unsettled == 15
    assert board._state.unsettled == 15
    clock.gate.set()
    await document.settled()
    await board.settled()
    assert document.text == "".join(f"word{number} " for number in range(100))
    assert document.revision == 15
    lengths = [len(document)]
    while await document.undo():
        lengths.append(len(document))
    assert len(lengths) == 16 and lengths[-1] == 0
    steps = [before - after for before, after in pairwise(lengths)]
    assert max(steps) <= 4 * min(steps)
    assert await board.undo()
    assert board.content in range(99)


async def test_online_what_is_done_in_one_turn_is_one_operation(open_client: Open) -> None:
    ada = await open_client()
    document = await ada.document("notes")
    assert isinstance(document, TextDocument)
    for word in ("one ", "two ", "three "):
        document.insert(0, word)
    await document.settled()
    assert document.revision == 1


@pytest.mark.parametrize(
    ("last", "one", "together"),
    [
        ([3, "ab"], [5, "c"], True),
        ([3, "ab"], [4, "c"], False),
        (["ab "], [3, "c"], False),
        (["ab "], [3, " "], True),
        (["ab"], [2, "x" * 17], False),
        (["x" * 17], [17, "a"], False),
        (["🙂"], [1, "a"], True),
        ([5, -1], [4, -1], True),
        ([5, -1], [5, -1], True),
        ([5, -1], [3, -1], False),
        ([5, -1], [5, "a"], False),
        ([1, "a", -1], [2, "b"], False),
        ([], ["b"], False),
        ([{"retain": 2}, {"insert": "a"}], [{"retain": 3}, {"insert": "b", "attributes": {"bold": True}}], True),
        ([{"retain": 2, "attributes": {"bold": True}}, {"insert": "a"}], [{"retain": 3}, {"insert": "b"}], False),
        ([{"insert": {"image": "x"}}], [{"retain": 1}, {"insert": "b"}], False),
        ([{"retain": 2}, {"delete": 1}], [{"retain": 1}, {"delete": 1}], True),
        ([{"p": ["a", 3], "si": "b"}], [{"p": ["a", 4], "si": "c"}], True),
        ([{"p": ["a", 3], "sd": "b"}], [{"p": ["a", 2], "sd": "c"}], True),
        ([{"p": ["a", 3], "si": "🙂"}], [{"p": ["a", 5], "si": "c"}], True),
        ([{"p": ["a", 3], "si": "b"}], [{"p": ["b", 4], "si": "c"}], False),
        ([{"p": ["a"], "oi": "b"}], [{"p": ["a", 1], "si": "c"}], False),
    ],
)
def test_what_belongs_together(last: list[Any], one: list[Any], together: bool) -> None:
    kind = document_type("json" if "p" in str(last) else "rich-text") if isinstance((last or one)[0], dict) else TEXT
    assert continues(kind, kind.parse(last), kind.parse(one)) is together


def test_strokes() -> None:
    assert stroke_of([2, "x"]) == Stroke(2, "x", 0)
    assert stroke_of([-3]) == Stroke(0, "", 3)
    assert stroke_of([2]) is stroke_of(7) is stroke_of([None]) is None
