"""Where the others in a document have their cursors, in the confirmed content. Sans-I/O."""

from __future__ import annotations

from typing import Any

from ..core.document_type import DocumentType
from .document_values import Operation


def inside(kind: DocumentType[Any, Any], content: Any, position: Any) -> Any:
    """No further than the end of ``content``."""
    return min(position, kind.length(content)) if isinstance(position, int) else position


class Carets:
    """``at``: (anchor, head) by client. What is told of a revision that is still to come is placed when that has come: neither before nor
    after, for the operations up to there have moved it already, and those behind it have not."""

    def __init__(self, kind: DocumentType[Any, Any]) -> None:
        self.at: dict[str, tuple[Any, Any]] = {}
        self._kind = kind
        self._late: dict[str, tuple[int, Any, Any]] = {}

    def place(self, client: str, anchor: Any, head: Any, content: Any) -> None:
        """None hides it."""
        self._late.pop(client, None)
        if anchor is None or head is None:
            self.at.pop(client, None)
        else:
            self.at[client] = inside(self._kind, content, anchor), inside(self._kind, content, head)

    def place_later(self, client: str, anchor: Any, head: Any, revision: int) -> None:
        """At ``revision``; only the newest of a client counts."""
        self._late[client] = (revision, anchor, head)

    def move(self, operation: Operation, author: str) -> None:
        """As the server does: every operation moves all cursors, but an insert at one leaves it where it is, and sets its author's to
        its end."""
        kind = self._kind
        for client, (anchor, head) in self.at.items():
            self.at[client] = kind.move(operation, anchor), kind.move(operation, head)
        if author and kind.has_cursors:
            end = kind.end(operation)
            if end is not None:
                self.at[author] = (end, end)

    def reached(self, revision: int, content: Any) -> None:
        """This is the confirmed content now."""
        for client, (at, anchor, head) in [*self._late.items()]:
            if at <= revision:
                self.place(client, anchor, head, content)

    def clear(self) -> None:
        self.at.clear()
        self._late.clear()
