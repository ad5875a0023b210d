"""When to come back: full-jitter exponential backoff, with the random source and the clock handed in.

Full jitter (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog, 2015): the delay is uniform between
zero and the exponential bound, so that clients cut off together do not come back together.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Clock(Protocol):
    """Time as the client sees it; tests hand in their own."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays in seconds. ``attempts`` 0: no limit; otherwise so many failures in a row end the client.

    A connection that lived for ``stable_seconds`` starts the count anew, so a server that accepts and drops at once
    is not hammered.
    """

    initial: float = 0.25
    maximum: float = 30.0
    factor: float = 2.0
    attempts: int = 0
    stable_seconds: float = 5.0
    random: Callable[[], float] = field(default=random.random, repr=False)

    def __post_init__(self) -> None:
        if not (0 < self.initial <= self.maximum and self.factor >= 1 and self.attempts >= 0):
            raise ValueError("backoff: 0 < initial <= maximum, factor >= 1, attempts >= 0")

    def bound(self, attempt: int) -> float:
        """The longest delay before attempt number ``attempt`` (0 is the first)."""
        # The exponent is capped so that a client that is away for weeks does not overflow a float.
        return float(min(self.maximum, self.initial * self.factor ** min(attempt, 64)))

    def delay(self, attempt: int) -> float:
        return self.random() * self.bound(attempt)
