"""The content of a rich text document, mutable and quick. See rich_text.pyx."""

from collections.abc import Generator
from typing import final

from .rich import Delta

@final
class RichText:
    """A text beside runs of (length, attributes or embed). Typing costs what the text costs, and a short search."""

    def __init__(self, document: Delta = ...) -> None:
        """ValueError when ``document`` is a delta that retains or deletes."""
    def __len__(self) -> int:
        """In UTF-16 code units; an embed is one."""
    def __str__(self) -> str:
        """The plain text, an embed as U+FFFC."""
    @property
    def size(self) -> int:
        """What a limit counts: the length, and about what attributes and embeds take in JSON."""
    @property
    def runs(self) -> int: ...
    def size_after(self, delta: Delta) -> int:
        """``size`` after applying, at most: what a deletion takes along beside the text is not taken off, and runs that are
        cut in two count twice. Raises SynclineError(operation_out_of_range). O(ops * search + what it formats).
        """
    def hash(self) -> int:
        """The CRC-32 of the plain text as UTF-16LE, with the runs mixed in that have attributes or are an embed: docs/protocol.md,
        "Hash and healing". O(runs), and what the text's takes.
        """
    def hashing(self) -> Generator[None, None, int]:
        """The same in steps; it must stay as it is meanwhile."""
    @property
    def hash_labour(self) -> int:
        """About how many microseconds ``hash`` takes beside the text's. O(1)."""
    def apply(self, delta: Delta) -> None:
        """All or nothing. Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
        O(what it deletes or formats + ops * search), and what the plain text takes. A search is over runs / 128 blocks
        from the last edit on, then inside a block."""
    def invert(self, delta: Delta) -> Delta:
        """What undoes ``delta``, which applies to this. Raises as ``apply``. O(what it deletes or formats)."""
    def slice(self, start: int, end: int) -> Delta:
        """[start, end) as a document. Raises as ``apply``."""
    def document(self) -> Delta:
        """All of it. O(size)."""
    def copy(self) -> RichText: ...
    def encode(self) -> bytes: ...
    @staticmethod
    def decode(data: bytes) -> RichText:
        """From ``encode``'s bytes. Raises ValueError for a damaged body."""

def live_rich_texts() -> int:
    """How many exist in this process; for leak tests."""
