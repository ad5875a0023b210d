"""A document as one client holds it: confirmed text, operation in flight, pending edits, held-back view. Sans-I/O.

    confirmed --in flight--> . --pending--> local --held, reversed--> view
    ^ the server's text at ``revision``                                ^ what the user sees and edits

Wave's simplification of Jupiter (Nichols et al. 1995): at most one operation in flight, everything typed meanwhile is
composed into one pending operation. The server puts an arriving operation to the *left* of its history, so here the
own, later operations win ties ("left") against what comes in ("right").

    in flight  pending  | edit            take                   own entry           refused
    no         no       | -> no, yes      nothing to send        as a remote one     ignored
    no         yes      | composed        -> yes, no (sent)      as a remote one     ignored
    yes        no       | -> yes, yes     resent once per attach -> no, no           -> no, no
    yes        yes      | composed        resent once per attach -> no, yes          -> no, yes

Invariants:

* local = confirmed . in flight . pending, and view . held = local: ``text`` is a function of the others.
* An operation keeps its (client, seq) until its fate is known. It is sent again only after ``attach`` (the answer to
  document:join) has told that it is not committed, and then in its transformed form at the new revision.
* The confirmed text is kept, so an operation that is refused can be inverted exactly: an inverse carried along through
  transforms would bring back what others deleted meanwhile.
* Every own entry is compared with the operation in flight: client and server can not drift apart silently.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..core.errors import SynclineError
from ..core.ot import Operation, compose, diff, invert, map_position, transform
from ..core.text import Text
from .errors import BufferFull, Diverged

UNIT: Literal["unicode"] = "unicode"
Origin = Literal["local", "remote", "refused", "reset"]


class Change(NamedTuple):
    """What happened to the view. ``client`` made it; empty for "refused" and "reset"."""

    operation: Operation
    origin: Origin
    client: str


class Submission(NamedTuple):
    """What goes out as document:operation."""

    seq: int
    revision: int
    operation: Operation


class Committed(NamedTuple):
    """One operation of the server's history, as it arrived. ``own``: it is the ack of one's own."""

    revision: int
    client: str
    seq: int
    own: bool


@dataclass(slots=True)
class Held:
    """A committed operation that the view does not show yet. ``operation`` applies after the ones held before it."""

    revision: int
    client: str
    seq: int
    operation: Operation
    origin: Origin


class LostWork(NamedTuple):
    """Edits that no longer have a document to go to: it was created anew, or its history was lost.

    ``text`` is what the user saw; ``operation`` is what was not acknowledged, against the confirmed text ``base``.
    """

    text: str
    base: str
    operation: Operation | None


class CodePoints:
    """A text addressed in code points, over the core's UTF-16 text. Edits cost what ``core.text`` says."""

    def __init__(self, text: str = "") -> None:
        self._text = Text(text)

    def __len__(self) -> int:
        return self._text.length(UNIT)

    def __str__(self) -> str:
        return str(self._text)

    def apply(self, operation: Operation) -> None:
        """All or nothing. Raises SynclineError as ``ot.apply``."""
        self._text.apply(self._text.to_unit(operation, "utf-16"))

    def invert(self, operation: Operation) -> Operation:
        """What undoes ``operation``, which applies to this text."""
        native = self._text.to_unit(operation, "utf-16")
        if not self._text.astral and not native.has_astral:
            return Operation(self._text.invert(native).components, UNIT)
        return invert(operation, str(self._text))

    def slice(self, start: int, end: int) -> str:
        if not self._text.astral:
            return self._text.slice(start, end)
        to = self._text.offset_to
        return self._text.slice(to(start, UNIT, "utf-16"), to(end, UNIT, "utf-16"))


