"""A clock that stands still until a test moves it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any


class ManualTimer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualClock:
    """The Clock seam; ``advance`` moves both times and runs the timers that come due, in order."""

    def __init__(self, time: float = 1_700_000_000.0) -> None:
        self._time = time
        self._monotonic = 0.0
        self._timers: list[tuple[float, int, ManualTimer, Callable[..., object], tuple[Any, ...]]] = []
        self._count = itertools.count()

    def time(self) -> float:
        return self._time

    def monotonic(self) -> float:
        return self._monotonic

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> ManualTimer:
        timer = ManualTimer()
        heapq.heappush(self._timers, (self._monotonic + delay, next(self._count), timer, callback, args))
        return timer

    def advance(self, seconds: float) -> None:
        """Timers set by callbacks count too when they come due within ``seconds``."""
        end = self._monotonic + seconds
        while self._timers and self._timers[0][0] <= end:
            due, _, timer, callback, args = heapq.heappop(self._timers)
            self._move(max(due - self._monotonic, 0.0))
            if not timer.cancelled:
                callback(*args)
        self._move(end - self._monotonic)

    def _move(self, seconds: float) -> None:
        self._time += seconds
        self._monotonic += seconds
