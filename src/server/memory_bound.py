"""What a node holds in memory for others, and what it lets go of when that is more than ``limits.memory_bytes``.

Looked at every second, and sooner when much was published. Measured are, about: histories of rooms, loaded documents, what waits for
readers, and what writers have sent that waits behind a request or is not whole. Over the bound goes, in this order, as much as it takes:

1. documents that nobody is in: they are stored and loaded again;
2. histories of durable rooms that nobody is in, the longest unused first: they are read again;
3. of writers, when all together have sent more than a ``WRITERS_SHARE`` of the bound: those that are no users yet, then those of the
   client address that has sent most; of an address first what takes most bytes times seconds. They are disconnected as an overload,
   come back, and send again;
4. histories in memory of rooms that nobody is in: they begin a new epoch;
5. of rooms in use what is oldest in their histories: durable rooms read it again, in memory it is gone as what is over
   ``rooms.history_size``;
6. the readers that have most waiting, down to ``limits.queue_high_bytes`` beside an answer that they asked for: they are disconnected as
   slow consumers, and recover.

Of durable rooms that nobody is in no more than an ``IDLE_SHARE`` of the bound is kept at any time. Documents in use are never touched,
and leave the rest at least a ``LEAST_SHARE`` of the bound; the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Protocol, runtime_checkable

from ..core import errors
from .config.schema import Config
from .documents.live_document import LiveDocument
from .documents.registry import DocumentRegistry
from .net.addresses import subscriber
from .rooms.hub import Hub
from .seams.broker import Broker
from .seams.clock import Clock
from .sessions.session import Session, Sessions

log = logging.getLogger("syncline.memory")

#: The fraction of the bound that idle histories of durable rooms may have.
IDLE_SHARE: Final = 8
#: The fraction of the bound that writers may have, whatever else is there.
WRITERS_SHARE: Final = 8
#: A room in use keeps so many bytes.
SMALLEST: Final = 65_536
#: So many bytes published since the last look bring the next one on.
SOON: Final = 8_388_608
#: But not more often than every so many seconds.
SOONEST: Final = 0.25
#: The fraction of the bound that is for the rest whatever documents in use take.
LEAST_SHARE: Final = 4
#: Between two lines in the log, in seconds.
QUIET: Final = 60.0
#: What a loaded document occupies beside what it says of itself.
DOCUMENT_BYTES: Final = 4096
#: Bytes in memory for a code unit of a text, and for one of what other contents are as JSON.
UNIT_BYTES: Final = {"text": 2}
VALUE_BYTES: Final = 8


@runtime_checkable
class Histories(Protocol):
    """An optional ability of a broker that holds histories in memory."""

    durable: bool  # what it lets go of is read again
    idle_bytes: int  # of rooms that are not subscribed
    key_bytes: int  # of idempotency keys, which go when their time is over

    def busy_bytes(self) -> int:
        """Of rooms that are. O(those)."""

    def release(self, size: int) -> int:
        """Lets go of rooms that are not subscribed, the longest unused first, until those hold at most ``size`` bytes; how many."""

    def shrink(self, size: int) -> int:
        """Lets the subscribed rooms hold at most ``size`` bytes each; how many held more. O(those)."""


class MemoryBound:
    """One per node. ``held``: bytes by part, as they were last looked at; ``released``: how many by part."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        broker: Broker,
        sessions: Sessions,
        hub: Hub,
        documents: DocumentRegistry,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._config = config
        self._clock = clock
        self._sessions: Mapping[str, Session] = sessions.connections
        self._hub = hub
        self._documents = documents
        self._call_soon = call_soon
        self._histories = broker if isinstance(broker, Histories) else None
        self.held = {"histories": 0, "keys": 0, "documents": 0, "queues": 0, "requests": 0}
        self.released = {"histories": 0, "documents": 0, "recent": 0, "queues": 0, "requests": 0}
        self._grown = 0
        self._grown_at = clock.monotonic() - SOONEST
        self._shrunk = 0  # what rooms in use hold when each has no more than it keeps
        self._told = clock.monotonic() - QUIET

    @property
    def limit(self) -> int:
        return self._config.limits.memory_bytes

    def grew(self, size: int) -> None:
        """So many bytes were published."""
        self._grown += size
        if self._grown > SOON and (now := self._clock.monotonic()) - self._grown_at >= SOONEST:
            self._grown, self._grown_at = 0, now
            self._call_soon(self.check)

    def check(self) -> None:
        """O(connections + rooms in use + documents)."""
        self._grown = 0
        histories = self._histories
        if self.limit and histories is not None and histories.durable:
            self.released["histories"] += histories.release(self.limit // IDLE_SHARE)
        used = self._measure()
        total = sum(self.held.values())
        if not self.limit or total <= self.limit:
            return
        # What cannot go does not cost the rest all that it has.
        over = total - used - max(self.limit - used, self.limit // LEAST_SHARE)
        self._tell(total)
        if over <= 0:
            return
        durable = histories is not None and histories.durable
        over -= self._idle_documents(over)
        if durable:
            over -= self._idle_histories(over)
        over -= self._writers(over)
        if not durable:
            over -= self._idle_histories(over)
        over -= self._recent(over)
        self._slow_readers(over)

    def _tell(self, total: int) -> None:
        now = self._clock.monotonic()
        if now - self._told >= QUIET:
            self._told = now
            log.warning(
                "%d MB are held, limits.memory_bytes is %d MB: %s",
                total // 1_000_000,
                self.limit // 1_000_000,
                ", ".join(f"{name} {size // 1_000_000} MB" for name, size in self.held.items()),
            )

    def _measure(self) -> int:
        """Fills ``held``; returns what of it cannot go: documents in use, and idempotency keys."""
        histories = self._histories
        held = self.held
        held["histories"] = 0 if histories is None else histories.idle_bytes + histories.busy_bytes()
        held["keys"] = 0 if histories is None else histories.key_bytes
        sizes = {live: _size(live) for live in self._documents.live.values()}
        held["documents"] = sum(sizes.values())
        held["queues"] = sum(_waiting(session) for session in self._sessions.values())
        held["requests"] = sum(session.incoming for session in self._sessions.values())
        return held["keys"] + sum(size for live, size in sizes.items() if live.collaborators or live.busy)

    def _idle_histories(self, over: int) -> int:
        histories = self._histories
        if over <= 0 or histories is None or not histories.idle_bytes:
            return 0
        before = histories.idle_bytes
        self.released["histories"] += histories.release(max(0, before - over))
        return before - histories.idle_bytes

    def _idle_documents(self, over: int) -> int:
        if over <= 0:
            return 0
        freed = 0
        for live in [one for one in self._documents.live.values() if not one.collaborators and not one.busy]:
            if freed >= over:
                break
            freed += _size(live)
            self.released["documents"] += 1
            self._documents.retire(live)
        return freed

    def _recent(self, over: int) -> int:
        histories = self._histories
        if over <= 0 or histories is None:
            return 0
        before = histories.busy_bytes()
        if before <= self._shrunk:  # all that could go went the last time
            return 0
        size = 2 * self._config.rooms.history_bytes
        while size > SMALLEST and before - histories.busy_bytes() < over:
            size //= 2
            self.released["recent"] += histories.shrink(size)
            for room in self._hub.rooms.values():
                room.group.history.drop_to(size)
        self._shrunk = histories.busy_bytes() if size <= SMALLEST else 0
        return before - histories.busy_bytes()

    def _slow_readers(self, over: int) -> int:
        if over <= 0:
            return 0
        most = self._config.limits.queue_high_bytes
        waiting = [
            (size, session)
            for session in self._sessions.values()
            if (size := _waiting(session)) > most + session.connection.promised
        ]
        ended = 0
        for size, session in sorted(waiting, key=lambda one: one[0], reverse=True):
            if ended >= over:
                break
            ended += size
            self.released["queues"] += 1
            session.connection.give_up()
        return ended

    def _writers(self, over: int) -> int:
        over = min(over, self.held["requests"] - self.limit // WRITERS_SHARE)
        if over <= 0:
            return 0
        now = self._clock.monotonic()
        groups: dict[tuple[bool, str], list[Session]] = {}
        for session in self._sessions.values():
            if session.incoming:
                groups.setdefault((bool(session.user), subscriber(session.address)), []).append(session)

        def cost(session: Session) -> float:
            return session.incoming * (now - session.waits_since)

        freed = 0
        for key in sorted(groups, key=lambda key: (key[0], -sum(session.incoming for session in groups[key]))):
            for session in sorted(groups[key], key=cost, reverse=True):
                if freed >= over:
                    return freed
                freed += session.incoming
                self.released["requests"] += 1
                session.close(errors.OVERLOADED)
        return freed


def _size(live: LiveDocument) -> int:
    core = live.core
    content = core.length() * UNIT_BYTES.get(live.type.name, VALUE_BYTES)
    return DOCUMENT_BYTES + content + core.window_bytes + core.ladder_bytes + core.undo_bytes


def _waiting(session: Session) -> int:
    connection = session.connection
    return connection.queued_alone if connection.held else 0
