"""How fast requests go out: nine tenths of the server's rates, for clocks; and half of its bursts at once, so that what the network, or a
busy server, holds up and lets go in a bunch is not refused: up to half a burst late. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable

from ..core.bucket import Bucket

SHARE = 0.9
AT_ONCE = 0.5
#: Seconds: what is less may be nothing to a clock.
LEAST_WAIT = 0.001
#: Each request is counted with its part of the frame around it.
AROUND = 5


class _Limit:
    """One of the server's buckets, as this side keeps it."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self.burst = burst  # of the server's
        self.bucket = Bucket(rate * SHARE, burst * AT_ONCE, now)

    def take(self, now: float, cost: float) -> float:
        """As ``Bucket.take``. For a cost between the two bursts the server's has to be full: so it is when this one is."""
        if self.bucket.burst < cost <= self.burst and (wait := self.bucket.full_at() - now) > 0:
            return wait
        return self.bucket.take(now, cost)


class Pace:
    """Of one connection. Until ``told`` everything may go; it is counted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._requests: _Limit | None = None
        self._bytes: _Limit | None = None
        self._count = self._size = 0  # gone before it was told

    def told(self, limit: Callable[[str], float | None]) -> None:
        """``limit``: what the server has said under that name; None or 0: no limit."""
        now = self._monotonic()

        def made(name: str, gone: float) -> _Limit | None:
            rate, burst = limit(f"{name}_per_second"), limit(f"{name}_burst")
            if not rate or not burst:
                return None
            made = _Limit(rate, burst, now)
            made.bucket.take(now, min(gone, made.bucket.burst))  # what is more was refused, and not counted
            return made

        self._requests, self._bytes = made("requests", self._count), made("bytes", self._size)

    def take(self, size: int) -> float:
        """One request of ``size`` bytes goes out now: 0. Otherwise the seconds until it may, and nothing is taken."""
        size += AROUND
        if self._requests is None and self._bytes is None:
            self._count += 1
            self._size += size
            return 0.0
        now = self._monotonic()
        if self._requests is not None and (wait := self._requests.take(now, 1.0)):
            return max(wait, LEAST_WAIT)
        if self._bytes is not None and (wait := self._bytes.take(now, size)):
            if self._requests is not None:
                self._requests.bucket.give_back(1.0)
            return max(wait, LEAST_WAIT)
        return 0.0
