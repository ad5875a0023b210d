"""The schema, as the list of its versions. Entries are only added, never changed: files out there have passed them."""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import Final

from ....core.rooms.idempotency import idempotency_digest
from .trouble import NotOurs, as_written

log = logging.getLogger("syncline.sqlite")

#: MIGRATIONS[n] leads from schema n to n + 1; its statements run in one transaction.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE users (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL,
            guest INTEGER NOT NULL,
            created_at REAL NOT NULL,
            attributes BLOB NOT NULL  -- JSON object
        ) WITHOUT ROWID""",
        """CREATE TABLE rooms (
            name TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            default_role TEXT,
            password TEXT,  -- argon2id hash
            created_at REAL NOT NULL
        ) WITHOUT ROWID""",
        """CREATE TABLE room_members (
            room TEXT NOT NULL REFERENCES rooms ON DELETE CASCADE,
            user TEXT NOT NULL,
            role TEXT NOT NULL,
            PRIMARY KEY (room, user)
        ) WITHOUT ROWID""",
        # ``revision`` is the fence: a turn is appended by moving it on from exactly the turn's base.
        """CREATE TABLE documents (
            key INTEGER PRIMARY KEY,
            id TEXT NOT NULL UNIQUE,
            generation TEXT NOT NULL,
            owner TEXT NOT NULL,
            default_role TEXT,
            created_at REAL NOT NULL,
            revision INTEGER NOT NULL
        )""",
        """CREATE TABLE document_roles (
            document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
            user TEXT NOT NULL,
            role TEXT NOT NULL,
            PRIMARY KEY (document, user)
        ) WITHOUT ROWID""",
        """CREATE TABLE snapshots (
            document INTEGER PRIMARY KEY REFERENCES documents ON DELETE CASCADE,
            revision INTEGER NOT NULL,
            body BLOB NOT NULL
        )""",
        """CREATE TABLE turns (
            document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
            base INTEGER NOT NULL,
            count INTEGER NOT NULL CHECK (count > 0),
            body BLOB NOT NULL,
            created_at REAL NOT NULL,
            PRIMARY KEY (document, base)
        ) WITHOUT ROWID""",
        # Publications floor + 1 ... offset are stored, ``bytes`` of them together.
        """CREATE TABLE histories (
            key INTEGER PRIMARY KEY,
            room TEXT NOT NULL UNIQUE,
            epoch TEXT NOT NULL,
            offset INTEGER NOT NULL DEFAULT 0,
            floor INTEGER NOT NULL DEFAULT 0,
            bytes INTEGER NOT NULL DEFAULT 0
        )""",
        """CREATE TABLE publications (
            history INTEGER NOT NULL REFERENCES histories ON DELETE CASCADE,
            offset INTEGER NOT NULL,
            user TEXT NOT NULL,
            name TEXT NOT NULL,
            time REAL NOT NULL,
            codec TEXT NOT NULL,
            data BLOB NOT NULL,
            size INTEGER NOT NULL,
            PRIMARY KEY (history, offset)
        ) WITHOUT ROWID""",
        # AUTOINCREMENT: a sequence number is not given twice, also when the newest events were trimmed.
        """CREATE TABLE events (
            sequence INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL,
            kind TEXT NOT NULL,
            body BLOB NOT NULL,
            created_at REAL NOT NULL
        )""",
        """CREATE TABLE presence (
            room TEXT NOT NULL,
            connection TEXT NOT NULL,
            user TEXT NOT NULL,
            name TEXT NOT NULL,
            status TEXT NOT NULL,
            last_seen REAL NOT NULL,
            metadata BLOB,
            expires_at REAL NOT NULL,
            PRIMARY KEY (room, connection)
        ) WITHOUT ROWID""",
        "CREATE INDEX presence_expiry ON presence (expires_at)",
        """CREATE TABLE last_seen (
            room TEXT NOT NULL,
            user TEXT NOT NULL,
            time REAL NOT NULL,
            PRIMARY KEY (room, user)
        ) WITHOUT ROWID""",
    ),
    (
        # Turns from revision ``horizon`` on are stored; those up to ``compacted`` are blocks.
        "ALTER TABLE documents ADD COLUMN horizon INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE documents ADD COLUMN compacted INTEGER NOT NULL DEFAULT 0",
        """CREATE TABLE checkpoints (
            document INTEGER NOT NULL REFERENCES documents ON DELETE CASCADE,
            revision INTEGER NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (document, revision)
        )""",
        # The text with which a document was created is lost once another snapshot has taken its place. So the history
        # of documents from before begins with the snapshot that they have.
        "INSERT INTO checkpoints SELECT document, revision, body FROM snapshots",
        """UPDATE documents SET (horizon, compacted) =
            (SELECT revision, revision FROM snapshots WHERE document = key)
            WHERE key IN (SELECT document FROM snapshots)""",
    ),
    ("ALTER TABLE documents ADD COLUMN type TEXT NOT NULL DEFAULT 'text'",),
    (
        "ALTER TABLE publications ADD COLUMN once TEXT",
        "CREATE UNIQUE INDEX publication_once ON publications (history, user, once) WHERE once IS NOT NULL",
    ),
    # Where and how far the file was served: see place.py.
    (
        "CREATE TABLE place (one INTEGER PRIMARY KEY CHECK (one = 1), id BLOB NOT NULL, commits INTEGER NOT NULL, marks TEXT NOT NULL)",
    ),
    # Keys outlive the messages' histories: see idempotency.py.
    (
        """CREATE TABLE idempotency_keys (
            id INTEGER PRIMARY KEY,
            digest BLOB NOT NULL,
            offset INTEGER NOT NULL,
            epoch TEXT NOT NULL,
            time REAL NOT NULL
        )""",
        """INSERT INTO idempotency_keys (digest, offset, epoch, time)
            SELECT idempotency_digest(room, user, once), publications.offset, epoch, time
            FROM publications JOIN histories ON key = history WHERE once IS NOT NULL ORDER BY time""",
        "DROP INDEX publication_once",
        "ALTER TABLE publications DROP COLUMN once",
    ),
)


def require_ours(connection: sqlite3.Connection) -> None:
    """Before anything is changed in the file. Raises NotOurs, sqlite3.Error."""
    tables = _tables(connection)
    if tables and "schema_version" not in tables:
        raise NotOurs("is a database of another program: set store.path to another file")


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the file to the newest schema; each step is a line in the log, and all of a new file are one.

    Raises NotOurs, Damaged, sqlite3.Error.

    Each step looks at the version inside its own transaction, so two processes may start at once.
    """
    connection.create_function("idempotency_digest", 3, idempotency_digest, deterministic=True)
    (_, _, file) = connection.execute("PRAGMA database_list").fetchone()
    new = False
    while True:
        started = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = schema_version(connection)
            if version < len(MIGRATIONS):
                if not _tables(connection):
                    connection.execute(
                        "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, applied_at REAL NOT NULL)"
                    )
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                connection.execute("INSERT INTO schema_version VALUES (?, ?)", (version + 1, time.time()))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        new = new or version == 0
        if version == len(MIGRATIONS):
            if new:
                log.info("%s: created, with schema version %d", file, version)
            return
        if new:
            continue
        seconds = time.perf_counter() - started
        log.info("%s: its schema went from version %d to %d in %.3f s", file, version, version + 1, seconds)


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}


def schema_version(connection: sqlite3.Connection) -> int:
    """That of the file; 0: a new one. Raises NotOurs, also for one that is not known here; Damaged, sqlite3.Error."""
    require_ours(connection)
    if not _tables(connection):
        return 0
    row = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchone()
    version = int(as_written(row, "i", "the version of the schema")[0])
    if version > len(MIGRATIONS):
        raise NotOurs(
            f"schema version {version} was written by a newer Syncline; this one knows versions up to"
            f" {len(MIGRATIONS)}: run that one, or restore a copy from before it (syncline restore FILE)"
        )
    return version
