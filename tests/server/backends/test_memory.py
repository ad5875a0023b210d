"""The memory backends: the exported suites, and what is theirs alone."""

from __future__ import annotations

import pytest

from syncline.core.rooms.room import Publication
from syncline.server.backends.memory import MemoryBroker, MemoryEventLog, MemoryPresence, MemoryStore
from syncline.server.seams.presence import PresenceChange, PresenceEntry
from syncline.testing import BrokerSuite, EventLogSuite, ManualClock, Outcomes, PresenceSuite, Recorder, StoreSuite


class TestMemoryBroker(BrokerSuite):
    @pytest.fixture
    def create(self) -> type[MemoryBroker]:
        return MemoryBroker

    async def test_done_comes_before_publish_returns(self) -> None:
        broker, outcomes = MemoryBroker(), Outcomes()
        await broker.start(Recorder())
        broker.publish(Publication("team", "ada", "Ada", 0.0, "json", b"1"), outcomes.done(1))
        assert outcomes.order == [1]

    async def test_the_longest_unused_room_goes_first(self) -> None:
        broker = MemoryBroker(max_histories=3)
        await broker.start(Recorder())
        epochs = {room: (await broker.history(room, None, 0)).position.epoch for room in "abc"}
        await broker.history("a", None, 0)
        await broker.history("d", None, 0)  # b goes
        assert len(broker) == 3
        for room in "ca":
            assert (await broker.history(room, None, 0)).position.epoch == epochs[room]
        assert (await broker.history("b", None, 0)).position.epoch != epochs["b"]
        assert len(broker) == 3

    async def test_a_sweep_frees_memory(self) -> None:
        clock = ManualClock(1000.0)
        broker = MemoryBroker(history_seconds=10.0, now=clock.time)
        await broker.start(Recorder())
        await broker.subscribe("team")
        for room in ("team", "idle"):
            broker.publish(Publication(room, "ada", "Ada", clock.time(), "json", b"1"), lambda *_: None)
        clock.advance(11.0)
        held = [broker._subscribed["team"], broker._idle["idle"]]
        assert [len(ring) for ring in held] == [1, 1]
        await broker.sweep()
        assert [len(ring) for ring in held] == [0, 0]

    async def test_subscribed_rooms_stay_and_idle_ones_give_way(self) -> None:
        broker = MemoryBroker(max_histories=3)
        await broker.start(Recorder())
        for number in range(5):
            await broker.subscribe(f"room{number}")
        await broker.history("idle", None, 0)
        await broker.history("other", None, 0)
        assert len(broker) == 6
        for number in range(5):
            await broker.unsubscribe(f"room{number}")
        assert len(broker) == 3


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def create(self) -> type[MemoryStore]:
        return MemoryStore


class TestMemoryEventLog(EventLogSuite):
    @pytest.fixture
    def create(self) -> type[MemoryEventLog]:
        return MemoryEventLog


class TestMemoryPresence(PresenceSuite):
    @pytest.fixture
    def create(self) -> type[MemoryPresence]:
        return MemoryPresence

    async def test_nothing_is_left_of_who_expired_but_when(self) -> None:
        clock = ManualClock()
        presence = MemoryPresence(clock, max_seen=10)
        await presence.start()

        async def write(room: str, *, here: bool) -> None:
            await presence.write([PresenceChange(room, PresenceEntry("ada", "c", "Ada", "online", 1.0), here)], 10.0)

        for number in range(100):
            for _ in range(3):  # comes, goes, comes again
                await write(f"room{number}", here=True)
                await write(f"room{number}", here=False)
            await write(f"room{number}", here=True)
        assert len(presence) == 100
        clock.advance(5)
        for number in range(100):
            await write(f"room{number}", here=True)
        clock.advance(6)
        await presence.list("room0")
        assert len(presence) == len(presence._due) == 100, "no items are left of the times before"
        clock.advance(5)
        await presence.list("room0")
        assert len(presence) == 0
        assert presence._due == []
        assert presence._rooms == {}
        assert await presence.last_seen("room0", ["ada"]) == {}, "the longest ago is forgotten"
        assert await presence.last_seen("room99", ["ada"]) == {"ada": 1.0}
