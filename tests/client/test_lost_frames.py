"""Pushes of operations that do not come: the client asks for what is missing, and takes nothing for a fault of its content."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.client import Document, connect
from syncline.server.app import App
from tests.proxy import proxied
from tests.serving import ws_url
from tests.waiting import until

#: Of each type: a first content, and what is put in front of it.
CASES: dict[str, tuple[Any, Any]] = {
    "text": ("end", lambda mark: [mark]),
    "rich-text": ([{"insert": "end"}], lambda mark: [{"insert": mark}]),
    "json": (["end"], lambda mark: [{"p": [0], "li": mark}]),
}


def lose(opcode: int, payload: bytes) -> list[bytes]:
    return []


@pytest.mark.parametrize("kind", CASES)
async def test_a_hole_is_filled(app: App, kind: str) -> None:
    """What waits meanwhile stays as it was made: nothing of it goes over a difference of contents."""
    content, put = CASES[kind]
    origins: list[str] = []
    port = int(app.url.rpartition(":")[2])
    async with (
        proxied(port) as proxy,
        await connect(ws_url(app), name="Ada") as ada,
        await connect(proxy.url, name="Bob") as bob,
    ):
        theirs: Document[Any, Any] = await ada.document("d", type=kind, content=content)  # type: ignore[call-overload]
        mine: Document[Any, Any] = await bob.document("d", type=kind)  # type: ignore[call-overload]
        mine.on_change(lambda operation, origin: origins.append(origin))
        await mine.wait_for(lambda: mine.revision == theirs.revision == 1)
        proxy.policy = lose
        theirs.apply(put("a"))
        await theirs.settled()
        mine.apply(put("b"))  # committed, and it is not told
        await theirs.wait_for(lambda: theirs.revision == 3)
        mine.apply(put("c"))
        proxy.policy = None
        theirs.apply(put("d"))  # comes behind a hole
        await mine.settled()
        await until(lambda: mine.revision == theirs.revision == 5)
        assert mine.content == theirs.content
        assert all(str(mine.content).count(mark) == 1 + (mark == "d") for mark in "abcd")  # there is a d in "end"
        assert (mine.healed, bob.reconnects) == (0, 0)
        assert {*origins} <= {"local", "remote"}
