"""A scripted WebSocket peer, for what the real server never does: garbage, fragments, silence, odd close codes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse

from picows import WSUpgradeResponseWithListener, ws_create_server  # isort: skip

IDENTITY = {"user": "ada", "name": "Ada", "connection": "c1", "guest": False, "expires_at": None, "ping_seconds": 25.0}


class Peer(WSListener):
    """One connection. ``script(peer, envelope)`` is called for each request; ``auth`` is answered before."""

    def __init__(self, server: ScriptedServer) -> None:
        super().__init__()
        self.transport: WSTransport
        self.closed: tuple[int, bytes] | None = None
        self._server = server

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        self._server.peers.append(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            self.closed = (int.from_bytes(payload[:2], "big"), payload[2:])
            transport.disconnect()
        elif frame.msg_type == WSMsgType.TEXT:
            value = json.loads(frame.get_payload_as_bytes())
            for envelope in value if isinstance(value, list) else [value]:
                self._server.requests.append(envelope)
                if envelope["event"] == "auth" and self._server.identity is not None:
                    self.send({"id": envelope["id"], "event": "auth:accepted", "result": self._server.identity})
                else:
                    self._server.script(self, envelope)

    def send(self, *envelopes: dict[str, Any]) -> None:
        value = envelopes[0] if len(envelopes) == 1 else list(envelopes)
        self.transport.send(WSMsgType.TEXT, json.dumps(value).encode())

    def send_fragments(self, data: bytes, size: int) -> None:
        parts = [data[at : at + size] for at in range(0, len(data), size)]
        for number, part in enumerate(parts):
            kind = WSMsgType.TEXT if number == 0 else WSMsgType.CONTINUATION
            self.transport.send(kind, part, fin=number == len(parts) - 1)
            self.transport.send_ping(b"between")  # control frames may come between fragments: RFC 6455, section 5.4

    def close(self, code: int, reason: str = "") -> None:
        self.transport.send_close(code, reason.encode())  # type: ignore[arg-type]

    def drop(self) -> None:
        self.transport.disconnect(False)


class ScriptedServer:
    """``identity`` None: auth goes to the script too. ``subprotocol``: what the handshake answers."""

    def __init__(self) -> None:
        self.url = ""
        self.identity: dict[str, Any] | None = dict(IDENTITY)
        self.subprotocol = "syncline.v1.json"
        self.peers: list[Peer] = []
        self.requests: list[dict[str, Any]] = []
        self.script: Callable[[Peer, dict[str, Any]], object] = lambda peer, envelope: None

    def accept(self, request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        headers = {"Sec-WebSocket-Protocol": self.subprotocol} if self.subprotocol else None
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(headers), Peer(self))


@contextlib.asynccontextmanager
async def scripted() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    listener = await ws_create_server(server.accept, "127.0.0.1", 0, use_aiofastnet=False, enable_auto_pong=False)
    server.url = f"ws://127.0.0.1:{listener.sockets[0].getsockname()[1]}/ws"
    try:
        yield server
    finally:
        for peer in server.peers:
            peer.drop()
        listener.close()
        await listener.wait_closed()
