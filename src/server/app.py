"""Picks the parts that the configuration names, wires them, and serves. Nobody else names them but the command line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn

from .backends import memory
from .backends.jwt import JwtAuth
from .config.load import ConfigError
from .config.reload import Reload, plan
from .config.schema import Config
from .limits.arrivals import places
from .node import Node
from .process import sockets
from .process.sockets import Listeners
from .seams.broker import Broker
from .seams.clock import Clock, LoopClock
from .seams.event_log import EventLog
from .seams.outcome import Unavailable
from .seams.presence import Presence
from .seams.store import Store
from .transports import ws
from .web import api, http

log = logging.getLogger("syncline.app")


class StartError(Exception):
    """The server cannot start; the text is for the operator."""


@dataclass(slots=True)
class _Parts:
    """The configured backends, not started."""

    store: Store
    broker: Broker
    presence: Presence
    events: EventLog | None


def _parts(config: Config, clock: Clock, *, serves: bool) -> _Parts:
    rooms, keep = config.rooms, config.events.keep
    events = config.store.backend if config.events.backend == "store" else config.events.backend
    history: dict[str, Any] = {
        "history_size": rooms.history_size,
        "history_bytes": rooms.history_bytes,
        "history_seconds": rooms.history_seconds,
        "max_histories": rooms.max_histories + 1,  # one is the node's own, for what is meant for everybody
        "idempotency_seconds": rooms.idempotency_seconds,
        "idempotency_keys": rooms.idempotency_keys,
        "now": clock.time,
    }
    parts = _Parts(
        memory.MemoryStore(clock),
        memory.MemoryBroker(**history),
        memory.MemoryPresence(clock),
        memory.MemoryEventLog(clock, keep=keep) if events == "memory" else None,
    )
    if "sqlite" in (config.store.backend, config.broker.backend, config.presence.backend, events):
        from .backends import sqlite  # drivers are imported where they are configured

        # One database for all of them: what one turn of the event loop writes is one transaction.
        database = sqlite.open_database(
            config.store.path,
            synchronous=config.store.synchronous,
            queue_size=config.store.queue_size,
            serves=serves,
        )
        if config.store.backend == "sqlite":
            parts.store = sqlite.SqliteStore(database, clock)
        if config.broker.backend == "sqlite":
            parts.broker = sqlite.SqliteBroker(database, **history)
        if config.presence.backend == "sqlite":
            parts.presence = sqlite.SqlitePresence(database, clock)
        if events == "sqlite":
            parts.events = sqlite.SqliteEventLog(database, clock, keep=keep)
    return parts


async def _start(store: Store) -> None:
    try:
        await store.start()
    except Unavailable as error:
        raise StartError(f"store: {error}") from error


async def open_store(config: Config) -> Store:
    """The configured store, started: for commands that need it alone. Raises StartError."""
    store = _parts(config, LoopClock(asyncio.get_running_loop()), serves=False).store
    await _start(store)
    return store


def kept_secret(config: Config, error: ValueError) -> str:
    """Why tokens cannot be signed with what the store kept."""
    where = config.store.path if config.store.backend == "sqlite" else "the store"
    advice = "put a backup in its place (syncline restore FILE), or set auth.secret"
    return f"{where}: the secret that is kept in it is damaged ({error}): {advice}"


async def _auth(config: Config, store: Store) -> JwtAuth:
    """Raises ConfigError, StartError."""
    secret = config.auth.secret
    if config.auth.mode == "guest" and config.auth.algorithm == "HS256" and not secret:
        # Kept in the store, so that guests stay who they are when the server restarts.
        try:
            secret = await store.setting("auth.secret", lambda: secrets.token_urlsafe(48))
        except Unavailable as error:
            raise StartError(str(error)) from error
    try:
        return JwtAuth(config.auth, secret=secret)
    except ValueError as error:
        if secret == config.auth.secret:
            raise ConfigError([str(error)]) from error
        raise StartError(kept_secret(config, error)) from error


def check(config: Config) -> None:
    """Whether a node could start with ``config`` where one runs already: its files and its database are looked at, nothing is changed.
    Raises StartError."""
    backends = (config.store.backend, config.broker.backend, config.presence.backend, config.events.backend)
    if "sqlite" in backends:
        from .backends import sqlite

        try:
            sqlite.require_known(Path(config.store.path))
        except Unavailable as error:
            raise StartError(f"store: {error}") from error


async def build(config: Config) -> Node:
    """A node with its parts; only the store is started. Raises ConfigError, StartError."""
    parts = _parts(config, LoopClock(asyncio.get_running_loop()), serves=True)
    await _start(parts.store)
    try:
        auth = await _auth(config, parts.store)
    except (ConfigError, StartError):
        await parts.store.close()
        raise
    if auth.guests:
        log.warning('guest users are let in without a token: for demos only; set auth.mode = "jwt" for anything else')
    return Node(
        config,
        store=parts.store,
        broker=parts.broker,
        presence=parts.presence,
        auth=auth,
        events=parts.events,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling: the node drains first."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class App:
    """A running server: ``url`` to reach it, ``node`` to look inside."""

    def __init__(self, node: Node, server: _Server, listeners: Listeners) -> None:
        self.node = node
        self._server = server
        self._listeners = listeners
        self._serving: asyncio.Task[None] | None = None
        self.urls = [sockets.url(one) for one in listeners.sockets]
        self.url = self.urls[0]
        self.to_open = [url for one in listeners.sockets for url in sockets.to_open(one)]
        self.port: int = listeners.sockets[0].getsockname()[1]

    async def start(self) -> None:
        """Raises StartError; what was started is stopped then."""
        try:
            await self.node.start()
        except Unavailable as error:
            await self.node.stop()
            self._listeners.close()
            raise StartError(str(error)) from error
        self._serving = asyncio.get_running_loop().create_task(self._server.serve(self._listeners.sockets))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise StartError("the HTTP server did not start")
            await asyncio.sleep(0.001)

    async def reload(self, read: Config) -> Reload:
        """Takes a configuration over that was read again. Raises ConfigError, StartError; nothing has changed then."""
        reload = plan(self.node.config, read)
        auth = await _auth(reload.config, self.node.store)
        self.node.config.swap(reload.config)
        self.node.authentication.auth = auth  # also when no setting is new: the key files may be
        self.node.reconfigured()
        return reload

    def listeners_for(self, config: Config) -> Listeners:
        """Those that a process with ``config`` is to have after this one: the same, or others when these are the server's own and it
        says another address. They are the caller's to close. Raises ListenError."""
        now, then = self.node.config.server, config.server
        if not self._listeners.own or (now.host, now.port) == (then.host, then.port):
            return self._listeners.duplicate()
        listener = sockets.bind(then)
        listener.listen(_backlog(config))
        return Listeners([listener], own=True)

    async def stop(self, kept: Listeners | None = None) -> None:
        """Hands the clients over, finishes what was accepted, closes. ``kept``: what another process will have (``listeners_for``)."""
        self.node.draining = True  # while the port is still open: /ready says so
        if kept is not None or not self._listeners.own:
            self._close()  # who comes from now on waits for the next process
        await self.node.drain()
        self._close()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        await self.node.stop()

    def _close(self) -> None:
        for server in getattr(self._server, "servers", []):
            server.close()


def _backlog(config: Config) -> int:
    return places(config.limits.connections, config.server.backlog)[1]


async def create(config: Config, inherited: Listeners | None = None) -> App:
    """Everything wired and the port taken, not serving yet. ``inherited``: sockets that listen already, to be used instead of
    ``server.host`` and ``server.port``. Raises ConfigError, StartError."""
    try:
        listeners = inherited or Listeners([sockets.bind(config.server)], own=True)
    except sockets.ListenError as error:
        raise StartError(str(error)) from error
    try:
        for one in listeners.sockets:
            sockets.tune(one, config.limits.unsent_bytes)
        node = await build(config)
    except BaseException:
        listeners.close()
        raise
    endpoint = ws.Endpoint(node, node.session, node.pings)
    settings = uvicorn.Config(
        http.create(node, api.routes(config, node.messages, node.clock, node.counters)),
        # uvicorn wants classes, and calls them.
        http=cast("type[asyncio.Protocol]", endpoint.front),
        ws=cast("type[asyncio.Protocol]", endpoint.upgraded),
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=_backlog(config),
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    return App(node, _Server(settings), listeners)


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[App]:
    """A server inside this event loop, for tests and for programs that embed it."""
    app = await create(config)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
