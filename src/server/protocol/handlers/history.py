"""`document:history`, `document:at`, `document:blame`: what a document was. For everybody who may read it; no join."""

from __future__ import annotations

from typing import Any

from ..events import DocumentAt, DocumentBlame, DocumentHistory
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("document:history", DocumentHistory)
async def history(session: NativeSession, data: DocumentHistory, request: Request) -> dict[str, Any]:
    page = await session.services.documents.page(session, data.document, data.since, data.limit)
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
async def at(session: NativeSession, data: DocumentAt, request: Request) -> dict[str, Any]:
    past = await session.services.documents.at(session, data.document, data.revision)
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
async def blame(session: NativeSession, data: DocumentBlame, request: Request) -> dict[str, Any]:
    blamed = await session.services.documents.blame(session, data.document, data.start, data.end, data.unit)
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
