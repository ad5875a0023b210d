"""Waiting for what nothing announces: a condition is asked again and again, until it holds or patience ends.

Patience is long, because a busy machine is no fault; nobody waits longer than the condition takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

#: Seconds: the one bound of everything that a test waits for. Below pytest's own timeout, so that it says what it waited for.
PATIENCE = 60.0


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Returns once ``condition()`` is true. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def wait_until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """The same for tests without an event loop."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.01)
