"""What is said on a connection, for each protocol that the generator speaks: bytes made once, sent by the engine.

``plain`` is a protocol for bare WebSocket servers that are measured beside: the first message names the room and is
answered by ``joined``; what follows is published to the room as it is. ``envelope`` is the same with Syncline's
envelopes, so that frames are as long as Syncline's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

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


class Recovery(Protocol):
    """What is kept for each member so that it can go on where it was."""

    def heard(self, member: int, message: bytes, position: bytes) -> None:
        """A message of its greeting; ``position``: what followed the position's key in the newest message."""

    def greeting(self, member: int, client: Client, position: bytes) -> Greeting | None:
        """What to say when it comes back. None: it was never here."""


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
    #: Where a message says its position: behind these bytes, before or after the payload.
    position_key: bytes = b""
    position_after: bool = False
    #: What coming back means; None: to begin anew.
    recovery: Callable[[], Recovery] | None = None

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


def _requests(client: Client, **more: object) -> tuple[dict[str, object], dict[str, object]]:
    who = {"token": client.token} if client.token else {"name": client.name}
    auth = {"event": "auth", "data": who, "id": 1}
    join = {"event": "room:join", "data": {"room": client.room, **more}, "id": 2}
    return auth, join


def _greet(encode: Encode) -> Callable[[Client, bool], Greeting]:
    def greeting(client: Client, stepwise: bool) -> Greeting:
        auth, join = _requests(client)
        if stepwise:
            return (b"", encode(auth)), (b"auth:accepted", encode(join)), (b"room:joined", b"")
        return (b"", encode([auth, join])), (b"room:joined", b"")

    return greeting


class _Positions:
    """Recovery by (offset, epoch). The epoch is told at join; the offset there and with each message."""

    def __init__(self, encode: Encode, decode: Callable[[bytes], Any], offset: Callable[[bytes], int]) -> None:
        self._encode, self._decode, self._offset = encode, decode, offset
        #: member -> offset and epoch at its last join, and what ``position`` was then.
        self._joined: dict[int, tuple[int, str, bytes]] = {}

    def heard(self, member: int, message: bytes, position: bytes) -> None:
        told = self._decode(message)
        for one in told if isinstance(told, list) else [told]:
            if one.get("event") == "room:joined":
                at = one["result"]["position"]
                self._joined[member] = at["offset"], at["epoch"], position

    def greeting(self, member: int, client: Client, position: bytes) -> Greeting | None:
        if member not in self._joined:
            return None
        offset, epoch, then = self._joined[member]
        if position != then:
            offset = self._offset(position)
        auth, join = _requests(client, recover={"offset": offset, "epoch": epoch})
        return (b"", self._encode([auth, join])), (b"room:joined", b"")


def _json_offset(text: bytes) -> int:
    return int(text[: len(text) - len(text.lstrip(b"0123456789"))])


def _msgpack_offset(data: bytes) -> int:
    """MessagePack's integers: the first byte says the kind."""
    size = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}.get(data[0], 0)
    return int.from_bytes(data[1 : 1 + size], "big") if size else data[0]


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
    position_key=b'"offset":',
    recovery=lambda: _Positions(_json, msgspec.json.decode, _json_offset),
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
    position_key=b"\xa6offset",
    recovery=lambda: _Positions(_msgpack, msgspec.msgpack.decode, _msgpack_offset),
)

# -- others ------------------------------------------------------------------------------------------------------------


def _named(client: Client, stepwise: bool) -> Greeting:
    return (b"", client.room.encode()), (b"joined", b"")


PLAIN: Final = Dialect("plain", "/", lambda room, payload: (b"", b""), _named)

ENVELOPE: Final = Dialect("envelope", "/envelope", _send(_json), _named, lambda size: (b'"', b'"'))


def _socketio_frame(room: str, payload: bytes) -> tuple[bytes, bytes]:
    return _split(b"42" + _json(["message", payload.decode("ascii")]), payload)


def _socketio_greeting(client: Client, stepwise: bool) -> Greeting:
    return (b'0{"', b"40"), (b'40{"', b"42" + _json(["join", client.room])), (b'42["joined"', b"")


class _Sessions:
    """Socket.IO's connection state recovery: a private session id, and the id that each packet ends with."""

    def __init__(self) -> None:
        self._ids: dict[int, str] = {}

    def heard(self, member: int, message: bytes, position: bytes) -> None:
        if message.startswith(b"40{"):
            self._ids[member] = json.loads(message[2:]).get("pid", "")

    def greeting(self, member: int, client: Client, position: bytes) -> Greeting | None:
        known, offset = self._ids.get(member), position.partition(b'"')[0].decode()
        if not known or not offset:
            return None
        connect = b"40" + _json({"pid": known, "offset": offset})
        # To join where one is already costs nothing; whether one still is, only the server knows.
        return (b'0{"', connect), *_socketio_greeting(client, False)[1:]


#: Engine.IO 4: "0{...}" opens, "2" pings; Socket.IO 5 in it: "40" connects, "42[...]" is an event.
SOCKETIO: Final = Dialect(
    "socketio",
    "/socket.io/?EIO=4&transport=websocket",
    _socketio_frame,
    _socketio_greeting,
    lambda size: (b'"', b'"'),
    error=b"44{",
    ping=b"2",
    pong=b"3",
)

SOCKETIO_RECOVERY: Final = replace(
    SOCKETIO,
    name="socketio-recovery",
    position_key=b'","',
    position_after=True,
    recovery=_Sessions,
)

_ALL: Final = (SYNCLINE_JSON, SYNCLINE_MSGPACK, PLAIN, ENVELOPE, SOCKETIO, SOCKETIO_RECOVERY)
DIALECTS: Final = {one.name: one for one in _ALL}
