"""Pings without a timer or task per connection: one wheel, turned TURNS times a second.

A socket knows in which turn of the wheel something last came, and in which something last went. When either is ``interval`` ago it is
pinged in the next turn, whatever ``timeout`` is: so on an idle connection something goes in *both* directions at least every
``interval`` and a turn, and nothing on the way that counts one of them, or both, takes it for forgotten. A ping after which nothing has
come for ``timeout`` and a turn is a dead peer's; until then it is pinged on, as what lies between counts, too.

Each socket sits in the slot of the turn in which it must be looked at next: O(1) for each look, at most two looks an interval.
Those that would be pinged in one turn because they all spoke in one are spread: some are pinged earlier, nobody later. What there is to
remember of a socket is in the socket. RFC 6455 section 5.5.2.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

log = logging.getLogger("syncline.pings")

#: Turns a second: a second's sockets are not pinged all at once.
TURNS: Final = 8
#: Sockets that may be pinged in one turn before others are put elsewhere: well under a millisecond of the event loop.
CROWD: Final = 64


class Pinged(Protocol):
    """A socket, as the wheel sees it: numbers of turns. Whenever anything comes it sets ``heard``, and ``pinged`` to 0; ``sent``
    when anything goes."""

    heard: int
    sent: int
    pinged: int  # the oldest ping that nothing has come after; 0: none. Set by the wheel

    @property
    def lost(self) -> bool: ...

    def ping(self) -> bool:
        """Sends one and returns True, unless one waits to be written already."""

    def takes(self) -> bool:
        """Whether its silence says nothing: nobody reads, or what the ping waits behind gets less."""


class Clocked(Protocol):
    """What sockets share: where they read which turn it is."""

    wheel: int


S = TypeVar("S", bound=Pinged)


class PingWheel(Generic[S]):
    """``interval`` and ``timeout`` in seconds.

    ``dead`` is called with a socket that does not answer, ``seen`` with the others at each look: at least every ``longest`` seconds.
    """

    def __init__(
        self, interval: float, timeout: float, dead: Callable[[S], object], seen: Callable[[S], object] = id
    ) -> None:
        # Rounded down: with the turn that is begun when something comes, the first one after so many is what was asked for, or
        # up to a turn more.
        self._interval = int(interval * TURNS)
        self._timeout = int(timeout * TURNS)
        self._dead = dead
        self._seen = seen
        # Lists: an entry is 8 bytes. A socket that is lost stays in its slot until its turn comes.
        self._slots: list[list[S]] = [[] for _ in range(self._interval + 2)]
        self.now = len(
            self._slots
        )  # not 0, which ``pinged`` has for none, nor so little that what is earlier is below it
        self._before = self.now  # the turn of the call before: what had come by then has been read
        self._clocked: list[Clocked] = []
        self._count = 0
        self._crowd = CROWD  # as many in a slot are a crowd
        self._earlier = 0
        self.longest = len(self._slots) / TURNS
        self.sent = 0

    def __len__(self) -> int:
        return sum(not socket.lost for slot in self._slots for socket in slot)

    def tell(self, clocked: Clocked) -> None:
        """Keeps ``clocked.wheel`` at the turn in which the wheel is."""
        self._clocked.append(clocked)
        clocked.wheel = self.now

    def add(self, socket: S) -> None:
        """It leaves by being ``lost``."""
        socket.heard = socket.sent = self.now
        socket.pinged = 0
        self._count += 1
        self._put(socket, self.now + self._interval + 1)

    async def run(self, monotonic: Callable[[], float]) -> None:
        """Turns it until it is cancelled. Where the event loop is late it catches up, so that an interval stays one."""
        started, turned = monotonic(), 0
        while True:
            await asyncio.sleep(max(0.0, started + (turned + 1) / TURNS - monotonic()))
            passed = int((monotonic() - started) * TURNS + 0.1) - turned  # a timer may fire a little early
            if passed > 0:
                turned += passed
                self.turn(passed)

    def turn(self, passed: int = 1) -> None:
        """So many parts of a second have passed since the last call."""
        first = self._before = self.now
        self.now = now = first + passed
        self._crowd = max(CROWD, 2 * self._count // self._interval)
        for clocked in self._clocked:
            clocked.wheel = now
        for turn in range(first + 1, min(now, first + len(self._slots)) + 1):
            place = turn % len(self._slots)
            due, self._slots[place] = self._slots[place], []
            for socket in due:
                try:
                    self._look(socket)
                except Exception:  # the others' turn comes, too
                    log.exception("a connection could not be pinged")
                    self._put(socket, now + self._interval)

    def _look(self, socket: S) -> None:
        if socket.lost:
            self._count -= 1
            return
        now, pinged = self.now, socket.pinged
        # Not by the clock alone: an event loop that stood still has read no answers meanwhile.
        if pinged and pinged + self._timeout <= self._before:
            if not socket.takes():
                self._count -= 1
                self._dead(socket)
                return
            socket.pinged = pinged = now
        self._seen(socket)
        # The first turn that begins when either direction was silent for ``interval``.
        heard, sent = socket.heard, socket.sent
        due = (heard if heard < sent else sent) + self._interval + 1
        if due <= now:
            self.sent += socket.ping()
            if not pinged:
                socket.pinged = pinged = now
            due = now + self._interval + 1
        if pinged:
            look = max(pinged + self._timeout, now) + 1
            self._slots[(look if look < due else due) % len(self._slots)].append(socket)
        else:
            self._put(socket, due)

    def _put(self, socket: S, due: int) -> None:
        """For a ping at ``due``, or earlier when many are due then: as if it had been heard of so much earlier."""
        slot = self._slots[due % len(self._slots)]
        if len(slot) >= self._crowd:
            # 5 has no factor in common with most intervals, so neighbours in the crowd come to stand apart.
            self._earlier = (self._earlier + 5) % max(1, self._interval // 2)
            early = min(self._earlier, due - self.now - 1)
            socket.heard = min(socket.heard, socket.sent) - early
            slot = self._slots[(due - early) % len(self._slots)]
        slot.append(socket)
