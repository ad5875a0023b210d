"""The browser client's typed documents, under Node, against the real server and beside the Python client."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from syncline.client import connect
from tests.serving import serving, ws_url

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
        process = await asyncio.create_subprocess_exec(
            *(node, "--no-warnings", "--experimental-websocket", "typed_client.mjs", ws_url(app), type),
            cwd=HERE,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, into = process.stdout, process.stdin
        assert out is not None and into is not None and process.stderr is not None
        try:
            assert await out.readline() == b"joined\n", (await process.stderr.read()).decode()
            done: list[str] = []
            document.on_change(lambda operation, origin: done.append(origin))
            for operation in own:
                into.write(json.dumps(operation).encode() + b"\n")
            while "remote" not in done:  # what is written now meets what Node does next
                await asyncio.sleep(0.001)
            into.write(json.dumps(theirs).encode() + b"\n")
            document.apply(ours)
            while True:
                into.write(b"content\n")
                seen = json.loads(await out.readline())
                if seen["settled"] and seen["content"] == document.content and seen["content"] in ends:
                    break
                await asyncio.sleep(0.01)
        finally:
            into.close()
            assert await process.wait() == 0
