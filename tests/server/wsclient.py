"""A bare client for tests of the protocol itself: sends what it is told, shows what comes."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from syncline.server.app import App
from tests.waiting import PATIENCE


class Wire:
    """One connection. ``inbox``: what came and was not taken yet, in order."""

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.codec = codec
        self.inbox: list[dict[str, Any]] = []
        self.user = ""
        self._ids = 0

    async def send(self, *envelopes: dict[str, Any]) -> None:
        """One frame: a single envelope, or a batch."""
        value = envelopes[0] if len(envelopes) == 1 else list(envelopes)
        await self.socket.send(json.dumps(value) if self.codec == "json" else msgspec.msgpack.encode(value))

    async def raw(self, data: str | bytes) -> None:
        await self.socket.send(data)

    async def _more(self) -> None:
        frame = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        value = json.loads(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)
        self.inbox.extend(value if isinstance(value, list) else [value])

    async def take(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first envelope that matches, waiting for it; the others stay in the inbox."""
        seen = 0
        while True:
            for at in range(seen, len(self.inbox)):
                if matches(self.inbox[at]):
                    return self.inbox.pop(at)
            seen = len(self.inbox)
            await self._more()

    async def push(self, event: str, **where: Any) -> dict[str, Any]:
        """The data of the next push of this event whose data has these values."""

        def matches(envelope: dict[str, Any]) -> bool:
            data = envelope.get("data")
            return (
                envelope["event"] == event
                and "id" not in envelope
                and isinstance(data, dict)
                and where.items() <= data.items()
            )

        return dict((await self.take(matches))["data"])

    async def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """The whole reply to a request with an id."""
        self._ids += 1
        number = self._ids
        await self.send({"event": event, "data": data, "id": number})
        return await self.take(lambda envelope: envelope.get("id") == number)

    async def call(self, event: str, **data: Any) -> dict[str, Any]:
        """The result; fails the test on an error reply."""
        reply = await self.ask(event, **data)
        assert "error" not in reply, reply
        return dict(reply["result"])

    async def error(self, event: str, **data: Any) -> str:
        """The code of the error reply; fails the test on success."""
        reply = await self.ask(event, **data)
        assert reply["event"] == "error", reply
        return str(reply["error"]["code"])

    async def flushed(self) -> list[dict[str, Any]]:
        """Everything that the server had sent by now: a ping goes through the same queue."""
        await self.call("ping")
        taken, self.inbox = self.inbox, []
        return taken

    async def closed(self) -> tuple[int, str]:
        """Waits for the server to close; the code and the reason."""
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                await self._more()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""


@contextlib.asynccontextmanager
async def dial(
    url: str,
    *,
    name: str | None = None,
    codec: str = "json",
    token: str | None = None,
    path: str = "/ws",
    **options: Any,
) -> AsyncIterator[Wire]:
    """Connects; with ``name`` or ``token`` authenticates by the first event."""
    target = url.replace("http://", "ws://") + path
    protocols = [Subprotocol(f"syncline.v1.{codec}")]
    options = {
        "subprotocols": protocols,
        "compression": None,
        "max_size": None,
        "max_queue": None,
        "proxy": None,
        **options,
    }
    async with connect(target, **options) as socket:
        client = Wire(socket, codec)
        if token is not None:
            client.user = (await client.call("auth", token=token))["user"]
        elif name is not None:
            client.user = (await client.call("auth", name=name))["user"]
        yield client


async def submit(client: Wire, seq: int, revision: int, operation: Any, document: str = "d") -> None:
    """An operation, without waiting for what comes of it."""
    data = {"document": document, "seq": seq, "revision": revision, "operation": operation}
    await client.send({"event": "document:operation", "data": data})


async def text_of(app: App, document: str = "d", **data: Any) -> tuple[str, int]:
    """Text and revision of a document, as somebody new gets them."""
    async with dial(app.url, name="Reader") as client:
        state = await client.call("document:join", document=document, **data)
        return state["text"], state["revision"]
