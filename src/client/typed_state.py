"""A document of any type as one client holds it: confirmed content, operation in flight, operation that waits. Sans-I/O.

    confirmed --in flight--> . --waiting--> content
    ^ the server's at ``revision``          ^ what the user sees and edits

The same discipline as for text (document_state.py), without what only texts have: views that hold back, undo, hashes,
composed histories. One operation is in flight; what is done meanwhile is composed into the one that waits. The server
puts an arriving operation to the left of its history, so here the own ones are left of what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ..core.document_type import DocumentType
from ..core.errors import SynclineError
from .errors import BufferFull, Diverged

TypedOrigin = Literal["local", "remote", "refused", "reset", "rebased"]


class TypedChange(NamedTuple):
    """``operation`` as JSON; None: all of the content may be another."""

    operation: Any
    origin: TypedOrigin


class LostContent(NamedTuple):
    """Edits that no longer have a document to go to: it was created anew. ``content`` is what the user saw."""

    content: Any
    operations: list[Any]


class TypedSubmission(NamedTuple):
    seq: int
    revision: int
    operation: Any


class TypedState:
    """Feed it what the server says; it answers with what changed. Raises Diverged when the two do not fit."""

    def __init__(self, type: DocumentType[Any, Any], client: str, pending_limit: int = 4_194_304) -> None:
        """``pending_limit``: bytes of operations that wait; over it ``edit`` raises BufferFull."""
        self.type = type
        self.client = client
        self.generation = ""
        self.revision = 0
        self.attached = False
        self.seq = 0
        self.in_flight: Any = None
        self.waiting: list[Any] = []  # operations in a row; the last one is composed with what is done
        self._sent = False
        self._size = 0
        self._pending_limit = pending_limit
        self._confirmed: Any = type.empty()
        self._held: Any = type.empty()

    @property
    def content(self) -> Any:
        """As a JSON value, not to be changed. O(content) for types that keep another form."""
        return self.type.show(self._held)

    @property
    def settled(self) -> bool:
        return self.in_flight is None and not self.waiting

    @property
    def _pending(self) -> list[Any]:
        return [*([] if self.in_flight is None else [self.in_flight]), *self.waiting]

    # Local edits -----------------------------------------------------------------------------------------------------
    def edit(self, value: Any) -> TypedChange:
        """Raises SynclineError when it does not fit, BufferFull; nothing is changed then."""
        operation = self.type.parse(value)
        size = len(self.type.encode(operation))
        if not self.waiting:
            self._size = 0
        if self._size + size > self._pending_limit:  # an upper bound, made exact where it matters
            self._size = sum(len(self.type.encode(one)) for one in self.waiting)
            if self._size + size > self._pending_limit:
                raise BufferFull(f"more than {self._pending_limit} bytes wait to be acknowledged")
        self._held, _, told = self.type.commit(self._held, 0, operation, 2**62)
        self.waiting[-1:] = self._joined([*self.waiting[-1:], told])
        self._size += size
        return TypedChange(self.type.describe(told), "local")

    def _joined(self, operations: Sequence[Any]) -> list[Any]:
        """In a row, as few as may be sent in one go."""
        result: list[Any] = []
        for operation in operations:
            if result:
                operation = self.type.compose(result.pop(), operation)
            result += [one for one in self.type.split(operation) if not self.type.is_identity(one)]
        return result

    def take(self) -> TypedSubmission | None:
        """What to send now. Called again it gives nothing until the fate of the last one is known."""
        if not self.attached or self._sent:
            return None
        if self.in_flight is None:
            if not self.waiting:
                return None
            self.in_flight = self.waiting.pop(0)
            self.seq += 1
        self._sent = True
        return TypedSubmission(self.seq, self.revision, self.type.describe(self.in_flight))

    # Joining ---------------------------------------------------------------------------------------------------------
    def detach(self) -> None:
        """The connection, or the server's session of this document, is gone. Local edits go on."""
        self.attached = False
        self._sent = False

    def start(
        self, generation: str, revision: int, value: Any, seq: int
    ) -> tuple[list[TypedChange], LostContent | None]:
        """document:state with a content: the first one, one of another generation, or of this one when its history is
        gone; then the edits that wait are carried over to it by the difference."""
        changes: list[TypedChange] = []
        lost = None
        content = self.type.parse_content(value, trusted=True)
        pending = self._pending
        if pending and generation == self.generation:
            try:
                news = self.type.diff(self._confirmed, content)
                pending, news = self._over(pending, news)
                self._held = self.type.apply(self._held, news)
                changes.append(TypedChange(self.type.describe(news), "rebased"))
            except SynclineError:
                lost = LostContent(self.content, [self.type.describe(one) for one in pending])
        elif pending:
            lost = LostContent(self.content, [self.type.describe(one) for one in pending])
        if lost is not None or not changes:
            pending = []
            changes = [TypedChange(None, "reset")] if self.generation else []
            self._held = self.type.parse_content(value, trusted=True)
        self.generation, self.revision, self._confirmed = generation, revision, content
        self.in_flight, self.waiting = None, self._joined(pending)
        self.seq = max(seq, self.seq if generation == self.generation else 0)
        self.attached = True
        self._sent = False
        return changes, lost

    def attach(self) -> None:
        """document:state with operations, which ``receive`` gets next."""
        self.attached = True
        self._sent = False

    def await_answer(self) -> None:
        """What is in flight need not be sent again: its entry is still to come."""
        self._sent = True

    # What the server says --------------------------------------------------------------------------------------------
    def is_in_flight(self, client: str, seq: int) -> bool:
        return self.in_flight is not None and seq == self.seq and client == self.client

    def receive(self, revision: int, client: str, seq: int, value: Any, kind: str = "edit") -> list[TypedChange]:
        """The committed operation that made ``revision``; one that is known already changes nothing."""
        if revision <= self.revision:
            return []
        if revision != self.revision + 1:
            raise Diverged(f"revision {revision} came after {self.revision}")
        try:
            operation = self.type.parse(value)
            self._confirmed = self.type.apply(self._confirmed, operation)
            self.revision = revision
            if self.is_in_flight(client, seq) and kind == "edit":
                if self.type.digest(operation) != self.type.digest(self.in_flight):
                    raise Diverged(f"operation {seq} was committed as another one")
                self.in_flight = None
                self._sent = False
                return []
            return self._arrive(operation, "remote")
        except SynclineError as error:
            raise Diverged(f"revision {revision} does not fit: {error}") from error

    def _arrive(self, operation: Any, origin: TypedOrigin) -> list[TypedChange]:
        if self.in_flight is not None:
            [self.in_flight], operation = self._over([self.in_flight], operation)
        self.waiting, operation = self._over(self.waiting, operation)
        self.waiting = [one for one in self.waiting if not self.type.is_identity(one)]
        if self.type.is_identity(operation):
            return []
        self._held, _, told = self.type.commit(self._held, 0, operation, 2**62)
        return [TypedChange(self.type.describe(told), origin)]

    def _over(self, own: list[Any], operation: Any) -> tuple[list[Any], Any]:
        """The own ones as they apply after ``operation``, and ``operation`` as it applies after them."""
        moved = []
        for one in own:
            moved.append(self.type.transform(one, operation, "left"))
            operation = self.type.transform(operation, one, "right")
        return moved, operation

    def refuse(self, seq: int) -> list[TypedChange]:
        """What is in flight was refused: takes it back. Others are ignored."""
        if not self.is_in_flight(self.client, seq):
            return []
        in_flight, self.in_flight = self.in_flight, None
        self._sent = False
        try:
            return self._arrive(self.type.invert(in_flight, self._confirmed), "refused")
        except SynclineError as error:
            raise Diverged(f"refused operation {seq} does not fit the content here: {error}") from error
