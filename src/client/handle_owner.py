"""What a room or a document needs of the client that it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from .callbacks import AsyncCalls
from .connection import Connection, State
from .errors import ClientError


class Heart(Protocol):
    """Compares what rooms had with what they should have had (heartbeat.py)."""

    def soon(self) -> None: ...
    def ask(self, rooms: Iterable[Any], /) -> None: ...


class HandleOwner(Protocol):
    """The client. What begins with an underscore is for its handles alone."""

    connection: Connection
    _calls: AsyncCalls

    @property
    def _heartbeat(self) -> Heart: ...
    @property
    def state(self) -> State: ...
    @property
    def user(self) -> str: ...

    async def request(self, event: str, data: Any = None, accept: Callable[[Any], Any] | None = None) -> Any: ...

    async def set_presence(self, status: Any, metadata: Any = None, *, room: str | None = None) -> None: ...

    def later(self, action: Callable[[], object], attempt: int = 1, error: ClientError | None = None) -> None: ...

    async def _pause(self, attempt: int, error: ClientError | None) -> None: ...

    async def _settle(
        self,
        handles: Sequence[Any],
        seconds: float | None,
        working: Callable[[], set[asyncio.Task[None]]] = set,
    ) -> None: ...

    def _next_key(self) -> str: ...
    def _knows(self, kind: str, name: str) -> bool: ...
    def _forget(self, handle: Any) -> None: ...
