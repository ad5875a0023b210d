"""Whether a node can do what it is for: write to its store, and deliver through its broker. For `/ready`.

Anybody may ask, so an answer holds for a second, and who asks while it is being found shares it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine

from .seams import Broker, Clock, Store, Unavailable

log = logging.getLogger("syncline.node")

#: Seconds until a part that does not answer counts as failing, and for which an answer holds.
PATIENCE = 5.0
HOLDS = 1.0


class Readiness:
    """``room``: one to which this node is subscribed; what comes back in it is given to ``heard``."""

    def __init__(self, store: Store, broker: Broker, clock: Clock, room: str) -> None:
        self._store = store
        self._broker = broker
        self._clock = clock
        self._room = room
        self._mark = secrets.token_bytes(16)  # other nodes ask, too
        self._delivered: asyncio.Event | None = None
        self._asking: asyncio.Task[dict[str, str]] | None = None
        self._asked_at = -HOLDS

    async def failing(self) -> dict[str, str]:
        """What fails, by name; empty: all is well."""
        now = self._clock.monotonic()
        if self._asking is None or (self._asking.done() and now - self._asked_at >= HOLDS):
            self._asked_at = now
            self._asking = asyncio.get_running_loop().create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> dict[str, str]:
        failing = {}
        for name, proof in (("store", self._store.ping()), ("broker", self._deliver())):
            if not await self._holds(name, proof):
                failing[name] = "no answer"
        return failing

    async def _holds(self, name: str, proof: Coroutine[None, None, None]) -> bool:
        try:
            await asyncio.wait_for(proof, PATIENCE)
        except (Unavailable, TimeoutError) as error:
            log.warning("readiness: %s: %s", name, str(error) or "no answer")
            return False
        return True

    async def _deliver(self) -> None:
        self._delivered = asyncio.Event()
        self._broker.publish_ephemeral(self._room, "ready", self._mark)
        await self._delivered.wait()

    def heard(self, mark: bytes) -> None:
        """What came back from the broker."""
        if mark == self._mark and self._delivered is not None:
            self._delivered.set()
