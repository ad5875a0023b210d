"""Work that burns CPU, in a thread beside the loop and in turns: who asks for much waits behind himself.

Work has a key, such as (kind, address, user). At each level of it keys take turns, so a user with a thousand requests costs another one
at most a share, and so do a thousand users of one address. Long work comes as a generator that yields wherever it may rest; after
``SLICE_SECONDS`` the next one's turn comes, and between slices it is asked whether anybody still wants it.

Bounds: so much work waits in all, of each kind, of each address of that, of each user of that; what is beyond is refused, but one of
an address that has nothing waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, TypeAlias, TypeVar

from ...core.errors import ErrorCode, SynclineError

T = TypeVar("T")

Key: TypeAlias = tuple[str, ...]
#: What yields where it may rest, and returns its result.
Steps: TypeAlias = Generator[None, None, T]

SLICE_SECONDS: Final = 0.01
#: The fractions of what may wait that one kind, one address and one user may have.
SHARES: Final = (2, 4, 16)
#: When to try again, in seconds: about how long what waits takes.
RETRY_SECONDS: Final = 2.0


class _Job(Generic[T]):
    __slots__ = ("check", "future", "key", "steps")

    def __init__(self, key: Key, steps: Steps[T], future: asyncio.Future[T], check: Callable[[], object]) -> None:
        self.key = key
        self.steps = steps
        self.future = future
        self.check = check


class _Turns:
    """Jobs by key. At each level, whoever had a turn goes to the end. Each method is O(levels)."""

    __slots__ = ("_jobs", "_next", "count")

    def __init__(self) -> None:
        self.count = 0  # jobs, all levels below included
        self._next: OrderedDict[str, _Turns] = OrderedDict()
        self._jobs: deque[_Job[Any]] = deque()

    def put(self, key: Key, job: _Job[Any], *, first: bool = False) -> None:
        """``first``: before the others of its key."""
        self.count += 1
        if key:
            below = self._next.get(key[0])
            if below is None:
                below = self._next[key[0]] = _Turns()
            below.put(key[1:], job, first=first)
        elif first:
            self._jobs.appendleft(job)
        else:
            self._jobs.append(job)

    def take(self) -> _Job[Any]:
        """The next one; there is one."""
        self.count -= 1
        if self._jobs:
            return self._jobs.popleft()
        name, below = next(iter(self._next.items()))
        job = below.take()
        if below.count:
            self._next.move_to_end(name)
        else:
            del self._next[name]
        return job

    def counts(self, key: Key) -> list[int]:
        """How many wait in all, and with the same first, first two, ... parts of the key."""
        found, level = [self.count], self
        for part in key:
            below = level._next.get(part)
            if below is None:
                break
            found.append(below.count)
            level = below
        return found


class FairThread:
    """One thread. Everything but the work itself runs on the event loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str, most: int) -> None:
        """``most``: how much may wait."""
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._turns = _Turns()
        self._running = False
        self.refused = 0
        self.limit(most)

    def limit(self, most: int) -> None:
        """From now on."""
        self._bounds = (most, *(max(1, most // share) for share in SHARES))

    @property
    def waiting(self) -> int:
        return self._turns.count

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def run(
        self, key: Key, call: Callable[..., T], *args: Any, check: Callable[[], object] = bool, bounded: bool = True
    ) -> T:
        """The result of a call that cannot rest; otherwise as ``work``."""
        return await self.work(key, _whole(call, args), check, bounded=bounded)

    async def work(self, key: Key, steps: Steps[T], check: Callable[[], object] = bool, *, bounded: bool = True) -> T:
        """What the steps return. ``check`` raises when nobody wants it any more: they are closed then, between two slices.
        ``bounded``: may be refused; what is bounded elsewhere is not.

        Raises what they and ``check`` raise, and SynclineError (unavailable, rate_limited) when too much waits.
        """
        if bounded:
            self._refuse(key)
        future: asyncio.Future[T] = self._loop.create_future()
        self._turns.put(key, _Job(key, steps, future, check))
        self._go_on()
        return await future

    def _refuse(self, key: Key) -> None:
        counts = self._turns.counts(key)
        if len(counts) < 3:  # nothing of this address: others do not keep it out
            return
        for level, count in enumerate(counts):
            if count >= self._bounds[level]:
                self.refused += 1
                if level < 2:
                    raise SynclineError(ErrorCode.UNAVAILABLE, "too much of this waits on this node", RETRY_SECONDS)
                raise SynclineError(
                    ErrorCode.RATE_LIMITED, "too many of your requests of this kind wait", RETRY_SECONDS
                )

    def _go_on(self) -> None:
        while not self._running and self._turns.count:
            job = self._turns.take()
            if self._wanted(job):
                self._running = True
                self._loop.run_in_executor(self._thread, _slice, job.steps).add_done_callback(
                    lambda slice, job=job: self._rested(job, slice)  # type: ignore[misc]  # mypy: lambdas have no defaults
                )

    def _wanted(self, job: _Job[Any]) -> bool:
        if not job.future.done():  # else cancelled
            try:
                job.check()
                return True
            except Exception as error:
                job.future.set_exception(error)
        job.steps.close()
        return False

    def _rested(self, job: _Job[T], slice: asyncio.Future[tuple[T] | None]) -> None:
        self._running = False
        if slice.cancelled():  # the thread was closed
            job.future.cancel()
        elif (error := slice.exception()) is not None:
            if not job.future.done():
                job.future.set_exception(error)
        elif (result := slice.result()) is None:
            self._turns.put(job.key, job, first=True)
        elif not job.future.done():
            job.future.set_result(result[0])
        self._go_on()


def _whole(call: Callable[..., T], args: tuple[Any, ...]) -> Steps[T]:
    yield from ()  # a generator, with one step
    return call(*args)


def _slice(steps: Steps[T]) -> tuple[T] | None:
    """In the thread. The result, or None when there is more to do."""
    until = time.monotonic() + SLICE_SECONDS
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return (end.value,)
        if time.monotonic() >= until:
            return None
