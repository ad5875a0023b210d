"""EventLog in SQLite: one table; append and trim in the turn's transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from ...seams.clock import Clock
from ...seams.event_log import LoggedEvent
from ...seams.outcome import Done, NotWritten
from .database import Database
from .part import Part
from .trouble import as_written


class SqliteEventLog(Part):
    """Holds ``keep`` events; the oldest go in the transaction that brings a newer one."""

    def __init__(self, database: Database, clock: Clock, *, keep: int = 1_000_000) -> None:
        super().__init__(database)
        self._clock = clock
        self._keep = keep

    async def start(self) -> None:
        await self._acquire()

    def append(self, key: str, kind: str, body: bytes, done: Done[int]) -> None:
        if not self._open:
            done(None, NotWritten(f"{self._database.path}: closed"))
            return
        self._database.submit(self._write, (key, kind, body, self._clock.time()), done)

    def _write(self, connection: sqlite3.Connection, events: Sequence[tuple[str, str, bytes, float]]) -> list[int]:
        sequences: list[int] = []
        for event in events:
            cursor = connection.execute("INSERT INTO events (key, kind, body, created_at) VALUES (?, ?, ?, ?)", event)
            assert cursor.lastrowid is not None
            sequences.append(cursor.lastrowid)
        # A rolled back number is given again, so there are no gaps and this keeps exactly ``keep``.
        connection.execute("DELETE FROM events WHERE sequence <= ?", (sequences[-1] - self._keep,))
        return sequences

    async def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        self._require_open()

        def work(connection: sqlite3.Connection) -> list[LoggedEvent]:
            rows = connection.execute(
                "SELECT sequence, key, kind, body, created_at FROM events WHERE sequence > ? ORDER BY sequence LIMIT ?",
                (after, max(limit, 0)),
            )
            return [LoggedEvent(*as_written(row, "nttbr", "an event")) for row in rows]

        return await self._database.read(work)

    async def trim(self, keep: int) -> int:
        self._require_open()

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute(
                "DELETE FROM events WHERE sequence <="
                " (SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1 OFFSET ?)",
                (max(keep, 0),),
            ).rowcount

        return await self._database.write(work)
