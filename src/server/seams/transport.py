"""One socket, as a connection sees it."""

from __future__ import annotations

from typing import Protocol


class Transport(Protocol):
    """One socket as a connection sees it. Never blocks, never awaits. When the kernel does not take all of a write it calls the
    connection's ``paused`` before ``write`` returns, and ``drained`` when the rest is taken."""

    def write(self, data: bytes) -> None:
        """Bytes that are framed already."""

    def buffered(self) -> int:
        """Bytes accepted by ``write`` that the kernel has not taken yet."""

    def unread(self) -> tuple[int, float]:
        """Bytes in memory that the session was not given yet: of a message that is not whole, or read when it was told to pause; and when
        they began to come, by ``Clock.monotonic``."""

    def close(self, code: int, reason: str) -> None:
        """Sends the closing frame of the protocol, then closes; aborts when the peer does not follow in time."""

    def abort(self) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...
