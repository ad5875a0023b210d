"""The way in: HTTP and WebSocket on one port.

A connection's first bytes are looked at here. A WebSocket handshake for ``server.path`` is answered at once; everything else is
uvicorn's, whose HTTP parser hands back the upgrades that it finds later on a connection. What a handshake says is read in handshake.py;
from then on the socket belongs to a native ``WebSocket`` (websocket.pyx).

Bounds: those of front.py for a request's head; a connection that has asked for nothing after ``auth.timeout_seconds`` is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qs, urlsplit

from ...core.errors import SynclineError
from ...core.wire import envelopes as wire
from ...core.wire.deflate import Deflater, Inflater, negotiate
from ..limits.refusals import Reason, about
from ..net.addresses import parse, subscriber
from ..net.bearer import bearer
from ..sessions.pings import PingWheel
from ..sessions.session import Session
from . import handshake, proxy_protocol
from .front import HEAD_BYTES, HEADERS, URL_BYTES, BoundedHttp
from .handshake import Refused, malformed, subprotocols
from .host import Host
from .websocket import Sockets, WebSocket

if TYPE_CHECKING:
    from uvicorn import Config as UvicornConfig
    from uvicorn.server import ServerState

log = logging.getLogger("syncline.ws")


class Endpoint:
    """The handshakes of one node. Made inside its event loop."""

    def __init__(self, host: Host, session: Callable[[wire.Codec, str], Session], pings: PingWheel[WebSocket]) -> None:
        """``session``: a new one, for a codec and a client's address."""
        self.host = host
        self._session = session
        self._config = host.config
        self._sockets = Sockets(host, pings)
        self._deflaters: dict[int, Deflater] = {}  # by window; at most seven
        #: What the heads of our own handshakes begin with.
        self.begin = b"GET " + host.config.server.path.encode()

    @property
    def head_seconds(self) -> float:
        return self._config.auth.timeout_seconds

    def upgrade(self, head: bytes, transport: asyncio.Transport, peer: str) -> WebSocket | None:
        """Answers a request head, up to and with its empty line. None: it was refused, and the connection is closing.
        ``peer``: the address of who sends it."""
        host = self.host
        address = host.addresses.client(peer, ())
        try:
            target, fields = handshake.parse(head)
            address = host.addresses.client(peer, [fields.get("x-forwarded-for", "")])
            return self._accept(target, fields, transport, peer, address)
        except Refused as refusal:
            host.refusals.refused(refusal.reason, address, **refusal.more)
            transport.write(refusal.answer())
        except Exception:
            host.refusals.refused(Reason.INTERNAL, address)
            log.exception("a handshake failed", extra=about(address))
        transport.close()
        return None

    def _accept(
        self, target: str, fields: Mapping[str, str], transport: asyncio.Transport, peer: str, address: str
    ) -> WebSocket:
        host, config = self.host, self._config
        try:
            url = urlsplit(target)
        except ValueError as error:
            raise malformed("not a URL") from error
        if url.path != config.server.path:
            text = f"WebSocket clients connect to {config.server.path}"
            raise Refused(Reason.PATH, HTTPStatus.NOT_FOUND, text, path=url.path)
        accept, offered, extensions = handshake.accept(fields), subprotocols(fields), handshake.extensions(fields)
        if host.draining:
            raise Refused(Reason.DRAINING, HTTPStatus.SERVICE_UNAVAILABLE, "this node is stopping")
        if host.arrivals.full:
            raise Refused(Reason.CONNECTIONS, HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
        if host.arrivals.full_for(subscriber(address)):
            host.counters.address_refused += 1
            text = "too many connections from your address"
            raise Refused(Reason.ADDRESS_CONNECTIONS, HTTPStatus.TOO_MANY_REQUESTS, text)
        wait = host.admission.refusal()
        if wait is not None:
            text, retry = "too many connect at once", {"Retry-After": str(wait)}
            raise Refused(Reason.HANDSHAKE_RATE, HTTPStatus.SERVICE_UNAVAILABLE, text, retry)
        if refused := host.origins.refused(fields, peer):
            raise Refused(Reason.ORIGIN, HTTPStatus.FORBIDDEN, refused, detail=refused)
        chosen = next((name for name in offered if name in wire.SUBPROTOCOLS), None)
        if offered and chosen is None:
            text = "subprotocols: " + ", ".join(wire.SUBPROTOCOLS)
            ours = [
                name for name in offered if name.startswith("syncline.")
            ]  # others may be anything: some put tokens there
            detail = f"{len(offered)} offered" + (f", of ours: {', '.join(ours)}" if ours else "")
            raise Refused(Reason.SUBPROTOCOL, HTTPStatus.BAD_REQUEST, text, detail=detail)
        credentials = None
        token = _token(fields.get("authorization", ""), url.query)
        if token is not None:
            try:
                credentials = host.authentication.check(token)
            except SynclineError as error:
                scheme = {"WWW-Authenticate": "Bearer"}
                raise Refused(
                    Reason.TOKEN, HTTPStatus.UNAUTHORIZED, str(error), scheme, detail=error.message
                ) from error
        answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        answer += b"Sec-WebSocket-Accept: " + accept.encode() + b"\r\n"
        if chosen is not None:
            answer += b"Sec-WebSocket-Protocol: " + chosen.encode() + b"\r\n"
        socket = WebSocket(self._sockets, self._session(wire.SUBPROTOCOLS[chosen] if chosen else "json", address))
        deflater = None
        if config.server.compression:
            agreement = negotiate(extensions)
            if agreement is not None:
                answer += b"Sec-WebSocket-Extensions: " + agreement.header().encode() + b"\r\n"
                deflater = self._deflater(agreement.server_bits)
                socket.inflater = Inflater(takeover=not agreement.client_no_takeover)
        transport.write(answer + b"\r\n")
        socket.open(transport, credentials, deflater)
        return socket

    def _deflater(self, bits: int) -> Deflater:
        deflater = self._deflaters.get(bits)
        if deflater is None:
            server = self._config.server
            deflater = self._deflaters[bits] = Deflater(bits, server.compression_level, server.compression_bytes)
        return deflater

    # What uvicorn takes --------------------------------------------------------------------------------------

    def front(
        self,
        config: UvicornConfig,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """For ``http=``: the protocol of a new connection."""
        return _Front(self, config, server_state, app_state)

    def upgraded(
        self, config: UvicornConfig, server_state: ServerState, app_state: dict[str, Any], peer: str = ""
    ) -> asyncio.Protocol:
        """For ``ws=``: the protocol of an upgrade that uvicorn found, and whose head it replays."""
        return _Upgrade(self, peer)


class _Front(asyncio.Protocol):
    """A connection until its first request head is there. Then the transport has another protocol, and this is dropped."""

    __slots__ = ("_announced", "_endpoint", "_head", "_peer", "_timer", "_transport", "_uvicorn")

    def __init__(self, endpoint: Endpoint, *uvicorn: Any) -> None:
        self._endpoint = endpoint
        self._uvicorn = uvicorn
        self._head = b""
        self._peer = ""  # the client's address, or a trusted proxy's
        self._announced = False  # a header of the PROXY protocol comes first
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def _state(self) -> ServerState:
        state: ServerState = self._uvicorn[1]
        return state

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport = transport
        self._state.connections.add(self)  # type: ignore[arg-type]
        host = self._endpoint.host
        self._peer = _peer(transport)
        if host.descriptors.short(transport.get_extra_info("socket").fileno()):
            host.refusals.refused(Reason.DESCRIPTORS, self._address)
            transport.abort()
            return
        self._announced = host.addresses.announces(self._peer)
        host.arrivals.enter(self, transport.abort, subscriber(self._address))
        self._timer = self._endpoint.host.loop.call_later(self._endpoint.head_seconds, self._silent)

    @property
    def _address(self) -> str:
        """The client's, as far as it is known before there is a request."""
        return self._endpoint.host.addresses.client(self._peer, ())

    def _silent(self) -> None:
        assert self._transport is not None
        self._endpoint.host.refusals.refused(Reason.SILENT, self._address)
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if self._head:
            data = self._head + data
        if self._announced:
            data = self._announcement(data)
            if not data:
                return
        begin = self._endpoint.begin
        if data.startswith(begin) and data[len(begin) : len(begin) + 1] in (b" ", b"?"):
            end = data.find(b"\r\n\r\n") + 4
            if end > 3:
                if _is_handshake(data[:end]) and _within_bounds(data, end):
                    self._leave()
                    # What follows came before our answer, which the standard forbids.
                    socket = self._endpoint.upgrade(data[:end], transport, self._peer)
                    if socket is not None:
                        transport.set_protocol(socket)
                    return
            elif len(data) < HEAD_BYTES:
                self._head = data
                return
        elif len(data) <= len(begin) and (begin + b" ").startswith(data):
            self._head = data
            return
        self._leave()
        protocol = BoundedHttp(self._endpoint.host, self._peer, *self._uvicorn)
        protocol.connection_made(transport)
        transport.set_protocol(protocol)
        protocol.data_received(data)

    def _announcement(self, data: bytes) -> bytes:
        """What follows the header of the PROXY protocol; b"" while that is not whole, or nothing follows yet."""
        transport = self._transport
        assert transport is not None
        try:
            header = proxy_protocol.read(data)
        except ValueError as error:
            # The address is the proxy's: whose connection it is, it has not said.
            self._endpoint.host.refusals.refused(Reason.PROXY_HEADER, self._peer, detail=str(error))
            transport.abort()
            return b""
        if header is None:
            self._head = data
            return b""
        self._announced, self._peer, self._head = False, parse(header.source) or "", b""
        arrivals = self._endpoint.host.arrivals
        arrivals.left(self)
        arrivals.enter(self, transport.abort, subscriber(self._peer))
        return data[header.size :]

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def _leave(self) -> None:
        self._state.connections.discard(self)
        self._endpoint.host.arrivals.left(self)
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._transport = None

    def shutdown(self) -> None:
        """From uvicorn, when it stops."""
        if self._transport is not None:
            self._transport.close()


class _Upgrade(asyncio.Protocol):
    """Between uvicorn's protocol and ours: uvicorn makes this one the transport's protocol after it has replayed the head."""

    def __init__(self, endpoint: Endpoint, peer: str) -> None:
        self._endpoint = endpoint
        self._peer = peer
        self._transport: asyncio.Transport | None = None
        self._socket: WebSocket | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        transport = self._transport
        assert transport is not None
        if self._socket is not None:  # read before the loop has come to ``set_protocol``
            self._socket.data_received(data)
        elif not self._answered:
            self._answered = True
            self._socket = self._endpoint.upgrade(data, transport, self._peer)
            if self._socket is not None:
                self._endpoint.host.loop.call_soon(transport.set_protocol, self._socket)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._socket is not None:
            self._socket.connection_lost(exc)


def _is_handshake(head: bytes) -> bool:
    """Whether it is one that handshake.py can answer, well-formed or not."""
    return head[: head.find(b"\r\n")].endswith(b" HTTP/1.1") and b"\r\nsec-websocket-key:" in head.lower()


def _peer(transport: asyncio.Transport) -> str:
    """The address at the other end; "" where there is none, as of a Unix socket, or of one that is gone already."""
    name = transport.get_extra_info("peername")
    return (parse(name[0]) or "") if isinstance(name, tuple) and name else ""


def _within_bounds(data: bytes, end: int) -> bool:
    """Else it is answered as any other request beyond them."""
    return end <= HEAD_BYTES and data.find(b"\r\n") <= URL_BYTES and data.count(b"\r\n", 0, end) <= HEADERS + 2


def _token(authorization: str, query: str) -> str | None:
    if token := bearer(authorization):
        return token
    if "access_token" in query:
        values = parse_qs(query).get("access_token")
        if values:
            return values[0]
    return None
