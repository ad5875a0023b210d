"""What was published under which idempotency key lately. See idempotency.pyx."""

from .room import Position

def idempotency_digest(room: str, user: str, key: str) -> bytes:
    """16 bytes that stand for the user's key in the room. O(length)."""

class IdempotencyKeys:
    """Of the newest ``most`` messages, each for ``seconds``. Not for several threads.

    48 bytes a key, and as much again while it grows. Raises ValueError unless 1 <= ``most`` <= 2^30 and ``seconds`` > 0."""

    @property
    def most(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def dropped(self) -> int:
        """How many went before their time, for want of places."""
    @property
    def held_bytes(self) -> int: ...
    def __init__(self, most: int, seconds: float) -> None: ...
    def __len__(self) -> int: ...
    def find(self, key: bytes, now: float) -> Position | None:
        """Where the message with the key (``idempotency_digest``) is, or None. ``now`` in seconds, by the clock of ``add``. O(1)."""
    def add(self, key: bytes, position: Position, now: float) -> None:
        """Remembers it; one that is known is another one from now on. O(1) amortised.

        Raises ValueError when the position's epoch is not 64 bits in hexadecimal digits."""
