"""Store in SQLite: users, rooms and their members, documents and their turns. See migrations.py for the tables.

Writes go through the turn's transaction, reads see one moment. O(log n) + result throughout.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from ...seams.clock import Clock
from ...seams.outcome import Conflict, Done, NotWritten
from ...seams.store import (
    NOBODY,
    DocumentRecord,
    DocumentSnapshot,
    DocumentState,
    RoomRecord,
    StoredDocument,
    Turn,
    UserRecord,
)
from .database import Database
from .part import Part
from .roles import DOCUMENTS, ROOMS, Roles
from .trouble import Damaged, as_written

T = TypeVar("T")

_USER = "SELECT id, name, guest, created_at, attributes FROM users"
_DOCUMENT = "SELECT key, id, generation, owner, default_role, created_at, type FROM documents WHERE id = ?"
_KEY = "(SELECT key FROM documents WHERE id = ?)"


def _user(row: tuple[str, str, int, float, bytes]) -> UserRecord:
    id, name, guest, created_at, attributes = as_written(row, "ttirb", "a user")
    try:
        return UserRecord(id, name, bool(guest), created_at, msgspec.json.decode(attributes, type=dict))
    except ValueError as error:
        raise Damaged(f"user {id!r}: {error}") from error


def _record(row: tuple[int, str, str, str, str | None, float, str]) -> DocumentRecord:
    return DocumentRecord(*as_written(row, "itttTrt", "a document")[1:])


def _roles(rows: Iterable[tuple[str, str]]) -> dict[str, str]:
    return dict(as_written(row, "tt", "a role") for row in rows)


def _turns(connection: sqlite3.Connection, key: int, since: int, until: int) -> list[Turn]:
    """Turns that hold any of revisions since + 1 ... until."""
    # The first one may begin earlier: it is the last that begins at or before ``since``, if it reaches past it.
    rows = connection.execute(
        "SELECT base, count, body, created_at FROM turns"
        " WHERE document = :key AND base < :until AND base + count > :since"
        " AND base >= coalesce((SELECT max(base) FROM turns WHERE document = :key AND base <= :since), 0)"
        " ORDER BY base",
        {"key": key, "since": since, "until": until},
    )
    return [Turn(*as_written(row, "nnbr", "a turn")) for row in rows]


class SqliteStore(Part):
    """A record with ``created_at`` 0 is stamped with ``clock``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        super().__init__(database)
        self._clock = clock

    async def start(self) -> None:
        await self._acquire()

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._require_open()
        return await self._database.write(work)

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._require_open()
        return await self._database.read(work)

    async def _one(self, query: str, values: tuple[str, ...], made: Callable[[Any], T]) -> T | None:
        def work(connection: sqlite3.Connection) -> T | None:
            row = connection.execute(query, values).fetchone()
            return None if row is None else made(row)

        return await self._read(work)

    async def _value(self, query: str, *values: str) -> str | None:
        return await self._one(query, values, lambda row: str(as_written(row, "t", "a setting or a role")[0]))

    async def _change(self, query: str, *values: object) -> int:
        """Runs one statement; returns the number of rows that it changed."""
        return await self._write(lambda connection: connection.execute(query, values).rowcount)

    async def _change_role(
        self, roles: Roles, name: str, user: str, role: str | None, expect: Mapping[str, str | None]
    ) -> None:
        refusal = await self._write(lambda connection: roles.set(connection, name, user, role, expect))
        if refusal is not None:
            raise refusal

    async def ping(self) -> None:
        # A full disk can still be read.
        query = "INSERT INTO settings VALUES ('written', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
        await self._change(query, str(self._clock.time()))

    async def setting(self, key: str, default: Callable[[], str]) -> str:
        stored = await self._value("SELECT value FROM settings WHERE key = ?", key)
        if stored is not None:
            return stored
        value = default()

        def work(connection: sqlite3.Connection) -> str:
            # Somebody may have been quicker since; then theirs holds.
            connection.execute("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO NOTHING", (key, value))
            return str(connection.execute("SELECT value FROM settings WHERE key = ?", (key,)).fetchone()[0])

        return await self._write(work)

    # Users ---------------------------------------------------------------------------------------------------

    async def user(self, user: str) -> UserRecord | None:
        return await self._one(f"{_USER} WHERE id = ?", (user,), _user)

    async def put_user(self, record: UserRecord) -> None:
        created_at = record.created_at or self._clock.time()
        row = (record.id, record.name, record.guest, created_at, msgspec.json.encode(record.attributes))
        query = (
            "INSERT INTO users (id, name, guest, created_at, attributes) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET name = excluded.name, guest = excluded.guest, attributes = excluded.attributes"
        )
        await self._change(query, *row)

    async def users(self, after: str = "", limit: int = 100) -> list[UserRecord]:
        query, values = f"{_USER} WHERE id > ? ORDER BY id LIMIT ?", (after, max(limit, 0))
        return await self._read(lambda connection: [_user(row) for row in connection.execute(query, values)])

    # Rooms ---------------------------------------------------------------------------------------------------

    async def room(self, name: str) -> RoomRecord | None:
        query = "SELECT name, owner, default_role, password, created_at FROM rooms WHERE name = ?"
        return await self._one(query, (name,), lambda row: RoomRecord(*as_written(row, "ttTTr", "a room")))

    async def create_room(self, record: RoomRecord) -> bool:
        created_at = record.created_at or self._clock.time()

        def work(connection: sqlite3.Connection) -> bool:
            created = connection.execute(
                "INSERT INTO rooms (name, owner, default_role, password, created_at) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (record.name, record.owner, record.default_role, record.password, created_at),
            ).rowcount
            if created:
                connection.execute("INSERT INTO room_members VALUES (?, ?, 'owner')", (record.name, record.owner))
            return bool(created)

        return await self._write(work)

    async def room_role(self, room: str, user: str) -> str | None:
        return await self._value("SELECT role FROM room_members WHERE room = ? AND user = ?", room, user)

    async def set_room_role(
        self, room: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        await self._change_role(ROOMS, room, user, role, expect)

    async def room_members(self, room: str) -> dict[str, str]:
        query = "SELECT user, role FROM room_members WHERE room = ?"
        return await self._read(lambda connection: _roles(connection.execute(query, (room,))))

    # Documents -----------------------------------------------------------------------------------------------

    async def document(self, document: str) -> DocumentRecord | None:
        return await self._one(_DOCUMENT, (document,), _record)

    async def create_document(self, record: DocumentRecord, snapshot: DocumentSnapshot | None = None) -> bool:
        created_at = record.created_at or self._clock.time()
        revision = snapshot.revision if snapshot is not None else 0

        def work(connection: sqlite3.Connection) -> bool:
            cursor = connection.execute(
                "INSERT INTO documents"
                " (id, generation, owner, default_role, created_at, revision, horizon, compacted, type)"
                " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?7) ON CONFLICT DO NOTHING",
                (record.id, record.generation, record.owner, record.default_role, created_at, revision, record.type),
            )
            if not cursor.rowcount:
                return False
            key = cursor.lastrowid
            connection.execute("INSERT INTO document_roles VALUES (?, ?, 'owner')", (key, record.owner))
            if snapshot is not None:
                for table in ("snapshots", "checkpoints"):
                    connection.execute(
                        f"INSERT INTO {table} (document, revision, body) VALUES (?, ?, ?)",
                        (key, snapshot.revision, snapshot.body),
                    )
            return True

        return await self._write(work)

    async def documents(self, after: str = "", limit: int = 100) -> list[str]:
        query, values = "SELECT id FROM documents WHERE id > ? ORDER BY id LIMIT ?", (after, max(limit, 0))
        return await self._read(
            lambda connection: [as_written(row, "t", "a document")[0] for row in connection.execute(query, values)]
        )

    async def document_state(self, document: str) -> DocumentState | None:
        def work(connection: sqlite3.Connection) -> DocumentState | None:
            row = connection.execute(_DOCUMENT, (document,)).fetchone()
            if row is None:
                return None
            state = connection.execute(
                "SELECT documents.revision, coalesce(snapshots.revision, 0), horizon, compacted"
                " FROM documents LEFT JOIN snapshots ON document = key WHERE key = ?",
                (row[0],),
            ).fetchone()
            return DocumentState(_record(row), *as_written(state, "nnnn", "a document"))

        return await self._read(work)

    async def load_document(self, document: str, revision: int | None = None) -> StoredDocument | None:
        def work(connection: sqlite3.Connection) -> StoredDocument | None:
            row = connection.execute(_DOCUMENT, (document,)).fetchone()
            if row is None:
                return None
            key = row[0]
            state = connection.execute("SELECT revision, horizon FROM documents WHERE key = ?", (key,)).fetchone()
            as_written(state, "nn", "a document")
            until = state[0] if revision is None else revision
            query = "SELECT revision, body FROM snapshots WHERE document = :key AND revision <= :until"
            if revision is not None:
                query += (
                    " UNION ALL SELECT revision, body FROM checkpoints WHERE document = :key AND revision <= :until"
                )
                query += " ORDER BY revision DESC LIMIT 1"
            stored = connection.execute(query, {"key": key, "until": until}).fetchone()
            snapshot = None if stored is None else DocumentSnapshot(*as_written(stored, "nb", "a snapshot"))
            turns = _turns(connection, key, snapshot.revision if snapshot is not None else 0, until)
            return StoredDocument(_record(row), snapshot, turns, *state)

        return await self._read(work)

    async def turns(self, document: str, since: int, until: int) -> list[Turn]:
        def work(connection: sqlite3.Connection) -> list[Turn]:
            row = connection.execute(_DOCUMENT, (document,)).fetchone()
            return [] if row is None or since >= until else _turns(connection, row[0], since, until)

        return await self._read(work)

    def append(self, document: str, generation: str, turn: Turn, done: Done[int]) -> None:
        if turn.count < 1:
            raise ValueError("a turn holds at least one operation")
        if not self._open:
            done(None, NotWritten(f"{self._database.path}: closed"))
            return
        created_at = turn.created_at or self._clock.time()
        self._database.submit(self._append, (document, generation, turn, created_at), done)

    def _append(
        self, connection: sqlite3.Connection, appends: Sequence[tuple[str, str, Turn, float]]
    ) -> list[int | Exception]:
        outcomes: list[int | Exception] = []
        for document, generation, turn, created_at in appends:
            # The fence. What does not match changes nothing, so a conflict needs no rollback.
            row = connection.execute(
                "UPDATE documents SET revision = ? WHERE id = ? AND generation = ? AND revision = ? RETURNING key",
                (turn.base + turn.count, document, generation, turn.base),
            ).fetchone()
            if row is None:
                outcomes.append(
                    Conflict(f"document {document!r} is not at revision {turn.base} of generation {generation!r}")
                )
                continue
            connection.execute(
                "INSERT INTO turns VALUES (?, ?, ?, ?, ?)", (row[0], turn.base, turn.count, turn.body, created_at)
            )
            outcomes.append(turn.base + turn.count)
        return outcomes

    async def save_snapshot(self, document: str, generation: str, snapshot: DocumentSnapshot) -> None:
        query = (
            "INSERT INTO snapshots (document, revision, body) SELECT key, ?, ? FROM documents"
            " WHERE id = ? AND generation = ? AND revision >= ?"
            " ON CONFLICT DO UPDATE SET revision = excluded.revision, body = excluded.body"
            " WHERE excluded.revision > snapshots.revision"
        )
        await self._change(query, snapshot.revision, snapshot.body, document, generation, snapshot.revision)

    async def replace_turns(self, document: str, generation: str, block: Turn) -> bool:
        end = block.base + block.count

        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT key FROM documents JOIN snapshots ON document = key"
                " WHERE id = ? AND generation = ? AND snapshots.revision >= ?",
                (document, generation, end),
            ).fetchone()
            if row is None:
                return False
            between = (row[0], block.base, end)
            # Turns follow one another without gaps, so the first one and their sum tell the rest.
            found = connection.execute(
                "SELECT min(base), sum(count) FROM turns WHERE document = ? AND base >= ? AND base < ?", between
            ).fetchone()
            if found != (block.base, block.count):
                return False
            connection.execute("DELETE FROM turns WHERE document = ? AND base >= ? AND base < ?", between)
            connection.execute(
                "INSERT INTO turns VALUES (?, ?, ?, ?, ?)",
                (row[0], block.base, block.count, block.body, block.created_at),
            )
            connection.execute("UPDATE documents SET compacted = max(compacted, ?) WHERE key = ?", (end, row[0]))
            return True

        return await self._write(work)

    async def checkpoints(self, document: str) -> list[int]:
        query = f"SELECT revision FROM checkpoints WHERE document = {_KEY} ORDER BY revision"
        return await self._read(
            lambda connection: [
                as_written(row, "n", "a checkpoint")[0] for row in connection.execute(query, (document,))
            ]
        )

    async def save_checkpoint(self, document: str, generation: str, checkpoint: DocumentSnapshot) -> bool:
        def work(connection: sqlite3.Connection) -> bool:
            row = connection.execute(
                "SELECT key FROM documents WHERE id = ? AND generation = ? AND revision >= ?",
                (document, generation, checkpoint.revision),
            ).fetchone()
            if row is None:
                return False
            connection.execute(
                "INSERT INTO checkpoints VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (row[0], checkpoint.revision, checkpoint.body),
            )
            return True

        return await self._write(work)

    async def drop_checkpoints(self, document: str, generation: str, revisions: Sequence[int]) -> None:
        query = (
            "DELETE FROM checkpoints WHERE revision = ? AND document ="
            " (SELECT key FROM documents WHERE id = ? AND generation = ? AND horizon <> checkpoints.revision)"
        )
        rows = [(revision, document, generation) for revision in revisions]
        await self._write(lambda connection: connection.executemany(query, rows))

    async def prune(self, document: str, generation: str, horizon: int) -> int:
        def work(connection: sqlite3.Connection) -> int:
            # Everything that the contract asks for; what does not match changes nothing.
            row = connection.execute(
                "SELECT key, horizon FROM documents WHERE id = :id AND generation = :generation AND horizon < :horizon"
                " AND (revision = :horizon OR EXISTS"
                " (SELECT 1 FROM turns WHERE document = key AND base = :horizon))"
                " AND EXISTS (SELECT 1 FROM checkpoints WHERE document = key AND revision = :horizon)"
                " AND EXISTS (SELECT 1 FROM snapshots WHERE document = key AND revision >= :horizon)",
                {"id": document, "generation": generation, "horizon": horizon},
            ).fetchone()
            if row is None:
                return 0
            key, before = row
            connection.execute("DELETE FROM turns WHERE document = ? AND base < ?", (key, horizon))
            connection.execute(
                "UPDATE documents SET horizon = ?, compacted = max(compacted, ?) WHERE key = ?",
                (horizon, horizon, key),
            )
            return int(horizon - before)

        return await self._write(work)

    async def document_role(self, document: str, user: str) -> str | None:
        return await self._value(
            f"SELECT role FROM document_roles WHERE document = {_KEY} AND user = ?", document, user
        )

    async def set_document_role(
        self, document: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        await self._change_role(DOCUMENTS, document, user, role, expect)

    async def document_roles(self, document: str) -> dict[str, str]:
        query = f"SELECT user, role FROM document_roles WHERE document = {_KEY}"
        return await self._read(lambda connection: _roles(connection.execute(query, (document,))))

    async def delete_document(self, document: str) -> bool:
        return bool(await self._change("DELETE FROM documents WHERE id = ?", document))
