"""A type of documents that is not Syncline's own, registered on all three sides, through crashes and rejoins."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from syncline.client import connect
from syncline.core.types import DOCUMENT_TYPES
from tests.client.links import QUICK
from tests.faults.counter import CounterType
from tests.harness import ServerProcess
from tests.waiting import until as awaited

from .typed_clients import a_client

KILLS = 3
WITH_COUNTERS = (
    "import sys; from tests.faults.counter import register; register(); "
    "from syncline.__main__ import main; sys.exit(main(sys.argv[4:]))"
)


class CounterServer(ServerProcess):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory, environ={"PYTHONPATH": str(Path(__file__).resolve().parents[2])})
        self._limit = [sys.executable, "-c", WITH_COUNTERS]


async def test_a_counter_through_crashes(tmp_path: Path, node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DOCUMENT_TYPES, "counter", CounterType())
    with CounterServer(tmp_path) as server:
        async with (
            asyncio.timeout(120),
            await connect(server.ws_url, name="Ada", backoff=QUICK) as ada,
            a_client(node, server.ws_url, "counter") as browser,
        ):
            document = await ada.document("page", type="counter")
            changes: list[tuple[int, str]] = []
            document.on_change(lambda operation, origin: changes.append((operation, origin)))
            assert await document.initialize(1000) is True and await browser("first 5") is False
            total = 1000
            for kill in range(KILLS):
                for number in range(1, 6):
                    document.apply(number)
                    await browser(str(10 * number))
                total += 15 + 150
                await asyncio.to_thread(server.kill)  # with some of it on its way
                document.apply(100)
                await browser("200")
                total += 300
                await asyncio.to_thread(server.start)
                await document.settled()
                while (seen := await browser("content")) != {"settled": True, "content": total}:
                    assert seen["content"] <= total, kill
                    await asyncio.sleep(0.01)
                await awaited(lambda total=total: document.content == total)  # type: ignore[misc]
            assert (
                document.healed == 0
                and not document.lost_work
                and {origin for _, origin in changes}
                <= {
                    "local",
                    "remote",
                    "restore",
                }
            )
            assert await document.undo() is True and await browser("undo") is True
            await document.settled()
            while (seen := await browser("content"))["content"] != document.content or not seen["settled"]:
                await asyncio.sleep(0.01)
            assert document.content < total
            async with await connect(server.ws_url, name="Reader") as reader:
                assert (await reader.document("page", type="counter")).content == document.content
            history = await document.history()
            assert 1000 + sum(entry.operation for entry in history.operations[1:]) == document.content
