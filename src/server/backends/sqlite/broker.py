"""Broker of one process with durable history: publications survive a restart with their epoch and offsets.

The offset is given inside the transaction that stores the publication, so a transaction that fails leaves no gap behind
it, and nothing in memory has to be taken back. Delivery follows COMMIT, in order of submission.

A *kept room* is a room that is subscribed or was used lately: its newest publications in a ring, exactly those on disk
(the ring's bounds are the table's; what has grown too old since the last publication stays on disk until the next one, or
until it is swept), so that ``history`` needs the disk once per kept room.
"""

from __future__ import annotations

import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from ....core.rooms.room import HistoryRing, Position, Publication
from ...seams.broker import BrokerEvents, History
from ...seams.outcome import Done, NotWritten, Unavailable, Unrecoverable
from .database import Database
from .idempotency import StoredKeys
from .part import Part
from .publications import Head, Publications, Written
from .trouble import as_written

SWEPT: Final = 500  # rooms in one sweep


class _KeptRoom:
    """Invariant: between two callbacks of the database ``ring.position`` is the last publication delivered."""

    __slots__ = ("complete", "counted", "pins", "ring", "subscribed")

    def __init__(self, ring: HistoryRing) -> None:
        self.ring = ring
        self.complete = False  # the ring holds everything that the disk does
        self.subscribed = False
        self.pins = 0  # calls that wait with it
        self.counted = 0  # bytes of it in ``idle_bytes``


