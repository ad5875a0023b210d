"""Committed operations, and how they and snapshots are written for the store. See commits.pyx."""

from typing import final

from ..ot.ot import Components, Operation, Unit
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
    def told(self, unit: Unit = "utf-16") -> Components:
        """The operation as the protocol shows it."""
    @property
    def bulk(self) -> int:
        """About how many characters it takes to tell it. O(1)."""

def encode_entries(entries: list[Entry]) -> bytes:
    """The body of one turn in the store. Times are kept in milliseconds.

    Raises ValueError for names that are not well-formed Unicode, and above 1,048,576 entries.
    """

def decode_entries(body: bytes, skip: int = 0, count: int | None = None) -> list[Entry]:
    """The entries of one turn, or of several that were merged; from number ``skip`` (from 0) on at most ``count`` of
    them. Raises ValueError on a damaged body. O(body), and an object for each entry of the result only.
    """

def encode_payloads(commits: list[Commit], payloads: list[bytes]) -> bytes:
    """The same for operations of another type than text, each written as bytes by its type. Same errors."""

def decode_payloads(body: bytes) -> list[tuple[str, str, int, float, int, Kind, bytes]]:
    """What ``encode_payloads`` wrote: a list of (client, user, seq, time, digest, kind, payload).

    Raises ValueError on a damaged body, or one of texts.
    """

def payload_digest(payload: bytes) -> int:
    """64 bits of an operation's bytes (FNV-1a), the same everywhere. A digest made so costs the log nothing."""

def merge_bodies(bodies: list[bytes], time_step: int = 1) -> bytes:
    """One body that holds the entries of all of these, in order. ``time_step``: to how many milliseconds times are
    rounded down; a coarse one makes the body small.

    Raises ValueError for a damaged body, for bodies of texts and of payloads together, above 1,048,576 entries.
    """

def new_text_snapshot(text: str) -> bytes:
    """The snapshot body of revision 0 of a document that is created with a text.

    Raises SynclineError(operation_invalid) for lone surrogates.
    """

def decode_snapshot(body: bytes) -> tuple[str, list[ClientState], bool, bytes]:
    """(text, states of the clients, whether clients have been forgotten, what they can undo). Raises ValueError on a
    damaged body."""
