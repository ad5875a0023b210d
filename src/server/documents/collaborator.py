"""One connection in one document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.documents.document import Document
from ..sessions.session import Session

if TYPE_CHECKING:
    from ...core.ot.ot import Unit


class Collaborator:
    """One connection in one document."""

    __slots__ = ("behind", "client", "kind", "role", "sent_back", "session", "since", "unit")

    def __init__(self, session: Session, client: str, role: str, unit: Unit, since: int) -> None:
        """``since``: the revision that it was told when it joined."""
        self.session = session
        self.since = since
        self.client = client
        self.role = role
        self.unit = unit
        self.kind = (unit, session.codec)  # frames are encoded once for each
        self.sent_back = False  # it has to join again; what else it has sent counts on what was not taken
        self.behind = False  # still catching up: operations and cursors do not reach it yet

    def describe(self, document: Document | None, unit: Unit) -> dict[str, Any]:
        """``document``: None for one who has not what the cursor stands in."""
        cursor = None if document is None else document.cursor(self.client, unit)
        return {
            "client": self.client,
            "user": self.session.user,
            "name": self.session.name,
            "role": self.role,
            "anchor": None if cursor is None else cursor.anchor,
            "head": None if cursor is None else cursor.head,
        }
