"""Proof of delivery: a hash of each publication of a room, and their running sum. See delivery_proof.pyx."""

from collections.abc import Iterable

import msgspec

def live_digests() -> int:
    """Rolling digests alive in this process, for tests of leaks."""

def epoch_seed(epoch: str) -> int:
    """What ``item_hash`` starts from: the CRC-32 of the epoch."""

def item_hash(seed: int, offset: int, payload: bytes | bytearray | memoryview | msgspec.Raw) -> int:
    """The hash of one publication, as an unsigned 32-bit number. O(len(payload)). ``offset`` >= 0."""

class RollingDigest:
    """The sum of item hashes modulo 2^32, known at the newest ``limit`` offsets; 0 at ``since``."""

    since: int
    newest: int
    limit: int
    def __init__(self, epoch: str, since: int, limit: int) -> None: ...
    def fold(self, payload: bytes) -> int:
        """The next publication's payload: that of offset ``newest`` + 1."""
    def at(self, offset: int) -> int | None:
        """The sum at ``offset``; None where it is not known (any more, or yet)."""
    def before(self, publications: Iterable[tuple[int, bytes]]) -> int:
        """The sum at the newest offset less the hashes of these (offset, payload): what it was before them."""
