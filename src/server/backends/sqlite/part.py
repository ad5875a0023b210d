"""What the four parts have in common: they open the shared Database with the first start and let go of it on close."""

from __future__ import annotations

import asyncio

from ...seams.outcome import Unavailable
from .database import Database


class Part:
    """Both calls are idempotent. ``_require_open`` keeps a closed part from a database that others keep open."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._open = False
        self._changing = asyncio.Lock()

    @property
    def shared(self) -> bool:
        return False  # the file is one node's

    @property
    def write_queue(self) -> Database:
        """For the metrics (``metrics.WriteQueue``)."""
        return self._database

    async def _acquire(self) -> None:
        async with self._changing:
            if not self._open:
                await self._database.acquire()
                self._open = True

    async def close(self) -> None:
        async with self._changing:
            if self._open:
                self._open = False
                await self._database.release()

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable(f"{self._database.path}: closed")
