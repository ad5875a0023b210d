"""JSON documents: the content is a JSON value, first null, and the operations are those of json0.pyx."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from ..documents.document_type import MOST_COMPOSED, NO_LIMIT
from ..documents.value_type import ValueType
from ..errors import ErrorCode, SynclineError
from ..values.content_hash import ContentHasher, content_hash
from ..values.json_values import VALUE_FACTOR, Value, check_value, json_decoder, long_texts, size
from ..values.text0 import Side
from . import json0
from . import positions as json_positions
from .json0 import Op
from .positions import Place

#: Bytes that composing two operations may copy: some milliseconds.
COPIED = 32_000_000

#: Bytes from which on it is worth looking how much of an operation is text.
LARGE = 4096

_decoder = msgspec.msgpack.Decoder()
_decode = json_decoder().decode


class JsonType(ValueType[Value, Op]):
    """Content is shared between revisions and never changed in place."""

    name = "json"
    has_cursors = True

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
        return operation.components

    def encode(self, operation: Op) -> bytes:
        return operation.encode()

    def decode(self, data: bytes) -> Op:
        try:
            return json0.parse(_decoder.decode(data), trusted=True)
        except (ValueError, RecursionError, SynclineError) as error:
            raise ValueError(f"damaged operation: {error}") from error

    def digest(self, operation: Op) -> int:
        return operation.digest

    def is_identity(self, operation: Op) -> bool:
        return len(operation) == 0

    def commit(self, content: Value, size: int, operation: Op, limit: int) -> tuple[Value, int, Op]:
        after, told = json0.resolve(content, operation, json0.MAX_SHIFTED if limit < NO_LIMIT else None)
        grown = told.growth
        if grown > 0 and size + grown > limit:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units of JSON")
        if limit < NO_LIMIT and told.count > json0.MAX_COMPONENTS:
            raise SynclineError(ErrorCode.OPERATION_INVALID, f"more than {json0.MAX_COMPONENTS} components")
        return after, size + grown, told

    def transform(self, operation: Op, other: Op, side: Side) -> Op:
        return json0.transform(operation, other, side)

    def crossing(self, left: Op, right: Op) -> Generator[None, None, tuple[Op, Op]]:
        # A client may ask for thousands of these, with large values that it says were there: they are not looked into.
        return json0.crossing(left, right)

    def yielding(self, left: Op, right: Op) -> Generator[None, None, tuple[Op, Op]]:
        return json0.crossing(left, right, yields=True)

    def cost(self, operation: Op, other: Op) -> int:
        return operation.cost(other)

    def weight(self, operation: Op) -> int:
        return operation.weight

    def labour(self, weight: int, others: int, count: int) -> int:
        return count + weight * others // 3

    def without_claims(self, operation: Op) -> Op:
        return operation.without_claims()

    def footprint(self, operation: Op, size: int) -> int:
        return VALUE_FACTOR * size - (long_texts(operation.components) if size > LARGE else 0)

    def bulk(self, operation: Op) -> int:
        """About how many bytes it takes to tell it: what limits of sending count."""
        return len(operation.encode())

    def split(self, operation: Op, limit: int = NO_LIMIT) -> list[Op]:
        """In pieces of at most about ``limit`` in ``bulk``; a value that is larger stays in one."""
        return operation.split(limit)

    def compose(self, first: Op, second: Op) -> Op:
        return json0.compose(first, second)

    def composable(self, first: Op, second: Op) -> bool:
        if first.count + second.count > json0.MAX_COMPONENTS:
            return False
        bulk = self.bulk(first)  # each edit of the second one may copy a text of the first
        return bulk + self.bulk(second) <= MOST_COMPOSED and bulk * second.count <= COPIED

    def invert(self, operation: Op, content: Value) -> Op:
        return json0.invert(operation, content)

    inverts_told = True

    def invert_told(self, operation: Op) -> Op:
        return json0.invert_told(operation)

    def diff(self, before: Value, after: Value) -> Op:
        return json0.diff(before, after)

    def drift(self, before: Value, after: Value) -> Op:
        return json0.drift(before, after)

    def parse_position(self, value: object) -> Place:
        return json_positions.read(value)

    def check_position(self, content: Value, position: Place) -> None:
        json_positions.check(content, position)

    def move(self, operation: Op, position: Place, stick: Side = "left") -> Place:
        return json_positions.move(operation, position, stick == "right")

    def places(self, operation: Op) -> int:
        return operation.places

    def end(self, operation: Op) -> Place | None:
        return json_positions.end(operation)

    def stroke(self, operation: Op) -> tuple[Place, str] | None:
        return json_positions.stroke(operation)

    def is_same(self, planned: Op, applied: Op) -> bool:
        """``commit`` says what is really removed."""
        return planned.is_same(applied)
