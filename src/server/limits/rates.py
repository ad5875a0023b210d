"""How much one connection, and one user over all connections, may ask for: requests and bytes a second.

A limit of 0 is none, and costs nothing. A user's buckets outlive the last connection until they are full again, so that
coming back does not refill them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from ...core.bucket import Bucket
from ...core.errors import ErrorCode, SynclineError
from ...core.wire import envelopes as wire
from ..config.schema import Config
from ..seams.clock import Clock


def sizes(length: int, envelopes: Sequence[wire.Envelope]) -> list[int]:
    """Bytes that each request of a message of ``length`` counts: its data, and an equal part of what is sent beside that, which costs, too.
    O(requests)."""
    if len(envelopes) == 1:
        return [length]
    data = [len(envelope.data) for envelope in envelopes]
    beside = (length - sum(data)) // (len(data) or 1)
    return [own + beside for own in data]


class Limits(NamedTuple):
    """Of a connection, or of a user: units a second, 0 is no limit, and units at once."""

    requests: tuple[float, float]
    bytes: tuple[float, float]


class Allowance:
    """The buckets that one request is taken from, all or none."""

    __slots__ = ("_bytes", "_clock", "_requests", "users")

    def __init__(self, clock: Clock, requests: Bucket | None, sizes: Bucket | None) -> None:
        self._clock = clock
        self._requests = requests
        self._bytes = sizes
        self.users: _OfUser | None = None  # of the connection's user, when it has one

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

    @property
    def buckets(self) -> tuple[Bucket | None, Bucket | None]:
        """As ``Limits``."""
        return self._requests, self._bytes

    def full_at(self) -> float:
        return max(bucket.full_at() for bucket in self.buckets if bucket is not None)


class _OfUser(Allowance):
    """That of one user over all connections; ``connections``: how many take from it."""

    __slots__ = ("connections",)

    def __init__(self, clock: Clock, requests: Bucket | None, sizes: Bucket | None) -> None:
        super().__init__(clock, requests, sizes)
        self.connections = 0


class Limited(Protocol):
    """A session, as far as it matters here. ``user``: "" until it is known."""

    user: str
    allowance: Allowance | None


class Rates:
    """The node's limits. ``opened`` and ``closed`` come in pairs per session of a user."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._users: dict[str, _OfUser] = {}
        self._leaving: dict[str, float] = {}  # users without connections -> when their buckets are full
        self._read()

    def _read(self) -> None:
        limits = self._config.limits
        of_connection = Limits(
            (limits.requests_per_second, max(limits.requests_burst, 1.0)),
            (limits.bytes_per_second, max(limits.bytes_burst, limits.bytes_per_second)),
        )
        of_user = Limits(
            (limits.user_requests_per_second, max(limits.user_requests_burst, 1.0)),
            (limits.user_bytes_per_second, max(limits.user_bytes_burst, limits.user_bytes_per_second)),
        )
        self._limits = (of_connection, of_user)

    def _buckets(self, limits: Limits) -> tuple[Bucket | None, Bucket | None]:
        now = self._clock.monotonic()
        counted, measured = (Bucket(rate, burst, now) if rate else None for rate, burst in limits)
        return counted, measured

    def told(self, session: Limited) -> dict[str, float]:
        """What a client has to keep to, as `auth:accepted` names it: the limits of its connection and of its user, and what is left of
        each now, below 0 what is owed. Without what is not limited."""
        told: dict[str, float] = {}
        of_connection = session.allowance
        for prefix, allowance in ("", of_connection), ("user_", of_connection and of_connection.users):
            if allowance is None:
                continue
            for name, bucket in zip(Limits._fields, allowance.buckets, strict=True):
                if bucket is not None:
                    told[f"{prefix}{name}_per_second"] = bucket.rate
                    told[f"{prefix}{name}_burst"] = bucket.burst
                    owed = max(0.0, bucket.full_at() - self._clock.monotonic()) * bucket.rate
                    told[f"{prefix}{name}_left"] = round(bucket.burst - owed, 3)
        return told

    def connection(self) -> Allowance | None:
        """For a new connection; None: nothing is limited."""
        of_connection, of_user = self._limits
        buckets = self._buckets(of_connection)
        limited = buckets != (None, None) or any(rate for rate, _ in of_user)
        return Allowance(self._clock, *buckets) if limited else None

    def opened(self, session: Limited) -> None:
        """The session belongs to its user now: what it asks for is taken from the user's buckets as well."""
        if session.allowance is None:
            return
        known = self._users.get(session.user)
        if known is None:
            buckets = self._buckets(self._limits[1])
            if buckets == (None, None):
                return
            self._forget()
            known = self._users[session.user] = _OfUser(self._clock, *buckets)
        self._leaving.pop(session.user, None)
        known.connections += 1
        session.allowance.users = known

    def closed(self, session: Limited) -> None:
        """Also one that was never opened."""
        known = session.allowance.users if session.allowance is not None else None
        if known is None:
            return
        known.connections -= 1
        if not known.connections:
            self._leaving[session.user] = known.full_at()

    def reconfigured(self, sessions: Iterable[Limited]) -> bool:
        """The limits may be others now. If they are, all ``sessions``, those that are open, begin anew with full buckets. Whether they are.
        O(sessions)."""
        before = self._limits
        self._read()
        if self._limits == before:
            return False
        self._users.clear()
        self._leaving.clear()
        for session in sessions:
            session.allowance = self.connection()
            if session.user:
                self.opened(session)
        return True

    def _forget(self) -> None:
        """Drops the first of those who left and whose buckets are full: two for each that comes, so they stay few."""
        now = self._clock.monotonic()
        for user in list(itertools.islice(self._leaving, 2)):
            if self._leaving[user] <= now:
                del self._leaving[user], self._users[user]
            else:
                self._leaving[user] = self._leaving.pop(user)  # its turn comes again
