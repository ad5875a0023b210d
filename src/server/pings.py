"""Pings without a timer or task per connection: one wheel, turned once per second.

Each connection sits in the slot of its next check. One that sent something since the last check is left alone for another
``interval``; a silent one is pinged and looked at after ``timeout``: without a pong it is dead.
O(connections / interval) per second. RFC 6455 section 5.5.2.
"""

from __future__ import annotations

from collections.abc import Callable

from ..core.frames import PING, encode_frame
from .connection import Connection

_PING = encode_frame(PING, b"")


class _State:
    __slots__ = ("awaiting", "heard", "pinged")

    def __init__(self) -> None:
        self.heard = False  # a message came since the last check
        self.pinged = False  # a ping is not answered yet
        self.awaiting = False  # the next check is that of a ping


class PingWheel:
    """``interval`` and ``timeout`` in seconds, rounded up; ``dead`` is called with a connection that does not answer."""

    def __init__(self, interval: float, timeout: float, dead: Callable[[Connection], object]) -> None:
        self._interval = max(1, round(interval))
        self._timeout = max(1, round(timeout))
        self._dead = dead
        self._slots: list[dict[Connection, None]] = [{} for _ in range(max(self._interval, self._timeout) + 1)]
        self._now = 0
        self._states: dict[Connection, _State] = {}
        self.sent = 0

    def __len__(self) -> int:
        return len(self._states)

    def add(self, connection: Connection) -> None:
        self._states[connection] = _State()
        self._put(connection, self._interval)

    def remove(self, connection: Connection) -> None:
        """Idempotent. Its slot forgets it when its turn comes."""
        self._states.pop(connection, None)

    def heard(self, connection: Connection, pong: bool) -> None:
        """Any frame of the peer shows that it lives; what is not a pong also spares it the next ping."""
        state = self._states.get(connection)
        if state is not None:
            state.pinged = False
            if not pong:
                state.heard = True

    def _put(self, connection: Connection, seconds: int) -> None:
        self._slots[(self._now + seconds) % len(self._slots)][connection] = None

    def turn(self) -> None:
        """One second has passed."""
        self._now = (self._now + 1) % len(self._slots)
        due, self._slots[self._now] = self._slots[self._now], {}
        for connection in due:
            state = self._states.get(connection)
            if state is None:
                continue
            if state.pinged:
                del self._states[connection]
                self._dead(connection)
            elif state.awaiting:
                state.awaiting = False
                self._put(connection, max(1, self._interval - self._timeout))
            elif state.heard:
                state.heard = False
                self._put(connection, self._interval)
            else:
                state.pinged = state.awaiting = True
                connection.deliver(_PING)
                self.sent += 1
                self._put(connection, self._timeout)
