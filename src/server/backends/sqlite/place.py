"""Whether a database file is the one that was last served at its place, in the state in which it was left.

Clients remember positions in rooms and revisions of documents. When an older copy of the file, or another file, is put in its place,
those say something else from then on; so epochs and generations are opened anew, and clients take everything again. A restart, a kill
or a power cut of the same file changes nothing.

Two witnesses lie beside the file. ``.place`` is made once and never written again, so copying a folder, even in place, changes its inode
or its time of change (ctime). ``.served`` counts the transactions that were committed. It is written after the fact and left to the
kernel: after a power cut it says less than is so, never more. What the file itself knows of both is in its table ``place``, in a row in
which every transaction of a node counts.

| what was done | what shows it |
| --- | --- |
| an older copy over the file (cp, mv, SQLite's .backup) | fewer transactions than ``.served`` counted |
| another database | its ``id`` |
| the whole folder, into a new place | the inodes of the witnesses |
| the whole folder, over the old one | the ctime of ``.place`` |

A snapshot of the whole machine brings everything back; nothing shows it (docs/operations.md, `syncline restore`). For a write-ahead log
that is left from what was there before: strange_log.py.
"""

from __future__ import annotations

import logging
import os
import secrets
import sqlite3
import struct
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from ...seams.outcome import Unavailable
from .claim import PATIENCE, Claim, beside, private
from .strange_log import NOBODY, LastServed, guard_log, own_row
from .trouble import as_written

log = logging.getLogger("syncline.sqlite")

_MAGIC: Final = b"SYNCLIN1"
#: magic, id, transactions
_ROW: Final = struct.Struct("<8s16sQ")
_RESTART: Final = "restart this node, which opens new epochs if it has to"


class Replaced(Exception):
    """The file is not the one that this node serves."""


