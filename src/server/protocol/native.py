"""A session of the native protocol, version 1 (docs/protocol.md), sans-I/O: messages in, frames to the connection out.

Requests are handled in the order they were sent: while one of them waits (a join that reads the store), the following ones wait in the
inbox. The hot path (`message:send`, `document:operation`) is synchronous: no task, no future.

Bounds: the inbox holds ``limits.pending_requests`` envelopes or ``limits.pending_bytes``, then reading from the socket pauses (the rest
of the message that was read still enters).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from ...core.errors import Disconnect, ErrorCode, SynclineError
from ...core.wire import envelopes as wire
from ..limits.rates import sizes
from ..net.addresses import subscriber
from ..seams.auth import Credentials
from ..seams.outcome import Unavailable
from ..sessions.session import Session, SessionGone, State
from . import eager
from .events import explained
from .requests import Handler, Request, held
from .services import Services

if TYPE_CHECKING:
    from ..sessions.connection import Connection

log = logging.getLogger("syncline.session")


class NativeSession(Session):
    __slots__ = ("_inbox", "_inbox_bytes", "_paused", "_waiting", "services")

    def __init__(self, services: Services, codec: wire.Codec, address: str = "") -> None:
        """``address``: the client's; "" when it is not known."""
        super().__init__(services.sessions, codec, address)
        self.services = services
        # With when each arrived. Made when a request waits: an empty one is 768 bytes.
        self._inbox: deque[tuple[wire.Envelope, float, int]] | None = None  # and its size on the wire
        self._inbox_bytes = 0
        self._waiting = False  # a request waits; the following ones go to the inbox
        self._paused = False  # reading from the socket is paused

    @property
    def pending(self) -> int:
        """Requests in the inbox."""
        return len(self._inbox) if self._inbox is not None else 0

    @property
    def incoming(self) -> int:
        return self._inbox_bytes + self.connection.transport.unread()[0] if self.state < State.CLOSING else 0

    @property
    def waits_since(self) -> float:
        return self._inbox[0][1] if self._inbox else self.connection.transport.unread()[1]

    # The transport calls these ------------------------------------------------------------------------

    def opened(self, connection: Connection, credentials: Credentials | None) -> None:
        services = self.services
        super().opened(connection, credentials)
        self.allowance = services.rates.connection()
        services.arrivals.enter(self, connection.transport.abort, subscriber(self.address))
        self.placed = True
        services.authentication.expect(self)
        if credentials is not None:
            self.handshake = credentials
            request = Request(self, services.handlers["auth"], None, services.clock.monotonic())
            self._wait(services.authentication.accept(self, credentials), request)

    def receive(self, message: bytes, arrived: float) -> None:
        if self.state >= State.CLOSING:
            return
        envelopes, refused = wire.decode(self.codec, message, self.services.config.limits.batch_size)
        for id, error in refused:
            Request(self, None, id, arrived).fail(error)
            if self.state >= State.CLOSING:
                return
        if refused and refused[-1].error.code is ErrorCode.LIMIT_EXCEEDED:
            self.misbehaved()  # limits.batch_size was told; other limits may be the node's trouble, not the client's
            if self.state >= State.CLOSING:
                return
        for envelope, size in zip(envelopes, sizes(len(message), envelopes), strict=True):
            if self._waiting:
                if self._inbox is None:
                    self._inbox = deque()
                wire.detach(envelope)
                self._inbox.append((envelope, arrived, size))
                self._inbox_bytes += held(envelope)
            else:
                self._dispatch(envelope, arrived, size)
            if self.state >= State.CLOSING:
                return
        if self._inbox and not self._paused and self._full():
            self._paused = True
            self.connection.transport.pause_reading()

    def _full(self, part: int = 1) -> bool:
        """Whether the inbox holds at least one ``part``-th of what it may."""
        limits = self.services.config.limits
        return self.pending * part >= limits.pending_requests or self._inbox_bytes * part >= limits.pending_bytes

    def wrong_kind(self, arrived: float) -> None:
        if self.state < State.CLOSING:
            kind = "text" if self.codec == "json" else "binary"
            error = SynclineError(ErrorCode.MALFORMED_FRAME, f"this connection takes {kind} frames")
            Request(self, None, None, arrived).fail(error)

    def lost(self, *, resumed: bool = False) -> None:
        if self.placed and not resumed:
            self.placed = False
            self.services.arrivals.left(self, subscriber(self.address), identified=bool(self.user))
        self._inbox, self._inbox_bytes = None, 0
        super().lost(resumed=resumed)

    def close(self, why: Disconnect) -> None:
        self._inbox, self._inbox_bytes = None, 0
        super().close(why)

    # Requests ------------------------------------------------------------------------------------------------

    def _dispatch(self, envelope: wire.Envelope, arrived: float, size: int) -> None:
        handler = self.services.handlers.get(envelope.event)
        request = Request(self, handler, envelope.id, arrived)
        if handler is None:
            request.fail(SynclineError(ErrorCode.UNKNOWN_EVENT, f"no event {envelope.event!r}"))
            return
        if self.state is not State.OPEN and not handler.open_to_all:
            request.fail(SynclineError(ErrorCode.UNAUTHENTICATED, "authenticate first"))
            return
        self.services.counters.request(handler.event)
        try:
            self._read(handler, request, envelope)
        except SynclineError as error:
            request.fail(error)
            return
        if self.allowance is not None and (refusal := self.allowance.refusal(size)) is not None:
            request.fail(refusal)
            self.services.authentication.tell_limits(self)
            return
        if handler.waits:
            self._wait(handler.call(self, request.data, request), request)
            return
        try:
            result = handler.call(self, request.data, request)
        except Exception as error:
            self._failed(request, error)
        else:
            if result is not None:
                request.reply(result)

    def _read(self, handler: Handler, request: Request, envelope: wire.Envelope) -> None:
        """Decodes the data of a request. Raises SynclineError(invalid_data, operation_invalid)."""
        raw = envelope.data
        try:
            if self.codec == "json":
                request.data = handler.json.decode(raw if raw else b"{}")
            else:
                request.data = handler.msgpack.decode(raw if raw else b"\x80")
            if (
                handler.content
                and isinstance(envelope, wire.Mended)
                and wire.was_mended(self.codec, envelope, handler.content)
            ):
                # What its author sees is not what would be stored.
                raise SynclineError(ErrorCode.OPERATION_INVALID, "half a surrogate pair")
        except (ValueError, RecursionError) as error:
            mended = wire.mended(self.codec, envelope)
            if mended is not None:
                self._read(handler, request, mended)
                return
            text = explained(error, handler.json.type)
            raise SynclineError(ErrorCode.INVALID_DATA, text) from error

    def _wait(self, work: Coroutine[Any, Any, Any], request: Request) -> None:
        """Answers at once when the work does not really wait."""
        try:
            result = eager.run(work)
        except eager.Waits as waits:
            self._waiting = True
            self.services.spawn(self._finish(waits.rest, request))
        except SessionGone:
            pass
        except Exception as error:
            self._failed(request, error)
        else:
            if result is not None and self.state < State.CLOSING:
                request.reply(result)

    async def _finish(self, work: Coroutine[Any, Any, Any], request: Request) -> None:
        try:
            result = await work
            if result is not None and self.state < State.CLOSING:
                request.reply(result)
        except SessionGone:
            pass
        except Exception as error:
            self._failed(request, error)
        finally:
            self._waiting = False
            self._drain_inbox()

    def _drain_inbox(self) -> None:
        while self._inbox and not self._waiting and self.state < State.CLOSING:
            envelope, arrived, size = self._inbox.popleft()
            self._inbox_bytes -= held(envelope)
            self._dispatch(envelope, arrived, size)
        if not self._inbox:
            self._inbox = None
        if self._paused and self.state < State.CLOSING and not (self._inbox and self._full(2)):
            self._paused = False
            self.connection.transport.resume_reading()

    def _failed(self, request: Request, error: Exception) -> None:
        if isinstance(error, SynclineError):
            known = error
        elif isinstance(error, Unavailable):
            log.warning("backend unavailable: %s", error, extra=self.about)
            known = SynclineError(ErrorCode.UNAVAILABLE, "the server could not reach its store; try again")
        else:
            # The text stays here: it may name what is inside.
            event = request.handler.event if request.handler else "?"
            log.error("request %s failed", event, exc_info=error, extra=self.about)
            known = SynclineError(ErrorCode.INTERNAL, "internal error")
        if self.state < State.CLOSING:
            request.fail(known)
