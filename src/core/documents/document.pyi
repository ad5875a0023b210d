"""One collaborative document: content, revision, a bounded window of operations, receive(). Sans-I/O. See document.pyx."""

from collections.abc import Generator
from typing import Any, Literal, final

from ..errors import Laborious, OutdatedRevision, SynclineError, TooFarBehind
from ..ot.ot import Unit
from ..storage.window import Cursor, Receipt, Window
from .engine import Engine

@final
class Document(Window):
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    def __init__(
        self,
        engine: Engine,
        id: str,
        generation: str,
        *,
        window_operations: int = 10_000,
        window_bytes: int = 4_194_304,
        max_clients: int = 10_000,
        undo_depth: int = 100,
        undo_bytes: int = 4_194_304,
        undo_history: int = 20_000,
        undo_group_ms: int = 1000,
    ) -> None:
        """``engine``: of this document alone. ``DocumentType.open`` makes both."""
    @property
    def engine(self) -> Engine: ...
    @property
    def ladder_bytes(self) -> int:
        """Memory of what takes operations that are behind to the head; an engine may have none."""
    def content(self) -> Any:
        """The content at the head as a JSON value, not to be changed. O(content) for types that keep another form."""
    def state(self) -> dict[str, Any]:
        """What `document:state` says of the content."""
    def hash(self) -> int:
        """32 bits for clients to compare, of the content at the head. O(content) at most."""
    def hashing(self) -> Generator[None, None, int]:
        """The same in steps; nothing may be received meanwhile."""
    def quick_hash(self, most: int = 2000) -> int | None:
        """``hash``, or None where that takes longer than so many microseconds, about: by default, too long for an event loop."""
    @property
    def hash_labour(self) -> int:
        """About how many microseconds ``hash`` takes."""
    def length(self, unit: Unit = "utf-16") -> int:
        """Of the content, as its type counts it."""
    def receive(
        self, client: str, user: str, seq: int, base: int, operation: object, unit: Unit = "utf-16", time: float = 0.0
    ) -> Receipt:
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``operation``: what the type's ``parse`` takes. The author's cursor goes to the end of what it did. Raises SynclineError
        (operation_invalid, operation_out_of_range, revision_unknown, sequence_conflict, document_too_large, client_taken,
        invalid_data), OutdatedRevision when ``base`` < ``floor``; TooFarBehind before any work, and Laborious, where the transforms
        cost much. O(revision - base) or less. Never trims: entries may not be stored yet.
        """
    def undo(
        self,
        client: str,
        user: str,
        seq: int,
        base: int,
        kind: Literal["undo", "redo"] = "undo",
        time: float = 0.0,
    ) -> Receipt:
        """Takes back the client's newest group of edits of which something is left; kind "redo" does it again.

        An entry like any other, made at the head. Raises SynclineError (nothing_to_undo, nothing_to_redo, and as
        ``receive``), OutdatedRevision or Laborious. O(edits of the group x revisions since): see undo.pyx.
        """
    def restore_content(
        self, client: str, user: str, seq: int, base: int, to: int, value: Any, time: float = 0.0
    ) -> Receipt:
        """Makes ``value``, which is the content of revision ``to``, the content at the head; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision, Laborious. O(content).
        """
    def initialize(self, client: str, user: str, seq: int, base: int, value: object, time: float = 0.0) -> Receipt:
        """Makes ``value`` the content where there is none yet; committed as a restoration of nothing is.

        Of several who do it at the same time the first one's stays. Raises SynclineError(document_exists) where there is content, and as
        ``receive``, OutdatedRevision, Laborious. O(content).
        """
    def undo_depth(self, client: str) -> tuple[int, int]:
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
    @property
    def undo_bytes(self) -> int:
        """About what can be undone occupies in memory."""
    @property
    def undo_labour(self) -> int:
        """About how many microseconds planning took of what was undone and done again since the document was loaded, and on loading."""
    @property
    def undo_dropped(self) -> int:
        """Groups dropped for want of room since the document was loaded."""
    def receive_many(
        self, submissions: list[tuple[str, str, int, int, object, Unit]], time: float = 0.0
    ) -> list[Receipt | SynclineError | OutdatedRevision | TooFarBehind | Laborious]:
        """``receive`` for each (client, user, seq, base, operation, unit), in order.

        Returns a list with a Receipt, or the SynclineError that refused it, for each. A refused one does not stop
        those after it. The first that raises OutdatedRevision, TooFarBehind or Laborious does: the error is then the last of the list,
        and the rest was not looked at. Raises TypeError or ValueError, before anything is applied, for what is not such a
        list, an unknown unit, or an operation that counts another one.
        """
    def prepend(self, first_revision: int, entries: list[Any]) -> None:
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the content. O(entries + window).
        """
    def set_cursor(self, client: str, base: int, anchor: Any, head: Any, unit: Unit = "utf-16") -> None:
        """A selection in the content at ``base``; a caret when both are equal. Positions are the type's.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
    def drop_cursor(self, client: str) -> None:
        """Forgets it, if there is one."""
    def cursor(self, client: str, unit: Unit = "utf-16") -> Cursor | None:
        """A Cursor at the head, or None."""
    # Persistence ---------------------------------------------------------------------------------------------
    def snapshot(self) -> bytes:
        """Content, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
    def restore(self, revision: int, body: bytes) -> None:
        """Takes over a snapshot; the window is empty then. Raises ValueError, changing nothing, when it is damaged. Where only what could
        be undone is, nothing can be undone, and ``undo_lost`` says why."""
    @property
    def undo_lost(self) -> str | None:
        """Why nothing of what could be undone was in the snapshot that was loaded."""
    @property
    def torn(self) -> bool:
        """After an error that is none of ours (``errors.py``): whether it came while something was applied, so that what is in memory is
        not to be trusted any more."""
    def replay(self, base: int, entries: list[Any]) -> None:
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """
    def replaying(self, base: int, entries: list[Any]) -> Generator[None]:
        """The same in parts of a few milliseconds."""

def live_documents() -> int:
    """How many documents exist in this process; for leak tests."""
