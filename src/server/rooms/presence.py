"""Who is in a room and how: one status per user over several connections, away after a grace period.

The memberships of the hub say who is here; the tracker adds who was lost and may come back, decides what the members are told, and
keeps the Presence backend informed.

What is told: joins, departures and changed statuses of one turn of the event loop go out in one frame (`room:changes` between
nodes). A room above ``presence.occupancy_users`` users is only *counted*: its members get `room:occupancy`, at most each
``presence.occupancy_seconds``, until it has shrunk to three quarters of that; with n users coming and going at once that is n frames
instead of n * n.

Bounds: what hangs on a membership is in it; one record per user within ``presence.grace_seconds`` of a lost connection; the changes of
one turn; ``presence.unwritten`` changes for the backend (presence_writes.py); one timer per counted room. A join costs O(1) and a list
of at most ``presence.list_limit`` users, in a larger room of ``presence.sample_users``, made once in ``presence.occupancy_seconds`` and
anew when one of those was told to have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

import msgspec

from ...core.values.json_values import json_decoder
from ...core.wire import envelopes as wire
from ...core.wire.envelopes import Push
from ..config.schema import Config
from ..seams.broker import Broker
from ..seams.clock import Clock, Timer
from ..seams.presence import Presence, PresenceChange, PresenceEntry
from ..sessions.session import Session, Sessions
from .hub import Hub, LiveRoom, Membership
from .presence_state import Sample, State, Stated, absent_state, entry_of, raw, state_of, user_of
from .presence_writes import PresenceWrites, Reading

#: For who has a new connection already: the joins are on their way, and may wait for the store.
_RESUME_SECONDS = 5.0


class _Lost:
    """A user whose last connection in a room was lost, for as long as it may come back unnoticed."""

    __slots__ = ("entry", "timer")

    def __init__(self, entry: PresenceEntry, timer: Timer) -> None:
        self.entry = entry
        self.timer = timer


class _Change:
    """One notice of the turn. ``skip``: the connection that is not told, because it is its own join."""

    __slots__ = ("data", "event", "skip")

    def __init__(self, event: str, data: State, skip: str = "") -> None:
        self.event = event
        self.data = data
        self.skip = skip


_Wire = list[tuple[str, State, str]]  # changes as they travel between nodes: (event, data, skip)
_decode = json_decoder(_Wire).decode


def forget_sample(room: LiveRoom, user: str) -> None:
    """The user has changed: no join is answered any more with what they were."""
    if isinstance(room.sample, Sample) and user in room.sample.users:
        room.sample = None


class PresenceTracker:
    def __init__(
        self,
        presence: Presence,
        broker: Broker,
        clock: Clock,
        hub: Hub,
        sessions: Sessions,
        config: Config,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._presence = presence
        self._broker = broker
        self._clock = clock
        self._hub = hub
        self._sessions = sessions
        self._config = config
        self._call_soon = call_soon
        self._lost: dict[str, dict[str, _Lost]] = {}  # room -> user
        self._turn: dict[str, list[_Change]] = {}  # of this turn, by room
        self._recount: set[str] = set()  # counted rooms that changed since they were told
        self._telling = False  # at the end of this turn
        self._pacing: dict[str, Timer] = {}  # counted rooms that were told lately
        self.writes = PresenceWrites(presence, config.presence.ttl_seconds, config.presence.unwritten, spawn)

    def __len__(self) -> int:
        """Users here, counted per room."""
        return sum(len(room.users) for room in self._hub.rooms.values()) + sum(map(len, self._lost.values()))

    # What happens in rooms -----------------------------------------------------------------------------------

    def entered(self, membership: Membership) -> None:
        """A connection entered that was not in the room. Tells the others when it is the user's first."""
        room = membership.room
        lost = self._take_lost(room.name, membership.user)
        if lost is not None:
            # Back within the grace period: nobody is told, and what it said before (busy, say) holds.
            membership.status, membership.metadata = lost.entry.status, lost.entry.metadata
            self._write(room.name, lost.entry, here=False)
        elif len(memberships := room.memberships(membership.user)) == 1:
            self._notice(
                room.name, "room:user_joined", membership.user, membership.name, skip=membership.session.connection.id
            )
        else:
            self._tell_if_changed(room.name, memberships, [other for other in memberships if other is not membership])
        forget_sample(room, membership.user)
        self._write(room.name, entry_of(membership), here=True)
        self._recounted(room.name)

    def left(self, membership: Membership, *, lost: bool, resumed: bool = False) -> None:
        """A connection left, or was lost: then the user may come back within the grace period. ``resumed``: it is about to."""
        room, user = membership.room.name, membership.user
        forget_sample(membership.room, user)
        rest = membership.room.memberships(user)
        entry = entry_of(membership, self._clock.time())
        if rest:
            self._write(room, entry, here=False)
            self._tell_if_changed(room, rest, [*rest, membership])
        elif lost and (self._config.presence.grace_seconds > 0 or resumed):
            grace = (
                max(self._config.presence.grace_seconds, _RESUME_SECONDS)
                if resumed
                else self._config.presence.grace_seconds
            )
            timer = self._clock.call_later(grace, self._expired, room, user)
            self._lost.setdefault(room, {})[user] = _Lost(entry, timer)
        else:
            self._gone(room, entry, lost=lost)
        self._recounted(room)

    def removed(self, room: str, user: str) -> None:
        """Whoever was taken out of the room is not waited for."""
        lost = self._take_lost(room, user)
        if lost is not None:
            if (live := self._hub.rooms.get(room)) is not None:
                forget_sample(live, user)
            self._gone(room, lost.entry, lost=False)
            self._recounted(room)

    def _take_lost(self, room: str, user: str) -> _Lost | None:
        users = self._lost.get(room)
        lost = users.pop(user, None) if users is not None else None
        if lost is not None:
            lost.timer.cancel()
            if not users:
                del self._lost[room]
        return lost

    def _expired(self, room: str, user: str) -> None:
        lost = self._take_lost(room, user)
        if lost is not None:
            live = self._hub.rooms.get(room)
            if live is not None:
                forget_sample(live, user)
            self._gone(room, lost.entry, lost=True)
            self._recounted(room)

    def _gone(self, room: str, entry: PresenceEntry, *, lost: bool) -> None:
        self._write(room, entry, here=False)
        if lost:
            # Last seen when the connection was lost, not now: this is what the backend has, too.
            self._tell(room, absent_state(entry.user, entry.name, entry.last_seen))
        self._notice(room, "room:user_left", entry.user, entry.name)

    def update(self, membership: Membership, status: str, metadata: bytes | None) -> None:
        """`presence:update` of one connection; the room is told what it makes of the user's status."""
        membership.status, membership.metadata, membership.last_seen = status, metadata, self._clock.time()
        forget_sample(membership.room, membership.user)
        self._write(membership.room.name, entry_of(membership), here=True)
        self._tell(membership.room.name, state_of(membership.room.memberships(membership.user)))

    # What is told --------------------------------------------------------------------------------------------

    def _notice(self, room: str, event: str, user: str, name: str, skip: str = "") -> None:
        self._change(room, _Change(event, {"room": room, "user": user, "name": name}, skip))

    def _tell(self, room: str, state: State) -> None:
        self._change(room, _Change("presence:update", {"room": room, **state}))

    def _tell_if_changed(self, room: str, now: Sequence[Membership], before: Sequence[Membership]) -> None:
        after, was = state_of(now), state_of(before)
        if (after["status"], after["metadata"]) != (was["status"], was["metadata"]):
            self._tell(room, after)

    def _change(self, room: str, change: _Change) -> None:
        live = self._hub.rooms.get(room)
        if live is not None and live.counting:
            return
        if not self._turn:
            self._call_soon(self._end_of_turn)
        self._turn.setdefault(room, []).append(change)

    def _end_of_turn(self) -> None:
        turn, self._turn = self._turn, {}
        for room, changes in turn.items():
            live = self._hub.rooms.get(room)
            if live is not None and live.counting:
                continue  # it has become one: everybody is told the count
            latest = {change.data["user"]: change for change in changes if change.event == "presence:update"}
            kept: _Wire = [
                (change.event, change.data, change.skip)
                for change in changes
                if change.event != "presence:update" or latest[change.data["user"]] is change
            ]
            self._broker.publish_ephemeral(room, "room:changes", msgspec.json.encode(kept))

    def on_changes(self, room: str, payload: bytes) -> int:
        """`room:changes` from the broker, this node's own too; returns the deliveries. Raises ValueError."""
        changes = _decode(payload)
        live = self._hub.rooms.get(room)
        if live is None or not changes:
            return 0
        users = {data["user"] for _, data, _ in changes}
        # One user's newest notice says all there is to know of it: a slow reader gets that one.
        key = (room, "", users.pop()) if len(users) == 1 else None
        own = {skip: number for number, (_, _, skip) in enumerate(changes) if skip}
        whole: dict[str, bytes] = {}
        deliveries = 0
        for membership in live:
            connection, codec = membership.session.connection, membership.session.codec
            number = own.get(connection.id)
            if number is None:
                frame = whole.get(codec)
                if frame is None:
                    frame = whole[codec] = wire.pushes_frame(codec, [(event, data) for event, data, _ in changes])
            elif later := [(event, data) for event, data, _ in changes[number + 1 :]]:
                frame = wire.pushes_frame(codec, later)  # what was before its join, the answer to that has said
            else:
                continue
            deliveries += connection.deliver(frame) if key is None else connection.deliver_latest(frame, key)
        return deliveries

    # Counting ------------------------------------------------------------------------------------------------

    def occupancy(self, room: LiveRoom, elsewhere: Sequence[PresenceEntry] = ()) -> dict[str, int]:
        """Users and connections; who may come back within the grace period is counted as a user."""
        users = len(room.users) + len(self._lost.get(room.name, ()))
        if elsewhere:
            users = len(self._merged(room, elsewhere))
        return {"users": users, "connections": len(room.group) + len(elsewhere)}

    @property
    def counted(self) -> int:
        """Rooms that are only counted."""
        return sum(room.counting for room in self._hub.rooms.values())

    def _recounted(self, name: str) -> None:
        """Somebody came or went: a counted room is told, now or when it is time again."""
        room = self._hub.rooms.get(name)
        if room is None:
            return
        if not room.counting:
            if len(room.users) + len(self._lost.get(name, ())) <= self._config.presence.occupancy_users:
                return
            room.counting = True
        self._recount.add(name)
        if name not in self._pacing and not self._telling:
            self._telling = True
            self._call_soon(self._tell_counts)

    def _tell_counts(self) -> None:
        self._telling = False
        for name in self._recount - self._pacing.keys():
            self._recount.discard(name)
            room = self._hub.rooms.get(name)
            if room is None or not room.counting:
                continue
            counts = self.occupancy(room)
            told: State = {"room": name, **counts}
            if counts["users"] <= self._config.presence.occupancy_users * 3 // 4:
                room.counting = False
                room.sample = None
                told["members"] = self._listed(
                    room, self._config.presence.list_limit
                )  # from now on it is told one by one again
            self._hub.broadcast(name, Push("room:occupancy", told, key="\0occupancy"))
            self._pacing[name] = self._clock.call_later(self._config.presence.occupancy_seconds, self._paced, name)

    def _paced(self, name: str) -> None:
        del self._pacing[name]
        if name in self._recount:
            self._tell_counts()

    # Lists ---------------------------------------------------------------------------------------------------

    def _states(self, room: LiveRoom) -> Iterable[State]:
        for held in room.users.values():
            yield state_of([held] if isinstance(held, Membership) else held)
        for lost in self._lost.get(room.name, {}).values():
            yield state_of([lost.entry])

    def _listed(self, room: LiveRoom, limit: int) -> list[State]:
        states = list(islice(self._states(room), limit))
        states.sort(key=user_of)
        return states

    async def elsewhere(self, room: LiveRoom) -> list[PresenceEntry]:
        """Other nodes' entries of the room; none without a shared backend. Raises Unavailable. O(connections)."""
        if not self._presence.shared:
            return []
        with self.writes.reading(room.name) as reading:
            return await self._elsewhere(room, reading)

    async def _elsewhere(self, room: LiveRoom, reading: Reading) -> list[PresenceEntry]:
        if not self._presence.shared:
            return []
        listed = await self._presence.list(room.name)
        return [
            one for one in listed if one.connection not in reading and one.connection not in self._sessions.connections
        ]

    def _merged(self, room: LiveRoom, elsewhere: Sequence[PresenceEntry]) -> dict[str, State]:
        by_user: dict[str, list[Stated]] = {}
        for entry in (*elsewhere, *room, *(lost.entry for lost in self._lost.get(room.name, {}).values())):
            by_user.setdefault(entry.user, []).append(entry)
        return {user: state_of(entries) for user, entries in by_user.items()}

    def reading(self, room: str) -> AbstractContextManager[Reading]:
        """For ``members``: begins before the first read whose answer belongs to it."""
        return self.writes.reading(room)

    async def members(self, room: LiveRoom, users: Collection[str], reading: Reading) -> dict[str, State]:
        """What the protocol shows of all who are here, over all nodes, and of those of ``users`` who are not: "away", or "offline" when
        nothing is known of them, then with an empty name. As it is when this returns. Raises Unavailable. O(users)."""
        elsewhere = await self._elsewhere(room, reading)
        here = self._merged(room, elsewhere)
        seen = await self._presence.last_seen(room.name, [user for user in users if user not in here])
        # From here on nothing waits: who came or went meanwhile is in the room, or in the reading.
        gone: dict[str, PresenceEntry] = {}
        for change in reading.values():
            entry = change.entry
            if entry.user not in gone or gone[entry.user].last_seen < entry.last_seen:
                gone[entry.user] = entry
        elsewhere = [one for one in elsewhere if one.connection not in reading]
        here = self._merged(room, elsewhere)
        for user in users:
            if user not in here:
                times = [seen[user]] if user in seen else []
                times += [gone[user].last_seen] if user in gone else []
                here[user] = absent_state(user, gone[user].name if user in gone else "", max(times, default=None))
        return here

    def listed(
        self, room: LiveRoom, session: Session, elsewhere: Sequence[PresenceEntry] = ()
    ) -> list[State] | list[msgspec.Raw]:
        """For the answer to a join: all up to ``presence.list_limit`` users, of more ``presence.sample_users``, the session's own among
        them."""
        full, limit = self._config.presence.list_limit, self._config.presence.sample_users
        if elsewhere:
            states = self._merged(room, elsewhere)
            own = states.pop(session.user)
            others = limit if len(states) >= full else full
            return sorted([own, *islice(states.values(), others - 1)], key=user_of)
        if self.occupancy(room)["users"] <= full:
            return self._listed(room, full)
        now = self._clock.monotonic()
        sample = room.sample
        if not isinstance(sample, Sample) or sample.until <= now:
            sample = room.sample = Sample(self._listed(room, limit), now + self._config.presence.occupancy_seconds)
        entries = sample.of(session.codec)
        if session.user in sample.users:
            return entries
        return [*entries[: limit - 1], raw(session.codec, state_of(room.memberships(session.user)))]

    # The backend ---------------------------------------------------------------------------------------------

    def _write(self, room: str, entry: PresenceEntry, *, here: bool) -> None:
        if here and not self._presence.shared:
            return  # nobody else asks
        self.writes.add(PresenceChange(room, entry, here))

    def touch_all(self) -> None:
        """Renews every entry's life, and tries again what was not written; the node calls it a few times per ``ttl``."""
        self.writes.retry()
        if not self._presence.shared:
            return
        now = self._clock.time()
        for room in self._hub.rooms.values():
            for membership in room:
                # The metadata's age decides between connections, so it is kept: only the backend's copy is renewed.
                self._write(room.name, entry_of(membership, now), here=True)

    def stop(self) -> None:
        """Ends the grace periods and the timers; what was seen of whom is still written."""
        for room, users in self._lost.items():
            for lost in users.values():
                lost.timer.cancel()
                self._write(room, lost.entry, here=False)
        self._lost.clear()
        for timer in self._pacing.values():
            timer.cancel()
        self._pacing.clear()
        self.writes.retry()
