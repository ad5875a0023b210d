"""What is typed in one go, as the server groups it into steps of undo (core/undo.pyx): what a client does while it is away stays in such
steps, instead of becoming one operation and so one step.

A word is typed, or characters are deleted, where the last ones were; anything longer is a paste. How long somebody paused is not looked
at: where one word goes on, the server joins the two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

#: As core/undo.pyx: more at once is a paste.
MAX_TYPED = 16


class Stroke(NamedTuple):
    """``text`` inserted, or ``removed`` units deleted, at one place."""

    at: int
    text: str
    removed: int


def stroke_of(components: list[Any]) -> Stroke | None:
    """Of a text's operation, or of a rich text's (a Delta). None: it is something else."""
    parts = [_plain(part) for part in components]
    at = parts.pop(0) if parts and isinstance(parts[0], int) and parts[0] > 0 else 0
    if len(parts) != 1 or parts[0] is None:
        return None
    [part] = parts
    if isinstance(part, str):
        return Stroke(at, part, 0)
    return Stroke(at, "", -part) if part < 0 else None


def _plain(part: Any) -> Any:
    """As text operations have it; None: only rich text has it."""
    if not isinstance(part, dict):
        return part
    if "delete" in part:
        return -part["delete"]
    if "retain" in part:
        return None if "attributes" in part else part["retain"]
    return part["insert"] if isinstance(part.get("insert"), str) else None


def continues(last: Stroke | None, stroke: Stroke | None, length: Callable[[str], int]) -> bool:
    """Whether ``stroke``, made on what ``last`` gave, belongs to the same step."""
    if last is None or stroke is None:
        return False
    if last.text and stroke.text:
        if max(length(last.text), length(stroke.text)) > MAX_TYPED or stroke.at != last.at + length(last.text):
            return False
        return not last.text[-1].isspace() or stroke.text[0].isspace()
    if last.text or stroke.text or max(last.removed, stroke.removed) > MAX_TYPED:
        return False
    return last.at in (stroke.at, stroke.at + stroke.removed)
