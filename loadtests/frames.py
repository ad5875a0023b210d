"""The client's side of WebSocket (RFC 6455), as bytes in and bytes out. Small and quick in Python; no extensions.

Clients must mask what they send (section 5.3). The masking key here is zero, so that the payload stays as it is: the key
protects proxies from what hostile web pages send, and a load generator is no web page. The server's work is the same.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NO_MASK = bytes(4)


class Broken(Exception):
    """What came is not WebSocket, or not what was asked for."""


def upgrade(host: str, path: str, key: str, subprotocol: str, headers: Mapping[str, str]) -> bytes:
    """The handshake (section 4.1)."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Protocol: {subprotocol}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_upgraded(head: bytes, key: str, subprotocol: str) -> None:
    """Checks the answer's head (section 4.2.2). Raises Refused with the status, Broken."""
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[1].isdigit():
        raise Broken(f"not HTTP: {first[:80]!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if parts[1] != "101":
        wait = fields.get("retry-after", "")
        raise Refused(int(parts[1]), float(wait) if wait.isdigit() else None)
    accept = base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest()).decode()
    if fields.get("sec-websocket-accept") != accept:
        raise Broken("a wrong Sec-WebSocket-Accept")
    if fields.get("sec-websocket-protocol") != subprotocol:
        raise Broken(f"the server does not speak {subprotocol}")


class Refused(Exception):
    """No upgrade: HTTP ``status``. ``retry_after`` in seconds, where the server said it."""

    def __init__(self, status: int, retry_after: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.retry_after = retry_after


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole message as one masked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + NO_MASK + payload


class Parser:
    """``feed`` it what the socket gives; it returns (opcode, payload) of whole messages and control frames, in order.

    O(bytes), also of a message that comes in many pieces. Raises Broken.
    """

    __slots__ = ("_chunks", "_fragments", "_have", "_limit", "_need", "_opcode")

    def __init__(self, limit: int = 67_108_864) -> None:
        self._limit = limit
        self._chunks: list[bytes] = []
        self._have = 0
        self._need = 2  # bytes without which nothing can be done
        self._opcode = 0
        self._fragments: list[bytes] = []

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        if self._chunks or len(data) < self._need:
            self._chunks.append(data)
            self._have += len(data)
            if self._have < self._need:
                return []
            data = b"".join(self._chunks)
            self._chunks = []
        found: list[tuple[int, bytes]] = []
        position, end = 0, len(data)
        need = 2
        while end - position >= 2:
            first, size = data[position], data[position + 1]
            start = position + 2
            if size >= 126:
                if size >= 128:
                    raise Broken("a masked frame from the server")
                width = 2 if size == 126 else 8
                if end - start < width:
                    need = 2 + width
                    break
                size = int.from_bytes(data[start : start + width], "big")
                start += width
                if size > self._limit:
                    raise Broken(f"a frame of {size} bytes")
            stop = start + size
            if stop > end:
                need = stop - position
                break
            payload = data[start:stop]
            position = stop
            if first == 0x81 or first == 0x82:  # almost always
                if self._opcode:
                    raise Broken("a message inside a fragmented one")
                found.append((first & 0x0F, payload))
            else:
                self._unusual(first, payload, found)
            need = 2
        if position < end:
            self._chunks = [data[position:]]
        self._have = end - position
        self._need = need
        return found

    def _unusual(self, first: int, payload: bytes, found: list[tuple[int, bytes]]) -> None:
        opcode, final = first & 0x0F, bool(first & 0x80)
        if first & 0x70:
            raise Broken("reserved bits are set")
        if opcode >= 8:
            if opcode > PONG or not final or len(payload) > 125:
                raise Broken(f"a bad control frame, {first:#x}")
            found.append((opcode, payload))
            return
        if opcode > 2 or (opcode == 0) != bool(self._opcode):
            raise Broken(f"a frame of opcode {opcode} out of order")
        self._opcode = self._opcode or opcode
        self._fragments.append(payload)
        if sum(map(len, self._fragments)) > self._limit:
            raise Broken("a message over the limit")
        if final:
            found.append((self._opcode, b"".join(self._fragments)))
            self._opcode, self._fragments = 0, []
