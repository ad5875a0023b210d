"""Rooms: positions, publications, a history ring, and the fan-out to members. See room.pyx."""

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

import msgspec

from ..wire.envelopes import Push
from .delivery_proof import RollingDigest

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
    key: str
    skip: str
    def __init__(
        self,
        room: str,
        user: str,
        name: str,
        time: float,
        codec: str,
        data: bytes,
        offset: int = 0,
        epoch: str = "",
        key: str = "",
        stored: bool = False,
    ) -> None:
        """``key``: what it is the newest of, in a room of the class latest; "": its user. Not kept in the history.

        ``stored``: read from where an older server may have written it; a payload that not all can decode is sent as null.
        """
    @property
    def position(self) -> Position: ...
    @property
    def size(self) -> int: ...
    def as_data(self, codec: str) -> dict[str, Any]:
        """What `message:received` carries, for an encoder of ``codec``: a dict with the payload as msgspec.Raw."""
    def payload(self, codec: str) -> bytes:
        """The payload as it is sent in ``codec``."""
    def frame(self, codec: str) -> bytes: ...

def publications_raw(codec: str, publications: list[Publication]) -> msgspec.Raw:
    """The array of what `message:received` carries for each, encoded; cut out of their frames."""

class HistoryRing:
    """The newest publications of one room, bounded by count, bytes and age. Append and ``since`` are O(1) + result."""

    size_bytes: int
    max_count: int
    max_bytes: int
    max_age: float
    epoch: str
    offset: int
    @property
    def position(self) -> Position: ...
    def __init__(
        self, epoch: str, offset: int = 0, max_count: int = 1000, max_bytes: int = 1048576, max_age: float = 0.0
    ) -> None: ...
    def __len__(self) -> int: ...
    def append(self, publication: Publication) -> None: ...
    def since(self, offset: int, epoch: str) -> list[Publication] | None: ...
    def last(self, count: int) -> list[Publication]: ...
    def expire(self, now: float) -> int:
        """Drops what is older than ``max_age`` seconds at ``now`` (Unix time); returns how many went."""
    def drop_to(self, size: int) -> int:
        """Drops the oldest until ``held_bytes`` is at most ``size``; returns how many went."""
    @property
    def held_bytes(self) -> int:
        """About what the publications occupy. O(1)."""
    def digest(self, codec: str) -> RollingDigest:
        """The digest of what follows in ``codec``. Kept from the first call on."""
    def digest_at(self, codec: str, offset: int, epoch: str) -> int | None:
        """The digest at a position, or None: nobody asked for one yet, another epoch, or not kept (any more)."""

class Member:
    """What a room needs from whoever is in it. All ways are ``deliver`` unless a member knows better."""

    kind: str
    def __init__(self, kind: str = "json") -> None: ...
    def deliver(self, frame: bytes) -> int:
        """Takes one whole frame; must not block. Returns 1, or 0 when it takes no more."""
    def deliver_latest(self, frame: bytes, key: Hashable) -> int:
        """Takes a frame that makes earlier ones of ``key`` worthless."""
    def deliver_volatile(self, frame: bytes) -> int:
        """Takes a frame, or drops it (0) when it does not keep up."""

class Room:
    """A named fan-out group with the history this node has seen of it.

    ``room_class`` says what a slow member gets: "history", "latest" (by key) or "volatile".
    """

    name: str
    history: HistoryRing
    room_class: str
    before_offset: int
    before_epoch: str
    def __init__(self, name: str, history: HistoryRing, room_class: str = "history") -> None:
        """Raises ValueError for a class that there is not."""
    def __len__(self) -> int: ...
    def __contains__(self, member: Member, /) -> bool: ...
    def __iter__(self) -> Iterator[Member]: ...
    def add(self, member: Member) -> bool: ...
    def discard(self, member: Member) -> bool: ...
    def publish(self, publication: Publication, skip: Member | None = None) -> int: ...
    def broadcast(self, push: Push, skip: Member | None = None) -> int: ...
