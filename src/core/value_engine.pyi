"""Documents of any ``DocumentType``. See value_engine.pyx."""

from typing import Any, final

from .document_type import DocumentType
from .engine import Engine
from .ot import Unit
from .window import Commit, Kind

#: The limit of what was committed already.
NO_LIMIT: int

@final
class TypedEntry(Commit):
    """One committed operation of any type."""

    def __init__(
        self,
        type: DocumentType[Any, Any],
        client: str,
        user: str,
        seq: int,
        operation: Any,
        time: float = 0.0,
        digest: int | None = None,
        kind: Kind = "edit",
    ) -> None:
        """``digest``: of the operation as it was submitted; by default that of ``operation``."""
    @property
    def type(self) -> DocumentType[Any, Any]: ...
    @property
    def operation(self) -> Any: ...
    @property
    def payload(self) -> bytes:
        """The operation as bytes, for the log."""
    def told(self, unit: Unit = "utf-16") -> Any:
        """The operation as the protocol shows it."""
    def in_unit(self, unit: Unit = "utf-16") -> Any:
        """The operation; there is one unit."""
    @property
    def bulk(self) -> int:
        """About how many characters it takes to tell it. O(1)."""

@final
class ValueEngine(Engine):
    """Over a DocumentType."""

    def __init__(self, type: DocumentType[Any, Any], *, max_length: int = 16_777_216, undone: bool = True) -> None:
        """``undone``: whether anything can be undone."""
    @property
    def type(self) -> DocumentType[Any, Any]: ...
    @property
    def size(self) -> int:
        """Of the content, as the type counts it."""

def first_snapshot(type: DocumentType[Any, Any], value: object, limit: int) -> bytes:
    """See ``DocumentType.new_snapshot``."""

def encode_typed_entries(entries: list[TypedEntry]) -> bytes:
    """The body of one turn in the store."""

def decode_typed_entries(
    type: DocumentType[Any, Any], body: bytes, skip: int = 0, count: int | None = None
) -> list[TypedEntry]:
    """The inverse, from number ``skip`` on at most ``count`` of them. Raises ValueError on a damaged body."""
