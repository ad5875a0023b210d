"""The Broker contract: what its histories hold."""

from __future__ import annotations

import pytest

from ..core.rooms.room import Position
from ..server.seams.outcome import Unrecoverable
from .clock import ManualClock
from .recorder import Open, contents, message, publish, publish_many


class HistorySuite:
    """Part of ``BrokerSuite``."""

    async def test_history_of_an_unknown_room_is_empty(self, open: Open) -> None:
        broker, _ = await open()
        history = await broker.history("nowhere", None, 10)
        assert history.publications == []
        assert history.position.offset == 0
        assert await broker.subscribe("nowhere") == history.position

    async def test_the_last_ones(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 10)
        history = await broker.history("team", None, 3)
        assert contents(history.publications) == [8, 9, 10]
        assert history.position == positions[-1]
        assert contents((await broker.history("team", None, 100)).publications) == list(range(1, 11))

    async def test_limit_0_gives_just_the_position(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 5)
        history = await broker.history("team", None, 0)
        assert history.publications == []
        assert history.position == positions[-1]
        assert (await broker.history("team", positions[-1], 0)).publications == []

    async def test_exactly_what_follows(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 10)
        for position in [Position(0, positions[0].epoch), *positions]:
            history = await broker.history("team", position, 10)
            assert contents(history.publications) == list(range(position.offset + 1, 11))
            assert [publication.position for publication in history.publications] == positions[position.offset :]
            assert history.position == positions[-1]

    async def test_what_is_done_is_in_the_history(self, open: Open) -> None:
        broker, _ = await open()
        for number in range(1, 20):
            position = await publish(broker, message(data=b"%d" % number))
            history = await broker.history("team", None, 1)
            assert (contents(history.publications), history.position) == ([number], position)

    async def test_more_than_limit_following_is_unrecoverable(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 10)
        assert len((await broker.history("team", positions[4], 5)).publications) == 5
        with pytest.raises(Unrecoverable):
            await broker.history("team", positions[4], 4)
        with pytest.raises(Unrecoverable):
            await broker.history("team", positions[4], 0)

    async def test_another_epoch_is_unrecoverable(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 3)
        for since in (Position(2, "elsewhere"), Position(3, ""), Position(0, positions[0].epoch + "x")):
            with pytest.raises(Unrecoverable):
                await broker.history("team", since, 10)

    async def test_a_position_that_never_was_is_unrecoverable(self, open: Open) -> None:
        broker, _ = await open()
        (position,) = await publish_many(broker, 1)
        for offset in (2, 1000, -1):
            with pytest.raises(Unrecoverable):
                await broker.history("team", Position(offset, position.epoch), 10)

    @pytest.mark.parametrize("subscribed", [False, True])
    async def test_history_is_bounded_by_count(self, open: Open, subscribed: bool) -> None:
        broker, _ = await open(history_size=5)
        if subscribed:
            await broker.subscribe("team")
        positions = []
        for first in (1, 4, 7, 10):
            positions += await publish_many(broker, 3, first=first)
        history = await broker.history("team", None, 100)
        assert contents(history.publications) == [8, 9, 10, 11, 12]
        assert history.position == positions[-1]
        epoch = history.position.epoch
        assert contents((await broker.history("team", Position(7, epoch), 100)).publications) == [8, 9, 10, 11, 12]
        with pytest.raises(Unrecoverable):
            await broker.history("team", Position(6, epoch), 100)

    @pytest.mark.parametrize("subscribed", [False, True])
    async def test_history_is_bounded_by_bytes(self, open: Open, subscribed: bool) -> None:
        size = message(data=b"x" * 1000).size
        broker, _ = await open(history_bytes=4 * size)
        if subscribed:
            await broker.subscribe("team")
        for _ in range(10):
            await publish(broker, message(data=b"x" * 1000))
        history = await broker.history("team", None, 100)
        assert [publication.offset for publication in history.publications] == [7, 8, 9, 10]
        # One that is over the bound alone empties it, and counts.
        assert (await publish(broker, message(data=b"x" * (4 * size)))).offset == 11
        history = await broker.history("team", None, 100)
        assert (history.publications, history.position.offset) == ([], 11)
        await publish_many(broker, 2, first=12)
        assert contents((await broker.history("team", history.position, 100)).publications) == [12, 13]

    @pytest.mark.parametrize("subscribed", [False, True])
    async def test_history_is_bounded_by_age(self, open: Open, subscribed: bool) -> None:
        clock = ManualClock(1000.0)
        broker, _ = await open(history_seconds=10.0, now=clock.time)
        if subscribed:
            await broker.subscribe("team")
        positions = []
        for number in range(1, 7):
            positions.append(await publish(broker, message(data=b"%d" % number, time=clock.time())))
            clock.advance(4.0)
        # It is 1024 now; they were published at 1000, 1004, ... 1020.
        history = await broker.history("team", None, 100)
        assert contents(history.publications) == [5, 6]
        assert contents((await broker.history("team", positions[3], 100)).publications) == [5, 6]
        with pytest.raises(Unrecoverable):
            await broker.history("team", positions[2], 100)
        clock.advance(100.0)
        history = await broker.history("team", None, 100)
        assert (history.publications, history.position) == ([], positions[-1])
        assert (await broker.history("team", positions[-1], 100)).publications == []
        with pytest.raises(Unrecoverable):
            await broker.history("team", positions[-2], 100)
        await publish(broker, message(data=b"7", time=clock.time()))
        assert contents((await broker.history("team", positions[-1], 100)).publications) == [7]

    async def test_sweeping_takes_nothing_that_is_given(self, open: Open) -> None:
        clock = ManualClock(1000.0)
        broker, _ = await open(history_seconds=10.0, now=clock.time)
        await broker.subscribe("team")
        for number in range(1, 7):
            for room in ("team", "other"):
                await publish(broker, message(room, data=b"%d" % number, time=clock.time()))
            clock.advance(4.0)
            await broker.sweep()
        for room in ("team", "other"):
            history = await broker.history(room, None, 100)
            assert contents(history.publications) == [5, 6] and history.position.offset == 6
        clock.advance(100.0)
        await broker.sweep()
        await broker.sweep()
        for room in ("team", "other", "none"):
            assert (await broker.history(room, None, 100)).publications == []
            await publish(broker, message(room, data=b"7", time=clock.time()))
            assert contents((await broker.history(room, None, 100)).publications) == [7]

    @pytest.mark.parametrize("none", [{"history_size": 0}, {"history_bytes": 0}])
    async def test_no_history_still_counts(self, open: Open, none: dict[str, int]) -> None:
        broker, recorder = await open(**none)
        await broker.subscribe("team")
        positions = await publish_many(broker, 3)
        assert recorder.offsets() == [1, 2, 3]
        history = await broker.history("team", None, 100)
        assert (history.publications, history.position) == ([], positions[-1])
        assert (await broker.history("team", positions[-1], 100)).publications == []
        with pytest.raises(Unrecoverable):
            await broker.history("team", positions[-2], 100)

    async def test_what_was_lost_comes_back_in_a_new_epoch(self, open: Open) -> None:
        broker, _ = await open(max_histories=3)
        newest: dict[str, Position] = {}
        for round in range(4):
            for number in range(8):
                room = f"room{number if round % 2 else 7 - number}"
                position = await publish(broker, message(room))
                before = newest.get(room)
                if before is not None and position.epoch == before.epoch:
                    assert position.offset == before.offset + 1
                    history = await broker.history(room, before, 10)
                    assert [publication.offset for publication in history.publications] == [position.offset]
                else:
                    assert position.offset == 1
                newest[room] = position

    async def test_a_subscribed_room_keeps_its_epoch(self, open: Open) -> None:
        broker, recorder = await open(max_histories=2)
        await broker.subscribe("team")
        first = await publish(broker, message())
        for number in range(10):
            await publish(broker, message(f"other{number}"))
        second = await publish(broker, message())
        assert second == (2, first.epoch)
        assert len((await broker.history("team", first, 10)).publications) == 1
        assert recorder.offsets() == [1, 2]
