"""What carries publications between the nodes, and keeps their history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ...core.rooms.room import Position, Publication
from .outcome import Done


@dataclass(slots=True, frozen=True)
class History:
    """``publications`` in offset order; ``position`` is the newest one of the room, also when the list is empty."""

    publications: list[Publication]
    position: Position


class BrokerEvents(Protocol):
    """What a broker calls (``rooms.messages.Messages``), handed down at start."""

    def on_publication(self, publication: Publication) -> None:
        """A publication of a subscribed room, in offset order within the room. Must not block."""

    def on_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        """An event without position, at most once. Must not block."""


class Broker(Protocol):
    """Carries publications to every node that subscribed the room, and keeps their history.

    Ordered within a room, unordered across rooms. Offsets are 1, 2, 3, ... without gaps within an epoch; a broker
    that lost history starts a new epoch. ``on_publication`` runs for every subscribed room, also for what this node
    published itself, and before ``done`` of that publish.
    """

    @property
    def shared(self) -> bool:
        """Whether there may be other nodes, to which this one's clients can go."""

    @property
    def idempotency_keys(self) -> int:
        """How many it remembers (``once``)."""

    @property
    def idempotency_dropped(self) -> int:
        """How many it forgot before their time, because there were more than it was told to remember."""

    async def start(self, events: BrokerEvents) -> None: ...

    async def close(self) -> None:
        """Finishes what was submitted, then stops. Idempotent."""

    async def subscribe(self, room: str) -> Position:
        """Idempotent. Returns when effective: every publication after the returned position will be delivered.

        A room without history is at offset 0 of its epoch.
        """

    async def unsubscribe(self, room: str) -> None:
        """Idempotent. No delivery after it has returned."""

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        """Gives the publication its position, appends it to the history and sends it, atomically.

        ``publication.offset`` and ``.epoch`` are set by the broker. Durable before ``done`` where the backend is
        durable. Fails with ``Unavailable``.

        ``once``: when the same user published in the same room with the same ``once`` lately (committed, or on its way), nothing is
        published, ``done`` gets the position of that one, and ``publication.offset`` stays 0. Lately: for as long, and of as many
        messages over all rooms, as the broker was told, whatever has become of the history. As durable as that.
        """

    def publish_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        """At most once, no position, no history."""

    async def history(self, room: str, since: Position | None, limit: int) -> History:
        """With ``since``: exactly what follows it, at most ``limit`` (the oldest first), or ``Unrecoverable``.

        Without: the last ``limit`` ones; 0 gives just the position. ``Unrecoverable`` also when more than ``limit``
        publications follow ``since``, or ``since`` lies ahead of the room.
        """

    async def sweep(self) -> None:
        """Frees what has grown too old, in some rooms; in the others at the next calls. None of it was given any more."""

    async def forget(self, room: str) -> None:
        """Drops the room's history; the next publication opens a new epoch."""
