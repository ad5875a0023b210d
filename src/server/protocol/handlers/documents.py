"""What begins with `document:`, but for the questions about what was (history.py)."""

from __future__ import annotations

from typing import Any

from ....core.errors import ErrorCode, SynclineError
from ...documents.collaborator import Collaborator
from ...documents.join import join as answer_join
from ...documents.live_document import LiveDocument
from ...seams.outcome import Conflict, LastOwner
from ...sessions.session import Session
from ..events import (
    DocumentCreate,
    DocumentCursor,
    DocumentGrant,
    DocumentInitialize,
    DocumentJoin,
    DocumentOnly,
    DocumentOperation,
    DocumentRestore,
    DocumentUndo,
)
from ..registry import Events
from ..requests import Request

EVENTS = Events()


def joined(session: Session, document: str) -> tuple[LiveDocument, Collaborator]:
    """The document and the session's part in it. Raises SynclineError(not_joined)."""
    collaborator = session.documents.get(document)
    live = session.node.documents.live.get(document)
    if collaborator is None or live is None:
        raise SynclineError(ErrorCode.NOT_JOINED, f"join the document {document!r} first")
    return live, collaborator


@EVENTS.on("document:create", DocumentCreate, content=("text", "content"))
async def create(session: Session, data: DocumentCreate, request: Request) -> dict[str, Any]:
    content, other = (data.text or None, data.content) if data.type == "text" else (data.content, data.text)
    if other is not None:
        raise SynclineError(ErrorCode.INVALID_DATA, "text is for documents of type text, content for the others")
    documents = session.node.documents
    record = await documents.create(data.document, session.user, content, data.default_role, data.type)
    if record is None:
        raise SynclineError(ErrorCode.DOCUMENT_EXISTS, f"the document {data.document!r} exists")
    return {"document": record.id, "generation": record.generation, "revision": 0}


@EVENTS.on("document:join", DocumentJoin, reply="document:state", always_replies=True, content=("pending",))
async def join(session: Session, data: DocumentJoin, request: Request) -> None:
    limit = session.node.config.limits.documents
    if data.document not in session.documents and len(session.documents) >= limit:
        raise SynclineError(ErrorCode.LIMIT_EXCEEDED, f"at most {limit} documents on one connection")
    await answer_join(session, data, request)


@EVENTS.on("document:operation", DocumentOperation, content=("operation",))
def operation(session: Session, data: DocumentOperation, request: Request) -> None:
    live, collaborator = joined(session, data.document)
    live.submit(collaborator, data, request)


@EVENTS.on("document:undo", DocumentUndo)
def undo(session: Session, data: DocumentUndo, request: Request) -> None:
    live, collaborator = joined(session, data.document)
    live.submit(collaborator, data, request, "undo")


@EVENTS.on("document:redo", DocumentUndo)
def redo(session: Session, data: DocumentUndo, request: Request) -> None:
    live, collaborator = joined(session, data.document)
    live.submit(collaborator, data, request, "redo")


@EVENTS.on("document:restore", DocumentRestore)
async def restore(session: Session, data: DocumentRestore, request: Request) -> None:
    live, collaborator = joined(session, data.document)
    if collaborator.role == "reader":
        raise SynclineError(ErrorCode.FORBIDDEN, "readers do not edit")
    if data.to > live.core.revision:
        raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {live.core.revision}")
    await live.settle()
    content = (await session.node.archive.at(session, live.id, data.to)).content
    live, collaborator = joined(session, data.document)  # it may have been sent out meanwhile
    live.submit(collaborator, data, request, "restore", content)


@EVENTS.on("document:initialize", DocumentInitialize, content=("content",))
def initialize(session: Session, data: DocumentInitialize, request: Request) -> None:
    live, collaborator = joined(session, data.document)
    live.submit(collaborator, data, request, "restore")


@EVENTS.on("document:cursor", DocumentCursor)
def cursor(session: Session, data: DocumentCursor, request: Request) -> dict[str, Any]:
    live, collaborator = joined(session, data.document)
    for position in (data.anchor, data.head):
        if position is not None:
            live.type.parse_position(position)
    live.move_cursor(collaborator, data)
    return {"document": data.document}


@EVENTS.on("document:leave", DocumentOnly)
def leave(session: Session, data: DocumentOnly, request: Request) -> dict[str, Any]:
    live, collaborator = joined(session, data.document)
    live.remove(collaborator)
    return {"document": data.document}


@EVENTS.on("document:grant", DocumentGrant)
async def grant(session: Session, data: DocumentGrant, request: Request) -> dict[str, Any]:
    store = session.node.store
    joined(session, data.document)
    while True:
        own = await store.document_role(data.document, session.user)
        if own != "owner":
            raise SynclineError(ErrorCode.FORBIDDEN, "only an owner grants roles")
        try:
            await store.set_document_role(data.document, data.user, data.role, {session.user: own})
        except Conflict:
            continue  # changed meanwhile
        except LastOwner as error:
            raise SynclineError(ErrorCode.FORBIDDEN, "a document keeps at least one owner") from error
        break
    session.node.documents.role_changed(data.document, data.user, data.role)
    return {"document": data.document, "user": data.user, "role": data.role}
