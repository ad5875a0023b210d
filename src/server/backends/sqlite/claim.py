"""Which process serves a database. Two locks, which the kernel gives up with the process; nothing has to be removed by hand, ever.

The **file**: its inode is locked, so that nobody serves it by another name (a link, another mount). flock(2), which on Linux does
not meet the byte ranges that SQLite locks, nor those of whoever opens the file beside the node. (Where the two meet, as on BSD, it is
left out.)

The **place**: what SQLite keeps beside a file belongs to its name, whatever file bears it; so ``.lock`` beside it is locked as well.
Who finds the place taken may open the file by this name, as the node does; who finds the file taken and the place free
would have a log of his own beside another name, and the two would destroy the file.

Closing any descriptor of a file gives up all that this process has locked in it by byte ranges, SQLite's locks too. So the
descriptor of a claim that ends is closed when the last connection of this process to that file is (``counted`` and
``uncounted``, around each), as SQLite itself does with its own.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from ...seams.outcome import Unavailable
from .trouble import failure

#: What is made is for the service's user alone: the signing secret and the hashes of passwords are in it.
PRIVATE: Final = 0o600
#: Seconds for which a node waits for a command that looks after the file for a moment (``Database._guard``).
PATIENCE: Final = 1.0

#: A file, by whatever name: device and inode.
Key = tuple[int, int]

_changing = threading.Lock()
_connections: Counter[Key] = Counter()  # of this process
_left: dict[Key, list[int]] = {}  # descriptors of claims that have ended


class Taken(Unavailable):
    """Another process has the place."""


def beside(path: Path, suffix: str) -> Path:
    """A file of the same name and a suffix, such as SQLite's ``-wal``."""
    return path.with_name(path.name + suffix)


def private(path: str | Path, flags: int) -> int:
    """``os.open`` with the mode that is ours."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE)


class Claim:
    """Holds both until it is closed."""

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        """Takes the place and, if there is one, the file. ``path``: without symbolic links; ``patience``: seconds to try for.

        Raises Taken, Unavailable (the file is taken by another name, or cannot be opened)."""
        if path.exists() and not path.is_file():
            raise Unavailable(f"{path} is no file: set store.path to one")
        self._path = path
        self._place = -1
        self._files: list[int] = []
        end = time.monotonic() + patience
        while True:
            try:
                self._place = self._take_place()
                if path.exists():
                    self.take(path)
                return
            except Unavailable as error:
                self.close()
                if not isinstance(error.__cause__, BlockingIOError) or time.monotonic() >= end:
                    raise
            time.sleep(0.02)

    def __enter__(self) -> Claim:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent. Nothing of ours may use the file any more, but others in this process may."""
        while self._files:
            _let_go(self._files.pop())
        if self._place >= 0:
            os.close(self._place)
            self._place = -1

    @property
    def inode(self) -> int:
        """Of the file that was taken last."""
        return os.fstat(self._files[-1]).st_ino

    def head(self, size: int) -> bytes:
        """The file's first bytes, without opening it once more."""
        return os.pread(self._files[-1], size, 0) if self._files else b""

    def make(self) -> None:
        """Makes the file when there is none, and takes it. Raises Unavailable."""
        if not self._files:
            self.take(self._path, os.O_CREAT)

    def take(self, path: Path, flags: int = 0) -> None:
        """Takes one more file, for this place. Raises Unavailable."""
        try:
            # A pipe would be waited for. What SQLite makes beside the file has its mode.
            descriptor = private(path, os.O_RDONLY | os.O_NONBLOCK | flags)
        except OSError as error:
            raise failure(path, error) from error
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Unavailable(f"{path} is no file: set store.path to one")
            if sys.platform == "linux":
                _lock(descriptor)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            _let_go(descriptor)
            raise Unavailable(
                f"{path}: served by another process already ({holder}), by another name (a link, another mount) or one whose"
                f" {self._path.name}.lock was removed; use the name it is served by, or stop that process"
            ) from error
        except BaseException as error:
            _let_go(descriptor)
            if isinstance(error, OSError):
                raise failure(path, error) from error
            raise
        self._files.append(descriptor)

    def hold_place(self) -> bool:
        """Takes the place again when its ``.lock`` was removed; whether it was. Raises Taken when somebody was quicker, Unavailable.

        It costs nothing to lose it: the file is locked meanwhile."""
        with suppress(FileNotFoundError):
            if os.stat(beside(self._path, ".lock")).st_ino == os.fstat(self._place).st_ino:
                return False
        place = self._take_place()
        os.close(self._place)
        self._place = place
        return True

    def _take_place(self) -> int:
        lock = beside(self._path, ".lock")
        try:
            descriptor = private(lock, os.O_WRONLY | os.O_CREAT)  # it stays: removing it would race
        except OSError as error:
            raise failure(lock, error) from error
        try:
            _lock(descriptor)
        except BlockingIOError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise Taken(
                f"{self._path}: served by another process already ({holder}); stop that one, or give this one a store.path of its own"
            ) from error
        except OSError as error:
            os.close(descriptor)
            raise failure(lock, error) from error
        return descriptor


def _lock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    """The process that has the lock, where the kernel says so: not what runs in a container beside ours."""
    with suppress(OSError), open("/proc/locks", encoding="ascii") as locks:
        inode = str(os.fstat(descriptor).st_ino)
        for line in locks:  # 1: FLOCK  ADVISORY  WRITE 4711 fe:01:131086 0 EOF
            words = line.split()
            if words[1] == "FLOCK" and words[5].rpartition(":")[2] == inode:
                return f"pid {words[4]}"
    return "pid unknown"


# -- descriptors and SQLite --------------------------------------------------------------------------------------------


def _key(found: os.stat_result) -> Key:
    return found.st_dev, found.st_ino


def counted(path: Path) -> Key | None:
    """Before a connection to the file is opened. None: there is no file."""
    with suppress(OSError), _changing:
        key = _key(path.stat())
        _connections[key] += 1
        return key
    return None


def uncounted(key: Key | None) -> None:
    """After it was closed."""
    if key is None:
        return
    with _changing:
        _connections[key] -= 1
        if not _connections[key]:
            del _connections[key]
            for descriptor in _left.pop(key, ()):
                os.close(descriptor)


def _let_go(descriptor: int) -> None:
    with _changing:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        key = _key(os.fstat(descriptor))
        if key in _connections:
            _left.setdefault(key, []).append(descriptor)
        else:
            os.close(descriptor)
