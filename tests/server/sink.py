"""A transport for sessions without a socket."""

from __future__ import annotations


class Sink:
    """Takes everything, and keeps it."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closed: int | None = None

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def buffered(self) -> int:
        return 0

    def unread(self) -> tuple[int, float]:
        return 0, 0.0

    def close(self, code: int, reason: str) -> None:
        self.closed = code

    def abort(self) -> None:
        self.closed = 1006

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def has(self, event: str) -> bool:
        """Whether it was told of one; in JSON, not compressed."""
        return any(f'"{event}"'.encode() in one for one in self.sent)
