"""Joining a document: what a client is told that comes for the first time, or comes back.

The answer is complete at the moment when it is sent, and what is committed afterwards follows as pushes, without gap or
duplicate. A long list of missed operations goes out in parts, each when the socket has taken the one before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...core.documents.document import Document
from ...core.documents.document_type import AnyEntry, DocumentType, run
from ...core.documents.rejoin import Composite, Missed, Pending
from ...core.errors import ErrorCode, SynclineError
from ...core.ot.ot import Unit
from ..sessions.ids import new_id
from ..sessions.session import Session
from .catching_up import MOST, drained, go_on, in_one_frame
from .collaborator import Collaborator
from .divergence import Divergences
from .frames import ENTRIES_PER_FRAME, describe_steps
from .history import entry_size, history
from .live_document import LiveDocument
from .registry import DocumentRegistry

log = logging.getLogger("syncline.documents")

#: Of those that are composed, so many, of so many bytes, are composed at once; and how often it is tried to get there.
FEW, FEW_BYTES, TRIES = 500, 16_384, 8


@dataclass(slots=True, frozen=True)
class Joining:
    """What a client asks for. ``revision`` and ``generation``: what it has; ``pending``: its (operation, seq), made on that and not
    committed as far as it knows; ``diverged``: (revision, hash) of a content of its own that was not the server's."""

    document: str
    type: str | None = None
    unit: Unit = "utf-16"
    client: str | None = None
    revision: int | None = None
    generation: str | None = None
    pending: Sequence[tuple[Any, int | None]] | None = None
    diverged: tuple[int, int] | None = None


