"""How many handshakes a second this node takes; who is refused is told when to come back.

After a restart everybody comes back at once, and each handshake costs many times what a message does. Those above
``limits.handshakes_per_second`` are answered 503 with Retry-After: they are given places in a queue that is worked off at that
rate, so that they come back spread over the time it takes. The queue is a number, not a list. O(1), no timer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from ...core.bucket import Bucket

#: Nobody is sent away for longer, in seconds: with so many waiting the estimate is a guess.
LONGEST = 300


class Admission:
    """``rate`` handshakes a second, ``burst`` at once; with a rate of 0 all are taken. ``now``: a clock, in seconds."""

    def __init__(
        self, rate: float, burst: float, now: Callable[[], float], draw: Callable[[], float] = random.random
    ) -> None:
        """``draw``: numbers from 0 to 1."""
        self._now = now
        self._draw = draw
        self._expected = 0.0  # those sent away that are still to come
        self._at = now()
        self.refused = 0
        self._rate, self._burst = -1.0, -1.0
        self.limit(rate, burst)

    def limit(self, rate: float, burst: float) -> None:
        """From now on."""
        if (rate, burst) != (self._rate, self._burst):
            self._rate, self._burst = rate, burst
            self._bucket = Bucket(rate, burst, self._now()) if rate > 0 else None

    def refusal(self) -> int | None:
        """None: come in. Otherwise the seconds after which to try again, a whole number from 1 on."""
        if self._bucket is None:
            return None
        now = self._now()
        # The queue is worked off at the rate: those whose time has come are here, or will not come.
        self._expected = max(0.0, self._expected - (now - self._at) * self._rate)
        self._at = now
        if self._bucket.take(now, 1.0) == 0.0:
            return None
        self.refused += 1
        self._expected += 1.0
        # Up to a second at random: the header has whole seconds, and rounding would bring those of a second together.
        return min(LONGEST, max(1, math.ceil(self._expected / self._rate + self._draw())))
