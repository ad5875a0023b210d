"""The seam between a document and what it is a document of. See engine.pyx."""

from .undo_log import UndoLog

class Caret:
    """A client's selection; positions are the engine's."""

class Engine:
    """Not for use by itself."""

    @property
    def undone(self) -> bool:
        """Whether anything can be undone at all."""
    def undo_log(self) -> UndoLog:
        """An empty one."""
