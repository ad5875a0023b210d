"""A document of any type as one client holds it: confirmed content, operation in flight, operation that waits. Sans-I/O.

    confirmed --in flight--> . --waiting--> content
    ^ the server's at ``revision``          ^ what the user sees and edits

The same discipline as for text (document_state.py), without what only texts have: views that hold back, composed histories. One
operation is in flight; what is done meanwhile is composed into the one that waits, and an undo or redo waits for its turn behind
that. What is done while there is no session stays in steps (strokes.py). The server puts an arriving operation to the left of its
history, so here the own ones are left of what comes in.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, NamedTuple

from ..core.document_type import DocumentType
from ..core.errors import SynclineError
from ..core.text0 import units
from ..core.value_engine import NO_LIMIT
from .document_state import Kind, Request, RequestKind
from .errors import BufferFull, Diverged
from .strokes import continues, stroke_of

TypedOrigin = Literal["local", "remote", "refused", "reset", "rebased", "healed", "undo", "redo", "restore"]
#: Why the whole content is asked for.
Whole = Literal["rebased", "healed"]

#: What does not fit, or meets a content that something else has damaged.
UNFIT = (SynclineError, TypeError, ValueError, LookupError, RecursionError)

#: Edits that wait as steps of their own.
_MOST_STEPS = 64
#: Requests that may wait: a key held down is not to fill the memory.
_MOST_REQUESTS = 1000


class TypedChange(NamedTuple):
    """``operation`` as JSON; None: all of the content may be another."""

    operation: Any
    origin: TypedOrigin


class LostContent(NamedTuple):
    """Edits that no longer have a document to go to: it was created anew, or the handle has ended before they were acknowledged.
    ``content`` is what the user saw."""

    content: Any
    operations: list[Any]


class TypedSubmission(NamedTuple):
    """``work``: a Request, or an operation as JSON."""

    seq: int
    revision: int
    work: Any


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
        self.operation_bytes = pending_limit  # operations are composed up to about so many
        self.in_flight: Any = None  # an operation or a Request
        self.waiting: list[Any] = []  # of those in a row; a last operation is composed with what is done
        self.finished: list[tuple[Request, bool]] = []  # requests that are over, and whether they did anything
        self.undo_depth = 0  # steps that the server has for this client; at least that many
        self.redo_depth = 0
        self._sent = False
        self._sender = client  # under whose name it went out
        self.in_doubt = False  # a renamed client's operation in flight: whether it got in is not known yet
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
    def unsettled(self) -> int:
        """Operations and requests that the server is not known to have; what was done in one go is one."""
        return len(self._pending)

    @property
    def _pending(self) -> list[Any]:
        """Operations and requests that the server is not known to have."""
        return [*([] if self.in_flight is None else [self.in_flight]), *self.waiting]

    @property
    def edits_wait(self) -> bool:
        return any(not isinstance(item, Request) for item in self._pending)

    @property
    def can_undo(self) -> int:
        """How many steps there are at least; 0: none."""
        return self.undo_depth + self.edits_wait

    @property
    def can_redo(self) -> int:
        """As ``can_undo``. An edit ends what could be done again."""
        return 0 if self.edits_wait else self.redo_depth

    # Local edits -----------------------------------------------------------------------------------------------------
    def edit(self, value: Any, slow: bool = False) -> TypedChange:
        """``slow``: as of ``DocumentState.edit``. Raises SynclineError when it does not fit, BufferFull; nothing is changed then."""
        operation = self.type.parse(value)
        size = len(self.type.encode(operation))
        if not self.waiting:
            self._size = 0
        if self._size + size > self._pending_limit:  # an upper bound, made exact where it matters
            self._size = sum(len(self.type.encode(one)) for one in self.waiting if not isinstance(one, Request))
            if self._size + size > self._pending_limit:
                raise BufferFull(f"more than {self._pending_limit} bytes wait to be acknowledged")
        self._held, _, told = self.type.commit(self._held, 0, operation, NO_LIMIT)
        self._size += size
        last = self.waiting[-1] if self.waiting else None
        joins = (
            last is not None
            and not isinstance(last, Request)
            and ((self.attached and not slow) or self._continues(last, told))
        )
        both = self._composed(last, told) if joins else None
        if both is None:
            self.waiting = self._tidy([*self.waiting, told])  # a step of its own, also when it is undone
        else:
            self.waiting[-1:] = self._tidy([both])
        return TypedChange(self.type.describe(told), "local")

    def request(self, kind: RequestKind, to: int = 0) -> Request:
        """Asks for an undo, redo or restore, after what was done so far. Raises BufferFull; nothing is changed then."""
        if sum(isinstance(item, Request) for item in self.waiting) >= _MOST_REQUESTS:
            raise BufferFull(f"more than {_MOST_REQUESTS} requests wait to be answered")
        request = Request(kind, to)
        self.waiting.append(request)
        return request

    def _continues(self, last: Any, told: Any) -> bool:
        one, other = self.type.describe(last), self.type.describe(told)
        return self.type.name == "rich-text" and continues(stroke_of(one), stroke_of(other), units)

    def _composed(self, first: Any, second: Any) -> Any:
        """Two operations as one; None: it would be larger than ``operation_bytes``, and might be refused where each of them is not."""
        operation = self.type.compose(first, second)
        if self._size > self.operation_bytes and len(self.type.encode(operation)) > self.operation_bytes:
            return None
        return operation

    def hurry(self) -> None:
        """As ``DocumentState.hurry``."""
        self.waiting = self._tidy(self.waiting, 1)

    def _tidy(self, items: Sequence[Any], most: int = _MOST_STEPS) -> list[Any]:
        """What may be sent one by one, without what does nothing; of too many edits the oldest become one."""
        result: list[Any] = []
        for item in items:
            if isinstance(item, Request):
                result.append(item)
            else:
                result += [one for one in self.type.split(item) if not self.type.is_identity(one)]
        while len(result) > most:
            for at in range(len(result) - 1):
                if not isinstance(result[at], Request) and not isinstance(result[at + 1], Request):
                    both = self._composed(result[at], result[at + 1])
                    if both is not None and len(merged := self.type.split(both)) == 1:
                        result[at : at + 2] = merged
                        break
            else:
                return result  # requests are between them, or they are as large as may be
        return result

    def take(self) -> TypedSubmission | None:
        """What to send now. Called again it gives nothing until the fate of the last one is known."""
        if not self.attached or self._sent or self.in_doubt:
            return None
        if self.in_flight is None:
            if not self.waiting:
                return None
            self.in_flight = self.waiting.pop(0)
            self.seq += 1
        elif self._sender != self.client:
            self.seq = 1  # it did not get in under the old name
        self._sender = self.client
        self._sent = True
        work = self.in_flight
        return TypedSubmission(self.seq, self.revision, work if isinstance(work, Request) else self.type.describe(work))

    def resend(self) -> None:
        """What is in flight was not taken, and the server's session goes on: ``take`` gives it again, as it is now."""
        self._sent = False

    # Joining ---------------------------------------------------------------------------------------------------------
    def detach(self) -> None:
        """The connection, or the server's session of this document, is gone. Local edits go on."""
        self.attached = False
        self._sent = False

    def start(
        self, generation: str, revision: int, value: Any, seq: int, why: Whole = "rebased"
    ) -> tuple[list[TypedChange], LostContent | None]:
        """document:state with a content: the first one, one of another generation, or of this one when its history is
        gone or the content here was not the server's; then the edits that wait are carried over to it by the difference.
        ``seq``: the last one of this client that is committed."""
        changes: list[TypedChange] = []
        carried = False
        lost = None
        content = self.type.parse_content(value, trusted=True)
        pending = self._pending
        if generation == self.generation:
            try:
                # It is in the content.
                if self.in_flight is not None and self._sender == self.client and seq >= self.seq:
                    committed = pending.pop(0)
                    if isinstance(committed, Request):
                        self.finished.append((committed, True))
                    else:
                        self._confirmed = self.type.apply(self._confirmed, committed)
                if pending or why == "healed":
                    pending, news = self._over(pending, self.type.diff(self._confirmed, content))
                    if why == "healed":  # what is seen need not be what it had to be
                        view = self._view_of(value, pending)
                        news, self._held = self.type.diff(self._held, view), view
                    else:
                        self._held = self.type.apply(self._held, news)
                    if why == "rebased" or not self.type.is_identity(news):
                        changes.append(TypedChange(self.type.describe(news), why))
                    carried = True
            except UNFIT:
                lost = self._lost(pending)
        else:
            lost = self._lost(pending)
        if not carried:
            self.finished += [(item, False) for item in pending if isinstance(item, Request)]
            pending = []
            changes = [TypedChange(None, "reset")] if self.generation else []
            self._held = self.type.parse_content(value, trusted=True)
        same = generation == self.generation and self._sender == self.client
        self.seq = max(seq, self.seq) if same else seq
        self.generation, self.revision, self._confirmed = generation, revision, content
        self.in_flight, self.waiting = None, self._tidy(pending)
        self._sender = self.client
        self.attached = True
        self._sent = self.in_doubt = False
        return changes, lost

    def _view_of(self, value: Any, pending: list[Any]) -> Any:
        """The server's content with what it does not have yet."""
        view = self.type.parse_content(value, trusted=True)
        for item in pending:
            if not isinstance(item, Request):
                view = self.type.apply(view, item)
        return view

    def same(self, revision: int, hash: int) -> bool | None:
        """Whether the content here is the server's at ``revision``; None when that cannot be told because edits are on their way.
        O(content)."""
        if not self.settled or revision != self.revision:
            return None
        return self._hash(self._held) == hash

    def _hash(self, content: Any) -> int:
        """0 for what has none because it is no content."""
        try:
            return self.type.hash(content)
        except UNFIT:
            return 0

    def diverged(self) -> dict[str, int]:
        """What to tell the server when it turned out that the content here is another one. ``start`` with its content then."""
        if self.settled:  # what is healed is what the user sees
            with suppress(*UNFIT):
                self._confirmed = self.type.parse_content(self.content, trusted=True)
        return {"revision": self.revision, "hash": self._hash(self._confirmed)}

    def lost_work(self) -> LostContent | None:
        """The edits that wait, as they are handed back when they have nowhere to go; None: there are none."""
        return self._lost(self._pending)

    def _lost(self, pending: list[Any]) -> LostContent | None:
        operations = [self.type.describe(item) for item in pending if not isinstance(item, Request)]
        return LostContent(self.content, operations) if operations else None

    def attach(self, missing: int) -> None:
        """document:state with ``missing`` operations, which ``receive`` gets next. After ``rename``, while it is
        ``in_doubt``, the caller attaches again when they are here, or joins again when more are to come."""
        self.attached = True
        self._sent = False
        self.in_doubt = missing > 0 and self.in_flight is not None and self._sender != self.client

    def rename(self, client: str) -> None:
        """Goes on under another client id: this one is another user's now. Between ``detach`` and ``attach``; as of a text
        (``DocumentState.rename``)."""
        self.client = client
        self.undo_depth = self.redo_depth = 0
        if isinstance(self.in_flight, Request):
            self.finished.append((self.in_flight, False))
            self.in_flight = None
        if self.in_flight is None:
            self._sender = client
            self.seq = 0

    def await_answer(self) -> None:
        """What is in flight need not be sent again: its entry is still to come."""
        self._sent = True

    # What the server says --------------------------------------------------------------------------------------------
    def is_in_flight(self, client: str, seq: int) -> bool:
        return self.in_flight is not None and seq == self.seq and client == self._sender

    def receive(self, revision: int, client: str, seq: int, value: Any, kind: Kind = "edit") -> list[TypedChange]:
        """The committed operation that made ``revision``; one that is known already changes nothing."""
        if revision <= self.revision:
            return []
        if revision != self.revision + 1:
            raise Diverged(f"revision {revision} came after {self.revision}")
        try:
            operation = self.type.parse(value)
            self._confirmed = self.type.apply(self._confirmed, operation)
            self.revision = revision
            own = client == self.client and kind != "edit"
            if self.is_in_flight(client, seq):
                self._acknowledge(operation, kind)
                if kind == "edit":
                    return []
            return self._arrive(operation, kind if own and kind != "edit" else "remote")
        except UNFIT as error:
            raise Diverged(f"revision {revision} does not fit: {error}") from error

    def _acknowledge(self, operation: Any, kind: Kind) -> None:
        in_flight = self.in_flight
        wanted = in_flight.kind if isinstance(in_flight, Request) else "edit"
        if kind != wanted:
            raise Diverged(f"{wanted} {self.seq} was committed as {kind}")
        if isinstance(in_flight, Request):
            self.finished.append((in_flight, True))
        elif self.type.digest(operation) != self.type.digest(in_flight):
            raise Diverged(f"operation {self.seq} was committed as another one")
        # Guesses that are never too high, until the server's answer: it joins what is typed in one go into a step.
        if kind == "undo":
            self.undo_depth, self.redo_depth = max(0, self.undo_depth - 1), self.redo_depth + 1
        elif kind == "redo":
            self.undo_depth, self.redo_depth = self.undo_depth + 1, max(0, self.redo_depth - 1)
        else:
            self.undo_depth, self.redo_depth = max(1, self.undo_depth), 0
        self.in_flight = None
        self._sent = self.in_doubt = False
        if self._sender != self.client:  # it had got in under the old name; the new one begins
            self._sender = self.client
            self.seq = 0

    def _arrive(self, operation: Any, origin: TypedOrigin) -> list[TypedChange]:
        if self.in_flight is not None:
            [self.in_flight], operation = self._over([self.in_flight], operation)
        self.waiting, operation = self._over(self.waiting, operation)
        self.waiting = [one for one in self.waiting if isinstance(one, Request) or not self.type.is_identity(one)]
        if self.type.is_identity(operation):
            return []
        self._held, _, told = self.type.commit(self._held, 0, operation, NO_LIMIT)
        return [TypedChange(self.type.describe(told), origin)]

    def _over(self, own: list[Any], operation: Any) -> tuple[list[Any], Any]:
        """The own ones as they apply after ``operation``, and ``operation`` as it applies after them."""
        moved = []
        for one in own:
            if isinstance(one, Request):
                moved.append(one)
                continue
            moved.append(self.type.transform(one, operation, "left"))
            operation = self.type.transform(operation, one, "right")
        return moved, operation

    def refuse(self, seq: int) -> list[TypedChange]:
        """What is in flight was refused: takes an operation back, ends a request. Others are ignored."""
        if not self.is_in_flight(self.client, seq):
            return []
        in_flight, self.in_flight = self.in_flight, None
        self._sent = False
        if isinstance(in_flight, Request):
            self.finished.append((in_flight, False))
            return []
        try:
            return self._arrive(self.type.invert(in_flight, self._confirmed), "refused")
        except UNFIT as error:
            raise Diverged(f"refused operation {seq} does not fit the content here: {error}") from error
