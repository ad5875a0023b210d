"""The threads in which the work on documents is done that would hold the event loop.

Bound: ``limits.waiting_work`` of each, but for what documents themselves wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from ..limits.fair_thread import FairThread

P = ParamSpec("P")
T = TypeVar("T")

#: The key of this node's own work.
OWN: Final = ("own",)


class Threads:
    def __init__(self, loop: asyncio.AbstractEventLoop, most: int) -> None:
        #: For what is only asked for.
        self.history = FairThread(loop, "syncline-history", most)
        # Documents wait for these: they have threads of their own, so that they do not stand behind that.
        self.moves = FairThread(loop, "syncline-moves", most)
        self.loads = FairThread(loop, "syncline-loads", most)

    async def own(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """For this node's own work: it takes turns with all that is asked for."""
        return await self.history.run(OWN, lambda: call(*args, **kwargs), bounded=False)

    def limit(self, most: int) -> None:
        for thread in (self.history, self.moves, self.loads):
            thread.limit(most)

    def close(self) -> None:
        for thread in (self.history, self.moves, self.loads):
            thread.close()
