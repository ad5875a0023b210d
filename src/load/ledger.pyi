"""What was published and who has had it: every delivery is checked. See ledger.pyx."""

from .histogram import Histogram

#: The smallest payload: mark, publisher, sequence number, time.
LEAST_PAYLOAD: int

class Ledger:
    """``rooms`` rooms of ``members`` members, the first ``publishers`` of which publish payloads of ``payload`` bytes.

    Members are numbered from 0, room by room; so are publishers. ``depth``: how many messages of a publisher may be on
    their way before the oldest is given up (only for ``completed`` and ``last``); rounded up to a power of two.
    Memory: 16 bytes for each pair of a member and a publisher of its room, 8 for each message on its way.
    """

    @property
    def rooms(self) -> int: ...
    @property
    def members(self) -> int: ...
    @property
    def publishers(self) -> int: ...
    @property
    def payload(self) -> int: ...
    @property
    def published(self) -> int: ...
    @property
    def delivered(self) -> int: ...
    @property
    def completed(self) -> int: ...
    @property
    def gaps(self) -> int: ...
    @property
    def duplicates(self) -> int: ...
    @property
    def late(self) -> int: ...
    @property
    def corrupt(self) -> int: ...
    @property
    def stray(self) -> int: ...
    @property
    def overrun(self) -> int: ...
    @property
    def each(self) -> Histogram: ...
    @property
    def last(self) -> Histogram: ...
    def __init__(self, rooms: int, members: int, publishers: int, payload: int, depth: int = 1) -> None:
        """Raises ValueError for numbers that make no sense."""
    def message(self, publisher: int, time: int) -> bytes:
        """The next payload of ``publisher``, stamped with ``time`` (nanoseconds). Raises IndexError."""
    def deliver(self, member: int, payload: bytes, now: int) -> int:
        """What came to ``member``. Returns the publisher when all members have that message now, else -1. Raises IndexError."""
    def missing(self) -> int:
        """Deliveries that should have been and were not, so far."""
    def disordered(self) -> int:
        """Rooms whose members did not all see the same order. Means something when nothing is missing."""
