"""Broker of one process with durable history: publications survive a restart with their epoch and offsets.

The offset is given inside the transaction that stores the publication, so a transaction that fails leaves no gap behind
it, and nothing in memory has to be taken back. Delivery follows COMMIT, in order of submission.

A *channel* is a room that is subscribed or was used lately: its newest publications in a ring, exactly those on disk
(the ring's bounds are the table's; what has grown too old since the last publication stays on disk until the next one, or
until it is swept), so that ``history`` needs the disk once per channel.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ....core.room import HistoryRing, Position, Publication
from ...seams import BrokerEvents, Done, History, NotWritten, Unavailable, Unrecoverable
from .database import Database
from .part import Part
from .trouble import as_written

_Written = tuple[Position, bool]  # where it is; whether it was there already
SWEPT: Final = 500  # rooms in one sweep


class _Channel:
    """Invariant: between two callbacks of the database ``ring.position`` is the last publication delivered."""

    __slots__ = ("complete", "counted", "pins", "ring", "subscribed")

    def __init__(self, ring: HistoryRing) -> None:
        self.ring = ring
        self.complete = False  # the ring holds everything that the disk does
        self.subscribed = False
        self.pins = 0  # calls that wait with it
        self.counted = 0  # bytes of it in ``idle_bytes``


class _Head:
    """A row of ``histories`` while it is being written."""

    __slots__ = ("bytes", "epoch", "floor", "key", "newest", "offset")

    def __init__(self, key: int, epoch: str, offset: int, floor: int, size: int) -> None:
        self.key = key
        self.epoch = epoch
        self.offset = offset
        self.floor = floor
        self.bytes = size
        self.newest = 0.0  # time of the newest publication of the batch


class SqliteBroker(Part):
    """``history_size`` publications or ``history_bytes`` per room, whichever is less, on disk and in memory; 0: none.
    None that is given is older than ``history_seconds`` (0: any age).

    ``max_histories`` bounds the rooms in memory: the longest unused one without a subscription goes first; its history
    stays on disk.
    """

    def __init__(
        self,
        database: Database,
        *,
        history_size: int = 1000,
        history_bytes: int = 1_048_576,
        history_seconds: float = 0.0,
        max_histories: int = 100_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(database)
        self._history_size = history_size if history_bytes else 0
        self._history_bytes = history_bytes
        self._history_seconds = history_seconds
        self._now = now
        self._swept = 0  # key of the last room that was looked at
        self._max_histories = max_histories
        self._busy: dict[str, _Channel] = {}  # subscribed or pinned
        self._idle: OrderedDict[str, _Channel] = OrderedDict()  # by last use
        self._events: BrokerEvents | None = None
        self.idle_bytes = 0  # about what the rings of ``_idle`` hold

    def __len__(self) -> int:
        """Rooms in memory."""
        return len(self._busy) + len(self._idle)

    async def start(self, events: BrokerEvents) -> None:
        """Raises Unavailable, also when another process serves this file."""
        await self._acquire()
        try:
            self._database.claim()
        except Unavailable:
            await super().close()
            raise
        self._events = events

    async def close(self) -> None:
        await super().close()
        self._events = None
        self._busy.clear()
        self._idle.clear()
        self.idle_bytes = 0

    # What it holds (memory_bound.Histories) ------------------------------------------------------------------

    durable = True

    def busy_bytes(self) -> int:
        return sum(channel.ring.held_bytes for channel in self._busy.values())

    def release(self, size: int) -> int:
        released = 0
        while self.idle_bytes > size and self._idle:
            self._forget_idle()
            released += 1
        return released

    def shrink(self, size: int) -> int:
        cut = 0
        for channel in self._busy.values():
            if channel.ring.drop_to(size):
                channel.complete = False  # the rest is on disk
                cut += 1
        return cut

    def _recount(self, room: str, channel: _Channel) -> None:
        """After its ring, or its place, has changed."""
        held = channel.ring.held_bytes if room in self._idle else 0
        self.idle_bytes += held - channel.counted
        channel.counted = held

    def _forget_idle(self) -> None:
        """The one that is unused for longest."""
        _, channel = self._idle.popitem(last=False)
        self.idle_bytes -= channel.counted
        channel.counted = 0

    # Publishing ----------------------------------------------------------------------------------------------

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        if not self._open:
            done(None, NotWritten(f"{self._database.path}: closed"))
            return
        self._database.submit(self._write, (publication, once), partial(self._published, publication, done))

    def publish_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        channel = self._busy.get(room)
        if channel is not None and channel.subscribed and self._open and self._events is not None:
            self._events.on_ephemeral(room, event, payload)

    def _published(
        self, publication: Publication, done: Done[Position], written: _Written | None, error: Exception | None
    ) -> None:
        if written is None:
            done(None, error)
            return
        position, again = written
        if again:
            done(position, None)
            return
        publication.offset, publication.epoch = position
        channel = self._busy.get(publication.room) or self._idle.get(publication.room)
        try:
            if channel is not None:
                channel.ring.append(publication)
                if not channel.subscribed and not channel.pins:
                    self._recount(publication.room, channel)
                if channel.subscribed and self._events is not None:
                    self._events.on_publication(publication)
        finally:
            done(position, None)

    def _write(self, connection: sqlite3.Connection, items: Sequence[tuple[Publication, str]]) -> list[_Written]:
        heads: dict[str, _Head] = {}
        fresh: dict[tuple[int, str, str], int] = {}  # keys of this batch
        written: list[_Written] = []
        rows: list[tuple[object, ...]] = []
        for publication, once in items:
            head = heads.get(publication.room)
            if head is None:
                head = heads[publication.room] = self._head(connection, publication.room)
            if once:
                key = (head.key, publication.user, once)
                offset = fresh.get(key) or self._published_once(connection, head, key)
                if offset is not None:
                    written.append((Position(offset, head.epoch), True))
                    continue
                fresh[key] = head.offset + 1
            head.offset += 1
            written.append((Position(head.offset, head.epoch), False))
            size = publication.size
            head.bytes += size
            head.newest = max(head.newest, publication.time)
            about = (publication.user, publication.name, publication.time, publication.codec)
            rows.append((head.key, head.offset, *about, publication.data, size, once or None))
        connection.executemany("INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        for head in heads.values():
            self._trim(connection, head)
            connection.execute(
                "UPDATE histories SET offset = ?, floor = ?, bytes = ? WHERE key = ?",
                (head.offset, head.floor, head.bytes, head.key),
            )
        return written

    def _published_once(self, connection: sqlite3.Connection, head: _Head, key: tuple[int, str, str]) -> int | None:
        row = connection.execute(
            "SELECT offset FROM publications WHERE history = ? AND user = ? AND once = ?", key
        ).fetchone()
        return None if row is None else int(row[0])

    def _head(self, connection: sqlite3.Connection, room: str) -> _Head:
        query = "SELECT key, epoch, offset, floor, bytes FROM histories WHERE room = ?"
        row = connection.execute(query, (room,)).fetchone()
        if row is None:
            connection.execute("INSERT INTO histories (room, epoch) VALUES (?, ?)", (room, _new_epoch()))
            row = connection.execute(query, (room,)).fetchone()
        return _Head(*as_written(row, "itiii", "the history of a room"))

    def _trim(self, connection: sqlite3.Connection, head: _Head) -> None:
        """Drops the oldest publications that are over the bounds, as HistoryRing does. O(dropped)."""
        floor = max(head.floor, head.offset - self._history_size)
        horizon = head.newest - self._history_seconds if self._history_seconds else float("-inf")
        if floor == head.floor and head.bytes <= self._history_bytes and not self._history_seconds:
            return
        rows = connection.execute(
            "SELECT offset, size, time FROM publications WHERE history = ? ORDER BY offset", (head.key,)
        )
        for offset, size, at in rows:
            if offset > floor and head.bytes <= self._history_bytes and at >= horizon:
                break
            head.floor = offset
            head.bytes -= size
        rows.close()
        connection.execute("DELETE FROM publications WHERE history = ? AND offset <= ?", (head.key, head.floor))

    # Channels ------------------------------------------------------------------------------------------------

    async def _pin(self, room: str) -> _Channel:
        """The channel of a room, complete, kept until ``_unpin``."""
        while True:
            self._require_open()
            channel = self._busy.get(room) or self._idle.pop(room, None)
            if channel is not None:
                break
            # In line with the publications: what was published before has been delivered when ``_enter`` runs, what
            # comes later has not. So the position it takes from the disk is exactly the last one delivered.
            await self._database.write(partial(self._head, room=room), partial(self._enter, room))
        self._busy[room] = channel
        self._recount(room, channel)
        channel.pins += 1
        try:
            if not channel.complete:
                await self._complete(room, channel)
        except BaseException:
            self._unpin(room, channel)
            raise
        return channel

    def _enter(self, room: str, head: _Head) -> None:
        # Not pinned: who asked may have been cancelled.
        if room not in self._busy and room not in self._idle:
            ring = self._ring(head.epoch, head.offset)
            self._idle[room] = _Channel(ring)
            self._evict()

    def _ring(self, epoch: str, offset: int) -> HistoryRing:
        return HistoryRing(epoch, offset, self._history_size, self._history_bytes, self._history_seconds)

    async def _complete(self, room: str, channel: _Channel) -> None:
        """Puts what is on disk before what has come since."""
        epoch, newest = channel.ring.epoch, channel.ring.offset

        def work(connection: sqlite3.Connection) -> list[Publication]:
            rows = connection.execute(
                "SELECT room, user, name, time, codec, data, publications.offset, epoch"
                " FROM publications JOIN histories ON key = history"
                " WHERE room = ? AND epoch = ? AND publications.offset <= ? ORDER BY publications.offset",
                (room, epoch, newest),
            )
            stored = partial(Publication, stored=True)
            return [stored(*as_written(row, "tttrcbit", "a message")) for row in rows]

        stored = await self._database.read(work)
        if channel.complete or channel.ring.epoch != epoch:
            return  # another call was quicker, or the history was dropped
        if channel.ring.offset - len(channel.ring) > newest:
            return await self._complete(room, channel)  # it was cut meanwhile: what has gone is on disk by now
        live = channel.ring.last(len(channel.ring))
        start = stored[0].offset - 1 if stored else newest
        ring = self._ring(epoch, start)
        for publication in (*stored, *live):
            if publication.offset > ring.offset:
                ring.append(publication)
        channel.ring = ring
        channel.complete = True

    def _unpin(self, room: str, channel: _Channel) -> None:
        channel.pins -= 1
        self._settle(room, channel)

    def _settle(self, room: str, channel: _Channel) -> None:
        """A channel that is no longer in use becomes the newest idle one."""
        if not channel.subscribed and channel.pins == 0 and self._busy.pop(room, None) is not None:
            self._idle[room] = channel
            self._recount(room, channel)
            self._evict()

    def _evict(self) -> None:
        # The newest idle one stays whatever the bound is: somebody is about to use it.
        while len(self) > self._max_histories and len(self._idle) > 1:
            self._forget_idle()

    async def subscribe(self, room: str) -> Position:
        channel = await self._pin(room)
        channel.subscribed = True
        self._unpin(room, channel)
        # Nothing awaits from here to the caller: nothing is delivered between this position and the return.
        return channel.ring.position

    async def unsubscribe(self, room: str) -> None:
        channel = self._busy.get(room)
        if channel is not None:
            channel.subscribed = False
            self._settle(room, channel)

    async def history(self, room: str, since: Position | None, limit: int) -> History:
        channel = await self._pin(room)
        self._unpin(room, channel)
        ring = channel.ring
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
                head = self._head(connection, room)
                head.newest = horizon + self._history_seconds
                self._trim(connection, head)
                update = "UPDATE histories SET floor = ?, bytes = ? WHERE key = ?"
                connection.execute(update, (head.floor, head.bytes, head.key))

        def trimmed(_: None) -> None:
            for room in rooms:
                channel = self._busy.get(room) or self._idle.get(room)
                if channel is not None:
                    channel.ring.expire(horizon + self._history_seconds)
                    self._recount(room, channel)

        await self._database.write(trim, trimmed)

    async def forget(self, room: str) -> None:
        self._require_open()

        def work(connection: sqlite3.Connection) -> str:
            head = self._head(connection, room)
            connection.execute("DELETE FROM histories WHERE key = ?", (head.key,))  # the publications go with it
            return self._head(connection, room).epoch

        def forgotten(epoch: str) -> None:
            channel = self._busy.get(room) or self._idle.get(room)
            if channel is not None:
                channel.ring = self._ring(epoch, 0)
                channel.complete = True
                self._recount(room, channel)

        await self._database.write(work, forgotten)


def _new_epoch() -> str:
    # 64 random bits: two epochs of a room must never be taken for one another.
    return secrets.token_hex(8)
