"""The contracts between the server and what it stands on. A backend implements one of them in one file.

Each contract says what is guaranteed, in what order, what is atomic, who may block and what empty means. The suites in
``syncline.testing`` test exactly these sentences; every backend passes them, the memory ones first.

Two kinds of call:

* ``async def``: may wait for a disk or a network. Used where a request may wait (join, load, create).
* with ``done``: the hot path. The call returns at once; the backend batches everything submitted in one turn of the
  event loop and calls ``done(result, error)`` on the loop's thread when it is durable, exactly once, in the order of
  submission per key. Exactly one of the two arguments is None. A memory backend calls ``done`` before it returns.
  What cannot even be queued (the queue is full, the backend closed) fails with ``NotWritten`` at once, before the call
  returns, whatever is still under way.

A backend that was closed, or not started, is ``Unavailable``; what takes something away (``unsubscribe``) does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

from ..core.room import Position, Publication
from .clock import Clock as Clock
from .clock import Timer as Timer
from .seams_auth import Auth as Auth
from .seams_auth import Credentials as Credentials
from .seams_presence import Presence as Presence
from .seams_presence import PresenceChange as PresenceChange
from .seams_presence import PresenceEntry as PresenceEntry

T = TypeVar("T")
Done = Callable[[T | None, Exception | None], None]

#: No expectation of anybody's role.
NOBODY: Final[Mapping[str, str | None]] = MappingProxyType({})


class Conflict(Exception):
    """Somebody else holds what was to be written: the name is taken, or another writer committed this revision."""


class LastOwner(Exception):
    """What has an owner keeps one: its last one cannot be taken away."""


class Unavailable(Exception):
    """The backend did not answer. Nothing is known of the write's fate; reads changed nothing."""


class NotWritten(Unavailable):
    """As that, and it is known that nothing was written."""


class Unrecoverable(Exception):
    """The history no longer reaches back to the position asked for, or belongs to another epoch."""


# --------------------------------------------------------------------------------------------------------------- Broker


@dataclass(slots=True, frozen=True)
class History:
    """``publications`` in offset order; ``position`` is the newest one of the room, also when the list is empty."""

    publications: list[Publication]
    position: Position


class BrokerEvents(Protocol):
    """What a broker calls: the node, handed down at start."""

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


# ---------------------------------------------------------------------------------------------------------------- Store


@dataclass(slots=True, frozen=True)
class UserRecord:
    id: str
    name: str = ""
    guest: bool = False
    created_at: float = 0.0
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class RoomRecord:
    """``default_role`` None: only who was granted a role may join. ``password``: an argon2id hash, or None."""

    name: str
    owner: str
    default_role: str | None = "member"
    password: str | None = None
    created_at: float = 0.0


@dataclass(slots=True, frozen=True)
class DocumentRecord:
    id: str
    generation: str
    owner: str
    default_role: str | None = "editor"
    created_at: float = 0.0
    type: str = "text"  # a key of core.types.DOCUMENT_TYPES; it never changes


@dataclass(slots=True, frozen=True)
class DocumentSnapshot:
    """``body``: content and the clients' sequence numbers at ``revision``, as the document's type writes them. A
    *checkpoint* is one that is kept, to find older texts."""

    revision: int
    body: bytes


@dataclass(slots=True, frozen=True)
class Turn:
    """The operations of one turn of the event loop: ``count`` of them, making revisions ``base`` + 1 ... + count. Or
    those of many turns that were merged into a *block*. ``created_at``: when the last of them was stored."""

    base: int
    count: int
    body: bytes
    created_at: float = 0.0


@dataclass(slots=True, frozen=True)
class DocumentState:
    """``revision``: the last one; ``snapshot``: that of the newest snapshot (0: none). Operations are stored from
    ``horizon`` on, and turns up to ``compacted`` are blocks."""

    record: DocumentRecord
    revision: int
    snapshot: int
    horizon: int
    compacted: int


@dataclass(slots=True, frozen=True)
class StoredDocument:
    """What a load needs: a snapshot (None: the empty text at revision 0) and every turn after it, in order."""

    record: DocumentRecord
    snapshot: DocumentSnapshot | None
    turns: list[Turn]
    revision: int = 0
    horizon: int = 0


