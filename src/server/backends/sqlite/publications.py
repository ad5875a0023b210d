"""What rooms hold on disk: their publications, how far they go, and idempotency keys. For the writing thread, inside of transactions."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ....core.rooms.idempotency import idempotency_digest
from ....core.rooms.room import Position, Publication
from .idempotency import StoredKeys
from .trouble import as_written

#: Where it is; whether it was there already.
Written: TypeAlias = tuple[Position, bool]


class Head:
    """A row of ``histories`` while it is being written."""

    __slots__ = ("bytes", "epoch", "floor", "key", "newest", "offset")

    def __init__(self, key: int, epoch: str, offset: int, floor: int, size: int) -> None:
        self.key = key
        self.epoch = epoch
        self.offset = offset
        self.floor = floor
        self.bytes = size
        self.newest = 0.0  # time of the newest publication of the batch


class Publications:
    """``most`` publications or ``most_bytes`` per room, whichever is less, none older than ``seconds`` (0: any age). All raise Damaged,
    sqlite3.Error."""

    def __init__(self, most: int, most_bytes: int, seconds: float, keys: StoredKeys, now: Callable[[], float]) -> None:
        """``now``: Unix seconds."""
        self._most = most
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._keys = keys
        self._now = now

    def write(self, connection: sqlite3.Connection, items: Sequence[tuple[Publication, str]]) -> list[Written]:
        """Gives each its place, in order; ``items``: with their keys or "". O(new + dropped)."""
        try:
            return self._write(connection, items)
        except BaseException:
            self._keys.forget()  # the batch is taken back
            raise

    def _write(self, connection: sqlite3.Connection, items: Sequence[tuple[Publication, str]]) -> list[Written]:
        heads: dict[str, Head] = {}
        keys = self._keys.of(connection)
        fresh: dict[bytes, Position] = {}
        now = self._now()
        written: list[Written] = []
        rows: list[tuple[object, ...]] = []
        for publication, once in items:
            head = heads.get(publication.room)
            if head is None:
                head = heads[publication.room] = self.head(connection, publication.room)
            if once:
                key = idempotency_digest(publication.room, publication.user, once)
                known = fresh.get(key) or keys.find(key, now)
                if known is not None:
                    written.append((known, True))
                    continue
                fresh[key] = Position(head.offset + 1, head.epoch)
            head.offset += 1
            written.append((Position(head.offset, head.epoch), False))
            size = publication.size
            head.bytes += size
            head.newest = max(head.newest, publication.time)
            about = (publication.user, publication.name, publication.time, publication.codec)
            rows.append((head.key, head.offset, *about, publication.data, size))
        connection.executemany("INSERT INTO publications VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        if fresh:
            self._keys.add(connection, [(key, position, now) for key, position in fresh.items()])
        for head in heads.values():
            self.trim(connection, head)
            connection.execute(
                "UPDATE histories SET offset = ?, floor = ?, bytes = ? WHERE key = ?",
                (head.offset, head.floor, head.bytes, head.key),
            )
        return written

    def head(self, connection: sqlite3.Connection, room: str) -> Head:
        query = "SELECT key, epoch, offset, floor, bytes FROM histories WHERE room = ?"
        row = connection.execute(query, (room,)).fetchone()
        if row is None:
            connection.execute("INSERT INTO histories (room, epoch) VALUES (?, ?)", (room, new_epoch()))
            row = connection.execute(query, (room,)).fetchone()
        return Head(*as_written(row, "itnnn", "the history of a room"))

    def trim(self, connection: sqlite3.Connection, head: Head) -> None:
        """Drops the oldest publications that are over the bounds, as HistoryRing does. O(dropped)."""
        floor = max(head.floor, head.offset - self._most)
        horizon = head.newest - self._seconds if self._seconds else float("-inf")
        if floor == head.floor and head.bytes <= self._most_bytes and not self._seconds:
            return
        rows = connection.execute(
            "SELECT offset, size, time FROM publications WHERE history = ? ORDER BY offset", (head.key,)
        )
        for offset, size, at in rows:
            if offset > floor and head.bytes <= self._most_bytes and at >= horizon:
                break
            head.floor = offset
            head.bytes -= size
        rows.close()
        connection.execute("DELETE FROM publications WHERE history = ? AND offset <= ?", (head.key, head.floor))

    def forget(self, connection: sqlite3.Connection, room: str) -> str:
        """The room's publications; the epoch that begins with it. Keys stay."""
        head = self.head(connection, room)
        connection.execute("DELETE FROM publications WHERE history = ?", (head.key,))
        epoch = new_epoch()
        update = "UPDATE histories SET epoch = ?, offset = 0, floor = 0, bytes = 0 WHERE key = ?"
        connection.execute(update, (epoch, head.key))
        return epoch


def new_epoch() -> str:
    # 64 random bits: two epochs of a room must never be taken for one another.
    return secrets.token_hex(8)
