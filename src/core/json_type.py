"""JSON documents: the content is a JSON value, first null, and the operations are those of json0.py."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from . import json0, json_position
from .content_hash import ContentHasher, content_hash
from .document_type import DocumentType
from .entries import payload_digest
from .errors import ErrorCode, SynclineError
from .json0 import Component, Op
from .json_values import Value, check_value, json_decoder, same_value, size
from .text0 import Side, units
from .typed_document import NO_LIMIT

# Sorted keys: the same operation gives the same bytes, in whatever order a client writes its objects.
_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder()
_decode = json_decoder().decode


class JsonType(DocumentType[Value, Op]):
    """Content is shared between revisions and never changed in place."""

    name = "json"

    def empty(self) -> Value:
        return None

    def parse_content(self, value: object, *, trusted: bool = False) -> Value:
        return check_value(value)

    def show(self, content: Value) -> Any:
        return content

    def dump(self, content: Value) -> str:
        return msgspec.json.encode(content).decode()

    def load(self, dumped: str) -> Value:
        try:
            return check_value(_decode(dumped))
        except (ValueError, RecursionError, SynclineError) as error:
            raise ValueError(f"damaged content: {error}") from error

    def size(self, content: Value) -> int:
        return size(content)

    def hash(self, content: Value) -> int:
        return content_hash(content)

    def hashing(self, content: Value) -> Generator[None, None, int]:
        hasher = ContentHasher(content)
        while not hasher.work(20_000):
            yield
        return hasher.value

    def parse(self, value: object) -> Op:
        return json0.parse(value)

    def describe(self, operation: Op) -> Any:
        return operation

    def encode(self, operation: Op) -> bytes:
        return _encoder.encode(operation)

    def decode(self, data: bytes) -> Op:
        try:
            return json0.parse(_decoder.decode(data))
        except (ValueError, RecursionError, SynclineError) as error:
            raise ValueError(f"damaged operation: {error}") from error

    def digest(self, operation: Op) -> int:
        return payload_digest(_encoder.encode(operation))

    def is_identity(self, operation: Op) -> bool:
        return not operation

    def commit(self, content: Value, size: int, operation: Op, limit: int) -> tuple[Value, int, Op]:
        after, told = json0.resolve(content, operation, json0.MAX_SHIFTED if limit < NO_LIMIT else None)
        grown = sum(map(growth, told))
        if grown > 0 and size + grown > limit:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units of JSON")
        if limit < NO_LIMIT and sum(map(weight, told)) > json0.MAX_COMPONENTS:
            raise SynclineError(ErrorCode.OPERATION_INVALID, f"more than {json0.MAX_COMPONENTS} components")
        return after, size + grown, told

    def transform(self, operation: Op, other: Op, side: Side) -> Op:
        return json0.transform(operation, other, side)

    def rebase(self, operation: Op, other: Op, side: Side) -> Op:
        # A client may ask for thousands of these, with large values that it says were there: they are not looked into.
        return json0.transform(operation, other, side, victims=False)

    def cost(self, operation: Op, other: Op) -> int:
        return 4 * self.weight(operation) * self.weight(other)

    def weight(self, operation: Op) -> int:
        return sum(map(heft, operation))

    def labour(self, weight: int, others: int, count: int) -> int:
        return 4 * weight * others

    def split(self, operation: Op, limit: int = NO_LIMIT) -> list[Op]:
        pieces: list[Op] = [[]]
        room, left = json0.MAX_COMPONENTS, limit
        for component in (part for whole in operation for part in parts(whole)):
            size = len(_encoder.encode(component)) if limit < NO_LIMIT else 0
            room, left = room - weight(component), left - size
            if (room < 0 or left < 0) and pieces[-1]:
                pieces.append([])
                room, left = json0.MAX_COMPONENTS - weight(component), limit - size
            pieces[-1].append(component)
        return pieces

    def compose(self, first: Op, second: Op) -> Op:
        return json0.compose(first, second)

    def invert(self, operation: Op, content: Value) -> Op:
        return json0.invert(operation, content)

    inverts_told = True

    def invert_told(self, operation: Op) -> Op:
        return json0.invert_told(operation)

    def diff(self, before: Value, after: Value) -> Op:
        return json0.diff(before, after)

    def move(self, operation: Op, position: json_position.Path, stick: Side = "left") -> json_position.Path:
        return json_position.move(self.describe(operation), position, stick)

    def end(self, operation: Op) -> json_position.Path | None:
        return json_position.end(self.describe(operation))

    def parse_position(self, value: object) -> json_position.Path:
        return json_position.parse(value)

    def check_position(self, content: Value, position: json_position.Path) -> None:
        if not self.has_cursors:  # the server's part of it counts
            raise SynclineError(ErrorCode.INVALID_DATA, "JSON documents have no cursors yet")
        json_position.check(content, position)

    def is_same(self, planned: Op, applied: Op) -> bool:
        """``commit`` says what is really removed."""
        return same_value([kept(component) for component in planned], [kept(component) for component in applied])


def kept(component: Component) -> Component:
    """Without the values that it removes."""
    return {name: name in REMOVED or value for name, value in component.items()}


REMOVED = {"od", "ld"}


def parts(component: Component) -> list[Component]:
    """The same with so many edits of a string at most as one operation may have."""
    edits = component.get("o", [])
    if len(edits) <= json0.MAX_COMPONENTS:
        return [component]
    return [
        component | {"o": edits[at : at + json0.MAX_COMPONENTS]} for at in range(0, len(edits), json0.MAX_COMPONENTS)
    ]


def weight(component: Component) -> int:
    """1, or how many edits of a string it has."""
    return len(component["o"]) if "o" in component else 1


def heft(component: Component) -> int:
    """What it counts for in transforms: edits copy what they insert or remove."""
    if "o" not in component:
        return 1
    return sum(1 + len(edit.get("i", edit.get("d", ""))) // 8192 for edit in component["o"])


def growth(component: Component) -> int:
    """By how much a component that tells the truth changes the size of the content."""
    if "o" in component:
        return sum(units(edit["i"]) if "i" in edit else -units(edit["d"]) for edit in component["o"])
    grown = 0
    if "oi" in component or "od" in component:
        path = component["p"]
        if path and ("oi" in component) != ("od" in component):
            key = units(path[-1]) + 3
            grown += key if "oi" in component else -key
    for name, sign in (("oi", 1), ("li", 1), ("od", -1), ("ld", -1)):
        if name in component:
            grown += sign * size(component[name])
    return grown
