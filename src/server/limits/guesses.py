"""Wrong passwords: so many a minute for one room from one address.

A try is taken before the password is looked at, and given back when it was right; so tries that are under way count, and who knows the
password is never held up. A refused one costs no hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ...core.errors import ErrorCode, SynclineError
from .keyed_buckets import KeyedBuckets

#: Rooms and addresses with a wrong one in the last minute; they come no faster than passwords are hashed.
MOST: Final = 20_000


class Guesses:
    def __init__(self, per_minute: int, now: Callable[[], float]) -> None:
        """``per_minute``: 0 is no limit. ``now``: a clock, in seconds."""
        self._now = now
        self._per_minute = -1
        self.limit(per_minute)

    def limit(self, per_minute: int) -> None:
        """From now on; what was counted under another limit is forgotten."""
        if per_minute == self._per_minute:
            return
        self._per_minute = per_minute
        self._buckets: KeyedBuckets[tuple[str, str]] | None = None
        if per_minute:
            self._buckets = KeyedBuckets(per_minute / 60.0, per_minute, MOST, self._now)

    def __len__(self) -> int:
        return 0 if self._buckets is None else len(self._buckets)

    def take(self, room: str, address: str) -> None:
        """A try. Raises SynclineError(rate_limited)."""
        if self._buckets is not None and (wait := self._buckets.take((room, address), 1.0)):
            raise SynclineError(ErrorCode.RATE_LIMITED, f"too many wrong passwords; try again in {wait:.0f} s", wait)

    def give_back(self, room: str, address: str) -> None:
        """It was right, or was not looked at."""
        if self._buckets is not None:
            self._buckets.give_back((room, address), 1.0)
