"""HTTP within bounds: uvicorn's protocol, which by itself takes a head of any size, at any pace.

A head may have HEAD_BYTES, HEADERS lines and a URL of URL_BYTES, and must be there within HEAD_SECONDS; a body must go on at
BODY_RATE (how large it may be is for its route); PIPELINED requests may wait for an answer; an answer must be taken within
ANSWER_SECONDS. A connection without a request is closed after uvicorn's five seconds. RFC 9112 section 9, RFC 6585 section 5.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..addresses import subscriber
from ..refusals import REFUSED, Reason

if TYPE_CHECKING:
    from ..node import Node

HEAD_BYTES: Final = 16_384
HEADERS: Final = 100
URL_BYTES: Final = 8192
HEAD_SECONDS: Final = 10.0
#: Bytes a second, looked at every HEAD_SECONDS.
BODY_RATE: Final = 1024
PIPELINED: Final = 16
ANSWER_SECONDS: Final = 60.0
#: After a refusal, what still comes is read and dropped for so long: a socket closed on it would take our answer back (RFC 9112, 9.6).
LINGER_SECONDS: Final = 1.0

#: What is given to the parser at once; a head's end is the end of such a piece, so that it is measured exactly.
_STEP: Final = 1024
#: Why a request is refused, by the answer.
_REASONS: Final = {
    HTTPStatus.BAD_REQUEST: Reason.MALFORMED,
    HTTPStatus.REQUEST_TIMEOUT: Reason.LATE,
    HTTPStatus.REQUEST_URI_TOO_LONG: Reason.TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: Reason.TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.PIPELINED,
    HTTPStatus.SERVICE_UNAVAILABLE: Reason.STOPPING,
}
_TOO_LARGE: Final = f"a request's head has at most {HEAD_BYTES} bytes"


class _Refusal(Exception):
    """Raised inside the parser's callbacks; what the client is told."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class BoundedHttp(HttpToolsProtocol):
    """One HTTP connection. A stranger among ``node.arrivals`` until it ends or becomes a WebSocket."""

    def __init__(self, node: Node, peer: str, *uvicorn: Any) -> None:
        """``peer``: the address of who sends."""
        super().__init__(*uvicorn)
        self._node = node
        self._peer = peer
        self._measured = 0  # bytes since something whole was read: a head, a piece of a body, a request
        self._piece = 0  # bytes that the parser is given now, where a request may begin; 0: within one
        self._heading = True  # a head is read, or comes next
        self._tail = b""  # what is known of it last, as far as its end may have begun
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False  # a request has begun and is not whole
        self._body = self._body_seen = 0  # bytes of it, and how many there were when it was last looked at
        self._left = False
        self._refused = False
        self._running: RequestResponseCycle | None = None

    # From the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:  # for the application: whom the PROXY protocol named, else the same
            self.client = (self._peer, self.client[1]) if self._peer else None
        client = self._node.addresses.client(self._peer, ())
        self._node.arrivals.enter(self, transport.abort, subscriber(client))
        self._node.counters.connection_opened("none", "http")
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            if self._refused or self.transport.is_closing() or self.parser is None:
                return
            self._unset_keepalive_if_required()
            if self._timer is None:  # not idle any more; empty lines are no request yet
                self._wait(HEAD_SECONDS)
            part = self._part(data, start)
            start += len(part)
            self._measured += len(part)
            self._piece = 0 if self._reading else len(part)
            try:
                self.parser.feed_data(part)
            except httptools.HttpParserUpgrade:
                if not self._answered or self.pipeline or self.transport.get_write_buffer_size():
                    # It would come into the middle of an answer, and whoever waits to go on writing would wait for ever.
                    self.refuse(HTTPStatus.BAD_REQUEST, "an upgrade waits for the answers before it")
                elif self._should_upgrade():
                    self.handle_websocket_upgrade()
                else:
                    self.refuse(HTTPStatus.BAD_REQUEST, "this server upgrades to WebSocket only")
                return  # what follows came before our answer, which the standard forbids
            except httptools.HttpParserError as error:
                cause = error.__context__ or error.__cause__
                if isinstance(cause, _Refusal):
                    self.refuse(cause.status, cause.text)
                else:
                    self.refuse(HTTPStatus.BAD_REQUEST, "not HTTP/1.1")
                return
            if self._heading and not self._tail:  # it may have begun in this piece, where a body ended
                self._tail = part[-3:]
            if self._measured > HEAD_BYTES:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def _part(self, data: bytes, start: int) -> bytes:
        """What the parser gets next: to the end of a head, at most."""
        part = data[start : start + _STEP]
        if not self._heading:
            return part
        known = self._tail + part
        end = known.find(b"\r\n\r\n")
        if end >= 0:
            part = part[: end + 4 - len(self._tail)]
        self._tail = b"" if end >= 0 else known[-3:]
        return part

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        self.ws_protocol_class = cast("Any", partial(cast("Any", self.ws_protocol_class), peer=self._peer))
        super().handle_websocket_upgrade()

    # From the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._measured = self._piece  # nothing of it, if it began where a body ended
        self._reading = True
        self._body = self._body_seen = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES:
            raise _Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, f"a URL has at most {URL_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > HEADERS:  # trailers count too
            raise _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has at most {HEADERS} headers")

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise _Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests wait for an answer")
        if self._measured > HEAD_BYTES:
            raise _Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)
        super().on_headers_complete()
        self._measured = 0
        self._heading = False
        self._node.arrivals.heard(self)
        self._wait(HEAD_SECONDS)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._measured = 0
        self._body += len(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._measured = 0
        self._reading = False
        self._heading = True
        self._wait(ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        self._stop_waiting()
        super().on_response_complete()
        if self.transport.get_write_buffer_size():  # written, and not taken
            self._wait(ANSWER_SECONDS)
        elif self._reading or self.pipeline:  # an answer to a request that is not whole, or the next one's turn
            self._wait(HEAD_SECONDS if self._reading else ANSWER_SECONDS)

    @property
    def _answered(self) -> bool:
        """Whether every request so far has its answer."""
        return self._running is None or self._running.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle  # uvicorn's ``cycle`` is the newest, which may wait for this one's answer
        super()._start_asgi_task(cycle, app)

    # Time ----------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._late)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        untaken = self._answered and not self._reading and self.transport.get_write_buffer_size()
        if self._refused or self.transport.is_closing():
            self.transport.abort()
            return
        if untaken:
            self._give_up()
            return
        if self._reading and self._body - self._body_seen >= BODY_RATE * HEAD_SECONDS:
            self._body_seen = self._body
            self._wait(HEAD_SECONDS)
            return
        if self._reading or self._answered:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")
        else:
            self._give_up()

    def shutdown(self) -> None:
        """From uvicorn, when it stops: a request that is whole gets its answer, others are not waited for."""
        if self._reading and not self._refused and not self.transport.is_closing():
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this node is stopping; send it again")
        else:
            super().shutdown()

    # The end -------------------------------------------------------------------------------------------------

    def _refusal(self, reason: Reason, **more: object) -> None:
        """Counts one, and tells of it."""
        told = [value.decode("latin-1") for name, value in self.headers or () if name == b"x-forwarded-for"]
        self._node.refusals.refused(reason, self._node.addresses.client(self._peer, told), **more)

    def _give_up(self) -> None:
        """An answer is not taken."""
        self._refusal(Reason.UNTAKEN)
        self.transport.abort()

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answers and closes; only closes when an answer has begun."""
        self._node.counters.http_refused[status] += 1
        self._refusal(_REASONS[status], detail=text)
        self._refused = True
        self._wait(LINGER_SECONDS)
        self.pipeline.clear()
        running = self._running
        if running is None or running.response_complete or not running.response_started:
            body = json.dumps({"error": {"code": status.name.lower(), "message": text}}).encode()
            self.transport.write(
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                "cache-control: no-store\r\nconnection: close\r\n\r\n".encode()
                + body
            )
            if running is not None:
                running.disconnected = True  # whatever it would answer
                cast("dict[str, Any]", running.scope)[REFUSED] = True
                running.message_event.set()  # it may be waiting for the rest
            self.transport.write_eof()
        else:
            self.transport.close()

    def _leave(self) -> None:
        self._stop_waiting()
        if self._left:
            return
        self._left = True
        self._node.arrivals.left(self)
        self._node.counters.connection_closed("none", "http")
