# cython: language_level=3
"""WebSocket messages on top of single frames: fragments, UTF-8, limits, and outgoing frames built once.

picows parses frame headers and unmasks; what makes a *message* of frames is done here (RFC 6455 sections 5.4, 5.6, 8.1).
Outgoing frames are single immutable ``bytes`` so that one object can be shared by every receiver, and because picows hands
the transport a view of a header buffer that it reuses (ARCHITECTURE.md, hazards).

Cost: ``feed`` is O(payload), without a copy for a message of one frame; ``encode_frame`` copies the payload once.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from .errors import INVALID_TEXT, MESSAGE_TOO_LARGE, PROTOCOL_ERROR

TEXT = 0x1
BINARY = 0x2
CLOSE = 0x8
PING = 0x9
PONG = 0xA

cdef enum:
    _CONTINUATION = 0x0
    _TEXT = 0x1
    _BINARY = 0x2
    _CLOSE = 0x8

    # States of the UTF-8 automaton: how many continuation bytes are due, and the range of the next one
    # (RFC 3629 section 4: the second byte of E0, ED, F0 and F4 is restricted).
    _ACCEPT = 0
    _ONE = 1
    _TWO = 2
    _THREE = 3
    _AFTER_E0 = 4
    _AFTER_ED = 5
    _AFTER_F0 = 6
    _AFTER_F4 = 7
    _REJECT = 8


class FrameError(Exception):
    """The peer broke RFC 6455; ``disconnect`` says how to close."""

    def __init__(self, disconnect):
        super().__init__(disconnect.reason)
        self.disconnect = disconnect


cdef unsigned int _utf8_step(unsigned int state, const uint8_t* data, Py_ssize_t size) noexcept nogil:
    # noexcept: touches only memory between data and data + size.
    cdef Py_ssize_t i = 0
    cdef uint8_t byte
    cdef uint64_t word
    while i < size:
        if state == _ACCEPT:
            while i + 8 <= size:  # eight ASCII bytes at a time: nearly all traffic
                memcpy(&word, data + i, 8)
                if word & <uint64_t>0x8080808080808080:
                    break
                i += 8
            if i >= size:
                break
        byte = data[i]
        i += 1
        if state == _ACCEPT:
            if byte < 0x80:
                continue
            elif byte < 0xC2:
                return _REJECT
            elif byte < 0xE0:
                state = _ONE
            elif byte == 0xE0:
                state = _AFTER_E0
            elif byte == 0xED:
                state = _AFTER_ED
            elif byte < 0xF0:
                state = _TWO
            elif byte == 0xF0:
                state = _AFTER_F0
            elif byte < 0xF4:
                state = _THREE
            elif byte == 0xF4:
                state = _AFTER_F4
            else:
                return _REJECT
            continue
        if byte < 0x80 or byte > 0xBF:
            return _REJECT
        if state == _ONE:
            state = _ACCEPT
        elif state == _TWO:
            state = _ONE
        elif state == _THREE:
            state = _TWO
        elif state == _AFTER_E0:
            if byte < 0xA0:
                return _REJECT
            state = _ONE
        elif state == _AFTER_ED:
            if byte > 0x9F:
                return _REJECT
            state = _ONE
        elif state == _AFTER_F0:
            if byte < 0x90:
                return _REJECT
            state = _TWO
        elif state == _AFTER_F4:
            if byte > 0x8F:
                return _REJECT
            state = _TWO
        else:
            return _REJECT
    return state


cpdef bint is_utf8(bytes data) except -1:
    """Whether ``data`` is well-formed UTF-8 (RFC 3629)."""
    if data is None:
        raise TypeError("data must be bytes")
    return _utf8_step(_ACCEPT, <const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) == _ACCEPT


cdef class Assembler:
    """Frames in, whole messages out. One per connection."""

    def __cinit__(self, Py_ssize_t max_bytes):
        if max_bytes <= 0:
            raise ValueError("max_bytes must be positive")
        self.max_bytes = max_bytes
        self._parts = None
        self._size = 0
        self._opcode = -1
        self._utf8 = _ACCEPT
        self._compressed = False
        self.inflater = None

    cpdef object feed(self, int opcode, bint fin, int reserved, bytes payload):
        """(TEXT or BINARY, message) when a message is whole, else None. Raises FrameError.

        ``reserved``: the bits RSV1 (4), RSV2 (2) and RSV3 (1). RSV1 marks the first frame of a compressed message when
        there is an ``inflater`` (RFC 7692 section 6); all else must fail (RFC 6455 section 5.2).
        """
        cdef Py_ssize_t size
        if payload is None:
            raise TypeError("payload must be bytes")
        size = PyBytes_GET_SIZE(payload)
        if reserved and (reserved != 4 or self.inflater is None or opcode == _CONTINUATION):
            raise FrameError(PROTOCOL_ERROR)
        if opcode == _CONTINUATION:
            if self._opcode < 0:  # section 5.4: nothing to continue
                raise FrameError(PROTOCOL_ERROR)
        elif opcode == _TEXT or opcode == _BINARY:
            if self._opcode >= 0:  # section 5.4: fragments of two messages must not be interleaved
                raise FrameError(PROTOCOL_ERROR)
            self._opcode = opcode
            self._size = 0
            self._utf8 = _ACCEPT
            self._compressed = reserved == 4
        else:
            raise FrameError(PROTOCOL_ERROR)
        if self._compressed:
            payload = self.inflater.feed(payload, fin, self.max_bytes - self._size)
            size = PyBytes_GET_SIZE(payload)
        if size > self.max_bytes - self._size:
            raise FrameError(MESSAGE_TOO_LARGE)
        self._size += size
        if self._opcode == _TEXT:
            # Checked as fragments come, so that a bad sequence fails at once (section 8.1).
            self._utf8 = _utf8_step(self._utf8, <const uint8_t*>PyBytes_AS_STRING(payload), size)
            if self._utf8 == _REJECT or (fin and self._utf8 != _ACCEPT):
                raise FrameError(INVALID_TEXT)
        if not fin:
            if self._parts is None:
                self._parts = []
            if size:  # empty fragments would grow the list without counting against max_bytes
                self._parts.append(payload)
            return None
        opcode = self._opcode
        self._opcode = -1
        if self._parts is not None:
            self._parts.append(payload)
            payload = b"".join(self._parts)
            self._parts = None
        return opcode, payload


cpdef bytes encode_frame(int opcode, bytes payload, bint compressed=False):
    """One unmasked, final frame (section 5.2): 2, 4 or 10 bytes of header, then the payload. O(payload).

    ``compressed``: the payload is deflated; sets RSV1 (RFC 7692 section 6).
    """
    cdef Py_ssize_t size, header
    cdef bytes frame
    cdef uint8_t* out
    cdef int i
    if payload is None:
        raise TypeError("payload must be bytes")
    if opcode < 0 or opcode > 15:
        raise ValueError("opcode out of range")
    size = PyBytes_GET_SIZE(payload)
    header = 2 if size < 126 else 4 if size < 65536 else 10
    frame = PyBytes_FromStringAndSize(NULL, header + size)
    out = <uint8_t*>PyBytes_AS_STRING(frame)
    out[0] = <uint8_t>(0x80 | (0x40 if compressed else 0) | opcode)
    if header == 2:
        out[1] = <uint8_t>size
    elif header == 4:
        out[1] = 126
        out[2] = <uint8_t>(size >> 8)
        out[3] = <uint8_t>(size & 0xFF)
    else:
        out[1] = 127
        for i in range(8):
            out[2 + i] = <uint8_t>((<uint64_t>size >> (56 - 8 * i)) & 0xFF)
    memcpy(out + header, PyBytes_AS_STRING(payload), size)
    return frame


cpdef bytes encode_close(int code, str reason):
    """A close frame (section 5.5.1). The reason is cut to 123 bytes at a character boundary."""
    if reason is None:
        raise TypeError("reason must be str")
    if code < 1000 or code > 4999:
        raise ValueError("close code out of range")
    text = reason.encode("utf-8", "replace")[:123].decode("utf-8", "ignore").encode("utf-8")
    return encode_frame(_CLOSE, code.to_bytes(2, "big") + text)
