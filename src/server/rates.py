"""How much one connection, and one user over all connections, may ask for: requests and bytes a second.

A limit of 0 is none, and costs nothing. A user's buckets outlive the last connection until they are full again, so that
coming back does not refill them.
"""

from __future__ import annotations

import itertools

from ..core.bucket import Bucket
from ..core.errors import ErrorCode, SynclineError
from .config import LimitsConfig
from .seams import Clock


class Allowance:
    """The buckets that one request is taken from, all or none."""

    __slots__ = ("_bytes", "_clock", "_requests", "users")

    def __init__(self, clock: Clock, requests: Bucket | None, sizes: Bucket | None) -> None:
        self._clock = clock
        self._requests = requests
        self._bytes = sizes
        self.users: Allowance | None = None  # of the connection's user, when it has one

    def refusal(self, size: int) -> SynclineError | None:
        """Takes one request of ``size`` bytes and returns None, or takes nothing and returns what to answer."""
        wait = self.take(size)
        if not wait:
            return None
        return SynclineError(ErrorCode.RATE_LIMITED, f"try again in {wait:.3f} s", retry_after=wait)

    def take(self, size: int) -> float:
        """Takes one request of ``size`` bytes and returns 0, or nothing and returns the seconds to wait."""
        now = self._clock.monotonic()
        if self._requests is not None and (wait := self._requests.take(now, 1.0)):
            return wait
        if self._bytes is not None and (wait := self._bytes.take(now, size)):
            self._give_back(0)
            return wait
        if self.users is not None and (wait := self.users.take(size)):
            self._give_back(size)
            return wait
        return 0.0

    def _give_back(self, size: int) -> None:
        if self._requests is not None:
            self._requests.give_back(1.0)
        if self._bytes is not None and size:
            self._bytes.give_back(size)

    def full_at(self) -> float:
        return max(bucket.full_at() for bucket in (self._requests, self._bytes) if bucket is not None)


class Rates:
    """The node's limits. ``opened`` and ``closed`` come in pairs per connection of a user."""

    def __init__(self, config: LimitsConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._users: dict[str, tuple[Allowance, int]] = {}  # user -> buckets, connections
        self._leaving: dict[str, float] = {}  # users without connections -> when their buckets are full

    def _buckets(self, requests: float, requests_burst: float, size: float, size_burst: float) -> Allowance | None:
        now = self._clock.monotonic()
        counted = Bucket(requests, max(requests_burst, 1.0), now) if requests else None
        measured = Bucket(size, max(size_burst, size), now) if size else None
        return None if counted is None and measured is None else Allowance(self._clock, counted, measured)

    def connection(self) -> Allowance | None:
        """For a new connection; None: nothing is limited."""
        limits = self._config
        found = self._buckets(
            limits.requests_per_second, limits.requests_burst, limits.bytes_per_second, limits.bytes_burst
        )
        if found is None and (limits.user_requests_per_second or limits.user_bytes_per_second):
            found = Allowance(self._clock, None, None)
        return found

    def opened(self, user: str, connection: Allowance | None) -> None:
        """A connection belongs to ``user`` now: what it asks for is taken from the user's buckets as well."""
        if connection is None:
            return
        known = self._users.get(user)
        if known is None:
            limits = self._config
            made = self._buckets(
                limits.user_requests_per_second,
                limits.user_requests_burst,
                limits.user_bytes_per_second,
                limits.user_bytes_burst,
            )
            if made is None:
                return
            self._forget()
            known = (made, 0)
        self._leaving.pop(user, None)
        self._users[user] = (known[0], known[1] + 1)
        connection.users = known[0]

    def closed(self, user: str) -> None:
        """One connection of a user less; of nobody: nothing."""
        known = self._users.get(user)
        if known is None:
            return
        allowance, connections = known
        self._users[user] = (allowance, connections - 1)
        if connections == 1:
            self._leaving[user] = allowance.full_at()

    def _forget(self) -> None:
        """Drops the first of those who left and whose buckets are full: two for each that comes, so they stay few."""
        now = self._clock.monotonic()
        for user in list(itertools.islice(self._leaving, 2)):
            if self._leaving[user] <= now:
                del self._leaving[user], self._users[user]
            else:
                self._leaving[user] = self._leaving.pop(user)  # its turn comes again
