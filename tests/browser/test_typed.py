"""The browser client's typed documents, under Node, against the real server and beside the Python client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from syncline.client import connect
from tests.serving import serving, ws_url

from .typed_clients import a_client, until

HERE = Path(__file__).resolve().parent

REST = [{"insert": " 🙂"}, {"insert": {"image": "x.png"}}, {"insert": "\n"}]
#: type -> what Python begins with, what Node then does, what both do at once, and where that ends; or, when Python's
#: part reaches Node before Node begins with its own, where that ends.
CASES: dict[str, tuple[Any, list[Any], tuple[Any, Any], list[Any]]] = {
    "rich-text": (
        [{"insert": "Hello 🙂\n"}],
        [[{"retain": 5, "attributes": {"bold": True}}], [{"retain": 8}, {"insert": {"image": "x.png"}}]],
        ([{"insert": "P"}], [{"retain": 1}, {"delete": 1}, {"insert": "i", "attributes": {"color": "red"}}]),
        [
            [
                {"insert": "P"},
                {"insert": "H", "attributes": {"bold": True}},
                {"insert": "i", "attributes": {"color": "red"}},
                {"insert": "llo", "attributes": {"bold": True}},
                *REST,
            ],
            [
                {"insert": "P"},
                {"insert": "i", "attributes": {"color": "red"}},
                {"insert": "ello", "attributes": {"bold": True}},
                *REST,
            ],
        ],
    ),
    "json": (
        [{"p": [], "od": None, "oi": {"items": ["a"], "n": 0}}],
        [[{"p": ["items", 1], "li": "b"}], [{"p": ["n"], "na": 2}]],
        ([{"p": ["n"], "na": 5}], [{"p": ["items", 0], "ld": "a"}]),
        [{"items": ["b"], "n": 7}],
    ),
}


async def test_cursors_and_the_past_of_a_rich_text(tmp_path: Path, node: str) -> None:
    async with (
        asyncio.timeout(60),
        serving(tmp_path) as app,
        a_client(node, ws_url(app), "rich-text") as ada,
        a_client(node, ws_url(app), "rich-text") as bob,
    ):
        first = [{"insert": "Hello "}, {"insert": {"image": "x"}}]
        await ada(json.dumps(first))
        await until(bob, "content", {"settled": True, "content": first})
        await ada("cursor [6, 7]")
        await until(bob, "cursors", [[6, 7]])
        await bob(json.dumps([{"insert": "Oh! "}]))
        await until(bob, "cursors", [[10, 11]])
        await until(ada, "cursors", [[4, 4]])  # behind what he wrote
        assert await ada("past") == [first, 2]


@pytest.mark.parametrize(
    ("type", "one", "other"),
    [
        ("text", "one", "two"),
        ("rich-text", [{"insert": "one"}], [{"insert": "two"}]),
        ("json", {"items": []}, {"items": [], "title": ""}),
    ],
)
async def test_of_two_first_contents_the_first_one_stays(
    tmp_path: Path, node: str, type: str, one: Any, other: Any
) -> None:
    async with (
        asyncio.timeout(60),
        serving(tmp_path) as app,
        a_client(node, ws_url(app), type) as ada,
        a_client(node, ws_url(app), type) as bob,
    ):
        assert await ada(f"first {json.dumps(one)}") is True
        assert await bob(f"first {json.dumps(other)}") is False
        for client in (ada, bob):
            await until(client, "content", {"settled": True, "content": one})


@pytest.mark.parametrize("type", CASES)
async def test_beside_the_python_client(type: str, tmp_path: Path, node: str) -> None:
    first, own, (ours, theirs), ends = CASES[type]
    async with (
        serving(tmp_path) as app,
        await connect(ws_url(app), name="Ada") as ada,
        asyncio.timeout(60),
    ):
        document = await ada.document("page", type=type)
        document.apply(first)
        await document.settled()
        async with a_client(node, ws_url(app), type) as browser:
            done: list[str] = []
            document.on_change(lambda operation, origin: done.append(origin))
            for operation in own:
                await browser(json.dumps(operation))
            while "remote" not in done:  # what is written now meets what Node does next
                await asyncio.sleep(0.001)
            await browser(json.dumps(theirs))
            document.apply(ours)
            while True:
                seen = await browser("content")
                if seen["settled"] and seen["content"] == document.content and seen["content"] in ends:
                    break
                await asyncio.sleep(0.01)
