"""What tests do to a client's connection: cut it, stop the clock that its pauses are measured by."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from syncline.client import Backoff, Client

#: ``await open_client(name="Ada")``: the fixture ``open_client``.
Open = Callable[..., Awaitable[Client]]
QUICK = Backoff(initial=0.01, maximum=0.05)


class GateClock:
    """Real time, but every sleep of the client also waits until the gate is open."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.slept = 0  # times
        self.ahead = 0.0  # seconds that have passed beside the real ones

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead

    async def sleep(self, seconds: float) -> None:
        self.waiting += 1
        try:
            await self.gate.wait()
            await asyncio.sleep(min(seconds, 0.01))
        finally:
            self.waiting -= 1
            self.slept += 1


def cut(client: Client) -> None:
    """The client's socket breaks."""
    link = client.connection._link
    assert link is not None
    link.abort()


def lose(client: Client) -> None:
    """What the client sends from now on is lost on the way, until it has another socket."""
    link = client.connection._link
    assert link is not None
    link.send = lambda message: None  # type: ignore[method-assign]


def hold(client: Client) -> Callable[[], None]:
    """What the client sends is on its way until the function that is returned is called."""
    link = client.connection._link
    assert link is not None
    send, held = link.send, list[bytes]()
    link.send = held.append  # type: ignore[method-assign]

    def release() -> None:
        link.send = send  # type: ignore[method-assign]
        for message in held:
            send(message)

    return release
