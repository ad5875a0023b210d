"""Cursors of one document that were moved since its last turn: the newest of each client waits for the next one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ...core.errors import OutdatedRevision, SynclineError
from ..protocol.events import DocumentCursor
from .collaborator import Collaborator
from .frames import show_cursors

if TYPE_CHECKING:
    from .live_document import LiveDocument

log = logging.getLogger("syncline.documents")


class MovedCursors:
    """At most one of each collaborator; the first to move comes first."""

    __slots__ = ("_moved",)

    def __init__(self) -> None:
        self._moved: dict[str, DocumentCursor] = {}  # client -> newest

    def __bool__(self) -> bool:
        return bool(self._moved)

    def add(self, client: str, data: DocumentCursor) -> None:
        self._moved[client] = data

    def forget(self, client: str) -> None:
        self._moved.pop(client, None)

    def take(self, live: LiveDocument, end: float) -> None:
        """Sets them until ``end`` (monotonic), at least one, and shows them to the others.

        One that cannot be set is left out: a newer one will come.
        """
        moved: list[Collaborator] = []
        monotonic = live.node.clock.monotonic
        for number, client in enumerate([*self._moved]):
            if number and monotonic() > end:
                break
            data = self._moved.pop(client)
            collaborator = live.collaborators.get(client)
            if collaborator is None:
                continue
            if data.anchor is None or data.head is None:
                live.core.drop_cursor(client)
            else:
                try:
                    live.core.set_cursor(client, data.revision, data.anchor, data.head, collaborator.unit)
                except (SynclineError, OutdatedRevision):
                    continue
                except Exception:
                    log.exception("document %s: a cursor", live.id, extra=collaborator.session.about)
                    continue
            moved.append(collaborator)
        if moved:
            show_cursors(live.core, moved, live.collaborators.values())
