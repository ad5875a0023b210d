"""The SQLite file: how it is opened."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from .claim import PRIVATE, Key, beside, counted, private, uncounted
from .migrations import require_ours, schema_version
from .trouble import Damaged, NotOurs, failure

log = logging.getLogger("syncline.sqlite")

#: UPDATE ... RETURNING and upserts; also what Python 3.11's oldest common platforms carry.
OLDEST_SQLITE: Final = (3, 35, 0)

#: A write-ahead log that once grew is cut back to this many bytes at the next checkpoint.
WAL_BYTES: Final = 67_108_864


def warn_of(path: Path) -> None:
    """What others may do with the file. Raises OSError."""
    found = path.stat()
    mode = found.st_mode & 0o777
    if mode & ~PRIVATE:
        log.warning("%s can be read by others (mode %04o) and holds secrets: chmod 600 it", path, mode)
    if found.st_nlink > 1:
        text = "%s has %d names (hard links): SQLite keeps its log beside this one; never open it by another, which is no copy either"
        log.warning(text, path, found.st_nlink)


class _Connection(sqlite3.Connection):
    """Of this process, and counted as one (claim.py) until it is closed."""

    counted: Key | None = None

    def close(self) -> None:
        super().close()
        key, self.counted = self.counted, None
        uncounted(key)


def real(path: Path) -> Path:
    """Without symbolic links: SQLite keeps its log beside the file, not beside a link to it."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # links in a circle: opening it says so
        return path.absolute()


def require_known(path: Path) -> None:
    """That this version can serve the file, if there is one. Changes nothing; also beside a process that serves it. Raises Unavailable."""
    path = real(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotOurs("it is no file: set store.path to one")
        # Without a log nobody has it open: then SQLite need not make one in order to read.
        mode = "ro" if beside(path, "-wal").exists() else "ro&immutable=1"
        with closing(connect(path, mode, synchronous="full", busy_timeout=5.0)) as connection:
            schema_version(connection)
    except FileNotFoundError:
        pass  # it will be made
    except (NotOurs, Damaged, OSError, sqlite3.Error) as error:
        raise failure(path, error) from error


def connect(path: Path, mode: str, *, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """``mode``: of SQLite's URIs: rw, rwc to create the file, or ro, to which more may be added; ``busy_timeout`` in seconds.
    Raises NotOurs, sqlite3.Error."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise NotOurs(f"needs SQLite 3.35 or newer, this is {sqlite3.sqlite_version}")
    if mode == "rwc":
        with suppress(
            OSError
        ):  # SQLite gives its mode to what it makes beside it, and says better why it cannot be made
            os.close(private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    key = counted(path)
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=busy_timeout,
            isolation_level=None,  # transactions are begun and ended by us alone
            check_same_thread=False,  # handed from thread to thread, never used by two at one time
            cached_statements=256,
            factory=_Connection,
        )
    except BaseException:
        uncounted(key)
        raise
    connection.counted = key
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        require_ours(connection)
        if mode.startswith("ro"):
            return connection
        (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise NotOurs(f"the file system does not take a write-ahead log (journal mode {journal})")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection
