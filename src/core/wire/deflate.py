"""permessage-deflate (RFC 7692): what is agreed in the handshake, and messages compressed once for all who share it.

Outgoing messages never refer to earlier ones, whatever was agreed: then one compressed frame fits every receiver with the
same window. Incoming ones may, unless the client offered not to; what that remembers is made when the first compressed
message comes.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from ..errors import MESSAGE_TOO_LARGE, PROTOCOL_ERROR
from .frames import FrameError, encode_frame

EXTENSION = "permessage-deflate"

#: What ends a flushed block; left out on the wire (RFC 7692 section 7.2.1).
_TAIL = b"\x00\x00\xff\xff"

#: Bytes of frames that are remembered compressed; above it they are forgotten, and compressed again when needed.
_SHARED_BYTES = 1_048_576

_ELEMENT = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(?:"([^"\\]*)"|([!#$%&\'*+.^_`|~0-9A-Za-z-]+)))?\s*')


@dataclass(frozen=True, slots=True)
class Agreement:
    """``server_bits``: log2 of the window that the client can keep of our messages, 9 to 15."""

    server_bits: int = 15
    server_no_takeover: bool = False
    client_no_takeover: bool = False

    def header(self) -> str:
        """The value of Sec-WebSocket-Extensions: only parameters that the client has named, since some refuse others."""
        answer = [EXTENSION]
        if self.server_no_takeover:
            answer.append("server_no_context_takeover")
        if self.client_no_takeover:
            answer.append("client_no_context_takeover")
        if self.server_bits != 15:
            answer.append(f"server_max_window_bits={self.server_bits}")
        return "; ".join(answer)


def negotiate(offers: str) -> Agreement | None:
    """The first offer in a Sec-WebSocket-Extensions header that we can meet (section 5.1), or None."""
    for offer in offers.split(","):
        name, *parameters = offer.split(";")
        if name.strip().lower() == EXTENSION:
            agreed = _accept(parameters)
            if agreed is not None:
                return agreed
    return None


def _accept(parameters: list[str]) -> Agreement | None:
    """Declines unknown, repeated and impossible parameters (section 7.1)."""
    named: dict[str, str | None] = {}
    for parameter in parameters:
        element = _ELEMENT.fullmatch(parameter)
        if element is None or element[1] in named:
            return None
        named[element[1]] = element[2] if element[2] is not None else element[3]
    for flag in ("server_no_context_takeover", "client_no_context_takeover"):
        if named.get(flag) is not None:
            return None
    if not named.keys() <= {
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    }:
        return None
    bits = 15
    if "server_max_window_bits" in named:
        # zlib cannot make raw streams with a window of 8.
        if not re.fullmatch("9|1[0-5]", named["server_max_window_bits"] or ""):
            return None
        bits = int(named["server_max_window_bits"] or "")
    if not re.fullmatch("[89]|1[0-5]|", named.get("client_max_window_bits") or ""):
        return None
    return Agreement(bits, "server_no_context_takeover" in named, "client_no_context_takeover" in named)


class Deflater:
    """Compresses whole outgoing frames, each at most once however many connections it goes to."""

    def __init__(self, bits: int, level: int, min_bytes: int) -> None:
        """``level``: zlib's, 1 to 9. Frames under ``min_bytes`` stay as they are; with 0 all are compressed, also where
        that does not pay (for conformance suites)."""
        self._zlib = zlib.compressobj(level, zlib.DEFLATED, -bits)
        self._min_bytes = min_bytes
        self._shared: dict[bytes, bytes] = {}
        self._size = 0  # bytes in ``_shared``

    def frame(self, frame: bytes) -> bytes:
        """The same message compressed; the frame itself when that is not smaller. O(size) the first time."""
        if len(frame) < self._min_bytes:
            return frame
        found = self._shared.get(frame)
        if found is None:
            found = self._compressed(frame)
            self._size += len(frame) + len(found)
            if self._size > _SHARED_BYTES:
                self._shared.clear()
                self._size = len(frame) + len(found)
            self._shared[frame] = found
        return found

    def _compressed(self, frame: bytes) -> bytes:
        opcode, length = frame[0] & 0x0F, frame[1]
        if opcode > 2:  # control frames are never compressed (section 6.1)
            return frame
        payload = memoryview(frame)[2 if length < 126 else 4 if length == 126 else 10 :]
        # A full flush forgets what came before: the next message does not refer to this one.
        data = self._zlib.compress(payload) + self._zlib.flush(zlib.Z_FULL_FLUSH)
        if len(data) >= len(payload) and self._min_bytes:
            return frame
        return encode_frame(opcode, data[: -len(_TAIL)], True)


#: Final blocks in one message: each costs a new state, and is two bytes. Nobody makes more than one.
_FINALS = 16


class Inflater:
    """Decompresses incoming messages. One per connection."""

    def __init__(self, *, takeover: bool) -> None:
        """``takeover``: messages may refer to earlier ones."""
        self._takeover = takeover
        self._zlib: zlib._Decompress | None = None

    def inflate(self, payload: bytes, limit: int) -> bytes:
        """The plain bytes of a whole message, of all its fragments. Raises FrameError for bad data, and for more than ``limit``
        bytes, whatever the compressed size. O(result)."""
        inflate = self._zlib
        if inflate is None:
            inflate = self._zlib = zlib.decompressobj(-15)
        payload += _TAIL
        parts = []
        try:
            for _ in range(_FINALS):
                part = inflate.decompress(payload, limit + 1)
                limit -= len(part)
                if limit < 0:
                    raise FrameError(MESSAGE_TOO_LARGE)
                parts.append(part)
                if not inflate.eof:
                    break
                # A final block ends the stream, not the message (section 7.2.3.5).
                payload = inflate.unused_data
                inflate = self._zlib = zlib.decompressobj(-15)
                if payload in (b"", _TAIL):
                    break
            else:
                raise FrameError(PROTOCOL_ERROR)
        except zlib.error as error:
            raise FrameError(PROTOCOL_ERROR) from error
        if not self._takeover:
            self._zlib = None
        return b"".join(parts)
