"""`room:create`, `room:join`, `room:leave`, `room:members`, `room:grant`."""

from __future__ import annotations

from typing import Any

from ....core.errors import ErrorCode, SynclineError
from ....core.rooms.room import Position, Publication, publications_raw
from ...net.addresses import subscriber
from ...rooms import passwords
from ...rooms.hub import LiveRoom, Seat
from ...seams.outcome import Conflict, LastOwner
from ...seams.store import RoomRecord
from ...sessions.session import Session
from ..events import DigestState, RoomCreate, RoomGrant, RoomJoin, RoomLeave, RoomOnly
from ..registry import Events
from ..requests import Request
from . import digest

EVENTS = Events()


def seat_of(session: Session, room: str) -> Seat:
    """The session's seat in a room that it has joined. Raises SynclineError(not_a_member)."""
    seat = session.rooms.get(room)
    if seat is None:
        raise SynclineError(ErrorCode.NOT_A_MEMBER, f"join the room {room!r} first")
    return seat


@EVENTS.on("room:create", RoomCreate)
async def create(session: Session, data: RoomCreate, request: Request) -> dict[str, Any]:
    node = session.node
    hashed = None
    if data.password is not None:
        work = session.work("create")
        hashed = await node.hashing.run(work, passwords.hash_password, data.password, check=session.require_open)
    record = RoomRecord(data.room, session.user, data.default_role, hashed, node.clock.time())
    if not await node.store.create_room(record):
        raise SynclineError(ErrorCode.ROOM_EXISTS, f"the room {data.room!r} exists")
    return {"room": data.room, "role": "owner"}


@EVENTS.on("room:join", RoomJoin, reply="room:joined", always_replies=True)
async def join(session: Session, data: RoomJoin, request: Request) -> dict[str, Any]:
    node = session.node
    if data.room not in session.rooms and len(session.rooms) >= node.config.limits.rooms:
        raise SynclineError(ErrorCode.LIMIT_EXCEEDED, f"at most {node.config.limits.rooms} rooms on one connection")
    room = node.hub.rooms.get(data.room)
    record = None
    if room is None:
        record = await _record(session, data.room)
        room = await node.hub.open(data.room)
    room.pins += 1
    try:
        if room.record is None:
            room.record = record or await _record(session, data.room)
        while True:
            grants = room.grants
            role = node.hub.role_of(room, session.user) or await _admit(session, room, data.password)
            elsewhere = await node.presence.elsewhere(room)
            recovered, publications = await _missed(session, room, data)
            if grants == room.grants:
                break  # else somebody's role was changed meanwhile: this one's, perhaps
        # From here to the reply nothing awaits: no publication can fall between.
        behind = session.connection.caught_up(data.room)
        new = data.room not in session.rooms
        seat = node.hub.sit(room, session, role)
    finally:
        room.pins -= 1
        node.hub.close_if_empty(room)
    if new:
        node.presence.entered(seat)
    position = room.group.history.position
    joined: dict[str, Any] = {
        "room": data.room,
        "role": seat.role,
        "class": room.room_class,
        "position": {"offset": position.offset, "epoch": position.epoch},
        "recovered": recovered,
        "publications": publications_raw(session.codec, publications),
        "members": node.presence.listed(room, session, elsewhere),
        "occupancy": node.presence.occupancy(room, elsewhere),
    }
    if data.digest:
        all_to_all = room.room_class == digest.CLASS
        state = data.digest if recovered and isinstance(data.digest, DigestState) else None
        joined["digest"] = digest.begin(seat, publications, state, behind=behind) if all_to_all else None
    return joined


async def _record(session: Session, name: str) -> RoomRecord:
    """The stored room; made when joins make rooms. Raises SynclineError."""
    node = session.node
    record = await node.store.room(name)
    if record is None and node.config.rooms.create_on_join:
        fresh = RoomRecord(name, session.user, node.config.rooms.default_role, None, node.clock.time())
        # Else somebody else was quicker.
        record = fresh if await node.store.create_room(fresh) else await node.store.room(name)
    if record is None:
        raise SynclineError(ErrorCode.ROOM_NOT_FOUND, f"no room {name!r}")
    return record


