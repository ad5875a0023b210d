"""A write-ahead log that is left beside a file: one of what was there before SQLite would write over the file, page by page; of a
damaged one it would drop what it cannot read, without a word.

A log belongs to a file when it goes on where that ends: each transaction of a node counts in the table ``place``, so the first count in the
log is at most one more than the file's own, and the last one not less. A file that says of itself that it has no log, as VACUUM INTO
makes it, has none that is left either. Whatever cannot be read proves nothing, and the log stays: what is taken away by mistake is
lost. (A copy by pages that is newer than the beginning of the log becomes with it again what was last served.)

Nothing of the database may be open in this process meanwhile: closing a file gives up the locks that SQLite has on it.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from ...seams.outcome import Unavailable
from . import wal
from .claim import PRIVATE, Claim, beside

log = logging.getLogger("syncline.sqlite")

NOBODY = bytes(16)


class LastServed(NamedTuple):
    """At a place: the database's id, NOBODY when nobody knows, and how many transactions it had."""

    id: bytes
    commits: int


def guard_log(path: Path, served: LastServed, held: Claim, *, lossy: bool) -> None:
    """Before a file is opened that nobody serves, by who holds it: a log that is not its own is taken out of SQLite's sight, and kept.

    ``lossy``: transactions that were acknowledged may be missing, as ``store.synchronous = "normal"`` and `syncline restore` have it.
    Raises Unavailable for a log without its file, a file without its content, and a log that has lost some; OSError.
    """
    left = beside(path, "-wal")
    if not _size(left):
        if path.exists() and not _size(path) and served.id != NOBODY and not lossy:
            raise Unavailable(
                f"{path} is empty, but a database was served there: put a backup in its place (syncline restore FILE), or,"
                " to begin without one, remove it"
            )
        return
    if not _size(path):
        raise Unavailable(f"{left} is there without its database: put that back, or move the log away")
    if _is_strange(path, left, served.id, held):
        kept = left.with_name(f"{left.name}.{secrets.token_hex(4)}")
        left.rename(kept)
        beside(path, "-shm").unlink(missing_ok=True)
        log.warning("%s was replaced; the write-ahead log of what was there before is kept as %s", path, kept)
        return
    found = wal.read(left, served.id)
    if found.damaged:
        _damaged(path, left, served, found, lossy)
    elif found.transactions:
        text = "%s was not closed: %d transactions (%d pages) that are only in its write-ahead log are taken in"
        log.info(text, path, found.transactions, found.pages)


def _damaged(path: Path, left: Path, served: LastServed, found: wal.Left, lossy: bool) -> None:
    """What follows the damage is lost. Was any of it acknowledged?"""
    try:
        row = own_row(path)
    except sqlite3.Error:
        row = None
    if row is None or row[0] != served.id:
        return  # what was served is another one, and that is told
    lost = served.commits - max(row[1], found.newest or 0)
    if lost <= 0:
        return
    if not lossy:
        raise Unavailable(
            f"{left} is damaged: {lost} transactions that were acknowledged cannot be read; put a backup in the place of the"
            " database (syncline restore FILE), or go on without them (syncline restore, without a file)"
        )
    kept = left.with_name(f"{left.name}.{secrets.token_hex(4)}")
    shutil.copyfile(left, kept)
    kept.chmod(PRIVATE)
    log.warning("%s is damaged: %d transactions are lost; it is kept as %s", left, lost, kept)


def _is_strange(path: Path, left: Path, served: bytes, held: Claim) -> bool:
    head = held.head(20)
    if head.startswith(b"SQLite format 3") and head[18:20] == b"\1\1":  # section 1.3.3
        return True
    try:
        row = own_row(path)
    except sqlite3.Error:
        return False
    if row is not None and (counts := wal.counts(left, row[0])) is not None:
        first, last = counts
        return first > row[1] + 1 or last < row[1]
    # The log knows nothing of this file. Is it that of the database which was served here, and had counted before the log began?
    counts = None if row is not None and row[0] == served else wal.counts(left, served)
    return counts is not None and (row is not None or counts[0] > 1)


def own_row(path: Path) -> tuple[bytes, int] | None:
    """What a file says of itself without its log: id and count. Raises sqlite3.Error when it cannot be read."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # takes no lock, and gives up none
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'place'").fetchone() is None:
            return None
        row = connection.execute("SELECT id, commits FROM place").fetchone()
    return row if row is not None and isinstance(row[0], bytes) and isinstance(row[1], int) else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
