"""A fourth type of documents, in one file: an integer, and operations that add to it."""

from __future__ import annotations

from typing import Any

from syncline.core.documents.value_type import ValueType
from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.types import DOCUMENT_TYPES
from syncline.core.values.text0 import Side


def integer(value: object) -> int:
    if type(value) is not int or abs(value) >= 2**31:
        raise SynclineError(ErrorCode.OPERATION_INVALID, "a counter counts in integers")
    return value


class CounterType(ValueType[int, int]):
    name = "counter"

    def empty(self) -> int:
        return 0

    def parse_content(self, value: object, *, trusted: bool = False) -> int:
        return 0 if value is None else integer(value)

    def show(self, content: int) -> Any:
        return content

    def dump(self, content: int) -> str:
        return str(content)

    def load(self, dumped: str) -> int:
        return int(dumped)

    def size(self, content: int) -> int:
        return 1

    def hash(self, content: int) -> int:
        return content % 2**32

    def parse(self, value: object) -> int:
        return integer(value)

    def describe(self, operation: int) -> Any:
        return operation

    def encode(self, operation: int) -> bytes:
        return str(operation).encode()

    def decode(self, data: bytes) -> int:
        return int(data)

    def digest(self, operation: int) -> int:
        return operation % 2**64

    def is_identity(self, operation: int) -> bool:
        return operation == 0

    def commit(self, content: int, size: int, operation: int, limit: int) -> tuple[int, int, int]:
        return integer(content + operation), 1, operation

    def transform(self, operation: int, other: int, side: Side) -> int:
        return operation

    def compose(self, first: int, second: int) -> int:
        return first + second

    def invert(self, operation: int, content: int) -> int:
        return -operation

    def diff(self, before: int, after: int) -> int:
        return after - before


def register() -> None:
    DOCUMENT_TYPES["counter"] = CounterType()
