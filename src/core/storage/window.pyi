"""What every type of document shares: the bounded window of commits, and who has committed what. See window.pyx."""

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias, final

Kind: TypeAlias = Literal["edit", "undo", "redo", "restore"]
KINDS: tuple[Kind, ...]

class Commit:
    """One committed operation of any type: who, when, what number. What it does is in the subclass."""

    @property
    def client(self) -> str: ...
    @property
    def user(self) -> str: ...
    @property
    def seq(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def digest(self) -> int:
        """64 bits of the operation as it was submitted."""
    @property
    def kind(self) -> Kind:
        """ "edit", or how the server came to make it: "undo", "redo", "restore"."""

@final
class Receipt:
    """``duplicate``: nothing was applied, ``entry`` is None, ``revision`` is where (client, seq) was committed."""

    def __init__(self, revision: int, entry: Commit | None, duplicate: bool) -> None: ...
    @property
    def revision(self) -> int: ...
    @property
    def entry(self) -> Any:
        """The Commit, of the document's own class, or None."""
    @property
    def duplicate(self) -> bool: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __eq__(self, other: object, /) -> bool:
        """With another one, or such a tuple."""

class Cursor(NamedTuple):
    anchor: Any  # as the document's type has positions
    head: Any

@final
class ClientState:
    """What a document remembers of one client."""

    @property
    def last(self) -> int:
        """The revision that its last commit made."""

class Window:
    """Base of a document. Not for use by itself."""

    def __init__(
        self,
        id: str,
        generation: str,
        *,
        window_operations: int = 10_000,
        window_bytes: int = 4_194_304,
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
    def since(self, revision: int) -> list[Any]:
        """Commits of revisions revision + 1 ... head. O(result).

        Raises OutdatedRevision, SynclineError(revision_unknown, invalid_data).
        """
    def trim(self) -> None:
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored."""
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
