"""What a collaborator submits: an operation, or a request that the core makes one of (undo, redo, restore)."""

from __future__ import annotations

from ..core.document import Document, Receipt
from ..core.window import Kind
from .collaborator import Collaborator
from .events import DocumentOperation, DocumentRestore, DocumentUndo
from .requests import Request

Submitted = DocumentOperation | DocumentUndo | DocumentRestore


class Submission:
    """One of them on its way through the pipeline of its document. ``text``: the one to restore."""

    __slots__ = ("collaborator", "data", "kind", "receipt", "request", "text")

    def __init__(
        self,
        collaborator: Collaborator,
        data: Submitted,
        request: Request,
        kind: Kind,
        text: str,
    ) -> None:
        self.collaborator = collaborator
        self.data = data
        self.request = request
        self.kind = kind
        self.text = text
        self.receipt: Receipt | None = None

    def receive(self, core: Document, time: float) -> Receipt:
        """Raises as the core does."""
        data, client, user = self.data, self.collaborator.client, self.collaborator.session.user
        if isinstance(data, DocumentOperation):
            return core.receive(client, user, data.seq, data.revision, data.operation, self.collaborator.unit, time)
        if isinstance(data, DocumentRestore):
            return core.restore_text(client, user, data.seq, data.revision, data.to, self.text, time)
        return core.undo(client, user, data.seq, data.revision, "redo" if self.kind == "redo" else "undo", time)
