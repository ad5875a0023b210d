"""`presence:update`."""

from __future__ import annotations

from typing import Any

from ..events import PresenceUpdate
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("presence:update", PresenceUpdate)
def update(session: NativeSession, data: PresenceUpdate, request: Request) -> dict[str, Any]:
    rooms = session.services.rooms.set_status(session, data.status, bytes(data.metadata), data.room)
    return {"status": data.status, "rooms": rooms}
