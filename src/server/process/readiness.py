"""Whether a node can do what it is for: write to its store, and deliver through its broker. For `/ready`.

Anybody may ask, so an answer holds for a second, and who asks while it is being found shares it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine

from ..seams.broker import Broker
from ..seams.clock import Clock
from ..seams.outcome import Unavailable
from ..seams.store import Store

log = logging.getLogger("syncline.node")

#: Seconds until a part that does not answer counts as failing, and for which an answer holds.
PATIENCE = 5.0
HOLDS = 1.0
#: Seconds until it does for a scrape of the metrics, which has to come back within ten.
SCRAPE_PATIENCE = 1.0


class Readiness:
    """``room``: one to which this node is subscribed; what comes back in it is given to ``heard``.

    ``works``: by part, what was found last.
    """

    def __init__(self, store: Store, broker: Broker, clock: Clock, room: str) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._room = room
        self._mark = secrets.token_bytes(16)  # other nodes ask, too
        self._delivered: asyncio.Event | None = None
        self.works = {"store": False, "broker": False}
        self._unanswered: set[str] = set()
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._asked_at = -HOLDS

    async def failing(self, *, now: bool = False) -> dict[str, str]:
        """What fails, by name; empty: all is well. ``now``: not what was found a moment ago."""
        if now:
            if self._asking is not None:
                await asyncio.wait([self._asking])
            self._asked_at = -HOLDS
        return await asyncio.shield(self._asked())

    async def look(self) -> None:
        """Fills ``works``, within SCRAPE_PATIENCE: what takes longer does not work."""
        await asyncio.wait([self._asked()], timeout=SCRAPE_PATIENCE)
        self.works.update(dict.fromkeys(self._unanswered, False))

    def _asked(self) -> asyncio.Task[dict[str, str]]:
        now = self._clock.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= HOLDS):
            self._asked_at = now
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return self._asking

    async def _ask(self) -> dict[str, str]:
        self._unanswered = set(self.works)
        await asyncio.gather(self._prove("store", self._store.ping()), self._prove("broker", self._deliver()))
        return {name: "no answer" for name, works in self.works.items() if not works}

    async def _prove(self, name: str, proof: Coroutine[None, None, None]) -> None:
        works = True
        try:
            await asyncio.wait_for(proof, PATIENCE)
        except (Unavailable, TimeoutError) as error:
            log.warning("readiness: %s: %s", name, str(error) or "no answer")
            works = False
        self.works[name] = works
        self._unanswered.discard(name)

    async def _deliver(self) -> None:
        self._delivered = asyncio.Event()
        self._broker.publish_ephemeral(self._room, "ready", self._mark)
        await self._delivered.wait()

    def heard(self, mark: bytes) -> None:
        """What came back from the broker."""
        if mark == self._mark and self._delivered is not None:
            self._delivered.set()
