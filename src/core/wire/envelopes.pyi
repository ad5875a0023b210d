"""Envelopes <-> bytes, JSON and MessagePack. See envelopes.pyx."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import SynclineError
from .codec import Codec as Codec

JSON: Final[Codec]
MSGPACK: Final[Codec]
SUBPROTOCOLS: Final[dict[str, Codec]]

class Envelope(msgspec.Struct):
    """A request. ``data`` is not decoded."""

    event: str
    data: msgspec.Raw
    id: int | None

class Mended(Envelope):
    """One that had halves of surrogate pairs. ``otherwise``: its data with U+FFFC where ``data`` has U+FFFD."""

    otherwise: msgspec.Raw

class Refused(NamedTuple):
    """What was no request. ``id``: the one to be answered; None where there is none, or none that can be read."""

    id: int | None
    error: SynclineError

class Push:
    """One push, encoded at most once per codec and shared by all receivers.

    ``data`` may hold ``msgspec.Raw`` values that are in ``codec``. ``skip``: the connection that must not get it.
    ``key``: it makes earlier pushes of the same key in the room worthless to a slow reader; "": it does not.
    """

    event: str
    skip: str
    key: str
    def __init__(self, event: str, data: Any, codec: Codec = "json", skip: str = "", key: str = "") -> None: ...
    @staticmethod
    def unpack(event: str, payload: bytes) -> Push:
        """The inverse of ``pack``. Raises ValueError."""
    def pack(self) -> bytes:
        """For other nodes: codec, skip, key and body, without the event."""
    def body(self, codec: Codec) -> bytes: ...
    def frame(self, codec: Codec) -> bytes:
        """The whole WebSocket frame for members that speak ``codec``."""

def decode(codec: Codec, message: bytes, max_batch: int) -> tuple[list[Envelope], Sequence[Refused]]:
    """Requests of one frame, one or an array of them, and what was none (malformed_frame, limit_exceeded).

    Raises nothing for what the peer sent. O(message).
    """

def detach(envelope: Envelope) -> None:
    """Copies its data out of the message that it came in, which it keeps in memory otherwise. O(data)."""

def mended(codec: Codec, envelope: Envelope) -> Mended | None:
    """The request with its data mended, or None when there is nothing to mend."""

def was_mended(codec: Codec, envelope: Mended, fields: tuple[str, ...]) -> bool:
    """Whether there was something to mend in one of these fields of the data, which is an object."""

def reply_frame(codec: Codec, id: int, event: str, result: Any) -> bytes: ...
def error_frame(codec: Codec, id: int | None, code: str, message: str, context: dict[str, Any] | None = None) -> bytes:
    """The error reply to ``id``, or the `error` push, which also carries ``context``."""

def push_frame(codec: Codec, event: str, data: Any) -> bytes: ...
def pushes_frame(codec: str, pushes: list[tuple[str, Any]]) -> bytes: ...
def transcode(raw: bytes, source: Codec, target: Codec) -> bytes:
    """The same value in the other encoding. Raises ValueError when it has none."""
