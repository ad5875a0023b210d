"""The data of every request event, as typed msgspec structs. docs/protocol.md shows each with an example.

Payloads (``data`` of messages and events, ``metadata`` of presence) stay ``msgspec.Raw``. Lengths are bounded here, where
data enters; sizes that are configurable are checked by the handlers. Unknown fields are ignored, for later versions, but not where a
misspelt one would open to all what is meant for few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_type_hints

import msgspec

from ..net.names import LONGEST_NAME, NAME

_DISPLAY_NAME = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
_VISIBLE = r"\A[!-~]+\Z"
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME, pattern=NAME)]
DisplayName = Annotated[str, msgspec.Meta(max_length=128, pattern=_DISPLAY_NAME)]
Token = Annotated[str, msgspec.Meta(max_length=16_384)]
Password = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]
ClientId = Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=_VISIBLE)]
ConnectionId = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
Counter = Annotated[int, msgspec.Meta(ge=0, le=9007199254740991)]
Sequence = Annotated[int, msgspec.Meta(ge=1, le=9007199254740991)]
Unit = Literal["utf-16", "unicode"]
RoomRole = Literal["owner", "moderator", "member", "reader"]
DocumentRole = Literal["owner", "editor", "reader"]
DocumentTypeName = Annotated[str, msgspec.Meta(max_length=64)]
Status = Literal["online", "away", "busy"]


_WORDS = {
    f"matching regex {NAME!r}": "without control characters",
    f"matching regex {_DISPLAY_NAME!r}": "without control characters",
    f"matching regex {_VISIBLE!r}": "of visible ASCII characters",
}


def explained(error: Exception, data: Any = None) -> str:
    """What a decoder of ``data``, a struct, says, for who wrote the data."""
    if not isinstance(error, msgspec.DecodeError):
        return "not decodable"
    text = str(error)
    for pattern, words in _WORDS.items():
        text = text.replace(pattern, words)
    if found := re.fullmatch(r"Invalid enum value .* - at `\$\.(\w+)`", text, re.DOTALL):
        field = get_type_hints(data).get(found[1]) if data is not None else None
        values = [value for value in _values(field) if isinstance(value, str)]
        text += f": one of {', '.join(values)}" if values else ""
    return text


def _values(field: Any) -> Iterator[object]:
    """What a Literal may be, also in a union."""
    for argument in get_args(field):
        if get_args(argument):
            yield from _values(argument)
        else:
            yield argument


class Empty(msgspec.Struct):
    """Events that need no data."""


class Authenticate(msgspec.Struct):
    """``resume``: this client's last connection, which is over."""

    token: Token | None = None
    name: DisplayName = ""
    resume: ConnectionId | None = None


class Refresh(msgspec.Struct):
    token: Token | None = None


class RoomPosition(msgspec.Struct):
    offset: Counter
    epoch: Annotated[str, msgspec.Meta(max_length=64)]


class RoomCreate(msgspec.Struct, forbid_unknown_fields=True):
    room: Name
    password: Password | None = None
    default_role: Literal["member", "reader"] | None = "member"


class DigestState(msgspec.Struct):
    """What a returning client goes on with: a digest that began at ``since`` and is proven up to ``proven``."""

    since: Counter
    proven: Counter


class RoomJoin(msgspec.Struct):
    room: Name
    password: Password | None = None
    history: Counter = 0
    recover: RoomPosition | None = None
    digest: bool | DigestState = False


class DigestClaim(msgspec.Struct):
    """What a client has of a room: up to where, and the digest there."""

    room: Name
    epoch: Annotated[str, msgspec.Meta(max_length=64)]
    offset: Counter
    digest: Annotated[int, msgspec.Meta(ge=0, le=4_294_967_295)]


class RoomDigest(msgspec.Struct):
    rooms: Annotated[list[DigestClaim], msgspec.Meta(max_length=256)]


class RoomLeave(msgspec.Struct):
    room: Name
    resign: bool = False


class RoomOnly(msgspec.Struct):
    room: Name


class RoomGrant(msgspec.Struct):
    room: Name
    user: Name
    role: RoomRole | None


class MessageSend(msgspec.Struct):
    """``key``: in a room of the class latest, what this is the newest of; "": the sender. ``echo`` false: the sending connection does
    not get it."""

    room: Name
    data: msgspec.Raw
    key: Annotated[str, msgspec.Meta(max_length=64)] = ""
    echo: bool = True
    idempotency_key: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class Recipients(msgspec.Struct, forbid_unknown_fields=True):
    users: Annotated[list[Name], msgspec.Meta(max_length=100)] = []
    connections: Annotated[list[ConnectionId], msgspec.Meta(max_length=100)] = []

    def __post_init__(self) -> None:
        if not self.users and not self.connections:
            raise ValueError("names nobody")


class CustomEvent(msgspec.Struct, forbid_unknown_fields=True):
    room: Name
    name: Name
    data: msgspec.Raw = msgspec.Raw(b"")
    # Unset: everybody in the room. Null is refused: it might be a list that was never made.
    to: Recipients | msgspec.UnsetType = msgspec.UNSET


class PresenceUpdate(msgspec.Struct):
    status: Status
    metadata: msgspec.Raw = msgspec.Raw(b"")
    room: Name | None = None


class DocumentCreate(msgspec.Struct, forbid_unknown_fields=True):
    """``text`` for the type text, ``content`` for the others, checked by the type."""

    document: Name
    type: DocumentTypeName = "text"
    text: str | None = None
    content: Any = None
    default_role: Literal["editor", "reader"] | None = "editor"


class PendingOperation(msgspec.Struct):
    """Made by the client and, as far as it knows, not committed. ``seq``: when it was sent."""

    operation: Any
    seq: Sequence | None = None


class Divergence(msgspec.Struct):
    revision: Counter
    hash: Counter


class DocumentJoin(msgspec.Struct):
    document: Name
    type: DocumentTypeName | None = None
    unit: Unit = "utf-16"
    client: ClientId | None = None
    revision: Counter | None = None
    generation: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    pending: Annotated[list[PendingOperation], msgspec.Meta(max_length=16)] | None = None
    diverged: Divergence | None = None


class DocumentOperation(msgspec.Struct):
    """``operation`` is checked by the document's type (``core.types``)."""

    document: Name
    seq: Sequence
    revision: Counter
    operation: Any


class DocumentUndo(msgspec.Struct):
    """Of redo too."""

    document: Name
    seq: Sequence
    revision: Counter


class DocumentInitialize(msgspec.Struct):
    """``content`` is checked by the document's type."""

    document: Name
    seq: Sequence
    revision: Counter
    content: Any


class DocumentRestore(msgspec.Struct):
    document: Name
    seq: Sequence
    revision: Counter
    to: Counter


class DocumentCursor(msgspec.Struct):
    """``anchor`` and ``head`` are positions as the document's type has them; None: no cursor."""

    document: Name
    revision: Counter
    anchor: Any = None
    head: Any = None


class DocumentOnly(msgspec.Struct):
    document: Name


class DocumentGrant(msgspec.Struct):
    document: Name
    user: Name
    role: DocumentRole | None


class DocumentHistory(msgspec.Struct):
    """Without ``since``: the last ``limit`` operations."""

    document: Name
    since: Counter | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 100
    unit: Unit = "utf-16"


class DocumentAt(msgspec.Struct):
    document: Name
    revision: Counter
    unit: Unit = "utf-16"


class DocumentBlame(msgspec.Struct):
    document: Name
    start: Counter = 0
    end: Counter | None = None
    unit: Unit = "utf-16"
