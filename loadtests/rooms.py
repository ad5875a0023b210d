"""What one connection was given of one room, held against what it had to be given. Sans-I/O.

Offsets tell gaps, duplicates and disorder; joining again with the position that one has (``audit``) tells what is missing
at the end: frames keep their order, so what the answer says was published must have come before it.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from . import measure

MOST_HOLES = 100_000


class RoomWatch:
    """Counts go to ``counts``. MISSED is what was lost silently; UNRECOVERED what the server said it no longer has."""

    def __init__(self, room: str, counts: Counter[str]) -> None:
        self.room = room
        self.offset = 0
        self.epoch = ""
        self.room_class = "history"
        self.joining = False
        self._counts = counts
        self._holes: set[int] = set()

    def join_data(self) -> dict[str, Any]:
        """For room:join; what comes until its answer is passed over, because the answer holds it."""
        self.joining = True
        data: dict[str, Any] = {"room": self.room}
        if self.epoch:
            data["recover"] = {"offset": self.offset, "epoch": self.epoch}
        return data

    def joined(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """The publications that were recovered. Of a first join: none."""
        self.joining = False
        self.room_class = result.get("class", "history")
        offset, epoch = result["position"]["offset"], result["position"]["epoch"]
        had, before = self.offset, self.epoch
        if not before:
            self.offset, self.epoch = offset, epoch
            return []
        recovered: list[dict[str, Any]] = []
        if result["recovered"]:
            for publication in result["publications"]:
                if publication["offset"] <= self.offset:
                    self._counts[measure.DUPLICATE] += 1
                    continue
                self._gap(publication["offset"])
                self.offset = publication["offset"]
                recovered.append(publication)
            self._gap(offset + 1)
            self._counts[measure.RECOVERED] += len(recovered)
        elif self.room_class == "history":
            self._counts[measure.UNRECOVERED] += offset - had if epoch == before else max(1, offset)
        self.offset, self.epoch = offset, epoch
        return recovered

    def received(self, data: dict[str, Any]) -> bool:
        """A push; whether it is a new delivery."""
        if self.joining:
            return False
        offset = data["offset"]
        if offset == self.offset + 1 and data["epoch"] == self.epoch:
            self.offset = offset
            return True
        if data["epoch"] != self.epoch:
            # The history began anew and nobody said so.
            self._counts[measure.MISSED] += 1
            self._holes.clear()
            self.offset, self.epoch = offset, data["epoch"]
            return True
        if offset > self.offset:
            self._gap(offset)
            self.offset = offset
            return True
        if offset in self._holes:
            self._holes.remove(offset)
            self._counts[measure.MISSED] -= 1
            self._counts[measure.REORDERED] += 1
            return True
        self._counts[measure.DUPLICATE] += 1
        return False

    def audit(self, result: dict[str, Any]) -> int:
        """The answer to a ``room:join`` that was asked for without ``join_data``: how many publications never came."""
        self._counts[measure.AUDITED] += 1
        if self.room_class != "history":
            return 0
        position = result["position"]
        if position["epoch"] != self.epoch:
            missed = 1
        else:
            missed = max(0, position["offset"] - self.offset)
        self._counts[measure.MISSED] += missed
        return missed

    def _gap(self, offset: int) -> None:
        """``offset`` comes next: what lies between it and the last one has not come."""
        missing = offset - self.offset - 1
        if missing <= 0:
            return
        if self.room_class != "history":
            self._counts[measure.CONFLATED] += missing
            return
        self._counts[measure.MISSED] += missing
        if len(self._holes) + missing <= MOST_HOLES:
            self._holes.update(range(self.offset + 1, offset))
