"""Plain counting, for code that runs for every frame. metrics.py shows the numbers."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final, Literal

from ...core.errors import DISCONNECTS, ErrorCode
from ...core.rooms.room import Position, Publication

#: Seconds, from what a memory backend takes to a disk in trouble.
LATENCY_BUCKETS: Final = (
    0.00001,
    0.000025,
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    10.0,
)

#: Who publishes: a client on its connection, or an application over the HTTP API.
Source = Literal["client", "api"]
SOURCES: Final[tuple[Source, ...]] = ("client", "api")
#: (transport, codec) of connections; HTTP has no codec of ours.
CONNECTIONS: Final = (("ws", "json"), ("ws", "msgpack"), ("http", "none"))
#: Room classes whose deliveries are proven: those whose members get everything.
PROVEN: Final = ("history",)
#: Status codes of requests that did not get as far as a route (transports/front.py).
HTTP_REFUSALS: Final = (400, 408, 414, 429, 431, 500, 501, 503, 505)


class Histogram:
    """Counts per bucket and a sum. ``observe`` is O(log buckets)."""

    __slots__ = ("_counts", "bounds", "total")

    def __init__(self, bounds: tuple[float, ...] = LATENCY_BUCKETS) -> None:
        self.bounds = bounds
        self.total = 0.0
        self._counts = [0] * (len(bounds) + 1)

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def observe_since(self, now: float, starts: Iterable[float]) -> None:
        """What began at each of ``starts`` has ended ``now``."""
        counts, bounds = self._counts, self.bounds
        for start in starts:
            counts[bisect_left(bounds, now - start)] += 1
            self.total += now - start

    @property
    def count(self) -> int:
        return sum(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """(upper bound, observations at or below it), the last one "+Inf": Prometheus' shape."""
        seen = 0
        result: list[tuple[str, float]] = []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            seen += count
            result.append((bound, seen))
        return result


class Counters:
    """What only the code that does it can count. One per node; incremented on the event loop's thread only.

    What is counted by name has all its names from the start, at 0: a rate sees nothing of a series that begins at 1, and no
    client can make one. A name that is not there is a KeyError.
    """

    __slots__ = (
        "address_refused",
        "auth_failures",
        "block_bytes",
        "block_operations",
        "blocks",
        "bytes_in",
        "checkpoints",
        "commit_failures",
        "commits",
        "connections",
        "connections_opened",
        "custom_events",
        "deliveries",
        "deliveries_proven",
        "deliveries_unproven",
        "disconnects",
        "divergence_claims",
        "divergences",
        "errors",
        "events_lost",
        "frames_in",
        "history_failures",
        "http_refused",
        "load_failures",
        "operations",
        "operations_accepted",
        "operations_duplicate",
        "operations_pruned",
        "operations_refused",
        "operations_transformed",
        "publications",
        "publish_duplicates",
        "publish_failures",
        "publishes",
        "reloads",
        "requests",
        "snapshots",
        "undo_dropped",
        "wrong_passwords",
    )

    def __init__(self, requests: Iterable[str] = ()) -> None:
        """``requests``: the events that have a handler."""
        self.frames_in = 0
        self.bytes_in = 0  # as they came from the sockets, frame headers included
        self.publications = 0  # that reached this node
        self.deliveries = 0  # frames queued for members
        self.publish_failures = 0
        self.events_lost = 0
        self.publish_duplicates = 0
        self.address_refused = 0  # handshakes
        self.auth_failures = 0
        self.wrong_passwords = 0
        self.operations_accepted = 0
        self.operations_transformed = 0  # of the accepted ones: made at an older revision
        self.operations_duplicate = 0
        self.operations_refused = 0
        self.commit_failures = 0
        self.divergences = 0  # documents in memory that were not what the store says
        self.divergence_claims = 0  # what clients say of theirs
        self.load_failures = 0
        self.snapshots = 0
        self.blocks = 0  # stored, also in the place of an older one
        self.block_operations = 0  # in them
        self.block_bytes = 0
        self.checkpoints = 0
        self.operations_pruned = 0
        self.history_failures = 0  # compactions, checkpoints and prunings that did not come to their end
        self.undo_dropped = 0  # groups of edits that can no longer be undone
        self.connections = dict.fromkeys(CONNECTIONS, 0)  # open now
        self.connections_opened = dict.fromkeys(CONNECTIONS, 0)
        self.deliveries_proven = dict.fromkeys(PROVEN, 0)  # by room class
        self.deliveries_unproven = dict.fromkeys(PROVEN, 0)
        self.requests = dict.fromkeys(requests, 0)
        self.errors = {code.value: 0 for code in ErrorCode}
        self.disconnects = {disconnect.reason: 0 for disconnect in DISCONNECTS}
        self.http_refused = dict.fromkeys(HTTP_REFUSALS, 0)
        self.reloads: dict[str, int] = {"applied": 0, "refused": 0}  # of the configuration, by outcome
        # Each from reading the request until its fate was known.
        self.publishes = {source: Histogram() for source in SOURCES}  # messages
        self.custom_events = {source: Histogram() for source in SOURCES}  # which have no position
        self.operations = Histogram()
        self.commits = Histogram()  # from handing a turn's operations to the store until it answered

    def connection_opened(self, codec: str, transport: str = "ws") -> None:
        self.connections[transport, codec] += 1
        self.connections_opened[transport, codec] += 1

    def connection_closed(self, codec: str, transport: str = "ws") -> None:
        self.connections[transport, codec] -= 1

    def published(self, source: Source, seconds: float, publication: Publication, position: Position | None) -> None:
        """The fate of a message is known, ``seconds`` after it arrived. ``position``: None, it has failed."""
        self.publishes[source].observe(seconds)
        if position is None:
            self.publish_failures += 1
        elif position.offset != publication.offset:  # it was published before
            self.publish_duplicates += 1

    def request(self, event: str) -> None:
        """``event``: one that has a handler. Others are ``errors["unknown_event"]``."""
        self.requests[event] += 1

    def error(self, code: str) -> None:
        """An error answer to a request."""
        self.errors[code] += 1

    def disconnect(self, reason: str) -> None:
        """The server ended a connection. ``reason``: a name of docs/protocol.md."""
        self.disconnects[reason] += 1
