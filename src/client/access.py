"""What somebody may do in a room or a document, and that he may no longer be there: told by the server while connected."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from ..core.errors import ErrorCode
from .callbacks import AsyncCalls, Callbacks
from .errors import ClientError, Removed, RequestError

#: Joining again is refused with these: it is no longer open to this user.
SHUT = frozenset({"forbidden", "password_required", "password_wrong", "room_not_found", "document_not_found"})


class Access(ABC):
    """``role``: what this user may do; "" before the first join. ``error``: why it is no longer joined; None while it is."""

    def __init__(self, calls: AsyncCalls) -> None:
        self.role = ""
        self.error: ClientError | None = None
        self._on_role: Callbacks[[str]] = Callbacks(calls)
        self._on_removed: Callbacks[[Removed]] = Callbacks(calls)

    def on_role(self, callback: Callable[[str], object]) -> Callable[[], None]:
        """``callback(role)`` when this user's role has changed. Returns what takes it off."""
        return self._on_role.add(callback)

    def on_removed(self, callback: Callable[[Removed], object]) -> Callable[[], None]:
        """``callback(reason)`` when this user was taken out, or is not let in any more after a lost connection. The handle has ended
        then, with the reason in ``error``; who is let in again joins again. Returns what takes it off."""
        return self._on_removed.add(callback)

    @property
    def writable(self) -> bool:
        """Whether this user may write here: messages and events in a room, edits in a document."""
        return self.error is None and self.role not in ("", "reader")

    def _check(self) -> None:
        """Raises why it is no longer joined."""
        if self.error is not None:
            raise self.error

    def _check_edit(self, event: str = "document:operation") -> None:
        """Raises why a document cannot be edited, or asked for an undo: what the server would answer to ``event``, before anything has
        changed here."""
        self._check()
        if self.role == "reader":
            raise RequestError(ErrorCode.FORBIDDEN.value, "readers do not edit", event)

    def _role_is(self, role: str) -> None:
        before, self.role = self.role, role
        if before and before != role:
            self._on_role.fire(role)

    @abstractmethod
    def _over(self, error: ClientError) -> None:
        """Ended here."""

    def _removed(self, message: str, refusal: RequestError | None = None) -> None:
        """``refusal``: what a join was answered."""
        removed = Removed("forbidden" if refusal is None else refusal.code, message)
        removed.__cause__ = refusal
        self._over(removed)
        self._on_removed.fire(removed)
