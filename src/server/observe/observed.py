"""What a scrape of the metrics looks at: the node, as metrics.py sees it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import IntEnum
from typing import Any, Protocol

from ..limits.refusals import Refusals
from ..seams.clock import Clock
from .counters import Counters


class _Session(Protocol):
    @property
    def state(self) -> IntEnum: ...
    @property
    def rooms(self) -> Collection[Any]: ...
    @property
    def pending(self) -> int: ...


class _Core(Protocol):
    @property
    def window_bytes(self) -> int: ...
    @property
    def ladder_bytes(self) -> int: ...
    @property
    def undo_bytes(self) -> int: ...


class _Document(Protocol):
    @property
    def collaborators(self) -> Collection[Any]: ...
    @property
    def pending(self) -> int: ...
    @property
    def core(self) -> _Core: ...


class _Sessions(Protocol):
    @property
    def connections(self) -> Mapping[str, _Session]: ...
    @property
    def users(self) -> Collection[Any]: ...


class _Hub(Protocol):
    @property
    def rooms(self) -> Collection[Any]: ...
    @property
    def remembered(self) -> int: ...


class _Compaction(Protocol):
    @property
    def waiting(self) -> int: ...


class _Documents(Protocol):
    @property
    def live(self) -> Mapping[str, _Document]: ...
    @property
    def compaction(self) -> _Compaction: ...


class _Flusher(Protocol):
    @property
    def frames(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def flushes(self) -> int: ...
    @property
    def conflated(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def behind(self) -> int: ...
    @property
    def slow_consumers(self) -> int: ...
    def take_queue_bytes_max(self) -> int: ...
    def take_queue_messages_max(self) -> int: ...


class _Readiness(Protocol):
    works: dict[str, bool]


class _Arrivals(Protocol):
    places: int
    dropped: int

    @property
    def strangers(self) -> int: ...


class _Descriptors(Protocol):
    @property
    def missing(self) -> int: ...


class _Admission(Protocol):
    @property
    def refused(self) -> int: ...


class _PresenceWrites(Protocol):
    def __len__(self) -> int: ...
    @property
    def dropped(self) -> int: ...


class _Presence(Protocol):
    def __len__(self) -> int: ...
    @property
    def counted(self) -> int: ...
    @property
    def writes(self) -> _PresenceWrites: ...


class _Pings(Protocol):
    @property
    def sent(self) -> int: ...


class _Thread(Protocol):
    @property
    def waiting(self) -> int: ...
    @property
    def refused(self) -> int: ...


class _Memory(Protocol):
    held: dict[str, int]
    released: dict[str, int]

    @property
    def limit(self) -> int: ...


class _Threads(Protocol):
    @property
    def history(self) -> _Thread: ...
    @property
    def moves(self) -> _Thread: ...
    @property
    def loads(self) -> _Thread: ...


class WriteQueue(Protocol):
    """An optional ability of a backend that queues writes: it has one of these as ``write_queue``. All but
    ``queue_depth`` and ``reading`` only grow."""

    @property
    def queue_depth(self) -> int:
        """Writes submitted and not answered."""

    @property
    def reading(self) -> int:
        """Reads under way or waiting."""

    @property
    def reads(self) -> int: ...
    @property
    def read_failures(self) -> int:
        """Reads that ended as Unavailable; they are in ``reads``, too."""

    @property
    def units(self) -> int:
        """Writes committed."""

    @property
    def failures(self) -> int:
        """Writes that ended as Unavailable, also those that the full queue refused."""

    @property
    def commits(self) -> int:
        """Transactions, each of one or more writes."""

    @property
    def commit_seconds(self) -> float: ...


class _Broker(Protocol):
    @property
    def idempotency_keys(self) -> int: ...
    @property
    def idempotency_dropped(self) -> int: ...


class Observed(Protocol):
    """What a scrape looks at: the node."""

    @property
    def clock(self) -> Clock: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def sessions(self) -> _Sessions: ...
    @property
    def hub(self) -> _Hub: ...
    @property
    def documents(self) -> _Documents: ...
    @property
    def flusher(self) -> _Flusher: ...
    @property
    def broker(self) -> _Broker: ...
    @property
    def refusals(self) -> Refusals: ...
    @property
    def descriptors(self) -> _Descriptors: ...
    @property
    def admission(self) -> _Admission: ...
    @property
    def arrivals(self) -> _Arrivals: ...
    @property
    def presence(self) -> _Presence: ...
    @property
    def pings(self) -> _Pings: ...
    @property
    def readiness(self) -> _Readiness: ...
    @property
    def memory(self) -> _Memory: ...
    @property
    def hashing(self) -> _Thread: ...
    @property
    def threads(self) -> _Threads: ...
    @property
    def draining(self) -> bool: ...
    def backends(self) -> Mapping[str, object]:
        """Name -> backend, for those that are in use ("store", "broker", ...)."""
