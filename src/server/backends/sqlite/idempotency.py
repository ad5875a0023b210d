"""What was published under which idempotency key lately: rows that are written with the messages, and outlive their histories.

On disk they are appended and, the oldest first, taken away; they are looked for in memory. That is right as long as it says what the
writing connection sees. A transaction that fails takes the connection with it (database.py), so with another connection, or when a batch
was taken back, all are read again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import TypeAlias

from ....core.rooms.idempotency import IdempotencyKeys
from ....core.rooms.room import Position
from .trouble import as_written

#: Digest, where its message is, Unix seconds.
Fresh: TypeAlias = tuple[bytes, Position, float]


class StoredKeys:
    """At most ``most`` keys, each for ``seconds``. For the writing thread, inside of a transaction.

    Rows have consecutive ids: those after ``_gone`` up to ``_newest`` are the keys in memory."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._seen: sqlite3.Connection | None = None  # whose rows ``keys`` has
        self._newest = 0
        self._gone = 0
        self._dropped = 0  # by those before these
        self.keys = IdempotencyKeys(most, seconds)

    @property
    def dropped(self) -> int:
        return self._dropped + self.keys.dropped

    def of(self, connection: sqlite3.Connection) -> IdempotencyKeys:
        """To look in. O(1), or O(n) when it has to be read. Raises Damaged, sqlite3.Error."""
        if connection is not self._seen:
            self.forget()
            keys = IdempotencyKeys(self._most, self._seconds)
            for row in connection.execute("SELECT id, digest, offset, epoch, time FROM idempotency_keys ORDER BY id"):
                self._newest, digest, offset, epoch, time = as_written(row, "nbntr", "an idempotency key")
                keys.add(digest, Position(offset, epoch), time)
            self._dropped += self.keys.dropped
            self.keys, self._seen = keys, connection
        return self.keys

    def add(self, connection: sqlite3.Connection, fresh: Sequence[Fresh]) -> None:
        """Stores those of one or more messages, and takes out as many as are too many or whose time is over. Raises sqlite3.Error."""
        rows = [(id, digest, *position, time) for id, (digest, position, time) in enumerate(fresh, self._newest + 1)]
        connection.executemany("INSERT INTO idempotency_keys VALUES (?, ?, ?, ?, ?)", rows)
        for digest, position, time in fresh:
            self.keys.add(digest, position, time)
        self._newest += len(fresh)
        gone = self._newest - len(self.keys)
        if gone > self._gone:
            connection.execute("DELETE FROM idempotency_keys WHERE id <= ?", (gone,))
            self._gone = gone

    def forget(self) -> None:
        """What is in memory: it may not be on disk."""
        self._seen, self._newest, self._gone = None, 0, 0
