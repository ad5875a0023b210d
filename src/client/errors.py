"""What a client call can raise. Codes are the protocol's (docs/protocol.md, Errors); texts are for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

#: Seconds. No server sends a client away for longer.
LONGEST_WAIT = 600.0


class ClientError(Exception):
    """The base of everything that this package raises by itself."""


class RequestError(ClientError):
    """The server answered with an error. ``code`` is stable; compare it with ``syncline.core.errors.ErrorCode``.
    ``retry_after``: seconds, when the server said so."""

    def __init__(self, code: str, message: str = "", event: str = "", retry_after: float | None = None) -> None:
        super().__init__(code, message, event)
        self.code = code
        self.message = message or code.replace("_", " ")
        self.event = event
        self.retry_after = retry_after

    @classmethod
    def read(cls, error: Mapping[str, Any], event: str) -> Self:
        """What the server said of a request ``event``."""
        wait = error.get("retry_after")
        retry_after = min(float(wait), LONGEST_WAIT) if isinstance(wait, int | float) and wait >= 0 else None
        return cls(str(error.get("code")), str(error.get("message", "")), event, retry_after)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" + (f" ({self.event})" if self.event else "")


class Removed(RequestError):
    """This user was taken out of the room or the document, or is not let in any more. ``code``: forbidden, or what a join was answered."""


class RequestTimeout(ClientError):
    """No answer in time. Whether the server did what was asked is not known."""


class NotSent(RequestTimeout):
    """It waited for its turn in vain: held back by the server's rate limit, or there was no connection. Nothing of it was done; it may be
    asked for again."""


class ConnectionLost(ClientError):
    """The connection ended before the answer came. Whether the server did what was asked is not known."""


class ConnectFailed(ClientError):
    """No connection could be made; the reason is the cause. ``retry_after``: seconds, when the server said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoToken(ConnectFailed):
    """``get_token`` raised (the cause), took longer than ``Options.open_timeout``, or returned no token."""


class Disconnected(ClientError):
    """The connection ended for good: the server's close code says not to come back, or attempts ran out."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.code} {self.reason}".strip()


class Closed(ClientError):
    """The client, room or document was closed or left by this side."""


class BufferFull(ClientError):
    """A bound of this client was reached; nothing was changed."""


class ProtocolViolation(ClientError):
    """The server sent something that is not the protocol; the connection is given up and made anew."""


class Undecodable(ClientError):
    """A value that the decoder here does not hold: nested too deeply, beyond the numbers. It costs that one message or answer."""


class Diverged(ClientError):
    """The local text and the server's history do not fit together; the document is loaded anew."""
