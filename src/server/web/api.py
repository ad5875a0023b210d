"""The HTTP API for an application's own servers: messages into rooms, events to rooms, users, connections or everyone.

docs/http-api.md. On when ``api.key`` is set; every request carries it. Bounds: ``api.body_bytes``, and what the structs below say.
What they do not have is refused: a name that is misspelt would otherwise be a value that nobody gave.
"""

from __future__ import annotations

import asyncio
import difflib
import hmac
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...core.errors import SynclineError
from ...core.rooms.room import Position, Publication
from ...core.wire.envelopes import Push
from ...core.wire.payload import check_payload
from ...core.wire.salvage import mend
from ..config.schema import Config
from ..limits.refusals import LONGEST
from ..net.bearer import bearer
from ..observe.counters import Counters
from ..protocol.events import ConnectionId, DisplayName, Name, Targets, explained
from ..rooms.hub import Hub
from ..seams.broker import Broker
from ..seams.clock import Clock
from ..seams.outcome import Done, NotWritten, Unavailable
from ..seams.store import Store
from .http import Refusal

log = logging.getLogger("syncline.api")

PATHS: Final = ("/api/messages", "/api/events")


class Messages(msgspec.Struct):
    """To be published in rooms."""

    data: msgspec.Raw
    rooms: Annotated[list[Name], msgspec.Meta(max_length=1000)] = []
    user: Name = "server"
    name: DisplayName = ""
    key: Annotated[str, msgspec.Meta(max_length=64)] = ""
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] = ""


class Event(msgspec.Struct):
    """Without position and history, at most once."""

    name: Name
    data: msgspec.Raw = msgspec.Raw(b"null")
    user: Name = "server"
    rooms: Annotated[list[Name], msgspec.Meta(max_length=1000)] = []
    users: Annotated[list[Name], msgspec.Meta(max_length=1000)] = []
    connections: Annotated[list[ConnectionId], msgspec.Meta(max_length=1000)] = []
    everyone: bool = False


class _FieldName:
    """Each is another key of a dict: so it has the fields that come twice."""

    def __init__(self, text: str) -> None:
        self.text = text


T = TypeVar("T", Messages, Event)


class Publishing(Protocol):
    """What the API needs of the node."""

    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def hub(self) -> Hub: ...
    @property
    def store(self) -> Store: ...
    @property
    def broker(self) -> Broker: ...
    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None: ...
    def send_to(self, room: str, targets: Targets, push: Push) -> None: ...


def routes(node: Publishing) -> list[Route]:
    """There is nothing at them without a key."""
    config = node.config.api
    fields = msgspec.json.Decoder(dict[_FieldName, msgspec.Raw], dec_hook=lambda _, text: _FieldName(text))

    async def publish(request: Request) -> Response:
        body = await _body(request, config.body_bytes)
        arrived = node.clock.monotonic()
        told = _decoded(body, Messages, fields)
        if not told.rooms:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, "no_target", "rooms says in which rooms it is published: at least one"
            )
        outcomes = [await _published(node, room, told, arrived) for room in dict.fromkeys(told.rooms)]
        return JSONResponse({"results": [await outcome for outcome in outcomes]}, headers={"cache-control": "no-store"})

    async def send(request: Request) -> Response:
        body = await _body(request, config.body_bytes)
        arrived = node.clock.monotonic()
        told = _decoded(body, Event, fields)
        if not (told.rooms or told.users or told.connections or told.everyone):
            text = "rooms, users, connections and everyone say who gets it: at least one of them"
            raise Refusal(HTTPStatus.BAD_REQUEST, "no_target", text)
        _tell(node, told)
        node.counters.custom_events["api"].observe(node.clock.monotonic() - arrived)
        return Response(status_code=202)

    def guarded(call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            if not config.key:
                raise HTTPException(404)
            lines = request.headers.getlist("authorization")
            given = bearer(lines[0]).encode("latin-1") if len(lines) == 1 else b""
            if not hmac.compare_digest(given, config.key.encode()):
                raise HTTPException(401, "the API key is missing or wrong", {"www-authenticate": "Bearer"})
            for name in request.query_params:
                text = "what is asked for is said in the body: there are no query parameters"
                raise Refusal(HTTPStatus.BAD_REQUEST, "unknown_parameter", text, parameter=name[:LONGEST])
            return await call(request)

        return serve

    return [Route(path, guarded(call), methods=["POST"]) for path, call in zip(PATHS, (publish, send), strict=True)]


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"at most {limit} bytes")
    return bytes(body)


