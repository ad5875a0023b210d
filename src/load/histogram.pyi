"""Latencies in bounded memory, exact to one part in 128. See histogram.pyx."""

from collections.abc import Iterable

def monotonic_ns() -> int:
    """The clock of everything here: CLOCK_MONOTONIC in nanoseconds, the same in all processes of a machine."""

class Histogram:
    """Counts of values from 0 to 2^44 (nanoseconds: 4.9 hours); larger ones count as that. 39 KB, never more."""

    @property
    def count(self) -> int: ...
    @property
    def minimum(self) -> int: ...
    @property
    def maximum(self) -> int: ...
    def __init__(self) -> None: ...
    def record(self, value: int) -> None:
        """O(1). A negative value counts as 0."""
    def percentile(self, percent: float) -> int:
        """The smallest recorded value that ``percent`` of all do not exceed: the true one or up to 1/128 more. 0 while empty.

        Raises ValueError unless 0 <= percent <= 100.
        """
    def mean(self) -> float: ...
    def clear(self) -> None: ...
    def merge(self, other: Histogram) -> None:
        """Adds what ``other`` counted: the same as if everything had been recorded here."""
    def counts(self) -> list[tuple[int, int]]:
        """(bucket, count) of the buckets that are not empty, in order: what another process needs to merge."""
    def add_counts(self, counts: Iterable[tuple[int, int]], minimum: int, maximum: int, total: float) -> None:
        """Merges another's ``counts()``, its extremes and its sum. Raises ValueError for a bucket that there is not."""
    def summary(self) -> dict[str, float]:
        """count, mean, min, p50, p90, p95, p99, p99.9, max; times in milliseconds."""
