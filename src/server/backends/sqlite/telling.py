"""From a thread to an event loop that may be closed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


def call(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        pass  # the loop is closed: nobody is left to hear it


def tell(loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], error: Exception | None) -> None:
    def set() -> None:
        if future.done():  # who waited was cancelled
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    call(loop, set)
