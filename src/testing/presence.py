"""The Presence contract, sentence by sentence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from ..server.seams.outcome import Unavailable
from ..server.seams.presence import Presence, PresenceChange, PresenceEntry
from .clock import ManualClock

CreatePresence = Callable[[ManualClock], Presence]
Open = Callable[[], Awaitable[Presence]]

TTL = 60.0


def entry(
    user: str, connection: str = "c1", status: str = "online", seen: float = 100.0, metadata: bytes | None = None
) -> PresenceEntry:
    return PresenceEntry(user, connection, user.title(), status, seen, metadata)


async def touch(presence: Presence, room: str, one: PresenceEntry, ttl: float) -> None:
    await presence.write([PresenceChange(room, one, here=True)], ttl)


async def drop(presence: Presence, room: str, connection: str, user: str = "ada", seen: float = 0.0) -> None:
    await presence.write([PresenceChange(room, entry(user, connection, seen=seen), here=False)], TTL)


class PresenceSuite:
    """Give it the fixture ``create``: ``create(clock) -> Presence``."""

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    async def open(self, create: CreatePresence, clock: ManualClock) -> AsyncIterator[Open]:
        opened: list[Presence] = []

        async def open() -> Presence:
            presence = create(clock)
            await presence.start()
            opened.append(presence)
            return presence

        yield open
        for presence in opened:
            await presence.close()

    @pytest.fixture
    async def presence(self, open: Open) -> Presence:
        return await open()

    async def test_nobody_is_in_an_unknown_room(self, presence: Presence) -> None:
        assert await presence.list("team") == []
        assert await presence.last_seen("team", ["ada"]) == {}
        assert await presence.last_seen("team", []) == {}

    async def test_an_entry_comes_back_as_it_was_touched(self, presence: Presence) -> None:
        one = PresenceEntry("ada😀", "c\x00", "Ada\n", "busy", 12.5, b'{"a": 1}')
        await touch(presence, "team", one, TTL)
        await touch(presence, "other", entry("bob"), TTL)
        assert await presence.list("team") == [one]

    async def test_the_list_is_ordered_by_user_and_connection(self, presence: Presence) -> None:
        entries = [entry(user, f"{user}-{number}") for user in ("a", "B", "é", "b") for number in (10, 2, 1)]
        for one in entries:
            await touch(presence, "team", one, TTL)
        assert await presence.list("team") == sorted(entries, key=lambda one: (one.user, one.connection))

    async def test_touching_again_replaces(self, presence: Presence) -> None:
        await touch(presence, "team", entry("ada", "c1", "online", 100.0, b"1"), TTL)
        await touch(presence, "team", entry("ada", "c2", "away", 100.0), TTL)
        await touch(presence, "team", entry("ada", "c1", "busy", 105.0), TTL)
        assert await presence.list("team") == [entry("ada", "c1", "busy", 105.0), entry("ada", "c2", "away", 100.0)]

    async def test_a_connection_is_in_several_rooms(self, presence: Presence) -> None:
        await touch(presence, "a", entry("ada"), TTL)
        await touch(presence, "b", entry("ada", status="busy"), TTL)
        await drop(presence, "a", "c1")
        assert await presence.list("a") == []
        assert await presence.list("b") == [entry("ada", status="busy")]

    async def test_drop_is_idempotent(self, presence: Presence) -> None:
        await drop(presence, "team", "c1")
        await touch(presence, "team", entry("ada"), TTL)
        await drop(presence, "team", "c1")
        await drop(presence, "team", "c1")
        assert await presence.list("team") == []

    async def test_an_entry_lives_its_ttl(self, presence: Presence, clock: ManualClock) -> None:
        await touch(presence, "team", entry("ada"), 60.0)
        await touch(presence, "team", entry("bob", "c2"), 90.0)
        clock.advance(59.5)
        assert [one.user for one in await presence.list("team")] == ["ada", "bob"]
        clock.advance(1)
        assert [one.user for one in await presence.list("team")] == ["bob"]
        clock.advance(30)
        assert await presence.list("team") == []

    async def test_a_touch_prolongs_life(self, presence: Presence, clock: ManualClock) -> None:
        await touch(presence, "team", entry("ada"), 60.0)
        for _ in range(5):
            clock.advance(40)
            await touch(presence, "team", entry("ada"), 60.0)
        clock.advance(59.5)
        assert await presence.list("team") == [entry("ada")]
        clock.advance(1)
        assert await presence.list("team") == []

    async def test_the_last_touch_counts_also_when_it_is_shorter(self, presence: Presence, clock: ManualClock) -> None:
        await touch(presence, "team", entry("ada"), 600.0)
        await touch(presence, "team", entry("ada"), 10.0)
        clock.advance(11)
        assert await presence.list("team") == []

    async def test_an_expired_entry_can_come_back(self, presence: Presence, clock: ManualClock) -> None:
        await touch(presence, "team", entry("ada"), 10.0)
        clock.advance(11)
        await touch(presence, "other", entry("bob"), 10.0)
        await touch(presence, "team", entry("ada", status="busy"), 10.0)
        clock.advance(9)
        assert await presence.list("team") == [entry("ada", status="busy")]

    async def test_dropped_and_back_lives_its_new_ttl(self, presence: Presence, clock: ManualClock) -> None:
        await touch(presence, "team", entry("ada"), 10.0)
        clock.advance(5)
        await drop(presence, "team", "c1")
        await touch(presence, "team", entry("ada"), 10.0)
        clock.advance(7)
        assert await presence.list("team") == [entry("ada")]
        clock.advance(4)
        assert await presence.list("team") == []

    async def test_last_seen_is_the_newest_live_or_dropped_or_expired(
        self, presence: Presence, clock: ManualClock
    ) -> None:
        await touch(presence, "team", entry("ada", "c1", seen=100.0), TTL)
        await touch(presence, "team", entry("ada", "c2", seen=300.0), TTL)
        await touch(presence, "team", entry("ada", "c1", seen=200.0), TTL)
        await touch(presence, "team", entry("bob", "c3", seen=50.0), TTL)
        await touch(presence, "other", entry("eve", "c4", seen=60.0), TTL)
        users = ["ada", "bob", "eve", "nobody"]
        expected = {"ada": 300.0, "bob": 50.0}
        assert await presence.last_seen("team", users) == expected
        for connection in ("c1", "c2"):
            await drop(presence, "team", connection)
        clock.advance(TTL + 1)
        assert await presence.list("team") == []
        assert await presence.last_seen("team", users) == expected
        assert await presence.last_seen("team", ["bob"]) == {"bob": 50.0}

    async def test_changes_of_one_write_count_in_order(self, presence: Presence) -> None:
        one, other = entry("ada", seen=100.0), entry("bob", "c2", seen=101.0)
        came = [PresenceChange("team", one, here=True), PresenceChange("team", other, here=True)]
        await presence.write([*came, PresenceChange("team", entry("ada", seen=102.0), here=False)], TTL)
        assert await presence.list("team") == [other]
        assert await presence.last_seen("team", ["ada", "bob"]) == {"ada": 102.0, "bob": 101.0}
        await presence.write([], TTL)
        await presence.write([PresenceChange("team", other, here=False), *came], TTL)
        assert await presence.list("team") == [one, other]

    async def test_many_at_once(self, presence: Presence) -> None:
        entries = [entry(f"user{number:03}", f"c{number}") for number in range(100)]
        await asyncio.gather(*(touch(presence, "team", one, TTL) for one in entries))
        await asyncio.gather(*(drop(presence, "team", f"c{number}") for number in range(0, 100, 2)))
        assert await presence.list("team") == entries[1::2]

    async def test_close_is_idempotent_and_then_it_is_unavailable(self, presence: Presence) -> None:
        await presence.close()
        await presence.close()
        with pytest.raises(Unavailable):
            await touch(presence, "team", entry("ada"), TTL)
        with pytest.raises(Unavailable):
            await drop(presence, "team", "c1")
        with pytest.raises(Unavailable):
            await presence.list("team")
        with pytest.raises(Unavailable):
            await presence.last_seen("team", ["ada"])


class DurablePresenceSuite(PresenceSuite):
    """For presence that outlives the process: each ``create`` of a test opens the same data."""

    async def test_entries_live_their_ttl_over_a_restart(self, open: Open, clock: ManualClock) -> None:
        presence = await open()
        await touch(presence, "team", entry("ada"), TTL)
        await presence.close()
        clock.advance(TTL / 2)
        presence = await open()
        assert await presence.list("team") == [entry("ada")]
        clock.advance(TTL)
        assert await presence.list("team") == []
        assert await presence.last_seen("team", ["ada"]) == {"ada": 100.0}

    async def test_nodes_see_each_other(self, open: Open) -> None:
        first, second = await open(), await open()
        await touch(first, "team", entry("ada"), TTL)
        await touch(second, "team", entry("bob", "c2"), TTL)
        assert await first.list("team") == await second.list("team") == [entry("ada"), entry("bob", "c2")]
