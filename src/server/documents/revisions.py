"""What a document was: the text at any revision, its operations page by page, and who wrote what.

Everything is read from the store, which has whatever was acknowledged; the document need not be loaded. What costs more
than a look (unpacking, replaying, folding) runs in a thread, in slices, users in turns (fair_thread.py), for as long as its session
is there. Bounds: ``limits.waiting_work``; a connection's requests wait for one another, pages have a limit, blame goes back
``documents.blame_operations``.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ...core.documents.document_type import AnyEntry
from ...core.documents.text_type import text_of
from ...core.errors import ErrorCode, SynclineError
from ...core.ot.ot import Unit
from ...core.storage.commits import decode_snapshot
from ...core.storage.replay import Author, Blame, Range, author_of, growth
from ...core.types import document_type
from ..limits.fair_thread import Steps
from ..seams.store import DocumentState, StoredDocument, Turn
from ..sessions.session import Session
from .frames import entries_between
from .loaded import Context

log = logging.getLogger("syncline.history")

T = TypeVar("T")

#: Characters of one client within so many seconds are one range of blame: a sitting, not a keystroke.
SITTING_SECONDS = 60.0
#: Cells of a blame that one step moves.
MOVES = 32_000_000


@dataclass(slots=True, frozen=True)
class Past:
    """A content of long ago, as its type shows it. ``author``: who made that revision; None for the first, and where
    that is no longer stored."""

    revision: int
    type: str
    content: Any
    author: Author | None


@dataclass(slots=True, frozen=True)
class Page:
    """Operations that made revisions since + 1 ..., oldest first."""

    revision: int
    horizon: int
    since: int
    entries: list[AnyEntry]


@dataclass(slots=True, frozen=True)
class Blamed:
    """``base``: what was there at that revision has no author."""

    revision: int
    horizon: int
    base: int
    ranges: list[Range]


class Revisions:
    """Reads old history for who may read the document."""

    def __init__(self, context: Context) -> None:
        self._config = context.config
        self._store = context.store
        self._thread = context.threads.history

    async def _for(self, session: Session, steps: Steps[T]) -> T:
        return await self._thread.work(session.work("ask"), steps, session.require_open)

    async def state(self, document: str, user: str) -> DocumentState:
        """Raises SynclineError (document_not_found, forbidden), Unavailable."""
        store = self._store
        state = await store.document_state(document)
        if state is None:
            raise SynclineError(ErrorCode.DOCUMENT_NOT_FOUND, f"no document {document!r}")
        if state.record.default_role is None and await store.document_role(document, user) is None:
            raise SynclineError(ErrorCode.FORBIDDEN, "this document is open to invited users only")
        return state

    # The content at a revision -------------------------------------------------------------------------------

    async def at(self, session: Session, document: str, revision: int) -> Past:
        """Raises SynclineError (document_not_found, revision_unknown, history_trimmed, document_unavailable),
        Unavailable."""
        stored = await self._store.load_document(document, revision)
        if stored is None:
            raise SynclineError(ErrorCode.DOCUMENT_NOT_FOUND, f"no document {document!r}")
        if revision > stored.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {stored.revision}")
        turns = stored.turns
        base = 0 if stored.snapshot is None else stored.snapshot.revision
        if stored.snapshot is None and stored.horizon > 0:
            raise trimmed(stored.horizon)
        if base == revision:
            # Nothing to replay; who made this revision is in the turn before, if that is still there.
            turns = await self._store.turns(document, revision - 1, revision) if revision > 0 else []
        elif base < stored.horizon:
            # A checkpoint that was kept longer than the operations behind it.
            raise trimmed(stored.horizon)
        try:
            return await self._for(session, _past(stored, turns, revision))
        except ValueError as error:
            log.error("document %s cannot be read at revision %d: %s", document, revision, error)
            raise SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "the history cannot be read") from error

    # Operations ----------------------------------------------------------------------------------------------

    async def page(self, session: Session, state: DocumentState, since: int | None, limit: int) -> Page:
        """At most ``limit`` operations after ``since``, fewer when they are long; without it the last ones.

        Raises SynclineError (revision_unknown, history_trimmed, document_unavailable), Unavailable.
        """
        document = state.record.id
        start = max(state.revision - limit, state.horizon) if since is None else since
        if start > state.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {state.revision}")
        if start < state.horizon:
            raise trimmed(state.horizon)
        until = min(start + limit, state.revision)
        turns = await self._store.turns(document, start, until)
        try:
            arguments = document_type(state.record.type), turns, start, until
            asked, check = session.work("ask"), session.require_open
            entries = await self._thread.run(asked, entries_between, *arguments, check=check)
        except ValueError as error:
            log.error("document %s, revisions %d to %d: %s", document, start, until, error)
            raise SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "the history cannot be read") from error
        if len(entries) != until - start:  # pruned since
            raise trimmed(until)
        # However long what was inserted is, an answer stays below a message's size or has one operation.
        size, kept = 0, 0
        for entry in entries:
            size += entry.bulk
            if kept and size > self._config.limits.message_bytes:
                break
            kept += 1
        return Page(state.revision, state.horizon, start, entries[:kept])

    # Blame ---------------------------------------------------------------------------------------------------

    async def blame(self, session: Session, state: DocumentState, start: int, end: int | None, unit: Unit) -> Blamed:
        """Who wrote the characters from ``start`` to ``end`` (counted in ``unit``) of the text at the head.

        Raises SynclineError (invalid_data, history_trimmed, document_unavailable), Unavailable.
        """
        if not document_type(state.record.type).blames:
            raise SynclineError(ErrorCode.INVALID_DATA, "only texts say who wrote what")
        document, revision = state.record.id, state.revision
        base = max(state.horizon, revision - self._config.documents.blame_operations)
        past = await self.at(session, document, revision)
        turns = await self._store.turns(document, base, revision)
        try:
            ranges = await self._for(session, _blame(past.content, turns, base, revision, start, end, unit))
        except ValueError as error:
            log.error("document %s, revisions %d to %d: %s", document, base, revision, error)
            raise SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "the history cannot be read") from error
        return Blamed(revision, state.horizon, base, ranges)


def trimmed(horizon: int) -> SynclineError:
    return SynclineError(ErrorCode.HISTORY_TRIMMED, f"the history is kept from revision {horizon} on")


def content_at(stored: StoredDocument, revision: int) -> Steps[Any]:
    """The content at ``revision`` from what ``load_document(document, revision)`` gave. Raises ValueError."""
    type = document_type(stored.record.type)
    if stored.snapshot is None:
        base, content = 0, type.empty()
    else:
        base, content = stored.snapshot.revision, type.load(decode_snapshot(stored.snapshot.body)[0])
    yield
    at, parts = base, []
    for turn in stored.turns if base < revision else []:
        if turn.base > at:
            break  # a gap
        parts.append((turn.body, at - turn.base, revision - at))
        at = max(at, min(turn.base + turn.count, revision))
    content, count = yield from type.replay(content, parts)
    if base + count != revision:
        raise ValueError(f"operations after revision {base + count} are missing")
    return content


def _past(stored: StoredDocument, turns: Sequence[Turn], revision: int) -> Steps[Past]:
    author = None
    for turn in turns:
        if turn.base < revision <= turn.base + turn.count:
            author = author_of(turn.body, revision - turn.base - 1)
    content = yield from content_at(stored, revision)
    type = document_type(stored.record.type)
    return Past(revision, type.name, type.show(content), author)


def _blame(
    text: str, turns: Sequence[Turn], base: int, revision: int, start: int, end: int | None, unit: Unit
) -> Steps[list[Range]]:
    whole = yield from text_of(text)
    length = whole.length(unit)
    end = length if end is None else end
    if not start <= end <= length:
        raise SynclineError(ErrorCode.INVALID_DATA, f"the text has {length} characters")
    first, behind = (whole.offset_to(at, unit, "utf-16") for at in (start, end))
    # How long the text was at the base: what the operations added is known without it.
    grown = 0
    for turn in turns:
        grown += growth(turn.body, max(base - turn.base, 0), revision - max(base, turn.base))
        yield
    blame = Blame(len(whole) - grown, base)
    for turn in turns:
        if turn.base > blame.revision:
            raise ValueError(f"operations after revision {blame.revision} are missing")
        until = min(turn.base + turn.count, revision)
        while blame.revision < until:
            # An operation may move all cells: of a long text few go into one step.
            most = min(until - blame.revision, max(8, MOVES // (len(whole) + 1)))
            if not blame.fold(turn.body, blame.revision - turn.base, most):
                raise ValueError(f"operations after revision {blame.revision} are missing")
            yield
    if blame.revision != revision or len(blame) != len(whole):
        raise ValueError("the operations do not make the text")
    return blame.ranges(first, behind, SITTING_SECONDS, text if unit == "unicode" else None)
