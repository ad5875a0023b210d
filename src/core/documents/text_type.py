"""Plain text as a document type. Its documents have an engine of their own, which is fast: text_engine.pyx."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any
from zlib import crc32

from ..errors import ErrorCode, SynclineError
from ..ot.compose import compose_all
from ..ot.ot import Operation, Unit, apply, compose, diff, invert, map_position, transform
from ..storage.commits import Entry, decode_entries, encode_entries, new_text_snapshot
from ..storage.replay import replay_text
from ..text.text import Text
from ..values.text0 import Side, units
from .document_type import MOST_COMPOSED, DocumentType
from .text_engine import TextEngine

#: Characters of a text that is made piece by piece.
PIECE = 262_144


class TextType(DocumentType[str, Operation]):
    """Content is a string here; ``TextEngine`` keeps its own."""

    name = "text"
    drifts = True
    units = ("utf-16", "unicode")
    has_cursors = True
    blames = True

    def empty(self) -> str:
        return ""

    def parse_content(self, value: object, *, trusted: bool = False) -> str:
        if type(value) is not str:
            raise SynclineError(ErrorCode.OPERATION_INVALID, "a text is a string")
        units(value)
        return value

    def show(self, content: str) -> Any:
        return content

    def dump(self, content: str) -> str:
        return content

    def load(self, dumped: str) -> str:
        return dumped

    def size(self, content: str) -> int:
        return units(content)

    def length(self, content: str) -> int:
        return units(content)

    def hash(self, content: str) -> int:
        return crc32(content.encode("utf-16-le"))

    def parse(self, value: object) -> Operation:
        return Operation.parse(value)

    def parse_in(self, unit: Unit, value: object) -> Operation:
        return Operation.parse(value, unit)

    def labour(self, weight: int, others: int, count: int) -> int:
        return count // 20

    def describe(self, operation: Operation) -> Any:
        return operation.components

    def encode(self, operation: Operation) -> bytes:
        return encode_entries([Entry("", "", 1, operation)])

    def decode(self, data: bytes) -> Operation:
        [entry] = decode_entries(data)
        return entry.operation

    def digest(self, operation: Operation) -> int:
        return operation.digest

    def is_identity(self, operation: Operation) -> bool:
        return operation.is_identity

    def commit(self, content: str, size: int, operation: Operation, limit: int) -> tuple[str, int, Operation]:
        grown = operation.delta
        if grown > 0 and size + grown > limit:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units")
        return apply(content, operation), size + grown, operation

    def transform(self, operation: Operation, other: Operation, side: Side) -> Operation:
        return transform(operation, other, side)

    def compose(self, first: Operation, second: Operation) -> Operation:
        return compose(first, second)

    def composing(self, some: list[tuple[Operation, int]]) -> Generator[None, None, list[tuple[Operation, int]]]:
        joined: list[tuple[Operation, int]] = []
        start = size = 0
        for at, (operation, _) in enumerate(some):
            bulk = self.bulk(operation)
            if start < at and size + bulk > MOST_COMPOSED:
                joined.append(_as_one(some[start:at]))
                yield
                start, size = at, 0
            size += bulk
        return (yield from super().composing([*joined, _as_one(some[start:])] if some else []))

    def bulk(self, operation: Operation) -> int:
        return len(operation.text) + 4 * len(operation.components)

    def invert(self, operation: Operation, content: str) -> Operation:
        return invert(operation, content)

    def diff(self, before: str, after: str) -> Operation:
        return diff(before, after)

    def move(self, operation: Operation, position: int, stick: Side = "left") -> int:
        return map_position(position, operation, stick)

    def end(self, operation: Operation) -> int | None:
        return None if operation.is_identity else operation.end

    def engine(self, max_length: int, window_bytes: int, *, undone: bool) -> TextEngine:
        return TextEngine(max_length=max_length, ladder_bytes=window_bytes // 2, undone=undone)

    def encode_entries(self, entries: Sequence[Entry]) -> bytes:
        return encode_entries(list(entries))

    def decode_entries(self, body: bytes, skip: int = 0, count: int | None = None) -> list[Entry]:
        return decode_entries(body, skip, count)

    def replay(self, content: str, bodies: Iterable[tuple[bytes, int, int]]) -> Generator[None, None, tuple[str, int]]:
        text, count = (yield from text_of(content)), 0
        for body, skip, most in bodies:
            count += replay_text(text, body, skip, most)
            yield
        return (yield from _string(text)), count

    def new_snapshot(self, value: object, limit: int) -> bytes:
        text = self.parse_content(value)
        if units(text) > limit:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units")
        return new_text_snapshot(text)


def _as_one(some: list[tuple[Operation, int]]) -> tuple[Operation, int]:
    """One at least."""
    operation, count = some[0]
    if len(some) == 1:
        return operation, count
    return compose_all([one for one, _ in some], operation.unit), sum(count for _, count in some)


def text_of(content: str) -> Generator[None, None, Text]:
    """As the core keeps it, in steps."""
    text = Text()
    for start in range(0, len(content), PIECE):
        text.splice(len(text), 0, content[start : start + PIECE])
        yield
    return text


def _string(text: Text) -> Generator[None, None, str]:
    pieces, at = [], 0
    while at < len(text):
        end = min(at + PIECE, len(text))
        try:
            pieces.append(text.slice(at, end))
        except SynclineError:  # between the halves of a pair
            end += 1
            pieces.append(text.slice(at, end))
        at = end
        yield
    return "".join(pieces)