def _decoded(body: bytes, kind: type[T], fields: msgspec.json.Decoder[dict[_FieldName, msgspec.Raw]]) -> T:
    """Raises HTTPException."""
    try:
        try:
            told = _parsed(body, kind, fields)
        except ValueError:
            mended = mend("json", body)
            if mended is body:
                raise
            told = _parsed(mended, kind, fields)
        check_payload("json", bytes(told.data))
    except SynclineError as error:
        raise HTTPException(400, error.message) from error
    except (ValueError, RecursionError) as error:
        text = explained(error)
        raise HTTPException(400, text) from error
    return told


def _parsed(body: bytes, kind: type[T], fields: msgspec.json.Decoder[dict[_FieldName, msgspec.Raw]]) -> T:
    """Raises Refusal, ValueError."""
    _look([name.text for name in fields.decode(body)], msgspec.structs.fields(kind))
    return msgspec.json.decode(body, type=kind)


def _look(names: list[str], known: tuple[msgspec.structs.FieldInfo, ...]) -> None:
    """At the fields of a body. Raises Refusal."""
    expected = [one.encode_name for one in known]
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise Refusal(HTTPStatus.BAD_REQUEST, "duplicate_field", f"{name!r} is there twice", field=name)
        if name not in expected:
            told = name[:LONGEST]
            near = difflib.get_close_matches(told.lower(), expected, 1)
            text = f"there is no field {told!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            raise Refusal(HTTPStatus.BAD_REQUEST, "unknown_field", text, field=told, nearest=near[0] if near else None)
        seen.add(name)


async def _published(node: Publishing, room: str, told: Messages, arrived: float) -> Awaitable[dict[str, Any]]:
    """Hands the message over; what is returned waits for the answer, so that many rooms share one commit."""
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    try:
        if room not in node.hub.rooms and await node.store.room(room) is None:
            answer.set_result({"room": room, "error": "room_not_found"})
            return answer
    except Unavailable as error:
        log.warning("store unavailable: %s", error)
        answer.set_result({"room": room, "error": "unavailable"})
        return answer
    name = told.name or told.user
    publication = Publication(room, told.user, name, node.clock.time(), "json", bytes(told.data), key=told.key)

    def done(position: Position | None, error: Exception | None) -> None:
        node.counters.published("api", node.clock.monotonic() - arrived, publication, position)
        if answer.done():  # the client is gone
            return
        if position is None:
            log.warning("publish to %s failed: %s", room, error)
            fate = "unavailable" if isinstance(error, NotWritten) else "fate_unknown"
            answer.set_result({"room": room, "error": fate})
            return
        result = {"room": room, "offset": position.offset, "epoch": position.epoch}
        again = {"duplicate": True} if publication.offset != position.offset else {}
        answer.set_result({**result, **again})

    node.publish(publication, done, told.idempotency_key)
    return answer


def _tell(node: Publishing, told: Event) -> None:
    def push(room: str | None) -> Push:
        return Push("event:custom", {"room": room, "name": told.name, "user": told.user, "data": told.data})

    for room in dict.fromkeys(told.rooms):
        node.broker.publish_ephemeral(room, "event:custom", push(room).pack())
    if told.everyone:
        node.send_to("", Targets(everyone=True), push(None))
    elif told.users or told.connections:
        node.send_to("", Targets(tuple(told.users), tuple(told.connections)), push(None))
