"""Which class a room is of, by its name: what a slow reader gets of its messages (core/rooms/room.pyx)."""

from __future__ import annotations

from collections.abc import Iterable


class RoomClasses:
    """Patterns are names, or beginnings followed by ``*``. A name beats a beginning, a longer one beats a shorter one."""

    def __init__(self, latest: Iterable[str], volatile: Iterable[str]) -> None:
        named = [(pattern, "latest") for pattern in latest] + [(pattern, "volatile") for pattern in volatile]
        self._names = {pattern: word for pattern, word in named if not pattern.endswith("*")}
        beginnings = [(pattern[:-1], word) for pattern, word in named if pattern.endswith("*")]
        self._beginnings = sorted(beginnings, key=lambda one: -len(one[0]))

    def of(self, room: str) -> str:
        """ "history", "latest" or "volatile". O(patterns)."""
        word = self._names.get(room)
        if word is not None:
            return word
        return next((word for beginning, word in self._beginnings if room.startswith(beginning)), "history")
