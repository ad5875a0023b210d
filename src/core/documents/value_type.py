"""A document type whose content is any Python object: what most types are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from .document_type import DocumentType
from .engine import Engine
from .value_engine import ValueEngine, decode_typed_entries, encode_typed_entries, first_snapshot

C = TypeVar("C")
O = TypeVar("O")  # noqa: E741  # an operation


class ValueType(DocumentType[C, O]):
    """What is left to say is what an operation does, and how it and a content are written."""

    def engine(self, max_length: int, window_bytes: int, *, undone: bool) -> Engine:
        return ValueEngine(self, max_length=max_length, undone=undone)

    def encode_entries(self, entries: Sequence[Any]) -> bytes:
        return encode_typed_entries(list(entries))

    def decode_entries(self, body: bytes, skip: int = 0, count: int | None = None) -> list[Any]:
        return decode_typed_entries(self, body, skip, count)

    def new_snapshot(self, value: object, limit: int) -> bytes:
        return first_snapshot(self, value, limit)
