"""WebSocket frames and messages (RFC 6455). See frames.pyx."""

from typing import Protocol, type_check_only

from ..errors import Disconnect

TEXT: int
BINARY: int
CLOSE: int
PING: int
PONG: int

class FrameError(Exception):
    """The peer broke RFC 6455; ``disconnect`` says how to close."""

    disconnect: Disconnect
    def __init__(self, disconnect: Disconnect) -> None: ...

@type_check_only
class _Inflater(Protocol):
    """``deflate.Inflater``."""

    def inflate(self, payload: bytes, limit: int) -> bytes: ...

class FrameReader:
    """What a client sends in; whole messages and control frames out, in order. One per connection; to be subclassed.

    Bound: ``max_bytes`` for a message, all fragments together, inflated.
    """

    @property
    def max_bytes(self) -> int: ...
    @property
    def incomplete(self) -> int:
        """Bytes in memory of a message that is not whole."""

    inflater: _Inflater | None
    @property
    def muted(self) -> bool:
        """Data frames are passed over."""

    halted: bool
    """Set by a callback: nothing more is read until it is cleared."""
    def __init__(self, max_bytes: int) -> None: ...
    def message(self, opcode: int, payload: bytes) -> int:
        """One whole message: TEXT (valid UTF-8) or BINARY. Returns 0."""

    def control(self, opcode: int, payload: bytes) -> int:
        """One control frame: CLOSE, PING or PONG, also between the fragments of a message. Returns 0."""

    def mute(self) -> int:
        """From now on data frames are passed over, also the one under way. Returns 0."""

    def feed(self, data: bytes | bytearray | memoryview) -> int:
        """The next bytes. Returns how many were used: all, unless ``halted`` was set meanwhile; the rest must come again.

        Raises FrameError, after which nothing more may be fed, and what ``message`` and ``control`` raise. O(size).
        """

def close_code(payload: bytes) -> int:
    """The code in the payload of a close frame, 0 for none. Raises FrameError (RFC 6455 sections 5.5.1, 7.4)."""

def encode_frame(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """One unmasked, final frame as a server sends it: header and payload in one immutable object.

    ``compressed``: the payload is deflated (RSV1).
    """

def encode_close(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut to 123 bytes."""

def is_utf8(data: bytes) -> bool: ...
