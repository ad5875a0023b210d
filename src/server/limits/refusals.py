"""What this node refuses of whom: connections, handshakes and HTTP requests here, requests and sessions beside it.

Each refusal is counted under one reason of a closed set, from 0 on (``syncline_refused_total``), and is one line of the log with the
client's address. That a client cannot drive the log is the log's doing (log_repeats.py): so many lines of a reason and address.
No line has a token, a key, a password or what a client made of a request beyond its path; what is told is short.

Error answers to requests (``syncline_errors_total``) and connections that the server ends (``syncline_disconnects_total``) have codes
of their own, which are closed sets too: ``request`` and ``ended`` write their lines.
"""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Final

from ...core import errors
from ...core.errors import Disconnect, ErrorCode, SynclineError

log = logging.getLogger("syncline.refused")

#: Characters of what is told of a refusal, such as a path: what comes from a client does not decide how long a line is.
LONGEST: Final = 200


class Reason(StrEnum):
    """Names in metrics and logs. The text that a line has for each is in ``_TEXTS``."""

    # Connections, whatever they would have asked for
    DESCRIPTORS = "descriptors"
    NO_PLACE = "no_place"
    ADDRESS_UNIDENTIFIED = "address_unidentified"
    SILENT = "silent"
    PROXY_HEADER = "proxy_header"
    # Handshakes
    HANDSHAKE = "handshake"
    PATH = "path"
    SUBPROTOCOL = "subprotocol"
    DRAINING = "draining"
    CONNECTIONS = "connections"
    ADDRESS_CONNECTIONS = "address_connections"
    HANDSHAKE_RATE = "handshake_rate"
    ORIGIN = "origin"
    TOKEN = "token"
    # HTTP requests, and handshakes beyond their bounds
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    PIPELINED = "pipelined"
    LATE = "late"
    GONE = "gone"
    STOPPING = "stopping"
    UNTAKEN = "untaken"
    HOST = "host"
    API_KEY = "api_key"
    BODY = "body"
    NOT_FOUND = "not_found"
    METHOD = "method"
    UPGRADE_REQUIRED = "upgrade_required"
    INTERNAL = "internal"


_TEXTS: Final = {
    Reason.DESCRIPTORS: "connection refused: hardly a descriptor is left",
    Reason.NO_PLACE: "connection closed: no place left, and it has not said who it is",
    Reason.ADDRESS_UNIDENTIFIED: "connection closed: too many of its address have not said who they are",
    Reason.SILENT: "connection closed: it asked for nothing in time",
    Reason.PROXY_HEADER: "connection closed: a trusted proxy did not say whose it is",
    Reason.HANDSHAKE: "handshake refused: malformed",
    Reason.PATH: "handshake refused: not the path of WebSockets",
    Reason.SUBPROTOCOL: "handshake refused: no subprotocol of ours",
    Reason.DRAINING: "handshake refused: this node is stopping",
    Reason.CONNECTIONS: "handshake refused: too many connections",
    Reason.ADDRESS_CONNECTIONS: "handshake refused: too many connections of its address",
    Reason.HANDSHAKE_RATE: "handshake refused: too many connect at once",
    Reason.ORIGIN: "handshake refused: not from pages of that origin, or not for that host",
    Reason.TOKEN: "handshake refused: the token is not good",
    Reason.MALFORMED: "request refused: not HTTP",
    Reason.TOO_LARGE: "request refused: too large",
    Reason.PIPELINED: "request refused: too many wait for an answer",
    Reason.LATE: "request refused: it did not come in time",
    Reason.GONE: "request dropped: the client went before it was whole, or answered",
    Reason.STOPPING: "request refused: it was not whole when this node stopped",
    Reason.UNTAKEN: "connection closed: the answer was not taken",
    Reason.HOST: "request refused: for another host",
    Reason.API_KEY: "request refused: the API key is missing or wrong",
    Reason.BODY: "request refused: not what the API takes",
    Reason.NOT_FOUND: "request refused: nothing is at this path",
    Reason.METHOD: "request refused: this path does not take this method",
    Reason.UPGRADE_REQUIRED: "request refused: the path is for WebSockets",
    Reason.INTERNAL: "request failed: a fault of ours",
}
#: What happens to who means no harm: said at ``info``.
_ORDINARY: Final = frozenset(
    {
        Reason.SILENT,
        Reason.DRAINING,
        Reason.NOT_FOUND,
        Reason.METHOD,
        Reason.UPGRADE_REQUIRED,
        Reason.LATE,
        Reason.GONE,
        Reason.STOPPING,
    }
)
#: Requests that are answered with one of these are what a limit, a wrong secret or a wrong client looks like, and are told; the others
#: are part of what an application does, and told at ``debug``.
_TOLD: Final = frozenset(
    {
        ErrorCode.MALFORMED_FRAME,
        ErrorCode.UNKNOWN_EVENT,
        ErrorCode.INVALID_DATA,
        ErrorCode.UNAUTHENTICATED,
        ErrorCode.TOKEN_INVALID,
        ErrorCode.TOKEN_EXPIRED,
        ErrorCode.FORBIDDEN,
        ErrorCode.PASSWORD_WRONG,
        ErrorCode.CLIENT_TAKEN,
        ErrorCode.DOCUMENT_TOO_LARGE,
        ErrorCode.OPERATION_INVALID,
        ErrorCode.SEQUENCE_CONFLICT,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.LIMIT_EXCEEDED,
        ErrorCode.RATE_LIMITED,
        ErrorCode.UNAVAILABLE,
        ErrorCode.INTERNAL,
    }
)
#: Ends that come to everybody: told at ``debug``.
_USUAL_ENDS: Final = frozenset(
    {errors.NORMAL, errors.DRAIN, errors.PING_TIMEOUT, errors.TOKEN_EXPIRED, errors.REMOVED, errors.RESUMED}
)


def about(address: str, **more: object) -> dict[str, object]:
    """Fields of a line about one client. ``address``: "" when a trusted proxy has not told it; empty ones of ``more`` are left out."""
    told = {name: _short(value) for name, value in more.items() if value not in ("", None)}
    return {"address": address or "unknown", **told}


def _short(value: object) -> object:
    return value[:LONGEST] if isinstance(value, str) else value


class Refusals:
    """One per node; on the event loop's thread only."""

    def __init__(self) -> None:
        self.counts = {reason.value: 0 for reason in Reason}

    def refused(self, reason: Reason, address: str, **more: object) -> None:
        """``address``: the client's, "" when it is not known. ``more``: what an operator needs, never a secret."""
        self.counts[reason] += 1
        level = logging.INFO if reason in _ORDINARY else logging.WARNING
        if log.isEnabledFor(level):
            log.log(level, _TEXTS[reason], extra={**about(address, **more), "reason": reason.value})


def request(error: SynclineError, fields: dict[str, object]) -> None:
    """A request was answered with an error. ``fields``: of ``about``, and what was asked for."""
    level = logging.WARNING if error.code in _TOLD else logging.DEBUG
    if log.isEnabledFor(level):
        reason = error.code.value
        log.log(
            level, f"request refused: {reason}", extra={**fields, "reason": reason, "detail": _short(error.message)}
        )


def ended(why: Disconnect, fields: dict[str, object]) -> None:
    """The server ends a connection. ``fields``: of ``about``."""
    level = logging.DEBUG if why in _USUAL_ENDS else logging.WARNING
    if log.isEnabledFor(level):
        reason = why.reason or str(why.code)
        log.log(level, f"connection ended: {reason}", extra={**fields, "reason": reason})
