"""Messages go in the order in which ``send`` was called: over lost connections, and also those that callbacks send."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client import ConnectionLost, Position, RequestError, connect
from syncline.client.order import Order
from syncline.server.seams.outcome import Unavailable
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, Open, cut


async def test_sends_in_callbacks_do_not_overtake(tmp_path: Path, codec: Any) -> None:
    async with (
        serving(tmp_path) as app,
        await connect(ws_url(app), name="Bob") as bob,
        await connect(ws_url(app), name="Ada", codec=codec, backoff=QUICK) as ada,
    ):
        got: list[int] = []
        (await bob.join("team")).on_message(lambda publication: got.append(publication.data))
        room = await ada.join("team")
        sent: list[int] = []
        tasks: list[asyncio.Task[Any]] = []

        def say(*_: object) -> None:
            if len(sent) < 2000:
                sent.append(len(sent))
                tasks.append(asyncio.ensure_future(room.send(sent[-1], retry=len(sent) % 7 != 0)))

        ada.on_state(say)
        ada.on_push(say)
        room.on_members(say)
        rng = random.Random(1)
        for _ in range(30):
            for _ in range(rng.randrange(8)):
                say()
            for _ in range(rng.randrange(4)):
                await asyncio.sleep(0)
            if ada.state == "open" and rng.random() < 0.5:
                cut(ada)
            if rng.random() < 0.3:
                await until(lambda: ada.state == "open")
        say()
        results: list[Any] = []
        while len(results) < len(tasks):  # each answer makes one more
            results = await asyncio.gather(*tasks, return_exceptions=True)
        lost = {number for number, result in enumerate(results) if isinstance(result, ConnectionLost)}
        assert all(isinstance(result, (ConnectionLost, Position)) for result in results) and all(
            number % 7 == 6 for number in lost
        )
        await until(lambda: max(set(sent) - lost) in got)
        assert got == sorted(set(got)) and set(sent) - set(got) <= lost and len(got) > 1000
        assert ada.reconnects > 3


async def test_a_join_that_fails_for_now_keeps_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as app, await connect(ws_url(app), name="Ada", backoff=QUICK) as ada:
        room = await ada.join("team")
        real, failures = app.node.store.room, 3

        async def stored(name: str) -> Any:
            nonlocal failures
            failures -= 1
            if failures >= 0:
                raise Unavailable("not now")
            return await real(name)

        monkeypatch.setattr(app.node.store, "room", stored)
        cut(ada)
        tasks = []
        for number in range(300):
            tasks.append(asyncio.ensure_future(room.send(number)))
            if number % 3 == 0:
                await asyncio.sleep(0.001)
        offsets = [position.offset for position in await asyncio.gather(*tasks)]
        assert offsets == list(range(1, 301)) and failures < 0


async def test_what_the_server_may_not_know_again_is_not_sent_again(tmp_path: Path) -> None:
    async with serving(tmp_path, rooms={"idempotency_seconds": 0.001}) as app:
        async with await connect(ws_url(app), name="Ada", backoff=QUICK) as ada:
            room = await ada.join("team")
            sending = asyncio.ensure_future(room.send("once"))
            await asyncio.sleep(0)
            cut(ada)
            with pytest.raises(RequestError, match="fate_unknown"):
                await sending
            assert (await room.send("twice")).offset >= 1


async def test_who_gives_up_makes_way(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    room = await ada.join("team")
    cut(ada)
    tasks = [asyncio.ensure_future(room.send(number)) for number in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    positions = await asyncio.gather(*tasks[1::2])
    assert [position.offset for position in positions] == list(range(1, 26))


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["wait", "gone", "cancel"])), max_size=60))
def test_the_first_in_line_is_who_came_first(steps: list[tuple[int, str]]) -> None:
    async def main() -> None:
        order, waiting = Order(), dict[int, asyncio.Task[None]]()
        places = [order.place() for _ in range(10)]
        for index, step in steps:
            place = places[index]
            if step == "wait" and place not in waiting:
                waiting[place] = asyncio.ensure_future(order.first(place))
            elif step != "wait" and place in waiting:
                task = waiting.pop(place)
                task.cancel()
                order.gone(place)
                order.gone(place)
            for _ in range(3):
                await asyncio.sleep(0)
            first = min(waiting, default=None)
            assert [one for one in places if order.is_first(one)] == ([] if first is None else [first])
            assert first is None or waiting[first].done()
        for task in waiting.values():
            task.cancel()

    asyncio.run(main())
