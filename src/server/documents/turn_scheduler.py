"""When a document takes its next turn.

A turn sends a frame to every client in the document, whether it holds one operation or a hundred, and each frame is a
system call: with many clients that is most of the work. So a turn is followed by a rest in proportion to the clients,
and what arrives meanwhile goes into one frame. The first operation after a rest waits for nothing, few clients cause no
rest at all, and it ends when everybody has submitted: clients keep one operation in flight, so there is nobody left to
wait for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ..seams.clock import Clock, Timer

#: Seconds; timers are no finer.
SHORTEST_REST = 0.001
#: What all documents have together in one turn of the loop, and what each has: then the connections have theirs.
TURN_SECONDS: Final = 0.005


class RunQueue:
    """The documents whose turn it is, the first to ask first: in one turn of the loop as many as there is time for, and at least one.

    Bounded by the documents that are loaded: each waits once.
    """

    __slots__ = ("_call_soon", "_clock", "_due", "_ready")

    def __init__(self, clock: Clock, call_soon: Callable[[Callable[[], object]], object]) -> None:
        self._clock = clock
        self._call_soon = call_soon
        self._ready: deque[Callable[[], None]] = deque()
        self._due = False  # the loop has been told, or is in it

    def add(self, turn: Callable[[], None]) -> None:
        self._ready.append(turn)
        if not self._due:
            self._due = True
            self._call_soon(self._run)

    def _run(self) -> None:
        end = self._clock.monotonic() + TURN_SECONDS
        try:
            for _ in range(len(self._ready)):  # who is added meanwhile has the next turn of the loop
                self._ready.popleft()()
                if self._clock.monotonic() > end:
                    break
        finally:
            self._due = bool(self._ready)
            if self._due:
                self._call_soon(self._run)


class TurnScheduler:
    """Calls ``turn`` soon after ``schedule``, once, but not before the rest after the last one is over.

    It is held only until it was called: its document is to be freed when it is unloaded, not when cycles are looked for.
    """

    __slots__ = ("_add", "_clock", "_over", "_rest", "_resting", "_turn")

    def __init__(self, clock: Clock, add: Callable[[Callable[[], None]], object], rest: int) -> None:
        """``add`` is a RunQueue's; ``rest``: microseconds for each client."""
        self._clock = clock
        self._add = add
        self._turn: Callable[[], None] | None = None  # scheduled
        self._rest = rest / 1e6
        self._over = 0.0  # monotonic: when the rest is
        self._resting: Timer | None = None  # waits for that

    def schedule(self, turn: Callable[[], None]) -> None:
        """Idempotent until the turn comes."""
        if self._turn is not None:
            return
        self._turn = turn
        left = self._over - self._clock.monotonic() if self._over else 0.0
        if left > 0:
            self._resting = self._clock.call_later(left, self._run)
        else:
            self._add(self._run)

    def submitted(self, waiting: int, clients: int) -> None:
        """Ends the rest when as many operations wait as there are clients."""
        if self._resting is not None and waiting >= clients:
            self._resting.cancel()
            self._resting = None
            self._add(self._run)

    def sent(self, clients: int) -> None:
        """A turn has sent a frame to so many clients: a rest begins."""
        rest = clients * self._rest
        self._over = self._clock.monotonic() + rest if rest >= SHORTEST_REST else 0.0

    def _run(self) -> None:
        self._resting = None
        turn, self._turn = self._turn, None
        assert turn is not None
        turn()
