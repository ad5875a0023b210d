"""What a WebSocket handshake says, and what is answered to one that does not say it right: pure functions of its head.

Where a field is a list, several lines of it are one line with commas (RFC 9110, 5.3), and elements may be empty (5.6.1). Fields that are
no lists come once. What is wrong with a request is 400; what asks for no WebSocket, or for another version of it, is 426 with what
there is (RFC 6455, 4.2.2 and 4.4; RFC 9110, 15.5.22).
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hashlib import sha1
from http import HTTPStatus
from typing import Final

from ..limits.refusals import Reason
from .heads import host_fault, tokens

#: The one of RFC 6455.
VERSION: Final = "13"
#: What a client is told who asked for something else.
OFFER: Final = {"Upgrade": "websocket", "Sec-WebSocket-Version": VERSION}

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_TOKEN: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_NAME: Final = re.compile(_TOKEN)
_FIELDS: Final = re.compile(rf"(?:\r\n{_TOKEN}:[\t\x20-\x7e\x80-\xff]*)*")
#: RFC 6455, 9.1: after unquoting, a quoted value is a token as well.
_EXTENSION: Final = re.compile(rf'{_TOKEN}(?:[ \t]*;[ \t]*{_TOKEN}(?:[ \t]*=[ \t]*(?:{_TOKEN}|"{_TOKEN}"))?)*')
_SINGLE: Final = frozenset({"authorization", "host", "origin", "sec-websocket-key", "sec-websocket-version"})


class Refused(Exception):
    """A handshake is answered with an HTTP error; the text goes to the client."""

    def __init__(
        self, reason: Reason, status: HTTPStatus, text: str, headers: Mapping[str, str] | None = None, **more: str
    ) -> None:
        """``headers``: of the answer, beside those that every one has. ``more``: for the log."""
        super().__init__(text)
        self.reason = reason
        self.status = status
        self.headers = dict(headers or {})
        self.more = more

    def answer(self) -> bytes:
        """The whole answer; the connection closes after it."""
        body = str(self).encode("utf-8", "backslashreplace")
        connection = "Upgrade, close" if "Upgrade" in self.headers else "close"
        lines = [
            f"HTTP/1.1 {self.status} {self.status.phrase}",
            "Content-Type: text/plain; charset=utf-8",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers.items()),
            f"Connection: {connection}",
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def malformed(text: str) -> Refused:
    """``text`` has nothing of what the client sent: that may be a token."""
    return Refused(Reason.HANDSHAKE, HTTPStatus.BAD_REQUEST, text, detail=text)


def parse(head: bytes) -> tuple[str, dict[str, str]]:
    """The target of a GET and its fields, names in lower case, lists joined. ``head``: with its empty line; bytes beyond ASCII are Latin-1.
    O(length). Raises Refused."""
    text = head.decode("latin-1").removesuffix("\r\n\r\n")
    request, *lines = text.split("\r\n")
    method, _, rest = request.partition(" ")
    target, _, version = rest.partition(" ")
    if method != "GET" or version != "HTTP/1.1" or not target:
        raise malformed("a handshake begins with GET, a path and HTTP/1.1")
    if not _FIELDS.fullmatch(text, len(request)):
        raise malformed("a header line is malformed")
    fields: dict[str, str] = {}
    hosts: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        name, value = name.lower(), value.strip(" \t")
        if name == "host":
            hosts.append(value)
        if name not in fields:
            fields[name] = value
        elif name not in _SINGLE:
            fields[name] += f", {value}"
        elif name != "host":
            raise malformed(f"more than one {name}")
    if fault := host_fault(hosts, required=True):
        raise malformed(fault)
    if "transfer-encoding" in fields or fields.get("content-length", "0").strip("0"):
        raise malformed("a handshake has no body")
    return target, fields


def accept(fields: Mapping[str, str]) -> str:
    """Sec-WebSocket-Accept for an upgrade to WebSocket. ``fields``: of ``parse``. Raises Refused."""
    offered = [name.lower() for name in tokens(fields.get("upgrade", ""))]
    if "websocket" not in offered or "upgrade" not in [one.lower() for one in tokens(fields.get("connection", ""))]:
        text = "this is the WebSocket endpoint; connect with a WebSocket client"
        raise Refused(Reason.UPGRADE_REQUIRED, HTTPStatus.UPGRADE_REQUIRED, text, OFFER)
    if fields.get("sec-websocket-version") != VERSION:
        text = f"this server speaks version {VERSION} of WebSocket"
        raise Refused(Reason.HANDSHAKE, HTTPStatus.UPGRADE_REQUIRED, text, OFFER, detail=text)
    key = fields.get("sec-websocket-key", "")
    try:
        random = b64decode(key, validate=True)
    except ValueError:
        random = b""
    if len(random) != 16 or len(key) != 24:
        raise malformed("Sec-WebSocket-Key is not 16 bytes in base64")
    return b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def subprotocols(fields: Mapping[str, str]) -> list[str]:
    """Those that are offered, in the order of preference. Raises Refused."""
    offered = tokens(fields.get("sec-websocket-protocol", ""))
    if len(set(offered)) < len(offered) or not all(map(_NAME.fullmatch, offered)):
        raise malformed("Sec-WebSocket-Protocol names each subprotocol once")
    return offered


def extensions(fields: Mapping[str, str]) -> str:
    """Sec-WebSocket-Extensions, well-formed; "" when it is not there. Raises Refused."""
    value = fields.get("sec-websocket-extensions", "")
    if not all(map(_EXTENSION.fullmatch, tokens(value))):
        raise malformed("Sec-WebSocket-Extensions is malformed")
    return value
