"""A TCP proxy between a WebSocket client and a server: cuts connections, and loses, doubles, alters or swaps whole frames.

It looks into the server's frames only (RFC 6455, section 5.2; a server does not mask), after the handshake's answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

#: What goes on of one message: called with (opcode, payload), returns the payloads to send, none, one or more.
Policy = Callable[[int, bytes], list[bytes]]


def frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


class Proxy:
    """``policy`` may be set at any time and holds for all connections; None: everything goes on as it came. ``away``: whoever connects is
    turned away."""

    def __init__(self, port: int) -> None:
        self.port = 0
        self.policy: Policy | None = None
        self.away = False
        self.opened = 0
        self._target = port
        # In the order in which they came, so that who is cut is the same in each run.
        self._links: dict[tuple[asyncio.StreamWriter, asyncio.StreamWriter], None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    @property
    def links(self) -> int:
        return len(self._links)

    def cut(self, choose: Callable[[], bool] = lambda: True) -> int:
        """Breaks the connections for which ``choose`` says so, both ends, whatever is under way; returns how many."""
        chosen = [link for link in self._links if choose()]
        for ends in chosen:
            for writer in ends:
                writer.transport.abort()
        return len(chosen)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.away:
            writer.transport.abort()
            return
        try:
            to, out = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = (writer, out)
        self._links[link] = None
        self.opened += 1
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._up(reader, out))
                    group.create_task(self._down(to, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._links.pop(link, None)
            for end in link:
                end.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError  # ends the other direction

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readuntil(b"\r\n\r\n"))
        while True:
            head = await reader.readexactly(2)
            size = head[1]
            if size >= 126:
                size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8), "big")
            payload = await reader.readexactly(size)
            opcode = head[0] & 0x0F
            assert head[0] & 0x80 or self.policy is None, "the server sends whole messages"
            if self.policy is None or opcode > 2:
                writer.write(head[:1] + frame(opcode, payload)[1:])
            else:
                for kept in self.policy(opcode, payload):
                    writer.write(frame(opcode, kept))
            await writer.drain()


@contextlib.asynccontextmanager
async def proxied(port: int) -> AsyncIterator[Proxy]:
    """``async with proxied(app.port) as proxy: connect(proxy.url)``"""
    proxy = Proxy(port)
    server = await asyncio.start_server(proxy._accept, "127.0.0.1", 0, backlog=1024)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.cut()
        for task in [*proxy._tasks]:
            task.cancel()
        await asyncio.gather(*proxy._tasks, return_exceptions=True)
        await server.wait_closed()


def faulty(numbers: dict[Any, str]) -> Policy:
    """Applies each fault once, to the message whose data has this number: lost, twice, swapped, altered."""
    held: list[bytes] = []

    def policy(opcode: int, payload: bytes) -> list[bytes]:
        envelope = msgspec.json.decode(payload) if opcode == 1 else msgspec.msgpack.decode(payload)
        if envelope["event"] != "message:received":
            return [payload, *taken(held)]
        fault = numbers.pop(envelope["data"]["data"]["n"], "")
        if fault == "lost":
            return []
        if fault == "twice":
            return [payload, payload]
        if fault == "swapped":
            held.append(payload)
            return []
        if fault == "altered":
            return [payload.replace(b"text", b"TEXT")]
        return [payload, *taken(held)]

    return policy


def taken(held: list[bytes]) -> list[bytes]:
    taken = held[:]
    held.clear()
    return taken
