"""What a run counts and how long things took: histograms and counters that add up over workers. Knows no locust, no socket.

Locust's own statistics round to whole milliseconds and keep failures by their text; limits are checked on these instead.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

MANTISSA_BITS = 6
MANTISSA = 1 << MANTISSA_BITS

# One line each in the report; docs/load-testing.md says what they mean.
DELIVERED = "delivered"
RECOVERED = "recovered"
MISSED = "missed"
DUPLICATE = "duplicate"
REORDERED = "reordered"
UNRECOVERED = "unrecovered"
CONFLATED = "conflated"
DIVERGED = "diverged"
CONVERGED = "converged"
BEHIND = "behind"
CUT = "cut"
LOST = "lost connections"
UNSENT = "unsent"
SKEW = "clock skew"
AUDITED = "audited"
REQUESTS = "requests"
FAILURES = "failures"
COUNTERS = (
    DELIVERED,
    RECOVERED,
    CONFLATED,
    MISSED,
    DUPLICATE,
    REORDERED,
    UNRECOVERED,
    AUDITED,
    CONVERGED,
    DIVERGED,
    BEHIND,
    CUT,
    LOST,
    UNSENT,
    SKEW,
    REQUESTS,
    FAILURES,
)


_UNIX = time.time() - time.monotonic()


def now() -> float:
    """Unix time as it was when this process began, and has gone on since: whoever sets the clock in between changes no latency."""
    return time.monotonic() + _UNIX


class Histogram:
    """Times in seconds, kept in buckets of microseconds that are at most 1/64 wide of their value (as HDR histograms).

    ``record`` is O(1); the memory is bounded by 64 buckets for each doubling.
    """

    __slots__ = ("buckets", "count", "maximum", "total")

    def __init__(self) -> None:
        self.buckets: Counter[int] = Counter()
        self.count = 0
        self.total = 0.0
        self.maximum = 0.0

    def record(self, seconds: float) -> None:
        """A negative time counts as none."""
        micros = int(seconds * 1_000_000) if seconds > 0 else 0
        if micros >= MANTISSA:
            shift = micros.bit_length() - MANTISSA_BITS - 1
            micros = (shift << MANTISSA_BITS) + (micros >> shift)
        self.buckets[micros] += 1
        self.count += 1
        self.total += max(0.0, seconds)
        if seconds > self.maximum:
            self.maximum = seconds

    def percentile(self, share: float) -> float:
        """In seconds, the middle of the bucket in which ``share`` (0 to 1) of the values are reached; 0.0 of nothing."""
        if not self.count:
            return 0.0
        if share >= 1:
            return self.maximum
        wanted = max(1, -(-self.count * share // 1))
        seen = 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen >= wanted:
                return min(_middle(bucket) / 1_000_000, self.maximum)
        return self.maximum

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def add(self, other: Histogram) -> None:
        self.buckets.update(other.buckets)
        self.count += other.count
        self.total += other.total
        self.maximum = max(self.maximum, other.maximum)

    def pack(self) -> dict[str, Any]:
        """As it goes to the master: lists and numbers only."""
        return {
            "buckets": [[bucket, count] for bucket, count in self.buckets.items()],
            "total": self.total,
            "maximum": self.maximum,
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Histogram:
        histogram = cls()
        histogram.buckets.update(dict(packed["buckets"]))
        histogram.count = sum(histogram.buckets.values())
        histogram.total, histogram.maximum = packed["total"], packed["maximum"]
        return histogram


def _middle(bucket: int) -> float:
    if bucket < 2 * MANTISSA:
        return float(bucket)
    shift = (bucket >> MANTISSA_BITS) - 1
    lowest = ((bucket & (MANTISSA - 1)) + MANTISSA) << shift
    return lowest + ((1 << shift) - 1) / 2


class Measures:
    """The numbers of one run, in one process or of all workers together."""

    def __init__(self) -> None:
        self.times: dict[tuple[str, str], Histogram] = {}
        self.counts: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()

    def time(self, kind: str, name: str, seconds: float) -> None:
        histogram = self.times.get((kind, name))
        if histogram is None:
            histogram = self.times[kind, name] = Histogram()
        histogram.record(seconds)

    def of_kind(self, kind: str) -> Histogram:
        """All names of a kind in one."""
        merged = Histogram()
        for (each, _), histogram in self.times.items():
            if each == kind:
                merged.add(histogram)
        return merged

    @property
    def deliveries(self) -> int:
        """Everything that one user sent and another one got."""
        return sum(self.of_kind(kind).count for kind in ("delivery", "recovered", "edit", "presence", "cursor"))

    @property
    def failure_ratio(self) -> float:
        requests = self.counts[REQUESTS]
        return self.counts[FAILURES] / requests if requests else 0.0

    def add(self, other: Measures) -> None:
        for key, histogram in other.times.items():
            self.times.setdefault(key, Histogram()).add(histogram)
        self.counts.update(other.counts)
        self.errors.update(other.errors)

    def take(self) -> dict[str, Any]:
        """What has come since the last call, packed; a worker sends this."""
        packed = {
            "times": [[kind, name, histogram.pack()] for (kind, name), histogram in self.times.items()],
            "counts": dict(self.counts),
            "errors": dict(self.errors),
        }
        self.clear()
        return packed

    def clear(self) -> None:
        self.times.clear()
        self.counts.clear()
        self.errors.clear()

    @classmethod
    def unpack(cls, packed: Mapping[str, Any]) -> Measures:
        measures = cls()
        for kind, name, histogram in packed["times"]:
            measures.times[kind, name] = Histogram.unpack(histogram)
        measures.counts.update(packed["counts"])
        measures.errors.update(packed["errors"])
        return measures
