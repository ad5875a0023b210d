"""Presence in memory: entries per room that expire by the injected clock.

Invariant: every entry has exactly one item of its own in ``_due``, not later than its expiry, so a sweep meets all that
expired; items left over from dropped entries go when their time comes. Touch is O(log n) amortised.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

from ...seams.clock import Clock
from ...seams.outcome import Unavailable
from ...seams.presence import PresenceChange, PresenceEntry


class _Held:
    __slots__ = ("due", "entry", "expiry")

    def __init__(self, entry: PresenceEntry, expiry: float) -> None:
        self.entry = entry
        self.expiry = expiry
        self.due = expiry  # time of its item in the heap


class MemoryPresence:
    """``max_seen`` bounds the memory of who was last seen when, over all rooms: the longest ago goes first."""

    def __init__(self, clock: Clock, *, max_seen: int = 100_000) -> None:
        self._clock = clock
        self._max_seen = max_seen
        self._rooms: dict[str, dict[str, _Held]] = {}  # room -> connection
        self._due: list[tuple[float, str, str]] = []  # a heap
        self._seen: OrderedDict[tuple[str, str], float] = OrderedDict()  # (room, user), by last touch
        self._open = False

    def __len__(self) -> int:
        """Entries held, also those that expired since the last call of anything."""
        return sum(map(len, self._rooms.values()))

    async def start(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable("presence is closed")

    def _sweep(self) -> None:
        """Takes out what expired."""
        now = self._clock.time()
        while self._due and self._due[0][0] <= now:
            due, room, connection = heapq.heappop(self._due)
            held = self._rooms.get(room, {}).get(connection)
            if held is None or held.due != due:
                continue  # of an entry that was dropped
            if held.expiry <= now:
                self._remove(room, connection)
            else:  # touched meanwhile
                held.due = held.expiry
                heapq.heappush(self._due, (held.due, room, connection))

    def _remove(self, room: str, connection: str) -> None:
        entries = self._rooms.get(room)
        if entries is not None and entries.pop(connection, None) is not None and not entries:
            del self._rooms[room]

    @property
    def shared(self) -> bool:
        return False

    async def write(self, changes: Sequence[PresenceChange], ttl: float) -> None:
        self._require_open()
        self._sweep()
        expiry = self._clock.time() + ttl
        for change in changes:
            if change.here:
                self._touch(change.room, change.entry, expiry)
            else:
                self._remove(change.room, change.entry.connection)
            key = (change.room, change.entry.user)
            seen = change.entry.last_seen
            self._seen[key] = max(self._seen.get(key, seen), seen)
            self._seen.move_to_end(key)
            if len(self._seen) > self._max_seen:
                self._seen.popitem(last=False)

    def _touch(self, room: str, entry: PresenceEntry, expiry: float) -> None:
        entries = self._rooms.setdefault(room, {})
        held = entries.get(entry.connection)
        if held is None or expiry < held.due:
            entries[entry.connection] = _Held(entry, expiry)
            heapq.heappush(self._due, (expiry, room, entry.connection))
        else:
            held.entry, held.expiry = entry, expiry

    async def list(self, room: str) -> list[PresenceEntry]:
        self._require_open()
        self._sweep()
        entries = [held.entry for held in self._rooms.get(room, {}).values()]
        return sorted(entries, key=lambda entry: (entry.user, entry.connection))

    async def last_seen(self, room: str, users: Sequence[str]) -> dict[str, float]:
        self._require_open()
        return {user: self._seen[room, user] for user in users if (room, user) in self._seen}
