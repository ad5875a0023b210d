"""Text behind a document. See text_engine.pyx."""

from typing import final

from .engine import Engine

@final
class TextEngine(Engine):
    """Operations count UTF-16 code units or code points, as who sends them says."""

    def __init__(self, *, max_length: int = 16_777_216, ladder_bytes: int = 2_097_152, undone: bool = True) -> None:
        """``undone``: whether anything can be undone."""
