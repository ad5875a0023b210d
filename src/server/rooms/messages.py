"""What is said in rooms: messages with a position, events without one, and what comes from the broker to be handed out.

The hot path: synchronous from whoever publishes to the fan-out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from ...core.errors import ErrorCode, SynclineError
from ...core.rooms.room import Position, Publication
from ...core.wire import envelopes as wire
from ...core.wire.envelopes import Push
from ...core.wire.salvage import admissible
from ..observe.counters import Counters, Source
from ..seams.broker import Broker
from ..seams.clock import Clock
from ..seams.event_log import EventLog
from ..seams.outcome import Done, NotWritten
from ..seams.store import Store
from ..sessions.session import Session, Sessions
from .hub import Hub, membership_of
from .presence import PresenceTracker

log = logging.getLogger("syncline.messages")

#: The broker's room for what is meant for connections wherever they are. No client can name it.
EVERYWHERE = "\0everywhere"


class Targets(msgspec.Struct, array_like=True, frozen=True):
    """Whom a push is for, as it travels between nodes."""

    users: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    everyone: bool = False


#: What became of a message: its position; whether it had that before, from an earlier one with the same ``once``; or why it has none.
Published = Callable[[Position | None, bool, Exception | None], None]

_decode_targeted = msgspec.msgpack.Decoder(tuple[str, str, Targets, bytes]).decode


class Messages:
    """One per node; the ``BrokerEvents`` of its broker. ``events``: None when nothing is logged for other systems. ``grew`` is told of
    bytes that are published, ``heard`` of the node's own sign of life that came through the broker."""

    def __init__(
        self,
        broker: Broker,
        store: Store,
        events: EventLog | None,
        clock: Clock,
        counters: Counters,
        sessions: Sessions,
        hub: Hub,
        presence: PresenceTracker,
        grew: Callable[[int], None],
        heard: Callable[[bytes], None],
    ) -> None:
        self._broker = broker
        self._store = store
        self._events = events
        self._clock = clock
        self._counters = counters
        self._sessions = sessions
        self._hub = hub
        self._presence = presence
        self._grew = grew
        self._heard = heard

    # What clients say ----------------------------------------------------------------------------------------

    def send(
        self,
        session: Session,
        room: str,
        payload: bytes,
        done: Published,
        arrived: float,
        key: str = "",
        echo: bool = True,
        once: str = "",
    ) -> None:
        """A message of a member, its ``payload`` one value in the session's codec; ``done`` when it has reached the room, or has not.
        ``arrived``: when it was read, by ``Clock.monotonic``. ``echo`` False: its author does not get it.

        Raises SynclineError (not_a_member, forbidden, invalid_data: a payload that not every member could decode)."""
        if membership_of(session, room).role == "reader":
            raise _no_writer()
        codec = session.codec
        payload = admissible(codec, payload)
        publication = Publication(room, session.user, session.name, self._clock.time(), codec, payload, key=key)
        if not echo:
            publication.skip = session.connection.id

        def published(position: Position | None, error: Exception | None) -> None:
            # The publication has reached the room's members by now; this answers its author.
            self._counters.published("client", self._clock.monotonic() - arrived, publication, position)
            if position is None:
                log.warning("publish to %s failed: %s", room, error, extra=session.about)
                done(None, False, error)
            else:
                done(position, publication.offset != position.offset, None)

        self.publish(publication, published, once)

    def tell(
        self, session: Session, room: str, name: str, payload: bytes, targets: Targets | None, *, arrived: float
    ) -> None:
        """An event of a member for the room, or those ``targets`` in it; at most once. As ``send``."""
        if membership_of(session, room).role == "reader":
            raise _no_writer()
        payload = admissible(session.codec, payload)
        event = {"room": room, "name": name, "user": session.user, "data": msgspec.Raw(payload)}
        self._tell(room, targets, Push("event:custom", event, session.codec))
        self._counters.custom_events["client"].observe(self._clock.monotonic() - arrived)

    # What applications say -----------------------------------------------------------------------------------

    async def exists(self, room: str) -> bool:
        """Raises Unavailable."""
        return room in self._hub.rooms or await self._store.room(room) is not None

    def post(
        self,
        room: str,
        user: str,
        name: str,
        codec: wire.Codec,
        payload: bytes,
        done: Published,
        *,
        arrived: float,
        source: Source = "api",
        key: str = "",
        once: str = "",
    ) -> None:
        """A message of whoever may speak in ``user``'s name, in a room that ``exists``. ``payload``: one that ``admissible`` has let pass.
        Otherwise as ``send``."""
        publication = Publication(room, user, name, self._clock.time(), codec, payload, key=key)

        def published(position: Position | None, error: Exception | None) -> None:
            self._counters.published(source, self._clock.monotonic() - arrived, publication, position)
            done(position, position is not None and publication.offset != position.offset, error)

        self.publish(publication, published, once)

    def announce(self, rooms: list[str], targets: Targets, name: str, user: str, data: msgspec.Raw) -> None:
        """An event, as JSON, for ``rooms``, and for ``targets`` wherever they are."""

        def push(room: str | None) -> Push:
            return Push("event:custom", {"room": room, "name": name, "user": user, "data": data})

        for room in dict.fromkeys(rooms):
            self._tell(room, None, push(room))
        if targets.everyone:
            self._tell("", Targets(everyone=True), push(None))
        elif targets.users or targets.connections:
            self._tell("", targets, push(None))

    # To the broker -------------------------------------------------------------------------------------------

    def publish(self, publication: Publication, done: Done[Position], once: str = "") -> None:
        """To the broker, and to the event log when there is one; ``done`` when the broker has it. ``once``: ``Broker.publish``."""
        self._grew(publication.size)
        if self._events is None:
            self._broker.publish(publication, done, once)
            return
        events = self._events

        def published(position: Position | None, error: Exception | None) -> None:
            if position is None:
                done(None, error)
                return
            # After the broker, because the record for other systems carries the position.
            # A duplicate is logged again: whether the first one got that far is not known here, and at least once is promised.
            at = {"offset": position.offset, "epoch": position.epoch}
            body = msgspec.msgpack.encode({**publication.as_data("msgpack"), **at})
            events.append(publication.room, "message", body, self._logged)
            done(position, None)

        self._broker.publish(publication, published, once)

    def _logged(self, sequence: int | None, error: Exception | None) -> None:
        if error is not None:
            # The message is stored and on its way to the members: what its author is told does not depend on this.
            self._counters.events_lost += 1
            log.error("event log: a message is missing in it: %s", error)

    def _tell(self, room: str, targets: Targets | None, push: Push) -> None:
        """To a room, or to some in it or anywhere (``room`` ""); through the broker, to every node."""
        if targets is None:
            self._broker.publish_ephemeral(room, push.event, push.pack())
        else:
            payload = msgspec.msgpack.encode((push.event, room, targets, push.pack()))
            self._broker.publish_ephemeral(room or EVERYWHERE, "to", payload)

    # From the broker -----------------------------------------------------------------------------------------

    def on_publication(self, publication: Publication) -> None:
        """Fan out."""
        self._counters.publications += 1
        self._counters.deliveries += self._hub.on_publication(publication)

    def on_ephemeral(self, room: str, event: str, payload: bytes) -> None:
        """Fan out what has no position."""
        try:
            if event == "room:changes":
                self._counters.deliveries += self._presence.on_changes(room, payload)
                return
            if event == "ready":
                self._heard(payload)
                return
            if event == "to":
                self._counters.deliveries += self._on_targeted(payload)
                return
            push = Push.unpack(event, payload)
        except ValueError:
            log.warning("a malformed event for room %s was dropped", room)
            return
        self._counters.deliveries += self._hub.broadcast(room, push)

    def _on_targeted(self, payload: bytes) -> int:
        event, room, targets, packed = _decode_targeted(payload)
        push = Push.unpack(event, packed)
        if targets.everyone:
            taken = 0
            for session in self._sessions.connections.values():
                if session.user:
                    taken += session.connection.deliver_volatile(push.frame(session.codec))
            return taken
        return self._hub.deliver_to(room, targets.users, targets.connections, push)


def _no_writer() -> SynclineError:
    return SynclineError(ErrorCode.FORBIDDEN, "readers do not send")


def refusal(error: Exception | None) -> SynclineError:
    """What an author is told of a message that did not get a position."""
    if isinstance(error, NotWritten):
        return SynclineError(ErrorCode.UNAVAILABLE, "the message was not stored; try again")
    text = "the message may have been stored, or not; send it again with the same idempotency_key"
    return SynclineError(ErrorCode.FATE_UNKNOWN, text)
