"""`presence:update`."""

from __future__ import annotations

from typing import Any

import msgspec

from ....core.errors import ErrorCode, SynclineError
from ....core.values.json_values import json_decoder
from ....core.wire.salvage import admissible
from ...rooms.hub import membership_of
from ..events import PresenceUpdate
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()

_json = json_decoder().decode


@EVENTS.on("presence:update", PresenceUpdate)
def update(session: NativeSession, data: PresenceUpdate, request: Request) -> dict[str, Any]:
    limit = session.services.config.presence.metadata_bytes
    metadata: bytes | None = None
    if bytes(data.metadata):
        if len(data.metadata) > 2 * limit:  # however it is written
            raise SynclineError(ErrorCode.MESSAGE_TOO_LARGE, f"presence metadata is limited to {limit} bytes")
        raw = admissible(session.codec, bytes(data.metadata))
        try:
            # Decoded and encoded anew: kept as JSON, whatever it came as.
            value = _json(raw) if session.codec == "json" else msgspec.msgpack.decode(raw)
            metadata = None if value is None else msgspec.json.encode(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise SynclineError(ErrorCode.INVALID_DATA, "the metadata has no JSON form") from error
        if metadata is not None and len(metadata) > limit:
            raise SynclineError(ErrorCode.MESSAGE_TOO_LARGE, f"presence metadata is limited to {limit} bytes")
    memberships = list(session.rooms.values()) if data.room is None else [membership_of(session, data.room)]
    for membership in memberships:
        session.services.presence.update(membership, data.status, metadata)
    return {"status": data.status, "rooms": [membership.room.name for membership in memberships]}
