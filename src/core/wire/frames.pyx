# cython: language_level=3
"""WebSocket frames of clients read, sans-I/O, and frames for them built once (RFC 6455).

Outgoing frames are single immutable ``bytes``, so that one object can be shared by every receiver.

Cost: reading is O(bytes); a message of one frame is copied once, while it is unmasked, out of a buffer that all connections share;
``encode_frame`` copies the payload once.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ..errors import INVALID_TEXT, MESSAGE_TOO_LARGE, PROTOCOL_ERROR

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
    _PONG = 0xA

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

    # Data that cannot be compressed grows by less than this (2 to the power of -_GROWS, and some bytes): most with fixed codes, of nine
    # bits for a byte.
    _GROWS = 3
    _GROWS_LEAST = 64


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
    return utf8_valid(<const uint8_t*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef bint utf8_valid(const uint8_t* data, Py_ssize_t size) noexcept nogil:
    # noexcept: as _utf8_step.
    return _utf8_step(_ACCEPT, data, size) == _ACCEPT


cdef void _unmask(uint8_t* out, const uint8_t* data, Py_ssize_t size, uint32_t mask, unsigned int phase) noexcept nogil:
    # noexcept: touches only size bytes at out and at data. Eight bytes at a time; compilers make wider ones of it (section 5.3).
    cdef uint8_t octets[4]
    cdef uint8_t key[8]
    cdef uint64_t wide, word
    cdef Py_ssize_t words = size >> 3
    cdef Py_ssize_t i
    memcpy(octets, &mask, 4)
    for i in range(8):
        key[i] = octets[(phase + i) & 3]
    memcpy(&wide, key, 8)
    for i in range(words):
        memcpy(&word, data + 8 * i, 8)
        word ^= wide
        memcpy(out + 8 * i, &word, 8)
    for i in range(8 * words, size):
        out[i] = data[i] ^ key[i & 7]


cdef class FrameReader:
    """What a client sends in, whole messages and control frames out, in order. One per connection.

    ``message`` and ``control`` are called for what is whole; a subclass says what happens then. Payload bytes that are not compressed are
    looked at as they come, so that bad ones fail at once (sections 5.2 to 5.5, 7.1.7, 8.1).

    Bound: ``max_bytes`` for a message, all fragments together, inflated; as it came a compressed one may have an eighth more. Between
    messages it keeps nothing; of an incomplete one what has come, as it came: a compressed one is inflated when it is whole, so that
    what waits costs its sender as much as it costs here.
    """

    def __cinit__(self, *args, **kwargs):
        self._body = NULL
        self._opcode = -1

    def __init__(self, Py_ssize_t max_bytes):
        if max_bytes <= 0:
            raise ValueError("max_bytes must be positive")
        self.max_bytes = max_bytes

    def __dealloc__(self):
        PyMem_Free(self._body)

    cpdef int message(self, int opcode, bytes payload) except -1:
        """One whole message: TEXT (valid UTF-8) or BINARY."""
        raise NotImplementedError("a reader says what it does with messages")

    cpdef int control(self, int opcode, bytes payload) except -1:
        """One control frame: CLOSE, PING or PONG. It may come between the fragments of a message."""
        raise NotImplementedError("a reader says what it does with control frames")

    @property
    def incomplete(self):
        """Bytes in memory of a message that is not whole."""
        return self._capacity

    def feed(self, data not None):
        """``read`` for tests and for what is not hot: any contiguous bytes."""
        cdef const uint8_t[::1] view = data
        return self.read(&view[0], view.shape[0]) if view.shape[0] else 0

    cdef Py_ssize_t read(self, const uint8_t* data, Py_ssize_t size) except -1:
        """The next bytes of the peer. Returns how many were used: all, unless ``halted`` was set meanwhile; the rest comes again.

        Raises FrameError, after which nothing more may be read, and whatever ``message`` and ``control`` raise. O(size).
        """
        cdef Py_ssize_t at = 0
        cdef Py_ssize_t used
        if self._head is not None and size and not self.halted:
            at = self._complete(data, size)
        while at < size and not self.halted:
            if self._missing:
                used = min(self._missing, size - at)
                self._take(data + at, used)
            else:
                used = self._frame(data + at, size - at)
                if used == 0:
                    self._head = PyBytes_FromStringAndSize(<const char*>data + at, size - at)
                    return size
            at += used
        return at

    cdef Py_ssize_t _complete(self, const uint8_t* data, Py_ssize_t size) except -1:
        # The header or control frame that the last bytes ended in. 160 bytes are more than any of them has.
        cdef uint8_t joined[160]
        cdef bytes head = self._head
        cdef Py_ssize_t had = PyBytes_GET_SIZE(head)
        cdef Py_ssize_t more = min(size, <Py_ssize_t>sizeof(joined) - had)
        cdef Py_ssize_t used
        memcpy(joined, PyBytes_AS_STRING(head), had)
        memcpy(joined + had, data, more)
        self._head = None
        used = self._frame(joined, had + more)
        if used == 0:
            self._head = PyBytes_FromStringAndSize(<const char*>joined, had + more)
            return size
        return used - had

    cdef Py_ssize_t _frame(self, const uint8_t* data, Py_ssize_t size) except -1:
        """What begins with a frame header: returns the bytes used, or 0 when the header, or a control frame, is not whole yet."""
        cdef unsigned int first, opcode, reserved
        cdef uint64_t length
        cdef Py_ssize_t header = 6
        cdef uint32_t mask
        cdef bint fin, compressed
        cdef Py_ssize_t most
        cdef bytes payload
        if size < 2:
            return 0
        first = data[0]
        opcode = first & 0x0F
        reserved = first & 0x70
        fin = first & 0x80 != 0
        length = data[1] & 0x7F
        if not data[1] & 0x80:  # section 5.1: clients mask
            raise FrameError(PROTOCOL_ERROR)
        if opcode & 0x08:
            if opcode > _PONG or reserved or not fin or length > 125:  # section 5.5
                raise FrameError(PROTOCOL_ERROR)
        else:
            # RSV1 marks the first frame of a compressed message, where that was agreed (RFC 7692 section 6).
            if reserved and (reserved != 0x40 or self.inflater is None or opcode == _CONTINUATION):
                raise FrameError(PROTOCOL_ERROR)
            # Section 5.4: nothing to continue; fragments of two messages; an opcode without a meaning.
            if (opcode == _CONTINUATION) != (self._opcode >= 0) or opcode > _BINARY:
                raise FrameError(PROTOCOL_ERROR)
            if length == 126:
                header = 8
                if size < header:
                    return 0
                length = (<uint64_t>data[2] << 8) | data[3]
            elif length == 127:
                header = 14
                if size < header:
                    return 0
                length = 0
                for i in range(8):
                    length = (length << 8) | data[2 + i]
                if length >> 63:
                    raise FrameError(PROTOCOL_ERROR)
        if size < header:
            return 0
        memcpy(&mask, data + header - 4, 4)
        data += header
        size -= header
        if opcode & 0x08:
            if <uint64_t>size < length:
                return 0
            payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
            _unmask(<uint8_t*>PyBytes_AS_STRING(payload), data, <Py_ssize_t>length, mask, 0)
            self.control(<int>opcode, payload)
            return header + <Py_ssize_t>length
        compressed = reserved != 0 if self._opcode < 0 else self._compressed
        most = self.max_bytes
        if compressed:  # what cannot be compressed grows by it
            most += (most >> _GROWS) + _GROWS_LEAST
        if length > <uint64_t>(most - self._filled):
            raise FrameError(MESSAGE_TOO_LARGE)
        if fin and self._opcode < 0 and <uint64_t>size >= length and not self.muted:
            # Nearly always: one frame, all there.
            payload = PyBytes_FromStringAndSize(NULL, <Py_ssize_t>length)
            _unmask(<uint8_t*>PyBytes_AS_STRING(payload), data, <Py_ssize_t>length, mask, 0)
            if compressed:
                payload = <bytes>self.inflater.inflate(payload, self.max_bytes)
            if opcode == _TEXT and not is_utf8(payload):
                raise FrameError(INVALID_TEXT)
            self.message(<int>opcode, payload)
            return header + <Py_ssize_t>length
        if self._opcode < 0:
            self._opcode = <int>opcode
            self._compressed = compressed
            self._utf8 = _ACCEPT
        self._fin = fin
        self._mask = mask
        self._phase = 0
        self._missing = <Py_ssize_t>length
        size = min(size, <Py_ssize_t>length)
        self._take(data, size)
        return header + size

    cdef int _take(self, const uint8_t* data, Py_ssize_t size) except -1:
        """Payload of the data frame under way."""
        cdef Py_ssize_t capacity = self._filled + size
        cdef void* grown
        if self.muted:
            self._missing -= size
            if self._missing == 0 and self._fin:
                self._opcode = -1
            return 0
        if capacity > self._capacity:
            # Not the announced length at once: a header costs its sender nothing.
            capacity = max(capacity, min(2 * self._capacity, self._filled + self._missing))
            grown = PyMem_Realloc(self._body, capacity)
            if grown is NULL:
                raise MemoryError
            self._body = <uint8_t*>grown
            self._capacity = capacity
        _unmask(self._body + self._filled, data, size, self._mask, self._phase)
        if not self._compressed:
            self._check_text(self._body + self._filled, size)
        self._filled += size
        self._phase = <unsigned int>((self._phase + size) & 3)
        self._missing -= size
        if self._missing == 0:
            self._end_frame()
        return 0

    cdef int _check_text(self, const uint8_t* data, Py_ssize_t size) except -1:
        if self._opcode == _TEXT:
            self._utf8 = _utf8_step(self._utf8, data, size)
            if self._utf8 == _REJECT:
                raise FrameError(INVALID_TEXT)
        return 0

    cdef int _end_frame(self) except -1:
        cdef bytes payload
        cdef int opcode = self._opcode
        if not self._fin:
            return 0
        payload = PyBytes_FromStringAndSize(<const char*>self._body, self._filled)
        self._drop_body()
        if self._compressed:
            payload = <bytes>self.inflater.inflate(payload, self.max_bytes)
            self._check_text(<const uint8_t*>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        if opcode == _TEXT and self._utf8 != _ACCEPT:
            raise FrameError(INVALID_TEXT)
        self._opcode = -1
        self.message(opcode, payload)
        return 0

    cpdef int mute(self) except -1:
        """From now on data frames are passed over, also the one under way: nobody is left to answer them."""
        self.muted = True
        return self._drop_body()

    cdef int _drop_body(self) except -1:
        PyMem_Free(self._body)
        self._body = NULL
        self._filled = self._capacity = 0
        return 0


cpdef int close_code(bytes payload) except -1:
    """The code in the payload of a close frame, 0 for none. Raises FrameError for what sections 5.5.1, 7.4 forbid."""
    cdef int code
    if payload is None:
        raise TypeError("payload must be bytes")
    if not payload:
        return 0
    if len(payload) == 1:
        raise FrameError(PROTOCOL_ERROR)
    code = (payload[0] << 8) | payload[1]
    # 1004 to 1006 and 1015 are never sent; 1012 to 1014 were registered later; below 3000 the rest has no meaning.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        raise FrameError(PROTOCOL_ERROR)
    if not is_utf8(payload[2:]):
        raise FrameError(INVALID_TEXT)
    return code


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
