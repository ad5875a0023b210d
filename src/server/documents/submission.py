"""What a collaborator submits: an operation, or a request that the core makes one of (undo, redo, restore, initialize)."""

from __future__ import annotations

from collections.abc import Iterable
from time import thread_time
from typing import TYPE_CHECKING, Any

from ...core.documents.document import Document
from ...core.errors import ErrorCode, Laborious, SynclineError
from ...core.storage.window import Kind, Receipt
from ..limits.fair_thread import Steps
from ..protocol.events import DocumentInitialize, DocumentOperation, DocumentRestore, DocumentUndo
from ..protocol.requests import Request
from ..sessions.session import SessionGone
from .collaborator import Collaborator

if TYPE_CHECKING:
    from ..node import Node
    from .live_document import LiveDocument

Submitted = DocumentOperation | DocumentUndo | DocumentRestore | DocumentInitialize


class Submission:
    """One of them on its way through the pipeline of its document. ``content``: the one to restore."""

    __slots__ = ("collaborator", "content", "data", "kind", "laborious", "receipt", "request")

    def __init__(
        self,
        collaborator: Collaborator,
        data: Submitted,
        request: Request,
        kind: Kind,
        content: Any,
    ) -> None:
        self.collaborator = collaborator
        self.data = data
        self.request = request
        self.kind = kind
        self.content = content
        self.receipt: Receipt | None = None
        self.laborious = False  # work was done for it beside the loop

    def receive(self, core: Document, time: float) -> Receipt:
        """Raises as the core does."""
        data, client, user = self.data, self.collaborator.client, self.collaborator.session.user
        if isinstance(data, DocumentOperation):
            return core.receive(client, user, data.seq, data.revision, data.operation, self.collaborator.unit, time)
        if isinstance(data, DocumentInitialize):
            return core.initialize(client, user, data.seq, data.revision, data.content, time)
        if isinstance(data, DocumentRestore):
            return core.restore_content(client, user, data.seq, data.revision, data.to, self.content, time)
        return core.undo(client, user, data.seq, data.revision, "redo" if self.kind == "redo" else "undo", time)

    async def labour(self, live: LiveDocument, needs: Laborious) -> None:
        """Its work, beside the loop, as far as its user's share of that goes. Raises TooFarBehind, SynclineError, SessionGone."""
        session, node = self.collaborator.session, live.node

        def check() -> None:
            session.require_open()
            if live.closed or not live.waits(self):
                raise SessionGone

        self.laborious = True
        if wait := node.labours.take(session.user, needs.cost):
            raise SynclineError(ErrorCode.RATE_LIMITED, "you have asked for much work", wait)
        spent = [0.0]
        try:
            await node.archive.moves.work(session.work("move"), counted(needs.steps, spent), check)
        finally:  # what it has taken, and no longer what it might have
            node.labours.give_back(session.user, needs.cost - spent[0])


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


def fate_known(submissions: Iterable[Submission], node: Node) -> None:
    """They are committed, were before, or are lost: how long that took since each was read is counted now."""
    node.counters.operations.observe_since(node.clock.monotonic(), [one.request.arrived for one in submissions])
