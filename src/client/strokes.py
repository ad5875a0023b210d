"""What is typed in one go, as the server groups it into steps of undo (core/documents/undo.pyx): what a client does while it is away
stays in such steps, instead of becoming one operation and so one step.

A word is typed, or characters are deleted, where the last ones were; anything longer is a paste. How long somebody paused is not looked
at: where one word goes on, the server joins the two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.documents.document_type import DocumentType
from ..core.values.text0 import units

#: As core/documents/undo.pyx: more at once is a paste.
MAX_TYPED = 16


class Stroke(NamedTuple):
    """``text`` inserted, or ``removed`` units deleted, at one place. ``path``: of the string, in a document that has many."""

    at: int
    text: str
    removed: int
    path: tuple[str | int, ...] = ()


def stroke_of(components: Any) -> Stroke | None:
    """Of a text's operation, a rich text's (a Delta), or an edit of a string in JSON. None: it is something else."""
    if not isinstance(components, list) or not components:
        return None
    first = components[0]
    if isinstance(first, dict) and "p" in first:
        edits = first.get("o", []) if len(components) == 1 else []
        if len(edits) != 1:
            return None
        [edit] = edits
        return Stroke(edit["p"], edit.get("i", ""), units(edit.get("d", "")), tuple(first["p"]))
    parts = [_plain(part) for part in components]
    at = 0
    if isinstance(parts[0], int) and parts[0] > 0:
        at = parts[0]
        del parts[0]
    part = parts[0] if len(parts) == 1 else None
    if isinstance(part, str):
        return Stroke(at, part, 0)
    return None if part is None or part > 0 else Stroke(at, "", -part)


def _plain(part: Any) -> int | str | None:
    """As text operations have it; None: only rich text has it."""
    if isinstance(part, int | str):
        return part
    if not isinstance(part, dict):
        return None
    if "delete" in part:
        return -int(part["delete"])
    if "retain" in part:
        return None if "attributes" in part else int(part["retain"])
    return part["insert"] if isinstance(part.get("insert"), str) else None


def continues(kind: DocumentType[Any, Any], before: Any, operation: Any) -> bool:
    """Whether ``operation``, made on what ``before`` gave, belongs to the same step."""
    last, stroke = stroke_of(kind.describe(before)), stroke_of(kind.describe(operation))
    if last is None or stroke is None or last.path != stroke.path:
        return False
    length = len if kind.units[0] == "unicode" else units
    if last.text and stroke.text:
        if max(length(last.text), length(stroke.text)) > MAX_TYPED or stroke.at != last.at + length(last.text):
            return False
        return not last.text[-1].isspace() or stroke.text[0].isspace()
    if last.text or stroke.text or max(last.removed, stroke.removed) > MAX_TYPED:
        return False
    return last.at in (stroke.at, stroke.at + stroke.removed)
