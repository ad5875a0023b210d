"""What begins with `document:`, but for the questions about what was (history.py)."""

from __future__ import annotations

from typing import Any

from ....core.errors import ErrorCode, SynclineError
from ...documents.join import Joining
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
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("document:create", DocumentCreate, content=("text", "content"))
async def create(session: NativeSession, data: DocumentCreate, request: Request) -> dict[str, Any]:
    content, other = (data.text or None, data.content) if data.type == "text" else (data.content, data.text)
    if other is not None:
        raise SynclineError(ErrorCode.INVALID_DATA, "text is for documents of type text, content for the others")
    documents = session.services.documents
    generation = await documents.create(session, data.document, content, data.default_role, data.type)
    return {"document": data.document, "generation": generation, "revision": 0}


@EVENTS.on("document:join", DocumentJoin, reply="document:state", always_replies=True, content=("pending",))
async def join(session: NativeSession, data: DocumentJoin, request: Request) -> None:
    joining = Joining(
        data.document,
        data.type,
        data.unit,
        data.client,
        data.revision,
        data.generation,
        None if data.pending is None else [(one.operation, one.seq) for one in data.pending],
        None if data.diverged is None else (data.diverged.revision, data.diverged.hash),
    )
    await session.services.documents.join(session, joining, request.reply)


@EVENTS.on("document:operation", DocumentOperation, content=("operation",))
def operation(session: NativeSession, data: DocumentOperation, request: Request) -> None:
    session.services.documents.submit(session, data.document, request, "edit", data.seq, data.revision, data.operation)


@EVENTS.on("document:undo", DocumentUndo)
def undo(session: NativeSession, data: DocumentUndo, request: Request) -> None:
    session.services.documents.submit(session, data.document, request, "undo", data.seq, data.revision)


@EVENTS.on("document:redo", DocumentUndo)
def redo(session: NativeSession, data: DocumentUndo, request: Request) -> None:
    session.services.documents.submit(session, data.document, request, "redo", data.seq, data.revision)


@EVENTS.on("document:restore", DocumentRestore)
async def restore(session: NativeSession, data: DocumentRestore, request: Request) -> None:
    await session.services.documents.restore(session, data.document, request, data.seq, data.revision, data.to)


@EVENTS.on("document:initialize", DocumentInitialize, content=("content",))
def initialize(session: NativeSession, data: DocumentInitialize, request: Request) -> None:
    session.services.documents.initialize(session, data.document, request, data.seq, data.revision, data.content)


@EVENTS.on("document:cursor", DocumentCursor)
def cursor(session: NativeSession, data: DocumentCursor, request: Request) -> dict[str, Any]:
    session.services.documents.move_cursor(session, data.document, data.revision, data.anchor, data.head)
    return {"document": data.document}


@EVENTS.on("document:leave", DocumentOnly)
def leave(session: NativeSession, data: DocumentOnly, request: Request) -> dict[str, Any]:
    session.services.documents.leave(session, data.document)
    return {"document": data.document}


@EVENTS.on("document:grant", DocumentGrant)
async def grant(session: NativeSession, data: DocumentGrant, request: Request) -> dict[str, Any]:
    await session.services.documents.grant(session, data.document, data.user, data.role)
    return {"document": data.document, "user": data.user, "role": data.role}
