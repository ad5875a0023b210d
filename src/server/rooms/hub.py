"""The rooms of this node, and who is in which. The maps that must agree are changed here only.

A room is *live* on this node while a connection of it is in it; the hub subscribes it at the broker with the first one and
unsubscribes after the last one. A live room remembers its record, and its memberships the roles of who is there; the roles of who was there
lately are remembered too. ``role_changed`` keeps them right, so joining a live room reads the store at most once per new user. (With
several nodes over one store a grant on another one must reach ``role_changed`` here.)

Bound: ``recent`` (user, room) roles of who is away, the longest away goes first. Memory: a membership is one object; a user with one
connection in a room, or one connection at all, costs no collection of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

from ...core.errors import ErrorCode, SynclineError
from ...core.rooms.delivery_proof import epoch_seed, item_hash
from ...core.rooms.room import HistoryRing, Position, Publication, Room
from ...core.wire.envelopes import Push
from ..seams.broker import Broker
from ..seams.outcome import Unrecoverable
from ..seams.store import RoomRecord
from ..sessions.session import Session, Sessions

log = logging.getLogger("syncline.hub")


class Membership:
    """One session in one room, and how it is there.

    ``role``: None when it was taken away, and the membership with it. ``status``, ``metadata`` (raw JSON or None) and ``last_seen`` (Unix
    seconds, when it said so last) are the presence tracker's.
    """

    __slots__ = ("last_seen", "metadata", "proven", "role", "room", "session", "status")

    def __init__(self, room: LiveRoom, session: Session, role: str, now: float) -> None:
        self.room = room
        self.session = session
        self.role: str | None = role
        self.status = "online"
        self.metadata: bytes | None = None
        self.last_seen = now
        self.proven: Position | None = (
            None  # up to where its deliveries are accounted for; None: it asked for no digest
        )

    @property
    def user(self) -> str:
        return self.session.user

    @property
    def name(self) -> str:
        return self.session.name


def membership_of(session: Session, room: str) -> Membership:
    """The session's membership in a room that it has joined. Raises SynclineError(not_a_member)."""
    membership: Membership | None = session.rooms.get(room)
    if membership is None:
        raise SynclineError(ErrorCode.NOT_A_MEMBER, f"join the room {room!r} first")
    return membership


class LiveRoom:
    """A room that has members on this node: the fan-out group and the memberships, per user.

    ``pins``: joins under way, which keep the room live while they wait. ``grants``: how often a role in it was changed.
    ``counting``, ``sample``: the presence tracker's (presence.py).
    """

    __slots__ = ("counting", "grants", "group", "name", "pins", "record", "room_class", "sample", "users")

    def __init__(self, name: str, group: Room) -> None:
        self.name = name
        self.group = group
        self.room_class = group.room_class
        self.record: RoomRecord | None = None
        self.users: dict[str, Membership | list[Membership]] = {}  # a list when the user has several connections here
        self.pins = 0
        self.grants = 0
        self.counting = False
        self.sample: object = None

    def memberships(self, user: str) -> list[Membership]:
        """Of one user, in order of arrival; a copy."""
        held = self.users.get(user)
        if held is None:
            return []
        return [held] if isinstance(held, Membership) else list(held)

    def __iter__(self) -> Iterator[Membership]:
        for held in self.users.values():
            if isinstance(held, Membership):
                yield held
            else:
                yield from held


