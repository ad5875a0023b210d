"""Coroutines that are run at once, up to where they really wait: a request that finds everything in memory costs no task and no turn
of the event loop.

The first step runs outside of any task. So nothing before the first real wait may ask for the current task (asyncio.timeout does).
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from types import coroutine
from typing import Any


class Waits(Exception):
    """The coroutine waits; await ``rest`` in a task for its result."""

    def __init__(self, rest: Coroutine[Any, Any, Any]) -> None:
        super().__init__()
        self.rest = rest


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of ``work`` when it does not wait. Raises what it raises, or Waits."""
    try:
        waited_for = work.send(None)
    except StopIteration as stop:
        return stop.value
    raise Waits(_rest(work, waited_for))


async def _rest(work: Coroutine[Any, Any, Any], waited_for: Any) -> Any:
    return await _resumed(work, waited_for)


@coroutine
def _resumed(work: Coroutine[Any, Any, Any], waited_for: Any) -> Generator[Any, Any, Any]:
    # What the work yields is handed on to the task as it is: a future with its mark that somebody awaits it, or None.
    try:
        while True:
            try:
                value = yield waited_for
            except GeneratorExit:
                work.close()
                raise
            except BaseException as error:
                waited_for = work.throw(error)
            else:
                waited_for = work.send(value)
    except StopIteration as stop:
        return stop.value
