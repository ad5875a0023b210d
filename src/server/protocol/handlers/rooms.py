"""`room:create`, `room:join`, `room:leave`, `room:members`, `room:grant`, `room:digest`."""

from __future__ import annotations

from typing import Any

from ....core.rooms.room import Position, publications_raw
from ...rooms import delivery_proof
from ..events import DigestState, RoomCreate, RoomDigest, RoomGrant, RoomJoin, RoomLeave, RoomOnly
from ..native import NativeSession
from ..registry import Events
from ..requests import Request

EVENTS = Events()


@EVENTS.on("room:create", RoomCreate)
async def create(session: NativeSession, data: RoomCreate, request: Request) -> dict[str, Any]:
    await session.services.rooms.create(session, data.room, data.password, data.default_role)
    return {"room": data.room, "role": "owner"}


@EVENTS.on("room:join", RoomJoin, reply="room:joined", always_replies=True)
async def join(session: NativeSession, data: RoomJoin, request: Request) -> dict[str, Any]:
    since = None if data.recover is None else Position(data.recover.offset, data.recover.epoch)
    joined = await session.services.rooms.join(session, data.room, data.password, since, data.history)
    membership = joined.membership
    position = membership.room.group.history.position
    answer: dict[str, Any] = {
        "room": data.room,
        "role": membership.role,
        "class": membership.room.room_class,
        "position": {"offset": position.offset, "epoch": position.epoch},
        "recovered": joined.recovered,
        "publications": publications_raw(session.codec, joined.publications),
        "members": joined.members,
        "occupancy": joined.occupancy,
    }
    if data.digest:
        state = data.digest if joined.recovered and isinstance(data.digest, DigestState) else None
        own = None if state is None else (state.since, state.proven)
        answer["digest"] = delivery_proof.begin(membership, joined.publications, own, behind=joined.behind)
    return answer


@EVENTS.on("room:leave", RoomLeave)
async def leave(session: NativeSession, data: RoomLeave, request: Request) -> dict[str, Any]:
    await session.services.rooms.leave(session, data.room, resign=data.resign)
    return {"room": data.room}


@EVENTS.on("room:members", RoomOnly)
async def members(session: NativeSession, data: RoomOnly, request: Request) -> dict[str, Any]:
    return {"room": data.room, "members": await session.services.rooms.members(session, data.room)}


@EVENTS.on("room:grant", RoomGrant)
async def grant(session: NativeSession, data: RoomGrant, request: Request) -> dict[str, Any]:
    await session.services.rooms.grant(session, data.room, data.user, data.role)
    return {"room": data.room, "user": data.user, "role": data.role}


@EVENTS.on("room:digest", RoomDigest)
def digest(session: NativeSession, data: RoomDigest, request: Request) -> dict[str, Any]:
    answers = (
        delivery_proof.check(session, one.room, Position(one.offset, one.epoch), one.digest) for one in data.rooms
    )
    return {"rooms": [answer for answer in answers if answer is not None]}
