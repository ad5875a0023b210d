"""The types of documents. Another one is a folder with a ``ValueType`` and a line in ``DOCUMENT_TYPES``; docs/types.md."""

from __future__ import annotations

from typing import Any

from .documents.document import Document
from .documents.document_type import DocumentType
from .documents.text_type import TextType
from .errors import ErrorCode, SynclineError
from .json.json_type import JsonType
from .rich.rich_type import RichType

DOCUMENT_TYPES: dict[str, DocumentType[Any, Any]] = {
    "text": TextType(),
    "rich-text": RichType(),
    "json": JsonType(),
}


def document_type(name: str) -> DocumentType[Any, Any]:
    """Raises SynclineError(invalid_data) for a name that is none."""
    found = DOCUMENT_TYPES.get(name)
    if found is None:
        raise SynclineError(ErrorCode.INVALID_DATA, f"no document type {name!r}")
    return found


def open_document(type_name: str, id: str, generation: str, **bounds: int) -> Document:
    """An empty document of a type. ``bounds``: ``max_length``, and those that ``Document`` has. Raises
    SynclineError(invalid_data)."""
    return document_type(type_name).open(id, generation, **bounds)
