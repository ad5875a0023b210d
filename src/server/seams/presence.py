"""Who is in a room, over all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class PresenceEntry:
    """One connection of a user in a room. ``metadata`` is a raw JSON value or None; times are Unix seconds."""

    user: str
    connection: str
    name: str
    status: str
    last_seen: float
    metadata: bytes | None = None


@dataclass(slots=True, frozen=True)
class PresenceChange:
    """``here``: creates or replaces the entry of (room, connection). Else it ends, if there is one; what is left is when its user was
    last seen."""

    room: str
    entry: PresenceEntry
    here: bool


class Presence(Protocol):
    """Who is in a room, over all nodes. An entry lives ``ttl`` seconds past its last touch unless it was ended.

    ``shared``: other nodes write here too. A node that is alone knows who is here by itself: it reads no lists, and writes only who left.
    """

    @property
    def shared(self) -> bool: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def write(self, changes: Sequence[PresenceChange], ttl: float) -> None:
        """All of them, in order."""

    async def list(self, room: str) -> list[PresenceEntry]:
        """Live entries, by (user, connection)."""

    async def last_seen(self, room: str, users: Sequence[str]) -> dict[str, float]:
        """Of those users that were ever here: the newest ``last_seen``, live or ended."""
