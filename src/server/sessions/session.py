"""The protocol state of one connection, sans-I/O: messages in, frames to the connection out.

The states are a table; an event that a state does not know is a bug and raises. Requests are handled in the order they were
sent: while one of them waits (a join that reads the store), the following ones wait in the inbox. The hot path
(`message:send`, `document:operation`) is synchronous: no task, no future.

Bounds: the inbox holds ``limits.pending_requests`` envelopes or ``limits.pending_bytes``, then reading from the socket pauses (the rest
of the message that was read still enters); bad requests are limited per minute, then the session is closed as misbehaving.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Coroutine
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, cast

from ...core import errors
from ...core.errors import Disconnect, ErrorCode, SynclineError
from ...core.wire import envelopes as wire
from ..limits import refusals
from ..limits.rates import sizes
from ..net.addresses import subscriber
from ..protocol.events import explained
from ..protocol.requests import Handler, Request, held
from ..seams.auth import Credentials
from ..seams.clock import Timer
from ..seams.outcome import Unavailable
from . import eager

if TYPE_CHECKING:
    from ..documents.collaborator import Collaborator
    from ..limits.fair_thread import Key
    from ..limits.rates import Allowance
    from ..node import Node
    from ..rooms.hub import Seat
    from .connection import Connection

log = logging.getLogger("syncline.session")

#: Errors of form: what a correct client never causes. They count against ``limits.bad_requests_per_minute``, as do wrong
#: passwords and tokens, so that guessing is bounded.
BAD_REQUESTS: Final = frozenset(
    {
        ErrorCode.MALFORMED_FRAME,
        ErrorCode.UNKNOWN_EVENT,
        ErrorCode.INVALID_DATA,
        ErrorCode.OPERATION_INVALID,
        ErrorCode.PASSWORD_WRONG,
        ErrorCode.TOKEN_INVALID,
    }
)


class State(IntEnum):
    CONNECTING = 0  # the socket is there, the user is not known
    AUTHED = 1  # credentials accepted, the user is being recorded
    OPEN = 2  # requests are served
    CLOSING = 3  # a close frame was sent
    CLOSED = 4  # the socket is gone


class Transition(IntEnum):
    CREDENTIALS = 0  # a token was good, or a guest was let in
    ACCEPTED = 1  # the user is recorded
    REJECTED = 2  # the user could not be recorded; may try again
    CLOSE = 3  # we close
    LOST = 4  # the socket is gone


TRANSITIONS: Final[dict[tuple[State, Transition], State]] = {
    (State.CONNECTING, Transition.CREDENTIALS): State.AUTHED,
    (State.CONNECTING, Transition.CLOSE): State.CLOSING,
    (State.CONNECTING, Transition.LOST): State.CLOSED,
    (State.AUTHED, Transition.ACCEPTED): State.OPEN,
    (State.AUTHED, Transition.REJECTED): State.CONNECTING,
    (State.AUTHED, Transition.CLOSE): State.CLOSING,
    (State.AUTHED, Transition.LOST): State.CLOSED,
    (State.OPEN, Transition.CLOSE): State.CLOSING,
    (State.OPEN, Transition.LOST): State.CLOSED,
    (State.CLOSING, Transition.LOST): State.CLOSED,
}


class InvalidTransition(Exception):
    """A bug: the state machine was driven in an order that cannot happen."""


class SessionGone(Exception):
    """The connection was lost while its request waited; there is nobody to answer."""


class Session:
    __slots__ = (
        "_bad",
        "_bad_since",
        "_inbox",
        "_inbox_bytes",
        "_paused",
        "_placed",
        "_waiting",
        "address",
        "allowance",
        "codec",
        "connection",
        "documents",
        "expires_at",
        "expiry",
        "guest",
        "handshake",
        "name",
        "node",
        "rooms",
        "state",
        "user",
        "warn_at",
    )

    def __init__(self, node: Node, codec: wire.Codec, address: str = "") -> None:
        """``address``: the client's; "" when it is not known."""
        self.node = node
        self.address = address
        self.codec: wire.Codec = codec
        self.connection = cast("Connection", None)  # set by ``opened``
        self.state = State.CONNECTING
        # Changed by authentication.py only.
        self.user = ""  # "" until authenticated
        self.name = ""
        self.guest = False
        self.handshake: Credentials | None = None  # of the handshake, until `auth` has come as well
        self.expires_at: float | None = None
        self.rooms: dict[str, Seat] = {}  # changed by the hub only
        self.documents: dict[str, Collaborator] = {}  # changed by the document's session only
        self.allowance: Allowance | None = None  # set by ``opened``; None: no limits
        # With when each arrived. Made when a request waits: an empty one is 768 bytes.
        self._inbox: deque[tuple[wire.Envelope, float, int]] | None = None  # and its size on the wire
        self._inbox_bytes = 0
        self._waiting = False  # a request waits; the following ones go to the inbox
        self._paused = False  # reading from the socket is paused
        self._placed = False  # its socket counts among ``node.arrivals``
        self._bad = 0
        self._bad_since = 0.0
        self.warn_at: float | None = None  # when `auth:expiring` is to be sent for the present token; None: no more
        self.expiry: Timer | None = None  # time to authenticate, then expiry warning, then expiry

    @property
    def pending(self) -> int:
        """Requests in the inbox."""
        return len(self._inbox) if self._inbox is not None else 0

    @property
    def incoming(self) -> int:
        """Bytes in memory of what its client has sent and nobody has looked at."""
        return self._inbox_bytes + self.connection.transport.unread()[0] if self.state < State.CLOSING else 0

    @property
    def waits_since(self) -> float:
        """When the first of that came, by ``Clock.monotonic``."""
        return self._inbox[0][1] if self._inbox else self.connection.transport.unread()[1]

    def step(self, transition: Transition) -> None:
        """Follows the table. Raises InvalidTransition."""
        try:
            self.state = TRANSITIONS[self.state, transition]
        except KeyError:
            raise InvalidTransition(f"{transition.name} in {self.state.name}") from None

    @property
    def about(self) -> dict[str, object]:
        """Fields of a line of the log about this client."""
        return refusals.about(self.address, user=self.user, connection=self.connection.id)

    # The transport calls these three ------------------------------------------------------------------------

    def opened(self, connection: Connection, credentials: Credentials | None) -> None:
        """The socket is upgraded. ``credentials``: from the handshake, or None: the first event must be `auth`."""
        node = self.node
        self.connection, self.allowance = connection, node.rates.connection()
        node.hub.add(self)
        node.arrivals.enter(self, connection.transport.abort, subscriber(self.address))
        self._placed = True
        node.authentication.expect(self)
        if credentials is not None:
            self.handshake = credentials
            request = Request(self, node.handlers["auth"], None, node.clock.monotonic())
            self._wait(node.authentication.accept(self, credentials), request)

    def receive(self, message: bytes, arrived: float) -> None:
        """One whole message, and when it was read, by ``Clock.monotonic``. Never raises for what the peer sent."""
        if self.state >= State.CLOSING:
            return
        envelopes, refused = wire.decode(self.codec, message, self.node.config.limits.batch_size)
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
        limits = self.node.config.limits
        return self.pending * part >= limits.pending_requests or self._inbox_bytes * part >= limits.pending_bytes

    def wrong_kind(self, arrived: float) -> None:
        """A text frame on a MessagePack connection, or the reverse."""
        if self.state < State.CLOSING:
            kind = "text" if self.codec == "json" else "binary"
            error = SynclineError(ErrorCode.MALFORMED_FRAME, f"this connection takes {kind} frames")
            Request(self, None, None, arrived).fail(error)

    def overflowed(self) -> None:
        """The reader is too slow: its queue was dropped."""
        self.close(errors.SLOW_CONSUMER)

    def lost(self, *, resumed: bool = False) -> None:
        """The socket is gone; or, ``resumed``, its client has a new one, and this one counts until it is gone, too."""
        if self._placed and not resumed:
            self._placed = False
            self.node.arrivals.left(self, subscriber(self.address), identified=bool(self.user))
        if self.state is State.CLOSED:
            return
        self.step(Transition.LOST)
        if self.expiry is not None:
            self.expiry.cancel()
        self._inbox, self._inbox_bytes = None, 0
        self.connection.lost()
        self.node.session_lost(self, resumed=resumed)

    # Requests ------------------------------------------------------------------------------------------------

    def _dispatch(self, envelope: wire.Envelope, arrived: float, size: int) -> None:
        handler = self.node.handlers.get(envelope.event)
        request = Request(self, handler, envelope.id, arrived)
        if handler is None:
            request.fail(SynclineError(ErrorCode.UNKNOWN_EVENT, f"no event {envelope.event!r}"))
            return
        if self.state is not State.OPEN and not handler.open_to_all:
            request.fail(SynclineError(ErrorCode.UNAUTHENTICATED, "authenticate first"))
            return
        self.node.counters.request(handler.event)
        try:
            self._read(handler, request, envelope)
        except SynclineError as error:
            request.fail(error)
            return
        if self.allowance is not None and (refusal := self.allowance.refusal(size)) is not None:
            request.fail(refusal)
            self.node.authentication.tell_limits(self)
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
            self.node.spawn(self._finish(waits.rest, request))
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

    def refused(self, error: SynclineError, request: Request) -> None:
        """An error reply was sent: counts it, and says so in the log."""
        self.node.counters.error(error.code.value)
        where = {name: getattr(request.data, name, None) for name in ("room", "document")}
        event = request.handler.event if request.handler else "?"
        refusals.request(error, {**self.about, "request": event, **{name: at for name, at in where.items() if at}})
        if error.code in BAD_REQUESTS:
            self.misbehaved()

    def misbehaved(self) -> None:
        """What a correct client seldom does: closes a session that keeps doing it."""
        now = self.node.clock.monotonic()
        if now - self._bad_since > 60.0:
            self._bad_since = now
            self._bad = 0
        self._bad += 1
        if self._bad > self.node.config.limits.bad_requests_per_minute:
            self.close(errors.MISBEHAVING)

    def work(self, kind: str) -> Key:
        """The key of its work in a thread."""
        return kind, subscriber(self.address), self.user

    def require_open(self) -> None:
        """After an await: raises SessionGone unless the session still lives."""
        if self.state is not State.OPEN:
            raise SessionGone

    # Out -----------------------------------------------------------------------------------------------------

    def push(self, event: str, data: object) -> None:
        """A push to this connection alone."""
        self.connection.deliver(wire.push_frame(self.codec, event, data))

    def close(self, why: Disconnect) -> None:
        """Sends what is queued and the close frame. ``why``: of ``errors.DISCONNECTS``. Idempotent."""
        if self.state >= State.CLOSING:
            return
        self.step(Transition.CLOSE)
        self._inbox, self._inbox_bytes = None, 0
        self.node.counters.disconnect(why.reason)
        refusals.ended(why, self.about)
        self.connection.close(why.code, why.reason)
