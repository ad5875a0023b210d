"""What a collaborator submits: an operation, or a request that the core makes one of (undo, redo, restore, initialize)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import thread_time
from typing import Any, Protocol

from ...core.documents.document import Document
from ...core.errors import ErrorCode, Laborious, SynclineError
from ...core.storage.window import Kind, Receipt
from ..limits.fair_thread import Steps
from ..sessions.session import SessionGone
from .collaborator import Collaborator
from .loaded import Context, Loaded


class Answer(Protocol):
    """Where its author hears of it, once. ``arrived``: when it was read, by ``Clock.monotonic``. ``wanted``: False when its place in what
    everybody is told says enough."""

    @property
    def arrived(self) -> float: ...
    @property
    def wanted(self) -> bool: ...
    def reply(self, result: object) -> None: ...
    def fail(self, error: SynclineError) -> None: ...


class Submission:
    """One of them on its way through the pipeline of its document. ``operand``: the operation, or the first content, or the one to restore
    (that of revision ``to``)."""

    __slots__ = ("answer", "collaborator", "kind", "laborious", "operand", "receipt", "revision", "seq", "to")

    def __init__(
        self,
        collaborator: Collaborator,
        answer: Answer,
        kind: Kind,
        seq: int,
        revision: int,
        operand: Any = None,
        to: int | None = None,
    ) -> None:
        self.collaborator = collaborator
        self.answer = answer
        self.kind: Kind = kind
        self.seq = seq
        self.revision = revision
        self.operand = operand
        self.to = to
        self.receipt: Receipt | None = None
        self.laborious = False  # work was done for it beside the loop

    def receive(self, core: Document, time: float) -> Receipt:
        """Raises as the core does."""
        client, user = self.collaborator.client, self.collaborator.session.user
        if self.kind == "edit":
            return core.receive(client, user, self.seq, self.revision, self.operand, self.collaborator.unit, time)
        if self.kind == "restore":
            if self.to is None:
                return core.initialize(client, user, self.seq, self.revision, self.operand, time)
            return core.restore_content(client, user, self.seq, self.revision, self.to, self.operand, time)
        return core.undo(client, user, self.seq, self.revision, "redo" if self.kind == "redo" else "undo", time)

    async def labour(self, live: Loaded, needs: Laborious, waits: Callable[[], bool]) -> None:
        """Its work, beside the loop, as far as its user's share of that goes, and while it ``waits``.

        Raises TooFarBehind, SynclineError, SessionGone."""
        session, context = self.collaborator.session, live.context

        def check() -> None:
            session.require_open()
            if live.closed or not waits():
                raise SessionGone

        self.laborious = True
        if wait := context.labours.take(session.user, needs.cost):
            raise SynclineError(ErrorCode.RATE_LIMITED, "you have asked for much work", wait)
        spent = [0.0]
        try:
            await context.threads.moves.work(session.work("move"), counted(needs.steps, spent), check)
        finally:  # what it has taken, and no longer what it might have
            context.labours.give_back(session.user, needs.cost - spent[0])


def counted(steps: Steps[object], spent: list[float]) -> Steps[None]:
    """The same; the item of ``spent`` grows by the microseconds of the processor that they take."""
    while True:
        started = thread_time()
        try:
            next(steps)
        except StopIteration:
            return
        finally:
            spent[0] += (thread_time() - started) * 1e6
        yield


def fate_known(submissions: Iterable[Submission], context: Context) -> None:
    """They are committed, were before, or are lost: how long that took since each was read is counted now."""
    context.counters.operations.observe_since(context.clock.monotonic(), [one.answer.arrived for one in submissions])
