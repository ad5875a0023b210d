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
from typing import Annotated, Any, Final, TypeVar

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...core.errors import SynclineError
from ...core.rooms.room import Position
from ...core.wire.payload import check_payload
from ...core.wire.salvage import mend
from ..config.schema import Config
from ..limits.refusals import LONGEST
from ..net.bearer import bearer
from ..observe.counters import Counters
from ..protocol.events import ConnectionId, DisplayName, Name, explained
from ..rooms.messages import Messages, Targets, refusal
from ..seams.clock import Clock
from ..seams.outcome import Unavailable
from .http import Refusal

log = logging.getLogger("syncline.api")

PATHS: Final = ("/api/messages", "/api/events")


class Publishing(msgspec.Struct):
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


T = TypeVar("T", Publishing, Event)


def routes(config: Config, messages: Messages, clock: Clock, counters: Counters) -> list[Route]:
    """There is nothing at them without a key."""
    fields = msgspec.json.Decoder(dict[_FieldName, msgspec.Raw], dec_hook=lambda _, text: _FieldName(text))

    async def publish(request: Request) -> Response:
        body = await _body(request, config.api.body_bytes)
        arrived = clock.monotonic()
        told = _decoded(body, Publishing, fields)
        if not told.rooms:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, "no_target", "rooms says in which rooms it is published: at least one"
            )
        outcomes = [await _published(messages, room, told, arrived) for room in dict.fromkeys(told.rooms)]
        return JSONResponse({"results": [await outcome for outcome in outcomes]}, headers={"cache-control": "no-store"})

    async def send(request: Request) -> Response:
        body = await _body(request, config.api.body_bytes)
        arrived = clock.monotonic()
        told = _decoded(body, Event, fields)
        if not (told.rooms or told.users or told.connections or told.everyone):
            text = "rooms, users, connections and everyone say who gets it: at least one of them"
            raise Refusal(HTTPStatus.BAD_REQUEST, "no_target", text)
        targets = Targets((*told.users,), (*told.connections,), told.everyone)
        messages.announce(told.rooms, targets, told.name, told.user, told.data)
        counters.custom_events["api"].observe(clock.monotonic() - arrived)
        return Response(status_code=202)

    def guarded(call: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            if not config.api.key:
                raise HTTPException(404)
            lines = request.headers.getlist("authorization")
            given = bearer(lines[0]).encode("latin-1") if len(lines) == 1 else b""
            if not hmac.compare_digest(given, config.api.key.encode()):
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


async def _published(messages: Messages, room: str, told: Publishing, arrived: float) -> Awaitable[dict[str, Any]]:
    """Hands the message over; what is returned waits for the answer, so that many rooms share one commit."""
    answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
    try:
        if not await messages.exists(room):
            answer.set_result({"room": room, "error": "room_not_found"})
            return answer
    except Unavailable as error:
        log.warning("store unavailable: %s", error)
        answer.set_result({"room": room, "error": "unavailable"})
        return answer

    def done(position: Position | None, again: bool, error: Exception | None) -> None:
        if answer.done():  # the client is gone
            return
        if position is None:
            log.warning("publish to %s failed: %s", room, error)
            answer.set_result({"room": room, "error": refusal(error).code.value})
            return
        result = {"room": room, "offset": position.offset, "epoch": position.epoch}
        answer.set_result({**result, "duplicate": True} if again else result)

    name, payload = told.name or told.user, bytes(told.data)
    messages.post(
        room, told.user, name, "json", payload, done, arrived=arrived, key=told.key, once=told.idempotency_key
    )
    return answer
