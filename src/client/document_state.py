"""A document of any type as one client holds it: confirmed content, operation in flight, queue, held-back view. Sans-I/O.

    confirmed --in flight--> . --queue--> local --held, reversed--> view
    ^ the server's content at ``revision``                          ^ what the user sees and edits

Wave's simplification of Jupiter (Nichols et al. 1995): one thing is in flight, everything typed meanwhile is composed
into the operation at the end of the queue. The server puts an arriving operation to the *left* of its history, so here
the own, later operations win ties ("left") against what comes in ("right").

The queue has more than that one operation where an undo, redo or restore waits: it is asked for in its turn, after
what was typed before it, and what is typed after it goes into a new operation behind. Such a request changes nothing by
itself; the server makes its operation, which arrives like a remote one and is the answer, too. And what is typed while
there is no session stays in steps (strokes.py), which go out one after another, so that they can be undone one by one.

    in flight   | edit       take                   own entry                       refused
    nothing     | composed   the queue's first      as a remote one                 ignored
    operation   | composed   resent once per attach -> nothing                      -> nothing, taken back
    request     | composed   resent once per attach -> nothing, as a remote one     -> nothing

Invariants:

* local = confirmed . in flight . queue, and view . held = local: ``view`` is a function of the others.
* What is in flight keeps its (client, seq) until its fate is known. It is sent again only after ``attach`` (the answer
  to document:join) has told that it is not committed, or a refusal that nothing was done for now (``resend``), and then in
  its transformed form at the new revision. Only after ``adopt`` (the answer had a content) it gets another number: the
  server had it in another form.
* The confirmed content is kept, so an operation that is refused can be inverted exactly: an inverse carried along through
  transforms would bring back what others deleted meanwhile. And a content that comes without its history can be taken in
  as a difference to it, so that nothing that was typed is ever dropped.
* What waits does not hold the values that it removes (``without_claims``): they are not sent, and count for no limit. What is told of it
  has them, where it fits the confirmed content.
* Every own entry is compared with the operation in flight, and the content with the server's hash: client and server can
  not drift apart silently.

What an operation and a content are, the ``DocumentType`` says; both are handled through it alone. A content is one of its own here,
which ``commit`` may change in place: what is kept of it is copied.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

from ..core.documents.document_type import DocumentType
from ..core.errors import SynclineError
from .carets import Carets, inside
from .document_values import (
    REQUEST_BULK,
    Arrived,
    Change,
    Held,
    Kind,
    LostWork,
    Operation,
    Origin,
    Pending,
    Request,
    RequestKind,
    Submission,
)
from .errors import BufferFull, Diverged
from .strokes import continues

#: What does not fit, or meets a content that something else has damaged.
UNFIT = (SynclineError, TypeError, ValueError, LookupError, RecursionError)
_NO_EDIT = (Request, type(None))
_MOST_TOLD = 16  # operations in one join
_MOST_STEPS = _MOST_TOLD - 1  # edits that wait as steps of their own; one more may be in flight


class DocumentState:
    """Feed it what the server says; it answers with the changes of the view. Raises Diverged when they do not fit.

    ``edit`` and ``receive`` cost what transform and compose cost: linear in the components of the operations concerned
    times the number of held and queued ones, plus the text's own cost of an edit.
    """

    def __init__(
        self,
        type: DocumentType[Any, Any],
        client: str,
        *,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 131_072,
    ) -> None:
        """
        client: this client's id in the document, kept over reconnects.
        hold_limit: operations kept from the view at most; over it the oldest are shown all the same (``overflows``).
        pending_limit: the ``bulk`` of what waits at most; over it ``edit`` raises BufferFull.
        operation_limit: the same measure for one submission; a larger pending operation is sent in pieces.
        """
        self.type = type
        self.client = client
        self.generation = ""
        self.revision = 0
        self.attached = False
        self.overflows = 0
        self.seq = 0  # of the newest operation or request that was ever sent
        self.in_flight: Operation | Request | None = None
        self.queue: list[Operation | Request] = []
        self.finished: list[
            tuple[Request, bool]
        ] = []  # answered: done, or there was nothing to do; the reader empties it
        self.taken_back: list[Operation] = []  # what was refused, and what went with it, as told; the reader empties it
        self.undo_depth = 0  # steps that the server has for this client, about; 0 exactly when none is known of
        self.redo_depth = 0
        self.carets = Carets(type)
        self.arrived: deque[Arrived] = deque()  # of revisions revision + 1 ..., while holding
        self.held: deque[Held] = deque()
        self.holding = False
        self._arrived_count = 0  # revisions in ``arrived``
        self._hold_limit = hold_limit
        self._pending_limit = pending_limit
        self.operation_limit = operation_limit
        self._taken_limit = operation_limit  # when what is in flight was made
        self._pending_size = 0
        self._told = 0  # how much of the queue the join that is under way tells of: it must stay as it is
        self._sent = False  # whether what is in flight went out since the last attach
        self._sender = client  # under whose name it went out
        self._composites = False  # whether what is in flight was transformed over several operations at once
        self.in_doubt = False  # a renamed client's operation in flight: whether it got in is not known yet
        self._confirmed: Any = type.empty()
        self.view: Any = type.empty()  # in the type's own form, for it to look at

    # What one can see ------------------------------------------------------------------------------------------------
    @property
    def content(self) -> Any:
        """The view as a JSON value, not to be changed: O(n) for types that keep another form."""
        return self.type.show(self.view)

    @property
    def confirmed(self) -> Any:
        """The server's content at ``revision``, as that."""
        return self.type.show(self._confirmed)

    @property
    def known(self) -> int:
        """The newest revision that has arrived: what a join continues from."""
        return self.revision + self._arrived_count

    @property
    def settled(self) -> bool:
        """Every local edit is acknowledged, every request answered."""
        return self.in_flight is None and not self.queue

    @property
    def unsettled(self) -> int:
        """Operations and requests that the server is not known to have; what was typed in one go is one."""
        return len(self.queue) + (self.in_flight is not None)

    @property
    def edits_wait(self) -> bool:
        """Whether there are edits that the server is not known to have."""
        return bool(self._edits())

    def _edits(self) -> list[Operation]:
        return [item for item in (self.in_flight, *self.queue) if not isinstance(item, _NO_EDIT)]

    @property
    def can_undo(self) -> int:
        """How many steps there are, about; 0: none that is known of. What was done since the server's last answer to a join, undo or redo
        counts as one step, and as one more while some of it waits: there may be more, or fewer. Others may have left nothing of some."""
        return self.undo_depth + self.edits_wait

    @property
    def can_redo(self) -> int:
        """As ``can_undo``. An edit ends what could be done again."""
        return 0 if self.edits_wait else self.redo_depth

    def cursor(self, client: str) -> tuple[Any, Any] | None:
        """Anchor and head of another client, in the view."""
        place = self.carets.at.get(client)
        if place is None:
            return None
        anchor, head = (self._to_view(position) for position in place)
        return anchor, head

    def _to_view(self, position: Any) -> Any:
        for item in self._edits():
            position = self.type.move(item, position)
        # What is held back is not undone for a cursor: it is only kept inside the view.
        return inside(self.type, self.view, position)

    # Local edits -----------------------------------------------------------------------------------------------------
    def edit(self, operation: Operation, slow: bool = False) -> Change:
        """Applies a local operation on the view. ``slow``: what is in flight is not answered for long; steps of undo are kept then as they
        are without a session. Raises SynclineError when it does not fit, BufferFull; nothing is changed then."""
        kind = self.type
        size = kind.bulk(kind.without_claims(operation))
        self._make_room(size)
        self.view, operation = kind.applied(self.view, operation)
        change = Change(operation, "local", self.client)
        operation = kind.without_claims(operation)
        for held in self.held:
            operation, held.operation = (
                kind.without_claims(kind.transform(operation, held.operation, "left")),
                kind.transform(held.operation, operation, "right"),
            )
        last = self.queue[-1] if len(self.queue) > self._told else None
        if not isinstance(last, _NO_EDIT) and ((self.attached and not slow) or continues(kind, last, operation)):
            composed = kind.compose(last, operation)
            if kind.is_identity(composed):
                del self.queue[-1]
            else:
                self.queue[-1] = composed
        elif not kind.is_identity(operation):
            self.queue.append(operation)
            self._limit_steps()
        # Only an upper bound (composing cancels): measured exactly when it is about to matter.
        self._pending_size = self._pending_size + size if self.queue else 0
        return change

    def request(self, kind: RequestKind, to: int = 0, content: Any = None) -> Request:
        """Asks for an undo, redo, restore or initialize, after what was typed so far. Raises BufferFull, and
        SynclineError(operation_invalid) for what is no content; nothing is changed then."""
        request = Request(kind, to)
        if kind == "initialize":
            size = len(self.type.dump(self.type.parse_content(content)))
            request = Request(kind, to, content, REQUEST_BULK + size)
        self._make_room(request.bulk)
        self.queue.append(request)
        self._pending_size += request.bulk
        return request

    def withdraw(self, request: Request) -> bool:
        """Nobody wants it any more. Whether it had not gone out: then it never will."""
        for place, item in enumerate(self.queue):
            if item is request:
                self._told -= place < self._told
                del self.queue[place]
                self._measure_pending()
                return True
        return False

    def _make_room(self, size: int) -> None:
        limit = self._pending_limit
        if self._pending_size + size <= limit or self._measure_pending() + size <= limit:
            return
        self._limit_steps(1, math.inf)  # steps hold what was deleted again
        if self._measure_pending() + size > limit:
            raise BufferFull(f"more than {limit} characters wait to be acknowledged")

    def _measure_pending(self) -> int:
        self._pending_size = sum(map(self._size, self.queue))
        return self._pending_size

    def _size(self, item: Operation | Request) -> int:
        return item.bulk if isinstance(item, Request) else self.type.bulk(item)

    def take(self) -> Submission | None:
        """What to send now, or None. Called again it gives nothing until the fate of the last one is known."""
        if not self.attached:
            return None
        if self.in_flight is None:
            if not self.queue:
                return None
            self.in_flight = self._piece(self.queue.pop(0))
            self._taken_limit = self.operation_limit
            self._composites = False
            self.seq += 1
            self._pending_size = self._pending_size - self._size(self.in_flight) if self.queue else 0
        elif self._sent or self.in_doubt:
            return None
        else:
            if self._sender != self.client:
                self.seq = 1  # it did not get in under the old name
            if self.operation_limit < self._taken_limit:  # this server takes less than the one before it did
                self.in_flight = self._piece(self.in_flight)
                self._taken_limit = self.operation_limit
                self._measure_pending()
        self._sender = self.client
        self._sent = True
        return Submission(self.seq, self.revision, self.in_flight)

    def _piece(self, item: Operation | Request) -> Operation | Request:
        """What of it may be sent in one go; the rest waits."""
        if isinstance(item, Request):
            return item
        piece, *rest = self.type.split(item, self.operation_limit)
        self.queue[:0] = rest
        return piece

    def _limit_steps(self, most: int = _MOST_STEPS, limit: float | None = None) -> None:
        """Of more edits than ``most`` those become one that stand beside one another and are smallest together, unless that could not be
        sent in one go: so all stay about as large, and each costs the server little of what it has in a join. By default so many as a
        join can tell. O(edits + operations)."""
        steps = self.queue[self._told :]
        count = sum(not isinstance(item, Request) for item in steps)
        if count <= most:
            return
        limit = self.operation_limit if limit is None else limit
        bulks = [math.inf if isinstance(item, Request) else self._size(item) for item in steps]
        together = [first + second for first, second in pairwise(bulks)]
        while count > most and (least := min(together, default=math.inf)) < math.inf:
            at = together.index(least)
            composed = self.type.compose(steps[at], steps[at + 1])
            if limit < math.inf and len(self.type.split(composed, int(limit))) > 1:
                together[at] = math.inf
                continue
            steps[at : at + 2] = [composed]
            bulks[at : at + 2] = [self._size(composed)]
            del together[at]
            for pair in range(max(0, at - 1), min(at + 1, len(together))):
                together[pair] = bulks[pair] + bulks[pair + 1]
            count -= 1
        self.queue[self._told :] = steps

    def hurry(self) -> None:
        """Steps that wait become one: each costs a round trip, and there may not be time for many."""
        self._limit_steps(1)

    def _tidy(self) -> None:
        """No join is under way: what does nothing is left out."""
        self.queue = [item for item in self.queue if isinstance(item, Request) or not self.type.is_identity(item)]
        self._told = 0
        self._limit_steps()
        self._measure_pending()

    def resend(self) -> None:
        """What is in flight was not taken, and the server's session goes on: ``take`` gives it again, as it is now."""
        self._sent = False

    # Joining ---------------------------------------------------------------------------------------------------------
    def detach(self) -> None:
        """The connection, or the server's session of this document, is gone. Local edits go on."""
        self.attached = False
        self._sent = False

    def tell_pending(self) -> list[Pending] | None:
        """The edits that wait, for document:join, as they apply at ``revision``. When the server could not use them (they are many or
        large, or some of the history waits unread): empty, of types whose work ``drifts``. None: it must tell every operation; also
        because one that went out under another name is to be found among them.

        What is typed until the answer goes behind them.
        """
        self._tidy()
        in_flight = self.in_flight
        told = [Pending(None, item) for item in self.queue if not isinstance(item, Request)]
        if not isinstance(in_flight, _NO_EDIT):
            if self._sender != self.client:
                return None
            told.insert(0, Pending(self.seq, in_flight))
        size = sum(self.type.bulk(item.operation) for item in told)
        if (
            self.arrived
            or len(told) > _MOST_TOLD
            or size > 4 * self.operation_limit
            or any(len(self.type.split(item.operation)) > 1 for item in told)  # more than anybody parses
        ):
            return [] if self.type.drifts else None
        self._told = len(self.queue)
        return told

    @property
    def is_untold(self) -> bool:
        """Whether there are edits that ``tell_pending`` has not told, and that could be lost over a content."""
        return not self.type.drifts and any(not isinstance(item, _NO_EDIT) for item in self.queue[self._told :])

    def start(self, generation: str, revision: int, value: Any, seq: int = 0) -> tuple[list[Change], LostWork | None]:
        """document:state with a content: the first one, or one of another generation.

        Unacknowledged edits cannot be carried over to another document; they are handed back, never dropped.
        """
        content = self.type.parse_content(value, trusted=True)
        lost = self.lost_work()
        for item in (self.in_flight, *self.queue):
            if isinstance(item, Request):
                self.finished.append((item, False))
        change = None
        with suppress(*UNFIT):
            change = self.type.diff(self.view, content)
        self.held.clear()
        self.in_flight = None
        self.queue.clear()
        self._restart(generation, revision, content, seq)
        self.view = self.type.copy(content)
        if change is not None and self.type.is_identity(change):
            return [], lost
        return [Change(change, "reset", "")], lost

    def lost_work(self) -> LostWork | None:
        """The edits that wait, as they are handed back when they have nowhere to go; None: there are none."""
        edits = self._edits()
        return LostWork(self.content, self.confirmed, self._as_told(edits)) if edits else None

    def unsent(self) -> Operation | None:
        """What the server is not known to have, in one, as it applies to the confirmed content; None: nothing."""
        total = None
        for item in self._edits():
            total = item if total is None else self.type.compose(total, item)
        return None if total is None else self._as_told([total])[0]

    def _as_told(self, edits: Sequence[Operation]) -> list[Operation]:
        """With what they really remove, one after the other from the confirmed content on; as they are from the first that does not fit."""
        told: list[Operation] = []
        with suppress(*UNFIT):
            content = self.type.copy(self._confirmed)
            for edit in edits:
                content, edit = self.type.applied(content, edit)
                told.append(edit)
        return [*told, *edits[len(told) :]]

    def _restart(self, generation: str, revision: int, content: Any, seq: int) -> None:
        self.generation, self.revision, self.attached = generation, revision, True
        self.seq = max(self.seq, seq) if self._sender == self.client else seq
        self._sender = self.client
        self._sent = self.in_doubt = self._composites = False
        self.arrived.clear()
        self._arrived_count = 0
        self.carets.clear()
        self._confirmed = content
        self._tidy()

    def attach(self, seq: int, missing: int) -> None:
        """document:state of the generation that is here; ``receive`` the missing operations next, then ``take``.

        ``seq``: the last one of this client that is committed. When it covers what is in flight, its entry is
        among the missing ones or follows as a push, so it is not sent again. ``missing``: how many operations came with
        the answer, and one more where pushes continue them. After ``rename``, while it is ``in_doubt``, the caller attaches
        again when all that was missing is here, or joins again when that is to come.
        """
        self._tidy()
        self.attached = True
        renamed = self.in_flight is not None and self._sender != self.client
        self.in_doubt = renamed and missing > 0
        self._sent = self.in_flight is not None and not renamed and seq >= self.seq

    def adopt(
        self, revision: int, value: Any, seq: int, pending: Sequence[Operation] | None = None, origin: Origin = "remote"
    ) -> list[Change]:
        """document:state with a content of the generation that is here: the missing operations would be longer, are no
        longer known, or what is here differs from the history. Everything that waits is carried over.

        ``pending``: what ``tell_pending`` told, as it applies to that content, without what is committed (as ``seq`` says);
        where the server did not say, it is transformed over the smallest difference to the confirmed content. What was in
        flight gets a new number. Raises Diverged when nothing here fits together any more: ``start`` then.
        """
        kind = self.type
        changes = self._reveal()
        try:
            content = kind.parse_content(value, trusted=True)
            if self.in_flight is not None and self._sender == self.client and seq >= self.seq:
                if isinstance(self.in_flight, Request):
                    self.finished.append((self.in_flight, True))
                else:
                    self._confirmed = kind.apply(self._confirmed, self.in_flight)
                self.in_flight = None
            elif self.in_flight is not None:
                self.queue.insert(0, self.in_flight)
                self.in_flight = None
                self._told += 1
            carried = None if pending is None else self._carry_as_told(content, pending)
            if carried is None:
                carried = self._over(self.queue, kind.drift(self._confirmed, content))
            items, operation = carried
            local = self._after(kind.copy(content), items)
            if not self._leads(operation, local):
                operation = kind.diff(self.view, local)  # the view was not what it had to be: that is healed, too
        except UNFIT as error:
            raise Diverged(f"the edits of revision {self.revision} do not fit their content: {error}") from error
        self.queue = items
        self._restart(self.generation, revision, content, seq)
        self.view = local
        if not kind.is_identity(operation):
            changes.append(Change(operation, origin, ""))
        return changes

    def _carry_as_told(
        self, content: Any, pending: Sequence[Operation]
    ) -> tuple[list[Operation | Request], Operation] | None:
        """The queue as it applies to ``content``, and what changes for who sees its result; None: it does not fit."""
        told, later = self.queue[: self._told], self.queue[self._told :]
        places = [place for place, item in enumerate(told) if not isinstance(item, Request)]
        if len(places) != len(pending):
            return None
        try:
            before, after = (
                self._after(self.type.copy(self._confirmed), told),
                self._after(self.type.copy(content), pending),
            )
        except UNFIT:
            return None
        for place, operation in zip(places, pending, strict=True):
            told[place] = self.type.without_claims(operation)
        later, change = self._over(later, self.type.drift(before, after))
        return told + later, change

    def _after(self, content: Any, items: Sequence[Operation | Request]) -> Any:
        """Takes ``content`` over. Raises what is UNFIT."""
        for item in items:
            if not isinstance(item, _NO_EDIT):
                content = self.type.apply(content, item)
        return content

    def _leads(self, operation: Operation, after: Any) -> bool:
        """Whether it makes ``after`` of the view."""
        with suppress(*UNFIT):
            return self.type.hash(self.type.apply(self.type.copy(self.view), operation)) == self.type.hash(after)
        return False

    def _reveal(self) -> list[Change]:
        """Lets everything into the view that has come, also while holding."""
        changes: list[Change] = []
        while self.held:
            changes += self._show_held()
        holding, self.holding = self.holding, False
        try:
            while self.arrived:
                changes += self._integrate(self._next_arrived())
        except Diverged:  # the content that is there now tells it better
            self.arrived.clear()
            self._arrived_count = 0
        finally:
            self.holding = holding
        return changes

    def same(self, revision: int, hash: int) -> bool | None:
        """Whether the content here is the server's at ``revision``; None when that cannot be told because edits or what arrived are
        on their way. O(n)."""
        if not self.settled or self.held or self.arrived or revision != self.revision:
            return None
        return self._hash(self.view) == hash

    def _hash(self, content: Any) -> int:
        """0 for what has none because it is no content."""
        try:
            return self.type.hash(content)
        except UNFIT:
            return 0

    def diverged(self) -> dict[str, int]:
        """What to tell the server when it turned out that the content here is another one. ``adopt`` its content then."""
        if self.settled and not self.held and not self.arrived:
            with suppress(*UNFIT):
                self._confirmed = self.type.copy(self.view)  # what is healed is what the user sees
        return {"revision": self.revision, "hash": self._hash(self._confirmed)}

    def rename(self, client: str) -> None:
        """Goes on under another client id: this one is another user's now. Between ``detach`` and ``attach``.

        An operation in flight may have got in under the old name: it is sent anew only after an attach that misses
        nothing, so that the whole history is here without it. (A copy that a dead connection delivers later still
        would not be recognised, nor one that the server has composed with others: the price of another name.) What was
        to be undone belongs to the old name: such requests are over.
        """
        self.client = client
        self.undo_depth = self.redo_depth = 0
        if isinstance(self.in_flight, Request):
            self.finished.append((self.in_flight, False))
            self.in_flight = None
        if self.in_flight is None:
            self._sender = client
            self.seq = 0

    # What the server says --------------------------------------------------------------------------------------------
    def receive(
        self, revision: int, client: str, seq: int, operation: Operation, kind: Kind = "edit", span: int = 1
    ) -> list[Change]:
        """The committed operation that made ``revision``; raises Diverged unless it is the next one.

        One that is known already changes nothing. ``span``: it stands for so many. While holding it waits in
        ``arrived``, until an own one arrives.
        """
        known = self.known
        if revision <= known:
            return []
        if span < 1 or revision != known + span:
            raise Diverged(f"revision {revision} came after {known}")
        entry = Arrived(client, seq, operation, kind, span)
        if not self.holding:
            return self._integrate(entry)
        self.arrived.append(entry)
        self._arrived_count += span
        changes: list[Change] = []
        if self.is_in_flight(client, seq):
            changes += self._integrate_until(revision)
        while len(self.arrived) + len(self.held) > self._hold_limit:
            self.overflows += 1
            if not self.held:
                changes += self._integrate(self._next_arrived())
            if self.held:
                changes += self._show_held()
        return changes

    def _next_arrived(self) -> Arrived:
        entry = self.arrived.popleft()
        self._arrived_count -= entry.span
        return entry

    def _integrate_until(self, revision: int) -> list[Change]:
        changes: list[Change] = []
        while self.arrived and self.revision < revision:
            changes += self._integrate(self._next_arrived())
        return changes

    def _integrate(self, entry: Arrived) -> list[Change]:
        """The next operation of the history, into everything but a held view."""
        try:
            own = self.is_in_flight(entry.client, entry.seq)
            changes = self._acknowledge(entry) if own else self._receive_remote(entry)
        except UNFIT as error:
            raise Diverged(f"revision {self.revision + entry.span} does not fit: {error}") from error
        self.carets.reached(self.revision, self._confirmed)
        return changes

    def _acknowledge(self, entry: Arrived) -> list[Change]:
        in_flight, operation = self.in_flight, entry.operation
        kind = in_flight.committed_as if isinstance(in_flight, Request) else "edit"
        if entry.kind != kind:
            raise Diverged(f"{kind} {self.seq} was committed as {entry.kind}")
        news: Operation | None = None  # what changes for who has ``in_flight`` already
        if isinstance(in_flight, Request):
            self._confirmed = self.type.apply(self._confirmed, operation)
            self.finished.append((in_flight, True))
            news = operation
        elif self.type.is_same(in_flight, operation):
            self._confirmed = self.type.apply(self._confirmed, operation)
        else:
            # Another order of components can be the same edit; what counts is the content. Transforming over operations
            # that were composed is not the same as over one after another: then the server's form is the right one.
            other = self.type.apply(self.type.copy(self._confirmed), in_flight)
            self._confirmed = self.type.apply(self._confirmed, operation)
            difference = self.type.drift(other, self._confirmed)
            if not self.type.is_identity(difference):
                if not self._composites:
                    raise Diverged(f"operation {self.seq} was committed as another one")
                news = difference
        self.carets.move(operation, "", self.revision)
        self._count_steps(kind)
        self.in_flight = None
        self._sent = self.in_doubt = False
        if self._sender != self.client:  # it had got in under the old name; the new one begins
            self._sender = self.client
            self.seq = 0
        self.revision += entry.span
        if news is None:
            return []
        return self._arrive(news, "remote" if kind == "edit" else kind, entry.client, entry.seq)

    def _count_steps(self, kind: Kind) -> None:
        """A guess until the server's answer: it joins what is typed in one go into a step, so that edits count as one."""
        if kind == "undo":
            self.undo_depth, self.redo_depth = max(0, self.undo_depth - 1), self.redo_depth + 1
        elif kind == "redo":
            self.undo_depth, self.redo_depth = self.undo_depth + 1, max(0, self.redo_depth - 1)
        else:
            self.undo_depth, self.redo_depth = max(1, self.undo_depth), 0

    def _receive_remote(self, entry: Arrived) -> list[Change]:
        operation = entry.operation
        self._confirmed = self.type.apply(self._confirmed, operation)
        self.carets.move(operation, entry.client, self.revision)
        self.revision += entry.span
        if not isinstance(self.in_flight, _NO_EDIT):
            self._composites = self._composites or entry.span > 1
            [self.in_flight], operation = self._over([self.in_flight], operation, keep=True)
        own = entry.client == self.client and entry.kind != "edit"
        return self._arrive(
            operation, entry.kind if own and entry.kind != "edit" else "remote", entry.client, entry.seq
        )

    def _arrive(self, operation: Operation, origin: Origin, client: str, seq: int) -> list[Change]:
        """``operation`` applies after what is in flight: through the queue, then to the view or to the held ones."""
        if self.queue:
            self.queue, operation = self._over(self.queue, operation, keep=self._told > 0)
        return self._reach_view(operation, origin, client, seq)

    def _reach_view(self, operation: Operation, origin: Origin, client: str, seq: int) -> list[Change]:
        if not self.holding and not self.held:
            return self._show(operation, origin, client)
        self.held.append(Held(self.revision, client, seq, operation, origin))
        changes: list[Change] = []
        while len(self.held) > self._hold_limit:
            self.overflows += 1
            changes += self._show_held()
        return changes

    def _show(self, operation: Operation, origin: Origin, client: str) -> list[Change]:
        if self.type.is_identity(operation):
            return []
        try:
            self.view, operation = self.type.applied(self.view, operation)
        except UNFIT:
            return self._remake_view()
        return [Change(operation, origin, client)]

    def _remake_view(self) -> list[Change]:
        """The view was not what it had to be; until the server's content were here, edits would be made on what fits nothing. Raises
        Diverged when what waits does not fit either."""
        try:
            view = self._after(self.type.copy(self._confirmed), self._edits())
            change = self.type.diff(self.view, view)
        except UNFIT as error:
            raise Diverged(f"what waits does not fit the content of revision {self.revision}: {error}") from error
        self.held.clear()  # all of it is in there
        self.view = view
        return [] if self.type.is_identity(change) else [Change(change, "healed", "")]

    def _show_held(self) -> list[Change]:
        held = self.held.popleft()
        return self._show(held.operation, held.origin, held.client)

    def refuse(self, seq: int) -> list[Change]:
        """What is in flight was refused, nothing of it is in the document: takes an operation back, ends a request.
        Others are ignored. Edits that wait and were made within what it had made are gone with it; all are in ``taken_back`` then, what
        was refused first, also when it raises Diverged: it does not fit what is here."""
        if not self.is_in_flight(self.client, seq):
            return []
        in_flight, self.in_flight = self.in_flight, None
        self._sent = False
        if isinstance(in_flight, Request):
            self.finished.append((in_flight, False))
            return []
        refused, *told = self._as_told([in_flight, *self._edits()])
        self.taken_back.append(refused)
        try:
            queue, operation = self._over(self.queue, self.type.invert(in_flight, self._confirmed), keep=True)
            edits = [
                (before, after)
                for before, after in zip(self.queue, queue, strict=True)
                if not isinstance(after, Request)
            ]
            for (before, after), edit in zip(edits, told, strict=True):
                if self.type.is_identity(after) > self.type.is_identity(before):
                    self.taken_back.append(edit)
            self.queue = queue
            if not self._told:
                self._tidy()
            return self._reach_view(operation, "refused", "", seq)
        except UNFIT as error:
            raise Diverged(f"refused operation {seq} does not fit the content here: {error}") from error

    def is_in_flight(self, client: str, seq: int) -> bool:
        """Whether (``client``, ``seq``) is what is in flight."""
        return self.in_flight is not None and seq == self.seq and client == self._sender

    # Holding back ----------------------------------------------------------------------------------------------------
    def hold(self) -> None:
        """From now on the view changes by local edits only, until ``show`` or ``release``.

        What arrives waits unread as long as it can, so that submissions are made at the revision that was shown last;
        an own operation's ack brings what came before it through in flight and pending, into ``held``.
        """
        self.holding = True

    def show(self, revision: int) -> list[Change]:
        """Shows what has come up to and including ``revision``, and goes on holding. Raises Diverged."""
        changes: list[Change] = []
        while self.held and self.held[0].revision <= revision:
            changes += self._show_held()
        if not self.held:
            self.holding = False
            try:
                changes += self._integrate_until(revision)
            finally:
                self.holding = True
        return changes

    def release(self) -> list[Change]:
        """Shows everything and holds no more. Raises Diverged."""
        try:
            return self.show(self.known)
        finally:
            self.holding = False

    def place_cursor(self, client: str, anchor: Any, head: Any, revision: int | None = None) -> None:
        """What the server says about another client's cursor at ``revision`` (None: the one that is here); None hides it."""
        at = self.revision if revision is None else revision
        self.carets.put(client, anchor, head, at, self.revision, self._confirmed)

    # ------------------------------------------------------------------------------------------------------------------
    def _over(
        self, queue: Sequence[Operation | Request], operation: Operation, keep: bool = False
    ) -> tuple[list[Operation | Request], Operation]:
        """The queue as it applies after ``operation``, and ``operation`` as it applies after the queue.

        ``keep``: also what does nothing any more.
        """
        transform = self.type.transform
        moved: list[Operation | Request] = []
        for item in queue:
            if not isinstance(item, Request):
                item, operation = transform(item, operation, "left"), transform(operation, item, "right")
                item = self.type.without_claims(item)
                if not keep and self.type.is_identity(item):
                    continue
            moved.append(item)
        return moved, operation