class Store(Protocol):
    """State that is queried: users, rooms and their members, documents. What was acknowledged is durable.

    Reads see every write that was acknowledged before them. Absent things are None or empty, never an error; a
    failure to read is ``Unavailable``, so that a failed load can never pass for an empty document. What is created
    with ``created_at`` 0 is stamped with the store's clock. A role in what does not exist is not set.
    """

    async def start(self) -> None:
        """Opens and migrates. Raises ``Unavailable`` with the reason; a newer schema than known is refused."""

    async def close(self) -> None:
        """Finishes what was submitted, then closes. Idempotent."""

    async def ping(self) -> None:
        """Returns when the store has written something; ``Unavailable`` otherwise. For readiness."""

    async def setting(self, key: str, default: Callable[[], str]) -> str:
        """The stored value of ``key``; on first use ``default()`` is stored and returned, atomically."""

    # Users ---------------------------------------------------------------------------------------------------
    async def user(self, user: str) -> UserRecord | None: ...

    async def put_user(self, record: UserRecord) -> None:
        """Creates or replaces; ``created_at`` of an existing one is kept."""

    async def users(self, after: str = "", limit: int = 100) -> list[UserRecord]:
        """By id, those greater than ``after``."""

    # Rooms ---------------------------------------------------------------------------------------------------
    async def room(self, name: str) -> RoomRecord | None: ...

    async def create_room(self, record: RoomRecord) -> bool:
        """False when the name is taken. The owner becomes a member with the role ``owner``, atomically."""

    async def room_role(self, room: str, user: str) -> str | None: ...

    async def set_room_role(
        self, room: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        """Creates, replaces or (None) removes a membership.

        ``expect``: roles (None: none) of users on which the change was decided. When one of them is another by now, it is a
        ``Conflict``, and nothing changes. Raises ``LastOwner`` rather than leave the room without one.
        """

    async def room_members(self, room: str) -> dict[str, str]:
        """user -> role."""

    # Documents -----------------------------------------------------------------------------------------------
    async def document(self, document: str) -> DocumentRecord | None: ...

    async def create_document(self, record: DocumentRecord, snapshot: DocumentSnapshot | None = None) -> bool:
        """False when the id is taken. The owner gets the role ``owner``, atomically. The snapshot becomes a checkpoint
        too: the history begins with it."""

    async def documents(self, after: str = "", limit: int = 100) -> list[str]:
        """Ids in order, those greater than ``after``."""

    async def document_state(self, document: str) -> DocumentState | None: ...

    async def load_document(self, document: str, revision: int | None = None) -> StoredDocument | None:
        """From the newest snapshot on; consistent, of one moment. With ``revision``: what leads to that one, from the
        newest snapshot or checkpoint not above it. Below the horizon there may be a gap behind that."""

    async def turns(self, document: str, since: int, until: int) -> list[Turn]:
        """The turns that hold revisions ``since`` + 1 ... ``until``, in order; the first may begin earlier and the last
        end later. Fewer when they are not (or no longer) stored."""

    def append(self, document: str, generation: str, turn: Turn, done: Done[int]) -> None:
        """Commits one turn; ``done`` gets the new revision. Durable before ``done``.

        (document, generation, revision) is the fence: fails with ``Conflict`` unless the document is in this life and its last
        revision is exactly ``turn.base``; nothing is written then. One failing append does not fail others of the same batch.
        Raises ValueError for a turn without operations.
        """

    async def save_snapshot(self, document: str, generation: str, snapshot: DocumentSnapshot) -> None:
        """Replaces an older snapshot. A snapshot older than the stored one, ahead of the log, or of another
        generation is ignored."""

    async def replace_turns(self, document: str, generation: str, block: Turn) -> bool:
        """Puts a block in the place of the turns that it was merged from, and moves ``compacted`` to its end, atomically.
        False, and nothing changes, unless stored turns of this generation hold exactly the revisions of the block, and
        the newest snapshot reaches to its end."""

    async def checkpoints(self, document: str) -> list[int]:
        """The revisions of the checkpoints, in order."""

    async def save_checkpoint(self, document: str, generation: str, checkpoint: DocumentSnapshot) -> bool:
        """Adds one; one of the same revision stays. False when it is ahead of the log, or of another generation."""

    async def drop_checkpoints(self, document: str, generation: str, revisions: Sequence[int]) -> None:
        """Those that are stored and not at the horizon."""

    async def prune(self, document: str, generation: str, horizon: int) -> int:
        """Deletes the turns up to a later horizon, atomically, and returns how many operations went. The fence stays.
        0, and nothing changes, unless a turn begins there or it is the document's last revision, there is a checkpoint
        at it, and the newest snapshot is not older."""

    async def document_role(self, document: str, user: str) -> str | None: ...

    async def set_document_role(
        self, document: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        """As ``set_room_role``."""

    async def document_roles(self, document: str) -> dict[str, str]: ...

    async def delete_document(self, document: str) -> bool:
        """Record, roles, snapshot, checkpoints and turns, atomically. False when there was none."""


# ------------------------------------------------------------------------------------------------------------- EventLog


@dataclass(slots=True, frozen=True)
class LoggedEvent:
    """``sequence`` grows within the log, with no promise of being gapless. ``key`` keeps order per room or document."""

    sequence: int
    key: str
    kind: str
    body: bytes
    created_at: float


class EventLog(Protocol):
    """Append-only record for other systems: in order per key, at least once, durable before ``done``."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def append(self, key: str, kind: str, body: bytes, done: Done[int]) -> None:
        """``done`` gets the sequence number."""

    async def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Events with a sequence greater than ``after``, oldest first."""

    async def trim(self, keep: int) -> int:
        """Drops all but the newest ``keep`` events; returns how many went. The bound of the log."""


# ----------------------------------------------------------------------------------------------------------- Transport


class Transport(Protocol):
    """One socket as a connection sees it. Never blocks, never awaits. When the kernel does not take all of a write it calls the
    connection's ``paused`` before ``write`` returns, and ``drained`` when the rest is taken."""

    def write(self, data: bytes) -> None:
        """Bytes that are framed already."""

    def buffered(self) -> int:
        """Bytes accepted by ``write`` that the kernel has not taken yet."""

    def unread(self) -> tuple[int, float]:
        """Bytes in memory that the session was not given yet: of a message that is not whole, or read when it was told to pause; and when
        they began to come, by ``Clock.monotonic``."""

    def close(self, code: int, reason: str) -> None:
        """Sends the closing frame of the protocol, then closes; aborts when the peer does not follow in time."""

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...
