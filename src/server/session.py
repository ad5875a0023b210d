"""The protocol state of one connection, sans-I/O: messages in, frames to the connection out.

The states are a table; an event that a state does not know is a bug and raises. Requests are handled in the order they were
sent: while one of them waits (a join that reads the store), the following ones wait in the inbox. The hot path
(`message:send`, `document:operation`) is synchronous: no task, no future.

Bounds: the inbox holds ``limits.pending_requests`` envelopes, then reading from the socket pauses (what one read had
already delivered still enters); bad requests are limited per minute, then the session is closed as misbehaving.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from ..core import errors, wire
from ..core.errors import Disconnect, ErrorCode, SynclineError
from .requests import Request
from .seams import Credentials, Timer, Unavailable

if TYPE_CHECKING:
    from .collaborator import Collaborator
    from .connection import Connection
    from .hub import Seat
    from .node import Node
    from .rates import Allowance

log = logging.getLogger("syncline.session")

#: Errors of form: what a correct client never causes. They count against ``limits.bad_requests_per_minute``, as do wrong
#: passwords and tokens, so that guessing is bounded.
BAD_REQUESTS: Final = frozenset(
    {
        ErrorCode.MALFORMED_FRAME,
        ErrorCode.UNKNOWN_EVENT,
        ErrorCode.INVALID_DATA,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.OPERATION_INVALID,
        ErrorCode.PASSWORD_WRONG,
        ErrorCode.TOKEN_INVALID,
        ErrorCode.LIMIT_EXCEEDED,
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
        "_expiry",
        "_inbox",
        "_paused",
        "_waiting",
        "_warned",
        "allowance",
        "codec",
        "connection",
        "documents",
        "expires_at",
        "guest",
        "name",
        "node",
        "rooms",
        "state",
        "user",
    )

    def __init__(self, node: Node, codec: wire.Codec) -> None:
        self.node = node
        self.codec: wire.Codec = codec
        self.connection = cast("Connection", None)  # set by ``opened``
        self.state = State.CONNECTING
        self.user = ""  # "" until authenticated
        self.name = ""
        self.guest = False
        self.expires_at: float | None = None
        self.rooms: dict[str, Seat] = {}  # changed by the hub only
        self.documents: dict[str, Collaborator] = {}  # changed by the document's session only
        self.allowance: Allowance | None = None  # set by ``opened``; None: no limits
        self._inbox: deque[wire.Envelope] = deque()
        self._waiting = False  # a request waits; the following ones go to the inbox
        self._paused = False  # reading from the socket is paused
        self._bad = 0
        self._bad_since = 0.0
        self._warned = False  # `auth:expiring` was sent for the present token
        self._expiry: Timer | None = None  # time to authenticate, then expiry warning, then expiry

    @property
    def pending(self) -> int:
        """Requests in the inbox."""
        return len(self._inbox)

    def _step(self, transition: Transition) -> None:
        try:
            self.state = TRANSITIONS[self.state, transition]
        except KeyError:
            raise InvalidTransition(f"{transition.name} in {self.state.name}") from None

    # The transport calls these three ------------------------------------------------------------------------

    def opened(self, connection: Connection, credentials: Credentials | None) -> None:
        """The socket is upgraded. ``credentials``: from the handshake, or None: the first event must be `auth`."""
        node = self.node
        self.connection, self.allowance = connection, node.rates.connection()
        node.hub.add(self)
        timeout = node.config.auth.timeout_seconds
        self._expiry = node.clock.call_later(timeout, self.close, errors.AUTHENTICATION_TIMEOUT)
        if credentials is not None:
            self._wait(self._accept(credentials, token=None), Request(self, node.handlers["auth"], None))

    def receive(self, message: bytes) -> None:
        """One whole message. Never raises for what the peer sent."""
        if self.state >= State.CLOSING:
            return
        try:
            envelopes = wire.decode(self.codec, message, self.node.config.limits.batch_size)
        except SynclineError as error:
            Request(self, None, None).fail(error)
            return
        for envelope in envelopes:
            if self._waiting:
                self._inbox.append(envelope)
            else:
                self._dispatch(envelope)
            if self.state >= State.CLOSING:
                return
        if len(self._inbox) >= self.node.config.limits.pending_requests and not self._paused:
            self._paused = True
            self.connection.transport.pause_reading()

    def wrong_kind(self) -> None:
        """A text frame on a MessagePack connection, or the reverse."""
        if self.state < State.CLOSING:
            kind = "text" if self.codec == "json" else "binary"
            error = SynclineError(ErrorCode.MALFORMED_FRAME, f"this connection takes {kind} frames")
            Request(self, None, None).fail(error)

    def overflowed(self) -> None:
        """The reader is too slow: its queue was dropped."""
        self.close(errors.SLOW_CONSUMER)

    def lost(self) -> None:
        """The socket is gone."""
        if self.state is State.CLOSED:
            return
        self._step(Transition.LOST)
        if self._expiry is not None:
            self._expiry.cancel()
        self._inbox.clear()
        self.connection.lost()
        self.node.session_lost(self)

    # Requests ------------------------------------------------------------------------------------------------

    def _dispatch(self, envelope: wire.Envelope) -> None:
        handler = self.node.handlers.get(envelope.event)
        request = Request(self, handler, envelope.id)
        if handler is None:
            request.fail(SynclineError(ErrorCode.UNKNOWN_EVENT, f"no event {envelope.event!r}"))
            return
        if self.state is not State.OPEN and not handler.open_to_all:
            request.fail(SynclineError(ErrorCode.UNAUTHENTICATED, "authenticate first"))
            return
        self.node.counters.request(handler.event)
        raw = envelope.data
        try:
            if self.codec == "json":
                data = handler.json.decode(raw if raw else b"{}")
            else:
                data = handler.msgpack.decode(raw if raw else b"\x80")
        except (ValueError, RecursionError) as error:
            text = str(error) if isinstance(error, msgspec.DecodeError) else "not decodable"
            request.fail(SynclineError(ErrorCode.INVALID_DATA, text))
            return
        request.data = data
        if self.allowance is not None and (refusal := self.allowance.refusal(len(raw))) is not None:
            request.fail(refusal)
            return
        if handler.waits:
            self._wait(handler.call(self, data, request), request)
            return
        try:
            result = handler.call(self, data, request)
        except Exception as error:
            self._failed(request, error)
        else:
            if result is not None:
                request.reply(result)

    def _wait(self, work: Awaitable[Any], request: Request) -> None:
        self._waiting = True
        self.node.spawn(self._finish(work, request))

    async def _finish(self, work: Awaitable[Any], request: Request) -> None:
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
            self._dispatch(self._inbox.popleft())
        low = self.node.config.limits.pending_requests // 2
        if self._paused and self.state < State.CLOSING and len(self._inbox) <= low:
            self._paused = False
            self.connection.transport.resume_reading()

    def _failed(self, request: Request, error: Exception) -> None:
        if isinstance(error, SynclineError):
            known = error
        elif isinstance(error, Unavailable):
            log.warning("backend unavailable: %s", error)
            known = SynclineError(ErrorCode.UNAVAILABLE, "the server could not reach its store; try again")
        else:
            # The text stays here: it may name what is inside.
            event = request.handler.event if request.handler else "?"
            log.error("request %s failed", event, exc_info=error)
            known = SynclineError(ErrorCode.INTERNAL, "internal error")
        if self.state < State.CLOSING:
            request.fail(known)

    def count_error(self, code: ErrorCode) -> None:
        """Counts an error reply; closes a session that keeps misbehaving."""
        self.node.counters.error(code.value)
        if code not in BAD_REQUESTS:
            return
        now = self.node.clock.monotonic()
        if now - self._bad_since > 60.0:
            self._bad_since = now
            self._bad = 0
        self._bad += 1
        if self._bad > self.node.config.limits.bad_requests_per_minute:
            self.close(errors.MISBEHAVING)

    def require_open(self) -> None:
        """After an await: raises SessionGone unless the session still lives."""
        if self.state is not State.OPEN:
            raise SessionGone

    # Authentication ------------------------------------------------------------------------------------------

    async def authenticate(self, token: str | None, name: str) -> dict[str, Any]:
        """The `auth` event. Raises SynclineError."""
        if self.state is not State.CONNECTING:
            raise SynclineError(ErrorCode.ALREADY_AUTHENTICATED, "this connection has a user already")
        auth = self.node.auth
        if token is not None:
            try:
                credentials = auth.authenticate(token)
            except SynclineError:
                self.node.counters.auth_failures += 1
                raise
            name = name.strip()
            if not credentials.guest or name in ("", credentials.name):
                return await self._accept(credentials, token=None)
            user = credentials.user  # the same guest by another name
        elif auth.guests:
            user = "guest-" + self.node.new_id()
            name = name.strip() or "Guest " + user[-4:]
        else:
            raise SynclineError(ErrorCode.UNAUTHENTICATED, "a token is required")
        lifetime = self.node.config.auth.guest_token_seconds
        token = auth.issue(user, name, ttl=lifetime, guest=True)
        expires_at = self.node.clock.time() + lifetime
        return await self._accept(Credentials(user, name, expires_at, guest=True), token=token)

    async def _accept(self, credentials: Credentials, *, token: str | None) -> dict[str, Any]:
        self._step(Transition.CREDENTIALS)
        try:
            await self.node.record_user(credentials)
        except Exception:
            if self.state is State.AUTHED:
                self._step(Transition.REJECTED)
            raise
        if self.state is not State.AUTHED:
            raise SessionGone
        self._step(Transition.ACCEPTED)
        self.user = credentials.user
        self.name = credentials.name or credentials.user
        self.guest = credentials.guest
        self.node.hub.authenticated(self)
        self.node.rates.opened(self.user, self.allowance)
        self._set_expiry(credentials.expires_at)
        result = {
            "user": self.user,
            "name": self.name,
            "connection": self.connection.id,
            "guest": self.guest,
            "expires_at": self.expires_at,
            "ping_seconds": self.node.config.limits.ping_seconds,
            "version": self.node.version,
        }
        if token is not None:
            result["token"] = token
        return result

    def refresh(self, token: str | None) -> dict[str, Any]:
        """The `auth:refresh` event: a new expiry for the same user. Raises SynclineError."""
        auth = self.node.auth
        issued = None
        if token is None:
            if not self.guest:
                raise SynclineError(ErrorCode.INVALID_DATA, "a token is required")
            issued = token = auth.issue(self.user, self.name, ttl=self.node.config.auth.guest_token_seconds, guest=True)
        credentials = auth.authenticate(token)
        if credentials.user != self.user:
            raise SynclineError(ErrorCode.TOKEN_INVALID, "the token is for another user")
        self._set_expiry(credentials.expires_at)
        result: dict[str, Any] = {"expires_at": credentials.expires_at}
        if issued is not None:
            result["token"] = issued
        return result

    def _set_expiry(self, expires_at: float | None) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self.expires_at = expires_at
        self._warned = False
        self._check_expiry()

    def _check_expiry(self) -> None:
        """Warns, then closes; armed again each time, so that no timer is longer than a day."""
        if self.expires_at is None or self.state is not State.OPEN:
            return
        left = self.expires_at - self.node.clock.time()
        if left <= 0:
            self.close(errors.TOKEN_EXPIRED)
            return
        warning = self.node.config.auth.expiry_warning_seconds
        if left <= warning and not self._warned:
            self._warned = True
            self.push("auth:expiring", {"expires_at": self.expires_at, "seconds_left": left})
        wait = left if self._warned or warning == 0 else left - warning
        # Never less than a millisecond: a timer that fires early must not spin.
        self._expiry = self.node.clock.call_later(min(max(wait, 0.001), 86_400.0), self._check_expiry)

    # Out -----------------------------------------------------------------------------------------------------

    def push(self, event: str, data: object) -> None:
        """A push to this connection alone."""
        self.connection.deliver(wire.push_frame(self.codec, event, data))

    def close(self, why: Disconnect) -> None:
        """Sends what is queued and the close frame. Idempotent."""
        if self.state >= State.CLOSING:
            return
        self._step(Transition.CLOSE)
        self.node.counters.disconnect(why.reason or str(why.code))
        self.connection.close(why.code, why.reason)
