"""What is said on a connection, for each protocol that the generator speaks: bytes made once, sent by the engine.

``plain`` is a protocol for bare WebSocket servers that are measured beside: the first message names the room and is
answered by ``joined``; what follows is published to the room as it is. ``envelope`` is the same with Syncline's
envelopes, so that frames are as long as Syncline's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .engine import KEY

TEXT: Final = 1
BINARY: Final = 2

#: What is said after the upgrade, in steps: (wait for a message with these bytes; empty: at once, send those; empty: nothing).
Greeting = tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True)
class Client:
    """Who connects: ``token`` empty is a guest (or nobody, where the protocol knows none)."""

    room: str
    name: str
    token: str = ""


@dataclass(frozen=True)
class Dialect:
    """One protocol. See ``Engine`` for what the fields mean."""

    name: str
    path: str
    #: (what stands before, and after, a payload) of a message to a room.
    frame: Callable[[str, bytes], tuple[bytes, bytes]]
    #: What a client says. ``stepwise``: it waits for each answer instead of sending all at once.
    greeting: Callable[[Client, bool], Greeting]
    #: Around a payload that comes, by the payload's length.
    around: Callable[[int], tuple[bytes, bytes]] = field(default=lambda size: (b"", b""))
    subprotocol: str = ""
    opcode: int = TEXT
    error: bytes = b""
    ping: bytes = b""
    pong: bytes = b""

    def request(self, host: str, path: str) -> bytes:
        """The HTTP request that opens a WebSocket (RFC 6455, section 4.1)."""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY.decode()}",
            "Sec-WebSocket-Version: 13",
        ]
        if self.subprotocol:
            lines.append(f"Sec-WebSocket-Protocol: {self.subprotocol}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


# -- Syncline ----------------------------------------------------------------------------------------------------------

Encode = Callable[[Any], bytes]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


_msgpack: Encode = msgspec.msgpack.encode


def _split(frame: bytes, payload: bytes) -> tuple[bytes, bytes]:
    before, _, after = frame.partition(payload)
    return before, after


def _send(encode: Encode) -> Callable[[str, bytes], tuple[bytes, bytes]]:
    def frame(room: str, payload: bytes) -> tuple[bytes, bytes]:
        data = {"room": room, "data": payload.decode("ascii")}
        return _split(encode({"event": "message:send", "data": data}), payload)

    return frame


def _greet(encode: Encode) -> Callable[[Client, bool], Greeting]:
    def greeting(client: Client, stepwise: bool) -> Greeting:
        who = {"token": client.token} if client.token else {"name": client.name}
        auth = {"event": "auth", "data": who, "id": 1}
        join = {"event": "room:join", "data": {"room": client.room}, "id": 2}
        if stepwise:
            return (b"", encode(auth)), (b"auth:accepted", encode(join)), (b"room:joined", b"")
        return (b"", encode([auth, join])), (b"room:joined", b"")

    return greeting


def _msgpack_around(size: int) -> tuple[bytes, bytes]:
    """A string's header says its length."""
    return _msgpack("x" * size)[:-size], b""


SYNCLINE_JSON: Final = Dialect(
    "syncline-json",
    "/ws",
    _send(_json),
    _greet(_json),
    lambda size: (b'"', b'"'),
    subprotocol="syncline.v1.json",
    error=b'"event":"error"',
)

SYNCLINE_MSGPACK: Final = Dialect(
    "syncline-msgpack",
    "/ws",
    _send(_msgpack),
    _greet(_msgpack),
    _msgpack_around,
    subprotocol="syncline.v1.msgpack",
    opcode=BINARY,
    error=b"\xa5event\xa5error",
)

# -- others ------------------------------------------------------------------------------------------------------------


def _named(client: Client, stepwise: bool) -> Greeting:
    return (b"", client.room.encode()), (b"joined", b"")


PLAIN: Final = Dialect("plain", "/", lambda room, payload: (b"", b""), _named)

ENVELOPE: Final = Dialect("envelope", "/envelope", _send(_json), _named, lambda size: (b'"', b'"'))

#: Engine.IO 4: "0{...}" opens, "2" pings; Socket.IO 5 in it: "40" connects, "42[...]" is an event.
SOCKETIO: Final = Dialect(
    "socketio",
    "/socket.io/?EIO=4&transport=websocket",
    lambda room, payload: _split(b"42" + _json(["message", payload.decode("ascii")]), payload),
    lambda client, stepwise: (
        (b'0{"', b"40"),
        (b'40{"', b"42" + _json(["join", client.room])),
        (b'42["joined"', b""),
    ),
    lambda size: (b'"', b'"'),
    error=b"44{",
    ping=b"2",
    pong=b"3",
)

DIALECTS: Final = {one.name: one for one in (SYNCLINE_JSON, SYNCLINE_MSGPACK, PLAIN, ENVELOPE, SOCKETIO)}
