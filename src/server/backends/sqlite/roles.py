"""Who is what in a room or a document: two tables of one shape, changed under the rules that the store's contract has."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...seams.outcome import Conflict, LastOwner


@dataclass(slots=True, frozen=True)
class Roles:
    """A table of roles. ``of``: the column that says in what; ``find``: its value by the name of that."""

    table: str
    of: str
    find: str

    def set(
        self, connection: sqlite3.Connection, name: str, user: str, role: str | None, expect: Mapping[str, str | None]
    ) -> Conflict | LastOwner | None:
        """See ``Store.set_room_role``. Returns what it would raise: a refusal changes nothing, so there is nothing to roll back."""
        found = connection.execute(self.find, (name,)).fetchone()
        if found is None:
            return None
        (key,) = found

        def held(by: str) -> str | None:
            query = f"SELECT role FROM {self.table} WHERE {self.of} = ? AND user = ?"
            row = connection.execute(query, (key, by)).fetchone()
            return None if row is None else str(row[0])

        for other, expected in expect.items():
            if held(other) != expected:
                return Conflict(f"the role of {other!r} is not {expected!r}")
        if role != "owner" and held(user) == "owner":
            query = f"SELECT 1 FROM {self.table} WHERE {self.of} = ? AND role = 'owner' AND user <> ? LIMIT 1"
            if connection.execute(query, (key, user)).fetchone() is None:
                return LastOwner(f"{user!r} is the only owner")
        if role is None:
            connection.execute(f"DELETE FROM {self.table} WHERE {self.of} = ? AND user = ?", (key, user))
        else:
            connection.execute(
                f"INSERT INTO {self.table} ({self.of}, user, role) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET role = excluded.role",
                (key, user, role),
            )
        return None


ROOMS: Final = Roles("room_members", "room", "SELECT name FROM rooms WHERE name = ?")
DOCUMENTS: Final = Roles("document_roles", "document", "SELECT key FROM documents WHERE id = ?")
