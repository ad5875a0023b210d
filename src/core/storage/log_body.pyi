"""Run-length columns of committed operations, for commits.pyx and others in the core. See log_body.pyx."""

from typing import final

@final
class LogWriter:
    """Takes entries one by one, stamp and edit of each, and writes the body. ``opaque``: of payloads."""

    def __init__(self, opaque: bool) -> None: ...
    @property
    def count(self) -> int: ...

@final
class LogReader:
    """Reads a body entry by entry, or run by run. Raises ValueError when it is damaged.

    Stamps and runs are read independently of one another; ``finish`` wants both to have come to the end.
    """

    def __init__(self, body: bytes) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def opaque(self) -> bool: ...
    @property
    def clients(self) -> list[str]: ...
    @property
    def users(self) -> list[str]: ...
    @property
    def text(self) -> str: ...

def pack_entries(body: bytes, level: int = 9) -> bytes:
    """The packed form of a body of entries (``record_format.pack``); a body of the first form stays as it is.

    Columns of a different nature are cut into deflate blocks of their own: 3 % smaller. Raises ValueError.
    """