class Hub:
    """``history``: (count, bytes, seconds) of publications that a live room keeps at hand; ``now``: Unix time.
    ``room_class``: of a room's name."""

    def __init__(
        self,
        broker: Broker,
        sessions: Sessions,
        spawn: Callable[..., object],
        history: tuple[int, int, float],
        now: Callable[[], float],
        room_class: Callable[[str], str] = lambda name: "history",
        recent: int = 0,
    ) -> None:
        self._broker = broker
        self._sessions = sessions
        self._now = now
        self._spawn = spawn
        self._history = history
        self._room_class = room_class
        self.rooms: dict[str, LiveRoom] = {}
        self.recent = recent
        self._away: OrderedDict[tuple[str, str], str] = OrderedDict()  # (user, room) -> role, by when they left
        self._moving: dict[str, asyncio.Future[None]] = {}  # rooms being subscribed or unsubscribed

    # Rooms ---------------------------------------------------------------------------------------------------

    async def open(self, name: str) -> LiveRoom:
        """The live room, subscribed at the broker. Pin it before the next await, else it may close again."""
        while (room := self.rooms.get(name)) is None:
            moving = self._moving.get(name)
            if moving is not None:
                await asyncio.shield(moving)
                continue
            await self._move(name, subscribe=True)
        return room

    async def _move(self, name: str, *, subscribe: bool) -> None:
        # One subscription or unsubscription of a room at a time, else a late one of them would undo the newer.
        done = self._moving[name] = asyncio.get_running_loop().create_future()
        try:
            if subscribe:
                position = await self._broker.subscribe(name)
                ring = HistoryRing(position.epoch, position.offset, *self._history)
                self.rooms[name] = LiveRoom(name, Room(name, ring, self._room_class(name)))
            else:
                await self._broker.unsubscribe(name)
        finally:
            del self._moving[name]
            done.set_result(None)

    def enter(self, room: LiveRoom, session: Session, role: str) -> Membership:
        """Adds the session. Entering again just sets the role. Raises SessionGone when the connection was lost."""
        session.require_open()
        membership: Membership | None = session.rooms.get(room.name)
        if membership is not None:
            membership.role = role
            return membership
        membership = Membership(room, session, role, self._now())
        held = room.users.get(session.user)
        if held is None:
            room.users[session.user] = membership
            self._away.pop((session.user, room.name), None)
        elif isinstance(held, list):
            held.append(membership)
        else:
            room.users[session.user] = [held, membership]
        session.rooms[room.name] = membership
        room.group.add(session.connection)
        return membership

    def leave(self, membership: Membership) -> None:
        """Takes the membership away. Idempotent."""
        room, session = membership.room, membership.session
        if session.rooms.pop(room.name, None) is None:
            return
        room.group.discard(session.connection)
        session.connection.caught_up(room.name)
        others = [other for other in room.memberships(session.user) if other is not membership]
        if others:
            room.users[session.user] = others[0] if len(others) == 1 else others
        else:
            del room.users[session.user]
            self._remember(session.user, room.name, membership.role)
        self.close_if_empty(room)

    def leave_all(self, session: Session) -> list[Membership]:
        """Takes the session out of its rooms; returns the memberships that it had."""
        memberships: list[Membership] = list(session.rooms.values())
        for membership in memberships:
            self.leave(membership)
        return memberships

    def _remember(self, user: str, room: str, role: str | None) -> None:
        if role is None:  # it was taken away
            return
        self._away[user, room] = role
        while len(self._away) > self.recent:
            self._away.popitem(last=False)

    @property
    def remembered(self) -> int:
        """Roles of users who are away."""
        return len(self._away)

    def role_of(self, room: LiveRoom, user: str) -> str | None:
        """The stored role of a user in a live room, when it is known here."""
        held = room.users.get(user)
        if held is None:
            return self._away.get((user, room.name))
        return held.role if isinstance(held, Membership) else held[0].role

    def role_changed(self, name: str, user: str, role: str | None) -> list[Membership]:
        """The store has a new role for the user: all that was read before is void. Returns the user's memberships that had another."""
        self._away.pop((user, name), None)
        room = self.rooms.get(name)
        if room is None:
            return []
        room.grants += 1
        memberships = [membership for membership in room.memberships(user) if membership.role != role]
        for membership in memberships:
            membership.role = role
        return memberships

    def close_if_empty(self, room: LiveRoom) -> None:
        if room.users or room.pins or self.rooms.get(room.name) is not room:
            return
        del self.rooms[room.name]
        self._spawn(self._unsubscribe(room.name))

    async def _unsubscribe(self, name: str) -> None:
        while (moving := self._moving.get(name)) is not None:
            await asyncio.shield(moving)
        if name not in self.rooms:  # nobody came back meanwhile
            await self._move(name, subscribe=False)

    def sweep(self) -> None:
        """Frees what has grown too old in the live rooms. O(rooms)."""
        now = self._now()
        for room in self.rooms.values():
            room.group.history.expire(now)

    # Publications --------------------------------------------------------------------------------------------

    async def recover(self, room: LiveRoom, since: Position, limit: int) -> list[Publication] | None:
        """What follows ``since`` up to the room's newest publication, or None when it cannot be had.

        Complete at the moment of return: whoever enters before the next await misses nothing.
        """
        ring = room.group.history
        ring.expire(self._now())
        live = ring.since(since.offset, since.epoch)
        if live is not None:
            return live
        try:
            history = await self._broker.history(room.name, since, limit)
        except Unrecoverable:
            return None
        return _joined(history.publications, history.position, ring)

    async def last(self, room: LiveRoom, count: int) -> list[Publication]:
        """The newest ``count`` publications, complete at the moment of return as in ``recover``."""
        if count == 0:
            return []
        ring = room.group.history
        ring.expire(self._now())
        if len(ring) >= count or len(ring) == ring.position.offset:
            return ring.last(count)
        history = await self._broker.history(room.name, None, count)
        joined = _joined(history.publications, history.position, ring)
        return ring.last(count) if joined is None else joined[-count:]

    def on_publication(self, publication: Publication) -> int:
        """Fans a publication out to its room; returns the deliveries."""
        room = self.rooms.get(publication.room)
        if room is None:
            return 0
        author = self._sessions.connections.get(publication.skip) if publication.skip else None
        if author is None:
            return room.group.publish(publication)
        taken = room.group.publish(publication, author.connection)
        if room.room_class == "history" and room.name in author.rooms and not author.connection.behind_in(room.name):
            # In the place of the publication: the author's position must move on in order, its answer may come later.
            payload = publication.payload(author.codec)
            hashed = item_hash(epoch_seed(publication.epoch), publication.offset, payload)
            sent = {"room": room.name, "offset": publication.offset, "epoch": publication.epoch, "hash": hashed}
            author.push("message:sent", sent)
        return taken

    def deliver_to(self, name: str, users: Iterable[str], connections: Iterable[str], push: Push) -> int:
        """A push for some in a room, or (``name`` "") anywhere on this node: at most once to each connection."""
        to: dict[Session, None] = {}
        for user in users:
            to.update(dict.fromkeys(self._sessions.of_user(user)))
        for id in connections:
            if (session := self._sessions.connections.get(id)) is not None and session.user:
                to[session] = None
        taken = 0
        for session in to:
            if not name or name in session.rooms:
                taken += session.connection.deliver_volatile(push.frame(session.codec))
        return taken

    def broadcast(self, name: str, push: Push) -> int:
        """A push without position to everyone in the room except ``push.skip``."""
        room = self.rooms.get(name)
        if room is None:
            return 0
        skipped = self._sessions.connections.get(push.skip) if push.skip else None
        return room.group.broadcast(push, None if skipped is None else skipped.connection)


def _joined(stored: list[Publication], at: Position, ring: HistoryRing) -> list[Publication] | None:
    """What the broker had up to ``at``, and what came to the live room while it was asked. None: a gap between."""
    here = ring.position
    if at.epoch == here.epoch and at.offset > here.offset:
        # The broker is ahead of what it has delivered: the rest comes live.
        return [publication for publication in stored if publication.offset <= here.offset]
    live = ring.since(at.offset, at.epoch)
    if live is None:
        return None
    return stored + live
