"""The EventLog contract, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest

from ..server.seams.event_log import EventLog
from ..server.seams.outcome import Unavailable
from .clock import ManualClock
from .outcome import Outcomes, settled

#: ``create(clock, keep=...)``; ``keep`` is optional.
CreateEventLog = Callable[..., EventLog]
Open = Callable[..., Awaitable[EventLog]]


async def append(log: EventLog, key: str = "team", kind: str = "message", body: bytes = b"{}") -> int:
    sequence = await settled(partial(log.append, key, kind, body))
    assert isinstance(sequence, int)
    return sequence


async def append_many(log: EventLog, count: int) -> list[int]:
    outcomes = Outcomes()
    for number in range(count):
        log.append(f"key{number % 3}", "message", b"%d" % number, outcomes.done(number))
    await outcomes.wait()
    assert not outcomes.errors
    return [outcomes.results[number] for number in range(count)]


class EventLogSuite:
    """Give it the fixture ``create``: ``create(clock, keep=...) -> EventLog``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def open(self, create: CreateEventLog, clock: ManualClock) -> AsyncIterator[Open]:
        logs: list[EventLog] = []

        async def open(**options: int) -> EventLog:
            log = create(clock, **options)
            await log.start()
            logs.append(log)
            return log

        yield open
        for log in logs:
            await log.close()

    async def test_an_empty_log(self, open: Open) -> None:
        log = await open()
        assert list(await log.read(0, 10)) == []
        assert await log.trim(10) == 0

    async def test_an_event_comes_back_as_it_was_appended(self, open: Open, clock: ManualClock) -> None:
        log = await open()
        clock.advance(3)
        sequence = await append(log, "é\x00😀", "kind", b"\x00\xff")
        (event,) = await log.read(0, 10)
        assert (event.sequence, event.key, event.kind, event.body) == (sequence, "é\x00😀", "kind", b"\x00\xff")
        assert event.created_at == clock.time()

    async def test_sequences_grow_and_done_is_in_order(self, open: Open) -> None:
        log = await open()
        outcomes = Outcomes()
        for number in range(100):
            log.append("team", "message", b"%d" % number, outcomes.done(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await outcomes.wait()
        assert outcomes.order == list(range(100))
        sequences = [outcomes.results[number] for number in range(100)]
        assert sequences == sorted(set(sequences))
        events = await log.read(0, 1000)
        assert [event.sequence for event in events] == sequences
        assert [int(event.body) for event in events] == list(range(100))

    async def test_what_is_done_can_be_read(self, open: Open) -> None:
        log = await open()
        for _ in range(10):
            sequence = await append(log)
            assert [event.sequence for event in await log.read(sequence - 1, 1)] == [sequence]

    async def test_reading_goes_on_after_a_sequence(self, open: Open) -> None:
        log = await open()
        sequences = await append_many(log, 25)
        for size in (1, 7, 100):
            found: list[int] = []
            page = await log.read(0, size)
            while page:
                assert len(page) <= size
                found += [event.sequence for event in page]
                page = await log.read(found[-1], size)
            assert found == sequences
        assert list(await log.read(sequences[-1] + 1000, 10)) == []
        assert list(await log.read(0, 0)) == []
        assert list(await log.read(0, -1)) == []

    async def test_trim_keeps_the_newest(self, open: Open) -> None:
        log = await open()
        sequences = await append_many(log, 10)
        assert await log.trim(20) == 0
        assert await log.trim(4) == 6
        assert [event.sequence for event in await log.read(0, 100)] == sequences[-4:]
        assert await log.trim(4) == 0
        assert [event.sequence for event in await log.read(sequences[7], 100)] == sequences[-2:]

    async def test_a_sequence_is_not_given_twice(self, open: Open) -> None:
        log = await open()
        last = (await append_many(log, 5))[-1]
        assert await log.trim(0) == 5
        assert list(await log.read(0, 10)) == []
        sequence = await append(log)
        assert sequence > last
        assert [event.sequence for event in await log.read(last, 10)] == [sequence]

    async def test_the_log_is_bounded(self, open: Open) -> None:
        log = await open(keep=5)
        sequences = []
        for count in (4, 4, 4, 3):
            sequences += await append_many(log, count)
        assert [event.sequence for event in await log.read(0, 100)] == sequences[-5:]

    async def test_close_finishes_what_was_submitted(self, open: Open) -> None:
        log = await open()
        outcomes = Outcomes()
        for number in range(50):
            log.append("team", "message", b"", outcomes.done(number))
        await log.close()
        assert outcomes.order == list(range(50))
        assert not outcomes.errors
        await log.close()

    async def test_a_closed_log_is_unavailable(self, open: Open) -> None:
        log = await open()
        await log.close()
        with pytest.raises(Unavailable):
            await append(log)
        with pytest.raises(Unavailable):
            await log.read(0, 10)
        with pytest.raises(Unavailable):
            await log.trim(0)


class DurableEventLogSuite(EventLogSuite):
    """For logs that outlive the process: each ``create`` of a test opens the same log."""

    async def test_events_are_there_after_a_restart(self, open: Open) -> None:
        log = await open()
        sequences = await append_many(log, 10)
        before = list(await log.read(0, 100))
        await log.close()
        log = await open()
        assert list(await log.read(0, 100)) == before
        assert await append(log) > sequences[-1]

    async def test_a_sequence_is_not_given_twice_over_a_restart(self, open: Open) -> None:
        log = await open()
        last = (await append_many(log, 5))[-1]
        await log.trim(0)
        await log.close()
        log = await open()
        assert await append(log) > last
