"""The Clock seam over an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from .seams import Timer


class LoopClock:
    """Wall time, monotonic time and timers of the running loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Timer:
        return self._loop.call_later(delay, callback, *args)
