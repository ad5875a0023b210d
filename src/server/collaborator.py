"""One connection in one document, and how documents look on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.document import Document
from ..core.entries import Entry, decode_entries
from .seams import Turn
from .session import Session

if TYPE_CHECKING:
    from ..core.ot import Unit


class Collaborator:
    """One connection in one document."""

    __slots__ = ("behind", "client", "role", "session", "unit")

    def __init__(self, session: Session, client: str, role: str, unit: Unit) -> None:
        self.session = session
        self.client = client
        self.role = role
        self.unit = unit
        self.behind = False  # still catching up: operations and cursors do not reach it yet

    def describe(self, document: Document, unit: Unit) -> dict[str, Any]:
        cursor = document.cursor(self.client, unit)
        return {
            "client": self.client,
            "user": self.session.user,
            "name": self.session.name,
            "role": self.role,
            "anchor": None if cursor is None else cursor.anchor,
            "head": None if cursor is None else cursor.head,
        }


def describe(entries: list[Entry], unit: Unit) -> list[dict[str, Any]]:
    """Entries as the protocol shows them."""
    return [
        {"client": entry.client, "seq": entry.seq, "operation": entry.in_unit(unit).components} for entry in entries
    ]


def entries_between(turns: list[Turn], since: int, until: int) -> list[Entry]:
    """The entries of revisions since + 1 ... until out of turns that may reach further on both sides."""
    entries: list[Entry] = []
    for turn in turns:
        of_turn = decode_entries(turn.body)
        low, high = max(since - turn.base, 0), min(until - turn.base, len(of_turn))
        entries.extend(of_turn[low:high])
    return entries