async def _admit(session: Session, room: LiveRoom, password: str | None) -> str:
    """The role with which the session's user may enter. Raises SynclineError."""
    node, name, record = session.node, room.name, room.record
    assert record is not None
    role = await node.store.room_role(name, session.user)
    if role is not None:
        return role
    if record.default_role is None:
        raise SynclineError(ErrorCode.FORBIDDEN, "this room is open to invited users only")
    if record.password is not None:
        if password is None:
            raise SynclineError(ErrorCode.PASSWORD_REQUIRED, "this room has a password")
        await _check_password(session, name, record.password, password)
    try:
        await node.store.set_room_role(name, session.user, record.default_role, {session.user: None})
    except Conflict:  # somebody gave the user a role meanwhile
        return await _admit(session, room, password)
    return record.default_role


async def _check_password(session: Session, room: str, hashed: str, password: str) -> None:
    """Raises SynclineError (password_wrong, rate_limited, unavailable), SessionGone."""
    node, by = session.node, subscriber(session.address) or session.user
    node.guesses.take(room, by)
    wrong = False
    try:
        verify, work = passwords.verify_password, session.work("join")
        wrong = not await node.hashing.run(work, verify, hashed, password, check=session.require_open)
    finally:
        if not wrong:
            node.guesses.give_back(room, by)
    if wrong:
        node.counters.wrong_passwords += 1
        raise SynclineError(ErrorCode.PASSWORD_WRONG, "wrong password")


async def _missed(session: Session, room: LiveRoom, data: RoomJoin) -> tuple[bool | None, list[Publication]]:
    hub, limit = session.node.hub, session.node.config.rooms.history_size
    recovered: bool | None = None
    if data.recover is not None:
        since = Position(data.recover.offset, data.recover.epoch)
        publications = await hub.recover(room, since, limit)
        if publications is not None:
            return True, publications
        recovered = False
    return recovered, await hub.last(room, min(data.history, limit))


@EVENTS.on("room:leave", RoomLeave)
async def leave(session: Session, data: RoomLeave, request: Request) -> dict[str, Any]:
    seat = seat_of(session, data.room)
    node = session.node
    if data.resign:
        await _resign(session, data.room)
    node.leave_room(seat, lost=False)
    if data.resign:
        node.room_role_changed(data.room, session.user, None)  # the user's other connections are out, too
    return {"room": data.room}


async def _resign(session: Session, room: str) -> None:
    """Raises SynclineError(forbidden)."""
    store = session.node.store
    while True:
        role = await store.room_role(room, session.user)
        if role == "owner":
            raise SynclineError(ErrorCode.FORBIDDEN, "an owner hands the room over before resigning")
        try:
            return await store.set_room_role(room, session.user, None, {session.user: role})
        except Conflict:
            continue  # changed meanwhile


@EVENTS.on("room:members", RoomOnly)
async def members(session: Session, data: RoomOnly, request: Request) -> dict[str, Any]:
    node = session.node
    room = seat_of(session, data.room).room
    names: dict[str, str] = {}  # of those who are not here
    with node.presence.reading(data.room) as reading:
        roles = await node.store.room_members(data.room)
        for user in roles:
            if user not in room.users:
                record = await node.store.user(user)
                names[user] = record.name if record is not None else ""
        states = await node.presence.members(room, roles, reading)
    # From the last read to the reply nothing awaits: it is not older than what was told before it.
    listed = []
    for user, role in sorted(roles.items()):
        state = states[user]
        listed.append({**state, "name": state["name"] or names.get(user) or user, "role": role})
    return {"room": data.room, "members": listed}


@EVENTS.on("room:grant", RoomGrant)
async def grant(session: Session, data: RoomGrant, request: Request) -> dict[str, Any]:
    node, store = session.node, session.node.store
    seat_of(session, data.room)
    while True:
        own = await store.room_role(data.room, session.user)
        present = await store.room_role(data.room, data.user)
        if not _may_grant(own, present, data.role):
            raise SynclineError(ErrorCode.FORBIDDEN, "your role does not allow this")
        try:
            await store.set_room_role(data.room, data.user, data.role, {session.user: own, data.user: present})
        except Conflict:
            continue  # one of the two was changed meanwhile
        except LastOwner as error:
            raise SynclineError(ErrorCode.FORBIDDEN, "a room keeps at least one owner") from error
        break
    node.room_role_changed(data.room, data.user, data.role)
    return {"room": data.room, "user": data.user, "role": data.role}


def _may_grant(own: str | None, present: str | None, role: str | None) -> bool:
    """Whether somebody may give another one, who is ``present``, a role in the room."""
    if own == "moderator":
        return present in (None, "member", "reader") and role in (None, "member", "reader")
    return own == "owner"
