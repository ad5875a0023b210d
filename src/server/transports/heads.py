"""What is in the head of any request, as pure functions (RFC 9110, RFC 9112): what the parser lets pass and this server does not take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypeAlias

import httptools

#: Names in lower case, and values, in the order of the lines.
Lines: TypeAlias = Sequence[tuple[bytes, bytes]]

#: RFC 3986, 3.2.2: an address in brackets, or a name, perhaps an empty one; and a port.
_HOST: Final = re.compile(r"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z._~!$&'()*+,;=%-]*)(?::[0-9]*)?")


class Refusal(Exception):
    """A request is refused with ``status``; the text goes to the client."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def tokens(value: str) -> list[str]:
    """The elements of a list; empty ones are none (RFC 9110, 5.6.1). O(length)."""
    return [element for element in (part.strip(" \t") for part in value.split(",")) if element]


def host_fault(values: Sequence[str], *, required: bool) -> str:
    """What is wrong with the Host lines of a request; "" if nothing. ``required``: by HTTP/1.1 (RFC 9112, 3.2)."""
    if len(values) > 1:
        return "more than one Host"
    if not values:
        return "no Host" if required else ""
    return "" if _HOST.fullmatch(values[0].strip(" \t")) else "not a Host"


def values(lines: Lines, name: bytes) -> list[str]:
    """Of all lines of a field; bytes beyond ASCII are Latin-1."""
    return [value.decode("latin-1") for other, value in lines if other == name]


def offers_websocket(method: bytes, version: str, lines: Lines) -> bool:
    """Whether an upgrade is a handshake of WebSocket (RFC 6455, 4.1). HTTP/1.0 has no upgrades."""
    offered = ",".join(values(lines, b"upgrade")).lower()
    return method == b"GET" and version == "1.1" and "websocket" in tokens(offered)


def target(method: bytes, version: str, url: bytes, lines: Lines) -> bytes:
    """The URL, with the path that `http://host` means (RFC 9112, 3.2.2). Raises Refusal for what is not taken."""
    if version not in ("1.0", "1.1"):
        raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    if fault := host_fault(values(lines, b"host"), required=version == "1.1"):
        raise Refusal(HTTPStatus.BAD_REQUEST, fault)
    if method == b"CONNECT":
        raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "this server is no proxy")
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserInvalidURLError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "not a URL") from error
    if parsed.path:
        return url
    return b"/" + (b"?" + parsed.query if parsed.query else b"")
