"""What can be done with documents: made, joined, edited, left, looked into, granted roles in. In plain values: callers (handlers,
or a program in the process) decode what came, and make an answer of what is returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ...core.errors import ErrorCode, SynclineError
from ...core.ot.ot import Unit
from ...core.storage.window import Kind
from ..seams.outcome import Conflict, LastOwner
from ..sessions.session import Session
from .catching_up import drained
from .collaborator import Collaborator
from .compaction import Compaction
from .divergence import Divergences
from .join import Joining, join
from .live_document import LiveDocument
from .loaded import Context
from .registry import DocumentRegistry
from .revisions import Blamed, Page, Past, Revisions
from .submission import Answer, Submission


class Documents:
    """One per node."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._store = context.store
        self.compaction = Compaction(context)
        context.compact = self.compaction.consider
        self.registry = DocumentRegistry(context)
        context.registry = self.registry
        self.revisions = Revisions(context)
        self.divergences = Divergences(context)

    @property
    def live(self) -> Mapping[str, LiveDocument]:
        """Those that are loaded, by id."""
        return self.registry.live

    async def close(self) -> None:
        """Stores snapshots of what changed; for a clean stop."""
        await self.compaction.close()
        await self.registry.close()

    async def create(
        self, session: Session, document: str, content: object, default_role: str | None, type: str
    ) -> str:
        """Its maker is its owner. ``content``: a value of the type, not checked yet; None: its empty one. Returns its generation.

        Raises SynclineError (document_exists, document_too_large, operation_invalid, invalid_data), Unavailable."""
        record = await self.registry.create(document, session.user, content, default_role, type)
        if record is None:
            raise SynclineError(ErrorCode.DOCUMENT_EXISTS, f"the document {document!r} exists")
        return record.generation

    # Taking part ---------------------------------------------------------------------------------------------

    async def join(self, session: Session, data: Joining, answered: Callable[[dict[str, Any]], None]) -> None:
        """``answered`` gets the state; operations that it lacks follow until this returns.

        Raises SynclineError, Unavailable, SessionGone."""
        limit = self.context.config.limits.documents
        if data.document not in session.documents and len(session.documents) >= limit:
            raise SynclineError(ErrorCode.LIMIT_EXCEEDED, f"at most {limit} documents on one connection")
        await join(self.registry, self.divergences, session, data, answered)

    def joined(self, session: Session, document: str) -> tuple[LiveDocument, Collaborator]:
        """The document and the session's part in it. Raises SynclineError(not_joined)."""
        collaborator: Collaborator | None = session.documents.get(document)
        live = self.registry.live.get(document)
        if collaborator is None or live is None:
            raise SynclineError(ErrorCode.NOT_JOINED, f"join the document {document!r} first")
        return live, collaborator

    def submit(
        self, session: Session, document: str, answer: Answer, kind: Kind, seq: int, revision: int, operand: Any = None
    ) -> None:
        """An operation (``edit``, its ``operand``), or what the core makes one of: ``undo``, ``redo``. ``seq`` counts from 1 for each
        client id. ``answer`` hears once what became of it, perhaps before this returns. Raises SynclineError (not_joined, forbidden,
        limit_exceeded)."""
        live, collaborator = self.joined(session, document)
        live.submit(Submission(collaborator, answer, kind, seq, revision, operand))

    def initialize(
        self, session: Session, document: str, answer: Answer, seq: int, revision: int, content: Any
    ) -> None:
        """A first content, which the second one loses. As ``submit``."""
        self.submit(session, document, answer, "restore", seq, revision, content)

    async def restore(self, session: Session, document: str, answer: Answer, seq: int, revision: int, to: int) -> None:
        """Back to the content of revision ``to``. As ``submit``; raises revision_unknown, history_trimmed too, Unavailable."""
        live, collaborator = self.joined(session, document)
        if collaborator.role == "reader":
            raise SynclineError(ErrorCode.FORBIDDEN, "readers do not edit")
        if to > live.core.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {live.core.revision}")
        await live.settle()
        content = (await self.revisions.at(session, live.id, to)).content
        live, collaborator = self.joined(session, document)  # it may have been sent out meanwhile
        live.submit(Submission(collaborator, answer, "restore", seq, revision, content, to))

    def move_cursor(self, session: Session, document: str, revision: int, anchor: Any, head: Any) -> None:
        """``anchor`` and ``head``: positions as the document's type has them; None: no cursor. Raises SynclineError (not_joined,
        invalid_data)."""
        live, collaborator = self.joined(session, document)
        for position in (anchor, head):
            if position is not None:
                live.type.parse_position(position)
        live.move_cursor(collaborator, revision, anchor, head)

    def leave(self, session: Session, document: str) -> None:
        """Raises SynclineError(not_joined)."""
        live, collaborator = self.joined(session, document)
        live.remove(collaborator)

    def session_gone(self, session: Session, resumed: bool) -> None:
        """Its documents are given up: the socket is gone."""
        for document in list(session.documents):
            live = self.registry.live.get(document)
            collaborator: Collaborator | None = session.documents.get(document)
            if live is not None and collaborator is not None:
                live.remove(collaborator)

    async def grant(self, session: Session, document: str, user: str, role: str | None) -> None:
        """Gives ``user`` a role, or takes it away (None). Raises SynclineError (not_joined, forbidden), Unavailable."""
        self.joined(session, document)
        while True:
            own = await self._store.document_role(document, session.user)
            if own != "owner":
                raise SynclineError(ErrorCode.FORBIDDEN, "only an owner grants roles")
            try:
                await self._store.set_document_role(document, user, role, {session.user: own})
            except Conflict:
                continue  # changed meanwhile
            except LastOwner as error:
                raise SynclineError(ErrorCode.FORBIDDEN, "a document keeps at least one owner") from error
            break
        self.registry.role_changed(document, user, role)

    # What was ------------------------------------------------------------------------------------------------

    async def page(self, session: Session, document: str, since: int | None, limit: int) -> Page:
        """At most ``limit`` operations after ``since``, fewer when they are long; without it the last ones.

        Raises SynclineError (document_not_found, forbidden, revision_unknown, history_trimmed, document_unavailable), Unavailable."""
        await self._has_room(session)
        return await self.revisions.page(session, await self.revisions.state(document, session.user), since, limit)

    async def at(self, session: Session, document: str, revision: int) -> Past:
        """The content at ``revision``. Raises as ``page``."""
        await self._has_room(session)
        await self.revisions.state(document, session.user)
        return await self.revisions.at(session, document, revision)

    async def blame(self, session: Session, document: str, start: int, end: int | None, unit: Unit) -> Blamed:
        """Who wrote the characters from ``start`` to ``end``. Raises as ``page``, and invalid_data."""
        await self._has_room(session)
        state = await self.revisions.state(document, session.user)
        return await self.revisions.blame(session, state, start, end, unit)

    async def _has_room(self, session: Session) -> None:
        """Answers may be large."""
        await drained(session, session.connection.max_bytes // 2)
