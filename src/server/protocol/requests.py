"""A request on its way, and the entry of the table that says how its event is served."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ...core.errors import SynclineError
from ...core.wire import envelopes as wire

if TYPE_CHECKING:
    from ..sessions.session import Session


#: What an envelope that waits occupies beside its data.
ENVELOPE_BYTES: Final = 400


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
    call: Callable[[Session, Any, Request], Any]
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
        session.refused(error, self)
