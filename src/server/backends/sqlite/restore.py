"""Puts a backup in the place of the database, while no node serves it; clients take everything anew afterwards."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Final, NamedTuple

from ...seams.outcome import Unavailable
from .claim import PATIENCE, PRIVATE, Claim, beside
from .file import connect
from .migrations import migrate
from .place import last_served, renew, sync_folder
from .strange_log import guard_log
from .trouble import Damaged, NotOurs, failure, one_line

#: Copied at once, between two words on how far it is.
PAGES: Final = 4096


class Restored(NamedTuple):
    """``kept``: where the file that was there before is now; None: there was none, or nothing was put in its place."""

    rooms: int
    documents: int
    kept: Path | None


def restore(path: Path, backup: Path | None, progress: Callable[[int, int], object] = max) -> Restored:
    """Puts a copy of ``backup`` at ``path`` and opens new epochs and generations in it; without one only that, for a file that a
    snapshot of the whole machine has brought back. What was there before is renamed, not deleted. ``progress``: pages left, of so many.

    Raises Unavailable: a node serves the file, or the backup is damaged or no database of ours; nothing has changed then.
    """
    path = path.resolve()
    with Claim(path, PATIENCE) as held:
        try:
            guard_log(path, last_served(path), held, lossy=True)
            kept = None if backup is None else _put(path, backup.resolve(), held, progress)
            return _renew(path, kept)
        except (NotOurs, Damaged, OSError, sqlite3.Error) as error:
            raise failure(path, error) from error


def _put(path: Path, backup: Path, held: Claim, progress: Callable[[int, int], object]) -> Path | None:
    fresh = beside(path, ".restoring")
    if backup == fresh or beside(backup, "-journal").exists():
        raise Unavailable(f"{backup}: it is not finished; nothing was changed")
    _remove(fresh)
    try:
        fresh.touch(PRIVATE)
        with closing(_open(backup)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target, pages=PAGES, progress=lambda _, left, all: progress(left, all))
        # Whether it is sound and one of ours is known before anything is renamed.
        with closing(connect(fresh, "rw", synchronous="full", busy_timeout=5.0)) as target:
            (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise NotOurs(f"it is damaged: {found}")
            if not target.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone():
                raise NotOurs("it is no database of Syncline")
            migrate(target)
        held.take(fresh)  # before it bears the name: a node that starts in that moment finds it taken
    except (sqlite3.DatabaseError, NotOurs, Damaged) as error:
        _remove(fresh)
        raise Unavailable(f"{backup}: {one_line(error)}; nothing was changed") from error
    except BaseException:
        _remove(fresh)
        raise
    kept = None
    if path.exists():
        kept = path.with_name(f"{path.name}.before-{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(2)}")
        _keep(path, kept)
    fresh.replace(path)  # at no moment is there none
    for suffix in ("-wal", "-shm"):
        beside(path, suffix).unlink(missing_ok=True)
    sync_folder(path.parent)
    return kept


def _keep(path: Path, kept: Path) -> None:
    """What was there before under another name too, with what is in its log only. Raises Unavailable, OSError."""
    busy = 0
    with suppress(sqlite3.Error), closing(connect(path, "rw", synchronous="full", busy_timeout=5.0)) as old:
        busy = old.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    if busy:
        raise Unavailable(f"{path}: another program has it open: end that; nothing was changed")
    for suffix in ("", "-wal"):  # a log is left of one that is damaged
        one = beside(path, suffix)
        if not one.exists():
            continue
        try:
            os.link(one, beside(kept, suffix))
        except OSError:  # a file system without links
            shutil.copyfile(one, beside(kept, suffix))
            beside(kept, suffix).chmod(PRIVATE)
    sync_folder(path.parent)


def _open(backup: Path) -> sqlite3.Connection:
    """For reading. A copy of a file with a write-ahead log needs a folder that may be written to; where there is no log, none."""
    uri = f"{backup.absolute().as_uri()}?mode=ro"
    if not beside(backup, "-wal").exists():
        uri += "&immutable=1"
    return sqlite3.connect(uri, uri=True)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        beside(path, suffix).unlink(missing_ok=True)


def _renew(path: Path, kept: Path | None) -> Restored:
    with closing(connect(path, "rw", synchronous="full", busy_timeout=5.0)) as connection:
        migrate(connection)
        connection.execute("BEGIN IMMEDIATE")
        renew(connection)
        connection.execute("DELETE FROM place")  # the next node makes this its place
        rooms = connection.execute("SELECT count(*) FROM histories WHERE offset > 0").fetchone()[0]
        documents = connection.execute("SELECT count(*) FROM documents").fetchone()[0]
        connection.execute("COMMIT")
    beside(path, ".served").unlink(missing_ok=True)
    return Restored(rooms, documents, kept)
