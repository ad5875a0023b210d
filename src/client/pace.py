"""How fast requests go out: nine tenths of the server's rates, for clocks; and half of its bursts at once, so that what the network, or a
busy server, holds up and lets go in a bunch is not refused: up to half a burst late. Sans-I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ..core.bucket import Bucket

SHARE = 0.9
AT_ONCE = 0.5
#: Seconds: what is less may be nothing to a clock.
LEAST_WAIT = 0.001
#: Bytes: each request is counted with its part of the frame around it.
AROUND = 5
#: Bytes that the server may count less, as what a frame has beside its requests' data counts for all of them in equal parts.
NEAR = 64


class _Taken(Protocol):
    def take(self, now: float, cost: float) -> float: ...
    def give_back(self, cost: float) -> object: ...


class _Limit:
    """One of the server's buckets, as this side keeps it; ``spent``: of what the server's had at most."""

    def __init__(self, rate: float, burst: float, spent: float, now: float) -> None:
        self._burst = burst  # of the server's
        self._bucket = Bucket(rate * SHARE, burst * AT_ONCE, now)
        self._bucket.take(
            now, max(0.0, spent - burst * (1 - AT_ONCE))
        )  # it is full: whatever is taken is there, or owed
        self.give_back = self._bucket.give_back

    def take(self, now: float, cost: float) -> float:
        """As ``Bucket.take``. For a cost between the two bursts the server's has to be full: so it is when this one is."""
        if self._bucket.burst < cost <= self._burst + NEAR and (wait := self._bucket.full_at() - now) > 0:
            return wait
        return self._bucket.take(now, cost)


def _take(limits: Sequence[tuple[str, _Taken]], now: float, size: float) -> float:
    """One request of ``size`` bytes from all of them: 0. Otherwise the seconds until it may, and nothing is taken."""
    for place, (name, limit) in enumerate(limits):
        if wait := limit.take(now, 1.0 if name == "requests" else size):
            for other, taken in limits[:place]:
                taken.give_back(1.0 if other == "requests" else size)
            return wait
    return 0.0


class Pace:
    """Of one connection. Until ``told`` everything may go; it is counted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._limits: list[tuple[str, _Limit]] = []
        self._gone: list[int] | None = []  # the sizes of what went before it was told: of `auth` and of what is joined

    def told(self, limit: Callable[[str], float | None]) -> None:
        """``limit``: what the server has said under that name; None or 0: no limit."""
        now = self._monotonic()
        gone, self._gone = self._gone or [], None
        rates: list[tuple[str, float, float]] = []
        for name in ("requests", "bytes"):
            rate, burst = limit(f"{name}_per_second"), limit(f"{name}_burst")
            if rate and burst:
                rates.append((name, rate, burst))
        servers = [(name, Bucket(rate, burst, now)) for name, rate, burst in rates]
        for size in gone:
            _take(servers, now, size)  # what is larger than the burst is owed, what is refused costs nothing: as there
        self._limits = [
            (name, _Limit(rate, burst, (bucket.full_at() - now) * rate, now))
            for (name, rate, burst), (_, bucket) in zip(rates, servers, strict=True)
        ]

    def take(self, size: int) -> float:
        """One request of ``size`` bytes goes out now: 0. Otherwise the seconds until it may, and nothing is taken."""
        size += AROUND
        if self._gone is not None:
            self._gone.append(size)
            return 0.0
        if not self._limits:
            return 0.0
        wait = _take(self._limits, self._monotonic(), size)
        return max(wait, LEAST_WAIT) if wait else 0.0
