"""Undo as a path that every commit moves at once: slow, whole, without bounds or groups. Beside core/documents/undo.pyx."""

from __future__ import annotations

from typing import Any

from syncline.core.documents.document_type import DocumentType, run


class Eager:
    """``undo`` and ``redo``: client -> operations, each leads from where the one above it has led."""

    def __init__(self, type: DocumentType[Any, Any]) -> None:
        self.type = type
        self.undo: dict[str, list[Any]] = {}
        self.redo: dict[str, list[Any]] = {}

    def of(self, client: str, kind: str) -> list[Any]:
        return (self.redo if kind == "redo" else self.undo).setdefault(client, [])

    def expected(self, client: str, kind: str) -> Any | None:
        for operation in reversed(self.of(client, kind)):
            if not self.type.is_identity(operation):
                return operation
        return None

    def commit(self, client: str, kind: str, operation: Any, inverse: Any) -> None:
        if kind == "edit" and self.type.is_identity(inverse):
            return  # it has changed nothing: nobody has to see it
        for stacks in (self.undo, self.redo):
            for other, path in stacks.items():
                if other != client:
                    self.move(path, operation)
        if kind == "edit":
            self.of(client, "redo").clear()
            self.of(client, "undo").append(inverse)
            return
        path = self.of(client, kind)
        while self.type.is_identity(path.pop()):
            # It was nothing: what is below applies in the same content.
            pass
        self.of(client, "undo" if kind == "redo" else "redo").append(inverse)

    def move(self, path: list[Any], step: Any) -> None:
        for index in reversed(range(len(path))):
            operation = path[index]
            path[index], step = run(self.type.yielding(operation, step))
