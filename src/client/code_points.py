"""Text addressed as Python strings are, as a type of document."""

from __future__ import annotations

import sys
from operator import attrgetter, eq
from typing import Any, Literal

from ..core.documents.text_type import TextType
from ..core.documents.value_type import ValueType
from ..core.ot.ot import Components, Operation, compose, diff, invert, map_position, transform
from ..core.text.text import Text
from ..core.values.text0 import Side

UNIT: Literal["unicode"] = "unicode"


class CodePoints:
    """A text addressed in code points, over the core's UTF-16 text. Edits cost what ``core.text.text`` says."""

    __slots__ = ("_text",)

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

    def hash(self) -> int:
        """CRC-32 over the text as UTF-16LE, as the server and every other client count it."""
        return self._text.hash()


class CodePointType(ValueType[CodePoints, Operation]):
    """Content is changed in place."""

    name = "text"
    drifts = True
    units = (UNIT,)
    has_cursors = True
    composes = True

    def empty(self) -> CodePoints:
        return CodePoints()

    def parse_content(self, value: object, *, trusted: bool = False) -> CodePoints:
        return CodePoints(_STORED.parse_content(value))

    def show(self, content: CodePoints) -> str:
        return str(content)

    def copy(self, content: CodePoints) -> CodePoints:
        return CodePoints(str(content))

    def dump(self, content: CodePoints) -> str:
        return str(content)

    def load(self, dumped: str) -> CodePoints:
        return CodePoints(dumped)

    def size(self, content: CodePoints) -> int:
        return _STORED.size(str(content))

    def length(self, content: CodePoints) -> int:
        return len(content)

    def hash(self, content: CodePoints) -> int:
        return content.hash()

    def parse(self, value: object) -> Operation:
        return Operation.parse(value, UNIT)

    def describe(self, operation: Operation) -> Any:
        return operation.components

    def encode(self, operation: Operation) -> bytes:
        return _STORED.encode(operation)

    def decode(self, data: bytes) -> Operation:
        return _STORED.decode(data)

    def digest(self, operation: Operation) -> int:
        return operation.digest

    def bulk(self, operation: Operation) -> int:
        """Inserted characters plus components."""
        return len(operation.text) + len(operation.components)

    def commit(
        self, content: CodePoints, size: int, operation: Operation, limit: int
    ) -> tuple[CodePoints, int, Operation]:
        content.apply(operation)
        return content, size, operation

    # Short ways: every keystroke goes several of them.

    def apply(self, content: CodePoints, operation: Operation) -> CodePoints:
        content.apply(operation)
        return content

    def applied(self, content: CodePoints, operation: Operation) -> tuple[CodePoints, Operation]:
        content.apply(operation)
        return content, operation

    transform = staticmethod(transform)
    compose = staticmethod(compose)

    is_identity = staticmethod(attrgetter("is_identity"))  # type: ignore[assignment]
    is_same = staticmethod(eq)  # type: ignore[assignment]

    def split(self, operation: Operation, limit: int = sys.maxsize) -> list[Operation]:
        """Anywhere: components act from left to right, and each piece begins behind what the ones before it leave."""
        if self.bulk(operation) <= limit:
            return [operation]
        pieces: list[Operation] = []
        parts: Components = []  # of the next piece
        done = size = 0  # code points of the result that are covered; the bulk of the piece
        edits = False  # whether it does anything yet
        for part in operation.components:
            at = 0
            while isinstance(part, int) or at < len(part):
                if edits and size + 1 >= limit:
                    pieces.append(Operation(parts, UNIT))
                    parts, size, edits = [done] if done else [], 1 if done else 0, False
                if isinstance(part, int):
                    parts.append(part)
                    done, size, edits = done + max(part, 0), size + 1, edits or part < 0
                    break
                head = part[at : at + max(limit - size - 1, 1)]
                parts.append(head)
                at, done, size, edits = at + len(head), done + len(head), size + len(head) + 1, True
        return [*pieces, Operation(parts, UNIT)] if edits else pieces

    def invert(self, operation: Operation, content: CodePoints) -> Operation:
        return content.invert(operation)

    def diff(self, before: CodePoints, after: CodePoints) -> Operation:
        return diff(str(before), str(after), UNIT)

    def end(self, operation: Operation) -> int:
        return operation.end

    def move(self, operation: Operation, position: int, stick: Side = "left") -> int:
        return map_position(position, operation, stick)


_STORED = TextType()
TEXT = CodePointType()
