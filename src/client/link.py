"""One WebSocket connection of the client, on picows: whole messages in and out, and when it was last heard.

picows' hazards and what is done about them (ARCHITECTURE.md, "Hazards"): its corruption of frames above 8 KiB
concerns frames that a *server* writes; a client masks each frame into a buffer of its own copied when the kernel
does not take it at once. ``use_aiofastnet`` is always said, so that what happens to be installed decides nothing.
A picows frame points into the read buffer and dies with the callback, so messages are handled inside it. picows
hands out fragments as they come (RFC 6455, section 5.4): they are put together here, within the size limit.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote

from picows import WSError, WSFrame, WSHandshakeError, WSListener, WSMsgType, WSTransport, ws_connect

from ..core.errors import ErrorCode
from .errors import LONGEST_WAIT, ConnectFailed, ProtocolViolation, RequestError


class Receiver(Protocol):
    """Who gets what a link hears. Both are called on the loop and must not block."""

    def on_message(self, link: Link, message: bytes | memoryview) -> None:
        """A whole message; a memoryview dies when the call returns. ProtocolViolation ends the link with 1002."""

    def on_lost(self, link: Link, code: int, reason: str) -> None:
        """Exactly once, after the last message. ``code`` 1006 when no close frame came."""


class Link(WSListener):
    """Made by ``open_link``. Everything it knows of the socket's life is ``lost``, ``last_heard`` and ``writable``.

    ``wanted``: false when who opened it has given up, which picows does not notice: it goes on with the handshake.
    """

    def __init__(self, receiver: Receiver, binary: bool, max_bytes: int, monotonic: Callable[[], float]) -> None:
        super().__init__()
        self.wanted = True
        self.lost = False
        self.gone = asyncio.Event()  # set when ``lost``
        self.last_heard = monotonic()
        self.writable = asyncio.Event()  # cleared while the transport holds more than its high-water mark
        self.writable.set()
        self._receiver = receiver
        self._data_type = WSMsgType.BINARY if binary else WSMsgType.TEXT
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._transport: WSTransport | None = None
        self._fragments: bytearray | None = None
        self._close: tuple[int, str] | None = None

    # Out -----------------------------------------------------------------------------------------------------------
    def send(self, message: bytes) -> None:
        """Never blocks; what the kernel does not take waits in the transport. Nothing happens on a lost link."""
        if self._transport is not None and not self.lost:
            self._transport.send(self._data_type, message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Says goodbye; the server closes the socket. ``abort`` is for those that do not."""
        if self._transport is not None and not self.lost:
            self._close = self._close or (code, reason)
            # picows types the code as an enum of the standard codes but sends any number.
            self._transport.send_close(code, reason.encode())  # type: ignore[arg-type]

    def abort(self, code: int = 1006, reason: str = "") -> None:
        """Drops the socket now; what is unsent is lost."""
        if self._transport is not None and not self.lost:
            self._close = self._close or (code, reason)
            self._transport.disconnect(False)

    # In: called by picows ------------------------------------------------------------------------------------------
    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        if not self.wanted:
            self.abort()

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        self.last_heard = self._monotonic()
        kind = frame.msg_type
        try:
            if kind == self._data_type or kind == WSMsgType.CONTINUATION:
                self._data(kind, frame)
            elif kind == WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            elif kind == WSMsgType.CLOSE:
                self._closing(transport, frame.get_payload_as_bytes())
            elif kind != WSMsgType.PONG:
                raise ProtocolViolation("a frame of the wrong kind")
        except ProtocolViolation as error:
            self._close = self._close or (1006, f"protocol violation: {error}")
            transport.send_close(1002, b"protocol_error")  # type: ignore[arg-type]
            transport.disconnect(False)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.lost:
            self.lost = True
            self.gone.set()
            self.writable.set()
            code, reason = self._close or (1006, "the connection broke")
            self._receiver.on_lost(self, code, reason)

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def _data(self, kind: WSMsgType, frame: WSFrame) -> None:
        if kind != WSMsgType.CONTINUATION:
            if self._fragments is not None:
                raise ProtocolViolation("a new message inside a fragmented one")
            if frame.fin:
                self._receiver.on_message(self, frame.get_payload_as_memoryview())
                return
            self._fragments = bytearray()
        elif self._fragments is None:
            raise ProtocolViolation("a continuation of nothing")
        if len(self._fragments) + frame.payload_size > self._max_bytes:
            raise ProtocolViolation("a message over max_message_bytes")
        self._fragments += frame.get_payload_as_memoryview()
        if frame.fin:
            message, self._fragments = bytes(self._fragments), None
            self._receiver.on_message(self, message)

    def _closing(self, transport: WSTransport, payload: bytes) -> None:
        # Read from the bytes: picows' enum knows only the standard codes. RFC 6455, section 7.1.5: 1005 without one.
        code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
        self._close = self._close or (code, payload[2:].decode("utf-8", "replace"))
        transport.send_close(code if code != 1005 else 1000)  # type: ignore[arg-type]
        transport.disconnect()


