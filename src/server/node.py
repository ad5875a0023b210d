"""One server process: owns the hub, the documents, the backends and the tasks. start, drain, stop.

The node sees backends only through the seams; app.py picks them.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .. import __version__
from ..core import errors
from ..core.rooms.room import Position, Publication
from ..core.wire.envelopes import Push
from .config.schema import Config
from .documents.compaction import Upkeep
from .documents.divergence import Divergences
from .documents.registry import Documents
from .documents.revisions import Archive
from .documents.turn_scheduler import RunQueue
from .limits.admission import Admission
from .limits.arrivals import Arrivals, places
from .limits.descriptors import Descriptors, raise_limit
from .limits.fair_thread import FairThread
from .limits.guesses import Guesses
from .limits.keyed_buckets import KeyedBuckets
from .limits.rates import Rates
from .limits.refusals import Refusals
from .memory_bound import MemoryBound
from .net.addresses import Addresses
from .net.origins import Origins
from .observe.counters import Counters
from .observe.metrics import Metrics
from .process.readiness import Readiness
from .protocol.events import Targets
from .protocol.handlers import table
from .rooms.classes import RoomClasses
from .rooms.hub import Hub, Seat
from .rooms.presence import PresenceTracker
from .seams.auth import Auth, Credentials
from .seams.broker import Broker
from .seams.clock import LoopClock
from .seams.event_log import EventLog
from .seams.outcome import Done, Unavailable
from .seams.presence import Presence
from .seams.store import Store, UserRecord
from .sessions.authentication import Authentication
from .sessions.flusher import Flusher
from .sessions.pings import PingWheel
from .sessions.session import Session, State

if TYPE_CHECKING:
    from .transports.websocket import WebSocket

log = logging.getLogger("syncline.node")

T = TypeVar("T")


#: The broker's room for what is meant for connections wherever they are. No client can name it.
EVERYWHERE = "\0everywhere"
#: What clients of a node without others get to say goodbye.
ALONE_SECONDS = 1.0
_decode_targeted = msgspec.msgpack.Decoder(tuple[str, str, Targets, bytes]).decode


class Node:
    """Made inside a running event loop. ``events``: None when nothing is logged for other systems."""

    def __init__(
        self,
        config: Config,
        *,
        store: Store,
        broker: Broker,
        presence: Presence,
        auth: Auth,
        events: EventLog | None = None,
    ) -> None:
        self.config = config
        self.version = __version__
        self.loop = asyncio.get_running_loop()
        self.clock = LoopClock(self.loop)
        self.call_soon = self.loop.call_soon
        self.turns = RunQueue(self.clock, self.call_soon)
        self.store = store
        self.broker = broker
        self.auth = auth
        self.authentication = Authentication(self)
        self.events = events
        self._presence_backend = presence
        self.refusals = Refusals()
        self.descriptors = Descriptors()
        self.handlers = table()
        self.counters = Counters(self.handlers)
        self.metrics = Metrics(self, State)
        limits, rooms = config.limits, config.rooms
        self.flusher = Flusher(
            self.loop.call_soon, limits.queue_low_bytes, limits.queue_high_bytes, limits.queue_messages
        )
        self.admission = Admission(limits.handshakes_per_second, limits.handshakes_burst, self.clock.monotonic)
        self.addresses = Addresses(config.server.trusted_proxies, proxy_protocol=config.server.proxy_protocol)
        self.arrivals = Arrivals(
            places(limits.connections, config.server.backlog)[0],
            self.refusals,
            of_address=limits.address_connections,
            strangers_of_address=limits.address_unidentified,
        )
        self.origins = Origins(config)
        history = (rooms.history_size, rooms.history_bytes, rooms.history_seconds)
        classes = RoomClasses(rooms.latest, rooms.volatile)
        self.hub = Hub(broker, self.spawn, history, self.clock.time, classes.of, limits.recent_users)
        self.documents = Documents(self)
        self.archive = Archive(self)
        self.divergences = Divergences(self)
        self.upkeep = Upkeep(self)
        self.presence = PresenceTracker(
            presence, broker, self.clock, self.hub, config.presence, self.spawn, self.call_soon
        )
        #: Microseconds of work on operations that are far behind, by user: a quarter of the time of a core, and a second at once.
        self.labours: KeyedBuckets[str] = KeyedBuckets(250_000.0, 1_000_000.0, 10_000, self.clock.monotonic)
        self.guesses = Guesses(config.limits.wrong_passwords_per_minute, self.clock.monotonic)
        self.rates: Rates = Rates(config.limits, self.clock)
        self.pings: PingWheel[WebSocket] = PingWheel(
            config.limits.ping_seconds, config.limits.pong_timeout_seconds, self._dead, self._seen
        )
        self.memory = MemoryBound(self)
        self.draining = False
        self.readiness = Readiness(store, broker, self.clock, EVERYWHERE)
        self._recorded: OrderedDict[str, str] = OrderedDict()  # user -> name as stored, by last use
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: list[asyncio.Task[None]] = []
        #: For password hashes: each takes milliseconds of several cores and 64 MiB, so one at a time.
        self.hashing = FairThread(self.loop, "syncline-hash", config.limits.waiting_work)

    # Life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts what runs beside the connections. The store is started already. Raises Unavailable."""
        await self.broker.start(self)
        await self.broker.subscribe(EVERYWHERE)
        await self._presence_backend.start()
        if self.events is not None:
            await self.events.start()
        self.upkeep.start()
        self._timers = [
            self.loop.create_task(self.pings.run(self.clock.monotonic)),
            self.loop.create_task(self._every(1.0, self.memory.check)),
            self.loop.create_task(self._every(1.0, self.descriptors.look)),
            self.loop.create_task(self._every(self.config.presence.ttl_seconds / 3, self.presence.touch_all)),
        ]
        if self.events is not None:
            self._timers.append(self.loop.create_task(self._trim_events()))
        if self.config.rooms.history_seconds:
            self._timers.append(self.loop.create_task(self._sweep_histories()))

    def reconfigured(self) -> None:
        """Settings of ``config`` are others now: what was taken from them at the start is taken anew."""
        config, limits = self.config, self.config.limits
        raise_limit(limits.connections, config.server.backlog)
        self.flusher.limit(limits.queue_low_bytes, limits.queue_high_bytes, limits.queue_messages)
        self.admission.limit(limits.handshakes_per_second, limits.handshakes_burst)
        self.addresses = Addresses(config.server.trusted_proxies, proxy_protocol=config.server.proxy_protocol)
        self.origins = Origins(config)
        self.arrivals.limit(
            places(limits.connections, config.server.backlog)[0],
            limits.address_connections,
            limits.address_unidentified,
        )
        self.hub.recent = limits.recent_users
        self.guesses.limit(limits.wrong_passwords_per_minute)
        self.authentication.reconfigured(self.rates.reconfigured(self.hub.sessions.values()))
        for thread in (self.hashing, self.archive.thread, self.archive.moves, self.archive.loads):
            thread.limit(limits.waiting_work)

    async def drain(self) -> None:
        """No new connections; clients are handed over over ``server.drain_seconds``, or as soon as they have left. Where there is no other
        node all go at once: the sooner they have gone, the sooner this one is back."""
        self.draining = True
        sessions = list(self.hub.sessions.values())
        if sessions:
            log.info("draining %d connections", len(sessions))
        # In small groups, so that the nodes they go to are not hit by all at once.
        longest = self.config.server.drain_seconds
        spread, leave = (longest / 2, longest / 2) if self.broker.shared else (0.0, min(longest, ALONE_SECONDS))
        group = max(1, len(sessions) // 20)
        for start in range(0, len(sessions), group):
            for session in sessions[start : start + group]:
                session.close(errors.DRAIN)
            if len(sessions) > group:
                await asyncio.sleep(spread / 20)
        deadline = self.clock.monotonic() + leave
        while self.hub.sessions and self.clock.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for session in list(self.hub.sessions.values()):
            session.connection.transport.abort()

    async def stop(self) -> None:
        """After ``drain``: finishes what was accepted, then closes everything."""
        self.draining = True
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self.presence.stop()
        await self.upkeep.close()
        await self.documents.close()
        while self._tasks:
            # Not gather: of tasks that have all ended, Python 3.12 and newer make one that is done, and the loop never comes to the
            # callbacks that take them out of the set. ``wait`` always lets it go on.
            await asyncio.wait(self._tasks)
        for part in (self.broker, self._presence_backend, self.events, self.store):
            if part is not None:
                await part.close()
        self.archive.close()
        self.hashing.close()

    async def ready(self) -> dict[str, str]:
        """Failing checks by name; empty: ready for traffic."""
        failing = {}
        if self.draining:
            failing["node"] = "draining"
        return failing | await self.readiness.failing()

    async def scrape(self) -> bytes:
        """The metrics, with an answer to whether the node is ready that is as new as they are."""
        await self.readiness.look()
        return self.metrics.render()

    def backends(self) -> dict[str, object]:
        """Those in use, by name, for the metrics."""
        parts = {"store": self.store, "broker": self.broker, "presence": self._presence_backend, "events": self.events}
        return {name: part for name, part in parts.items() if part is not None}

    async def _every(self, seconds: float, turn: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                turn()
            except Exception:
                log.exception("a periodic job failed")

    async def _sweep_histories(self) -> None:
        while True:
            await asyncio.sleep(min(5.0, self.config.rooms.history_seconds))
            self.hub.sweep()
            try:
                await self.broker.sweep()
            except Unavailable as error:
                log.warning("history: %s", error)

    async def _trim_events(self) -> None:
        assert self.events is not None
        while True:
            await asyncio.sleep(60.0)
            try:
                await self.events.trim(self.config.events.keep)
            except Unavailable as error:
                log.warning("event log: %s", error)

    # Services to the sessions --------------------------------------------------------------------------------

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that the node keeps, and whose failure is logged."""
        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, (errors.SynclineError, Unavailable)):  # those were answered
            log.error("a task failed", exc_info=error)

    def new_id(self) -> str:
        """64 random bits as 16 hexadecimal digits."""
        return secrets.token_hex(8)

    async def record_user(self, credentials: Credentials, *, known: bool = True) -> None:
        """Remembers who a token speaks for; ``known``: the store may have this name already. Raises Unavailable.

        Who was recorded lately costs no read, and nobody more than one.
        """
        user, name = credentials.user, credentials.name
        recorded = self._recorded.get(user) if known else None
        if recorded is None and known:
            record = await self.store.user(user)
            recorded = None if record is None else record.name
        if recorded is None or (name and recorded != name):
            await self.store.put_user(UserRecord(user, name, credentials.guest, self.clock.time()))
            recorded = name
        self._recorded[user] = recorded
        self._recorded.move_to_end(user)
        while len(self._recorded) > self.config.limits.recent_users:
            self._recorded.popitem(last=False)

    def session_lost(self, session: Session, *, resumed: bool) -> None:
        """The socket is gone: its seats and documents are given up."""
        self.rates.closed(session)
        for seat in self.hub.remove(session):
            self.presence.left(seat, lost=True, resumed=resumed)
        for document in list(session.documents):
            live = self.documents.live.get(document)
            collaborator = session.documents.get(document)
            if live is not None and collaborator is not None:
                live.remove(collaborator)

    def leave_room(self, seat: Seat, *, lost: bool) -> None:
        """A connection leaves one room."""
        self.hub.leave(seat)
        self.presence.left(seat, lost=lost)

    def room_role_changed(self, room: str, user: str, role: str | None) -> None:
        """A grant takes effect at once; None takes the user out of the room."""
        for seat in self.hub.role_changed(room, user, role):
            if role is None:
                self.leave_room(seat, lost=False)
                seat.session.push("room:removed", {"room": room})
            else:
                seat.session.push("room:role", {"room": room, "role": role})
        if role is None:
            self.presence.removed(room, user)

    def _dead(self, socket: WebSocket) -> None:
        socket.session.close(errors.PING_TIMEOUT)

    def _seen(self, socket: WebSocket) -> None:
        self.authentication.watch(socket.session)

    # Publications --------------------------------------------------------------------------------------------

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        """To the broker, and to the event log when there is one; ``done``, which counts it (``Counters.published``), when the
        broker has it. ``once``: ``Broker.publish``."""
        self.memory.grew(publication.size)
        if self.events is None:
            self.broker.publish(publication, done, once)
            return
        events = self.events

        def published(position: Position | None, error: Exception | None) -> None:
            if position is None:
                done(None, error)
                return
            # After the broker, because the record for other systems carries the position.
            # A duplicate is logged again: whether the first one got that far is not known here, and at least once is promised.
            at = {"offset": position.offset, "epoch": position.epoch}
            body = msgspec.msgpack.encode({**publication.as_data("msgpack"), **at})
            events.append(publication.room, "message", body, self._logged)
            done(position, None)

        self.broker.publish(publication, published, once)

    def _logged(self, sequence: int | None, error: Exception | None) -> None:
        if error is not None:
            # The message is stored and on its way to the members: what its author is told does not depend on this.
            self.counters.events_lost += 1
            log.error("event log: a message is missing in it: %s", error)

    def send_to(self, room: str, targets: Targets, push: Push) -> None:
        """A push for some: in a room, or anywhere (``room`` ""). At most once, through the broker to every node."""
        payload = msgspec.msgpack.encode((push.event, room, targets, push.pack()))
        self.broker.publish_ephemeral(room or EVERYWHERE, "to", payload)

    def on_publication(self, publication: Publication) -> None:
        """From the broker: fan out."""
        self.counters.publications += 1
        self.counters.deliveries += self.hub.on_publication(publication)

    def on_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        """From the broker: fan out what has no position."""
        try:
            if event == "room:changes":
                self.counters.deliveries += self.presence.on_changes(room, payload)
                return
            if event == "ready":
                self.readiness.heard(payload)
                return
            if event == "to":
                self.counters.deliveries += self._on_targeted(payload)
                return
            push = Push.unpack(event, payload)
        except ValueError:
            log.warning("a malformed event for room %s was dropped", room)
            return
        self.counters.deliveries += self.hub.broadcast(room, push)

    def _on_targeted(self, payload: bytes) -> int:
        event, room, targets, packed = _decode_targeted(payload)
        push = Push.unpack(event, packed)
        if targets.everyone:
            taken = 0
            for session in self.hub.sessions.values():
                if session.user:
                    taken += session.connection.deliver_volatile(push.frame(session.codec))
            return taken
        return self.hub.deliver_to(room, targets.users, targets.connections, push)
