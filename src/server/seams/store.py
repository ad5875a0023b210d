"""State that is queried: users, rooms and their members, documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol

from .outcome import Done

#: No expectation of anybody's role.
NOBODY: Final[Mapping[str, str | None]] = MappingProxyType({})


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
