"""Many client connections on one thread. See engine.pyx."""

from collections.abc import Callable

from .histogram import Histogram
from .ledger import Ledger

#: Sec-WebSocket-Key of every handshake: a constant, so that its answer can be checked without a hash.
KEY: bytes

class Engine:
    """One connection for each member of ``ledger``. Not thread-safe; every method runs the loop itself, none returns early.

    ``address``: IPv4 address and port. ``sources``: addresses to connect from, in turn; empty: the system's choice.
    ``request(member)``: the bytes of the HTTP request. ``greeting(member)``: what to say then, in steps (wait for
    a message with these bytes, empty: at once; then send those, empty: nothing); a member is ready when the last
    step is done. ``greeted(member, message)`` hears each message of a greeting. ``frames``: for each room what stands before and
    after a payload in a message to send. ``lead``, ``trail``: what must stand around every payload that comes. ``error``: bytes
    that only an error has. ``ping``: a message that is answered by ``pong``. ``position_key``: bytes behind which (up to the
    payload, or ``position_after`` it) a message says its position.

    With ``retry_seconds`` (least, most) a connection that was cut or lost comes back after a random time between them, plus the
    Retry-After of a refused handshake; ``greeting`` is asked again. ``recovered`` then holds the times from the loss until it had
    something at or past everything that was sent; ``left_at`` and ``back_at`` are the first loss and the newest recovery
    (``monotonic_ns``; 0: none).
    """

    progress: Callable[[], object] | None
    retry_seconds: tuple[float, float] | None
    @property
    def ledger(self) -> Ledger: ...
    @property
    def opened(self) -> Histogram: ...
    @property
    def joined(self) -> Histogram: ...
    @property
    def recovered(self) -> Histogram: ...
    @property
    def ready(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cuts(self) -> int: ...
    @property
    def lost(self) -> int: ...
    @property
    def errors(self) -> int: ...
    @property
    def others(self) -> int: ...
    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def endings(self) -> dict[str, int]: ...
    @property
    def first_error(self) -> str: ...
    @property
    def stalled(self) -> bool: ...
    @property
    def left_at(self) -> int: ...
    @property
    def back_at(self) -> int: ...
    def __init__(
        self,
        ledger: Ledger,
        address: tuple[str, int],
        sources: list[str],
        request: Callable[[int], bytes],
        greeting: Callable[[int], tuple[tuple[bytes, bytes], ...]],
        frames: list[tuple[bytes, bytes]],
        *,
        opcode: int = 1,
        lead: bytes = b"",
        trail: bytes = b"",
        error: bytes = b"",
        ping: bytes = b"",
        pong: bytes = b"",
        position_key: bytes = b"",
        position_after: bool = False,
        greeted: Callable[[int, bytes], object] | None = None,
        mask: bool = True,
    ) -> None:
        """Raises ValueError, OSError (no epoll to be had)."""
    def open(self, concurrency: int, seconds: float) -> int:
        """Connects everybody, at most ``concurrency`` at a time. Returns how many are ready. Raises OSError (descriptors)."""
    def run(self, seconds: float, *, window: int = 0, rate: float = 0.0, cut: float = 0.0, stall: float = 5.0) -> float:
        """Works for ``seconds``; returns how long it was.

        ``window``: each publisher keeps so many messages on their way (closed loop; 1: rounds). ``rate``: so many messages a
        second, by schedule whatever happens (open loop), by the publishers in turn, each stamped with the time when it was due.
        Both 0: only what comes is read and answered. ``cut``: each member that does not publish loses its connection about every
        so many seconds. A closed loop in which nothing moves for ``stall`` seconds ends, and ``stalled`` says so.
        """
    def drain(self, seconds: float) -> int:
        """Reads on until nothing is missing and all are ready, or nothing moved for ``seconds``. Returns what is missing."""
    def position(self, index: int) -> bytes:
        """What followed the position's key in the newest message of a member; at most 40 bytes. Raises IndexError."""
    def close(self) -> None: ...
