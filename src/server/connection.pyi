"""One client's bounded write queue, flushed once per turn of the event loop. See connection.pyx."""

from collections.abc import Callable

from ..core.deflate import Deflater
from ..core.room import Member
from .seams import Transport

class Flusher:
    """Writes every dirty connection's queue once per turn. One per node. The integers count for the metrics."""

    frames: int
    bytes_out: int
    flushes: int
    slow_consumers: int
    queue_bytes_max: int
    def __init__(self, call_soon: Callable[[Callable[[], object]], object]) -> None: ...
    def flush(self) -> int: ...
    def take_queue_bytes_max(self) -> int: ...

class Connection(Member):
    """The server-side object of one client socket. ``kind`` is its codec."""

    id: str
    transport: Transport
    flusher: Flusher
    max_bytes: int
    closed: bool
    def __init__(
        self,
        id: str,
        kind: str,
        transport: Transport,
        flusher: Flusher,
        max_bytes: int,
        on_overflow: Callable[[], object],
        deflater: Deflater | None = None,
    ) -> None:
        """``deflater``: when the client reads compressed messages."""
    def deliver(self, frame: bytes) -> int: ...
    def reply(self, frame: bytes) -> int:
        """``deliver`` for the answer to a request: the bound makes room for its size until the queue has drained."""
    @property
    def backlog(self) -> int:
        """Bytes on their way to the kernel: queued here or in the transport."""
    def close(self, code: int, reason: str) -> None:
        """Writes what is queued, then closes. Idempotent; later frames are dropped."""
    def lost(self) -> None:
        """The socket is gone: drops the queue."""
    @property
    def queued(self) -> int:
        """Bytes that wait in the queue."""