class DocumentState:
    """Feed it what the server says; it answers with the changes of the view. Raises Diverged when they do not fit.

    ``edit`` and ``receive`` cost what transform and compose cost: linear in the components of the operations concerned
    times the number of held ones, plus the text's own cost of an edit.
    """

    def __init__(
        self,
        client: str,
        *,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 131_072,
    ) -> None:
        """
        client: this client's id in the document, kept over reconnects.
        hold_limit: operations kept from the view at most; over it the oldest are shown all the same (``overflows``).
        pending_limit: inserted characters plus components that wait at most; over it ``edit`` raises BufferFull.
        operation_limit: the same measure for one submission; a larger pending operation is sent in pieces.
        """
        self.client = client
        self.generation = ""
        self.revision = 0
        self.attached = False
        self.overflows = 0
        self.seq = 0  # of the newest operation that was ever sent
        self.in_flight: Operation | None = None
        self.pending: Operation | None = None
        self.cursors: dict[str, tuple[int, int]] = {}  # of the others, in the confirmed text
        self.arrived: deque[tuple[str, int, Operation]] = deque()  # of revisions revision + 1 ..., while holding
        self.held: deque[Held] = deque()
        self.holding = False
        self._hold_limit = hold_limit
        self._pending_limit = pending_limit
        self._operation_limit = operation_limit
        self._pending_size = 0
        self._sent = False  # whether the operation in flight went out since the last attach
        self._sender = client  # under whose name the operation in flight went out
        self.in_doubt = False  # a renamed client's operation in flight: whether it got in is not known yet
        self._confirmed = CodePoints()
        self._view = CodePoints()

    # What one can see ------------------------------------------------------------------------------------------------
    @property
    def text(self) -> str:
        """The view, as a new string: O(n)."""
        return str(self._view)

    @property
    def confirmed(self) -> str:
        """The server's text at ``revision``: O(n)."""
        return str(self._confirmed)

    def __len__(self) -> int:
        return len(self._view)

    def slice(self, start: int, end: int) -> str:
        return self._view.slice(start, end)

    @property
    def known(self) -> int:
        """The newest revision that has arrived: what a join continues from."""
        return self.revision + len(self.arrived)

    @property
    def settled(self) -> bool:
        """Every local edit is acknowledged."""
        return self.in_flight is None and self.pending is None

    def cursor(self, client: str) -> tuple[int, int] | None:
        """Anchor and head of another client, in the view."""
        place = self.cursors.get(client)
        if place is None:
            return None
        anchor, head = (self._to_view(offset) for offset in place)
        return anchor, head

    def _to_view(self, offset: int) -> int:
        for operation in (self.in_flight, self.pending):
            if operation is not None:
                offset = map_position(offset, operation)
        # What is held back is not undone for a cursor: it is only kept inside the view.
        return min(offset, len(self._view))

    # Local edits -----------------------------------------------------------------------------------------------------
    def edit(self, operation: Operation) -> Change:
        """Applies a local operation on the view. Raises SynclineError when it does not fit, BufferFull; nothing is
        changed then."""
        size = _size(operation)
        if self._pending_size + size > self._pending_limit and self._measure_pending() + size > self._pending_limit:
            raise BufferFull(f"more than {self._pending_limit} characters wait to be acknowledged")
        self._view.apply(operation)
        change = Change(operation, "local", self.client)
        for held in self.held:
            operation, held.operation = (
                transform(operation, held.operation, "left"),
                transform(held.operation, operation, "right"),
            )
        self._add_pending(operation, size)
        return change

    def _add_pending(self, operation: Operation, size: int) -> None:
        pending = operation if self.pending is None else compose(self.pending, operation)
        self.pending = None if pending.is_identity else pending
        # Only an upper bound (composing cancels text): measured exactly when it is about to matter.
        self._pending_size = self._pending_size + size if self.pending is not None else 0

    def _measure_pending(self) -> int:
        self._pending_size = 0 if self.pending is None else _size(self.pending)
        return self._pending_size

    def take(self) -> Submission | None:
        """What to send now, or None. Called again it gives nothing until the fate of the last one is known."""
        if not self.attached:
            return None
        if self.in_flight is None:
            if self.pending is None:
                return None
            first, rest = self.pending, None
            if self._pending_size > self._operation_limit and self._measure_pending() > self._operation_limit:
                first, rest = split(first, self._operation_limit)
            self.in_flight, self.pending = first, rest
            self._measure_pending()
            self.seq += 1
        elif self._sent or self.in_doubt:
            return None
        elif self._sender != self.client:
            self.seq = 1  # it did not get in under the old name
        self._sender = self.client
        self._sent = True
        return Submission(self.seq, self.revision, self.in_flight)

    # What the server says --------------------------------------------------------------------------------------------
    def detach(self) -> None:
        """The connection, or the server's session of this document, is gone. Local edits go on."""
        self.attached = False
        self._sent = False

    def start(self, generation: str, revision: int, text: str, seq: int = 0) -> tuple[list[Change], LostWork | None]:
        """document:state with a text: the first one, or one that starts anew.

        Unacknowledged edits cannot be carried over to another text; they are handed back, never dropped.
        """
        lost = None
        if not self.settled:
            operation = self.pending if self.in_flight is None else self.in_flight
            if self.in_flight is not None and self.pending is not None:
                operation = compose(self.in_flight, self.pending)
            lost = LostWork(str(self._view), str(self._confirmed), operation)
        before = str(self._view)
        self.generation, self.revision, self.attached = generation, revision, True
        self.seq = max(self.seq, seq) if self._sender == self.client else seq
        self.in_flight = self.pending = None
        self._pending_size = 0
        self.in_doubt = False
        self._sent = False
        self._sender = self.client
        self.held.clear()
        self.arrived.clear()
        self.cursors.clear()
        self._confirmed, self._view = CodePoints(text), CodePoints(text)
        if before == text:
            return [], lost
        return [Change(diff(before, text, UNIT), "reset", "")], lost

    def attach(self, seq: int, missing: int) -> None:
        """document:state of the generation that is here; ``receive`` the missing operations next, then ``take``.

        ``seq``: the last one of this client that is committed. When it covers the operation in flight, its entry is
        among the missing ones or follows as a push, so it is not sent again. ``missing``: how many operations came with
        the answer (a long list is continued by pushes). After ``rename`` the caller joins again while ``in_doubt``.
        """
        self.attached = True
        renamed = self.in_flight is not None and self._sender != self.client
        self.in_doubt = renamed and missing > 0
        self._sent = self.in_flight is not None and not renamed and seq >= self.seq

    def rename(self, client: str) -> None:
        """Goes on under another client id: this one is another user's now. Between ``detach`` and ``attach``.

        An operation in flight may have got in under the old name: it is sent anew only after an attach that misses
        nothing, so that the whole history is here without it. (A copy that a dead connection delivers later still
        would not be recognised: the price of another name.)
        """
        self.client = client
        if self.in_flight is None:
            self._sender = client
            self.seq = 0

    def receive(self, revision: int, client: str, seq: int, operation: Operation) -> list[Change]:
        """The committed operation that made ``revision``; raises Diverged unless it is the next one.

        One that is known already changes nothing. While holding it waits in ``arrived``, until an own one arrives.
        """
        known = self.known
        if revision <= known:
            return []
        if revision != known + 1:
            raise Diverged(f"revision {revision} came after {known}")
        if not self.holding:
            return self._integrate(client, seq, operation)
        self.arrived.append((client, seq, operation))
        changes: list[Change] = []
        if self.is_in_flight(client, seq):
            changes += self._integrate_until(revision)
        while len(self.arrived) + len(self.held) > self._hold_limit:
            self.overflows += 1
            if not self.held:
                changes += self._integrate(*self.arrived.popleft())
            if self.held:
                changes += self._show_held()
        return changes

    def _integrate_until(self, revision: int) -> list[Change]:
        changes: list[Change] = []
        while self.arrived and self.revision < revision:
            changes += self._integrate(*self.arrived.popleft())
        return changes

    def _integrate(self, client: str, seq: int, operation: Operation) -> list[Change]:
        """The next operation of the history, into everything but a held view."""
        try:
            if self.is_in_flight(client, seq):
                self._acknowledge(operation)
                return []
            return self._receive_remote(self.revision + 1, client, seq, operation)
        except SynclineError as error:
            raise Diverged(f"revision {self.revision + 1} does not fit: {error}") from error

    def _acknowledge(self, operation: Operation) -> None:
        in_flight = self.in_flight
        assert in_flight is not None
        if operation != in_flight:
            # Another order of components can be the same edit; what counts is the text.
            other = CodePoints(str(self._confirmed))
            other.apply(in_flight)
            self._confirmed.apply(operation)
            if str(other) != str(self._confirmed):
                raise Diverged(f"operation {self.seq} was committed as another one")
        else:
            self._confirmed.apply(operation)
        self._move_cursors(operation, "")
        self.in_flight = None
        self._sent = self.in_doubt = False
        if self._sender != self.client:  # it had got in under the old name; the new one begins
            self._sender = self.client
            self.seq = 0
        self.revision += 1

    def _receive_remote(self, revision: int, client: str, seq: int, operation: Operation) -> list[Change]:
        self._confirmed.apply(operation)
        self._move_cursors(operation, client)
        self.revision = revision
        if self.in_flight is not None:
            self.in_flight, operation = (
                transform(self.in_flight, operation, "left"),
                transform(operation, self.in_flight, "right"),
            )
        return self._arrive(operation, "remote", client, seq)

    def _arrive(self, operation: Operation, origin: Origin, client: str, seq: int) -> list[Change]:
        """``operation`` applies after what is in flight: through pending, then to the view or to the held ones."""
        if self.pending is not None:
            self.pending, operation = (
                transform(self.pending, operation, "left"),
                transform(operation, self.pending, "right"),
            )
            if self.pending.is_identity:
                self.pending = None
        if not self.holding and not self.held:
            return self._show(operation, origin, client)
        self.held.append(Held(self.revision, client, seq, operation, origin))
        changes: list[Change] = []
        while len(self.held) > self._hold_limit:
            self.overflows += 1
            changes += self._show_held()
        return changes

    def _show(self, operation: Operation, origin: Origin, client: str) -> list[Change]:
        if operation.is_identity:
            return []
        self._view.apply(operation)
        return [Change(operation, origin, client)]

    def _show_held(self) -> list[Change]:
        held = self.held.popleft()
        return self._show(held.operation, held.origin, held.client)

    def refuse(self, seq: int) -> list[Change]:
        """The operation in flight was refused, nothing of it is in the document: takes it back. Others are ignored."""
        if not self.is_in_flight(self.client, seq):
            return []
        assert self.in_flight is not None
        inverse = self._confirmed.invert(self.in_flight)
        self.in_flight = None
        self._sent = False
        return self._arrive(inverse, "refused", "", seq)

    def is_in_flight(self, client: str, seq: int) -> bool:
        """Whether (``client``, ``seq``) is the operation in flight."""
        return self.in_flight is not None and seq == self.seq and client == self._sender

    # Holding back ----------------------------------------------------------------------------------------------------
    def hold(self) -> None:
        """From now on the view changes by local edits only, until ``show`` or ``release``.

        What arrives waits unread as long as it can, so that submissions are made at the revision that was shown last;
        an own operation's ack brings what came before it through in flight and pending, into ``held``.
        """
        self.holding = True

    def show(self, revision: int) -> list[Change]:
        """Shows what has come up to and including ``revision``, and goes on holding."""
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
        """Shows everything and holds no more."""
        changes = self.show(self.known)
        self.holding = False
        return changes

    # Cursors ---------------------------------------------------------------------------------------------------------
    def _move_cursors(self, operation: Operation, author: str) -> None:
        """As the server does: every operation moves all cursors and sets its author's to its end."""
        for client, (anchor, head) in self.cursors.items():
            self.cursors[client] = (map_position(anchor, operation), map_position(head, operation))
        if author:
            self.cursors[author] = (operation.end, operation.end)

    def place_cursor(self, client: str, anchor: int | None, head: int | None) -> None:
        """What the server says about another client's cursor at this revision; None hides it."""
        if anchor is None or head is None:
            self.cursors.pop(client, None)
        else:
            length = len(self._confirmed)
            self.cursors[client] = (min(anchor, length), min(head, length))


