"""Committed operations, and how they and snapshots are written for the store. See entries.pyx."""

from typing import final

from .ot import Operation, Unit
from .window import ClientState, Commit, Kind

@final
class Entry(Commit):
    """One committed operation. Both units are kept when they differ, so that a client of either can be served."""

    def __init__(
        self,
        client: str,
        user: str,
        seq: int,
        operation: Operation,
        unicode_operation: Operation | None = None,
        time: float = 0.0,
        digest: int | None = None,
        kind: Kind = "edit",
    ) -> None:
        """``digest``: of the operation as it was submitted; by default that of ``operation``.

        Raises ValueError when an operation counts the wrong unit, or there is no such kind.
        """
    @property
    def operation(self) -> Operation: ...
    @property
    def unicode_operation(self) -> Operation | None:
        """None when the numbers are the same in both units."""
    def in_unit(self, unit: Unit) -> Operation:
        """The operation counted in ``unit``."""

def encode_entries(entries: list[Entry]) -> bytes:
    """The body of one turn in the store. Raises ValueError for names that are not well-formed Unicode."""

def decode_entries(body: bytes) -> list[Entry]:
    """The entries of one turn. Raises ValueError on a damaged body."""

def new_text_snapshot(text: str) -> bytes:
    """The snapshot body of revision 0 of a document that is created with a text.

    Raises SynclineError(operation_invalid) for lone surrogates.
    """

def decode_snapshot(body: bytes) -> tuple[str, list[ClientState], bool]:
    """(text, states of the clients, whether clients have been forgotten). Raises ValueError on a damaged body."""
