"""Broker in one process: a history ring per room, publications handed to the node in the same call.

Invariant: a room is in exactly one of the two maps; ``_idle`` is ordered by last use. Everything is O(1) + result.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from ....core.rooms.idempotency import IdempotencyKeys, idempotency_digest
from ....core.rooms.room import HistoryRing, Position, Publication
from ...seams.broker import BrokerEvents, History
from ...seams.outcome import Done, NotWritten, Unavailable, Unrecoverable

SWEPT: Final = 2000  # rooms in one sweep: a fraction of a millisecond


class MemoryBroker:
    """``history_size`` publications or ``history_bytes`` per room, whichever is less, none older than
    ``history_seconds``; 0: no history, for the seconds: any age. What is too old is dropped at the room's next use, or
    by ``sweep``.

    At most ``max_histories`` rooms: the longest unused one without a subscription goes first, its history with it, so
    that it comes back in a new epoch. Subscribed rooms stay: connections and ``limits.rooms`` bound them.

    ``idempotency_keys`` of the newest messages that have one are remembered, each for ``idempotency_seconds``, whatever becomes of their
    rooms.
    """

    shared = False

    def __init__(
        self,
        *,
        history_size: int = 1000,
        history_bytes: int = 1_048_576,
        history_seconds: float = 0.0,
        max_histories: int = 100_000,
        idempotency_seconds: float = 300.0,
        idempotency_keys: int = 1_000_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._bounds = (history_size, history_bytes, history_seconds)
        self._now = now
        self._max_histories = max_histories
        self._subscribed: dict[str, HistoryRing] = {}
        self._idle: OrderedDict[str, HistoryRing] = OrderedDict()
        self._unswept: list[str] = []
        self._keys = IdempotencyKeys(idempotency_keys, idempotency_seconds)
        self._events: BrokerEvents | None = None

    def __len__(self) -> int:
        """Rooms whose history is held."""
        return len(self._subscribed) + len(self._idle)

    @property
    def idempotency_keys(self) -> int:
        return len(self._keys)

    @property
    def idempotency_dropped(self) -> int:
        return self._keys.dropped

    # What it holds (memory_bound.Histories) ------------------------------------------------------------------

    durable = False

    @property
    def key_bytes(self) -> int:
        return self._keys.held_bytes

    @property
    def idle_bytes(self) -> int:
        return sum(ring.held_bytes for ring in self._idle.values())

    def busy_bytes(self) -> int:
        return sum(ring.held_bytes for ring in self._subscribed.values())

    def release(self, size: int) -> int:
        held, released = self.idle_bytes, 0
        while held > size and self._idle:
            _, ring = self._idle.popitem(last=False)
            held -= ring.held_bytes
            released += 1
        return released

    def shrink(self, size: int) -> int:
        return sum(ring.drop_to(size) > 0 for ring in self._subscribed.values())

    # Rooms ---------------------------------------------------------------------------------------------------

    async def start(self, events: BrokerEvents) -> None:
        self._events = events

    async def close(self) -> None:
        self._events = None

    def _require_open(self) -> None:
        if self._events is None:
            raise Unavailable("the broker is closed")

    def _new_ring(self) -> HistoryRing:
        # 64 random bits: two epochs of a room must never be taken for one another.
        return HistoryRing(secrets.token_hex(8), 0, *self._bounds)

    def _ring(self, room: str) -> HistoryRing:
        """The ring of a room, made when there is none; the room counts as just used."""
        ring = self._subscribed.get(room)
        if ring is None:
            ring = self._idle.get(room)
            if ring is None:
                ring = self._idle[room] = self._new_ring()
                self._evict()
            else:
                self._idle.move_to_end(room)
        return ring

    def _evict(self) -> None:
        # The newest idle one stays whatever the bound is: somebody is about to use it.
        while len(self) > self._max_histories and len(self._idle) > 1:
            self._idle.popitem(last=False)

    async def subscribe(self, room: str) -> Position:
        self._require_open()
        ring = self._ring(room)
        self._subscribed[room] = ring
        self._idle.pop(room, None)
        return ring.position

    async def unsubscribe(self, room: str) -> None:
        ring = self._subscribed.pop(room, None)
        if ring is not None:
            self._idle[room] = ring
            self._evict()

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        if self._events is None:
            done(None, NotWritten("the broker is closed"))
            return
        room = publication.room
        ring = self._ring(room)
        if once:
            now = self._now()
            key = idempotency_digest(room, publication.user, once)
            known = self._keys.find(key, now)
            if known is not None:
                done(known, None)
                return
            self._keys.add(key, Position(ring.offset + 1, ring.epoch), now)
        publication.offset, publication.epoch = ring.offset + 1, ring.epoch
        ring.append(publication)
        if room in self._subscribed:
            self._events.on_publication(publication)
        done(publication.position, None)

    def publish_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        if self._events is not None and room in self._subscribed:
            self._events.on_ephemeral(room, event, payload)

    async def history(self, room: str, since: Position | None, limit: int) -> History:
        self._require_open()
        ring = self._ring(room)
        ring.expire(self._now())
        if since is None:
            return History(ring.last(max(limit, 0)), ring.position)
        publications = ring.since(since.offset, since.epoch)
        if publications is None or len(publications) > limit:
            raise Unrecoverable(f"room {room!r} cannot be recovered from {since}")
        return History(publications, ring.position)

    async def sweep(self) -> None:
        self._unswept = self._unswept or [*self._subscribed, *self._idle]
        now = self._now()
        for _ in range(min(SWEPT, len(self._unswept))):
            room = self._unswept.pop()
            ring = self._subscribed.get(room, self._idle.get(room))
            if ring is not None:
                ring.expire(now)

    async def forget(self, room: str) -> None:
        self._require_open()
        self._idle.pop(room, None)
        if room in self._subscribed:
            self._subscribed[room] = self._new_ring()
