"""One collaborative document: text, revision, a bounded window of operations, receive(). Sans-I/O. See document.pyx."""

from collections.abc import Generator
from typing import Literal, final

from .entries import Entry as Entry
from .entries import decode_entries as decode_entries
from .entries import encode_entries as encode_entries
from .entries import new_text_snapshot as new_text_snapshot
from .errors import OutdatedRevision, SynclineError
from .ot import Unit
from .window import Cursor as Cursor
from .window import Receipt as Receipt
from .window import Window

@final
class Document(Window):
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    def __init__(
        self,
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
    def ladder_bytes(self) -> int:
        """Memory of what takes operations that are behind to the head. At most about 128 bytes for each entry of the
        window, and ``window_bytes`` / 2.
        """
    def trim(self) -> None:
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored. O(dropped)."""
    def text(self) -> str:
        """The text at the head. O(text)."""
    def content(self) -> str:
        """The text, under the name that every type's document has for it."""
    def state(self) -> dict[str, str]:
        """What `document:state` says of the content."""
    def hash(self) -> int:
        """CRC-32 of the text at the head as UTF-16LE, for clients to compare. O(text), in chunks O(edited ones)."""
    def hashing(self) -> Generator[None, None, int]:
        """As documents of other types have it."""
    def quick_hash(self, most: int = 0) -> int | None:
        """As documents of other types have it; always the hash."""
    @property
    def hash_labour(self) -> int: ...
    def length(self, unit: Unit = "utf-16") -> int: ...
    def receive(
        self, client: str, user: str, seq: int, base: int, components: object, unit: Unit = "utf-16", time: float = 0.0
    ) -> Receipt:
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``components``: what ``Operation.parse`` takes, or an Operation that counts ``unit``. The author's cursor goes
        to the end of what it did. Raises SynclineError (operation_invalid, operation_out_of_range, revision_unknown,
        sequence_conflict, document_too_large, client_taken, invalid_data) or OutdatedRevision when ``base`` <
        ``floor``. O(revision - base). Never trims: entries may not be stored yet.
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
        ``receive``) or OutdatedRevision. O(edits of the group x revisions since): see undo.pyx.
        """
    def restore_content(
        self, client: str, user: str, seq: int, base: int, to: int, text: str, time: float = 0.0
    ) -> Receipt:
        """Makes ``text``, which is that of revision ``to``, the text at the head, by one splice; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision. O(text).
        """
    def undo_depth(self, client: str) -> tuple[int, int]:
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
    @property
    def undo_bytes(self) -> int:
        """About what can be undone occupies in memory."""
    @property
    def undo_dropped(self) -> int:
        """Groups dropped for want of room since the document was loaded."""
    def receive_many(
        self, submissions: list[tuple[str, str, int, int, object, Unit]], time: float = 0.0
    ) -> list[Receipt | SynclineError | OutdatedRevision]:
        """``receive`` for each (client, user, seq, base, components, unit), in order.

        Returns a list with a Receipt, or the SynclineError that refused it, for each. A refused one does not stop
        those after it. The first that raises OutdatedRevision does: the error is then the last of the list, and the
        rest was not looked at. Raises TypeError or ValueError, before anything is applied, for what is not such a
        list, an unknown unit, or an Operation that counts another one.
        """
    def since(self, revision: int) -> list[Entry]:
        """Entries of revisions revision + 1 ... head. O(result).

        Raises OutdatedRevision, SynclineError(revision_unknown, invalid_data).
        """
    def prepend(self, first_revision: int, entries: list[Entry]) -> None:
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the text. O(entries + window).
        """
    def set_cursor(self, client: str, base: int, anchor: int, head: int, unit: Unit = "utf-16") -> None:
        """A selection in the text at ``base``; a caret when both are equal. A position inside a surrogate pair goes
        before it.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
    def drop_cursor(self, client: str) -> None:
        """Forgets it, if there is one."""
    def cursor(self, client: str, unit: Unit = "utf-16") -> Cursor | None:
        """A Cursor at the head, or None."""
    # Persistence ---------------------------------------------------------------------------------------------
    def snapshot(self) -> bytes:
        """Text, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
    def restore(self, revision: int, body: bytes) -> None:
        """Takes over a snapshot; the window is empty then. Raises ValueError, changing nothing, when it is damaged."""
    def replay(self, base: int, entries: list[Entry]) -> None:
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """

def live_documents() -> int:
    """How many documents exist in this process; for leak tests."""
