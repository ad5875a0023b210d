"""Pings without a timer or task per connection: one wheel, turned TURNS times a second.

Each socket sits in the slot of its next check. One that sent something since the last check is left alone for another
``interval``; a silent one is pinged and looked at after ``timeout``: without a pong it is dead. What there is to remember of a socket
is in the socket. O(sockets / interval) per second, in small portions. RFC 6455 section 5.5.2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Generic, Protocol, TypeVar

#: A second's sockets are not pinged all at once.
TURNS: Final = 8


class Pinged(Protocol):
    """A socket, as the wheel sees it. It clears ``pinged`` when anything comes, and sets ``heard`` when that is no pong."""

    heard: bool
    pinged: bool
    awaiting: bool  # the wheel's own

    @property
    def lost(self) -> bool: ...

    def ping(self) -> Any: ...

    def takes(self) -> bool:
        """Whether its silence says nothing: nobody reads, or what the ping waits behind gets less."""


S = TypeVar("S", bound=Pinged)


class PingWheel(Generic[S]):
    """``interval`` and ``timeout`` in seconds, rounded up to turns.

    ``dead`` is called with a socket that does not answer, ``seen`` with the others at each check: at least every ``longest`` seconds.
    """

    def __init__(
        self, interval: float, timeout: float, dead: Callable[[S], object], seen: Callable[[S], object] = id
    ) -> None:
        self._interval = max(1, round(interval * TURNS))
        self._timeout = max(1, round(timeout * TURNS))
        self._dead = dead
        self._seen = seen
        # Lists: an entry is 8 bytes. A socket that is lost stays in its slot until its turn comes.
        self._slots: list[list[S]] = [[] for _ in range(max(self._interval, self._timeout) + 1)]
        self._now = 0
        self._earlier = 0
        self.longest = len(self._slots) / TURNS
        self.sent = 0

    def __len__(self) -> int:
        return sum(not socket.lost for slot in self._slots for socket in slot)

    def add(self, socket: S) -> None:
        """It leaves by being ``lost``."""
        # Those that come in one storm are spread over half an interval; 5 has no factor in common with most lengths.
        self._put(socket, self._interval - self._earlier)
        self._earlier = (self._earlier + 5) % max(1, self._interval // 2)

    def _put(self, socket: S, turns: int) -> None:
        self._slots[(self._now + turns) % len(self._slots)].append(socket)

    def turn(self) -> None:
        """A part of a second has passed."""
        self._now = (self._now + 1) % len(self._slots)
        due, self._slots[self._now] = self._slots[self._now], []
        for socket in due:
            if socket.lost:
                continue
            if socket.pinged:
                if socket.takes():
                    self._put(socket, self._timeout)
                else:
                    self._dead(socket)
                continue
            self._seen(socket)
            if socket.awaiting:
                socket.awaiting = False
                self._put(socket, max(1, self._interval - self._timeout))
            elif socket.heard:
                socket.heard = False
                self._put(socket, self._interval)
            else:
                socket.pinged = socket.awaiting = True
                socket.ping()
                self.sent += 1
                self._put(socket, self._timeout)
