"""A write-ahead log that was left, as it lies there: whose it is, how much of it SQLite will take in, and what is damaged.

SQLite takes in what its checksums hold for, up to the last commit, and throws the rest away without a word; the last connection that closes
removes the log. So whoever opens the file has to look before. Formats: sqlite.org/fileformat2.html, sections 2.1, 4.1 and 4.2.
"""

from __future__ import annotations

import mmap
import struct
import sys
from pathlib import Path
from typing import Final, NamedTuple

#: Of a log: magic, version, page size, checkpoints; salts; checksums. Of each frame: page, pages of the file after a commit or 0; salts;
#: checksums.
_LOG_HEAD: Final = struct.Struct(">4I8s2I")
_FRAME_HEAD: Final = struct.Struct(">2I8s2I")
#: The last bit says whether checksums are of big-endian words.
_MAGIC: Final = 0x377F0682
#: Bytes of an integer in a record, by its serial type (section 2.1).
_INTEGER_BYTES: Final = {8: 0, 9: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


class Left(NamedTuple):
    """What SQLite will take in: ``pages`` of ``transactions``. ``damaged``: more was committed in it than that.
    ``newest``: the highest count of the database (place.py) in what it will take in; None: it has none."""

    transactions: int
    pages: int
    damaged: bool
    newest: int | None


def read(log: Path, id: bytes) -> Left:
    """The log from its beginning. O(log), some 60 ms a megabyte. Raises OSError."""
    with open(log, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if len(content) < _LOG_HEAD.size:
            return Left(0, 0, False, None)
        magic, _, size, _, salts, *sums = _LOG_HEAD.unpack_from(content)
        big = bool(magic & 1)
        if magic & ~1 != _MAGIC or _checksum(content[: _LOG_HEAD.size - 8], (0, 0), big) != tuple(sums):
            return Left(0, 0, len(content) > _LOG_HEAD.size, None)
        at, step = _LOG_HEAD.size, _FRAME_HEAD.size + size
        running = (sums[0], sums[1])
        transactions = pages = seen = 0
        newest: int | None = None
        pending: int | None = None  # of the transaction that is being read
        while at + step <= len(content):
            _, commit, found, *sums = _FRAME_HEAD.unpack_from(content, at)
            if found != salts:
                break  # of the log's last round, which this one has not come to yet
            page = content[at + _FRAME_HEAD.size : at + step]
            running = _checksum(page, _checksum(content[at : at + 8], running, big), big)
            if running != tuple(sums):
                return Left(transactions, pages, _commits(content, at, step, salts), newest)
            seen += 1
            if (count := count_in(page, id)) is not None:
                pending = max(pending or 0, count)
            if commit:
                transactions, pages = transactions + 1, seen
                newest = pending if newest is None else max(newest, pending or 0)
            at += step
        return Left(transactions, pages, False, newest)


def counts(log: Path, id: bytes) -> tuple[int, int] | None:
    """The first and the highest count that a log has of the database ``id``, whatever its checksums say; None when it does not know it.
    O(log). Raises OSError."""
    first = newest = None
    with open(log, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if len(content) < _LOG_HEAD.size:
            return None
        _, _, size, _, salts, *_ = _LOG_HEAD.unpack_from(content)
        at, step = _LOG_HEAD.size, _FRAME_HEAD.size + size
        while at + step <= len(content) and _FRAME_HEAD.unpack_from(content, at)[2] == salts:
            count = count_in(content[at + _FRAME_HEAD.size : at + step], id)
            if count is not None:
                first = count if first is None else first
                newest = max(newest or 0, count)
            at += step
    return None if first is None or newest is None else (first, newest)


def count_in(page: bytes, id: bytes) -> int | None:
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


def _commits(content: mmap.mmap, at: int, step: int, salts: bytes) -> bool:
    """Whether a transaction ends in what cannot be taken in: without that it is one that was being written."""
    while at + step <= len(content):
        _, commit, found, *_ = _FRAME_HEAD.unpack_from(content, at)
        if commit and found == salts:
            return True
        at += step
    return False


def _checksum(data: bytes, sums: tuple[int, int], big: bool) -> tuple[int, int]:
    words = memoryview(data).cast("I")
    if big == (sys.byteorder == "little"):
        words = memoryview(struct.pack(f"<{len(words)}I", *struct.unpack(f">{len(words)}I", data))).cast("I")
    first, second = sums
    pairs = iter(words)
    for one, other in zip(pairs, pairs, strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second
