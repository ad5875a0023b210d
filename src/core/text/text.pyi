"""Document text: UTF-16 with a count of astral characters; edits in place, offsets both ways. See text.pyx."""

from typing import final

from ..ot.ot import Operation, Unit

@final
class Text:
    """Mutable text. Offsets are UTF-16 code units unless a unit is given. ``str(text)`` copies at memory speed."""

    def __init__(self, text: str = "") -> None:
        """Raises SynclineError(operation_invalid) for lone surrogates."""
    def __len__(self) -> int:
        """In UTF-16 code units."""
    @property
    def astral(self) -> int:
        """How many characters lie above U+FFFF; zero makes the two units the same."""
    def length(self, unit: Unit) -> int: ...
    def splice(self, position: int, deleted: int, inserted: str) -> None:
        """Replaces ``deleted`` code units at ``position``; raises as ``apply``. O(edit + distance from the last one),
        in chunks O(edit + log n + chunk).
        """
    def replay(self, body: bytes) -> None:
        """Applies a batch of splices, all or nothing; the form is in splices.pyx. O(edits * (log n + chunk) + what they
        insert and delete); many are without a Python object for each.

        Raises ValueError for a damaged body, SynclineError as ``splice``.
        """
    def hash(self) -> int:
        """CRC-32 (zlib's) of the text as UTF-16LE. O(chunks edited since the last call + nodes above them); a text that
        is not in chunks counts as one.
        """
    @property
    def chunked(self) -> bool:
        """Whether it has grown into chunks."""
    def check(self) -> None:
        """For tests: raises AssertionError unless the tree of chunks is as its invariants say. O(text)."""
    def slice(self, start: int, end: int) -> str:
        """Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair)."""
    def apply(self, operation: Operation) -> None:
        """All or nothing. ``operation`` counts utf-16 (else ValueError). Raises as ``ot.apply``."""
    def invert(self, operation: Operation) -> Operation:
        """What undoes ``operation``, which applies to this text and counts utf-16. Raises as ``apply``."""
    def to_unit(self, operation: Operation, unit: Unit) -> Operation:
        """``operation``, which applies to this text, counted in ``unit``. With astral characters O(text) for a gap
        buffer, O(components * (log n + chunk)) for chunks.

        Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
        """
    def offset_to(self, position: int, source: Unit, target: Unit) -> int:
        """Raises SynclineError: operation_out_of_range, operation_invalid (inside a surrogate pair)."""

def live_texts() -> int:
    """How many texts exist in this process; for leak tests."""

def set_limits(flat: int, leaf: int, children: int) -> tuple[int, int, int]:
    """For tests: cells of a gap buffer, cells of a chunk, children of an inner node, for texts that grow from now on.
    Returns what they were.
    """
