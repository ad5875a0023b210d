"""Who is in a room and how: one status per user over several connections, away after a grace period.

The tracker decides the notices (`room:user_joined`, `room:user_left`, `presence:update`) and keeps the Presence backend
informed; changes of one turn are written together, the newest per (room, connection).

Bounds: one record per seat, plus those within ``presence.grace_seconds`` of a lost connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from ..core.wire import Push
from .seams import Broker, Clock, Presence, PresenceEntry, Timer, Unavailable
from .session import Session

log = logging.getLogger("syncline.presence")

#: A user's status over its connections is the strongest of theirs.
_STRENGTH = {"away": 0, "online": 1, "busy": 2}


class _Here:
    """One user in one room."""

    __slots__ = ("connections", "grace", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.connections: dict[str, PresenceEntry] = {}
        self.grace: Timer | None = None  # runs while the last connection is lost and may come back


def _combined(entries: list[PresenceEntry]) -> dict[str, Any]:
    """One user's entries as the protocol shows them: strongest status, newest metadata."""
    newest = max(entries, key=lambda entry: entry.last_seen)
    status = max((entry.status for entry in entries), key=lambda word: _STRENGTH.get(word, 0))
    return {
        "user": newest.user,
        "name": newest.name,
        "status": status,
        "last_seen": newest.last_seen,
        "metadata": msgspec.json.decode(newest.metadata) if newest.metadata else None,
    }


