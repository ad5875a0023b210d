"""Positions in JSON documents, for cursors: a path of keys and indexes to a value, as in operations; behind that of a string there may be
an offset in it, in UTF-16 code units. [] is the whole document.

A position follows what it names: an element of a list that moves, the characters around an offset. When that is removed it names what held
it; when it is replaced, the new one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from .errors import ErrorCode, SynclineError
from .text0 import Side, units

Path: TypeAlias = list[str | int]

#: Levels of a document, and an offset.
MAX_STEPS = 65


def parse(value: object) -> Path:
    """From outside. Raises SynclineError(invalid_data)."""
    if type(value) is not list or len(value) > MAX_STEPS:
        raise wrong(f"a position is a list of up to {MAX_STEPS} keys and indexes")
    if any(type(step) is not str and (type(step) is not int or step < 0) for step in value):
        raise wrong("a step of a position is a key or an index from 0 on")
    return value


def check(content: Any, path: Path) -> None:
    """Raises SynclineError(invalid_data) for what is no position in ``content``. O(path)."""
    for depth, step in enumerate(path):
        if isinstance(step, str):
            found = isinstance(content, dict) and step in content
        elif isinstance(content, str) and depth + 1 == len(path):
            if step <= units(content):
                return
            found = False
        else:
            found = isinstance(content, list) and step < len(content)
        if not found:
            raise wrong("a position that leads nowhere")
        content = content[step]


def wrong(what: str) -> SynclineError:
    return SynclineError(ErrorCode.INVALID_DATA, what)


def move(components: Sequence[dict[str, Any]], path: Path, stick: Side) -> Path:
    """Where ``path`` leads after an operation. Text that is inserted exactly at an offset leaves it, or pushes it on with "right".
    O(components + edits)."""
    for component in components:
        place = component["p"]
        if "o" in component:
            if len(path) == len(place) + 1 and path[:-1] == place and isinstance(path[-1], int):
                path = [*place, move_offset(component["o"], path[-1], stick)]
        elif "na" not in component:
            path = move_past(component, place, path)
    return path


def move_offset(edits: Sequence[dict[str, Any]], offset: int, stick: Side) -> int:
    for edit in edits:
        at = edit["p"]
        if "i" in edit:
            if at < offset or (at == offset and stick == "right"):
                offset += units(edit["i"])
        elif at < offset:
            offset -= min(units(edit["d"]), offset - at)
    return offset


def move_past(component: dict[str, Any], place: Path, path: Path) -> Path:
    depth = len(place) - 1
    if depth < 0:  # the whole document is another
        return []
    if len(path) <= depth or path[:depth] != place[:depth]:
        return path
    step, other = path[depth], place[depth]
    if "oi" in component or "od" in component:
        return path if step != other or "od" not in component else place if "oi" in component else place[:-1]
    if not isinstance(step, int) or not isinstance(other, int):
        return path
    if "lm" in component:
        target = component["lm"]
        if step == other:
            moved = target
        else:
            moved = step - (step > other)
            moved += moved >= target
    elif "ld" in component:
        if step == other:
            return place if "li" in component else place[:-1]
        moved = step if "li" in component else step - (step > other)
    else:
        moved = step + (other <= step)
    return [*path[:depth], moved, *path[depth + 1 :]]


def end(components: Sequence[dict[str, Any]]) -> Path | None:
    """Where the one who has done this is afterwards; None: nothing was done."""
    if not components:
        return None
    component = components[-1]
    place: Path = component["p"]
    if "o" in component:
        edit = component["o"][-1]
        return [*place, edit["p"] + units(edit.get("i", ""))]
    if "lm" in component:
        return [*place[:-1], component["lm"]]
    if "na" in component or "oi" in component or "li" in component:
        return place
    return place[:-1]
