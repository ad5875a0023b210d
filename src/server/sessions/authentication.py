"""Who a session speaks for: `auth`, `auth:refresh`, the time to authenticate, the warning and the end when a token expires."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ... import __version__
from ...core import errors
from ...core.errors import ErrorCode, SynclineError
from ..config.schema import Config
from ..limits.arrivals import Arrivals
from ..limits.rates import Rates
from ..net.addresses import subscriber
from ..seams.auth import Auth, Credentials
from .ids import new_id
from .session import Session, SessionGone, Sessions, State, Transition
from .users import Users

#: When an address may try again that has too many connections, in seconds.
RETRY_SECONDS: Final = 10.0
#: The part of what is left of a token's life that is kept for getting the next one, where ``auth.expiry_warning_seconds`` is more.
WARNING_PART: Final = 1 / 3


class Authentication:
    """One per node. Changes ``user``, ``name``, ``guest`` and ``expires_at`` of sessions; nobody else does."""

    def __init__(
        self,
        config: Config,
        auth: Auth,
        users: Users,
        sessions: Sessions,
        arrivals: Arrivals,
        rates: Rates,
        *,
        comes_by: float,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        """``comes_by``: ``watch`` is called for each session that is ``placed`` at least once in so many seconds."""
        self.auth = auth
        self._config = config
        self._users = users
        self._sessions = sessions
        self._counters = sessions.counters
        self._clock = sessions.clock
        self._arrivals = arrivals
        self._rates = rates
        self._comes_by = comes_by
        self._call_soon = call_soon
        self._common = self._common_limits()
        self._untold: set[Session] = set()  # in this turn of the loop

    def expect(self, session: Session) -> None:
        """A new connection without a user: it has ``auth.timeout_seconds`` to say who it is."""
        session.expiry = self._clock.call_later(
            self._config.auth.timeout_seconds, session.close, errors.AUTHENTICATION_TIMEOUT
        )

    async def authenticate(
        self, session: Session, token: str | None, name: str, resume: str | None = None
    ) -> dict[str, Any]:
        """The `auth` event. Raises SynclineError."""
        result = await self._authenticate(session, token, name)
        if resume is not None:
            result["resumed"] = self._resume(session, resume)
        return result

    def check(self, token: str) -> Credentials:
        """Whom a token speaks for. Raises SynclineError(token_invalid, token_expired), which is counted."""
        try:
            return self.auth.authenticate(token)
        except SynclineError:
            self._counters.auth_failures += 1
            raise

    def _resume(self, session: Session, connection: str) -> bool:
        """Ends the same user's old connection, half-open perhaps; what it was in rooms carries over without notices."""
        old = self._sessions.connections.get(connection)
        if old is None or old is session or old.user != session.user:
            return False
        old.close(errors.RESUMED)
        old.lost(resumed=True)
        return True

    async def _authenticate(self, session: Session, token: str | None, name: str) -> dict[str, Any]:
        auth = self.auth
        shown, session.handshake = session.handshake, None
        if shown is not None:
            return await self._confirm(session, shown, token)
        if session.state is not State.CONNECTING:
            raise SynclineError(ErrorCode.ALREADY_AUTHENTICATED, "this connection has a user already")
        if token is not None:
            credentials = self.check(token)
            name = name.strip()
            if not credentials.guest or name in ("", credentials.name):
                return await self.accept(session, credentials)
            user = credentials.user  # the same guest by another name
        elif auth.guests:
            user = "guest-" + new_id()
            name = name.strip() or "Guest " + user[-4:]
        else:
            raise SynclineError(ErrorCode.UNAUTHENTICATED, "a token is required")
        lifetime = self._config.auth.guest_token_seconds
        token = auth.issue(user, name, ttl=lifetime, guest=True)
        expires_at = self._clock.time() + lifetime
        return await self.accept(session, Credentials(user, name, expires_at, guest=True), issued=token)

    async def _confirm(self, session: Session, shown: Credentials, token: str | None) -> dict[str, Any]:
        """The first `auth` of a connection whose handshake has said already for whom it is, as clients send it that do not know: the newer
        token of the same user holds."""
        credentials = shown if token is None else self.check(token)
        if credentials.user != shown.user:
            self._counters.auth_failures += 1
            raise SynclineError(ErrorCode.TOKEN_INVALID, "the token is for another user than the handshake's")
        if session.state is State.CONNECTING:  # the user could not be recorded then
            return await self.accept(session, credentials)
        if token is not None:
            self._set_expiry(session, credentials.expires_at)
        return self._accepted(session)

    async def accept(self, session: Session, credentials: Credentials, *, issued: str | None = None) -> dict[str, Any]:
        """The credentials are good. ``issued``: the token that a guest was given. Raises Unavailable, SessionGone."""
        if self._arrivals.full_for(subscriber(session.address)):  # since its handshake
            self._counters.address_refused += 1
            raise SynclineError(ErrorCode.RATE_LIMITED, "too many connections from your address", RETRY_SECONDS)
        session.step(Transition.CREDENTIALS)
        try:
            await self._users.record(credentials, known=issued is None)
        except Exception as error:
            self._counters.auth_failures += isinstance(error, SynclineError)
            if session.state is State.AUTHED:
                session.step(Transition.REJECTED)
            raise
        if session.state is not State.AUTHED:
            raise SessionGone
        session.step(Transition.ACCEPTED)
        session.user = credentials.user
        session.name = credentials.name or credentials.user
        session.guest = credentials.guest
        if session.placed:
            self._arrivals.identified(session, subscriber(session.address))
        self._sessions.authenticated(session)
        self._rates.opened(session)
        self._set_expiry(session, credentials.expires_at)
        result = self._accepted(session)
        if issued is not None:
            result["token"] = issued
        return result

    def _accepted(self, session: Session) -> dict[str, Any]:
        limits = self._config.limits
        return {
            "user": session.user,
            "name": session.name,
            "connection": session.connection.id,
            "guest": session.guest,
            "expires_at": session.expires_at,
            "ping_seconds": limits.ping_seconds,
            "version": __version__,
            "limits": {"message_bytes": limits.message_bytes, **self._common, **self._rates.told(session)},
        }

    def _common_limits(self) -> dict[str, float]:
        """Those that hold for open connections when they are changed, beside the rates."""
        config = self._config
        return {
            "batch_size": config.limits.batch_size,
            "rooms": config.limits.rooms,
            "documents": config.limits.documents,
            "idempotency_seconds": config.rooms.idempotency_seconds,
        }

    def reconfigured(self, rates: bool) -> None:
        """The configuration is another one, ``rates``: those are. Open connections are told. O(sessions)."""
        before, self._common = self._common, self._common_limits()
        if rates or before != self._common:
            for session in self._sessions.connections.values():
                self.tell_limits(session)

    def tell_limits(self, session: Session) -> None:
        """The client does not know how much it may ask for: `auth:limits`, once for all of this turn that says so."""
        if not self._untold:
            self._call_soon(self._tell_limits)
        self._untold.add(session)

    def _tell_limits(self) -> None:
        untold, self._untold = self._untold, set()
        for session in untold:
            if session.state is State.OPEN:
                session.push("auth:limits", {"limits": self._common | self._rates.told(session)})

    def refresh(self, session: Session, token: str | None) -> dict[str, Any]:
        """The `auth:refresh` event: a new expiry for the same user. Raises SynclineError."""
        auth = self.auth
        issued = None
        if token is None:
            if not session.guest:
                raise SynclineError(ErrorCode.INVALID_DATA, "a token is required")
            lifetime = self._config.auth.guest_token_seconds
            issued = token = auth.issue(session.user, session.name, ttl=lifetime, guest=True)
        credentials = self.check(token)
        if credentials.user != session.user:
            self._counters.auth_failures += 1
            raise SynclineError(ErrorCode.TOKEN_INVALID, "the token is for another user")
        self._set_expiry(session, credentials.expires_at)
        result: dict[str, Any] = {"expires_at": credentials.expires_at}
        if issued is not None:
            result["token"] = issued
        return result

    def _set_expiry(self, session: Session, expires_at: float | None) -> None:
        if session.expiry is not None:
            session.expiry.cancel()
            session.expiry = None
        # Once for each token: who comes back with the same one knows that it ends.
        if expires_at is None:
            session.warn_at = None
        elif expires_at != session.expires_at:
            now, warning = self._clock.time(), self._config.auth.expiry_warning_seconds
            end = self._end(expires_at)
            session.warn_at = end - min(warning, (end - now) * WARNING_PART) if warning else None
        session.expires_at = expires_at
        self.watch(session)

    def _end(self, expires_at: float) -> float:
        """When a token ends whose `exp` is ``expires_at``: for connections it has opened as for those that it may open."""
        return expires_at + self._config.auth.leeway_seconds

    def watch(self, session: Session) -> None:
        """Warns and closes when it is time. Only what is due before the ping wheel comes by again gets a timer."""
        if session.expires_at is None or session.state is not State.OPEN or session.expiry is not None:
            return
        now, end = self._clock.time(), self._end(session.expires_at)
        if now >= end:
            session.close(errors.TOKEN_EXPIRED)
            return
        if session.warn_at is not None and now >= session.warn_at:
            session.warn_at = None
            session.push("auth:expiring", {"expires_at": session.expires_at, "seconds_left": end - now})
        wait = (end if session.warn_at is None else session.warn_at) - now
        if wait <= self._comes_by or not session.placed:
            # Never less than a millisecond: a timer that fires early must not spin.
            session.expiry = self._clock.call_later(max(wait, 0.001), self._due, session)

    def _due(self, session: Session) -> None:
        session.expiry = None
        self.watch(session)
