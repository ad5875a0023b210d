"""Undo and redo for each client of a document; a deterministic fold over committed operations. See undo.pyx."""

import builtins
from collections.abc import Generator
from typing import Any, Literal, final

from ..storage.window import Kind
from .undo_log import UndoLog

#: Microseconds that one request may cost in all, and at once.
MAX_COST: int
QUICK: int

@final
class Undo:
    """The stacks of one document."""

    def __init__(
        self,
        log: UndoLog,
        *,
        groups: int = 100,
        max_bytes: int = 4_194_304,
        history: int = 20_000,
        group_ms: int = 1000,
    ) -> None:
        """``groups``: of one client; 0 keeps nothing at all. ``history``: revisions."""
    @property
    def revision(self) -> int: ...
    @property
    def dropped(self) -> int:
        """Groups dropped for want of room since this object was made."""
    @property
    def bytes(self) -> int:
        """About what it occupies in memory; at most ``max_bytes``."""
    def depth(self, client: str) -> tuple[int, int]:
        """(groups to undo, groups to redo): at most so many, as others may have left nothing of one. O(1)."""
    def operation(self, client: str, user: str, kind: Literal["undo", "redo"]) -> Any | None:
        """What "undo" or "redo" would do at the head, None when there is nothing to do. Changes nothing.

        Raises SynclineError(operation_invalid) when it would be too large or take too long, Laborious. O(items x steps since).
        """
    def record(self, client: str, user: str, kind: Kind, operation: Any, inverse: Any, time: float = 0.0) -> None:
        """The next revision: ``operation`` as it was applied to the head, ``inverse`` is what undoes it there.

        Raises ValueError where ``inverse`` cannot be.
        """
    @property
    def labour(self) -> int:
        """Microseconds that making what was done took, about: whoever replays the log makes it again."""
    def planning(self, client: str, user: str, mark: int) -> Generator[None]:
        """What the log says was done next is planned in parts, between which others may work, but not on this document."""
    def snapshot(self) -> builtins.bytes:
        """Everything, for ``restore`` at the same revision; empty when there is nothing. O(size)."""
    def restore(self, revision: int, body: builtins.bytes) -> None:
        """Takes over a snapshot made at ``revision``. Raises ValueError, and changes nothing, when it is damaged."""
