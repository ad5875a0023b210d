"""Picks the parts that the configuration names, wires them, and serves. The only place that names backends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import cast

import uvicorn

from . import api, http
from .arrivals import places
from .backends import memory
from .backends.jwt import JwtAuth
from .clock import LoopClock
from .config import Config
from .node import Node
from .seams import Broker, Clock, EventLog, Presence, Store, Unavailable
from .transports import ws

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
    history = {
        "history_size": rooms.history_size,
        "history_bytes": rooms.history_bytes,
        "max_histories": rooms.max_histories,
    }
    parts = _Parts(
        memory.MemoryStore(clock),
        memory.MemoryBroker(**history, history_seconds=rooms.history_seconds, now=clock.time),
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
            parts.broker = sqlite.SqliteBroker(
                database, **history, history_seconds=rooms.history_seconds, now=clock.time
            )
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


async def build(config: Config) -> Node:
    """A node with its parts; only the store is started. Raises StartError."""
    parts = _parts(config, LoopClock(asyncio.get_running_loop()), serves=True)
    await _start(parts.store)
    secret = config.auth.secret
    if config.auth.mode == "guest" and config.auth.algorithm == "HS256" and not secret:
        # Kept in the store, so that guests stay who they are when the server restarts.
        try:
            secret = await parts.store.setting("auth.secret", lambda: secrets.token_urlsafe(48))
        except Unavailable as error:
            await parts.store.close()
            raise StartError(str(error)) from error
    auth = JwtAuth(config.auth, secret=secret)
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

    def __init__(self, node: Node, server: _Server, listener: socket.socket) -> None:
        self.node = node
        self._server = server
        self._listener = listener
        self._serving: asyncio.Task[None] | None = None
        host, port = listener.getsockname()[:2]
        self.port: int = port
        self.url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def start(self) -> None:
        """Raises StartError; what was started is stopped then."""
        try:
            await self.node.start()
        except Unavailable as error:
            await self.node.stop()
            self._listener.close()
            raise StartError(str(error)) from error
        self._serving = asyncio.get_running_loop().create_task(self._server.serve([self._listener]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
                raise StartError("the HTTP server did not start")
            await asyncio.sleep(0.001)

    async def stop(self) -> None:
        """Stops accepting, hands the clients over, finishes what was accepted, closes."""
        for server in getattr(self._server, "servers", []):
            server.close()
        await self.node.drain()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        await self.node.stop()


def _listen(config: Config) -> socket.socket:
    server = config.server
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            server.host, server.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it: what waits for a slow reader waits in its queue, where it is bounded and can still be replaced.
        if config.limits.unsent_bytes and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, config.limits.unsent_bytes)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as error:
        raise StartError(f"cannot listen on {server.host}:{server.port}: {error.strerror or error}") from error
    return listener


async def create(config: Config) -> App:
    """Everything wired and listening on the port, not serving yet. Raises StartError."""
    listener = _listen(config)
    try:
        node = await build(config)
    except BaseException:
        listener.close()
        raise
    endpoint = ws.Endpoint(node)
    settings = uvicorn.Config(
        http.create(node, api.routes(node)),
        # uvicorn wants classes, and calls them.
        http=cast("type[asyncio.Protocol]", endpoint.front),
        ws=cast("type[asyncio.Protocol]", endpoint.upgraded),
        lifespan="off",
        log_config=None,
        access_log=False,
        backlog=places(config.limits.connections, config.server.backlog)[1],
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,
    )
    return App(node, _Server(settings), listener)


@contextlib.asynccontextmanager
async def running(config: Config) -> AsyncIterator[App]:
    """A server inside this event loop, for tests and for programs that embed it."""
    app = await create(config)
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def serve(config: Config, announce: Callable[[str], object] = print) -> None:
    """Serves until SIGTERM or SIGINT, then drains and returns. A second signal ends it at once. Raises StartError."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def signalled() -> None:
        if stop.is_set():
            log.warning("second signal: stopping without draining")
            for session in list(app.node.hub.sessions.values()):
                session.connection.transport.abort()
        stop.set()

    app = await create(config)
    await app.start()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
    announce(f"listening on {app.url}")
    log.info("listening on %s", app.url)
    await stop.wait()
    log.info("stopping")
    await app.stop()
