"""The WebSocket transport: picows behind uvicorn's ``ws=`` protocol class, so that HTTP and WebSocket share one port.

uvicorn's HTTP parser sees the upgrade request, makes our protocol object and replays the request head into it; from then on the
socket is picows'. picows parses and unmasks single frames and answers pings; messages, close handshake and everything that
is sent are ours. Outgoing frames are built as single ``bytes`` (ARCHITECTURE.md, hazards).

This is the only file that imports picows in the server.
"""

from __future__ import annotations

import asyncio
import logging
import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

import picows.picows
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, WSUpgradeResponse
from picows.common import WSUpgradeResponseWithListener

from ...core import wire
from ...core.deflate import Agreement, Deflater, Inflater, negotiate
from ...core.errors import INTERNAL, SynclineError
from ...core.frames import Assembler, FrameError, encode_close
from ..connection import Connection
from ..seams import Credentials, Transport
from ..session import Session

if TYPE_CHECKING:
    from ..node import Node

log = logging.getLogger("syncline.ws")

#: Not in picows' stubs: the protocol object that its own `ws_create_server` makes for each connection.
_WSProtocol: Any = picows.picows.WSProtocol  # type: ignore[attr-defined]

#: How long a peer may take to answer our close frame before the socket is cut.
CLOSE_SECONDS = 5.0

#: picows grows this on demand; 2 KiB is its least, and keeps an idle connection small.
READ_BUFFER_BYTES = 2048

_CONNECTION_HEADER = re.compile(rb"\r\nconnection:[^\r\n]*", re.IGNORECASE)


class _Logger(logging.LoggerAdapter[logging.Logger]):
    """Shared by all connections: picows would make a logger object for each one of its own kind."""


_PICOWS_LOGGER = _Logger(logging.getLogger("picows"), {})


