"""What can go wrong, in two tables: ``Error`` answers one request, ``Disconnect`` ends a connection.

The codes are the API (docs/protocol.md lists them); the texts are free. Internals never reach the peer: an unexpected
exception becomes ``INTERNAL`` and goes to the log with its cause.
"""

from __future__ import annotations

from collections.abc import Generator
from enum import StrEnum
from typing import NamedTuple


class ErrorCode(StrEnum):
    """Stable codes that answer a request."""

    MALFORMED_FRAME = "malformed_frame"
    UNKNOWN_EVENT = "unknown_event"
    INVALID_DATA = "invalid_data"
    UNAUTHENTICATED = "unauthenticated"
    ALREADY_AUTHENTICATED = "already_authenticated"
    TOKEN_INVALID = "token_invalid"
    TOKEN_EXPIRED = "token_expired"
    FORBIDDEN = "forbidden"
    ROOM_NOT_FOUND = "room_not_found"
    ROOM_EXISTS = "room_exists"
    NOT_A_MEMBER = "not_a_member"
    PASSWORD_REQUIRED = "password_required"
    PASSWORD_WRONG = "password_wrong"
    DOCUMENT_NOT_FOUND = "document_not_found"
    DOCUMENT_EXISTS = "document_exists"
    NOT_JOINED = "not_joined"
    CLIENT_TAKEN = "client_taken"
    DOCUMENT_UNAVAILABLE = "document_unavailable"
    DOCUMENT_TOO_LARGE = "document_too_large"
    OPERATION_INVALID = "operation_invalid"
    OPERATION_OUT_OF_RANGE = "operation_out_of_range"
    REVISION_UNKNOWN = "revision_unknown"
    HISTORY_TRIMMED = "history_trimmed"
    SEQUENCE_CONFLICT = "sequence_conflict"
    NOTHING_TO_UNDO = "nothing_to_undo"
    NOTHING_TO_REDO = "nothing_to_redo"
    MESSAGE_TOO_LARGE = "message_too_large"
    LIMIT_EXCEEDED = "limit_exceeded"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    FATE_UNKNOWN = "fate_unknown"
    INTERNAL = "internal"


class SynclineError(Exception):
    """Answers one request. ``code`` is stable, ``message`` is for people and is sent to the client.

    ``retry_after``: seconds after which it may be tried again.
    """

    def __init__(self, code: ErrorCode, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.code = code
        self.retry_after = retry_after
        self.message = message or code.value.replace("_", " ")

    def __str__(self) -> str:
        return f"{self.code.value}: {self.message}"


class OutdatedRevision(Exception):
    """An operation's base revision lies before the window: load the history from ``floor`` down to it and try again.

    Never reaches a client; the document pipeline catches it.
    """

    def __init__(self, base: int, floor: int) -> None:
        super().__init__(base, floor)
        self.base = base
        self.floor = floor


class Laborious(Exception):
    """What is asked takes long: run ``steps`` to its end, in another thread perhaps, while nothing changes the document; then ask again.

    ``steps``: a generator that yields wherever it may rest, and raises what the request would have raised. Never reaches a client.
    """

    def __init__(self, steps: Generator[None, None, object], cost: float) -> None:
        """``cost``: about how many microseconds at most."""
        super().__init__(steps)
        self.steps = steps
        self.cost = cost


class TooFarBehind(Exception):
    """To move an operation over what was committed since its base revision would cost too much: whoever made it has to.

    Never reaches a client; the document pipeline asks it to join again, which it does with its pending work at the head.
    """


class Disconnect(NamedTuple):
    """Ends a connection. ``code`` is the WebSocket close code: 4000-4499 reconnect, 4500-4999 do not."""

    code: int
    reason: str

    @property
    def reconnect(self) -> bool:
        """Whether a client should come back by itself."""
        return self.code < 4500 if self.code >= 4000 else self.code not in ENDING


#: Codes below 4000 after which it would be the same again, or which somebody meant: RFC 6455, 7.4.1. After all others a client comes back.
ENDING = frozenset({1000, 1002, 1003, 1007, 1008, 1009, 1010})

NORMAL = Disconnect(1000, "")
DRAIN = Disconnect(4000, "drain")
SLOW_CONSUMER = Disconnect(4001, "slow_consumer")
PING_TIMEOUT = Disconnect(4002, "ping_timeout")
INTERNAL = Disconnect(4003, "internal")
OVERLOADED = Disconnect(4004, "overloaded")
TOKEN_EXPIRED = Disconnect(4006, "token_expired")
AUTHENTICATION_TIMEOUT = Disconnect(4500, "authentication_timeout")
TOKEN_INVALID = Disconnect(4501, "token_invalid")
MISBEHAVING = Disconnect(4502, "misbehaving")
REMOVED = Disconnect(4503, "removed")
RESUMED = Disconnect(4504, "resumed")
PROTOCOL_ERROR = Disconnect(1002, "protocol_error")
INVALID_TEXT = Disconnect(1007, "invalid_utf8")
MESSAGE_TOO_LARGE = Disconnect(1009, "message_too_large")

#: All that have a reason: every end that a server may give a connection.
DISCONNECTS = tuple(value for value in tuple(globals().values()) if isinstance(value, Disconnect) and value.reason)
