"""What can be done with rooms: made, joined, left, looked into, granted roles in. In plain values: callers (handlers, or a
program in the process) decode what came, and make an answer of what is returned.

A role that was read is only used as long as it is known that nobody has changed it: joins look again when somebody did, grants are
conditional writes (ARCHITECTURE.md, Decisions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from ...core.errors import ErrorCode, SynclineError
from ...core.rooms.room import Position, Publication
from ...core.values.json_values import json_decoder
from ...core.wire.salvage import admissible
from ..config.schema import Config
from ..limits.fair_thread import FairThread
from ..limits.guesses import Guesses
from ..net.addresses import subscriber
from ..net.names import require_name
from ..observe.counters import Counters
from ..seams.clock import Clock
from ..seams.outcome import Conflict, LastOwner
from ..seams.store import RoomRecord, Store
from ..sessions.session import Session
from . import passwords
from .hub import Hub, LiveRoom, Membership, membership_of
from .presence import PresenceTracker

STATUSES: Final = ("online", "away", "busy")

_json = json_decoder().decode


@dataclass(slots=True, frozen=True)
class Joined:
    """What a client is told that has joined: complete at the moment when it is returned. ``recovered``: whether ``publications`` are
    all that it missed; None: it did not ask. ``members`` and ``occupancy`` are as the protocol shows them. ``behind``: it was too slow
    to be sent them before."""

    membership: Membership
    recovered: bool | None
    publications: list[Publication]
    members: Sequence[Any]
    occupancy: dict[str, int]
    behind: bool


class Rooms:
    """One per node. ``hashing``: for password hashes, each of which takes milliseconds of several cores and 64 MiB: one at a time."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        hub: Hub,
        presence: PresenceTracker,
        guesses: Guesses,
        hashing: FairThread,
        counters: Counters,
    ) -> None:
        self.hub = hub
        self.presence = presence
        self._config = config
        self._store = store
        self._clock = clock
        self._guesses = guesses
        self._hashing = hashing
        self._counters = counters

    async def create(self, session: Session, name: str, password: str | None, default_role: str | None) -> None:
        """Its maker is its owner. Raises SynclineError (room_exists, rate_limited, invalid_data: no name), Unavailable, SessionGone."""
        require_name(name)
        hashed = None
        if password is not None:
            work, check = session.work("create"), session.require_open
            hashed = await self._hashing.run(work, passwords.hash_password, password, check=check)
        record = RoomRecord(name, session.user, default_role, hashed, self._clock.time())
        if not await self._store.create_room(record):
            raise SynclineError(ErrorCode.ROOM_EXISTS, f"the room {name!r} exists")

    # Joining -------------------------------------------------------------------------------------------------

    async def join(
        self, session: Session, name: str, password: str | None = None, since: Position | None = None, last: int = 0
    ) -> Joined:
        """``since``: what follows it is asked for, or else the ``last`` so many publications.

        Raises SynclineError (limit_exceeded, room_not_found, forbidden, password_required, password_wrong, rate_limited), Unavailable,
        SessionGone."""
        hub = self.hub
        if name not in session.rooms and len(session.rooms) >= self._config.limits.rooms:
            raise SynclineError(
                ErrorCode.LIMIT_EXCEEDED, f"at most {self._config.limits.rooms} rooms on one connection"
            )
        room = hub.rooms.get(name)
        record = None
        if room is None:
            record = await self._record(session, name)
            room = await hub.open(name)
        room.pins += 1
        try:
            if room.record is None:
                room.record = record or await self._record(session, name)
            while True:
                grants = room.grants
                role = hub.role_of(room, session.user) or await self._admit(session, room, password)
                elsewhere = await self.presence.elsewhere(room)
                recovered, publications = await self._missed(room, since, last)
                if grants == room.grants:
                    break  # else somebody's role was changed meanwhile: this one's, perhaps
            # From here to the reply nothing awaits: no publication can fall between.
            behind = session.connection.caught_up(name)
            new = name not in session.rooms
            membership = hub.enter(room, session, role)
        finally:
            room.pins -= 1
            hub.close_if_empty(room)
        if new:
            self.presence.entered(membership)
        members = self.presence.listed(room, session, elsewhere)
        return Joined(membership, recovered, publications, members, self.presence.occupancy(room, elsewhere), behind)

    async def _record(self, session: Session, name: str) -> RoomRecord:
        """The stored room; made when joins make rooms. Raises SynclineError."""
        record = await self._store.room(name)
        if record is None and self._config.rooms.create_on_join:
            require_name(name)
            fresh = RoomRecord(name, session.user, self._config.rooms.default_role, None, self._clock.time())
            # Else somebody else was quicker.
            record = fresh if await self._store.create_room(fresh) else await self._store.room(name)
        if record is None:
            raise SynclineError(ErrorCode.ROOM_NOT_FOUND, f"no room {name!r}")
        return record

    async def _admit(self, session: Session, room: LiveRoom, password: str | None) -> str:
        """The role with which the session's user may enter. Raises SynclineError."""
        name, record = room.name, room.record
        assert record is not None
        role = await self._store.room_role(name, session.user)
        if role is not None:
            return role
        if record.default_role is None:
            raise SynclineError(ErrorCode.FORBIDDEN, "this room is open to invited users only")
        if record.password is not None:
            if password is None:
                raise SynclineError(ErrorCode.PASSWORD_REQUIRED, "this room has a password")
            await self._check_password(session, name, record.password, password)
        try:
            await self._store.set_room_role(name, session.user, record.default_role, {session.user: None})
        except Conflict:  # somebody gave the user a role meanwhile
            return await self._admit(session, room, password)
        return record.default_role

    async def _check_password(self, session: Session, room: str, hashed: str, password: str) -> None:
        """Raises SynclineError (password_wrong, rate_limited, unavailable), SessionGone."""
        by = subscriber(session.address) or session.user
        self._guesses.take(room, by)
        wrong = False
        try:
            verify, work = passwords.verify_password, session.work("join")
            wrong = not await self._hashing.run(work, verify, hashed, password, check=session.require_open)
        finally:
            if not wrong:
                self._guesses.give_back(room, by)
        if wrong:
            self._counters.wrong_passwords += 1
            raise SynclineError(ErrorCode.PASSWORD_WRONG, "wrong password")

    async def _missed(self, room: LiveRoom, since: Position | None, last: int) -> tuple[bool | None, list[Publication]]:
        limit = self._config.rooms.history_size
        recovered: bool | None = None
        if since is not None:
            publications = await self.hub.recover(room, since, limit)
            if publications is not None:
                return True, publications
            recovered = False
        return recovered, await self.hub.last(room, min(last, limit))

    # Leaving -------------------------------------------------------------------------------------------------

    async def leave(self, session: Session, name: str, *, resign: bool = False) -> None:
        """``resign``: the user's role is given up, too. Raises SynclineError (not_a_member, forbidden), Unavailable."""
        membership = membership_of(session, name)
        if resign:
            await self._resign(session.user, name)
        self._leave_room(membership)
        if resign:
            self.role_changed(name, session.user, None)  # the user's other connections are out, too

    async def _resign(self, user: str, room: str) -> None:
        """Raises SynclineError(forbidden)."""
        while True:
            role = await self._store.room_role(room, user)
            if role == "owner":
                raise SynclineError(ErrorCode.FORBIDDEN, "an owner hands the room over before resigning")
            try:
                return await self._store.set_room_role(room, user, None, {user: role})
            except Conflict:
                continue  # changed meanwhile

    def _leave_room(self, membership: Membership) -> None:
        self.hub.leave(membership)
        self.presence.left(membership, lost=False)

    def session_gone(self, session: Session, resumed: bool) -> None:
        """Its memberships are given up: the socket is gone."""
        for membership in self.hub.leave_all(session):
            self.presence.left(membership, lost=True, resumed=resumed)

    # Members -------------------------------------------------------------------------------------------------

    async def members(self, session: Session, name: str) -> list[dict[str, Any]]:
        """All who have a role, by user, with how they are. As it is when this returns. Raises SynclineError(not_a_member), Unavailable."""
        room = membership_of(session, name).room
        names: dict[str, str] = {}  # of those who are not here
        with self.presence.reading(name) as reading:
            roles = await self._store.room_members(name)
            for user in roles:
                if user not in room.users:
                    record = await self._store.user(user)
                    names[user] = record.name if record is not None else ""
            states = await self.presence.members(room, roles, reading)
        # From the last read to the reply nothing awaits: it is not older than what was told before it.
        listed = []
        for user, role in sorted(roles.items()):
            state = states[user]
            listed.append({**state, "name": state["name"] or names.get(user) or user, "role": role})
        return listed

    def set_status(self, session: Session, status: str, metadata: bytes = b"", room: str | None = None) -> list[str]:
        """How the session's user is, in one room or in all that it is in; returns those. ``metadata``: one value in the session's codec;
        b"": none.

        Raises SynclineError (not_a_member, message_too_large, invalid_data)."""
        if status not in STATUSES:
            raise SynclineError(ErrorCode.INVALID_DATA, f"no status: {status!r}")
        shown = self._metadata(session, metadata) if metadata else None
        memberships = list(session.rooms.values()) if room is None else [membership_of(session, room)]
        for membership in memberships:
            self.presence.update(membership, status, shown)
        return [membership.room.name for membership in memberships]

    def _metadata(self, session: Session, metadata: bytes) -> bytes | None:
        """As JSON, whatever it came as; None for null."""
        limit = self._config.presence.metadata_bytes
        too_large = SynclineError(ErrorCode.MESSAGE_TOO_LARGE, f"presence metadata is limited to {limit} bytes")
        if len(metadata) > 2 * limit:  # however it is written
            raise too_large
        raw = admissible(session.codec, metadata)
        try:
            value = _json(raw) if session.codec == "json" else msgspec.msgpack.decode(raw)
            shown = None if value is None else msgspec.json.encode(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise SynclineError(ErrorCode.INVALID_DATA, "the metadata has no JSON form") from error
        if shown is not None and len(shown) > limit:
            raise too_large
        return shown

    async def grant(self, session: Session, name: str, user: str, role: str | None) -> None:
        """Gives ``user`` a role, or takes it away (None). Raises SynclineError (not_a_member, forbidden), Unavailable."""
        store = self._store
        membership_of(session, name)
        while True:
            own = await store.room_role(name, session.user)
            present = await store.room_role(name, user)
            if not _may_grant(own, present, role):
                raise SynclineError(ErrorCode.FORBIDDEN, "your role does not allow this")
            try:
                await store.set_room_role(name, user, role, {session.user: own, user: present})
            except Conflict:
                continue  # one of the two was changed meanwhile
            except LastOwner as error:
                raise SynclineError(ErrorCode.FORBIDDEN, "a room keeps at least one owner") from error
            break
        self.role_changed(name, user, role)

    def role_changed(self, name: str, user: str, role: str | None) -> None:
        """A grant takes effect at once; None takes the user out of the room."""
        for membership in self.hub.role_changed(name, user, role):
            if role is None:
                self._leave_room(membership)
                membership.session.push("room:removed", {"room": name})
            else:
                membership.session.push("room:role", {"room": name, "role": role})
        if role is None:
            self.presence.removed(name, user)


def _may_grant(own: str | None, present: str | None, role: str | None) -> bool:
    """Whether somebody may give another one, who is ``present``, a role in the room."""
    if own == "moderator":
        return present in (None, "member", "reader") and role in (None, "member", "reader")
    return own == "owner"
