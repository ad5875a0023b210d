"""Token buckets by key: only those are kept that are not full."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from ...core.bucket import Bucket

K = TypeVar("K", bound=Hashable)


class KeyedBuckets(Generic[K]):
    """``rate`` units a second flow into each, up to ``burst``. At most ``most`` are kept: of more the oldest goes, and is full then.

    O(1).
    """

    def __init__(self, rate: float, burst: float, most: int, now: Callable[[], float]) -> None:
        """``now``: a clock, in seconds."""
        self._rate = rate
        self._burst = burst
        self._most = most
        self._now = now
        self._buckets: dict[K, Bucket] = {}  # the oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: K, cost: float) -> float:
        """Takes ``cost`` and returns 0, or nothing and returns the seconds to wait."""
        now = self._now()
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[key] = Bucket(self._rate, self._burst, now)
        return bucket.take(now, cost)

    def give_back(self, key: K, cost: float) -> None:
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.give_back(cost)

    def _forget(self, now: float) -> None:
        """Drops the first ones that are full again: two for each that comes, so they stay few."""
        for key in list(itertools.islice(self._buckets, 2)):
            bucket = self._buckets.pop(key)
            if bucket.full_at() > now and len(self._buckets) < self._most:
                self._buckets[key] = bucket  # its turn comes again
