"""Who goes next among those that wait: whoever came first, also when it had gone already and comes back."""

from __future__ import annotations

import asyncio
import heapq


class Order:
    """Places are numbers that grow. For the loop's thread; O(log n), and O(n) for who gives up in the middle."""

    def __init__(self) -> None:
        self._newest = 0
        self._heap: list[int] = []
        self._waiting: dict[int, asyncio.Future[None] | None] = {}  # what is in the heap; None: it has not had to wait

    def place(self) -> int:
        """A new one, behind all others."""
        self._newest += 1
        return self._newest

    async def first(self, place: int) -> None:
        """Waits in line until nobody does who came before. It may soon be otherwise again: look at ``is_first``, and go at once."""
        if place not in self._waiting:
            heapq.heappush(self._heap, place)
            self._waiting[place] = None
        while not self.is_first(place):
            self._waiting[place] = wake = asyncio.get_running_loop().create_future()
            await wake

    def is_first(self, place: int) -> bool:
        return bool(self._heap) and self._heap[0] == place

    def gone(self, place: int) -> None:
        """It waits no more: it has gone, or was given up. Idempotent."""
        if place not in self._waiting:
            return
        del self._waiting[place]
        if self.is_first(place):
            heapq.heappop(self._heap)
        else:
            self._heap.remove(place)
            heapq.heapify(self._heap)
        wake = self._waiting[self._heap[0]] if self._heap else None
        if wake is not None and not wake.done():
            wake.set_result(None)