class SqliteBroker(Part):
    """``history_size`` publications or ``history_bytes`` per room, whichever is less, on disk and in memory; 0: none.
    None that is given is older than ``history_seconds`` (0: any age).

    ``max_histories`` bounds the rooms in memory: the longest unused one without a subscription goes first; its history
    stays on disk.

    ``idempotency_keys`` of the newest messages that have one are stored with them, each for ``idempotency_seconds``, whatever becomes of
    the histories.
    """

    def __init__(
        self,
        database: Database,
        *,
        history_size: int = 1000,
        history_bytes: int = 1_048_576,
        history_seconds: float = 0.0,
        max_histories: int = 100_000,
        idempotency_seconds: float = 300.0,
        idempotency_keys: int = 1_000_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database)
        self._history_size = history_size if history_bytes else 0
        self._history_bytes = history_bytes
        self._history_seconds = history_seconds
        self._now = now
        self._swept = 0  # key of the last room that was looked at
        self._max_histories = max_histories
        self._keys = StoredKeys(idempotency_keys, idempotency_seconds)
        self._publications = Publications(self._history_size, history_bytes, history_seconds, self._keys, now)
        self._busy: dict[str, _KeptRoom] = {}  # subscribed or pinned
        self._idle: OrderedDict[str, _KeptRoom] = OrderedDict()  # by last use
        self._events: BrokerEvents | None = None
        self.idle_bytes = 0  # about what the rings of ``_idle`` hold

    def __len__(self) -> int:
        """Rooms in memory."""
        return len(self._busy) + len(self._idle)

    @property
    def idempotency_keys(self) -> int:
        return len(self._keys.keys)

    @property
    def idempotency_dropped(self) -> int:
        return self._keys.dropped

    async def start(self, events: BrokerEvents) -> None:
        """Raises Unavailable, also when another process serves this file."""
        await self._acquire()
        try:
            self._database.claim()
        except Unavailable:
            await super().close()
            raise
        await self._database.write(self._keys.of)  # all are read now rather than for the first message
        self._events = events

    async def close(self) -> None:
        await super().close()
        self._events = None
        self._busy.clear()
        self._idle.clear()
        self.idle_bytes = 0

    # What it holds (memory_bound.Histories) ------------------------------------------------------------------

    durable = True

    @property
    def key_bytes(self) -> int:
        return self._keys.keys.held_bytes

    def busy_bytes(self) -> int:
        return sum(kept.ring.held_bytes for kept in self._busy.values())

    def release(self, size: int) -> int:
        released = 0
        while self.idle_bytes > size and self._idle:
            self._forget_idle()
            released += 1
        return released

    def shrink(self, size: int) -> int:
        cut = 0
        for kept in self._busy.values():
            if kept.ring.drop_to(size):
                kept.complete = False  # the rest is on disk
                cut += 1
        return cut

    def _recount(self, room: str, kept: _KeptRoom) -> None:
        """After its ring, or its place, has changed."""
        held = kept.ring.held_bytes if room in self._idle else 0
        self.idle_bytes += held - kept.counted
        kept.counted = held

    def _forget_idle(self) -> None:
        """The one that is unused for longest."""
        _, kept = self._idle.popitem(last=False)
        self.idle_bytes -= kept.counted
        kept.counted = 0

    # Publishing ----------------------------------------------------------------------------------------------

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        if not self._open:
            done(None, NotWritten(f"{self._database.path}: closed"))
            return
        self._database.submit(
            self._publications.write, (publication, once), partial(self._published, publication, done)
        )

    def publish_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        kept = self._busy.get(room)
        if kept is not None and kept.subscribed and self._open and self._events is not None:
            self._events.on_ephemeral(room, event, payload)

    def _published(
        self, publication: Publication, done: Done[Position], written: Written | None, error: Exception | None
    ) -> None:
        if written is None:
            done(None, error)
            return
        position, again = written
        if again:
            done(position, None)
            return
        publication.offset, publication.epoch = position
        kept = self._busy.get(publication.room) or self._idle.get(publication.room)
        try:
            if kept is not None:
                kept.ring.append(publication)
                if not kept.subscribed and not kept.pins:
                    self._recount(publication.room, kept)
                if kept.subscribed and self._events is not None:
                    self._events.on_publication(publication)
        finally:
            done(position, None)

    # Kept rooms ----------------------------------------------------------------------------------------------

    async def _pin(self, room: str) -> _KeptRoom:
        """The kept room, complete, held until ``_unpin``."""
        while True:
            self._require_open()
            kept = self._busy.get(room) or self._idle.pop(room, None)
            if kept is not None:
                break
            # In line with the publications: what was published before has been delivered when ``_enter`` runs, what
            # comes later has not. So the position it takes from the disk is exactly the last one delivered.
            await self._database.write(partial(self._publications.head, room=room), partial(self._enter, room))
        self._busy[room] = kept
        self._recount(room, kept)
        kept.pins += 1
        try:
            if not kept.complete:
                await self._complete(room, kept)
        except BaseException:
            self._unpin(room, kept)
            raise
        return kept

    def _enter(self, room: str, head: Head) -> None:
        # Not pinned: who asked may have been cancelled.
        if room not in self._busy and room not in self._idle:
            ring = self._ring(head.epoch, head.offset)
            self._idle[room] = _KeptRoom(ring)
            self._evict()

    def _ring(self, epoch: str, offset: int) -> HistoryRing:
        return HistoryRing(epoch, offset, self._history_size, self._history_bytes, self._history_seconds)

    async def _complete(self, room: str, kept: _KeptRoom) -> None:
        """Puts what is on disk before what has come since."""
        epoch, newest = kept.ring.epoch, kept.ring.offset

        def work(connection: sqlite3.Connection) -> list[Publication]:
            rows = connection.execute(
                "SELECT room, user, name, time, codec, data, publications.offset, epoch"
                " FROM publications JOIN histories ON key = history"
                " WHERE room = ? AND epoch = ? AND publications.offset <= ? ORDER BY publications.offset",
                (room, epoch, newest),
            )
            stored = partial(Publication, stored=True)
            return [stored(*as_written(row, "tttrcbnt", "a message")) for row in rows]

        stored = await self._database.read(work)
        if kept.complete or kept.ring.epoch != epoch:
            return  # another call was quicker, or the history was dropped
        if kept.ring.offset - len(kept.ring) > newest:
            return await self._complete(room, kept)  # it was cut meanwhile: what has gone is on disk by now
        live = kept.ring.last(len(kept.ring))
        start = stored[0].offset - 1 if stored else newest
        ring = self._ring(epoch, start)
        for publication in (*stored, *live):
            if publication.offset > ring.offset:
                ring.append(publication)
        kept.ring = ring
        kept.complete = True

    def _unpin(self, room: str, kept: _KeptRoom) -> None:
        kept.pins -= 1
        self._settle(room, kept)

    def _settle(self, room: str, kept: _KeptRoom) -> None:
        """One that is no longer in use becomes the newest idle one."""
        if not kept.subscribed and kept.pins == 0 and self._busy.pop(room, None) is not None:
            self._idle[room] = kept
            self._recount(room, kept)
            self._evict()

    def _evict(self) -> None:
        # The newest idle one stays whatever the bound is: somebody is about to use it.
        while len(self) > self._max_histories and len(self._idle) > 1:
            self._forget_idle()

    async def subscribe(self, room: str) -> Position:
        kept = await self._pin(room)
        kept.subscribed = True
        self._unpin(room, kept)
        # Nothing awaits from here to the caller: nothing is delivered between this position and the return.
        return kept.ring.position

    async def unsubscribe(self, room: str) -> None:
        kept = self._busy.get(room)
        if kept is not None:
            kept.subscribed = False
            self._settle(room, kept)

    async def history(self, room: str, since: Position | None, limit: int) -> History:
        kept = await self._pin(room)
        self._unpin(room, kept)
        ring = kept.ring
        ring.expire(self._now())
        if since is None:
            return History(ring.last(max(limit, 0)), ring.position)
        publications = ring.since(since.offset, since.epoch)
        if publications is None or len(publications) > limit:
            raise Unrecoverable(f"room {room!r} cannot be recovered from {since}")
        return History(publications, ring.position)

    async def sweep(self) -> None:
        if not self._history_seconds:
            return
        horizon = self._now() - self._history_seconds

        def oldest(connection: sqlite3.Connection) -> list[tuple[int, str, float | None]]:
            return connection.execute(
                "SELECT key, room, (SELECT time FROM publications WHERE history = key ORDER BY publications.offset LIMIT 1)"
                " FROM histories WHERE key > ? AND offset > floor ORDER BY key LIMIT ?",
                (self._swept, SWEPT),
            ).fetchall()

        found = await self._database.read(oldest)
        self._swept = found[-1][0] if len(found) == SWEPT else 0
        rooms = [room for _, room, at in found if at is not None and at < horizon]
        if not rooms:
            return

        def trim(connection: sqlite3.Connection) -> None:
            for room in rooms:
                head = self._publications.head(connection, room)
                head.newest = horizon + self._history_seconds
                self._publications.trim(connection, head)
                update = "UPDATE histories SET floor = ?, bytes = ? WHERE key = ?"
                connection.execute(update, (head.floor, head.bytes, head.key))

        def trimmed(_: None) -> None:
            for room in rooms:
                kept = self._busy.get(room) or self._idle.get(room)
                if kept is not None:
                    kept.ring.expire(horizon + self._history_seconds)
                    self._recount(room, kept)

        await self._database.write(trim, trimmed)

    async def forget(self, room: str) -> None:
        self._require_open()

        def forgotten(epoch: str) -> None:
            kept = self._busy.get(room) or self._idle.get(room)
            if kept is not None:
                kept.ring = self._ring(epoch, 0)
                kept.complete = True
                self._recount(room, kept)

        await self._database.write(partial(self._publications.forget, room=room), forgotten)
