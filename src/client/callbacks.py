"""Lists of callbacks: called in order, each shielded from the faults of the others; coroutines are awaited in order, behind a bound."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec

P = ParamSpec("P")
log = logging.getLogger("syncline.client")


class AsyncCalls:
    """What the `async def` callbacks of one client have still to do.

    Each callback has a line of its own: its calls run one after another, in order of the events, and do not wait for another
    callback's. ``limit`` calls wait in a line; then the oldest of them is dropped, counted in ``dropped``, and the log says so.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("callback_limit: at least 1")
        self.limit = limit
        self.dropped = 0
        self._tasks: set[asyncio.Task[None]] = set()  # of the lines that have something to do

    def working(self) -> set[asyncio.Task[None]]:
        """The lines that have something to do, but for the one that asks."""
        return {task for task in self._tasks if task is not asyncio.current_task()}

    async def stop(self, seconds: float) -> None:
        """What is not done in time is cancelled, and what waits behind it dropped and counted; but for the one that asks."""
        tasks = self.working()
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
        for task in self.working():
            log.warning("%s was stopped: the client is closed", task.get_name())
            task.cancel()

    def begin(self, line: Line[Any]) -> None:
        task = asyncio.get_running_loop().create_task(line.work(), name=f"the callback {line.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Line(Generic[P]):
    """One callback, with its calls that wait when it is a coroutine function."""

    __slots__ = ("_calls", "_late", "_waiting", "_working", "callback")

    def __init__(self, callback: Callable[P, object], calls: AsyncCalls) -> None:
        self.callback = callback
        self._calls = calls
        self._waiting: deque[Awaitable[object]] = deque()
        self._working = False
        self._late = False  # calls were dropped since it last had nothing to do

    @property
    def name(self) -> str:
        return getattr(self.callback, "__qualname__", None) or repr(self.callback)

    def put(self, call: Awaitable[object]) -> None:
        self._waiting.append(call)
        if len(self._waiting) > self._calls.limit:
            _discard(self._waiting.popleft())
            self._calls.dropped += 1
            if not self._late:
                self._late = True
                log.warning("the callback %s does not keep up: the oldest of its calls are dropped", self.name)
        if not self._working:
            self._working = True
            self._calls.begin(self)

    def clear(self) -> None:
        """What waits is not called any more."""
        while self._waiting:
            _discard(self._waiting.popleft())

    async def work(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            while self._waiting:
                try:
                    await self._waiting.popleft()
                except asyncio.CancelledError:
                    if task.cancelling():
                        raise
                    log.exception("the callback %s was cancelled", self.name)
                except Exception:
                    log.exception("the callback %s failed", self.name)
        finally:
            self._working = self._late = False
            self._calls.dropped += len(self._waiting)  # some are left when it was stopped
            self.clear()


def _discard(call: Awaitable[object]) -> None:
    if inspect.iscoroutine(call):
        call.close()


#: Of what callbacks make happen in one go, before it is taken for something that has no end.
MOST_UNTOLD = 10_000


class Callbacks(Generic[P]):
    """A callback that raises is logged and goes on being called: one listener's fault is not the connection's."""

    __slots__ = ("_calls", "_lines", "_telling", "_untold")

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._lines: list[Line[P]] = []
        self._untold: deque[tuple[list[Line[P]], Any, Any]] = deque()  # who listened when it happened, and what
        self._telling = False

    def __bool__(self) -> bool:
        return bool(self._lines)

    def add(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Returns what takes it off again, with its calls that wait; doing so twice is harmless."""
        line = Line(callback, self._calls)
        self._lines.append(line)

        def remove() -> None:
            if line in self._lines:
                self._lines.remove(line)
                line.clear()

        return remove

    def fire_in_order(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """After whatever is being told: every callback hears everything in the order in which it happened, also when one of them makes
        something happen."""
        self._untold.append(([*self._lines], args, kwargs))
        if self._telling:
            return
        self._telling = True
        told = 0
        while self._untold:
            lines, some, named = self._untold.popleft()
            self._call([line for line in lines if line in self._lines], *some, **named)
            told += 1
            if told == MOST_UNTOLD and self._untold:
                self._untold.clear()
                log.error("callbacks make ever more happen: what came last is not told")
        self._telling = False

    def fire(self, *args: P.args, **kwargs: P.kwargs) -> None:
        self._call([*self._lines], *args, **kwargs)

    def _call(self, lines: list[Line[P]], *args: P.args, **kwargs: P.kwargs) -> None:
        for line in lines:
            try:
                call = line.callback(*args, **kwargs)
            except (Exception, asyncio.CancelledError):  # that of a future it looked at: this is not awaited
                log.exception("the callback %s failed", line.name)
            else:
                if call is not None and inspect.isawaitable(call) and not asyncio.isfuture(call):
                    line.put(call)
