"""Undo and redo for each client of a text document; a deterministic fold over committed entries. See undo.pyx."""

import builtins
from typing import Literal, final

from .ot import Operation
from .window import Kind

@final
class Undo:
    """The stacks of one document. Numbers count UTF-16 code units."""

    def __init__(
        self, *, groups: int = 100, max_bytes: int = 4_194_304, history: int = 20_000, group_ms: int = 1000
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
    def operation(self, client: str, user: str, kind: Literal["undo", "redo"]) -> Operation | None:
        """What "undo" or "redo" would do at the head, None when there is nothing to do. Changes nothing.

        Raises SynclineError(operation_invalid) when it would have too many components. O(items x steps since).
        """
    def record(
        self, client: str, user: str, kind: Kind, operation: Operation, inverse: Operation, time: float = 0.0
    ) -> None:
        """The next revision: ``operation`` as it was applied to the head, ``inverse`` is what undoes it there.

        Raises ValueError for operations that count unicode.
        """
    def snapshot(self) -> builtins.bytes:
        """Everything, for ``restore`` at the same revision; empty when there is nothing. O(size)."""
    def restore(self, revision: int, body: builtins.bytes) -> None:
        """Takes over a snapshot made at ``revision``. Raises ValueError, and changes nothing, when it is damaged."""
