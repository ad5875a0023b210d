"""A write-ahead log that is left beside a file from what was there before: SQLite would write it over the file, page by page.

A log belongs to a file when it goes on where that ends: each transaction of a node counts in the table ``place``, so the first count in the
log is at most one more than the file's own, and the last one not less. A file that says of itself that it has no log, as VACUUM INTO
makes it, has none that is left either. Whatever cannot be read proves nothing, and the log stays: what is taken away by mistake is
lost. (A copy by pages that is newer than the beginning of the log becomes with it again what was last served.)

Nothing of the database may be open in this process meanwhile: closing a file gives up the locks that SQLite has on it.
"""

from __future__ import annotations

import logging
import mmap
import secrets
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Final

from ...seams import Unavailable
from .file import beside

log = logging.getLogger("syncline.sqlite")

#: Of a log: magic, version, page size, checkpoints; salts; checksums. Of each frame: page, size of the file; salts; checksums
#: (sqlite.org/fileformat2.html, sections 4.1 and 4.2).
_LOG_HEAD: Final = struct.Struct(">4I8s8s")
_FRAME_HEAD: Final = struct.Struct(">2I8s8s")
#: Bytes of an integer in a record, by its serial type (section 2.1).
_INTEGER_BYTES: Final = {8: 0, 9: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def guard_log(path: Path, served: bytes) -> None:
    """Before a file is opened that nobody serves: a log that is not its own is taken out of SQLite's sight, and kept. ``served``: the
    id of the database that was last served there.

    Raises Unavailable for a log without its file, OSError.
    """
    left = beside(path, "-wal")
    if not _size(left):
        return
    if not _size(path):
        raise Unavailable(f"{left} is there without its database: put that back, or move the log away")
    if _is_strange(path, left, served):
        kept = left.with_name(f"{left.name}.{secrets.token_hex(4)}")
        left.rename(kept)
        beside(path, "-shm").unlink(missing_ok=True)
        log.warning("%s was replaced; the write-ahead log of what was there before is kept as %s", path, kept)


def _is_strange(path: Path, left: Path, served: bytes) -> bool:
    with open(path, "rb") as file:
        head = file.read(20)
    if head.startswith(b"SQLite format 3") and head[18:20] == b"\1\1":  # section 1.3.3
        return True
    try:
        row = own_row(path)
    except sqlite3.Error:
        return False
    if row is not None and (counts := _counts(left, row[0])) is not None:
        first, last = counts
        return first > row[1] + 1 or last < row[1]
    # The log knows nothing of this file. Is it that of the database which was served here, and had counted before the log began?
    counts = None if row is not None and row[0] == served else _counts(left, served)
    return counts is not None and (row is not None or counts[0] > 1)


def own_row(path: Path) -> tuple[bytes, int] | None:
    """What a file says of itself without its log: id and count. Raises sqlite3.Error when it cannot be read."""
    uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"  # takes no lock, and gives up none
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'place'").fetchone() is None:
            return None
        row = connection.execute("SELECT id, commits FROM place").fetchone()
    return row if row is not None and isinstance(row[0], bytes) and isinstance(row[1], int) else None


def _counts(left: Path, id: bytes) -> tuple[int, int] | None:
    """The first and the highest count that a log has of the database ``id``; None when it does not know it. O(log)."""
    first = newest = None
    with open(left, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if len(content) < _LOG_HEAD.size:
            return None
        _, _, size, _, salts, _ = _LOG_HEAD.unpack_from(content)
        at, step = _LOG_HEAD.size, _FRAME_HEAD.size + size
        while at + step <= len(content) and _FRAME_HEAD.unpack_from(content, at)[2] == salts:
            count = _count_in(content[at + _FRAME_HEAD.size : at + step], id)
            if count is not None:
                first = count if first is None else first
                newest = max(newest or 0, count)
            at += step
    return None if first is None or newest is None else (first, newest)


def _count_in(page: bytes, id: bytes) -> int | None:
    """The count in the row of ``place``, if the page has it."""
    at = page.find(id)
    while at >= 0:
        for header in (5, 6):  # of the record: its size, then the types of one, id, commits and marks
            if at >= header and page[at - header] == header and page[at - header + 2] == 12 + 2 * len(id):
                kind, start = page[at - header + 3], at + len(id)
                size = _INTEGER_BYTES.get(kind, 0)
                return int.from_bytes(page[start : start + size], "big", signed=True) if size else int(kind == 9)
        at = page.find(id, at + 1)
    return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
