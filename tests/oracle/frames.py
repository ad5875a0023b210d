"""The obvious reader of WebSocket frames: all bytes at once, section by section of RFC 6455. Slow; for comparison only."""

from __future__ import annotations

from syncline.core import errors
from syncline.core.errors import Disconnect

#: ("message" or "control", opcode, payload), and at the end how it failed, if it did.
Event = tuple[str, int, bytes]

MASK = b"\x12\x34\x56\x78"


def client_frame(
    opcode: int, payload: bytes, *, fin: bool = True, reserved: int = 0, mask: bytes | None = MASK, length: int = 0
) -> bytes:
    """As a client sends it. ``reserved``: RSV1 is 4; ``length``: the form of the length (126, 127) although it is short."""
    size = len(payload)
    masked = 0 if mask is None else 0x80
    if length == 127 or size > 65535:
        head = bytes((masked | 127,)) + size.to_bytes(8, "big")
    elif length == 126 or size > 125:
        head = bytes((masked | 126,)) + size.to_bytes(2, "big")
    else:
        head = bytes((masked | size,))
    if mask is not None:
        payload = mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes((fin << 7 | reserved << 4 | opcode,)) + head + payload


def _bad_text(data: bytes, whole: bool) -> bool:
    """Whether no continuation makes UTF-8 of it; ``whole``: nothing follows."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # "unexpected end of data" is the decoder's word for a sequence that may still become right.
        return whole or error.reason != "unexpected end of data"
    return False


def read(data: bytes, max_bytes: int) -> tuple[list[Event], Disconnect | None]:
    """What a server without compression makes of all that a client has sent so far."""
    events: list[Event] = []
    opcode, message = 0, b""  # under way; 0: none
    while len(data) >= 2:
        fin, reserved, code = data[0] >> 7, data[0] >> 4 & 7, data[0] & 15
        masked, length = data[1] >> 7, data[1] & 127
        if not masked or reserved or code not in (0, 1, 2, 8, 9, 10):
            return events, errors.PROTOCOL_ERROR
        if code >= 8 and (not fin or length > 125):
            return events, errors.PROTOCOL_ERROR
        if code < 8 and (code == 0) == (opcode == 0):
            return events, errors.PROTOCOL_ERROR
        extra = {126: 2, 127: 8}.get(length, 0)
        if len(data) < 2 + extra + 4:
            return events, None
        if extra:
            length = int.from_bytes(data[2 : 2 + extra], "big")
        if length >= 2**63:
            return events, errors.PROTOCOL_ERROR
        if code < 8 and len(message) + length > max_bytes:
            return events, errors.MESSAGE_TOO_LARGE
        mask, rest = data[2 + extra : 6 + extra], data[6 + extra :]
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(rest[:length]))
        whole = len(rest) >= length
        if code >= 8:
            if not whole:
                return events, None
            events.append(("control", code, payload))
        else:
            opcode = opcode or code
            message += payload
            if opcode == 1 and _bad_text(message, bool(fin) and whole):
                return events, errors.INVALID_TEXT
            if not whole:
                return events, None
            if fin:
                events.append(("message", opcode, message))
                opcode, message = 0, b""
        data = rest[length:]
    return events, None
