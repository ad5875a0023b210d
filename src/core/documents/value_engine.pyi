"""Documents of any ``DocumentType``. See value_engine.pyx."""

from collections.abc import Generator
from typing import Any, final

from ..ot.ot import Unit
from ..storage.window import Commit, Cursor, Kind, Window
from .document_type import DocumentType
from .engine import Caret, Engine
from .undo_log import UndoLog

#: The limit of what was committed already.

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
    @property
    def bulk(self) -> int:
        """About how many characters it takes to tell it. O(1)."""

@final
class ValueCaret(Caret):
    """Positions as the type has them."""

@final
class ValueEngine(Engine):
    """Over a DocumentType."""

    def __init__(self, type: DocumentType[Any, Any], *, max_length: int = 16_777_216, undone: bool = True) -> None:
        """``undone``: whether anything can be undone."""
    @property
    def type(self) -> DocumentType[Any, Any]: ...
    @property
    def size(self) -> int:
        """Of the content, as the type counts it."""
    @property
    def units(self) -> tuple[Unit, ...]:
        """Units in which positions may be counted; the first one is meant when none is named."""
    def undo_log(self) -> UndoLog:
        """An empty one."""
    def require_unit(self, value: object, unit: Unit) -> None:
        """Raises ValueError for an operation that counts another unit, TypeError or ValueError for what is no unit."""
    def replacing(self, value: object, key: tuple[Any, ...]) -> Any:
        """An operation from the head to the content ``value``; ``key`` names it. Raises SynclineError(operation_invalid), Laborious."""
    def is_empty(self) -> bool:
        """Whether the content is that of a new document."""
    # The window
    def lower(self, entries: list[Any]) -> None:
        """They come before the floor. Raises ValueError when they do not fit the content."""
    def trimmed(self, floor: int) -> None:
        """The window begins behind ``floor`` now."""
    def ladder_bytes(self) -> int:
        """Memory of what takes operations that are behind to the head."""
    # Carets
    def place(self, window: Window, base: int, anchor: Any, head: Any, unit: Unit) -> Caret:
        """A caret at the head, of a selection in the content at ``base``, which the window reaches. Raises SynclineError(invalid_data)."""
    def shown(self, caret: Any, unit: Unit) -> Cursor: ...
    # The content
    def content(self) -> Any:
        """As a JSON value, not to be changed."""
    def state(self) -> dict[str, Any]:
        """What `document:state` says of it."""
    def hash(self, revision: int) -> int:
        """32 bits; kept for ``revision`` where it costs much."""
    def hashing(self, revision: int) -> Generator[None, None, int]:
        """The same in steps."""
    def hash_labour(self, revision: int) -> int:
        """About how many microseconds ``hash`` takes."""
    def length(self, unit: Unit) -> int: ...
    def dump(self) -> str:
        """For snapshots."""
    def loaded(self, dumped: str) -> Any:
        """What ``adopt`` takes. Raises ValueError."""
    def adopt(self, content: Any) -> None:
        """Makes it the content; the window is empty then."""

def first_snapshot(type: DocumentType[Any, Any], value: object, limit: int) -> bytes:
    """See ``DocumentType.new_snapshot``."""

def encode_typed_entries(entries: list[TypedEntry]) -> bytes:
    """The body of one turn in the store."""

def decode_typed_entries(
    type: DocumentType[Any, Any], body: bytes, skip: int = 0, count: int | None = None
) -> list[TypedEntry]:
    """The inverse, from number ``skip`` on at most ``count`` of them. Raises ValueError on a damaged body."""
