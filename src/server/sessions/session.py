"""A client as the services see it: who it is, the connection over which it is told things, what it takes part in.

How its requests come in, and in which form, is a protocol's affair (protocol/native.py): a session of its own class. The states are a
table; an event that a state does not know is a bug and raises.

Bound: bad requests are limited per minute, then the session is closed as misbehaving.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, cast

from ...core import errors
from ...core.errors import Disconnect
from ...core.wire import envelopes as wire
from ..config.schema import Config
from ..limits import refusals
from ..limits.fair_thread import Key
from ..limits.rates import Allowance
from ..net.addresses import subscriber
from ..observe.counters import Counters
from ..seams.auth import Credentials
from ..seams.clock import Clock, Timer

if TYPE_CHECKING:
    from .connection import Connection


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
    """``rooms`` and ``documents`` are what it takes part in, by name: the hub's memberships and the documents' collaborators, who alone
    change them."""

    __slots__ = (
        "_bad",
        "_bad_since",
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
        "placed",
        "rooms",
        "sessions",
        "state",
        "user",
        "warn_at",
    )

    def __init__(self, sessions: Sessions, codec: wire.Codec, address: str = "") -> None:
        """``address``: the client's; "" when it is not known."""
        self.sessions = sessions
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
        self.rooms: dict[str, Any] = {}
        self.documents: dict[str, Any] = {}
        self.allowance: Allowance | None = None  # None: no limits
        self.placed = False  # its socket is among the arrivals, and the ping wheel comes by
        self._bad = 0
        self._bad_since = 0.0
        self.warn_at: float | None = None  # when `auth:expiring` is to be sent for the present token; None: no more
        self.expiry: Timer | None = None  # time to authenticate, then expiry warning, then expiry

    @property
    def pending(self) -> int:
        """Requests that wait."""
        return 0

    @property
    def incoming(self) -> int:
        """Bytes in memory of what its client has sent and nobody has looked at."""
        return 0

    @property
    def waits_since(self) -> float:
        """When the first of that came, by ``Clock.monotonic``."""
        return 0.0

    @property
    def about(self) -> dict[str, object]:
        """Fields of a line of the log about this client."""
        return refusals.about(self.address, user=self.user, connection=self.connection.id)

    def step(self, transition: Transition) -> None:
        """Follows the table. Raises InvalidTransition."""
        try:
            self.state = TRANSITIONS[self.state, transition]
        except KeyError:
            raise InvalidTransition(f"{transition.name} in {self.state.name}") from None

    def require_open(self) -> None:
        """After an await: raises SessionGone unless the session still lives."""
        if self.state is not State.OPEN:
            raise SessionGone

    def work(self, kind: str) -> Key:
        """The key of its work in a thread."""
        return kind, subscriber(self.address), self.user

    def push(self, event: str, data: object) -> None:
        """A push to this connection alone."""
        self.connection.deliver(wire.push_frame(self.codec, event, data))

    def misbehaved(self) -> None:
        """What a correct client seldom does: closes a session that keeps doing it."""
        now = self.sessions.clock.monotonic()
        if now - self._bad_since > 60.0:
            self._bad_since = now
            self._bad = 0
        self._bad += 1
        if self._bad > self.sessions.config.limits.bad_requests_per_minute:
            self.close(errors.MISBEHAVING)

    # The transport calls these -------------------------------------------------------------------------------

    def opened(self, connection: Connection, credentials: Credentials | None) -> None:
        """``credentials``: of the handshake, for a protocol that has one; here they are not looked at (``Authentication.accept``)."""
        self.connection = connection
        self.sessions.add(self)

    def receive(self, message: bytes, arrived: float) -> None:
        """One whole message, and when it was read, by ``Clock.monotonic``. Never raises for what the peer sent."""
        raise NotImplementedError

    def wrong_kind(self, arrived: float) -> None:
        """A text frame on a MessagePack connection, or the reverse."""
        raise NotImplementedError

    def overflowed(self) -> None:
        """The reader is too slow: its queue was dropped."""
        self.close(errors.SLOW_CONSUMER)

    def close(self, why: Disconnect) -> None:
        """Sends what is queued and the close frame. ``why``: of ``errors.DISCONNECTS``. Idempotent."""
        if self.state >= State.CLOSING:
            return
        self.step(Transition.CLOSE)
        self.sessions.counters.disconnect(why.reason)
        refusals.ended(why, self.about)
        self.connection.close(why.code, why.reason)

    def lost(self, *, resumed: bool = False) -> None:
        """The socket is gone; or, ``resumed``, its client has a new one, and this one counts until it is gone, too. Idempotent."""
        if self.state is State.CLOSED:
            return
        self.step(Transition.LOST)
        if self.expiry is not None:
            self.expiry.cancel()
        self.connection.lost()
        self.sessions.remove(self, resumed=resumed)


class Sessions:
    """Those of a node, by connection and by user; a user with one connection costs no collection. ``leaving``: who gives up what a
    session had, called in this order with the session and whether its client has resumed."""

    def __init__(self, config: Config, clock: Clock, counters: Counters) -> None:
        self.config = config
        self.clock = clock
        self.counters = counters
        self.connections: dict[str, Session] = {}  # connection id -> session
        self.users: dict[str, Session | list[Session]] = {}  # a list when there are several connections
        self.leaving: tuple[Callable[[Session, bool], None], ...] = ()

    def add(self, session: Session) -> None:
        self.connections[session.connection.id] = session

    def authenticated(self, session: Session) -> None:
        held = self.users.get(session.user)
        if held is None:
            self.users[session.user] = session
        elif isinstance(held, list):
            held.append(session)
        else:
            self.users[session.user] = [held, session]

    def of_user(self, user: str) -> list[Session]:
        """A user's connections on this node, in order of arrival; a copy."""
        held = self.users.get(user)
        if held is None:
            return []
        return list(held) if isinstance(held, list) else [held]

    def remove(self, session: Session, *, resumed: bool) -> None:
        self.connections.pop(session.connection.id, None)
        others = [other for other in self.of_user(session.user) if other is not session]
        if others:
            self.users[session.user] = others[0] if len(others) == 1 else others
        else:
            self.users.pop(session.user, None)
        for leave in self.leaving:
            leave(session, resumed)
