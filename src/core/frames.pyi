"""WebSocket frames and messages (RFC 6455). See frames.pyx."""

from .deflate import Inflater
from .errors import Disconnect

TEXT: int
BINARY: int
CLOSE: int
PING: int
PONG: int

class FrameError(Exception):
    """The peer broke RFC 6455; ``disconnect`` says how to close."""

    disconnect: Disconnect
    def __init__(self, disconnect: Disconnect) -> None: ...

class Assembler:
    """Frames in, whole messages out: fragments joined, order, UTF-8 and size checked. One per connection."""

    @property
    def max_bytes(self) -> int: ...
    inflater: Inflater | None
    def __init__(self, max_bytes: int) -> None: ...
    def feed(self, opcode: int, fin: bool, reserved: int, payload: bytes) -> tuple[int, bytes] | None:
        """(TEXT or BINARY, message) when a message is whole. Control frames are not for it. Raises FrameError.

        ``reserved``: the bits RSV1 (4), RSV2 (2), RSV3 (1).
        """

def encode_frame(opcode: int, payload: bytes, compressed: bool = False) -> bytes:
    """One unmasked, final frame as a server sends it: header and payload in one immutable object.

    ``compressed``: the payload is deflated (RSV1).
    """

def encode_close(code: int, reason: str) -> bytes:
    """A close frame; the reason is cut to 123 bytes."""

def is_utf8(data: bytes) -> bool: ...
