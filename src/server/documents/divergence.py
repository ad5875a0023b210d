"""What follows when a client says that its content is not the server's: it is counted, and the server looks at itself.

A client's word proves nothing, so it raises no alarm. What can be proven is whether the document in memory is what its log gives; if it
is not, that is the alarm, and the document is loaded anew. Bounds: one look at a time on a node, ``LOOKS`` at once and then one in
``SECONDS``; claims beyond are only counted.
"""

from __future__ import annotations

import logging
from typing import Final

from ...core.bucket import Bucket
from ...core.types import document_type
from ..seams.outcome import Unavailable
from ..sessions.session import Session
from .live_document import LiveDocument
from .loaded import Context
from .revisions import content_at
from .threads import OWN

log = logging.getLogger("syncline.documents")

LOOKS: Final = 6
SECONDS: Final = 10.0


class Divergences:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._looks = Bucket(1 / SECONDS, LOOKS, context.clock.monotonic())
        self._looking = False

    def claimed(self, session: Session, live: LiveDocument, client: str, revision: int, hash: int) -> None:
        context, now = self._context, self._context.clock.monotonic()
        context.counters.divergence_claims += 1
        log.warning(
            "document %s: client %s says that its content at revision %d has the hash %08x; the document is at %d, hash %s",
            live.id,
            client,
            revision,
            hash,
            live.core.revision,
            "not known yet" if (hashed := live.core.quick_hash()) is None else f"{hashed:08x}",
            extra=session.about,
        )
        if not self._looking and self._looks.take(now, 1.0) == 0.0:
            self._looking = True
            context.spawn(self._look(live))

    async def _look(self, live: LiveDocument) -> None:
        live.pins += 1
        try:
            await self._compare(live)
        except (Unavailable, ValueError) as error:
            log.warning("document %s cannot be compared with its log: %s", live.id, error)
        finally:
            self._looking = False
            live.pins -= 1
            self._context.registry.consider_idle(live)

    async def _compare(self, live: LiveDocument) -> None:
        context = self._context
        generation = live.core.generation
        revision, here = await live.hashes.get(live)
        stored = await context.store.load_document(live.id, revision)
        if stored is None or stored.record.generation != generation:
            return
        content = await context.threads.history.work(OWN, content_at(stored, revision), bounded=False)
        there = await context.threads.history.work(
            OWN, document_type(stored.record.type).hashing(content), bounded=False
        )
        if there != here and not live.closed:
            context.counters.divergences += 1
            log.error(
                "document %s at revision %d: its log gives %08x, in memory is %08x", live.id, revision, there, here
            )
            context.registry.drop(live, "it was not what its log says")
