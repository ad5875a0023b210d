"""A loaded document as those see it who work for it (its hashes, snapshots, cursors, its history), and what all documents of a node share.

What works for a document is handed it with each call and does not hold it: else it would not be free when it is unloaded.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Protocol

from ...core.documents.document import Document
from ...core.types import document_type
from ..config.schema import Config
from ..limits.keyed_buckets import KeyedBuckets
from ..observe.counters import Counters
from ..seams.clock import Clock, Timer
from ..seams.store import DocumentRecord, Store
from ..seams.tasks import Spawn
from .collaborator import Collaborator
from .threads import Threads
from .turn_scheduler import RunQueue


class Registry(Protocol):
    """Where the documents of a node are registered."""

    @property
    def live(self) -> Mapping[str, Loaded]:
        """Those that are loaded, by id."""

    def drop(self, live: Loaded, reason: str) -> None:
        """Forgets a document whose memory is not to be trusted; its clients join again."""

    def consider_idle(self, live: Loaded) -> None:
        """Starts the clock of a document that nobody uses."""

    def left_out(self, live: Loaded, collaborator: Collaborator, at: int) -> None:
        """It reads too slowly and was not given what follows revision ``at``."""


class Context:
    """What the documents of a node share. ``registry`` and ``compact`` (which looks after a document's old operations soon) are set when
    they are made."""

    registry: Registry
    compact: Callable[[str], None]

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        counters: Counters,
        threads: Threads,
        turns: RunQueue,
        spawn: Spawn,
    ) -> None:
        self.config = config
        self.store = store
        self.clock = clock
        self.counters = counters
        self.threads = threads
        self.turns = turns
        self.spawn = spawn
        #: Microseconds of work on operations that are far behind, by user: a quarter of the time of a core, and a second at once.
        self.labours: KeyedBuckets[str] = KeyedBuckets(250_000.0, 1_000_000.0, 10_000, clock.monotonic)


class Loaded(ABC):
    """Its core and who is in it. The pipeline is in live_document.py."""

    def __init__(self, context: Context, record: DocumentRecord, core: Document) -> None:
        self.context = context
        self.id = record.id
        self.record = record
        self.type = document_type(record.type)
        self.core = core
        self.collaborators: dict[str, Collaborator] = {}  # client -> collaborator
        self.closed = False
        self.pins = 0  # joins under way, which keep it loaded
        self.grants = 0  # how often a role in it was changed
        self.committing = False  # a commit is under way
        self.idle: Timer | None = None

    @property
    @abstractmethod
    def busy(self) -> bool:
        """Whether work is under way that must not be cut off."""

    @abstractmethod
    def schedule(self) -> None:
        """A turn, when it is time for one."""

    @abstractmethod
    def prepared(self) -> None:
        """What had to come before the next turn is done."""

    @abstractmethod
    async def settle(self) -> None:
        """Returns when no commit is under way. What runs before the next await then sees only committed state."""

    @abstractmethod
    def remove(self, collaborator: Collaborator) -> None:
        """Takes a collaborator out and tells the others. Idempotent."""

    @abstractmethod
    async def save(self) -> None:
        """Stores a snapshot of what has changed."""

    @abstractmethod
    def close(self) -> None:
        """It is unloaded: nothing is done with it any more."""

    @abstractmethod
    def abandon(self, reason: str) -> None:
        """It is dropped: what waits, or is on its way, is told so."""

    @abstractmethod
    def release(self) -> None:
        """Wakes those who wait for the end of a commit."""
