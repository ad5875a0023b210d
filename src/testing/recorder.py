"""What the suites of brokers publish, and what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from ..core.rooms.room import Position, Publication
from ..server.seams.broker import Broker
from .outcome import Outcomes, settled


def message(
    room: str = "team", data: bytes = b'"hi"', *, user: str = "ada", time: float = 1_700_000_000.25
) -> Publication:
    return Publication(room, user, user.title(), time, "json", data)


class Recorder:
    """BrokerEvents that keep what came, in one order with the ``done`` callbacks that ``publish`` makes."""

    def __init__(self) -> None:
        self.publications: list[Publication] = []
        self.ephemerals: list[tuple[str, str, bytes]] = []
        self.log: list[tuple[str, str, int]] = []  # ("delivered" or "done", room, offset)

    def on_publication(self, publication: Publication) -> None:
        self.publications.append(publication)
        self.log.append(("delivered", publication.room, publication.offset))

    def on_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        self.ephemerals.append((room, event, payload))

    def offsets(self, room: str = "team") -> list[int]:
        return [publication.offset for publication in self.publications if publication.room == room]


Open = Callable[..., Awaitable[tuple[Broker, Recorder]]]


async def publish(broker: Broker, publication: Publication, once: str = "") -> Position:
    position = await settled(partial(broker.publish, publication, once=once))
    assert isinstance(position, Position)
    return position


async def publish_many(broker: Broker, count: int, room: str = "team", first: int = 1) -> list[Position]:
    """``count`` messages in one turn, with their number as data."""
    outcomes = Outcomes()
    for number in range(first, first + count):
        broker.publish(message(room, b"%d" % number), outcomes.done(number))
    await outcomes.wait()
    assert not outcomes.errors
    return [outcomes.results[number] for number in range(first, first + count)]


def contents(publications: list[Publication]) -> list[int]:
    return [int(publication.data) for publication in publications]
