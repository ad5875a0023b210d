"""What happened, for other systems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .outcome import Done


@dataclass(slots=True, frozen=True)
class LoggedEvent:
    """``sequence`` grows within the log, with no promise of being gapless. ``key`` keeps order per room or document."""

    sequence: int
    key: str
    kind: str
    body: bytes
    created_at: float


class EventLog(Protocol):
    """Append-only record for other systems: in order per key, at least once, durable before ``done``."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def append(self, key: str, kind: str, body: bytes, done: Done[int]) -> None:
        """``done`` gets the sequence number."""

    async def read(self, after: int, limit: int) -> Sequence[LoggedEvent]:
        """Events with a sequence greater than ``after``, oldest first."""

    async def trim(self, keep: int) -> int:
        """Drops all but the newest ``keep`` events; returns how many went. The bound of the log."""
