"""Store in memory. Every method is one step of the event loop, hence atomic; reads copy what could be changed later.

Complexity: O(1) + result, but ``users`` sorts all users and ``load_document``/``turns`` search the log by bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import msgspec

from ...seams.clock import Clock
from ...seams.outcome import Conflict, Done, LastOwner, NotWritten, Unavailable
from ...seams.store import (
    NOBODY,
    DocumentRecord,
    DocumentSnapshot,
    DocumentState,
    RoomRecord,
    StoredDocument,
    Turn,
    UserRecord,
)


class _Document:
    """Invariant: ``turns`` are consecutive, begin at ``horizon`` and end at ``revision``; no snapshot is ahead of it."""

    __slots__ = ("bases", "checkpoints", "compacted", "horizon", "record", "revision", "roles", "snapshot", "turns")

    def __init__(self, record: DocumentRecord, snapshot: DocumentSnapshot | None) -> None:
        self.record = record
        self.snapshot = snapshot
        self.revision = snapshot.revision if snapshot is not None else 0
        self.horizon = self.compacted = self.revision
        self.checkpoints = {} if snapshot is None else {snapshot.revision: snapshot}
        self.roles = {record.owner: "owner"}
        self.turns: list[Turn] = []
        self.bases: list[int] = []  # of ``turns``, to search in

    def between(self, since: int, until: int) -> list[Turn]:
        """Turns that hold any of revisions since + 1 ... until."""
        if since >= until:
            return []
        first = max(bisect_right(self.bases, since) - 1, 0)
        last = bisect_right(self.bases, until - 1)
        return [turn for turn in self.turns[first:last] if turn.base + turn.count > since]


class MemoryStore:
    """A record with ``created_at`` 0 is stamped with ``clock``."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open = False
        self._settings: dict[str, str] = {}
        self._users: dict[str, UserRecord] = {}
        self._rooms: dict[str, RoomRecord] = {}
        self._members: dict[str, dict[str, str]] = {}
        self._documents: dict[str, _Document] = {}

    async def start(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    def _require_open(self) -> None:
        if not self._open:
            raise Unavailable("the store is closed")

    async def ping(self) -> None:
        self._require_open()

    async def setting(self, key: str, default: Callable[[], str]) -> str:
        self._require_open()
        if key not in self._settings:
            self._settings[key] = default()
        return self._settings[key]

    # Users ---------------------------------------------------------------------------------------------------

    async def user(self, user: str) -> UserRecord | None:
        self._require_open()
        record = self._users.get(user)
        return None if record is None else _copy(record)

    async def put_user(self, record: UserRecord) -> None:
        self._require_open()
        known = self._users.get(record.id)
        created_at = known.created_at if known is not None else record.created_at or self._clock.time()
        self._users[record.id] = replace(_copy(record), created_at=created_at)

    async def users(self, after: str = "", limit: int = 100) -> list[UserRecord]:
        self._require_open()
        ids = sorted(user for user in self._users if user > after)
        return [_copy(self._users[user]) for user in ids[: max(limit, 0)]]

    # Rooms ---------------------------------------------------------------------------------------------------

    async def room(self, name: str) -> RoomRecord | None:
        self._require_open()
        return self._rooms.get(name)

    async def create_room(self, record: RoomRecord) -> bool:
        self._require_open()
        if record.name in self._rooms:
            return False
        self._rooms[record.name] = replace(record, created_at=record.created_at or self._clock.time())
        self._members[record.name] = {record.owner: "owner"}
        return True

    async def room_role(self, room: str, user: str) -> str | None:
        self._require_open()
        return self._members.get(room, {}).get(user)

    async def set_room_role(
        self, room: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        self._require_open()
        if room in self._members:
            _set_role(self._members[room], user, role, expect)

    async def room_members(self, room: str) -> dict[str, str]:
        self._require_open()
        return dict(self._members.get(room, {}))

    # Documents -----------------------------------------------------------------------------------------------

    async def document(self, document: str) -> DocumentRecord | None:
        self._require_open()
        stored = self._documents.get(document)
        return None if stored is None else stored.record

    async def create_document(self, record: DocumentRecord, snapshot: DocumentSnapshot | None = None) -> bool:
        self._require_open()
        if record.id in self._documents:
            return False
        record = replace(record, created_at=record.created_at or self._clock.time())
        self._documents[record.id] = _Document(record, snapshot)
        return True

    async def documents(self, after: str = "", limit: int = 100) -> list[str]:
        self._require_open()
        return sorted(document for document in self._documents if document > after)[: max(limit, 0)]

    async def document_state(self, document: str) -> DocumentState | None:
        self._require_open()
        stored = self._documents.get(document)
        if stored is None:
            return None
        snapshot = stored.snapshot.revision if stored.snapshot is not None else 0
        return DocumentState(stored.record, stored.revision, snapshot, stored.horizon, stored.compacted)

    async def load_document(self, document: str, revision: int | None = None) -> StoredDocument | None:
        self._require_open()
        stored = self._documents.get(document)
        if stored is None:
            return None
        until = stored.revision if revision is None else revision
        known = [*stored.checkpoints.values()] if revision is not None else []
        known += [] if stored.snapshot is None else [stored.snapshot]
        base = max((one for one in known if one.revision <= until), key=lambda one: one.revision, default=None)
        turns = stored.between(base.revision if base is not None else 0, until)
        return StoredDocument(stored.record, base, turns, stored.revision, stored.horizon)

    async def turns(self, document: str, since: int, until: int) -> list[Turn]:
        self._require_open()
        stored = self._documents.get(document)
        return [] if stored is None else stored.between(since, until)

    def append(self, document: str, generation: str, turn: Turn, done: Done[int]) -> None:
        if turn.count < 1:
            raise ValueError("a turn holds at least one operation")
        if not self._open:
            done(None, NotWritten("the store is closed"))
            return
        stored = self._documents.get(document)
        if stored is None or (stored.record.generation, stored.revision) != (generation, turn.base):
            done(None, Conflict(f"document {document!r} is not at revision {turn.base} of generation {generation!r}"))
            return
        stored.turns.append(replace(turn, created_at=turn.created_at or self._clock.time()))
        stored.bases.append(turn.base)
        stored.revision += turn.count
        done(stored.revision, None)

    async def save_snapshot(self, document: str, generation: str, snapshot: DocumentSnapshot) -> None:
        self._require_open()
        stored = self._documents.get(document)
        if stored is None or stored.record.generation != generation or snapshot.revision > stored.revision:
            return
        if stored.snapshot is None or stored.snapshot.revision < snapshot.revision:
            stored.snapshot = snapshot

    def _of(self, document: str, generation: str) -> _Document | None:
        self._require_open()
        stored = self._documents.get(document)
        return stored if stored is not None and stored.record.generation == generation else None

    async def replace_turns(self, document: str, generation: str, block: Turn) -> bool:
        stored, end = self._of(document, generation), block.base + block.count
        if stored is None or stored.snapshot is None or stored.snapshot.revision < end:
            return False
        old = stored.between(block.base, end)
        if not old or old[0].base != block.base or old[-1].base + old[-1].count != end:
            return False
        first = stored.bases.index(block.base)
        stored.turns[first : first + len(old)] = [block]
        stored.bases[first : first + len(old)] = [block.base]
        stored.compacted = max(stored.compacted, end)
        return True

    async def checkpoints(self, document: str) -> list[int]:
        self._require_open()
        stored = self._documents.get(document)
        return [] if stored is None else sorted(stored.checkpoints)

    async def save_checkpoint(self, document: str, generation: str, checkpoint: DocumentSnapshot) -> bool:
        stored = self._of(document, generation)
        if stored is None or checkpoint.revision > stored.revision:
            return False
        stored.checkpoints.setdefault(checkpoint.revision, checkpoint)
        return True

    async def drop_checkpoints(self, document: str, generation: str, revisions: Sequence[int]) -> None:
        stored = self._of(document, generation)
        if stored is not None:
            for revision in set(revisions) - {stored.horizon}:
                stored.checkpoints.pop(revision, None)

    async def prune(self, document: str, generation: str, horizon: int) -> int:
        stored = self._of(document, generation)
        if (
            stored is None
            or horizon <= stored.horizon
            or (horizon not in stored.bases and horizon != stored.revision)
            or horizon not in stored.checkpoints
            or stored.snapshot is None
            or stored.snapshot.revision < horizon
        ):
            return 0
        first = bisect_right(stored.bases, horizon - 1)
        del stored.turns[:first], stored.bases[:first]
        pruned = horizon - stored.horizon
        stored.horizon = horizon
        stored.compacted = max(stored.compacted, horizon)
        return pruned

    async def document_role(self, document: str, user: str) -> str | None:
        self._require_open()
        stored = self._documents.get(document)
        return None if stored is None else stored.roles.get(user)

    async def set_document_role(
        self, document: str, user: str, role: str | None, expect: Mapping[str, str | None] = NOBODY
    ) -> None:
        self._require_open()
        stored = self._documents.get(document)
        if stored is not None:
            _set_role(stored.roles, user, role, expect)

    async def document_roles(self, document: str) -> dict[str, str]:
        self._require_open()
        stored = self._documents.get(document)
        return {} if stored is None else dict(stored.roles)

    async def delete_document(self, document: str) -> bool:
        self._require_open()
        return self._documents.pop(document, None) is not None


def _set_role(roles: dict[str, str], user: str, role: str | None, expect: Mapping[str, str | None]) -> None:
    for other, expected in expect.items():
        if roles.get(other) != expected:
            raise Conflict(f"the role of {other!r} is not {expected!r}")
    owners = [other for other, held in roles.items() if held == "owner"]
    if owners == [user] and role != "owner":
        raise LastOwner(f"{user!r} is the only owner")
    if role is None:
        roles.pop(user, None)
    else:
        roles[user] = role


def _copy(record: UserRecord) -> UserRecord:
    """With attributes of its own, as after a round trip through a database: JSON values only."""
    return replace(record, attributes=msgspec.json.decode(msgspec.json.encode(record.attributes)))
