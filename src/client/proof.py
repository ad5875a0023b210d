"""What one client knows of the deliveries of one room: its digest, and up to where it is proven. Sans-I/O.

docs/protocol.md, Delivery digest. ``fold`` runs for every message; all else at joins and heartbeats.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from msgspec import Raw

from ..core.rooms.delivery_proof import epoch_seed, item_hash
from .codec import Received

# More than so many messages or bytes are not left unproven, whatever the time: a repair needs them from the server's
# history, which holds 1,000 and 1 MiB of a room by default.
MESSAGES: Final = 400
BYTES: Final = 400_000


class Position(NamedTuple):
    """A place in a room's history: offsets 1, 2, 3, ... within an epoch; offset 0 is before the first."""

    offset: int
    epoch: str


class Proof:
    """``proven``: up to here everything that was received is what was sent, once and in order; None: not compared yet.

    checks: comparisons that agreed. failures: those that did not; the room was then joined again from ``floor``, the last
    proven position, or where this digest began. duplicates: messages that came again and were passed over.
    """

    __slots__ = (
        "_epoch",
        "_fresh",
        "_fresh_bytes",
        "_offset",
        "_seed",
        "_since",
        "_total",
        "asked",
        "checks",
        "duplicates",
        "failures",
        "floor",
        "proven",
        "row",
    )

    def __init__(self) -> None:
        self.proven: Position | None = None
        self.checks = 0
        self.failures = 0
        self.row = 0  # failures without a success between
        self.duplicates = 0
        self.floor = Position(0, "")
        self.asked = False  # a comparison is under way
        self._since = -1  # -1: the server keeps no digest of this room
        self._epoch = ""
        self._seed = 0
        self._offset = 0
        self._total = 0  # the digest at _offset, above 32 bits: cut when it is looked at
        self._fresh = 0  # messages since the last question
        self._fresh_bytes = 0

    def joined(self, digest: Any, position: Position, publications: Sequence[Received], continued: bool) -> None:
        """``continued``: nothing is missing between what was folded so far and ``publications``.

        Raises KeyError or TypeError for a digest that is none.
        """
        self.asked = False
        if digest is None:
            self._since = -1
            return
        since, value = int(digest["since"]), int(digest["value"])
        # A digest that was found wrong is not gone on with.
        if not (continued and self.row == 0 and since == self._since and position.epoch == self._epoch):
            self._since, self._total = since, value
            if position.epoch != self._epoch:
                self._epoch, self._seed = position.epoch, epoch_seed(position.epoch)
            self._offset = publications[0].offset - 1 if publications else position.offset
            self.floor = Position(self._offset, self._epoch)
        for received in publications:
            if received.offset > self._offset:
                self.fold(received.offset, received.data)
        self._offset = position.offset

    def state(self) -> Any:
        """For a join: what this digest is, when it can be gone on with."""
        return {"since": self._since, "proven": self.floor.offset} if self._since >= 0 and self.row == 0 else True

    def fold(self, offset: int, payload: Raw) -> bool:
        """The next message. Returns whether it is time to compare."""
        if self._since < 0:
            return False
        self._total += item_hash(self._seed, offset, payload)
        self._offset = offset
        self._fresh += 1
        self._fresh_bytes += len(payload)
        return (self._fresh >= MESSAGES or self._fresh_bytes >= BYTES) and not self.asked

    def fold_hash(self, offset: int, hashed: int) -> None:
        """The next message is one's own that was not sent back; the server gives its hash."""
        if self._since >= 0:
            self._total += hashed
            self._offset = offset

    @property
    def digest(self) -> int:
        self._total &= 0xFFFFFFFF
        return self._total

    def claim(self, room: str) -> dict[str, Any] | None:
        """What to ask the server, also when nothing came: the last message may be lost. None while an answer is awaited."""
        if self._since < 0 or self.asked:
            return None
        self.asked = True
        self._fresh = self._fresh_bytes = 0
        return {"room": room, "epoch": self._epoch, "offset": self._offset, "digest": self.digest}

    def compare(self, answer: dict[str, Any]) -> bool:
        """Whether the room is exactly where the client is. Raises KeyError for an answer that is none."""
        if (answer["epoch"], answer["offset"], answer["digest"]) != (self._epoch, self._offset, self.digest):
            self.failures += 1
            self.row += 1
            return False
        self.checks += 1
        self.row = 0
        self.proven = self.floor = Position(self._offset, self._epoch)
        return True
