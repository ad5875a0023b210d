"""The client: one connection, the rooms and documents on it, and what is asked of the server besides."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, overload

from msgspec import structs

from ..core.types import document_type
from .backoff import Backoff, Clock
from .callbacks import AsyncCalls, Callbacks
from .codec import CodecName, Received, well_formed
from .connection import Connection, GetToken, Options, State
from .documents import Document
from .errors import ClientError, RequestError, Undecodable
from .handles import Handle
from .heartbeat import Heartbeat
from .rooms import STATUSES, CustomEvent, Room, Status
from .text_document import TextDocument

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

ROOM_EVENTS = frozenset(
    (
        "event:custom",
        "message:sent",
        "presence:update",
        "room:behind",
        "room:occupancy",
        "room:removed",
        "room:role",
        "room:user_joined",
        "room:user_left",
    )
)


class Client:
    """Made by ``connect``. Rooms and documents are joined again by themselves after each reconnect."""

    def __init__(
        self, url: str, options: Options, token: str | None, name: str | None, get_token: GetToken | None
    ) -> None:
        self._calls = AsyncCalls(options.callback_limit)
        self.connection = Connection(url, self, options, token, name, get_token)
        self._rooms: dict[str, Room] = {}
        self._documents: dict[str, Document] = {}
        self._timers: set[asyncio.Task[None]] = set()
        self._reconnects = -1
        self._key = secrets.token_hex(8)  # of this client's messages, with a number
        self._keys = 0
        self._heartbeat = Heartbeat(self, self._rooms)
        self._on_state: Callbacks[[State]] = Callbacks(self._calls)
        self._on_event: Callbacks[[CustomEvent]] = Callbacks(self._calls)
        self._on_push: Callbacks[[str, Any]] = Callbacks(self._calls)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, *, settle_seconds: float | None = None) -> int:
        """Ends the connection and every handle on it, when every edit and ``send`` is acknowledged and every callback has run,
        at the latest after ``settle_seconds`` (default: the option). Idempotent.

        Returns how many operations and messages were not acknowledged by then. They may be lost: documents have them in
        ``lost_work``, ``send`` raises Closed.
        """
        documents, rooms = [*self._documents.values()], [*self._rooms.values()]
        try:
            await self._settle([*documents, *rooms], settle_seconds, self._calls.working)
        finally:
            unsettled = sum(handle._state.unsettled for handle in documents) + sum(room._sending for room in rooms)
            for timer in [*self._timers]:
                timer.cancel()
            await self.connection.close()
            await self._calls.stop(self.connection.options.close_timeout)
        return unsettled

    # Who and how -----------------------------------------------------------------------------------------------------
    @property
    def state(self) -> State:
        """connecting, open, waiting (for the next attempt) or closed."""
        return self.connection.state

    @property
    def user(self) -> str:
        return str(self.connection.identity.get("user", ""))

    @property
    def name(self) -> str:
        return str(self.connection.identity.get("name", ""))

    @property
    def token(self) -> str | None:
        """By which to come back as the same user; a guest's is given by the server."""
        return self.connection.token

    @property
    def identity(self) -> Mapping[str, Any]:
        """All that ``auth:accepted`` said."""
        return MappingProxyType(self.connection.identity)

    @property
    def reconnects(self) -> int:
        """How often the connection was made anew."""
        return max(self._reconnects, 0)

    @property
    def callbacks_dropped(self) -> int:
        """Calls of `async def` callbacks that were not made: more than ``callback_limit`` waited, or the client was closed."""
        return self._calls.dropped

    def on_state(self, callback: Callable[[State], object]) -> Callable[[], None]:
        """Returns what takes the callback off. Any callback may be `async def`: its calls are awaited one after another."""
        return self._on_state.add(callback)

    def on_event(self, callback: Callable[[CustomEvent], object]) -> Callable[[], None]:
        """What an application's server sends to this user, this connection or everyone; its ``room`` is ""."""
        return self._on_event.add(callback)

    def on_push(self, callback: Callable[[str, Any], object]) -> Callable[[], None]:
        """Every push of the server, before its room or document sees it. The data must not be changed."""
        return self._on_push.add(callback)

    # Rooms -----------------------------------------------------------------------------------------------------------
    async def join(self, room: str, *, password: str | None = None, history: int = 0) -> Room:
        """Joins, or gives the handle that has joined already. ``history``: how many publications to bring along.

        Raises RequestError: room_not_found, password_required, password_wrong, forbidden, limit_exceeded, ...
        """
        room = well_formed(room)
        handle = self._rooms.get(room)
        if handle is None:
            handle = self._rooms[room] = Room(self, room, password, history)
        await handle._open()
        return handle

    async def create_room(self, room: str, *, password: str | None = None, default_role: str | None = "member") -> None:
        """Raises RequestError(room_exists, ...). The creator is its owner; ``default_role`` None: by grant only."""
        data: dict[str, Any] = {"room": room, "default_role": default_role}
        if password is not None:
            data["password"] = password
        await self.request("room:create", data)

    async def set_presence(self, status: Status, metadata: Any = None, *, room: str | None = None) -> None:
        """For one room or, without, for all rooms of this connection. It is said again where the server forgot it meanwhile. Raises
        ValueError for what is no status; nothing is sent then."""
        if status not in STATUSES:
            raise ValueError(f"status: {', '.join(STATUSES)}, not {status!r}")
        data: dict[str, Any] = {"status": status, "metadata": metadata}
        room = room if room is None else well_formed(room)
        await self.request("presence:update", data if room is None else data | {"room": room})
        for name, joined in self._rooms.items():
            if room in (None, name):
                joined._said = data

    # Documents -------------------------------------------------------------------------------------------------------
    @overload
    async def document(
        self,
        document: str,
        *,
        type: Literal["text"] = "text",
        content: str | None = None,
        client: str | None = None,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 65_536,
    ) -> TextDocument: ...

    @overload
    async def document(
        self,
        document: str,
        *,
        type: Literal["rich-text", "json"],
        content: Any = None,
        client: str | None = None,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 65_536,
    ) -> Document: ...

    @overload
    async def document(
        self,
        document: str,
        *,
        type: str,
        content: Any = None,
        client: str | None = None,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 65_536,
    ) -> Document: ...

    async def document(
        self,
        document: str,
        *,
        type: str = "text",
        content: Any = None,
        client: str | None = None,
        hold_limit: int = 10_000,
        pending_limit: int = 4_194_304,
        operation_limit: int = 65_536,
    ) -> Document:
        """Opens a document, or gives the handle that is open already. The limits: ``DocumentState``.

        ``client``: the ``client_id`` of an earlier handle of the same user, whose steps can then be undone; two handles
        at a time must not have the same. Default: a random one.

        ``type``: what the document is, and what it becomes when this creates it; a text has a ``TextDocument``. ``content``: its first
        one, if it has none by now (``Document.initialize``; who may only read leaves it as it is).

        Raises RequestError: invalid_data (it is of another type), document_not_found, document_unavailable, forbidden, limit_exceeded, ...;
        RequestTimeout, ConnectionLost; Undecodable: what the server has is no content of its type.
        """
        document = well_formed(document)
        handle = self._documents.get(document)
        if handle is None:
            limits = {"hold_limit": hold_limit, "pending_limit": pending_limit, "operation_limit": operation_limit}
            if type == "text":
                handle = TextDocument(self, document, client, **limits)
            else:
                handle = Document(self, document, document_type(type), client, **limits)
            self._documents[document] = handle
        elif type != handle.type:
            raise RequestError("invalid_data", f"{document!r} is open as another type", "document:join")
        await handle._open()
        if content is not None and handle.role != "reader" and handle._state.type.is_empty(handle._state.view):
            await handle.initialize(content)
        return handle

    async def create_document(
        self,
        document: str,
        text: str = "",
        *,
        type: Literal["text", "rich-text", "json"] = "text",
        content: Any = None,
        default_role: str | None = "editor",
    ) -> None:
        """``content`` is for the types other than text, ``text`` for that. Raises RequestError(document_exists, document_too_large,
        invalid_data, ...)."""
        data: dict[str, Any] = {"document": well_formed(document), "default_role": default_role, "type": type}
        if text or type == "text":
            data["text"] = text
        if content is not None or type != "text":
            data["content"] = content
        await self.request("document:create", data)

    # Plain requests --------------------------------------------------------------------------------------------------
    async def request(self, event: str, data: Any = None, accept: Callable[[Any], Any] | None = None) -> Any:
        """Any event of the protocol; returns the result. Errors: ``Connection.request``."""
        return await self.connection.request(event, data, accept)

    async def ping(self) -> float:
        """Round trip in seconds."""
        clock = self.connection.options.clock
        started = clock.monotonic()
        await self.request("ping")
        return clock.monotonic() - started

    # Called by the connection (Owner) --------------------------------------------------------------------------------
    def on_authenticating(self) -> None:
        for room in [*self._rooms.values()]:
            if room.position.epoch:
                room._rejoin()
        for document in [*self._documents.values()]:
            if document.generation:
                document._rejoin()

    def on_open(self, identity: dict[str, Any]) -> None:
        self._reconnects += 1
        self._heartbeat.start(identity)
        if self._reconnects and self._rooms:
            self._heartbeat.soon()

    def on_push_received(self, event: str, data: dict[str, Any]) -> None:
        self._on_push.fire(event, data)
        if event == "event:custom" and data.get("room") is None:
            self._on_event.fire(CustomEvent("", data["name"], data["user"], data.get("data")))
        elif event in ROOM_EVENTS:
            room = self._rooms.get(data.get("room", ""))
            if room is not None:
                room._push(event, data)
        elif event.startswith("document:") or event == "error":
            document = self._documents.get(data.get("document", ""))
            if document is not None and (event != "error" or data.get("event") == "document:operation"):
                document._push(event, data)

    def on_message_received(self, received: Received) -> None:
        if self._on_push:
            try:
                data = structs.asdict(received) | {"data": self.connection.decode(received.data)}
            except Undecodable:
                pass  # the room says so
            else:
                self._on_push.fire("message:received", data)
        room = self._rooms.get(received.room)
        if room is not None:
            room._message(received)

    def on_down(self) -> None:
        self._heartbeat.stop()
        for timer in [*self._timers]:
            timer.cancel()
        for document in self._documents.values():
            document._state.detach()

    def on_state_changed(self, state: State) -> None:
        self._on_state.fire(state)

    def on_end(self, error: ClientError) -> None:
        self._heartbeat.stop()
        for room in [*self._rooms.values()]:
            room._end(error)
        for document in [*self._documents.values()]:
            document._end(error)
        self._rooms.clear()
        self._documents.clear()

    # Called by rooms and documents -----------------------------------------------------------------------------------
    def later(self, action: Callable[[], object], attempt: int = 1, error: ClientError | None = None) -> None:
        """``action`` after a ``_pause``; on this link only: the next link joins everything anyway."""

        async def wait() -> None:
            await self._pause(attempt, error)
            action()

        timer = asyncio.get_running_loop().create_task(wait())
        self._timers.add(timer)
        timer.add_done_callback(self._timers.discard)

    async def _pause(self, attempt: int, error: ClientError | None) -> None:
        """A jittered delay, after what the server said in ``error``."""
        least = error.retry_after or 0.0 if isinstance(error, RequestError) else 0.0
        options = self.connection.options
        await options.clock.sleep(least + options.backoff.delay(attempt - 1))

    async def _settle(
        self,
        handles: Sequence[Handle],
        seconds: float | None,
        working: Callable[[], set[asyncio.Task[None]]] = set,
    ) -> None:
        """Until the server has all that they have and nothing is ``working``; or ``seconds`` (None: the option), or the end."""
        await asyncio.sleep(0)  # a ``send`` in a task that was just made begins
        for handle in handles:
            handle._hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.connection.options.settle_seconds if seconds is None else seconds):
                while True:
                    if tasks := working():
                        await asyncio.wait(tasks)  # a callback may edit and send
                    unsettled = [one.settled() for one in handles if one.error is None and not one._is_settled]
                    if unsettled:
                        await asyncio.gather(*unsettled, return_exceptions=True)
                    elif not tasks:
                        return

    def _next_key(self) -> str:
        """An idempotency key."""
        self._keys += 1
        return f"{self._key}-{self._keys:x}"

    def _handles(self, kind: str) -> dict[str, Any]:
        return self._rooms if kind == "room" else self._documents

    def _knows(self, kind: str, name: str) -> bool:
        """Whether there is a handle of it."""
        return name in self._handles(kind)

    def _forget(self, handle: Handle) -> None:
        handles = self._handles(handle._kind)
        if handles.get(handle.name) is handle:
            del handles[handle.name]


