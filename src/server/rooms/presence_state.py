"""One user in a room as the protocol shows it, over all its connections; a sample of a large room's users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ...core.values.json_values import json_decoder
from ..seams.presence import PresenceEntry
from .hub import Membership

_decode = json_decoder().decode

#: A user's status over its connections is the strongest of theirs.
_STRENGTH = {"away": 0, "online": 1, "busy": 2}

State = dict[str, Any]  # of one user, as the protocol shows it


class Stated(Protocol):
    """A membership, or another node's entry."""

    @property
    def user(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def last_seen(self) -> float: ...
    @property
    def metadata(self) -> bytes | None: ...


class Sample:
    """Some users of a large room, encoded; for the joins until ``until`` (monotonic)."""

    __slots__ = ("encoded", "states", "until", "users")

    def __init__(self, states: list[State], until: float) -> None:
        self.states = states
        self.users = frozenset(state["user"] for state in states)
        self.until = until
        self.encoded: dict[str, list[msgspec.Raw]] = {}

    def of(self, codec: str) -> list[msgspec.Raw]:
        found = self.encoded.get(codec)
        if found is None:
            found = self.encoded[codec] = [raw(codec, state) for state in self.states]
        return found


def user_of(state: State) -> str:
    return str(state["user"])


def raw(codec: str, state: State) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(state) if codec == "json" else msgspec.msgpack.encode(state))


def state_of(entries: Sequence[Stated]) -> State:
    """One user's entries as the protocol shows them: strongest status, newest metadata."""
    newest = entries[0] if len(entries) == 1 else max(entries, key=lambda entry: entry.last_seen)
    status = max((entry.status for entry in entries), key=lambda word: _STRENGTH.get(word, 0))
    return {
        "user": newest.user,
        "name": newest.name,
        "status": status,
        "last_seen": newest.last_seen,
        "metadata": _decode(newest.metadata) if newest.metadata else None,
    }


def absent_state(user: str, name: str, last_seen: float | None) -> State:
    """Of one who is not in the room. ``last_seen``: None when nothing is known of them."""
    status = "offline" if last_seen is None else "away"
    return {"user": user, "name": name, "status": status, "last_seen": last_seen, "metadata": None}


def entry_of(membership: Membership, seen: float | None = None) -> PresenceEntry:
    session = membership.session
    at = membership.last_seen if seen is None else seen
    return PresenceEntry(session.user, session.connection.id, session.name, membership.status, at, membership.metadata)
