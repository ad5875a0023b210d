"""WebSocket frames as a client reads and writes them (RFC 6455, section 5). See frames.pyx."""

class FrameReader:
    """The reader that the generator uses, for tests: bytes in, messages out."""

    def __init__(self) -> None: ...
    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(opcode, payload) of each message that is complete now. Raises ValueError for what no server may send."""

def client_frame(opcode: int, payload: bytes, mask: int) -> bytes:
    """One final frame as a client sends it. ``mask``: 32 bits; 0 leaves the payload as it is."""
