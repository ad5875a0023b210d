"""`message:send` and `event:custom`: the hot path, synchronous from the frame to the fan-out."""

from __future__ import annotations

import logging
from typing import Any

import msgspec

from ....core.errors import ErrorCode, SynclineError
from ....core.rooms.room import Position, Publication
from ....core.wire import envelopes as wire
from ....core.wire.salvage import admissible
from ...seams.outcome import NotWritten
from ...sessions.session import Session
from ..events import CustomEvent, MessageSend, Targets
from ..registry import Events
from ..requests import Request
from .rooms import seat_of

log = logging.getLogger("syncline.messages")

EVENTS = Events()


def payload_of(session: Session, raw: msgspec.Raw) -> bytes:
    """The raw payload: one that every member can decode. Raises SynclineError(invalid_data)."""
    payload = bytes(raw)
    if not payload:
        return b"null" if session.codec == "json" else b"\xc0"
    return admissible(session.codec, payload)


@EVENTS.on("message:send", MessageSend)
def send(session: Session, data: MessageSend, request: Request) -> None:
    seat = seat_of(session, data.room)
    if seat.role == "reader":
        raise SynclineError(ErrorCode.FORBIDDEN, "readers do not send")
    node = session.node
    payload = payload_of(session, data.data)
    publication = Publication(
        data.room, session.user, session.name, node.clock.time(), session.codec, payload, key=data.key
    )
    if not data.echo:
        publication.skip = session.connection.id

    def published(position: Position | None, error: Exception | None) -> None:
        # The publication has reached the room's members by now; this answers its author.
        node.counters.published("client", node.clock.monotonic() - request.arrived, publication, position)
        if position is None:
            log.warning("publish to %s failed: %s", data.room, error, extra=session.about)
            request.fail(_refusal(error))
            return
        result: dict[str, Any] = {"room": data.room, "offset": position.offset, "epoch": position.epoch}
        if publication.offset != position.offset:
            result["duplicate"] = True
        request.reply(result)

    node.publish(publication, published, data.idempotency_key or "")


def _refusal(error: Exception | None) -> SynclineError:
    if isinstance(error, NotWritten):
        return SynclineError(ErrorCode.UNAVAILABLE, "the message was not stored; try again")
    text = "the message may have been stored, or not; send it again with the same idempotency_key"
    return SynclineError(ErrorCode.FATE_UNKNOWN, text)


@EVENTS.on("event:custom", CustomEvent)
def custom(session: Session, data: CustomEvent, request: Request) -> dict[str, Any]:
    seat = seat_of(session, data.room)
    if seat.role == "reader":
        raise SynclineError(ErrorCode.FORBIDDEN, "readers do not send")
    event = {
        "room": data.room,
        "name": data.name,
        "user": session.user,
        "data": msgspec.Raw(payload_of(session, data.data)),
    }
    node, push = session.node, wire.Push("event:custom", event, session.codec)
    if isinstance(data.to, msgspec.UnsetType):
        node.broker.publish_ephemeral(data.room, "event:custom", push.pack())
    else:
        targets = Targets(tuple(data.to.users), tuple(data.to.connections))
        node.send_to(data.room, targets, push)
    node.counters.custom_events["client"].observe(node.clock.monotonic() - request.arrived)
    return {"room": data.room}
