"""A client on a bare blocking socket, for what no WebSocket library lets one do: not read, read a little, write byte by byte.

Blocking: against a server in the test's own event loop it runs in a thread (``asyncio.to_thread``).
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from collections.abc import Iterator
from types import TracebackType
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame. Its masking key is zero, which leaves the payload as it is (RFC 6455 section 5.3)."""
    head = (0x80 if fin else 0) | opcode
    size = len(payload)
    if size < 126:
        start = struct.pack("!BB", head, 0x80 | size)
    elif size < 65536:
        start = struct.pack("!BBH", head, 0x80 | 126, size)
    else:
        start = struct.pack("!BBQ", head, 0x80 | 127, size)
    return start + bytes(4) + payload


class RawClient:
    """``receive_bytes``: the kernel's buffer; small ones make a reader slow at once."""

    def __init__(self, port: int, *, receive_bytes: int = 0, seconds: float = 30.0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(seconds)
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.connect(("127.0.0.1", port))
        self.status = 0
        self.headers: dict[str, str] = {}
        self._buffer = bytearray()
        self._start = 0
        self._ids = 0

    def __enter__(self) -> RawClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    # The handshake

    def request(self) -> bytes:
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            "GET /ws HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: syncline.v1.json",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def handshake(self) -> RawClient:
        self.socket.sendall(self.request())
        return self.answered()

    def answered(self) -> RawClient:
        """Reads the answer to the handshake."""
        while b"\r\n\r\n" not in self._buffer:
            self._more()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer, self._start = bytearray(rest), 0
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return self

    def login(self, name: str, *rooms: str) -> RawClient:
        self.handshake()
        assert self.status == 101, self.status
        self.call("auth", name=name)
        for room in rooms:
            self.call("room:join", room=room)
        return self

    # Out

    def send(self, event: str, *, id: int | None = None, **data: Any) -> None:
        envelope = {"event": event, "data": data} | ({} if id is None else {"id": id})
        self.socket.sendall(frame(TEXT, json.dumps(envelope).encode()))

    def call(self, event: str, **data: Any) -> dict[str, Any]:
        """The result; what comes before the answer is passed over."""
        self._ids += 1
        self.send(event, id=self._ids, **data)
        for envelope in self.envelopes():
            if envelope.get("id") == self._ids:
                assert "error" not in envelope, envelope
                return dict(envelope["result"])
        raise ConnectionError("closed before the answer")

    # In

    def _more(self) -> None:
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("closed")
        self._buffer += data

    def _need(self, count: int) -> None:
        while len(self._buffer) - self._start < count:
            if self._start > 1 << 20:
                del self._buffer[: self._start]
                self._start = 0
            self._more()

    def frame(self) -> tuple[int, bytes]:
        """The next frame. Raises ConnectionError at the end."""
        self._need(2)
        opcode, size, head = self._buffer[self._start] & 0x0F, self._buffer[self._start + 1], 2
        if size >= 126:
            head = 4 if size == 126 else 10
            self._need(head)
            size = int.from_bytes(self._buffer[self._start + 2 : self._start + head], "big")
        self._need(head + size)
        at = self._start + head
        self._start = at + size
        return opcode, bytes(memoryview(self._buffer)[at : self._start])

    def envelopes(self) -> Iterator[dict[str, Any]]:
        """What comes, until the connection ends; pings are answered."""
        while True:
            opcode, payload = self.frame()
            if opcode == PING:
                self.socket.sendall(frame(PONG, payload))
            elif opcode == CLOSE:
                return
            elif opcode == TEXT:
                value = json.loads(payload)
                yield from value if isinstance(value, list) else [value]
