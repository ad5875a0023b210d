"""Wrong passwords: so many a minute for one room from one address.

A try is taken before the password is looked at, and given back when it was right; so tries that are under way count, and who knows the
password is never held up. A refused one costs no hash. Memory: an entry for each room and address with a wrong one in the last minute;
they come no faster than passwords are hashed. O(1) each.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final

from ..core.bucket import Bucket
from ..core.errors import ErrorCode, SynclineError

#: Entries; of more the oldest goes, and its address may guess anew.
MOST: Final = 20_000


class Guesses:
    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        """``per_minute``: 0 is no limit. ``now``: a clock, in seconds."""
        self._most = per_minute
        self._now = now
        self._buckets: dict[tuple[str, str], Bucket] = {}  # (room, address) -> what is left, the oldest first

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, room: str, address: str) -> None:
        """A try. Raises SynclineError(rate_limited)."""
        if not self._most:
            return
        now, key = self._now(), (room, address)
        bucket = self._buckets.get(key)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[key] = Bucket(self._most / 60.0, self._most, now)
        wait = bucket.take(now, 1.0)
        if wait:
            raise SynclineError(ErrorCode.RATE_LIMITED, f"too many wrong passwords; try again in {wait:.0f} s", wait)

    def give_back(self, room: str, address: str) -> None:
        """It was right, or was not looked at."""
        bucket = self._buckets.get((room, address))
        if bucket is not None:
            bucket.give_back(1.0)

    def _forget(self, now: float) -> None:
        """Drops the first ones that are full again: two for each that comes, so they stay few."""
        for key in list(itertools.islice(self._buckets, 2)):
            bucket = self._buckets.pop(key)
            if bucket.full_at() > now and len(self._buckets) < MOST:
                self._buckets[key] = bucket  # its turn comes again
