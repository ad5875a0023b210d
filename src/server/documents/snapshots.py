"""When a loaded document's content is stored whole, so that loading it again need not replay all of its turns."""

from __future__ import annotations

import logging

from ...core.storage.record_format import pack
from ..seams.outcome import Unavailable
from ..seams.store import DocumentSnapshot
from .loaded import Loaded

log = logging.getLogger("syncline.documents")

#: Microseconds of undoing that are worth a snapshot, and bytes of one that are worth a microsecond.
LABOUR = 250_000
BYTES = 20
#: Between two of them, in seconds: labour is an estimate, and a storm of undoing shall not write without end.
LABOUR_SECONDS = 5.0


class Snapshots:
    """Those of one loaded document, which is handed in: it is not held, so that it is freed at once when it is unloaded."""

    __slots__ = ("_at", "_bytes", "_labour", "_log_bytes", "_worked", "saving")

    def __init__(self, revision: int) -> None:
        self._at = revision
        self._bytes = 0  # of the last one that this process stored,
        self._log_bytes = 0  # and of the turns since
        self._labour = 0  # ``undo_labour`` of then
        self._worked = 0.0  # when the next one may come for labour, by ``Clock.monotonic``
        self.saving = False

    def logged(self, size: int) -> None:
        """A turn of so many bytes is on its way to the log."""
        self._log_bytes += size

    def consider(self, live: Loaded) -> None:
        """When enough has come to be worth one: turns of its size, or else sixteen times the operations. Under load this
        costs no more than the turns do; to load, a text of many bytes is as slow as its turns of as many. What it took to undo is work
        that loading does again."""
        context = live.context
        labour = live.core.undo_labour - self._labour
        if (
            not self.saving
            and labour >= max(LABOUR, self._bytes / BYTES)
            and (now := context.clock.monotonic()) >= self._worked
        ):
            self._worked = now + LABOUR_SECONDS
            context.spawn(self.save(live))
            return
        few, since = context.config.documents.snapshot_operations, live.core.revision - self._at
        if not self.saving and since >= few and (self._log_bytes >= self._bytes or since >= 16 * few):
            context.spawn(self.save(live))

    async def save(self, live: Loaded) -> None:
        """Stores the content as it is, unless it is stored already or a commit is under way."""
        context, core = live.context, live.core
        if self.saving or core.revision == self._at or live.committing:
            return
        self.saving = True
        snapshot = DocumentSnapshot(core.revision, core.snapshot())
        logged, self._log_bytes = self._log_bytes, 0
        labour, self._labour = self._labour, core.undo_labour
        try:
            if not live.collaborators:  # nobody waits, and it may lie there for long
                snapshot = DocumentSnapshot(snapshot.revision, await context.threads.own(pack, snapshot.body))
            await context.store.save_snapshot(live.id, core.generation, snapshot)
            self._at, self._bytes = snapshot.revision, len(snapshot.body)
            context.counters.snapshots += 1
            context.compact(live.id)
        except Unavailable as error:
            log.warning("snapshot of document %s: %s", live.id, error)  # the log has everything; later then
            self._log_bytes += logged
            self._labour = labour
        finally:
            self.saving = False
            context.registry.consider_idle(live)
