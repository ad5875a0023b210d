"""Coroutines run at once: results, faults, real waits, cancellation."""

from __future__ import annotations

import asyncio

import pytest

from syncline.server.protocol import eager


async def test_what_does_not_wait_is_done_at_once() -> None:
    async def inner() -> int:
        return 20

    async def work() -> int:
        return await inner() + 1

    assert eager.run(work()) == 21

    async def fault() -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        eager.run(fault())


async def rest_of(work: object) -> object:
    with pytest.raises(eager.Waits) as waits:
        eager.run(work)  # type: ignore[arg-type]
    return await asyncio.create_task(waits.value.rest)


async def test_what_waits_goes_on_in_a_task() -> None:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    steps = []

    async def work() -> int:
        steps.append("begun")
        first = await ready
        await asyncio.sleep(0)
        async with asyncio.timeout(5):  # there is a task by now
            await asyncio.sleep(0.001)
        with pytest.raises(OSError, match="broken"):
            await broken
        steps.append("over")
        return first + 1

    broken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(ready.set_result, 4)
    asyncio.get_running_loop().call_later(0.01, broken.set_exception, OSError("broken"))
    assert await rest_of(work()) == 5
    assert steps == ["begun", "over"]


async def test_a_future_that_is_done_before_the_task_begins() -> None:
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def work() -> int:
        return await ready

    with pytest.raises(eager.Waits) as waits:
        eager.run(work())
    ready.set_result(7)
    assert await asyncio.create_task(waits.value.rest) == 7


async def test_faults_and_cancellation_after_a_wait() -> None:
    async def fault() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        await rest_of(fault())
    ended = []

    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    with pytest.raises(eager.Waits) as waits:
        eager.run(work())
    task = asyncio.create_task(waits.value.rest)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == [True]
