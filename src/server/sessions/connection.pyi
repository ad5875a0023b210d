"""One client's bounded queue of outgoing frames, flushed once per turn of the event loop. See connection.pyx."""

from collections.abc import Callable, Hashable

from ...core.wire.deflate import Deflater
from ..seams.transport import Transport
from .flusher import Flushed, Flusher

class Connection(Flushed):
    """The server-side object of one client socket. ``kind`` is its codec."""

    transport: Transport
    flusher: Flusher
    max_bytes: int
    held: bool
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
    def deliver(self, frame: bytes) -> int:
        """Queues a frame that must arrive. Returns 1, or 0 when the connection takes no more."""
    def reply(self, frame: bytes) -> int:
        """``deliver`` for the answer to a request: the bound makes room for its size until the queue has drained."""
    def deliver_latest(self, frame: bytes, key: Hashable) -> int:
        """Queues a frame that makes the earlier ones of ``key`` worthless: those are taken out unless they were written."""
    def deliver_volatile(self, frame: bytes) -> int:
        """Queues a frame that only matters now, or drops it (and returns 0) when much is waiting already."""
    def pong(self, payload: bytes) -> int:
        """Answers a ping; of a reader that does not take the answers only the last one (RFC 6455 section 5.5.3)."""
    def leave_out(self) -> bool:
        """Whether so much waits that what can be had from a history should not be queued; then that is counted."""
    def behind_in(self, room: str) -> bool:
        """Whether publications of that room were left out that it has not recovered yet."""
    def caught_up(self, room: str) -> bool:
        """It joins the room anew, or leaves it. Returns whether it was behind in it."""
    def paused(self) -> int:
        """From the transport, also inside ``write``: the kernel did not take all."""
    def drained(self) -> int:
        """From the transport: the kernel has taken all that was written. The next part follows."""
    def when_drained(self, callback: Callable[[], object]) -> None:
        """Calls back once, when the transport has handed on what it has, or the connection ends."""
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
    def give_up(self) -> None:
        """Drops what waits, and ends the connection as that of a reader that is too slow."""
    @property
    def queued_alone(self) -> int:
        """The same with each frame divided among all who hold it. O(frames)."""
    @property
    def promised(self) -> int:
        """Bytes of the largest answer on its way, for which the bound makes room."""
    @property
    def queued_messages(self) -> int:
        """Frames that wait in the queue."""
