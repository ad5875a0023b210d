"""One collaborative document: text, revision, a bounded window of operations, receive(). Sans-I/O. See document.pyx."""

from typing import NamedTuple

from .ot import Components, Operation, Unit

class Entry:
    """One committed operation. Both units are kept when they differ, so that a client of either can be served."""

    client: str
    user: str
    seq: int
    time: float
    operation: Operation
    def __init__(
        self, client: str, user: str, seq: int, operation: Operation, unicode_operation: Operation | None = None, time: float = 0.0
    ) -> None: ...
    def in_unit(self, unit: Unit) -> Operation: ...

class Receipt(NamedTuple):
    """``duplicate``: nothing was applied, ``revision`` is where (client, seq) was committed."""

    revision: int
    entry: Entry | None
    duplicate: bool

class Cursor(NamedTuple):
    anchor: int
    head: int

class Document:
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    id: str
    generation: str
    revision: int
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
    def floor(self) -> int:
        """The window holds the operations of revisions floor + 1 ... revision."""
    @property
    def window_bytes(self) -> int: ...
    def text(self) -> str: ...
    def length(self, unit: Unit = "utf-16") -> int: ...
    def receive(
        self, client: str, user: str, seq: int, base: int, components: object, unit: Unit = "utf-16", time: float = 0.0
    ) -> Receipt:
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        Raises SynclineError (operation_invalid, operation_out_of_range, revision_unknown, sequence_conflict,
        document_too_large, client_taken) or OutdatedRevision when ``base`` < ``floor``. O(revision - base).
        """
    def last_seq(self, client: str) -> int:
        """The last committed sequence number of a client; 0 when unknown."""
    def client_user(self, client: str) -> str | None: ...
    def since(self, revision: int) -> list[Entry]:
        """Entries of revisions revision + 1 ... head. Raises OutdatedRevision, SynclineError(revision_unknown)."""
    def prepend(self, first_revision: int, entries: list[Entry]) -> None:
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor."""
    def trim(self) -> None:
        """Drops from the old end of the window what is over its bounds."""
    def set_cursor(self, client: str, base: int, anchor: int, head: int, unit: Unit = "utf-16") -> None:
        """Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision."""
    def drop_cursor(self, client: str) -> None: ...
    def cursor(self, client: str, unit: Unit = "utf-16") -> Cursor | None: ...
    # Persistence ---------------------------------------------------------------------------------------------
    def snapshot(self) -> bytes:
        """Text and clients' sequence numbers, for ``restore``."""
    def restore(self, revision: int, body: bytes) -> None: ...
    def replay(self, base: int, entries: list[Entry]) -> None:
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are skipped.

        Raises ValueError on a gap: the caller must not take the document for loaded.
        """

def encode_entries(entries: list[Entry]) -> bytes:
    """The body of one turn in the store."""

def decode_entries(body: bytes) -> list[Entry]:
    """Raises ValueError on a damaged body."""

def new_text_snapshot(text: str) -> bytes:
    """The snapshot body of revision 0 of a document that is created with a text."""