class Place:
    """One file that is served, from before it is opened until after it is closed.

    For the writing thread; ``require`` is for readers too. ``path``: without symbolic links.
    """

    def __init__(self, path: Path, *, lossy: bool) -> None:
        """Takes the file for this process, and makes it when there is none. ``lossy``: strange_log.py.

        Raises Unavailable (another process has it; what is left there is no whole database), OSError."""
        self._path = path
        self._log = beside(path, "-wal")
        self._claim = Claim(path, PATIENCE)
        self._served: _Served | None = None
        self._inodes: dict[
            Path, int
        ] = {}  # of the file, its log once there is one, and the witnesses, as they were opened
        self._looked: tuple[int, int, int] | None = (
            None  # inode, size and mtime of the file when it was last looked into,
        )
        self._based = 0  # and what it counted without its log
        self._looking = threading.Lock()  # a look that began before another one would see the file go back
        self._gone = ""  # why nothing can be written any more before a restart
        try:
            self._served = _Served(path)
            guard_log(path, LastServed(self._served.id, self._served.commits), self._claim, lossy=lossy)
            self._claim.make()
            self._inodes[path] = self._claim.inode
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        if self._served is not None:
            self._served.close()
        self._claim.close()

    def take(self, connection: sqlite3.Connection) -> None:
        """Makes this the place where the file is served; opens new epochs when it was another state of it, or another
        file, that was last served here. One transaction. Raises Replaced, sqlite3.Error, OSError."""
        served, marks = self._witness, self._marks()
        connection.execute("BEGIN IMMEDIATE")
        try:
            row = connection.execute("SELECT id, commits, marks FROM place").fetchone()
            if row is not None:
                as_written(row, "bit", "where it was served")
            why = served.differs(row, marks)
            if why:
                text = "%s: %s. New epochs and generations are opened: clients take everything anew"
                log.warning(text, self._path, why)
                renew(connection)
            id, commits = (secrets.token_bytes(16), 0) if row is None else (row[0], row[1])
            connection.execute("REPLACE INTO place VALUES (1, ?, ?, ?)", (id, commits + 1, marks))
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        served.own(id, commits + 1)
        self.require()

    @property
    def _witness(self) -> _Served:
        assert self._served is not None
        return self._served

    def _marks(self) -> str:
        mark = beside(self._path, ".place")
        try:
            descriptor = private(mark, os.O_RDONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            found = mark.stat()
        else:
            os.fsync(descriptor)
            found = os.fstat(descriptor)
            os.close(descriptor)
            sync_folder(mark.parent)
        self._inodes[mark] = found.st_ino
        return f"{self._witness.inode} {found.st_ino} {found.st_ctime_ns}"

    # Around each transaction ---------------------------------------------------------------------------------

    def require(self) -> None:
        """Nothing is told as stored that goes into a file which is not at its path any more. Raises Replaced, OSError."""
        if self._gone:
            raise Replaced(self._gone)
        for path in (self._path, self._log, *(one for one in list(self._inodes) if one not in (self._path, self._log))):
            try:
                inode = path.stat().st_ino
            except FileNotFoundError:
                if path not in self._inodes:  # no log yet
                    continue
                if path == self._log:
                    self._gone = f"{path.name} was removed while it was served; {_RESTART}"
                raise Replaced(
                    f"{path.name} was removed while it was served; put it back, or restart this node"
                ) from None
            if self._inodes.setdefault(path, inode) != inode:
                raise Replaced(f"another {path.name} was put in its place while it was served; {_RESTART}")
        with self._looking:
            if self._looked != (looked := _look(self._path)):
                self._look_into(looked)
            try:
                if self._claim.hold_place():
                    log.warning("%s was removed while it was served, and is made again", beside(self._path, ".lock"))
            except Unavailable as error:
                raise Replaced(str(error)) from error

    def _look_into(self, looked: tuple[int, int, int]) -> None:
        """The file itself was written to, by the folding of its log, or by somebody. Raises Replaced when it has gone back."""
        with suppress(sqlite3.Error):  # it is being written to: again the next time
            id, count = own_row(self._path) or (self._witness.id, 0)
            if id != self._witness.id or count < self._based:
                self._gone = f"another state was written over {self._path.name} while it was served; {_RESTART}"
                raise Replaced(self._gone)
            self._looked, self._based = looked, count

    def disconnected(self) -> None:
        """The writing thread closes its connection; if it was the last one, SQLite folds the log into the file and removes it."""
        self._inodes.pop(self._log, None)

    def count(self, connection: sqlite3.Connection) -> int:
        """Counts the transaction under way; how many there have been with it. Raises Replaced, sqlite3.Error."""
        served = self._witness
        update = "UPDATE place SET commits = commits + 1 WHERE id = ? RETURNING commits"
        row = connection.execute(update, (served.id,)).fetchone()
        if row is None or row[0] <= served.commits:
            self._gone = f"another state was put in its place while it was served; {_RESTART}"
            raise Replaced(self._gone)
        return int(row[0])

    def committed(self, commits: int) -> None:
        """After COMMIT. Raises Replaced, OSError."""
        self.require()
        self._witness.committed(commits)


class _Served:
    """The file beside the database that counts. One writer: the process that holds the claim."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it. Raises OSError."""
        self._file = private(beside(path, ".served"), os.O_RDWR | os.O_CREAT)
        self.inode = os.fstat(self._file).st_ino
        self.id, self.commits = NOBODY, 0
        found = os.pread(self._file, _ROW.size, 0)
        if len(found) == _ROW.size and found.startswith(_MAGIC):  # else it is new, or was cut off while it was made
            _, self.id, self.commits = _ROW.unpack(found)

    def close(self) -> None:
        os.close(self._file)

    def committed(self, commits: int) -> None:
        """With the file's own count."""
        self.commits = commits
        with suppress(OSError):  # a full disk: then it says less than is so
            os.pwrite(self._file, _ROW.pack(_MAGIC, self.id, commits), 0)

    def own(self, id: bytes, commits: int) -> None:
        """From now on it speaks of the database ``id``."""
        self.id = id
        self.committed(commits)
        with suppress(OSError):
            os.fsync(self._file)

    def differs(self, row: tuple[bytes, int, str] | None, marks: str) -> str:
        """Why a file that says ``row`` of itself is not the one that was last served here; "" when it is."""
        if row is None:
            return "" if self.id == NOBODY else "it was never served, and another one was served here"
        id, commits, known = row
        if self.id not in (NOBODY, id):
            return "another database was last served here"
        if commits < self.commits:
            missing = f"{self.commits - commits} transactions that were committed here are missing"
            return f"it is an older copy, or its log lost its end: {missing}"
        if known == marks:
            return ""
        if known.split()[:2] == marks.split()[:2]:
            return "the .place beside it was changed: copied with its folder, or given another owner or mode"
        return "it was last served elsewhere, or was copied with its folder"


def last_served(path: Path) -> LastServed:
    """What was last served there. Raises OSError."""
    with suppress(FileNotFoundError):
        found = beside(path, ".served").read_bytes()
        if len(found) >= _ROW.size and found.startswith(_MAGIC):
            return LastServed(*_ROW.unpack_from(found)[1:])
    return LastServed(NOBODY, 0)


def renew(connection: sqlite3.Connection) -> None:
    """New epochs of all rooms and new generations of all documents, inside the caller's transaction."""
    connection.create_function("fresh", 0, lambda: secrets.token_hex(8))
    connection.execute("UPDATE histories SET epoch = fresh()")
    connection.execute("UPDATE documents SET generation = fresh()")


def _look(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
