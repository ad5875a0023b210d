"""How fast requests go out: nine tenths of the server's rates, for clocks; and half of its bursts at once, so that what the network, or a
busy server, holds up and lets go in a bunch is not refused: up to half a burst late. Sans-I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..core.bucket import Bucket

SHARE = 0.9
AT_ONCE = 0.5
#: Seconds: what is less may be nothing to a clock.
LEAST_WAIT = 0.001
#: Bytes: each request is counted with its part of the frame around it.
AROUND = 5
#: Bytes that the server may count less, as what a frame has beside its requests' data counts for all of them in equal parts.
NEAR = 64
#: Of the connection, and of its user over all connections.
NAMES = ("requests", "bytes", "user_requests", "user_bytes")


class _Taken(Protocol):
    def take(self, now: float, cost: float) -> float: ...
    def give_back(self, cost: float) -> object: ...


class _Limit:
    """One of the server's buckets, as this side keeps it; ``spent``: of what the server's had at most."""

    def __init__(self, rate: float, burst: float, spent: float, now: float) -> None:
        self._burst = burst  # of the server's
        self._bucket = Bucket(rate * SHARE, burst * SHARE, now)
        self._bucket.take(now, spent)  # it is full: whatever is taken is there, or owed
        self._even = Bucket(rate * SHARE, burst * AT_ONCE, now)

    def take(self, now: float, cost: float) -> float:
        """As ``Bucket.take``. For a cost between the two bursts the server's has to be full: so it is when this one is."""
        part = min(cost, self._even.burst)
        if wait := self._even.take(now, part):
            return wait
        if self._bucket.burst < cost <= self._burst + NEAR and (wait := self._bucket.full_at() - now) > 0:
            self._even.give_back(part)
            return wait
        if wait := self._bucket.take(now, cost):
            self._even.give_back(part)
        return wait

    def give_back(self, cost: float) -> None:
        self._bucket.give_back(cost)
        self._even.give_back(min(cost, self._even.burst))


def _cost(name: str, size: float) -> float:
    return 1.0 if name.endswith("requests") else size


def _take(limits: Sequence[tuple[str, _Taken]], now: float, size: float) -> float:
    """One request of ``size`` bytes from all of them: 0. Otherwise the seconds until it may, and nothing is taken."""
    for place, (name, limit) in enumerate(limits):
        if wait := limit.take(now, _cost(name, size)):
            for other, taken in limits[:place]:
                taken.give_back(_cost(other, size))
            return wait
    return 0.0


def _number(limits: Mapping[str, Any], name: str, otherwise: float = 0.0) -> float:
    value = limits.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else otherwise


class Pace:
    """Of one connection. Until ``told`` everything may go; it is counted."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._limits: list[tuple[str, _Limit]] = []
        #: The sizes of what went before it was told: of `auth`, and of what is joined with it.
        self._gone: list[int] | None = []

    def told(self, limits: Mapping[str, Any]) -> None:
        """``limits``: as the server has said them, and what was left of each when it answered `auth`."""
        now = self._monotonic()
        gone, self._gone = self._gone or [], None
        servers: list[tuple[str, Bucket]] = []
        for name in NAMES:
            rate, burst = _number(limits, f"{name}_per_second"), _number(limits, f"{name}_burst")
            if rate > 0 and burst > 0:
                bucket = Bucket(rate, burst, now)
                bucket.take(now, max(0.0, burst - _number(limits, f"{name}_left", burst)))
                servers.append((name, bucket))
        if any(f"{name}_left" in limits for name in NAMES):
            gone = gone[1:]  # without `auth`
        for size in gone:
            _take(servers, now, size)  # what is larger than the burst is owed, what is refused costs nothing: as there
        self._limits = [
            (name, _Limit(bucket.rate, bucket.burst, (bucket.full_at() - now) * bucket.rate, now))
            for name, bucket in servers
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
