"""Edits inside a string of a JSON document, slowly and obviously: what core/values/text0.pyx does, over plain lists and dicts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

from syncline.core.errors import ErrorCode, SynclineError

Side: TypeAlias = Literal["left", "right"]
Edit: TypeAlias = dict[str, Any]
C = TypeVar("C")


def invalid(what: str) -> SynclineError:
    return SynclineError(ErrorCode.OPERATION_INVALID, what)


def out_of_range(what: str) -> SynclineError:
    return SynclineError(ErrorCode.OPERATION_OUT_OF_RANGE, what)


# -------------------------------------------------------------------------------------------------- strings in UTF-16


def units(text: str) -> int:
    """Length in UTF-16 code units. Raises SynclineError(operation_invalid) for a lone surrogate."""
    if text.isascii():
        return len(text)
    try:
        return len(text.encode("utf-16-le")) // 2
    except UnicodeEncodeError:
        raise invalid("a lone surrogate") from None


def cut(text: str, start: int, end: int) -> str:
    """The code units from ``start`` to ``end``. Raises SynclineError(operation_invalid) when that splits a pair."""
    if text.isascii():
        return text[start:end]
    try:
        return text.encode("utf-16-le")[2 * start : 2 * end].decode("utf-16-le")
    except UnicodeDecodeError:
        raise invalid("it splits a surrogate pair") from None


def inject(text: str, position: int, inserted: str) -> str:
    """``inserted`` at ``position``. Raises as ``cut``."""
    return cut(text, 0, position) + inserted + cut(text, position, units(text))


# --------------------------------------------------------------------------------------------------------- operations


def apply(text: str, edits: list[Edit]) -> str:
    """The string after the edits. Raises SynclineError: operation_out_of_range; operation_invalid (splits a pair,
    deletes what is not there)."""
    for one in edits:
        position = one["p"]
        length = units(text)
        if position > length:
            raise out_of_range("an edit past the end of its string")
        if "i" in one:
            text = inject(text, position, one["i"])
        else:
            end = position + units(one["d"])
            if cut(text, position, end) != one["d"]:
                raise invalid("the text to delete is not what is there")
            text = cut(text, 0, position) + cut(text, end, length)
    return text


def append(edits: list[Edit], edit: Edit) -> None:
    """Adds ``edit`` to ``edits``, into the last one where the two touch."""
    if edits and edit.get("i", edit.get("d")):
        last = edits[-1]
        if "i" in last and "i" in edit and last["p"] <= edit["p"] <= last["p"] + units(last["i"]):
            edits[-1] = {"p": last["p"], "i": inject(last["i"], edit["p"] - last["p"], edit["i"])}
            return
        if "d" in last and "d" in edit and edit["p"] <= last["p"] <= edit["p"] + units(edit["d"]):
            edits[-1] = {"p": edit["p"], "d": inject(edit["d"], last["p"] - edit["p"], last["d"])}
            return
    if edit.get("i", edit.get("d")):
        edits.append(edit)


def compose(first: list[Edit], second: list[Edit]) -> list[Edit]:
    """What ``first`` and then ``second`` do."""
    result = list(first)
    for edit in second:
        append(result, edit)
    return result


def invert(edits: list[Edit]) -> list[Edit]:
    """What undoes the edits."""
    return [{"p": edit["p"], ("d" if "i" in edit else "i"): edit.get("i", edit.get("d"))} for edit in reversed(edits)]


def move(position: int, other: Edit, after: bool) -> int:
    """Where a position goes. ``after``: an insert exactly there pushes it on."""
    at: int = other["p"]
    if "i" in other:
        return position + units(other["i"]) if at < position or (at == position and after) else position
    return max(at, position - units(other["d"])) if position > at else position


def transform_edit(result: list[Edit], edit: Edit, other: Edit, side: Side) -> None:
    """Appends to ``result`` what ``edit`` is after ``other``. Raises SynclineError(operation_invalid) when both
    delete at one place and disagree about what is there."""
    position: int = edit["p"]
    if "i" in edit:
        append(result, {"p": move(position, other, side == "right"), "i": edit["i"]})
        return
    deleted: str = edit["d"]
    at: int = other["p"]
    end = position + units(deleted)
    if "i" in other:
        rest = deleted
        if position < at:
            append(result, {"p": position, "d": cut(deleted, 0, at - position)})
            rest = cut(deleted, at - position, end - position)
        append(result, {"p": position + units(other["i"]), "d": rest})
        return
    other_end = at + units(other["d"])
    if position >= other_end:
        append(result, {"p": position - (other_end - at), "d": deleted})
    elif end <= at:
        append(result, edit)
    else:
        low, high = max(position, at), min(end, other_end)
        if cut(deleted, low - position, high - position) != cut(other["d"], low - at, high - at):
            raise invalid("the text to delete is not what is there")
        kept = cut(deleted, 0, low - position) + cut(deleted, high - position, end - position)
        append(result, {"p": min(position, at), "d": kept})


def transform(edits: list[Edit], other: list[Edit], side: Side) -> list[Edit]:
    """``edits`` as they must be made after ``other``. "left" inserts before what other inserts at the same place."""
    if side == "left":
        return cross(edits, other, transform_edit, append)[0]
    return cross(other, edits, transform_edit, append)[1]


def cross(
    left: list[C],
    right: list[C],
    step: Callable[[list[C], C, C, Side], None],
    add: Callable[[list[C], C], None],
) -> tuple[list[C], list[C]]:
    """Both lists past each other, given ``step`` for one component past one and ``add`` to a list. O(left x right).

    Each component of ``right`` walks through all of ``left``. Where it falls apart, its pieces have the rest of
    ``left`` before them; upstream recurses there, here a stack keeps what lies behind, so that no length of input can
    exhaust Python's.
    """
    moved: list[C] = []
    behind: list[tuple[list[C], deque[C]]] = []
    waiting = deque(right)
    while True:
        if not waiting:
            if not behind:
                return left, moved
            walked, waiting = behind.pop()
            for component in left:
                add(walked, component)
            left = walked
            continue
        walker = waiting.popleft()
        walked = []
        for index, component in enumerate(left):
            pieces: list[C] = []
            step(walked, component, walker, "left")
            step(pieces, walker, component, "right")
            if len(pieces) == 1:
                walker = pieces[0]
                continue
            rest = left[index + 1 :]
            if pieces:
                behind.append((walked, waiting))
                left, waiting = rest, deque(pieces)
            else:
                for component in rest:
                    add(walked, component)
                left = walked
            break
        else:
            add(moved, walker)
            left = walked
