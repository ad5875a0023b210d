"""The end of a node: what was accepted is finished, and waiting for it always lets the loop go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncline.server.app import App


class EagerGather:
    """``asyncio.gather`` as Python 3.12 and newer have it, on any version: of futures that are all done it makes a done one, and who
    awaits that lets nothing else run. ``most`` such calls in a row are taken for a loop without end."""

    def __init__(self, most: int = 100) -> None:
        self._gather: Any = asyncio.gather
        self._most = most
        self._in_a_row = 0

    def __call__(self, *futures: asyncio.Future[Any], return_exceptions: bool = False) -> asyncio.Future[Any]:
        if not all(future.done() for future in futures):
            self._in_a_row = 0
            result: asyncio.Future[Any] = self._gather(*futures, return_exceptions=return_exceptions)
            return result
        self._in_a_row += 1
        assert self._in_a_row < self._most, "waits for ended tasks for ever: nothing runs that would forget them"
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        done.set_result([])
        return done


async def test_a_node_ends_though_a_task_ends_just_then(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last task has ended when the node looks, and the callback that forgets it has not run yet."""
    node = app.node
    monkeypatch.setattr(asyncio, "gather", EagerGather())
    waiting = asyncio.Event()
    ended: list[str] = []

    async def second() -> None:
        await asyncio.sleep(0)  # ends in the very turn in which the node learns that the first one has ended
        ended.append("second")

    async def first() -> None:
        await waiting.wait()
        node.spawn(second())
        ended.append("first")

    close = node.documents.close

    async def closed() -> None:
        await close()
        waiting.set()  # the next thing that the node does is to wait for its tasks

    monkeypatch.setattr(node.documents, "close", closed)
    node.spawn(first())
    await node.stop()
    assert ended == ["first", "second"]
    assert not node._tasks