class SocketTransport:
    """``seams.Transport`` over the asyncio transport under a WebSocket."""

    __slots__ = ("_closing", "_loop", "_socket")

    def __init__(self, socket: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._socket = socket
        self._loop = loop
        self._closing: asyncio.TimerHandle | None = None
        # Told at once when the kernel does not take everything, and when it has: the queue is the connection's.
        socket.set_write_buffer_limits(0)

    def write(self, data: bytes) -> None:
        self._socket.write(data)

    def buffered(self) -> int:
        return self._socket.get_write_buffer_size()

    def close(self, code: int, reason: str) -> None:
        """Sends the close frame; the socket is closed when the peer answers, or cut after CLOSE_SECONDS."""
        if self._closing is None:
            self._socket.write(encode_close(code, reason))
            self._closing = self._loop.call_later(CLOSE_SECONDS, self._socket.abort)

    def peer_closed(self, code: int) -> None:
        """The peer's close frame came: answers it unless ours went first (RFC 6455 section 5.5.1), then closes."""
        if self._closing is None:
            if code in (0, 1005):  # no code: none is sent back either
                self._socket.write(b"\x88\x00")
            else:
                # picows has refused the other codes below 3000; from 5000 on none is defined (sections 7.4.1, 7.4.2).
                self._socket.write(encode_close(1002 if code in (1004, 1006, 1015) or code >= 5000 else code, ""))
            self._closing = self._loop.call_later(CLOSE_SECONDS, self._socket.abort)
        self._socket.close()

    def gone(self) -> None:
        if self._closing is not None:
            self._closing.cancel()

    def abort(self) -> None:
        self._socket.abort()

    def pause_reading(self) -> None:
        self._socket.pause_reading()

    def resume_reading(self) -> None:
        if not self._socket.is_closing():
            self._socket.resume_reading()


class Listener(WSListener):
    """One WebSocket: frames in, messages to the session."""

    def __init__(
        self,
        node: Node,
        codec: wire.Codec,
        credentials: Credentials | None,
        agreement: Agreement | None = None,
        deflater: Deflater | None = None,
    ) -> None:
        """``agreement``, ``deflater``: when messages may be compressed."""
        self.node = node
        self.codec = codec
        self.credentials = credentials
        self.session = Session(node, codec)
        self.assembler = Assembler(node.config.limits.message_bytes)
        if agreement is not None:
            self.assembler.inflater = Inflater(takeover=not agreement.client_no_takeover)
        self.deflater = deflater
        self.opcode = 1 if codec == "json" else 2
        self.transport: SocketTransport | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        node, session = self.node, self.session
        self.transport = SocketTransport(transport.underlying_transport, node.loop)
        connection = Connection(
            node.new_id(),
            self.codec,
            cast("Transport", self.transport),
            node.flusher,
            node.config.limits.queue_bytes,
            session.overflowed,
            self.deflater,
        )
        node.counters.connection_opened(self.codec)
        node.pings.add(connection)
        session.opened(connection, self.credentials)
        self.credentials = None

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        session = self.session
        kind: Any = frame.msg_type
        self.node.pings.heard(session.connection, kind == WSMsgType.PONG)
        if kind == WSMsgType.TEXT or kind == WSMsgType.BINARY or kind == WSMsgType.CONTINUATION:
            counters = self.node.counters
            counters.frames_in += 1
            counters.bytes_in += frame.payload_size
            reserved = 4 * frame.rsv1 + 2 * frame.rsv2 + frame.rsv3
            try:
                message = self.assembler.feed(int(kind), bool(frame.fin), reserved, frame.get_payload_as_bytes())
                if message is not None:
                    self.on_message(*message)
            except FrameError as error:
                session.close(error.disconnect)
            except Exception:
                log.exception("connection %s failed", session.connection.id)
                session.close(INTERNAL)
        elif kind == WSMsgType.PING:
            session.connection.pong(frame.get_payload_as_bytes())
        elif kind == WSMsgType.CLOSE:
            assert self.transport is not None
            self.node.flusher.flush()  # what it is owed goes before the close frame
            code: Any = frame.get_close_code()
            self.transport.peer_closed(int(code))

    def on_message(self, opcode: int, message: bytes) -> None:
        """One whole message."""
        if opcode == self.opcode:
            self.session.receive(message)
        else:
            self.session.wrong_kind()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.transport is None:
            return
        self.transport.gone()
        session = self.session
        log.debug("connection %s of %s (%s) is gone", session.connection.id, session.user or "nobody", self.codec)
        self.node.counters.connection_closed(self.codec)
        self.session.lost()

    def pause_writing(self) -> None:
        self.session.connection.paused()

    def resume_writing(self) -> None:
        connection = self.session.connection
        self.node.pings.heard(connection, False)  # who takes what is sent lives, however slow
        connection.drained()


def protocol_class(node: Node) -> type[asyncio.Protocol]:
    """What uvicorn's ``ws=`` takes: a class made per upgrade with (config, server_state, app_state)."""

    config = node.config
    deflaters: dict[int, Deflater] = {}  # by window; at most seven
    origins = frozenset(config.server.allowed_origins)
    any_origin = "*" in origins

    def refuse(status: HTTPStatus, text: str, retry_after: int | None = None) -> WSUpgradeResponseWithListener:
        headers = None if retry_after is None else {"Retry-After": str(retry_after)}
        return WSUpgradeResponseWithListener(
            WSUpgradeResponse.create_error_response(status, text.encode(), headers), None
        )

    def handshake(request: WSUpgradeRequest) -> WSUpgradeResponseWithListener:
        url = urlsplit(request.path.decode("latin-1"))
        headers = request.headers
        if url.path != config.server.path:
            return refuse(HTTPStatus.NOT_FOUND, f"WebSocket clients connect to {config.server.path}")
        if node.draining:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this node is stopping")
        if len(node.hub.sessions) >= config.limits.connections:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        wait = node.admission.refusal()
        if wait is not None:
            return refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connect at once", wait)
        origin = headers.get("origin")
        if not any_origin and origin is not None and origin not in origins:
            return refuse(HTTPStatus.FORBIDDEN, "origin not allowed")
        offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",") if name.strip()]
        chosen = next((name for name in offered if name in wire.SUBPROTOCOLS), None)
        if offered and chosen is None:
            return refuse(HTTPStatus.BAD_REQUEST, "subprotocols: " + ", ".join(wire.SUBPROTOCOLS))
        credentials = None
        token = _token(headers.get("authorization", ""), url.query)
        if token is not None:
            try:
                credentials = node.auth.authenticate(token)
            except SynclineError as error:
                node.counters.auth_failures += 1
                return refuse(HTTPStatus.UNAUTHORIZED, str(error))
        answer = {"Sec-WebSocket-Protocol": chosen} if chosen else {}
        agreement, deflater = None, None
        if config.server.compression:
            agreement = negotiate(", ".join(headers.getall("sec-websocket-extensions", [])))
        if agreement is not None:
            answer["Sec-WebSocket-Extensions"] = agreement.header()
            bits = agreement.server_bits
            if bits not in deflaters:
                level, at_least = config.server.compression_level, config.server.compression_bytes
                deflaters[bits] = Deflater(bits, level, at_least)
            deflater = deflaters[bits]
        codec = wire.SUBPROTOCOLS[chosen] if chosen else "json"
        listener = Listener(node, codec, credentials, agreement, deflater)
        return WSUpgradeResponseWithListener(WSUpgradeResponse.create_101_response(answer), listener)

    class Protocol(_WSProtocol):  # type: ignore[misc]
        def __init__(self, config: Any, server_state: Any, app_state: Any) -> None:
            super().__init__(
                None,  # host_port: client side only
                None,  # ws_path: client side only
                False,  # is_client_side
                handshake,
                _PICOWS_LOGGER,
                True,  # disconnect_on_exception
                10.0,  # websocket_handshake_timeout, seconds
                False,  # enable_auto_ping: a task per connection; the node's ping wheel does it
                None,
                None,
                1,
                False,  # enable_auto_pong: it would not go through the connection's queue and its bounds
                node.config.limits.message_bytes,
                None,  # extra_headers
                READ_BUFFER_BYTES,
            )

        def data_received(self, data: bytes) -> None:
            """The request head, replayed by uvicorn; everything later goes to the buffer directly."""
            # picows takes only `Connection: Upgrade`; Firefox sends `keep-alive, Upgrade`, which uvicorn has accepted.
            data = _CONNECTION_HEADER.sub(b"\r\nconnection: Upgrade", data, count=1)
            view = memoryview(data)
            while view:
                buffer = self.get_buffer(len(view))
                size = min(len(buffer), len(view))
                buffer[:size] = view[:size]
                del buffer
                self.buffer_updated(size)
                view = view[size:]

    return cast("type[asyncio.Protocol]", Protocol)


def _token(authorization: str, query: str) -> str | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip()
    if "access_token" in query:
        values = parse_qs(query).get("access_token")
        if values:
            return values[0]
    return None