async def connect(
    url: str,
    *,
    token: str | None = None,
    name: str | None = None,
    codec: CodecName | None = None,
    get_token: GetToken | None = None,
    retry: bool = False,
    options: Options | None = None,
    backoff: Backoff | None = None,
    clock: Clock | None = None,
    ssl_context: ssl.SSLContext | None = None,
) -> Client:
    """A client that is connected and authenticated: ``connect("ws://127.0.0.1:8000/ws", name="Ada")``.

    url: ws or wss; http and https stand for them.
    token: a JWT. Without one, and without ``get_token``, the server must take guests; ``name`` is then the guest's.
    get_token: ``async () -> str``, asked for a token when there is none, before one expires, and when one was refused: once for each
        connection that is tried. When it raises, takes longer than ``Options.open_timeout`` or returns no token, that attempt has failed.
    retry: keep trying also when the very first attempt fails; otherwise that one is raised.
    options: the other limits and times; ``codec``, ``backoff``, ``clock`` and ``ssl_context`` here go before
        its own. codec: json (the default) or msgpack.

    Raises ConnectFailed (NoToken: of get_token), RequestError (token_invalid, token_expired, invalid_data), RequestTimeout, Disconnected.
    """
    base = options or Options()
    base = replace(
        base,
        codec=codec or base.codec,
        backoff=backoff or base.backoff,
        clock=clock or base.clock,
        ssl_context=ssl_context or base.ssl_context,
    )
    client = Client(re.sub("^http", "ws", url, flags=re.IGNORECASE), base, token, name, get_token)
    try:
        await client.connection.start(retry)
    except BaseException:
        await client.connection.close()
        raise
    return client
