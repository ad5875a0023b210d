"""`message:send` and `event:custom`: the hot path, synchronous from the frame to the fan-out."""

from __future__ import annotations

from typing import Any

import msgspec

from ....core.rooms.room import Position
from ...rooms.messages import Targets, refusal
from ..events import CustomEvent, MessageSend
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


def payload_of(session: NativeSession, raw: msgspec.Raw) -> bytes:
    """As it came; null when there is none."""
    return bytes(raw) or (b"null" if session.codec == "json" else b"\xc0")


@EVENTS.on("message:send", MessageSend)
def send(session: NativeSession, data: MessageSend, request: Request) -> None:
    def published(position: Position | None, again: bool, error: Exception | None) -> None:
        if position is None:
            request.fail(refusal(error))
            return
        result: dict[str, Any] = {"room": data.room, "offset": position.offset, "epoch": position.epoch}
        if again:
            result["duplicate"] = True
        request.reply(result)

    key, once = data.key, data.idempotency_key or ""
    payload = payload_of(session, data.data)
    session.services.messages.send(session, data.room, payload, published, request.arrived, key, data.echo, once)


@EVENTS.on("event:custom", CustomEvent)
def custom(session: NativeSession, data: CustomEvent, request: Request) -> dict[str, Any]:
    targets = None if isinstance(data.to, msgspec.UnsetType) else Targets((*data.to.users,), (*data.to.connections,))
    payload = payload_of(session, data.data)
    session.services.messages.tell(session, data.room, data.name, payload, targets, arrived=request.arrived)
    return {"room": data.room}
