"""What was told of presence and the backend may not have yet. Every read sees it, until the backend has it.

A change waits for its turn, is under way, and is forgotten when it is written. When the backend is unavailable it goes on waiting, for
the next change or the next ``retry``. A reading is told besides what comes while it is open: the backend may answer it with what was
before a write that ended meanwhile.

Bounds: one change per room and connection, ``most`` of them waiting, of more the oldest are dropped and counted; in a reading the
connections of its room that change while one request is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from ..seams.outcome import Unavailable
from ..seams.presence import Presence, PresenceChange

log = logging.getLogger("syncline.presence")

#: A backend that takes longer for one call is as one that fails: what waits for it is bounded from then on.
_SLOW_SECONDS = 1.0

#: Changes that one call of the backend takes: a storm must not make one long transaction.
_CHUNK = 500

_Key = tuple[str, str]  # room, connection

#: connection -> the newest that is known of it and the backend may not have said.
Reading = dict[str, PresenceChange]


class PresenceWrites:
    def __init__(
        self, presence: Presence, ttl: float, most: int, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._presence = presence
        self._ttl = ttl
        self._most = most
        self._spawn = spawn
        self._waiting: OrderedDict[_Key, PresenceChange] = OrderedDict()  # the oldest first
        self._unwritten: dict[str, Reading] = {}  # by room: what waits and what is under way
        self._readings: dict[str, list[Reading]] = {}  # by room
        self._writing = False
        self._failing = False  # the backend did not take the last ones, or does not answer
        self.dropped = 0  # for want of room

    def __len__(self) -> int:
        """Changes that the backend may not have."""
        return sum(map(len, self._unwritten.values()))

    def add(self, change: PresenceChange) -> None:
        """Replaces what waits of the same room and connection."""
        room, connection = change.room, change.entry.connection
        self._unwritten.setdefault(room, {})[connection] = change
        for reading in self._readings.get(room, ()):
            reading[connection] = change
        self._waiting[room, connection] = change
        if self._failing:  # else they are soon written: many in one turn are not too many
            self._bound()
        self.retry()

    def retry(self) -> None:
        """Writes what waits, unless that goes on already."""
        if self._waiting and not self._writing:
            self._writing = True
            self._spawn(self._write())

    @contextmanager
    def reading(self, room: str) -> Iterator[Reading]:
        """What the backend may not have said of the room, up to the moment at which one looks at it."""
        reading = dict(self._unwritten.get(room, ()))
        readings = self._readings.setdefault(room, [])
        readings.append(reading)
        try:
            yield reading
        finally:
            readings[:] = (other for other in readings if other is not reading)
            if not readings:
                del self._readings[room]

    async def _write(self) -> None:
        try:
            while self._waiting:
                under_way = {key: self._waiting.pop(key) for key in [*islice(self._waiting, _CHUNK)]}
                slow = asyncio.get_running_loop().call_later(_SLOW_SECONDS, self._overdue)
                try:
                    async with asyncio.timeout(self._ttl):  # by then what was written before has expired
                        await self._presence.write([*under_way.values()], self._ttl)
                except (Unavailable, TimeoutError) as error:
                    log.warning(
                        "presence backend unavailable, %d changes wait: %s", len(self), str(error) or "no answer"
                    )
                    self._failing = True
                    self._put_back(under_way)
                    return
                except BaseException:
                    self._forget(under_way)  # it would fail again, and keep the others from being written
                    raise
                finally:
                    slow.cancel()
                self._failing = False
                self._forget(under_way)
        finally:
            self._writing = False

    def _overdue(self) -> None:
        self._failing = True
        self._bound()

    def _put_back(self, changes: dict[_Key, PresenceChange]) -> None:
        for key, change in reversed(changes.items()):
            if key not in self._waiting:  # else there is a newer one
                self._waiting[key] = change
                self._waiting.move_to_end(key, last=False)
        self._bound()

    def _bound(self) -> None:
        while len(self._waiting) > self._most:
            key, change = self._waiting.popitem(last=False)
            self._forget({key: change})
            self.dropped += 1

    def _forget(self, changes: dict[_Key, PresenceChange]) -> None:
        for (room, connection), change in changes.items():
            unwritten = self._unwritten.get(room, {})
            if unwritten.get(connection) is change:
                del unwritten[connection]
                if not unwritten:
                    del self._unwritten[room]
