"""What was published under which key lately: a list of all that ever was, looked through from its end."""

from __future__ import annotations

from syncline.core.rooms.room import Position


class SlowKeys:
    """``most`` of the newest count, each for ``seconds``."""

    def __init__(self, most: int, seconds: float) -> None:
        self.most = most
        self.seconds = seconds
        self.added: list[tuple[bytes, Position, float]] = []

    def find(self, key: bytes, now: float) -> Position | None:
        for known, position, time in reversed(self.added[-self.most :]):
            if known == key:
                return position if time > now - self.seconds else None
        return None

    def add(self, key: bytes, position: Position, now: float) -> None:
        self.added.append((key, position, now))
