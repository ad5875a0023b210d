"""A history as bare arrays of parts. See steps.pyx."""

from typing import final

@final
class Steps:
    """A growing list of arrays of parts."""

    @property
    def count(self) -> int: ...

@final
class Source:
    """Walks what was written. Every method raises ValueError rather than read past the end."""

    def __init__(self, body: bytes) -> None: ...

def live_steps() -> int:
    """How many lists of steps exist in this process; for leak tests."""
