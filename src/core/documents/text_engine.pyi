"""Text behind a document. See text_engine.pyx."""

from collections.abc import Generator
from typing import Any, final

from ..ot.ot import Unit
from ..storage.window import Cursor, Window
from .engine import Caret, Engine
from .undo_log import UndoLog

@final
class TextCaret(Caret):
    """In UTF-16 units."""

@final
class TextEngine(Engine):
    """Operations count UTF-16 code units or code points, as who sends them says."""

    def __init__(self, *, max_length: int = 16_777_216, ladder_bytes: int = 2_097_152, undone: bool = True) -> None:
        """``undone``: whether anything can be undone."""
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
