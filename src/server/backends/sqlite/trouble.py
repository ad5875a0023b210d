"""What is wrong with a database, and what to do: one line for whoever operates it.

All errors of SQLite, of the system and of rows that nobody can have written come through ``failure``. Tracebacks are told at debug.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from ....core.wire.envelopes import SUBPROTOCOLS
from ...seams.outcome import Unavailable

log = logging.getLogger("syncline.sqlite")

#: Characters of what SQLite says: of a damaged schema it quotes all.
_WORDS: Final = 200
_BACKUP: Final = "keep the file and put a backup in its place (syncline restore FILE)"
_DAMAGED: Final = f"the database is damaged: {_BACKUP}"


class NotOurs(Exception):
    """The file cannot be used by this program; the text says why, and what to do."""


class Damaged(Exception):
    """A value is not what was written: the text says which."""


def failure(path: Path, error: Exception, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """The error as the seams know it: in one line the file, what is wrong, what to do."""
    if isinstance(error, kind):
        return error
    words = one_line(error) if isinstance(error, Unavailable) else f"{path}: {_explained(path, error)}"
    unavailable = kind(words)
    unavailable.__cause__ = error
    log.debug("%s", unavailable, exc_info=error)
    return unavailable


def _explained(path: Path, error: Exception) -> str:
    words = one_line(error)
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)  # not of what Python itself finds
        advice = _BY_CODE[0] if code is None else _BY_CODE.get(code & 0xFF)
        return words if advice is None else f"{words}: {advice if isinstance(advice, str) else advice(path)}"
    if isinstance(error, OSError):
        named = f"{error.filename}: " if error.filename not in (None, path, str(path)) else ""
        return f"{named}{error.strerror or words}: {_BY_ERRNO.get(error.errno or 0, _check)(path)}"
    if isinstance(error, NotOurs):
        return words
    if isinstance(error, (Damaged, UnicodeDecodeError)):  # the latter: of what SQLite quotes
        return f"{words}: {_DAMAGED}"
    if type(error).__module__.startswith("syncline."):
        return words
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    at = "" if where is None else f", {os.path.basename(where.tb_frame.f_code.co_filename)}:{where.tb_lineno}"
    return (
        f"what is stored in it cannot be read ({type(error).__name__}: {words}{at}): either the database is damaged, then {_BACKUP},"
        " or this is a fault of Syncline"
    )


def one_line(error: object) -> str:
    words = " ".join(str(error).split())
    return words if len(words) <= _WORDS or isinstance(error, Unavailable) else words[:_WORDS] + "..."


# -- what to do --------------------------------------------------------------------------------------------------------


def _check(path: Path) -> str:
    return "look at the disk and at the system's log"


def _room(path: Path) -> str:
    return f"make room on the file system of {path.absolute().parent}"


def _writable(path: Path) -> str:
    """Also for what cannot be opened: what an operator can see from outside."""
    folder = path.absolute().parent
    try:
        if not folder.is_dir():
            return f"there is no directory {folder}: make it, or set store.path"
        if path.is_dir():
            return "it is a directory: set store.path to a file"
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return f"the file system of {folder} is mounted read-only and not writable: set store.path elsewhere, or mount it anew"
        if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.R_OK | os.W_OK)):
            return f"the file or its directory is not writable: chown {path} and {folder} to the user that runs this"
    except OSError as reason:  # a folder above may not be entered
        return f"the user that runs this may not enter {reason.filename}"
    return _check(path)


def _disk(path: Path) -> str:
    """An error of reading or writing; a full disk may be told as one."""
    try:
        found = os.statvfs(path.absolute().parent)
        if found.f_bavail * found.f_frsize < 65_536:
            return _room(path)
    except OSError:
        pass
    return _check(path)


_Advice = str | Callable[[Path], str]

#: By SQLite's primary result codes (sqlite.org/rescode.html).
_BY_CODE: Final[dict[int, _Advice]] = {
    0: _DAMAGED,  # Python: text that is no text
    sqlite3.SQLITE_ERROR: f"it is not what this version has made, or damaged: {_BACKUP}",  # no such table, a wrong schema
    sqlite3.SQLITE_PERM: _writable,
    sqlite3.SQLITE_BUSY: "another program writes to it: end that",
    sqlite3.SQLITE_LOCKED: "another program writes to it: end that",
    sqlite3.SQLITE_READONLY: _writable,
    sqlite3.SQLITE_IOERR: _disk,
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_FULL: _room,
    sqlite3.SQLITE_CANTOPEN: _writable,
    sqlite3.SQLITE_NOTADB: f"set store.path to another one, or, if it was one, {_BACKUP}",
}
_BY_ERRNO: Final[dict[int, Callable[[Path], str]]] = {
    errno.ENOSPC: _room,
    errno.EDQUOT: _room,
    errno.EACCES: _writable,
    errno.EPERM: _writable,
    errno.EROFS: _writable,
    errno.ENOENT: _writable,
    errno.ENOTDIR: _writable,
    errno.EISDIR: lambda path: "a file of ours must be there: move the directory away",
}


# -- rows --------------------------------------------------------------------------------------------------------------

_CODECS: Final = frozenset(SUBPROTOCOLS.values())
_KINDS: Final[dict[str, type | tuple[type, ...]]] = {
    "t": str,
    "T": (str, type(None)),
    "i": int,
    "n": int,
    "r": (float, int),
    "c": str,
    "b": bytes,
    "B": (bytes, type(None)),
}


def as_written(row: Any, kinds: str, what: str) -> Any:
    """The row, when its values are of these kinds: t text, c a codec, i integer, n one that is not negative, r number, b bytes; T and B: or
    NULL. SQLite stores any value in any column, and pages that were written over may have any. ``what``: of what, for the operator.
    O(columns). Raises Damaged."""
    if not isinstance(row, Sequence) or len(row) != len(kinds):
        raise Damaged(f"{what} is missing")
    for value, kind in zip(row, kinds, strict=True):
        wrong = (kind == "c" and value not in _CODECS) or (kind == "n" and isinstance(value, int) and value < 0)
        if not isinstance(value, _KINDS[kind]) or wrong:
            raise Damaged(f"{what} holds a value that nobody wrote ({type(value).__name__})")
    return row
