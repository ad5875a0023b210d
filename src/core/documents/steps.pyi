"""The undo log of texts. See steps.pyx."""

from typing import final

from .undo_log import UndoLog

@final
class Steps(UndoLog):
    """A growing list of arrays of parts."""

def live_steps() -> int:
    """How many lists of steps exist in this process; for leak tests."""
