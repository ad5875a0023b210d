"""What undo needs to know of a type of documents. See undo_log.pyx."""

from collections.abc import Generator
from typing import Any, final

class UndoLog:
    """Not for use by itself. Ranges are of steps, and inside the log."""

    @property
    def count(self) -> int: ...
    def lifting(
        self, operation: Any, steps: UndoLog, start: int, end: int, out: UndoLog, budget: list[int]
    ) -> Generator[None, None, Any]:
        """``operation`` after the steps of the range, and to ``out`` those steps after ``operation``, in parts."""
    def undoing(self, operation: Any, inverse: Any) -> Any:
        """What an engine gives for ``operation``, which ``inverse`` undoes. Raises ValueError for operations of another kind."""

@final
class Source:
    """Walks what was written. Every method raises ValueError rather than read past the end."""

    def __init__(self, body: bytes) -> None: ...
