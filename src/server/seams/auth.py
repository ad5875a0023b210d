"""Who a token speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(slots=True, frozen=True)
class Credentials:
    """Who a token speaks for. ``expires_at`` in Unix seconds; None: does not expire."""

    user: str
    name: str
    expires_at: float | None = None
    guest: bool = False
    claims: Mapping[str, Any] = field(default_factory=dict)


class Auth(Protocol):
    """Turns tokens into credentials. CPU only: does not wait, so the handshake can call it."""

    guests: bool

    def authenticate(self, token: str) -> Credentials:
        """Raises ``SynclineError`` with ``token_invalid`` or ``token_expired``."""

    def issue(self, user: str, name: str, *, ttl: float | None = None, guest: bool = False) -> str:
        """A token this server accepts. Raises ``SynclineError(forbidden)`` when it holds no signing key."""
