"""Who waits until something is true of a document."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .errors import ClientError


class Conditions:
    """Looked at after everything that happens to the document. A condition that raises is told to who waits for it, to nobody else."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until ``condition()``. Raises what it raises, and what ``end`` is given."""
        if condition():
            return
        entry = (condition, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            await entry[1]
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)

    def look(self) -> None:
        """O(conditions)."""
        for condition, future in [*self._waiting]:
            if future.done():
                continue
            try:
                if condition():
                    future.set_result(None)
            except StopIteration as error:  # no future takes that: PEP 479
                future.set_exception(RuntimeError(f"the condition raised {error!r}"))
            except (Exception, asyncio.CancelledError) as error:
                future.set_exception(error)

    def end(self, error: ClientError) -> None:
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
