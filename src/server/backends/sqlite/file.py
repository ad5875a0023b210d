"""The SQLite file: how it is opened, why it cannot be, and which process serves it."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

from ...seams import Unavailable
from .migrations import NotOurs

#: UPDATE ... RETURNING and upserts; also what Python 3.11's oldest common platforms carry.
OLDEST_SQLITE: Final = (3, 35, 0)

#: A write-ahead log that once grew is cut back to this many bytes at the next checkpoint.
WAL_BYTES: Final = 67_108_864


#: What is made is for the service's user alone: the signing secret and the hashes of passwords are in it.
PRIVATE: Final = 0o600


def beside(path: Path, suffix: str) -> Path:
    """A file of the same name and a suffix, such as SQLite's ``-wal``."""
    return path.with_name(path.name + suffix)


def wider(path: Path) -> int:
    """The permissions of a file when others have some of them; else 0. Raises OSError."""
    mode = path.stat().st_mode & 0o777
    return mode if mode & ~PRIVATE else 0


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def connect(path: Path, mode: str, *, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """``mode``: rw, or rwc to create the file; ``busy_timeout`` in seconds. Raises NotOurs, sqlite3.Error."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise NotOurs(f"needs SQLite 3.35 or newer, this is {sqlite3.sqlite_version}")
    if mode == "rwc":
        with suppress(OSError), open(path, "xb", opener=_open_private):
            pass  # SQLite gives its mode to what it makes beside it, and says better why it cannot be made
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_timeout,
        isolation_level=None,  # transactions are begun and ended by us alone
        check_same_thread=False,  # handed from thread to thread, never used by two at one time
        cached_statements=256,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA trusted_schema = OFF")
        (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        if journal != "wal":
            raise NotOurs(f"the file system does not take a write-ahead log (journal mode {journal})")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
    except BaseException:
        connection.close()
        raise
    return connection


def failure(path: Path, error: Exception, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """The error as the seams know it, with what an operator can see from outside."""
    hint = ""
    if isinstance(error, sqlite3.OperationalError):
        folder = path.absolute().parent
        try:
            if not folder.is_dir():
                hint = f" (there is no directory {folder})"
            elif not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
                hint = " (the file or its directory is not writable)"
        except OSError as reason:  # a folder above may not be entered
            hint = f" ({reason.strerror}: {reason.filename})"
    unavailable = kind(f"{path}: {error}{hint}")
    unavailable.__cause__ = error
    return unavailable


def claim(path: Path) -> IO[bytes]:
    """Takes the file for this process until what is returned is closed; the kernel gives it up with the process.

    Raises Unavailable when another process has it. The lock is a file beside it, which stays: removing it would race.
    """
    lock = beside(path, ".lock")
    try:
        held = open(lock, "ab", opener=_open_private)  # noqa: SIM115 - the caller closes it
    except OSError as error:
        raise Unavailable(f"{lock}: {error.strerror or error}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(held)
        held.close()
        raise Unavailable(f"{path}: served by another process already (pid {holder})") from error
    return held


def _holder(held: IO[bytes]) -> str:
    """The process that has the lock, where the kernel says so."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        for line in locks:  # 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131086 0 EOF
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(os.fstat(held.fileno()).st_ino):
                return words[4]
    return "unknown"