async def join(
    documents: DocumentRegistry,
    divergences: Divergences,
    session: Session,
    data: Joining,
    answered: Callable[[dict[str, Any]], None],
) -> None:
    """``answered`` gets the state; operations that it lacks follow until this returns. Raises SynclineError, Unavailable, SessionGone."""
    # States may be large: one at a time on a connection that has not taken the last one yet.
    await drained(session, session.connection.max_bytes // 2)
    while True:
        live = await documents.open(data.document, session.user, data.type)
        live.pins += 1  # an idle document must not be unloaded while somebody waits to join it
        try:
            grants = live.grants
            role = await documents.role(live, session.user)
            if data.unit not in live.type.units:
                raise SynclineError(ErrorCode.INVALID_DATA, f"documents of this type count {live.type.units[0]}")
            client = data.client or new_id()
            answer = await _answer(live, session, data, client)
            await live.settle()
            # From here to the end nothing awaits: the state is complete, and what follows comes as pushes.
            session.require_open()
            if not live.closed and grants == live.grants:
                break  # else somebody's role was changed meanwhile: this one's, perhaps
        finally:
            live.pins -= 1
            documents.consider_idle(live)
    core = live.core
    olds = [old for old in (session.documents.get(live.id), live.collaborators.get(client)) if old is not None]
    if {core.client_user(client) or session.user, *(old.session.user for old in olds)} != {session.user}:
        raise SynclineError(ErrorCode.CLIENT_TAKEN, "this client id belongs to another user")
    if data.diverged is not None:
        divergences.claimed(session, live, client, *data.diverged)
    for old in olds:
        live.remove(old)
    at = core.revision if answer.at is None else answer.at
    collaborator = Collaborator(session, client, role, data.unit, at)
    # Cursors are those at the head: who is not there yet gets them when it is.
    known = [other.describe(core if at == core.revision else None, data.unit) for other in live.collaborators.values()]
    live.add(collaborator)
    live.notify("document:collaborator_joined", collaborator.describe(core, data.unit), collaborator)
    undo, redo = core.undo_depth(client)
    answered(
        {
            "document": live.id,
            "type": live.type.name,
            "generation": core.generation,
            "revision": at,
            "role": role,
            "unit": data.unit,
            "client": client,
            "seq": core.last_seq(client),
            "undo": undo,
            "redo": redo,
            **answer.fields(core, data.unit, at),
            "collaborators": known,
            **({"more": True} if at < core.revision else {}),
        }
    )
    if at < core.revision:
        # The client is a collaborator from now on, but operations reach it only through this until it is there.
        await go_on(live, collaborator, at, answer.rest)


#: Microseconds that the hash in the answer may take: joining must not become dear by it.
HASHED = 250
#: Microseconds that moving a client's waiting work to the head may take.
CARRIED = 2_000


@dataclass(slots=True)
class _Answer:
    """What the client gets: the content (``steps`` None), or what it missed.

    ``at``: the revision that this leads to; None: the head. ``rest``: entries that follow, as far as they are at hand. A long list is
    read and goes out in parts, each when the one before has left, so that catching up fills neither memory nor the queue.
    """

    type: DocumentType[Any, Any]
    steps: Sequence[AnyEntry | Composite] | None = None
    at: int | None = None
    rest: list[AnyEntry] = field(default_factory=list)
    pending: list[Any] | None = None  # operations as they are told
    rebased: bool = False

    def fields(self, core: Document, unit: Unit, at: int) -> dict[str, Any]:
        if self.steps is not None:
            told: dict[str, Any] = {"text": None, "operations": describe_steps(self.type, self.steps, unit)}
            content_hash = None if at < core.revision else core.quick_hash(HASHED)
            return told if content_hash is None else told | {"hash": content_hash}
        told = {**core.state(), "operations": None}
        if self.pending is not None:
            told["pending"] = self.pending
        if self.rebased:
            told["rebased"] = True
        return told


async def _answer(live: LiveDocument, session: Session, data: Joining, client: str) -> _Answer:
    """Right until the next await. Raises SynclineError (revision_unknown, history_trimmed, ...), Unavailable."""
    revision = data.revision
    if revision is None or data.generation != live.core.generation:
        return _Answer(live.type)
    if revision > live.core.revision:
        raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {live.core.revision}")
    try:
        few = live.core.revision - revision <= live.context.config.documents.rejoin_operations
        if data.pending is None or few:
            return await _one_by_one(live, revision)
        pending = [Pending(live.type.parse_in(data.unit, operation), seq) for operation, seq in data.pending]
        return await _in_few_steps(live, session, revision, client, data.unit, pending)
    except SynclineError as error:
        if error.code != ErrorCode.HISTORY_TRIMMED or data.pending is None:
            raise
        return _Answer(live.type, rebased=True)


async def _in_few_steps(
    live: LiveDocument, session: Session, revision: int, client: str, unit: Unit, pending: list[Pending]
) -> _Answer:
    """What was missed is composed in a thread, while others are served, until only a FEW operations are left that were committed meanwhile.
    Those are added at once, without an await, so that the answer is right as it is given. Where that does not come about in TRIES rounds,
    or there is no time to compose, the client is told one by one."""
    sent = pending[0].seq if pending else None
    awaited = sent if sent is not None and sent <= live.core.last_seq(client) else None
    missed = Missed(live.type, client, unit, awaited)
    at, tries = revision, 0
    while True:
        if missed.bulk > live.core.length() + 1024:  # the content is told
            if not pending:
                return _Answer(live.type, pending=[])
            if missed.labour(pending) > CARRIED:  # the client moves its work itself
                return await _one_by_one(live, revision)
        entries, whole = await history(live, at, MOST)
        if awaited is None and sent is not None and sent <= live.core.last_seq(client):
            # Its former connection got it in meanwhile.
            return await _in_few_steps(live, session, revision, client, unit, pending)
        if whole and len(entries) <= FEW and sum(map(entry_size, entries)) <= FEW_BYTES:
            run(missed.add(entries))
            break  # nothing has awaited since the last look at the document
        tries += whole
        if tries > TRIES:
            return await _one_by_one(live, revision)
        try:
            await live.context.threads.moves.work(session.work("move"), missed.add(entries), session.require_open)
        except SynclineError as error:  # too much waits there
            log.info("document %s: not composed from revision %d on: %s", live.id, revision, error, extra=session.about)
            return await _one_by_one(live, revision)
        at += len(entries)
    steps = missed.steps()
    if len(steps) <= ENTRIES_PER_FRAME and missed.bulk <= live.core.length() + 1024:
        return _Answer(live.type, steps)
    if missed.labour(pending) > CARRIED:
        return await _one_by_one(live, revision)
    return _Answer(live.type, pending=[live.type.describe(operation) for operation in missed.carry(pending)])


async def _one_by_one(live: LiveDocument, revision: int) -> _Answer:
    entries, _ = await history(live, revision, MOST)
    count = in_one_frame(entries)
    return _Answer(live.type, entries[:count], revision + count, entries[count:])
