"""Joining a document: what a client is told that comes for the first time, or comes back.

The answer is complete at the moment when it is sent, and what is committed afterwards follows as pushes, without gap or
duplicate. A long list of missed operations goes out in parts, each when the socket has taken the one before.
"""

from __future__ import annotations

import asyncio

from ..core.entries import Entry
from ..core.errors import ErrorCode, SynclineError
from .collaborator import Collaborator
from .document_frames import ENTRIES_PER_FRAME, describe, send_entries
from .events import DocumentJoin
from .live_document import LiveDocument
from .requests import Request
from .session import Session


async def join(session: Session, data: DocumentJoin, request: Request) -> None:
    """Answers with `document:state`. Raises SynclineError, Unavailable, SessionGone."""
    documents = session.node.documents
    # States may be large: one at a time on a connection that has not taken the last one yet.
    await _drained(session, session.connection.max_bytes // 2)
    while True:
        live = await documents.open(data.document, session.user)
        live.pins += 1  # an idle document must not be unloaded while somebody waits to join it
        try:
            role = await documents.role(live, session.user)
            returning = data.revision is not None and data.generation == live.core.generation
            entries = await _missed(live, data.revision) if returning and data.revision is not None else []
            await live.settle()
            # From here to the end nothing awaits: the state is complete, and what follows comes as pushes.
            session.require_open()
            if not live.closed:
                break
        finally:
            live.pins -= 1
            documents.consider_idle(live)
    core = live.core
    client = data.client or session.node.new_id()
    if core.client_user(client) not in (None, session.user):
        raise SynclineError(ErrorCode.CLIENT_TAKEN, "this client id belongs to another user")
    for old in (session.documents.get(live.id), live.collaborators.get(client)):
        if old is not None:
            if old.session.user != session.user:
                raise SynclineError(ErrorCode.CLIENT_TAKEN, "this client id belongs to another user")
            live.remove(old)
    collaborator = Collaborator(session, client, role, data.unit)
    known = [other.describe(core, data.unit) for other in live.collaborators.values()]
    live.add(collaborator)
    live.notify("document:collaborator_joined", collaborator.describe(core, data.unit), collaborator)
    # A long list goes out in parts, each when the one before has left, so that catching up never fills the queue.
    # The client is a collaborator from now on, but operations reach it only through ``_catch_up`` until it is there.
    first, rest = entries[:ENTRIES_PER_FRAME], entries[ENTRIES_PER_FRAME:]
    request.reply(
        {
            "document": live.id,
            "generation": core.generation,
            "revision": core.revision - len(rest),
            "role": role,
            "unit": data.unit,
            "client": client,
            "seq": core.last_seq(client),
            "text": None if returning else core.text(),
            "operations": describe(first, data.unit) if returning else None,
            "collaborators": known,
        }
    )
    if rest:
        await _catch_up(live, collaborator, core.revision - len(rest), rest)


async def _drained(session: Session, backlog: int) -> None:
    """Returns when at most so many bytes wait for the connection's socket. Raises SessionGone."""
    while session.connection.backlog > backlog:
        await asyncio.sleep(0.005)  # a socket drains: there is no event for it that costs others nothing
        session.require_open()


async def _missed(live: LiveDocument, revision: int) -> list[Entry]:
    """The entries after ``revision``, when no commit is under way. Raises SynclineError(revision_unknown)."""
    if revision > live.core.revision:
        raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {live.core.revision}")
    return await live.history(revision)


async def _catch_up(live: LiveDocument, collaborator: Collaborator, at: int, rest: list[Entry]) -> None:
    collaborator.behind = True
    session = collaborator.session
    while True:
        while rest:
            part, rest = rest[:ENTRIES_PER_FRAME], rest[ENTRIES_PER_FRAME:]
            at += len(part)
            send_entries(live.id, at, part, collaborator)
            await _drained(session, 0)
        rest = await live.history(at)
        session.require_open()
        if live.closed or live.collaborators.get(collaborator.client) is not collaborator:
            return  # it was told to join again
        if len(rest) <= ENTRIES_PER_FRAME:
            # Nothing awaits from here: what is committed next reaches it with everybody else.
            if rest:
                send_entries(live.id, at + len(rest), rest, collaborator)
            collaborator.behind = False
            return
