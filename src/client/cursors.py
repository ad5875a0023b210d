"""Who else is in a document, and where the carets are: others' as they are told, one's own as it is moved along and sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .callbacks import Callbacks
from .document_values import Change

if TYPE_CHECKING:
    from ..core.values.text0 import Side
    from .document_state import DocumentState
    from .handle_owner import HandleOwner


@dataclass(frozen=True, slots=True)
class Collaborator:
    """Another client in the document. Positions are in this client's content now; None: no cursor."""

    client: str
    user: str
    name: str
    role: str
    anchor: Any
    head: Any


class Cursors:
    """A part of a handle, which has a state and the ways to send."""

    name: str
    _client: HandleOwner
    _state: DocumentState
    _check: Callable[[], None]
    _schedule: Callable[[], None]

    def __init__(self) -> None:
        self._people: dict[str, dict[str, Any]] = {}
        self._own_cursor: tuple[Any, Any] | None = None
        self._cursor_changed = False
        self._on_cursors: Callbacks[[]] = Callbacks(self._client._calls)

    @property
    def collaborators(self) -> Mapping[str, Collaborator]:
        """The other clients here, by client id."""
        found = {}
        for client, person in self._people.items():
            anchor, head = self._state.cursor(client) or (None, None)
            found[client] = Collaborator(client, person["user"], person["name"], person["role"], anchor, head)
        return MappingProxyType(found)

    @property
    def cursors(self) -> Mapping[str, tuple[Any, Any]]:
        """(anchor, head) of those of them that show one, in the content as it is now."""
        places = ((client, self._state.cursor(client)) for client in self._people)
        return MappingProxyType({client: place for client, place in places if place is not None})

    def on_cursors(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Somebody came, went or moved by other means than an edit."""
        return self._on_cursors.add(callback)

    def set_cursor(self, anchor: Any, head: Any = None) -> None:
        """Where this client's caret (``head`` left out) or selection is; None hides it. Sent when edits are settled.
        Raises SynclineError (invalid_data: no position in the content, or the type has none), and what ended the handle."""
        self._check()
        if anchor is None:
            self._own_cursor = None
        else:
            kind, view = self._state.type, self._state.view
            places = [kind.parse_position(place) for place in (anchor, anchor if head is None else head)]
            for place in places:
                kind.check_position(view, place)
            self._own_cursor = (places[0], places[1])
        self._cursor_changed = True
        self._schedule()

    # What the server says --------------------------------------------------------------------------------------------
    def _cursor_at(self, revision: int, client: str, anchor: Any, head: Any) -> None:
        if client not in self._people:
            return
        if anchor is not None and head is not None:
            anchor, head = map(self._state.type.parse_position, (anchor, head))
        self._state.place_cursor(client, anchor, head, revision)

    def _forget_cursor(self, client: str) -> None:
        self._people.pop(client, None)
        self._state.place_cursor(client, None, None)

    # One's own -------------------------------------------------------------------------------------------------------
    def _move_own_cursor(self, changes: list[Change]) -> None:
        if self._own_cursor is None:
            return
        move = self._state.type.move
        for operation, origin, _ in changes:
            anchor, head = self._own_cursor
            stick: Side = "right" if origin == "local" else "left"  # what is typed is before one's own
            if operation is not None:
                self._own_cursor = (move(operation, anchor, stick), move(operation, head, stick))

    def _send_cursor(self) -> None:
        self._cursor_changed = False
        anchor, head = self._own_cursor or (None, None)
        data = {"document": self.name, "revision": self._state.revision, "anchor": anchor, "head": head}
        self._client.connection.post("document:cursor", data)