def with_token(url: str, headers: Mapping[str, str], token: str) -> tuple[str, Mapping[str, str]]:
    """URL and headers of a handshake, with ``token`` in place of the one that they have: that one ends some time. Without one they stay
    as they are."""
    url = re.sub(r"(?<=[?&]access_token=)[^&#]*", lambda found: quote(token, safe=""), url)
    bearers = [
        name for name, value in headers.items() if name.lower() == "authorization" and value[:7].lower() == "bearer "
    ]
    return url, {**headers, **dict.fromkeys(bearers, f"Bearer {token}")}


def _retry_after(error: Exception) -> float | None:
    """What a server said that takes no more connections now (RFC 9110, section 10.2.3; dates are passed over)."""
    response = error.response if isinstance(error, WSHandshakeError) else None
    said = None if response is None else response.headers.get("Retry-After")
    return min(float(said), LONGEST_WAIT) if said is not None and said.isdecimal() else None


async def open_link(
    url: str,
    subprotocol: str,
    receiver: Receiver,
    *,
    binary: bool,
    max_bytes: int,
    timeout: float,
    monotonic: Callable[[], float],
    headers: Mapping[str, str] | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Link:
    """A link on which the server accepted ``subprotocol``. Raises ConnectFailed, with the reason as its cause;
    RequestError(token_invalid) for 401."""
    where = url.partition("?")[0]  # there may be a token behind that
    offered = {**(headers or {}), "Sec-WebSocket-Protocol": subprotocol}
    made: list[Link] = []
    wanted = True

    def make() -> Link:
        link = Link(receiver, binary, max_bytes, monotonic)
        link.wanted = wanted
        made.append(link)
        return link

    try:
        async with asyncio.timeout(timeout):
            transport, link = await ws_connect(
                make,
                url,
                ssl_context=ssl_context,
                websocket_handshake_timeout=timeout,
                enable_auto_pong=False,
                max_frame_size=max_bytes,
                extra_headers=offered,
                use_aiofastnet=False,
            )
    except BaseException as error:
        wanted = False  # of one that is made yet, when the server's answer comes
        for link in made:
            link.abort()
        if not isinstance(error, (OSError, TimeoutError, WSError, ValueError)):
            raise
        if (
            isinstance(error, WSHandshakeError)
            and error.response is not None
            and error.response.status == HTTPStatus.UNAUTHORIZED
        ):
            raise RequestError(
                ErrorCode.TOKEN_INVALID.value, "the token in the headers or the URL was refused", "auth"
            ) from error
        text = f"no connection to {where}: {str(error) or type(error).__name__}"
        raise ConnectFailed(text, _retry_after(error)) from error
    if not isinstance(link, Link):  # picows: the socket was closed before the server had answered
        raise ConnectFailed(f"no connection to {where}: closed during the handshake")
    accepted = transport.response.headers.get("Sec-WebSocket-Protocol", "")
    if accepted != subprotocol:
        link.abort()
        raise ConnectFailed(f"{where} does not speak {subprotocol} (it answered {accepted or 'none'!r})")
    return link
