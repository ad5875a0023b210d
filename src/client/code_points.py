"""A text that is addressed as Python strings are, and operations cut to the size of a message. Used by documents."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal

from ..core.ot import Operation, invert
from ..core.text import Text

UNIT: Literal["unicode"] = "unicode"


class CodePoints:
    """A text addressed in code points, over the core's UTF-16 text. Edits cost what ``core.text`` says."""

    def __init__(self, text: str = "") -> None:
        self._text = Text(text)

    def __len__(self) -> int:
        return self._text.length(UNIT)

    def __str__(self) -> str:
        return str(self._text)

    def apply(self, operation: Operation) -> None:
        """All or nothing. Raises SynclineError as ``ot.apply``."""
        self._text.apply(self._text.to_unit(operation, "utf-16"))

    def invert(self, operation: Operation) -> Operation:
        """What undoes ``operation``, which applies to this text."""
        native = self._text.to_unit(operation, "utf-16")
        if not self._text.astral and not native.has_astral:
            return Operation(self._text.invert(native).components, UNIT)
        return invert(operation, str(self._text))

    def slice(self, start: int, end: int) -> str:
        if not self._text.astral:
            return self._text.slice(start, end)
        to = self._text.offset_to
        return self._text.slice(to(start, UNIT, "utf-16"), to(end, UNIT, "utf-16"))


def checksum(text: str) -> int:
    """CRC-32 over the text as UTF-16LE, as the server and every other client count it. O(n)."""
    return zlib.crc32(text.encode("utf-16-le"))


def size_of(operation: Operation) -> int:
    """Inserted characters plus components: what an operation costs in memory and on the wire, roughly."""
    return sum(len(part) + 1 if isinstance(part, str) else 1 for part in operation.components)


def split(operation: Operation, limit: int) -> tuple[Operation, Operation | None]:
    """Two operations that compose to ``operation``, the first of a size up to about ``limit``.

    The second starts behind what the first leaves: components act from left to right, so a cut anywhere is exact.
    """
    components = operation.components
    size = 0
    done = 0  # code points of the result that the first one covers
    edits = False  # whether the first one does anything yet: it must, or there would be no end
    for index, part in enumerate(components):
        if isinstance(part, str):
            room = limit - size - 1
            if len(part) > room:
                cut = max(room, 0 if edits else 1)
                first: list[Any] = [*components[:index], *([part[:cut]] if cut else [])]
                rest: list[Any] = [done + cut, *([part[cut:]] if part[cut:] else []), *components[index + 1 :]]
                return _pair(first, rest)
            size += len(part)
            done += len(part)
            edits = True
        elif part > 0:
            done += part
        else:
            edits = True
        size += 1
        if edits and size >= limit and index + 1 < len(components):
            return _pair(list(components[: index + 1]), [done, *components[index + 1 :]])
    return operation, None


def _pair(first: Sequence[int | str], rest: Sequence[int | str]) -> tuple[Operation, Operation | None]:
    parts = [part for part in rest if part != 0]
    second = Operation(parts, UNIT)
    return Operation(list(first), UNIT), None if second.is_identity else second
