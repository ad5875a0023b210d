"""A document of any type but text. See typed_document.pyx."""

from collections.abc import Generator
from typing import Any, final

from .document_type import DocumentType
from .ot import Unit
from .window import Commit, Cursor, Kind, Receipt, Window

#: The limit of what was committed already.
NO_LIMIT: int

@final
class TypedEntry(Commit):
    """One committed operation of any type."""

    def __init__(
        self,
        type: DocumentType[Any, Any],
        client: str,
        user: str,
        seq: int,
        operation: Any,
        time: float = 0.0,
        digest: int | None = None,
        kind: Kind = "edit",
    ) -> None:
        """``digest``: of the operation as it was submitted; by default that of ``operation``."""
    @property
    def type(self) -> DocumentType[Any, Any]: ...
    @property
    def operation(self) -> Any: ...
    @property
    def payload(self) -> bytes:
        """The operation as bytes, for the log."""
    def told(self, unit: Unit = "utf-16") -> Any:
        """The operation as the protocol shows it."""
    def in_unit(self, unit: Unit = "utf-16") -> Any:
        """The operation; there is one unit."""

@final
class TypedDocument(Window):
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    def __init__(
        self,
        type: DocumentType[Any, Any],
        id: str,
        generation: str,
        *,
        window_operations: int = 10_000,
        window_bytes: int = 4_194_304,
        max_length: int = 16_777_216,
        max_clients: int = 10_000,
        undo_depth: int = 100,
        undo_bytes: int = 4_194_304,
        undo_history: int = 20_000,
        undo_group_ms: int = 1000,
    ) -> None: ...
    @property
    def type(self) -> DocumentType[Any, Any]: ...
    @property
    def size(self) -> int:
        """Of the content, as the type counts it."""
    def prepend(self, first_revision: int, entries: list[TypedEntry]) -> None:
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor. O(entries + window).
        """
    def receive(
        self, client: str, user: str, seq: int, base: int, operation: object, unit: Unit = "utf-16", time: float = 0.0
    ) -> Receipt:
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``operation``: what the type's ``parse`` takes. Raises SynclineError (operation_invalid,
        operation_out_of_range, revision_unknown, sequence_conflict, document_too_large, client_taken, invalid_data) or
        OutdatedRevision when ``base`` < ``floor``; Laborious, and TooFarBehind before any work, when the O(revision - base)
        transforms cost much. Never trims.
        """
    def restore_content(
        self, client: str, user: str, seq: int, base: int, to: int, value: object, time: float = 0.0
    ) -> Receipt:
        """Makes ``value``, which is the content of revision ``to``, the content at the head; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision, Laborious. O(content).
        """
    def content(self) -> Any:
        """The content at the head as a JSON value, not to be changed."""
    def undo(self, client: str, user: str, seq: int, base: int, kind: Kind = "undo", time: float = 0.0) -> Receipt:
        """Takes back the client's newest group of edits of which something is left; kind "redo" does it again.

        An entry like any other, made at the head. Raises SynclineError (nothing_to_undo, nothing_to_redo, and as
        ``receive``), OutdatedRevision or Laborious. O(edits of the group x revisions since).
        """
    def undo_depth(self, client: str) -> tuple[int, int]:
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
    @property
    def undo_bytes(self) -> int:
        """About what can be undone occupies in memory."""
    @property
    def undo_dropped(self) -> int:
        """Groups that can no longer be undone, for want of room."""
    def state(self) -> dict[str, Any]:
        """What `document:state` says of the content."""
    def hash(self) -> int:
        """For clients to compare; kept until the content is another one. O(content)."""
    def hashing(self) -> Generator[None, None, int]:
        """The same in steps; nothing may be received meanwhile."""
    def quick_hash(self, most: int = ...) -> int | None:
        """``hash``, or None where that takes longer than so many microseconds, about: by default, too long for an event loop."""
    @property
    def hash_labour(self) -> int:
        """About how many microseconds ``hash`` takes."""
    def length(self, unit: Unit = "utf-16") -> int:
        """As the type counts its size."""
    def set_cursor(self, client: str, base: int, anchor: int, head: int, unit: Unit = "utf-16") -> None:
        """A selection in the content at ``base``.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
    def drop_cursor(self, client: str) -> None:
        """Forgets it, if there is one."""
    def cursor(self, client: str, unit: Unit = "utf-16") -> Cursor | None:
        """A Cursor at the head, or None."""
    def snapshot(self) -> bytes:
        """Content, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
    def restore(self, revision: int, body: bytes) -> None:
        """Takes over a snapshot; the window is empty then. Raises ValueError, changing nothing, when it is damaged."""
    def replay(self, base: int, entries: list[TypedEntry]) -> None:
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """

def first_snapshot(type: DocumentType[Any, Any], value: object, limit: int) -> bytes:
    """See ``DocumentType.new_snapshot``."""

def encode_typed_entries(entries: list[TypedEntry]) -> bytes:
    """The body of one turn in the store."""

def decode_typed_entries(
    type: DocumentType[Any, Any], body: bytes, skip: int = 0, count: int | None = None
) -> list[TypedEntry]:
    """The inverse, from number ``skip`` on at most ``count`` of them. Raises ValueError on a damaged body."""

def live_typed_documents() -> int:
    """How many documents of this class exist in this process; for leak tests."""
