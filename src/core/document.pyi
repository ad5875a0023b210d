"""One collaborative document: text, revision, a bounded window of operations, receive(). Sans-I/O. See document.pyx."""

from typing import NamedTuple, final

from .entries import Entry as Entry
from .entries import decode_entries as decode_entries
from .entries import encode_entries as encode_entries
from .entries import new_text_snapshot as new_text_snapshot
from .ot import Unit

class Receipt(NamedTuple):
    """``duplicate``: nothing was applied, ``entry`` is None, ``revision`` is where (client, seq) was committed."""

    revision: int
    entry: Entry | None
    duplicate: bool

class Cursor(NamedTuple):
    anchor: int
    head: int

@final
class Document:
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
    ) -> None: ...
    @property
    def id(self) -> str: ...
    @property
    def generation(self) -> str: ...
    @property
    def revision(self) -> int: ...
    @property
    def floor(self) -> int:
        """The window holds the operations of revisions floor + 1 ... revision."""
    @property
    def window_bytes(self) -> int:
        """About what the window occupies in memory."""
    def text(self) -> str:
        """The text at the head. O(text)."""
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
    def last_seq(self, client: str) -> int:
        """The last committed sequence number of a client; 0 when unknown."""
    def client_user(self, client: str) -> str | None:
        """The user that a client id belongs to; None when unknown."""
    @property
    def client_count(self) -> int:
        """Clients whose last number is in memory. At most ``max_clients``, or those with an entry in the window."""
    @property
    def has_forgotten(self) -> bool:
        """Whether a client that ``client_user`` does not know may have been here before."""
    def since(self, revision: int) -> list[Entry]:
        """Entries of revisions revision + 1 ... head. O(result).

        Raises OutdatedRevision, SynclineError(revision_unknown, invalid_data).
        """
    def prepend(self, first_revision: int, entries: list[Entry]) -> None:
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the text. O(entries + window).
        """
    def trim(self) -> None:
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored."""
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
        """Text and clients' sequence numbers at ``revision``, for ``restore``. O(text + clients)."""
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