class PresenceTracker:
    def __init__(
        self,
        presence: Presence,
        broker: Broker,
        clock: Clock,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        *,
        grace: float,
        ttl: float,
    ) -> None:
        self._presence = presence
        self._broker = broker
        self._clock = clock
        self._spawn = spawn
        self._grace = grace
        self._ttl = ttl
        self._rooms: dict[str, dict[str, _Here]] = {}
        self._changed: dict[tuple[str, str], PresenceEntry | None] = {}  # for the backend; None: drop
        self._under_way: dict[tuple[str, str], PresenceEntry | None] = {}  # being written now
        self._writing = False

    def __len__(self) -> int:
        """Users here, counted per room."""
        return sum(map(len, self._rooms.values()))

    # What happens in rooms -----------------------------------------------------------------------------------

    def entered(self, room: str, session: Session) -> None:
        """A connection sat down. Tells the others when it is the user's first."""
        users = self._rooms.setdefault(room, {})
        here = users.get(session.user)
        first = here is None
        if here is None:
            here = users[session.user] = _Here(session.name)
        if here.grace is not None:
            # Back within the grace period: nobody is told, and what it said before (busy, say) holds.
            here.grace.cancel()
            here.grace = None
            before = _combined(list(here.connections.values()))["status"]
            for connection in here.connections:
                self._write(room, connection, None)
            here.connections.clear()
        else:
            before = "online"
        if session.connection.id not in here.connections:
            self._set(room, here, session, before, None)
        if first:
            self._notice(room, "room:user_joined", session.user, session.name, skip=session.connection.id)

    def left(self, room: str, session: Session, *, lost: bool) -> None:
        """A connection stood up, or was lost: then the user may come back within the grace period."""
        users = self._rooms.get(room)
        here = users.get(session.user) if users is not None else None
        if users is None or here is None or session.connection.id not in here.connections:
            return
        if lost and self._grace > 0 and len(here.connections) == 1:
            if here.grace is None:
                here.grace = self._clock.call_later(self._grace, self._gone, room, session.user, True)
            return
        before = _combined(list(here.connections.values()))
        del here.connections[session.connection.id]
        self._write(room, session.connection.id, None)
        if not here.connections:
            self._gone(room, session.user, lost)
        else:
            self._tell_if_changed(room, here, before)

    def _gone(self, room: str, user: str, lost: bool) -> None:
        users = self._rooms[room]
        here = users.pop(user)
        if not users:
            del self._rooms[room]
        if here.grace is not None:
            here.grace.cancel()
        for connection in here.connections:
            self._write(room, connection, None)
        if lost:
            away = {
                "user": user,
                "name": here.name,
                "status": "away",
                "last_seen": self._clock.time(),
                "metadata": None,
            }
            self._broker.publish_ephemeral(
                room, "presence:update", Push("presence:update", {"room": room, **away}, key=user).pack()
            )
        self._notice(room, "room:user_left", user, here.name)

    def update(self, room: str, session: Session, status: str, metadata: bytes | None) -> None:
        """`presence:update` of one connection; the room is told what it makes of the user's status."""
        here = self._rooms[room][session.user]
        self._set(room, here, session, status, metadata)
        self._tell(room, here)

    # What is told --------------------------------------------------------------------------------------------

    def _set(self, room: str, here: _Here, session: Session, status: str, metadata: bytes | None) -> None:
        connection = session.connection.id
        entry = PresenceEntry(session.user, connection, session.name, status, self._clock.time(), metadata)
        here.connections[connection] = entry
        self._write(room, connection, entry)

    def _notice(self, room: str, event: str, user: str, name: str, skip: str = "") -> None:
        # A user's newest notice says all there is to know: a slow reader gets that one.
        push = Push(event, {"room": room, "user": user, "name": name}, "json", skip, user)
        self._broker.publish_ephemeral(room, event, push.pack())

    def _tell(self, room: str, here: _Here) -> None:
        state = _combined(list(here.connections.values()))
        push = Push("presence:update", {"room": room, **state}, key=state["user"])
        self._broker.publish_ephemeral(room, "presence:update", push.pack())

    def _tell_if_changed(self, room: str, here: _Here, before: dict[str, Any]) -> None:
        after = _combined(list(here.connections.values()))
        if (after["status"], after["metadata"]) != (before["status"], before["metadata"]):
            self._tell(room, here)

    def of(self, room: str, user: str) -> dict[str, Any]:
        """One user who is here on this node, as the protocol shows it. Raises KeyError."""
        return _combined(list(self._rooms[room][user].connections.values()))

    async def members(self, room: str) -> dict[str, dict[str, Any]]:
        """user -> what the protocol shows, over all nodes. Raises Unavailable."""
        unwritten = {**self._under_way, **self._changed}  # may be written while the list is read, or not
        entries = {entry.connection: entry for entry in await self._presence.list(room)}
        for (name, connection), entry in {**unwritten, **self._under_way, **self._changed}.items():
            if name == room:
                if entry is None:
                    entries.pop(connection, None)
                else:
                    entries[connection] = entry
        for here in self._rooms.get(room, {}).values():
            entries.update(here.connections)
        by_user: dict[str, list[PresenceEntry]] = {}
        for entry in entries.values():
            by_user.setdefault(entry.user, []).append(entry)
        return {user: _combined(of_user) for user, of_user in by_user.items()}

    async def last_seen(self, room: str, users: list[str]) -> dict[str, float]:
        """When those users were last here, for those that ever were. Raises Unavailable."""
        return await self._presence.last_seen(room, users)

    # The backend ---------------------------------------------------------------------------------------------

    def _write(self, room: str, connection: str, entry: PresenceEntry | None) -> None:
        self._changed[room, connection] = entry
        if not self._writing:
            self._writing = True
            self._spawn(self._write_changes())

    async def _write_changes(self) -> None:
        try:
            while self._changed:
                self._under_way, self._changed = self._changed, {}
                for (room, connection), entry in self._under_way.items():
                    if entry is None:
                        await self._presence.drop(room, connection)
                    else:
                        await self._presence.touch(room, entry, self._ttl)
        except Unavailable as error:
            # What is lost here comes again with the next touch; an entry that was not dropped expires.
            log.warning("presence backend unavailable: %s", error)
        finally:
            self._under_way = {}
            self._writing = False

    def touch_all(self) -> None:
        """Renews every entry's life; the node calls it a few times per ``ttl``."""
        now = self._clock.time()
        for room, users in self._rooms.items():
            for here in users.values():
                if here.grace is None:
                    for connection, entry in here.connections.items():
                        # The metadata's age decides between connections, so it is kept: only the backend's copy is renewed.
                        self._write(room, connection, _seen(entry, now))

    def stop(self) -> None:
        """Cancels the timers of the grace periods."""
        for users in self._rooms.values():
            for here in users.values():
                if here.grace is not None:
                    here.grace.cancel()


def _seen(entry: PresenceEntry, now: float) -> PresenceEntry:
    return PresenceEntry(entry.user, entry.connection, entry.name, entry.status, now, entry.metadata)
