"""EventLog in memory: the newest events, for tests and for looking at what a node does."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from ...seams.clock import Clock
from ...seams.event_log import LoggedEvent
from ...seams.outcome import Done, NotWritten, Unavailable


class MemoryEventLog:
    """Holds ``keep`` events; the oldest go first. Append is O(1), read O(events before it + result)."""

    def __init__(self, clock: Clock, *, keep: int = 1_000_000) -> None:
        self._clock = clock
        self._events: deque[LoggedEvent] = deque(maxlen=keep)
        self._sequence = 0
        self._open = False

    def __len__(self) -> int:
        return len(self._events)

    async def start(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable("the event log is closed")

    def append(self, key: str, kind: str, body: bytes, done: Done[int]) -> None:
        if not self._open:
            done(None, NotWritten("the event log is closed"))
            return
        self._sequence += 1
        self._events.append(LoggedEvent(self._sequence, key, kind, body, self._clock.time()))
        done(self._sequence, None)

    async def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        self._require_open()
        if not self._events:
            return []
        first = max(after + 1 - self._events[0].sequence, 0)  # there are no gaps
        return list(islice(self._events, first, first + max(limit, 0)))

    async def trim(self, keep: int) -> int:
        self._require_open()
        dropped = max(len(self._events) - max(keep, 0), 0)
        for _ in range(dropped):
            self._events.popleft()
        return dropped
