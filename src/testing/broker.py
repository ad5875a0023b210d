"""The Broker contract, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ..core.rooms.room import Position, Publication
from ..server.seams.broker import Broker
from ..server.seams.outcome import NotWritten, Unavailable, Unrecoverable
from .broker_history import HistorySuite
from .clock import ManualClock
from .outcome import Outcomes
from .recorder import Open, Recorder, contents, message, publish, publish_many

#: ``create(history_size=..., history_bytes=..., history_seconds=..., max_histories=..., now=...)``, all optional.
CreateBroker = Callable[..., Broker]


class BrokerSuite(HistorySuite):
    """Give it the fixture ``create``: ``create(**options) -> Broker``, see CreateBroker."""

    @pytest.fixture
    async def open(self, create: CreateBroker) -> AsyncIterator[Open]:
        brokers: list[Broker] = []

        async def open(**options: Any) -> tuple[Broker, Recorder]:
            broker, recorder = create(**options), Recorder()
            await broker.start(recorder)
            brokers.append(broker)
            return broker, recorder

        yield open
        for broker in brokers:
            await broker.close()

    # Once ----------------------------------------------------------------------------------------------------

    async def test_the_same_key_of_the_same_user_is_published_once(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        await publish(broker, message())
        first = await publish(broker, message(data=b"1"), "k")
        again = message(data=b"2")
        assert await publish(broker, again, "k") == first
        assert (again.offset, again.epoch) == (0, "")
        others = [message(user="bob"), message("other"), message()]
        for other, key in zip(others, ("k", "k", "l"), strict=True):
            await publish(broker, other, key)
        assert [other.offset for other in others] == [3, 1, 4]
        assert recorder.offsets() == [1, 2, 3, 4]
        history = await broker.history("team", None, 10)
        assert [one.data for one in history.publications] == [b'"hi"', b"1", b'"hi"', b'"hi"']

    async def test_without_a_key_nothing_is_the_same(self, open: Open) -> None:
        broker, _ = await open()
        assert [(await publish(broker, message())).offset for _ in range(3)] == [1, 2, 3]

    async def test_a_duplicate_waits_for_the_first(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        outcomes = Outcomes()
        for number in range(6):  # in one turn
            broker.publish(message(data=b"%d" % number), outcomes.done(number), f"k{number % 2}")
        await outcomes.wait()
        assert not outcomes.errors and outcomes.order == list(range(6))
        assert [outcomes.results[number].offset for number in range(6)] == [1, 2, 1, 2, 1, 2]
        assert contents(recorder.publications) == [0, 1]

    async def test_keys_outlive_the_history(self, open: Open) -> None:
        broker, recorder = await open(history_size=3, max_histories=2)
        await broker.subscribe("team")
        first = await publish(broker, message(), "k")
        await publish_many(broker, 5)
        assert await publish(broker, message(), "k") == first
        await broker.forget("team")
        assert await publish(broker, message(), "k") == first
        assert (await publish(broker, message())).epoch != first.epoch
        # A room that nobody is in, and that is let go of for others.
        aside = await publish(broker, message("aside"), "k")
        for number in range(3):
            await publish(broker, message(f"other{number}"))
        assert await publish(broker, message("aside"), "k") == aside
        assert recorder.offsets() == [1, 2, 3, 4, 5, 6, 1]

    async def test_keys_are_remembered_without_a_history(self, open: Open) -> None:
        broker, _ = await open(history_size=0)
        assert [(await publish(broker, message(), key)).offset for key in ("k", "k", "l")] == [1, 1, 2]

    async def test_keys_are_remembered_for_their_time(self, open: Open) -> None:
        clock = ManualClock()
        broker, _ = await open(idempotency_seconds=10.0, now=clock.time)
        first = await publish(broker, message(), "k")
        clock.advance(9.75)
        assert await publish(broker, message(), "k") == first
        clock.advance(0.25)
        second = await publish(broker, message(), "k")
        assert second.offset == 2
        clock.advance(9.75)
        assert await publish(broker, message(), "k") == second
        assert broker.idempotency_dropped == 0
        # Those that nobody asks for again go, too.
        for number in range(50):
            clock.advance(1.0)
            await publish(broker, message(), f"{number}")
        assert broker.idempotency_keys <= 11 and broker.idempotency_dropped == 0

    async def test_so_many_keys_are_remembered(self, open: Open) -> None:
        broker, _ = await open(idempotency_keys=6)
        positions = [await publish(broker, message(f"room{number % 3}"), f"{number}") for number in range(20)]
        assert (broker.idempotency_keys, broker.idempotency_dropped) == (6, 14)
        again = [await publish(broker, message(f"room{number % 3}"), f"{number}") for number in range(14, 20)]
        assert again == positions[14:]
        assert await publish(broker, message("room1"), "13") != positions[13]

    # Positions -----------------------------------------------------------------------------------------------

    async def test_a_room_without_history_is_at_offset_0_of_its_epoch(self, open: Open) -> None:
        broker, _ = await open()
        position = await broker.subscribe("team")
        assert position.offset == 0
        assert position.epoch
        assert await publish(broker, message()) == (1, position.epoch)

    async def test_a_position_taken_before_the_first_publication_recovers_it(self, open: Open) -> None:
        broker, _ = await open()
        before = (await broker.history("team", None, 0)).position
        assert before.offset == 0
        await publish(broker, message())
        history = await broker.history("team", before, 10)
        assert [publication.offset for publication in history.publications] == [1]

    async def test_offsets_have_no_gaps_and_one_epoch(self, open: Open) -> None:
        broker, _ = await open()
        positions = await publish_many(broker, 20)
        positions += await publish_many(broker, 20)
        assert [position.offset for position in positions] == list(range(1, 41))
        assert len({position.epoch for position in positions}) == 1

    async def test_rooms_count_for_themselves(self, open: Open) -> None:
        broker, _ = await open()
        outcomes = Outcomes()
        for number in range(1, 31):
            for room in ("a", "b", "c"):
                broker.publish(message(room), outcomes.done((room, number)))
        await outcomes.wait()
        for room in ("a", "b", "c"):
            assert [outcomes.results[room, number].offset for number in range(1, 31)] == list(range(1, 31))
        assert len({position.epoch for position in outcomes.results.values()}) == 3

    async def test_publish_sets_the_position_of_the_publication(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        publication = message()
        position = await publish(broker, publication)
        assert publication.position == position
        assert recorder.publications[0].position == position

    async def test_everything_said_arrives_in_delivery_and_history(self, open: Open) -> None:
        broker, recorder = await open()
        data = [b"", b"\x00\xff\xc3(", "é€😀\x00".encode(), b"x" * 300_000]
        for number, body in enumerate(data):
            room, user, name = f"r\x00{number} é😀", f"u{number}😀", "Ada\nß"
            await broker.subscribe(room)
            await publish(broker, Publication(room, user, name, 1.5 + number, "msgpack", body))
            (stored,) = (await broker.history(room, None, 10)).publications
            for publication in (stored, recorder.publications[-1]):
                assert (publication.room, publication.user, publication.name) == (room, user, name)
                assert (publication.time, publication.codec) == (1.5 + number, "msgpack")
                assert publication.data == body

    # Delivery ------------------------------------------------------------------------------------------------

    async def test_delivery_is_in_order_and_before_done(self, open: Open) -> None:
        broker, recorder = await open()
        rooms = ("a", "b")
        for room in rooms:
            await broker.subscribe(room)
        outcomes = Outcomes()

        def submit(room: str, name: int) -> None:
            done = outcomes.done((room, name))

            def then(position: Position | None, error: Exception | None) -> None:
                if position is not None:
                    recorder.log.append(("done", room, position.offset))
                done(position, error)

            broker.publish(message(room), then)

        for turn in range(5):
            for number in range(10):
                for room in rooms:
                    submit(room, turn * 10 + number)
            await asyncio.sleep(0)
        await outcomes.wait()
        for room in rooms:
            for kind in ("delivered", "done"):
                offsets = [offset for what, where, offset in recorder.log if (what, where) == (kind, room)]
                assert offsets == list(range(1, 51))
            for offset in range(1, 51):
                delivered = recorder.log.index(("delivered", room, offset))
                assert delivered < recorder.log.index(("done", room, offset))

    async def test_done_is_called_in_order_of_submission(self, open: Open) -> None:
        broker, _ = await open()
        outcomes = Outcomes()
        for number in range(200):
            broker.publish(message(), outcomes.done(number))
            if number % 7 == 0:
                await asyncio.sleep(0)
        await outcomes.wait()
        assert outcomes.order == list(range(200))
        assert [outcomes.results[number].offset for number in range(200)] == list(range(1, 201))

    async def test_only_subscribed_rooms_are_delivered(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        await publish(broker, message("other"))
        await publish(broker, message("team"))
        assert [publication.room for publication in recorder.publications] == ["team"]

    async def test_subscribing_twice_delivers_once(self, open: Open) -> None:
        broker, recorder = await open()
        first = await broker.subscribe("team")
        assert await broker.subscribe("team") == first
        await publish(broker, message())
        assert recorder.offsets() == [1]

    async def test_nothing_comes_after_unsubscribe(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        await publish(broker, message())
        outcomes = Outcomes()
        for number in range(10):  # some of these may be under way
            broker.publish(message(), outcomes.done(number))
        await broker.unsubscribe("team")
        seen = len(recorder.publications)
        await outcomes.wait()
        await publish(broker, message())
        assert len(recorder.publications) == seen
        assert (await broker.history("team", None, 100)).position.offset == 12

    async def test_unsubscribe_is_idempotent(self, open: Open) -> None:
        broker, _ = await open()
        await broker.unsubscribe("never")
        await broker.subscribe("team")
        await broker.unsubscribe("team")
        await broker.unsubscribe("team")

    async def test_subscribing_again_continues(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        await publish(broker, message())
        await broker.unsubscribe("team")
        missed = await publish(broker, message())
        assert await broker.subscribe("team") == missed
        await publish(broker, message())
        assert recorder.offsets() == [1, 3]

    async def test_everything_after_the_returned_position_is_delivered(self, open: Open) -> None:
        broker, recorder = await open()
        await publish_many(broker, 3)
        outcomes = Outcomes()
        for number in range(10):
            broker.publish(message(), outcomes.done(number))
        subscribing = asyncio.ensure_future(broker.subscribe("team"))
        for number in range(10, 40):
            broker.publish(message(), outcomes.done(number))
            if number % 5 == 0:
                await asyncio.sleep(0)
        position = await subscribing
        for number in range(40, 50):
            broker.publish(message(), outcomes.done(number))
        await outcomes.wait()
        offsets = recorder.offsets()
        assert offsets == sorted(set(offsets))
        assert [offset for offset in offsets if offset > position.offset] == list(range(position.offset + 1, 54))

    async def test_many_subscribe_at_once(self, open: Open) -> None:
        broker, recorder = await open(max_histories=2)
        rooms = [f"room{number}" for number in range(20)]
        positions = await asyncio.gather(*(broker.subscribe(room) for room in rooms + rooms))
        assert {position.offset for position in positions} == {0}
        for room, position in zip(rooms + rooms, positions, strict=True):
            assert (await publish(broker, message(room))).epoch == position.epoch
        assert [recorder.offsets(room) for room in rooms] == [[1, 2]] * 20

    # Forgetting ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("subscribed", [False, True])
    async def test_forget_opens_a_new_epoch(self, open: Open, subscribed: bool) -> None:
        broker, recorder = await open()
        if subscribed:
            await broker.subscribe("team")
        old = (await publish_many(broker, 3))[-1]
        await broker.forget("team")
        history = await broker.history("team", None, 10)
        assert history.publications == []
        assert history.position.offset == 0
        position = await publish(broker, message(data=b"4"))
        assert position == (1, history.position.epoch)
        assert position.epoch != old.epoch
        with pytest.raises(Unrecoverable):
            await broker.history("team", old, 10)
        assert contents((await broker.history("team", None, 10)).publications) == [4]
        assert recorder.offsets() == ([1, 2, 3, 1] if subscribed else [])

    async def test_forgetting_leaves_other_rooms_alone(self, open: Open) -> None:
        broker, _ = await open()
        (position,) = await publish_many(broker, 1, "other")
        await broker.forget("team")
        await broker.forget("never")
        history = await broker.history("other", None, 10)
        assert (len(history.publications), history.position) == (1, position)

    # Events without position ---------------------------------------------------------------------------------

    async def test_ephemeral_events_reach_subscribed_rooms_and_leave_no_trace(self, open: Open) -> None:
        broker, recorder = await open()
        await broker.subscribe("team")
        broker.publish_ephemeral("team", "confetti", b"\x00raw")
        broker.publish_ephemeral("other", "confetti", b"")
        await broker.history("team", None, 0)
        assert recorder.ephemerals == [("team", "confetti", b"\x00raw")]
        assert await publish(broker, message()) == (1, (await broker.subscribe("team")).epoch)
        await broker.unsubscribe("team")
        broker.publish_ephemeral("team", "confetti", b"")
        await publish(broker, message())
        assert len(recorder.ephemerals) == 1

    # Closing -------------------------------------------------------------------------------------------------

    async def test_close_finishes_what_was_submitted(self, create: CreateBroker) -> None:
        broker, recorder = create(), Recorder()
        await broker.start(recorder)
        await broker.subscribe("team")
        outcomes = Outcomes()
        for number in range(50):
            broker.publish(message(), outcomes.done(number))
        await broker.close()
        assert outcomes.order == list(range(50))
        assert not outcomes.errors
        assert recorder.offsets() == list(range(1, 51))
        await broker.close()

    async def test_a_closed_broker_is_unavailable(self, create: CreateBroker) -> None:
        broker, recorder = create(), Recorder()
        await broker.start(recorder)
        position = await broker.subscribe("team")
        await broker.close()
        outcomes = Outcomes()
        broker.publish(message(), outcomes.done("publish"))
        await outcomes.wait()
        assert isinstance(outcomes.errors["publish"], NotWritten)
        broker.publish_ephemeral("team", "confetti", b"")
        with pytest.raises(Unavailable):
            await broker.subscribe("team")
        with pytest.raises(Unavailable):
            await broker.history("team", position, 10)
        with pytest.raises(Unavailable):
            await broker.forget("team")
        await broker.unsubscribe("team")
        assert (recorder.publications, recorder.ephemerals) == ([], [])


class DurableBrokerSuite(BrokerSuite):
    """For brokers whose history outlives the process: each ``create`` of a test opens the same history."""

    async def test_positions_go_on_after_a_restart(self, open: Open) -> None:
        broker, _ = await open()
        old = await publish_many(broker, 7)
        await broker.close()
        broker, recorder = await open()
        assert await broker.subscribe("team") == old[-1]
        new = await publish_many(broker, 3, first=8)
        assert new == [(offset, old[0].epoch) for offset in (8, 9, 10)]
        assert recorder.offsets() == [8, 9, 10]
        history = await broker.history("team", old[4], 10)
        assert contents(history.publications) == [6, 7, 8, 9, 10]
        assert contents((await broker.history("team", None, 4)).publications) == [7, 8, 9, 10]

    async def test_keys_outlive_a_restart(self, open: Open) -> None:
        broker, _ = await open()
        first = await publish(broker, message(), "k")
        await broker.close()
        broker, _ = await open()
        assert await publish(broker, message(), "k") == first
        assert (await publish(broker, message(), "l")).offset == 2

    async def test_recovery_after_a_restart_without_subscription(self, open: Open) -> None:
        broker, _ = await open()
        old = await publish_many(broker, 7)
        await broker.close()
        broker, _ = await open()
        assert contents((await broker.history("team", old[1], 10)).publications) == [3, 4, 5, 6, 7]
        assert (await publish(broker, message())).offset == 8

    async def test_bounds_hold_over_a_restart(self, open: Open) -> None:
        broker, _ = await open(history_size=5)
        await publish_many(broker, 12)
        await broker.close()
        broker, _ = await open(history_size=3)
        await publish_many(broker, 1, first=13)
        assert contents((await broker.history("team", None, 100)).publications) == [11, 12, 13]
        await broker.close()
        broker, _ = await open(history_size=100)
        await publish_many(broker, 2, first=14)
        history = await broker.history("team", None, 100)
        assert contents(history.publications) == [11, 12, 13, 14, 15]

    async def test_what_is_too_old_is_not_given_after_a_restart(self, open: Open) -> None:
        clock = ManualClock(1000.0)
        broker, _ = await open(history_seconds=10.0, now=clock.time)
        old = [await publish(broker, message(data=b"%d" % number, time=clock.time())) for number in range(3)]
        clock.advance(8.0)
        new = await publish(broker, message(data=b"4", time=clock.time()))
        await broker.close()
        clock.advance(8.0)
        broker, _ = await open(history_seconds=10.0, now=clock.time)
        assert contents((await broker.history("team", None, 10)).publications) == [4]
        with pytest.raises(Unrecoverable):
            await broker.history("team", old[0], 10)
        assert await broker.subscribe("team") == new

    async def test_what_was_forgotten_stays_so(self, open: Open) -> None:
        broker, _ = await open()
        old = await publish_many(broker, 7)
        await broker.forget("team")
        new = (await broker.history("team", None, 0)).position
        await broker.close()
        broker, _ = await open()
        assert await broker.subscribe("team") == new
        assert new.epoch != old[0].epoch
        assert (await broker.history("team", None, 10)).publications == []

    async def test_publishing_while_the_history_is_read(self, open: Open) -> None:
        broker, _ = await open()
        old = await publish_many(broker, 20)
        await broker.close()
        broker, recorder = await open()
        outcomes = Outcomes()

        async def keep_publishing() -> None:
            for number in range(21, 61):
                broker.publish(message(data=b"%d" % number), outcomes.done(number))
                await asyncio.sleep(0)

        publishing = asyncio.ensure_future(keep_publishing())
        position = await broker.subscribe("team")
        histories = await asyncio.gather(*(broker.history("team", old[9], 100) for _ in range(5)))
        await publishing
        await outcomes.wait()
        for history in histories:
            assert contents(history.publications) == list(range(11, history.position.offset + 1))
        assert [offset for offset in recorder.offsets() if offset > position.offset] == list(
            range(position.offset + 1, 61)
        )
        assert contents((await broker.history("team", None, 100)).publications) == list(range(1, 61))
