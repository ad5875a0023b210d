"""What a document's state machine takes and gives: edits on their way, what has arrived, what has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

Operation: TypeAlias = Any  # of the document's type
RequestKind = Literal["undo", "redo", "restore", "initialize"]
Kind = Literal["edit", "undo", "redo", "restore"]
Origin = Literal["local", "remote", "refused", "reset", "undo", "redo", "restore", "healed", "rebased"]


#: What a request that waits counts for of ``pending_limit``, at least: it takes little to tell, but some memory.
REQUEST_BULK = 4096


class Change(NamedTuple):
    """What happened to the view. ``client`` made it; empty when nobody in particular did. ``operation`` None: all of it may be another,
    after a "reset" of a content that was damaged."""

    operation: Operation
    origin: Origin
    client: str


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """An undo, redo, restore or initialize on its way. ``to``: the revision to restore; ``content``: the first one. ``bulk``: what it
    counts for of what may wait."""

    kind: RequestKind
    to: int = 0
    content: Any = None
    bulk: int = REQUEST_BULK

    @property
    def committed_as(self) -> Kind:
        return "restore" if self.kind == "initialize" else self.kind


class Submission(NamedTuple):
    """What goes out as document:operation, or as document:undo, document:redo, document:restore, document:initialize."""

    seq: int
    revision: int
    work: Operation | Request


class Committed(NamedTuple):
    """One operation of the server's history, as it arrived. ``own``: it is the ack of one's own.

    ``span`` > 1: that many operations of others, composed, because this client was away for long; ``client`` is empty.
    """

    revision: int
    client: str
    seq: int
    own: bool
    kind: Kind = "edit"
    span: int = 1


class Arrived(NamedTuple):
    client: str
    seq: int
    operation: Operation
    kind: Kind
    span: int


class Pending(NamedTuple):
    """What a join tells of the edits that wait. ``seq``: it was sent under this number; None: never."""

    seq: int | None
    operation: Operation


@dataclass(slots=True)
class Held:
    """A committed operation that the view does not show yet. ``operation`` applies after the ones held before it."""

    revision: int
    client: str
    seq: int
    operation: Operation
    origin: Origin


class LostWork(NamedTuple):
    """Edits that no longer have a document to go to: it was created anew, or the handle has ended before they were acknowledged.

    ``content`` is what the user saw; ``operations`` are what was not acknowledged, one after another, against the confirmed ``base``.
    """

    content: Any
    base: Any
    operations: list[Operation]