def _size(operation: Operation) -> int:
    """Inserted characters plus components: what an operation costs in memory and on the wire, roughly."""
    return sum(len(part) + 1 if isinstance(part, str) else 1 for part in operation.components)


def split(operation: Operation, limit: int) -> tuple[Operation, Operation | None]:
    """Two operations that compose to ``operation``, the first of a size up to about ``limit``.

    The second starts behind what the first leaves: components act from left to right, so a cut anywhere is exact.
    """
    components = operation.components
    size = 0
    done = 0  # code points of the result that the first one covers
    edits = False  # whether the first one does anything yet: it must, or there would be no end
    for index, part in enumerate(components):
        if isinstance(part, str):
            room = limit - size - 1
            if len(part) > room:
                cut = max(room, 0 if edits else 1)
                first: list[Any] = [*components[:index], *([part[:cut]] if cut else [])]
                rest: list[Any] = [done + cut, *([part[cut:]] if part[cut:] else []), *components[index + 1 :]]
                return _pair(first, rest)
            size += len(part)
            done += len(part)
            edits = True
        elif part > 0:
            done += part
        else:
            edits = True
        size += 1
        if edits and size >= limit and index + 1 < len(components):
            return _pair(list(components[: index + 1]), [done, *components[index + 1 :]])
    return operation, None


def _pair(first: Sequence[int | str], rest: Sequence[int | str]) -> tuple[Operation, Operation | None]:
    parts = [part for part in rest if part != 0]
    second = Operation(parts, UNIT)
    return Operation(list(first), UNIT), None if second.is_identity else second
