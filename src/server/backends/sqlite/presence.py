"""Presence in SQLite. Writes share the turn's transaction; expired entries go with the next write of any room."""

from __future__ import annotations

import builtins
import sqlite3
from collections.abc import Sequence

from ...seams.clock import Clock
from ...seams.presence import PresenceChange, PresenceEntry
from .database import Database
from .part import Part
from .trouble import as_written

_TOUCH = """
    INSERT INTO presence (room, connection, user, name, status, last_seen, metadata, expires_at)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET user = excluded.user, name = excluded.name, status = excluded.status,
        last_seen = excluded.last_seen, metadata = excluded.metadata, expires_at = excluded.expires_at"""
_END = "DELETE FROM presence WHERE room = ? AND connection = ?"
_SEEN = """
    INSERT INTO last_seen (room, user, time) VALUES (?, ?, ?)
    ON CONFLICT DO UPDATE SET time = max(time, excluded.time)"""


class SqlitePresence(Part):
    """The times of who was last seen stay with the file: one row per user and room, like memberships."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock

    async def start(self) -> None:
        await self._acquire()

    async def write(self, changes: Sequence[PresenceChange], ttl: float) -> None:
        self._require_open()
        now = self._clock.time()

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM presence WHERE expires_at <= ?", (now,))
            for change in changes:
                room, entry = change.room, change.entry
                if change.here:
                    row = (
                        room,
                        entry.connection,
                        entry.user,
                        entry.name,
                        entry.status,
                        entry.last_seen,
                        entry.metadata,
                    )
                    connection.execute(_TOUCH, (*row, now + ttl))
                else:
                    connection.execute(_END, (room, entry.connection))
                connection.execute(_SEEN, (room, entry.user, entry.last_seen))

        await self._database.write(work)

    async def list(self, room: str) -> builtins.list[PresenceEntry]:
        self._require_open()
        now = self._clock.time()

        def work(connection: sqlite3.Connection) -> builtins.list[PresenceEntry]:
            rows = connection.execute(
                "SELECT user, connection, name, status, last_seen, metadata FROM presence"
                " WHERE room = ? AND expires_at > ? ORDER BY user, connection",
                (room, now),
            )
            return [PresenceEntry(*as_written(row, "ttttrB", "presence")) for row in rows]

        return await self._database.read(work)

    async def last_seen(self, room: str, users: Sequence[str]) -> dict[str, float]:
        self._require_open()

        def work(connection: sqlite3.Connection) -> dict[str, float]:
            found = {}
            for user in users:
                row = connection.execute(
                    "SELECT time FROM last_seen WHERE room = ? AND user = ?", (room, user)
                ).fetchone()
                if row is not None:
                    (found[user],) = as_written(row, "r", "when somebody was seen")
            return found

        return await self._database.read(work)
