"""One server process: makes its parts (sessions, rooms, messages, presence, documents) and hands each what it needs; start, drain, stop.

The node sees backends only through the seams; app.py picks them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..core import errors
from ..core.wire import envelopes as wire
from .config.schema import Config
from .documents.loaded import Context
from .documents.service import Documents
from .documents.threads import Threads
from .documents.turn_scheduler import RunQueue
from .limits.admission import Admission
from .limits.arrivals import Arrivals, places
from .limits.descriptors import Descriptors, raise_limit
from .limits.fair_thread import FairThread
from .limits.guesses import Guesses
from .limits.rates import Rates
from .limits.refusals import Refusals
from .memory_bound import MemoryBound
from .net.addresses import Addresses
from .net.origins import Origins
from .observe.counters import Counters
from .observe.metrics import Metrics
from .process.readiness import Readiness
from .protocol.handlers import table
from .protocol.native import NativeSession
from .protocol.services import Services
from .rooms.classes import RoomClasses
from .rooms.hub import Hub
from .rooms.messages import EVERYWHERE, Messages
from .rooms.presence import PresenceTracker
from .rooms.service import Rooms
from .seams.auth import Auth
from .seams.broker import Broker
from .seams.clock import LoopClock
from .seams.event_log import EventLog
from .seams.outcome import Unavailable
from .seams.presence import Presence
from .seams.store import Store
from .sessions.authentication import Authentication
from .sessions.flusher import Flusher
from .sessions.pings import PingWheel
from .sessions.session import Session, Sessions, State
from .sessions.users import Users
from .transports.websocket import WebSocket

log = logging.getLogger("syncline.node")

T = TypeVar("T")


#: What clients of a node without others get to say goodbye.
ALONE_SECONDS = 1.0


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
        limits, rooms = config.limits, config.rooms
        self.config = config
        self.loop = loop = asyncio.get_running_loop()
        self.clock = clock = LoopClock(loop)
        self.store = store
        self.broker = broker
        self.events = events
        self._presence_backend = presence
        self.draining = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._timers: list[asyncio.Task[None]] = []
        # What is asked for, and by whom.
        self.handlers = table()
        self.counters = counters = Counters(self.handlers)
        self.refusals = Refusals()
        self.descriptors = Descriptors()
        self.admission = Admission(limits.handshakes_per_second, limits.handshakes_burst, clock.monotonic)
        self.addresses = Addresses(config.server.trusted_proxies, proxy_protocol=config.server.proxy_protocol)
        self.origins = Origins(config.server, guests=config.auth.mode == "guest")
        self.arrivals = Arrivals(
            places(limits.connections, config.server.backlog)[0],
            self.refusals,
            of_address=limits.address_connections,
            strangers_of_address=limits.address_unidentified,
        )
        self.guesses = Guesses(limits.wrong_passwords_per_minute, clock.monotonic)
        self.rates: Rates = Rates(config, clock)
        #: For password hashes: each takes milliseconds of several cores and 64 MiB, so one at a time.
        self.hashing = FairThread(loop, "syncline-hash", limits.waiting_work)
        # Sessions.
        self.flusher = Flusher(loop.call_soon, limits.queue_low_bytes, limits.queue_high_bytes, limits.queue_messages)
        self.sessions = sessions = Sessions(config, clock, counters)
        self.pings: PingWheel[WebSocket] = PingWheel(
            limits.ping_seconds, limits.pong_timeout_seconds, self._dead, self._seen
        )
        self.users = Users(store, clock, config)
        self.authentication = Authentication(
            config,
            auth,
            self.users,
            sessions,
            self.arrivals,
            self.rates,
            comes_by=self.pings.longest,
            call_soon=loop.call_soon,
        )
        # Documents.
        self.threads = Threads(loop, limits.waiting_work)
        turns = RunQueue(clock, loop.call_soon)
        self.documents = Documents(Context(config, store, clock, counters, self.threads, turns, self.spawn))
        # Rooms.
        history = (rooms.history_size, rooms.history_bytes, rooms.history_seconds)
        classes = RoomClasses(rooms.latest, rooms.volatile)
        self.hub = hub = Hub(broker, sessions, self.spawn, history, clock.time, classes.of, limits.recent_users)
        self.presence = PresenceTracker(presence, broker, clock, hub, sessions, config, self.spawn, loop.call_soon)
        self.rooms = Rooms(config, store, clock, hub, self.presence, self.guesses, self.hashing, counters)
        self.memory = MemoryBound(config, clock, broker, sessions, hub, self.documents.registry, loop.call_soon)
        self.readiness = Readiness(store, broker, clock, EVERYWHERE)
        self.messages = Messages(
            broker,
            store,
            events,
            clock,
            counters,
            sessions,
            hub,
            self.presence,
            grew=self.memory.grew,
            heard=self.readiness.heard,
        )
        sessions.leaving = (
            lambda session, _: self.rates.closed(session),
            self.rooms.session_gone,
            self.documents.session_gone,
        )
        self.metrics = Metrics(self, State)
        self.services = Services(
            config,
            clock,
            counters,
            self.handlers,
            sessions,
            self.arrivals,
            self.rates,
            self.authentication,
            self.rooms,
            self.messages,
            self.presence,
            self.documents,
            self.spawn,
        )

    def session(self, codec: wire.Codec, address: str) -> Session:
        """A new one, of a client of the native protocol."""
        return NativeSession(self.services, codec, address)

    # Life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Starts what runs beside the connections. The store is started already. Raises Unavailable."""
        await self.broker.start(self.messages)
        await self.broker.subscribe(EVERYWHERE)
        await self._presence_backend.start()
        if self.events is not None:
            await self.events.start()
        self.documents.compaction.start()
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
        self.origins = Origins(config.server, guests=config.auth.mode == "guest")
        self.arrivals.limit(
            places(limits.connections, config.server.backlog)[0],
            limits.address_connections,
            limits.address_unidentified,
        )
        self.hub.recent = limits.recent_users
        self.guesses.limit(limits.wrong_passwords_per_minute)
        self.authentication.reconfigured(self.rates.reconfigured(self.sessions.connections.values()))
        self.hashing.limit(limits.waiting_work)
        self.threads.limit(limits.waiting_work)

    async def drain(self) -> None:
        """No new connections; clients are handed over over ``server.drain_seconds``, or as soon as they have left. Where there is no other
        node all go at once: the sooner they have gone, the sooner this one is back."""
        self.draining = True
        sessions = list(self.sessions.connections.values())
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
        while self.sessions.connections and self.clock.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for session in list(self.sessions.connections.values()):
            session.connection.transport.abort()

    async def stop(self) -> None:
        """After ``drain``: finishes what was accepted, then closes everything."""
        self.draining = True
        for timer in self._timers:
            timer.cancel()
        await asyncio.gather(*self._timers, return_exceptions=True)
        self.presence.stop()
        await self.documents.close()
        while self._tasks:
            # Not gather: of tasks that have all ended, Python 3.12 and newer make one that is done, and the loop never comes to the
            # callbacks that take them out of the set. ``wait`` always lets it go on.
            await asyncio.wait(self._tasks)
        for part in (self.broker, self._presence_backend, self.events, self.store):
            if part is not None:
                await part.close()
        self.threads.close()
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

    # Tasks ---------------------------------------------------------------------------------------------------

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

    def _dead(self, socket: WebSocket) -> None:
        socket.session.close(errors.PING_TIMEOUT)

    def _seen(self, socket: WebSocket) -> None:
        self.authentication.watch(socket.session)
