"""The documents that are loaded on this node: creating, loading, unloading.

A document is loaded once, however many ask at the same time. One that cannot be loaded is an error for whoever asked, never an
empty text. Bound: ``documents.loaded``; an idle document makes place, else joins are refused.
"""

from __future__ import annotations

import asyncio
import logging

from ...core.documents.document import Document
from ...core.errors import ErrorCode, SynclineError
from ...core.types import document_type
from ..config.documents import DocumentsConfig
from ..limits.fair_thread import Steps
from ..net.names import require_name
from ..seams.store import DocumentRecord, DocumentSnapshot, StoredDocument
from ..sessions.ids import new_id
from .catching_up import let_catch_up
from .collaborator import Collaborator
from .live_document import LiveDocument
from .loaded import Context, Loaded

log = logging.getLogger("syncline.documents")

#: Documents that are loaded at once; the others wait.
READS = 8
#: Stored bytes of a document that is loaded without leaving the event loop: some milliseconds.
AT_ONCE = 65_536
#: And so long at most, whatever it is: what was undone is planned again.
AT_ONCE_SECONDS = 0.005


class DocumentRegistry:
    """The loaded documents of a node, by id."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.live: dict[str, LiveDocument] = {}
        self._loading: dict[str, asyncio.Task[LiveDocument]] = {}
        self._reads = asyncio.Semaphore(READS)  # their bodies are in memory beside what they become

    @property
    def _config(self) -> DocumentsConfig:
        return self._context.config.documents

    def left_out(self, live: Loaded, collaborator: Collaborator, at: int) -> None:
        """It reads too slowly and was not given what follows revision ``at``."""
        self._context.spawn(let_catch_up(live, collaborator, at))

    # Creating and loading ------------------------------------------------------------------------------------

    async def create(
        self, document: str, owner: str, content: object, default_role: str | None, type_name: str = "text"
    ) -> DocumentRecord | None:
        """None when the name is taken. ``content``: a value of the type, not checked yet; None: its empty one.

        Raises SynclineError (document_too_large, operation_invalid, invalid_data), Unavailable.
        """
        require_name(document)
        type = document_type(type_name)
        body = None if content is None else type.new_snapshot(content, self._config.max_length)
        record = DocumentRecord(document, new_id(), owner, default_role, self._context.clock.time(), type_name)
        snapshot = None if body is None else DocumentSnapshot(0, body)
        return record if await self._context.store.create_document(record, snapshot) else None

    async def open(self, document: str, user: str, type_name: str | None = None) -> LiveDocument:
        """The loaded document, created for ``user`` (as text when no type is named) where that is allowed.

        Raises SynclineError (invalid_data when it is of another type, ...), Unavailable.

        It may be unloaded at the next await unless somebody joins it.
        """
        if type_name is not None:
            document_type(type_name)  # raises for none
        live = self.live.get(document)
        if live is None:
            live = await self._loaded(document, user, type_name or "text")
        if type_name not in (None, live.type.name):
            raise SynclineError(ErrorCode.INVALID_DATA, f"this document is of type {live.type.name!r}")
        return live

    async def _loaded(self, document: str, user: str, type_name: str) -> LiveDocument:
        task = self._loading.get(document)
        if task is None:
            task = self._context.spawn(self._load(document, user, type_name))
            self._loading[document] = task
        # Shielded: one who loses the connection must not take the load away from the others.
        return await asyncio.shield(task)

    async def _load(self, document: str, user: str, type_name: str) -> LiveDocument:
        try:
            return await self._read(document, user, type_name)
        finally:
            # Not in a callback of the task, which runs a turn after its end: who asks between the two would get what has been unloaded
            # meanwhile, at once, as often as it asks.
            del self._loading[document]

    async def _read(self, document: str, user: str, type_name: str) -> LiveDocument:
        async with self._reads:
            return await self._read_one(document, user, type_name)

    async def _read_one(self, document: str, user: str, type_name: str) -> LiveDocument:
        self._make_place()
        store = self._context.store
        stored = await store.load_document(document)
        if stored is None:
            if not self._config.create_on_join:
                raise SynclineError(ErrorCode.DOCUMENT_NOT_FOUND, f"no document {document!r}")
            await self.create(document, user, None, self._config.default_role, type_name)
            stored = await store.load_document(document)
            if stored is None:
                raise SynclineError(ErrorCode.DOCUMENT_NOT_FOUND, f"no document {document!r}")
        try:
            core = await self._restore(stored, user)
        except (ValueError, SynclineError) as error:
            # A gap, a damaged body, a type that only a newer server has. Refusing keeps what is there for whoever repairs it.
            log.error("document %s cannot be loaded: %s", document, error)
            self._context.counters.load_failures += 1
            raise SynclineError(ErrorCode.DOCUMENT_UNAVAILABLE, "the document cannot be loaded") from error
        live = self.live[document] = LiveDocument(self._context, stored.record, core)
        # Those who asked get it some turns of the loop later. Were it idle before that, with idle_seconds = 0, they would have to
        # ask again, for ever: uvloop runs a timer of 0 seconds in the next turn.
        live.idle = self._context.clock.call_later(max(self._config.idle_seconds, 1.0), self._idle, live)
        return live

    async def _restore(self, stored: StoredDocument, user: str) -> Document:
        """Beside the loop when it is much: it is nobody's yet."""
        steps = self._restoring(stored)
        size = sum(len(turn.body) for turn in stored.turns) + (len(stored.snapshot.body) if stored.snapshot else 0)
        monotonic = self._context.clock.monotonic
        end = monotonic() + AT_ONCE_SECONDS
        while size <= AT_ONCE and monotonic() < end:
            try:
                next(steps)
            except StopIteration as done:
                core: Document = done.value
                return core
        # Not refused: ``documents.loaded`` bounds them, and after a restart everybody comes at once.
        return await self._context.threads.loads.work(("load", "", user), steps, bounded=False)

    def _restoring(self, stored: StoredDocument) -> Steps[Document]:
        config, record = self._config, stored.record
        type = document_type(record.type)
        core = type.open(
            record.id,
            record.generation,
            window_operations=config.window_operations,
            window_bytes=config.window_bytes,
            max_length=config.max_length,
            max_clients=config.clients,
            undo_depth=config.undo_depth,
            undo_bytes=config.undo_bytes,
            undo_history=config.undo_history,
            undo_group_ms=config.undo_group_ms,
        )
        yield
        if stored.snapshot is not None:
            core.restore(stored.snapshot.revision, stored.snapshot.body)
            if core.undo_lost is not None:
                log.error("document %s: nothing done before this can be undone: %s", record.id, core.undo_lost)
            yield
        for turn in stored.turns:
            entries = type.decode_entries(turn.body)
            if len(entries) != turn.count:
                raise ValueError(f"the turn at revision {turn.base} holds {len(entries)} operations, not {turn.count}")
            yield from core.replaying(turn.base, entries)
            yield
        core.trim()
        return core

    def _make_place(self) -> None:
        if len(self.live) < self._config.loaded:  # and ``READS`` more at most, while they are loaded
            return
        for live in self.live.values():
            if not live.collaborators and not live.busy:
                self._unload(live)
                return
        raise SynclineError(ErrorCode.LIMIT_EXCEEDED, "too many documents are open on this node; try again")

    # Unloading -----------------------------------------------------------------------------------------------

    def consider_idle(self, live: Loaded) -> None:
        """Starts the clock of a document that nobody uses."""
        if live.closed or live.collaborators or live.busy or live.idle is not None:
            return
        live.idle = self._context.clock.call_later(self._config.idle_seconds, self._idle, live)

    def _idle(self, live: Loaded) -> None:
        live.idle = None
        if not live.closed and not live.collaborators and not live.busy:
            self._context.spawn(self._retire(live))

    def retire(self, live: Loaded) -> None:
        """Unloads it now, if nobody uses it."""
        if live.idle is not None:
            live.idle.cancel()
        self._idle(live)

    async def _retire(self, live: Loaded) -> None:
        await live.save()
        if not live.closed and not live.collaborators and not live.busy:
            self._unload(live)
            self._context.compact(live.id)  # what was the window's is free to be merged

    def _unload(self, live: Loaded) -> None:
        live.close()
        if self.live.get(live.id) is live:
            del self.live[live.id]

    def drop(self, live: Loaded, reason: str) -> None:
        """Forgets a document whose memory is not to be trusted; its clients join again."""
        live.abandon(reason)
        self._unload(live)
        for collaborator in list(live.collaborators.values()):
            del collaborator.session.documents[live.id]
            collaborator.session.push("document:resync", {"document": live.id, "reason": reason})
        live.collaborators.clear()
        live.release()

    async def close(self) -> None:
        """Stores snapshots of what changed; for a clean stop. What was acknowledged is on disk without it."""
        for live in list(self.live.values()):
            await live.settle()
            await live.save()
            self._unload(live)

    # Roles ---------------------------------------------------------------------------------------------------

    def role_changed(self, document: str, user: str, role: str | None) -> None:
        """A grant takes effect at once. With None the default role is left, if there is one."""
        live = self.live.get(document)
        if live is not None:
            live.role_changed(user, role or live.record.default_role)

    async def role(self, live: LiveDocument, user: str) -> str:
        """Raises SynclineError(forbidden) when the user has none."""
        role = await self._context.store.document_role(live.id, user) or live.record.default_role
        if role is None:
            raise SynclineError(ErrorCode.FORBIDDEN, "this document is open to invited users only")
        return role
