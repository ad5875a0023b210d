"""Rooms: positions, publications, a history ring, and the fan-out to members. See room.pyx."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .wire import Push

class Position(NamedTuple):
    offset: int
    epoch: str

class Publication:
    """One message with a position. ``data`` is the raw payload in ``codec`` ("json" or "msgpack"), never re-encoded.

    Immutable once published: the broker sets ``offset`` and ``epoch`` exactly once, before anybody sees it.
    """

    room: str
    offset: int
    epoch: str
    user: str
    name: str
    time: float
    codec: str
    data: bytes
    def __init__(
        self, room: str, user: str, name: str, time: float, codec: str, data: bytes, offset: int = 0, epoch: str = ""
    ) -> None: ...
    @property
    def position(self) -> Position: ...
    @property
    def size(self) -> int: ...
    def as_data(self, codec: str) -> dict[str, Any]:
        """What `message:received` carries, for an encoder of ``codec``: a dict with the payload as msgspec.Raw."""
    def frame(self, codec: str) -> bytes: ...

class HistoryRing:
    """The newest publications of one room, bounded by count and bytes. Append and ``since`` are O(1) + result."""

    size_bytes: int
    max_count: int
    max_bytes: int
    epoch: str
    offset: int
    @property
    def position(self) -> Position: ...
    def __init__(self, epoch: str, offset: int = 0, max_count: int = 1000, max_bytes: int = 1048576) -> None: ...
    def __len__(self) -> int: ...
    def append(self, publication: Publication) -> None: ...
    def since(self, offset: int, epoch: str) -> list[Publication] | None: ...
    def last(self, count: int) -> list[Publication]: ...

class Member:
    """What a room needs from whoever sits in it."""

    kind: str
    def __init__(self, kind: str = "json") -> None: ...
    def deliver(self, frame: bytes) -> int: ...

class Room:
    """A named fan-out group with the history this node has seen of it."""

    name: str
    history: HistoryRing
    def __init__(self, name: str, history: HistoryRing) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, member: Member, /) -> bool: ...
    def __iter__(self) -> Iterator[Member]: ...
    def add(self, member: Member) -> bool: ...
    def discard(self, member: Member) -> bool: ...
    def publish(self, publication: Publication) -> int: ...
    def broadcast(self, push: Push, skip: Member | None = None) -> int: ...
