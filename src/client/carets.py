"""Where the others in a document have their cursors, in the confirmed content. Sans-I/O."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from ..core.documents.document_type import DocumentType
from .document_values import Operation

#: Over so many operations a cursor is moved that is told late, and no more of them than are of so much ``bulk`` together are kept for
#: that: the oldest are let go of.
MOST_PASSED = 256
PASSED_BULK = 262_144


class Passed(NamedTuple):
    """An operation that was made on ``revision``."""

    revision: int
    operation: Operation
    author: str
    bulk: int


def inside(kind: DocumentType[Any, Any], content: Any, position: Any) -> Any:
    """No further than the end of ``content``."""
    return min(position, kind.length(content)) if isinstance(position, int) else position


class Carets:
    """``at``: (anchor, head) by client. What is told of a revision that is still to come is placed when that has come, and what is told of
    one that has passed is moved on: the operations up to there have moved it already, and those behind it have not."""

    def __init__(self, kind: DocumentType[Any, Any]) -> None:
        self.at: dict[str, tuple[Any, Any]] = {}
        self._kind = kind
        self._late: dict[str, tuple[int, Any, Any]] = {}
        self._passed: deque[Passed] = deque()  # the newest
        self._bulk = 0  # of those

    def put(self, client: str, anchor: Any, head: Any, revision: int, now: int, content: Any) -> None:
        """As it is told of ``revision``; None hides it. ``now``: the revision that is here, ``content``: what it has. Only the newest of a
        client counts."""
        if revision > now:
            self._late[client] = (revision, anchor, head)
            return
        self._late.pop(client, None)
        place = None if anchor is None or head is None else (anchor, head)
        for passed in self._passed:
            if passed.revision >= revision:
                place = self._moved(place, passed.operation, passed.author == client)
        if place is None:
            self.at.pop(client, None)
        else:
            self.at[client] = inside(self._kind, content, place[0]), inside(self._kind, content, place[1])

    def _moved(self, place: tuple[Any, Any] | None, operation: Operation, own: bool) -> tuple[Any, Any] | None:
        """As the server does: every operation moves all cursors, but an insert at one leaves it where it is, and sets its author's to
        its end."""
        kind = self._kind
        end = kind.end(operation) if own else None
        if end is not None:
            return end, end
        return None if place is None else (kind.move(operation, place[0]), kind.move(operation, place[1]))

    def move(self, operation: Operation, author: str, revision: int) -> None:
        """``operation`` was made on ``revision``. ``author``: empty for one's own."""
        if not self._kind.has_cursors:
            return
        for client in {*self.at, author} if author else [*self.at]:
            place = self._moved(self.at.get(client), operation, client == author)
            if place is not None:
                self.at[client] = place
        bulk = self._kind.bulk(operation)
        self._passed.append(Passed(revision, operation, author, bulk))
        self._bulk += bulk
        while len(self._passed) > MOST_PASSED or self._bulk > PASSED_BULK:
            self._bulk -= self._passed.popleft().bulk

    def reached(self, revision: int, content: Any) -> None:
        """This is the confirmed content now."""
        for client, (at, anchor, head) in [*self._late.items()]:
            if at <= revision:
                self.put(client, anchor, head, at, revision, content)

    def clear(self) -> None:
        self.at.clear()
        self._late.clear()
        self._passed.clear()
        self._bulk = 0
