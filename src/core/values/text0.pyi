"""Edits inside a string of a JSON document: ShareDB's text0. See text0.pyx."""

from typing import Literal, TypeAlias, final

Side: TypeAlias = Literal["left", "right"]

def units(text: str) -> int:
    """Length in UTF-16 code units. Raises SynclineError(operation_invalid) for a lone surrogate."""

@final
class StringEdit:
    """One insert or deletion; the text is never empty."""

@final
class EditCrossing:
    """Two lists of edits of one string on their way past each other."""
