"""A request on its way, and the entry of the table that says how its event is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ...core.errors import ErrorCode, SynclineError
from ...core.wire import envelopes as wire
from ..limits import refusals
from ..sessions.session import Session

#: What an envelope that waits occupies beside its data.
ENVELOPE_BYTES: Final = 400


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


def held(envelope: wire.Envelope) -> int:
    """Bytes in memory, about."""
    return ENVELOPE_BYTES + len(envelope.data)


@dataclass(slots=True, frozen=True)
class Handler:
    """One request event. ``call(session, data, request)`` returns the result, or None when it answers later."""

    event: str
    reply: str  # the event of the reply
    json: msgspec.json.Decoder[Any]
    msgpack: msgspec.msgpack.Decoder[Any]
    call: Callable[[Any, Any, Request], Any]
    waits: bool  # ``call`` is a coroutine function
    open_to_all: bool  # served before authentication
    always_replies: bool  # the result is sent as a push when the request has no id
    content: tuple[str, ...]  # the fields whose strings become a document's: they are taken as they are, or not at all


class Request:
    """One request on its way: answers at most once. ``arrived``: when it was read from the socket, by ``Clock.monotonic``."""

    __slots__ = ("arrived", "data", "handler", "id", "session")

    def __init__(self, session: Session, handler: Handler | None, id: int | None, arrived: float) -> None:
        self.session = session
        self.handler = handler
        self.id = id
        self.arrived = arrived
        self.data: Any = None

    @property
    def wanted(self) -> bool:
        """Whether its author waits for an answer to this very one."""
        return self.id is not None

    def reply(self, result: object) -> None:
        handler = self.handler
        assert handler is not None
        session = self.session
        if self.id is not None:
            session.connection.reply(wire.reply_frame(session.codec, self.id, handler.reply, result))
        elif handler.always_replies:
            session.connection.reply(wire.push_frame(session.codec, handler.reply, result))

    def fail(self, error: SynclineError) -> None:
        context: dict[str, Any] = {}
        if error.retry_after is not None:
            context["retry_after"] = error.retry_after
        if self.id is None:
            if self.handler is not None:
                context["event"] = self.handler.event
            for key in ("room", "document", "seq"):
                value = getattr(self.data, key, None)
                if value is not None:
                    context[key] = value
        session = self.session
        session.connection.deliver(wire.error_frame(session.codec, self.id, error.code.value, error.message, context))
        self._refused(error)

    def _refused(self, error: SynclineError) -> None:
        """Counts it, and says so in the log."""
        session = self.session
        session.sessions.counters.error(error.code.value)
        where = {name: getattr(self.data, name, None) for name in ("room", "document")}
        event = self.handler.event if self.handler else "?"
        refusals.request(error, {**session.about, "request": event, **{name: at for name, at in where.items() if at}})
        if error.code in BAD_REQUESTS:
            session.misbehaved()
