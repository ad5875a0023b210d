"""The node-local registry: connections, users, rooms and who sits in which. The maps that must agree are changed here only.

A room is *live* on this node while a connection of it sits in it; the hub subscribes it at the broker with the first one and
unsubscribes after the last one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from ..core.room import HistoryRing, Position, Publication, Room
from ..core.wire import Push
from .seams import Broker, Unrecoverable
from .session import Session

log = logging.getLogger("syncline.hub")


@dataclass(slots=True)
class Seat:
    """One session in one room."""

    room: LiveRoom
    session: Session
    role: str
    proven: Position | None = None  # up to where its deliveries are accounted for; None: it asked for no digest


class LiveRoom:
    """A room that has members on this node: the fan-out group and the seats, per user.

    ``pins``: joins under way, which keep the room live while they wait.
    """

    __slots__ = ("group", "name", "pins", "room_class", "users")

    def __init__(self, name: str, group: Room) -> None:
        self.name = name
        self.group = group
        self.room_class = group.room_class
        self.users: dict[str, dict[str, Seat]] = {}  # user -> connection id -> seat
        self.pins = 0


class Hub:
    """``history``: (count, bytes, seconds) of publications that a live room keeps at hand; ``now``: Unix time.
    ``room_class``: of a room's name."""

    def __init__(
        self,
        broker: Broker,
        spawn: Callable[..., object],
        history: tuple[int, int, float],
        now: Callable[[], float],
        room_class: Callable[[str], str] = lambda name: "history",
    ) -> None:
        self._broker = broker
        self._now = now
        self._spawn = spawn
        self._history = history
        self._room_class = room_class
        self.sessions: dict[str, Session] = {}  # connection id -> session
        self.users: dict[str, set[Session]] = {}
        self.rooms: dict[str, LiveRoom] = {}
        self._moving: dict[str, asyncio.Future[None]] = {}  # rooms being subscribed or unsubscribed

    # Connections and users -----------------------------------------------------------------------------------

    def add(self, session: Session) -> None:
        self.sessions[session.connection.id] = session

    def authenticated(self, session: Session) -> None:
        self.users.setdefault(session.user, set()).add(session)

    def remove(self, session: Session) -> list[Seat]:
        """Forgets the session and takes it out of its rooms; returns the seats that it had."""
        self.sessions.pop(session.connection.id, None)
        sessions = self.users.get(session.user)
        if sessions is not None:
            sessions.discard(session)
            if not sessions:
                del self.users[session.user]
        seats = list(session.rooms.values())
        for seat in seats:
            self.leave(seat)
        return seats

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

    def sit(self, room: LiveRoom, session: Session, role: str) -> Seat:
        """Adds the session. Sitting again just sets the role. Raises SessionGone when the connection was lost."""
        session.require_open()
        seat = session.rooms.get(room.name)
        if seat is not None:
            seat.role = role
            return seat
        seat = Seat(room, session, role)
        room.users.setdefault(session.user, {})[session.connection.id] = seat
        session.rooms[room.name] = seat
        room.group.add(session.connection)
        return seat

    def leave(self, seat: Seat) -> None:
        """Takes the seat away. Idempotent."""
        room, session = seat.room, seat.session
        if session.rooms.pop(room.name, None) is None:
            return
        room.group.discard(session.connection)
        session.connection.caught_up(room.name)
        seats = room.users[session.user]
        del seats[session.connection.id]
        if not seats:
            del room.users[session.user]
        self.close_if_empty(room)

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

    # Publications --------------------------------------------------------------------------------------------

    async def recover(self, room: LiveRoom, since: Position, limit: int) -> list[Publication] | None:
        """What follows ``since`` up to the room's newest publication, or None when it cannot be had.

        Complete at the moment of return: whoever sits down before the next await misses nothing.
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
        return 0 if room is None else room.group.publish(publication)

    def broadcast(self, name: str, push: Push) -> int:
        """A push without position to everyone in the room except ``push.skip``."""
        room = self.rooms.get(name)
        if room is None:
            return 0
        skipped = self.sessions.get(push.skip) if push.skip else None
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
