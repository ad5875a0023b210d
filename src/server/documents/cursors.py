"""Cursors of one document that were moved since its last turn: the newest of each client waits for the next one."""

from __future__ import annotations

import logging
from typing import Any

from ...core.errors import OutdatedRevision, SynclineError
from .collaborator import Collaborator
from .frames import show_cursors
from .loaded import Loaded

log = logging.getLogger("syncline.documents")


class MovedCursors:
    """At most one of each collaborator; the first to move comes first."""

    __slots__ = ("_moved",)

    def __init__(self) -> None:
        self._moved: dict[str, tuple[int, Any, Any]] = {}  # client -> revision, anchor and head of the newest

    def __bool__(self) -> bool:
        return bool(self._moved)

    def add(self, client: str, revision: int, anchor: Any, head: Any) -> None:
        """``anchor`` and ``head`` are positions as the document's type has them; None: no cursor."""
        self._moved[client] = revision, anchor, head

    def forget(self, client: str) -> None:
        self._moved.pop(client, None)

    def take(self, live: Loaded, end: float) -> None:
        """Sets them until ``end`` (monotonic), at least one, and shows them to the others.

        One that cannot be set is left out: a newer one will come.
        """
        moved: list[Collaborator] = []
        monotonic = live.context.clock.monotonic
        for number, client in enumerate([*self._moved]):
            if number and monotonic() > end:
                break
            revision, anchor, head = self._moved.pop(client)
            collaborator = live.collaborators.get(client)
            if collaborator is None:
                continue
            if anchor is None or head is None:
                live.core.drop_cursor(client)
            else:
                try:
                    live.core.set_cursor(client, revision, anchor, head, collaborator.unit)
                except (SynclineError, OutdatedRevision):
                    continue
                except Exception:
                    log.exception("document %s: a cursor", live.id, extra=collaborator.session.about)
                    continue
            moved.append(collaborator)
        if moved:
            show_cursors(live.core, moved, live.collaborators.values())
