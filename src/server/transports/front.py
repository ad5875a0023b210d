"""HTTP within bounds: uvicorn's protocol, which by itself takes a head of any size, at any pace.

A head may have HEAD_BYTES, HEADERS lines and a URL of URL_BYTES, and must be there within HEAD_SECONDS; a body must go on at
BODY_RATE (how large it may be is for its route); PIPELINED requests may wait for an answer; an answer must be taken within
ANSWER_SECONDS. A connection without a request is closed after uvicorn's five seconds. RFC 9112 section 9, RFC 6585 section 5.

Answers come in the order of the requests, a refusal too: requests before it that are whole have theirs first.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..limits.refusals import Reason, about
from ..net.addresses import subscriber
from .heads import Refusal, offers_websocket, target, values

if TYPE_CHECKING:
    from .host import Host

log = logging.getLogger("syncline.http")

HEAD_BYTES: Final = 16_384
HEADERS: Final = 100
URL_BYTES: Final = 8192
HEAD_SECONDS: Final = 10.0
#: Bytes a second, looked at every HEAD_SECONDS.
BODY_RATE: Final = 1024
PIPELINED: Final = 16
ANSWER_SECONDS: Final = 60.0
#: After a refusal, what still comes is read and dropped for so long: a socket closed on it would take our answer back (RFC 9112, 9.6).
#: When the node stops, a client that takes nothing of its answer for so long is not waited for.
LINGER_SECONDS: Final = 1.0

#: What is given to the parser at once of a head, or of chunks, trailers and what else has no length.
_STEP: Final = 1024
#: Why a request is refused, by the answer.
_REASONS: Final = {
    HTTPStatus.BAD_REQUEST: Reason.MALFORMED,
    HTTPStatus.REQUEST_TIMEOUT: Reason.LATE,
    HTTPStatus.REQUEST_URI_TOO_LONG: Reason.TOO_LARGE,
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: Reason.TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS: Reason.PIPELINED,
    HTTPStatus.INTERNAL_SERVER_ERROR: Reason.INTERNAL,
    HTTPStatus.NOT_IMPLEMENTED: Reason.METHOD,
    HTTPStatus.SERVICE_UNAVAILABLE: Reason.STOPPING,
    HTTPStatus.HTTP_VERSION_NOT_SUPPORTED: Reason.MALFORMED,
}
_TOO_LARGE: Final = f"a request's head has at most {HEAD_BYTES} bytes"


class BoundedHttp(HttpToolsProtocol):
    """One HTTP connection. A stranger among ``node.arrivals`` until it ends or becomes a WebSocket."""

    def __init__(self, host: Host, peer: str, *uvicorn: Any) -> None:
        """``peer``: the address of who sends."""
        super().__init__(*uvicorn)
        self._host = host
        self._peer = peer
        self._measured = 0  # bytes since something whole was read: a head, a piece of a body, a request
        self._empty = 0  # bytes of empty lines before a request
        self._heading = True  # a head is read, or comes next
        self._tail = b""  # what the parser was given last, as far as an end may have begun in it
        self._timer: asyncio.TimerHandle | None = None
        self._reading = False  # a request has begun and is not whole
        self._plain = False  # its head asks for an upgrade that there is not
        self._length: int | None = None  # of its body, where it has said so
        self._body = self._body_seen = 0  # bytes of it, and how many there were when it was last looked at
        self._left = False
        self._deaf = (
            False  # nothing is read any more: a request was refused, the client says no more, or the node stops
        )
        self._refusal = b""  # what comes after the answers that are owed
        self._stopping = False
        self._untaken = 0  # bytes that the client had not taken when that was last looked at
        self._running: RequestResponseCycle | None = None

    # From the event loop -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.client is not None:  # for the application: whom the PROXY protocol named, else the same
            self.client = (self._peer, self.client[1]) if self._peer else None
        client = self._host.addresses.client(self._peer, ())
        self._host.arrivals.enter(self, self._drop, subscriber(client))
        self._host.counters.connection_opened("none", "http")
        self._wait(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        owed = self._owed
        if owed or (self._reading and not self._deaf):
            scope = cast("dict[str, Any]", owed[0].scope if owed else {})
            self._tell(Reason.GONE, path=scope.get("path"), method=scope.get("method"))
        self._disconnect(*owed)
        self._leave()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """The client says no more. What is whole is answered all the same, and then the connection closes; at once where nothing is."""
        if self._reading and not self._deaf:
            self._tell(Reason.GONE)
            self._withdraw()
        self._deaf = True
        owed = self._owed
        if owed:
            owed[-1].keep_alive = False
        return bool(owed)

    def data_received(self, data: bytes) -> None:
        start = 0
        while start < len(data):
            if self._deaf or self.transport.is_closing() or self.parser is None:
                return
            self._unset_keepalive_if_required()
            if self._timer is None:  # not idle any more; empty lines are no request yet
                self._wait(HEAD_SECONDS)
            part = self._part(data, start)
            start += len(part)
            if self._heading and not self._reading and not part.strip(b"\r\n"):
                self._empty += len(part)
                if self._empty > HEAD_BYTES:
                    self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)
                continue
            self._measured += len(part)
            try:
                upgrade = self._feed(part)
            except httptools.HttpParserError as error:
                self._not_taken(error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None)
                return
            if upgrade:
                if self._owed or self.transport.get_write_buffer_size():
                    # It would come into the middle of an answer, and whoever waits to go on writing would wait for ever.
                    self.refuse(HTTPStatus.BAD_REQUEST, "an upgrade waits for the answers before it")
                else:
                    self.handle_websocket_upgrade()
                return  # what follows came before our answer, which the standard forbids
            if self._measured > HEAD_BYTES:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)

    def _part(self, data: bytes, start: int) -> bytes:
        """What the parser gets next: at most to the end of a head, of a body, or of the empty lines before a request."""
        if not self._heading and self._length is not None:
            return data[start : start + self._length - self._body]
        part = data[start : start + _STEP]
        if self._heading and not self._reading and (request := part.lstrip(b"\r\n")) != part:
            return part[: len(part) - len(request)]
        known = self._tail + part
        end = known.find(b"\r\n\r\n")  # of chunks too: the last one, without trailers or with, ends like a head
        if end >= 0:
            part = part[: end + 4 - len(self._tail)]
        self._tail = b"" if end >= 0 else known[-3:]
        return part

    def _feed(self, part: bytes) -> bool:
        """Whether an upgrade to WebSocket has been read. Any other is no concern of ours (RFC 9110, 7.8), but the parser takes what follows
        for another protocol: a new one gets the head without it. Raises HttpParserError."""
        with suppress(httptools.HttpParserUpgrade):
            self.parser.feed_data(part)
            return False
        if not self._plain:
            return True
        self._plain = False
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + self.parser.get_http_version().encode()]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join(lines) + b"\r\n\r\n")
        return False

    def _not_taken(self, cause: BaseException | None) -> None:
        """The parser has stopped. ``cause``: what one of our callbacks raised."""
        if isinstance(cause, Refusal):
            self.refuse(cause.status, cause.text)
        elif cause is None or isinstance(cause, httptools.HttpParserError):
            self.refuse(HTTPStatus.BAD_REQUEST, "not HTTP/1.1")
        else:
            log.error("reading a request failed", exc_info=cause, extra=about(self._client))
            self.refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the server; it is in its log")

    def _should_upgrade(self) -> bool:
        return offers_websocket(self.parser.get_method(), self.parser.get_http_version(), self.headers)

    def handle_websocket_upgrade(self) -> None:
        self._leave()
        self.ws_protocol_class = cast("Any", partial(cast("Any", self.ws_protocol_class), peer=self._peer))
        super().handle_websocket_upgrade()

    # From the parser -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._empty = 0
        self._reading = True
        self._body = self._body_seen = 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > URL_BYTES:
            raise Refusal(HTTPStatus.REQUEST_URI_TOO_LONG, f"a URL has at most {URL_BYTES} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(self.headers) > HEADERS:  # trailers count too
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"a request has at most {HEADERS} headers")

    def on_headers_complete(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            raise Refusal(HTTPStatus.TOO_MANY_REQUESTS, "too many requests wait for an answer")
        if self._measured > HEAD_BYTES:
            raise Refusal(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, _TOO_LARGE)
        self.url = target(self.parser.get_method(), self.parser.get_http_version(), self.url, self.headers)
        self._plain = self.parser.should_upgrade() and not self._should_upgrade()
        if self._plain:
            return
        super().on_headers_complete()
        self._measured = 0
        self._heading = False
        self._length = next((int(value) for name, value in self.headers if name == b"content-length"), None)
        self._host.arrivals.heard(self)
        if self._partial is self._running:
            self._wait(HEAD_SECONDS)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._measured = 0
        self._body += len(body)

    def on_message_complete(self) -> None:
        if self._plain:
            return
        super().on_message_complete()
        self._measured = 0
        if self._partial is self._running:
            self._wait(ANSWER_SECONDS)
        self._reading = False
        self._heading = True

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._deaf:
            self._go_on()
            return
        self._stop_waiting()
        if self.transport.get_write_buffer_size():  # written, and not taken
            self._wait(ANSWER_SECONDS)
        elif self._reading and (self._partial is self._running or not self._owed):
            self._wait(HEAD_SECONDS)
        elif self._owed:
            self._wait(ANSWER_SECONDS)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle  # uvicorn's ``cycle`` is the newest, which may wait for this one's answer
        super()._start_asgi_task(cycle, app)

    # What is under way ---------------------------------------------------------------------------------------

    @property
    def _partial(self) -> RequestResponseCycle | None:
        """Of a request whose head is there and whose body is not."""
        return self.cycle if self._reading and not self._heading else None

    @property
    def _owed(self) -> list[RequestResponseCycle]:
        """Requests that wait for their answers, in order."""
        cycles = [self._running, *(cycle for cycle, _ in reversed(self.pipeline))]
        return [one for one in cycles if one is not None and not one.response_complete and not one.disconnected]

    def _disconnect(self, *cycles: RequestResponseCycle) -> None:
        """Whatever they would answer, nobody gets it."""
        for cycle in cycles:
            cycle.disconnected = True
            cycle.waiting_for_100_continue = False
            cycle.message_event.set()  # it may be waiting for the rest

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
        untaken = self.transport.get_write_buffer_size()
        if self._deaf or self.transport.is_closing():
            if self._stopping and (untaken != self._untaken if untaken else self._owed):
                self._untaken = untaken
                self._wait(LINGER_SECONDS)
            elif untaken or self._owed:
                self._give_up()
            else:
                self._drop()
        elif (self._owed and self._partial is not self._running) or (untaken and not self._reading):
            self._give_up()
        elif self._reading and self._body - self._body_seen >= BODY_RATE * HEAD_SECONDS:
            self._body_seen = self._body
            self._wait(HEAD_SECONDS)
        else:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, "the request did not come in time")

    def shutdown(self) -> None:
        """From uvicorn, when it stops: requests that are whole get their answers, as long as the client takes something of them; one
        that is not whole is refused, and nothing more is read."""
        self._stopping = True
        partial = self._partial
        if self._reading and not self._deaf and (partial is None or not partial.response_started):
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this node is stopping; send it again")
        elif not self._deaf:
            super().shutdown()
            self._deaf = True
        self._untaken = self.transport.get_write_buffer_size()
        self._wait(LINGER_SECONDS)

    # The end -------------------------------------------------------------------------------------------------

    @property
    def _client(self) -> str:
        """Whose the connection is, as far as it is known."""
        return self._host.addresses.client(self._peer, values(self.headers or (), b"x-forwarded-for"))

    def _tell(self, reason: Reason, **more: object) -> None:
        self._host.refusals.refused(reason, self._client, **more)

    def _give_up(self) -> None:
        """An answer is not taken."""
        self._tell(Reason.UNTAKEN)
        self._drop()

    def _drop(self) -> None:
        """Ends at once. Why has been told."""
        self._deaf = True
        self._disconnect(*self._owed)
        self.transport.abort()

    def refuse(self, status: HTTPStatus, text: str) -> None:
        """Answers what is read now when its turn comes, and closes; only closes when an answer to it has begun."""
        self._host.counters.http_refused[status] += 1
        self._tell(_REASONS[status], detail=text)
        self._deaf = True
        partial = self._partial
        if partial is None or not partial.response_started:
            body = json.dumps({"error": {"code": status.name.lower(), "message": text}}).encode()
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
                "cache-control: no-store\r\nconnection: close\r\n\r\n"
            )
            self._refusal = head.encode() + body
        self._withdraw()
        self._go_on()

    def _withdraw(self) -> None:
        """The request that is not whole, unless an answer to it has begun."""
        partial = self._partial
        if partial is not None and not partial.response_started:
            if partial is not self._running:
                self.pipeline.popleft()  # the newest is the first
            self._disconnect(partial)

    def _go_on(self) -> None:
        """To the next answer that is owed; after the last one comes the refusal, and the end."""
        if not self._stopping:
            self._wait(ANSWER_SECONDS if self._owed or self.transport.get_write_buffer_size() else LINGER_SECONDS)
        if self._owed or self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self.flow.resume_reading()  # what comes is dropped
        self.transport.write(self._refusal)
        self.transport.write_eof()

    def _leave(self) -> None:
        self._stop_waiting()
        if self._left:
            return
        self._left = True
        self._host.arrivals.left(self)
        self._host.counters.connection_closed("none", "http")
