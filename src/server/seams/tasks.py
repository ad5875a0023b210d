"""Work that goes on beside what asked for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Spawn(Protocol):
    """Makes a task that is kept, and whose failure is logged."""

    def __call__(self, work: Coroutine[Any, Any, T], /) -> asyncio.Task[T]: ...
