"""`document:history`, `document:at`, `document:blame`: what a document was. For everybody who may read it; no join."""

from __future__ import annotations

from typing import Any

from ...documents.join import drained
from ...sessions.session import Session
from ..events import DocumentAt, DocumentBlame, DocumentHistory
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("document:history", DocumentHistory)
async def history(session: Session, data: DocumentHistory, request: Request) -> dict[str, Any]:
    archive = session.node.archive
    await drained(session, session.connection.max_bytes // 2)  # answers may be large
    page = await archive.page(session, await archive.state(data.document, session.user), data.since, data.limit)
    operations = []
    for revision, entry in enumerate(page.entries, page.since + 1):
        shown: dict[str, Any] = {
            "revision": revision,
            "client": entry.client,
            "user": entry.user,
            "time": entry.time,
            "operation": entry.told(data.unit),
        }
        if entry.kind != "edit":
            shown["kind"] = entry.kind
        operations.append(shown)
    return {
        "document": data.document,
        "revision": page.revision,
        "horizon": page.horizon,
        "operations": operations,
    }


@EVENTS.on("document:at", DocumentAt)
async def at(session: Session, data: DocumentAt, request: Request) -> dict[str, Any]:
    archive = session.node.archive
    await drained(session, session.connection.max_bytes // 2)  # answers may be large
    await archive.state(data.document, session.user)
    past = await archive.at(session, data.document, data.revision)
    author = past.author
    return {
        "document": data.document,
        "revision": past.revision,
        "type": past.type,
        "text" if past.type == "text" else "content": past.content,
        "user": None if author is None else author.user,
        "client": None if author is None else author.client,
        "time": None if author is None else author.time,
    }


@EVENTS.on("document:blame", DocumentBlame)
async def blame(session: Session, data: DocumentBlame, request: Request) -> dict[str, Any]:
    archive = session.node.archive
    await drained(session, session.connection.max_bytes // 2)  # answers may be large
    state = await archive.state(data.document, session.user)
    blamed = await archive.blame(session, state, data.start, data.end, data.unit)
    return {
        "document": data.document,
        "revision": blamed.revision,
        "horizon": blamed.base,
        "ranges": [
            {
                "length": one.length,
                "revision": one.revision,
                "user": one.user,
                "client": one.client,
                "time": None if one.user is None else one.time,
            }
            for one in blamed.ranges
        ],
    }
