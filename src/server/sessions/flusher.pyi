"""Writes the queues of all connections once per turn of the event loop. See flusher.pyx."""

from collections.abc import Callable

from ...core.rooms.room import Member

class Flushed(Member):
    """What the flusher knows of a connection."""

    id: str
    def broken(self) -> None:
        """Writing failed."""

class Keyed:
    """A queued frame that a newer one of its key replaces."""

class Flusher:
    """Writes every dirty connection's queue once per turn. One per node. The integers count for the metrics."""

    low_bytes: int
    high_bytes: int
    max_messages: int
    frames: int
    bytes_out: int
    flushes: int
    conflated: int
    dropped: int
    behind: int
    slow_consumers: int
    queue_bytes_max: int
    queue_messages_max: int
    def __init__(
        self,
        call_soon: Callable[[Callable[[], object]], object],
        low_bytes: int = 131_072,
        high_bytes: int = 1_048_576,
        max_messages: int = 16_384,
    ) -> None:
        """The marks of ``limits.queue_low_bytes``, ``queue_high_bytes`` and ``queue_messages``, for all connections."""
    def limit(self, low_bytes: int, high_bytes: int, max_messages: int) -> None:
        """The marks from now on."""
    def flush(self) -> int: ...
    def take_queue_bytes_max(self) -> int: ...
    def take_queue_messages_max(self) -> int: ...
