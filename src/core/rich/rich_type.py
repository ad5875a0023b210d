"""Rich text documents: Quill's Deltas as operations, a RichText as content."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import msgspec

from ..documents.document_type import NO_LIMIT
from ..documents.value_type import ValueType
from ..errors import ErrorCode, SynclineError
from ..values.json_values import json_decoder, same_value
from ..values.text0 import Side, units
from .rich import Delta
from .rich_text import RichText

_decode = json_decoder().decode


class RichType(ValueType[RichText, Delta]):
    """Content is changed in place."""

    name = "rich-text"
    drifts = True
    has_cursors = True

    def empty(self) -> RichText:
        return RichText()

    def is_empty(self, content: RichText) -> bool:
        return len(content) == 0

    def parse_content(self, value: object, *, trusted: bool = False) -> RichText:
        return document(Delta.parse([] if value is None else value, trusted=trusted))

    def show(self, content: RichText) -> Any:
        return content.document().shown

    def copy(self, content: RichText) -> RichText:
        return content.copy()

    def dump(self, content: RichText) -> str:
        return msgspec.json.encode(content.document().shown).decode()

    def load(self, dumped: str) -> RichText:
        try:
            return document(Delta.parse(_decode(dumped), trusted=True))
        except (ValueError, RecursionError, SynclineError) as error:
            raise ValueError(f"damaged content: {error}") from error

    def size(self, content: RichText) -> int:
        return content.size

    def length(self, content: RichText) -> int:
        return len(content)

    def hash(self, content: RichText) -> int:
        return content.hash()

    def hashing(self, content: RichText) -> Generator[None, None, int]:
        return content.hashing()

    def hash_labour(self, content: RichText, size: int) -> int:
        return content.hash_labour

    def parse(self, value: object) -> Delta:
        return Delta.parse(value)

    def describe(self, operation: Delta) -> Any:
        return operation.shown

    def encode(self, operation: Delta) -> bytes:
        return operation.encode()

    def decode(self, data: bytes) -> Delta:
        return Delta.decode(data)

    def digest(self, operation: Delta) -> int:
        return operation.digest

    def is_identity(self, operation: Delta) -> bool:
        return operation.is_identity

    def commit(self, content: RichText, size: int, operation: Delta, limit: int) -> tuple[RichText, int, Delta]:
        after = content.size_after(operation)
        if after > limit and after > content.size:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units, formats included")
        content.apply(operation)
        return content, content.size, operation

    def transform(self, operation: Delta, other: Delta, side: Side) -> Delta:
        return other.transform(operation, side == "right")

    def yielding(self, left: Delta, right: Delta) -> Generator[None, None, tuple[Delta, Delta]]:
        yield from ()
        return right.transform(left, False, True), left.transform(right, True, True)

    def cost(self, operation: Delta, other: Delta) -> int:
        return 1 + (operation.footprint + other.footprint) // 1024

    def weight(self, operation: Delta) -> int:
        return operation.footprint

    def labour(self, weight: int, others: int, count: int) -> int:
        return count + (count * weight + others) // 1024

    def footprint(self, operation: Delta, size: int) -> int:
        return operation.footprint

    def split(self, operation: Delta, limit: int = NO_LIMIT) -> list[Delta]:
        """Between what it does and inside inserted texts."""
        if self.bulk(operation) <= limit:
            return [operation]
        pieces: list[Delta] = []
        ops: list[dict[str, Any]] = []  # of the next piece, which begins behind what the ones before it leave
        done = size = 0  # UTF-16 units of the result that are covered; what the piece has so far
        waiting = operation.ops[::-1]
        while waiting:
            op = waiting.pop()
            text = op["insert"] if isinstance(op.get("insert"), str) else ""
            rest = len(msgspec.json.encode(op | {"insert": ""} if text else op))
            cost = rest + len(text.encode())
            if size and size + cost > limit:
                pieces.append(Delta.parse(ops, trusted=True))
                ops, size = [{"retain": done}] if done else [], 0
            if text and cost > limit:
                head = text.encode()[: max(limit - rest, 4)].decode(errors="ignore")
                if len(head) < len(text):
                    waiting.append(op | {"insert": text[len(head) :]})
                    op = op | {"insert": head}
            ops.append(op)
            if "insert" in op:
                done += width([(op["insert"], None)])
            done += op.get("retain", 0)
            if len(op) > 1 or "retain" not in op:
                size += cost
        return [*pieces, Delta.parse(ops, trusted=True)]

    def compose(self, first: Delta, second: Delta) -> Delta:
        return first.compose(second)

    def invert(self, operation: Delta, content: RichText) -> Delta:
        return content.invert(operation)

    def diff(self, before: RichText, after: RichText) -> Delta:
        """One replacement of what differs between the common beginning and end, and formats of those. O(both)."""
        if not len(before):
            return after.document()
        old, new = places(before.document().ops), places(after.document().ops)
        shorter = min(len(old), len(new))
        head = 0
        while head < shorter and same_value(old[head][0], new[head][0]):
            head += 1
        tail = 0
        while tail < shorter - head and same_value(old[-1 - tail][0], new[-1 - tail][0]):
            tail += 1
        ops = formats(old[:head], new[:head])
        for what, attributes in new[head : len(new) - tail]:
            ops.append({"insert": what, "attributes": attributes} if attributes else {"insert": what})
        if deleted := width(old[head : len(old) - tail]):
            ops.append({"delete": deleted})
        ops += formats(old[len(old) - tail :], new[len(new) - tail :])
        return Delta.parse(ops, trusted=True)

    def move(self, operation: Delta, position: int, stick: Side = "left") -> int:
        return operation.transform_position(position, stick == "left")

    def end(self, operation: Delta) -> int | None:
        return None if operation.is_identity else operation.end

    def stroke(self, operation: Delta) -> tuple[int, str] | None:
        at, ops = 0, operation.shown
        if ops and "retain" in ops[0] and "attributes" not in ops[0]:
            at, ops = ops[0]["retain"], ops[1:]
        if len(ops) != 1 or not isinstance(ops[0].get("insert"), str):
            return None
        return at, ops[0]["insert"]


def document(delta: Delta) -> RichText:
    """Raises SynclineError(operation_invalid) for a delta that is no document."""
    if not delta.is_document:
        raise SynclineError(ErrorCode.OPERATION_INVALID, "the content of a rich text is a list of inserts")
    return RichText(delta)


Place: TypeAlias = tuple[Any, dict[str, Any] | None]  # a character or an embed, and its attributes


def places(ops: list[dict[str, Any]]) -> list[Place]:
    """A document character by character."""
    return [
        (what, op.get("attributes"))
        for op in ops
        for what in (op["insert"] if isinstance(op["insert"], str) else [op["insert"]])
    ]


def formats(before: list[Place], after: list[Place]) -> list[dict[str, Any]]:
    """Retains that give the characters and embeds, which are the same, their new attributes."""
    ops: list[dict[str, Any]] = []
    seen: tuple[Any, Any] = (None, None)
    change: dict[str, Any] = {}
    for (what, old), (_, new) in zip(before, after, strict=True):
        units_wide = units(what) if isinstance(what, str) else 1
        if ops and old is seen[0] and new is seen[1]:
            ops[-1]["retain"] += units_wide
            continue
        seen, change = (old, new), changed(old or {}, new or {})
        ops.append({"retain": units_wide, "attributes": change} if change else {"retain": units_wide})
    return ops


def changed(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What makes ``after`` of ``before``."""
    gone: dict[str, Any] = {name: None for name in before if name not in after}
    new = {name: value for name, value in after.items() if name not in before or not same_value(before[name], value)}
    return gone | new


def width(some: list[Place]) -> int:
    """In UTF-16 code units; a text counts whole."""
    return sum(units(what) if isinstance(what, str) else 1 for what, _ in some)
