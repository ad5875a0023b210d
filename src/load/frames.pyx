"""WebSocket frames as a client reads and writes them (RFC 6455, section 5).

The reader takes what a socket gives, cut anywhere, and gives whole messages without copying them when they came in
one piece. Compression is never offered, so a frame with a reserved bit is an error, as is a masked one.
"""

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memmove

cdef enum:
    MAX_MESSAGE = 67_108_864  # more is taken for a broken length

cdef tuple ERRORS = (
    "",
    "a reserved bit is set, but nothing was agreed",
    "a masked frame from a server",
    "a fragmented or too long control frame",
    "a continuation of nothing",
    "a new message inside another one",
    "an unknown opcode",
    "a message above 64 MiB",
)


cdef int _reserve(char **buffer, size_t *capacity, size_t wanted) except -1:
    cdef size_t size = capacity[0] or 512
    cdef char *grown
    if wanted <= capacity[0]:
        return 0
    while size < wanted:
        size *= 2
    grown = <char *>realloc(buffer[0], size)
    if grown is NULL:
        raise MemoryError()
    buffer[0] = grown
    capacity[0] = size
    return 0


cdef int reader_feed(Reader *self, const char *data, size_t length) except -1:
    """``data`` must stay where it is until reader_next says NOTHING."""
    if self.held_length:
        _reserve(&self.held, &self.held_capacity, self.held_length + length)
        memcpy(self.held + self.held_length, data, length)
        self.held_length += length
        self.at = self.held
        self.left = self.held_length
    else:
        self.at = data
        self.left = length
    return 0


cdef int reader_keep(Reader *self) except -1:
    """The rest is the beginning of a frame: it is kept until more comes."""
    if self.left:
        if self.held_length:
            memmove(self.held, self.at, self.left)
        else:
            _reserve(&self.held, &self.held_capacity, self.left)
            memcpy(self.held, self.at, self.left)
    self.held_length = self.left
    self.left = 0
    return NOTHING


cdef int _broken(Reader *self, uint8_t error) noexcept:
    # Only stores a number.
    self.error = error
    return BROKEN


cdef int reader_next(Reader *self, Message *message) except -2:
    """A ``Found``. After BROKEN the connection is of no use."""
    cdef const uint8_t *head
    cdef uint8_t opcode
    cdef uint64_t length
    cdef size_t header
    cdef int index
    while True:
        if self.left < 2:
            return reader_keep(self)
        head = <const uint8_t *>self.at
        if head[0] & 0x70:
            return _broken(self, 1)
        if head[1] & 0x80:
            return _broken(self, 2)
        opcode = head[0] & 0x0F
        length = head[1]
        header = 2
        if opcode & 0x8:
            if not head[0] & 0x80 or length > 125:
                return _broken(self, 3)
            if opcode > 0xA:
                return _broken(self, 6)
        elif opcode > 2:
            return _broken(self, 6)
        if length == 126:
            header = 4
        elif length == 127:
            header = 10
        if self.left < header:
            return reader_keep(self)
        if header > 2:
            length = 0
            for index in range(2, <int>header):
                length = length << 8 | head[index]
        if length > MAX_MESSAGE or self.joined_length + length > MAX_MESSAGE:
            return _broken(self, 7)
        if self.left - header < length:
            return reader_keep(self)
        message.data = self.at + header
        message.length = <size_t>length
        self.at += header + <size_t>length
        self.left -= header + <size_t>length
        if opcode & 0x8:
            message.opcode = opcode
            return CONTROL
        if opcode:
            if self.opcode:
                return _broken(self, 5)
            message.opcode = opcode
            if head[0] & 0x80:
                return MESSAGE
            self.opcode = opcode
            self.joined_length = 0
        elif not self.opcode:
            return _broken(self, 4)
        _reserve(&self.joined, &self.joined_capacity, self.joined_length + message.length)
        memcpy(self.joined + self.joined_length, message.data, message.length)
        self.joined_length += message.length
        if head[0] & 0x80:
            message.opcode = self.opcode
            message.data = self.joined
            message.length = self.joined_length
            self.opcode = 0
            self.joined_length = 0
            return MESSAGE


cdef void reader_close(Reader *self) noexcept:
    # Frees and forgets; the reader is as new.
    free(self.held)
    free(self.joined)
    self.held = self.joined = NULL
    self.held_length = self.held_capacity = self.joined_length = self.joined_capacity = 0
    self.left = 0
    self.opcode = self.error = 0


cdef size_t frame_header(char *out, uint8_t opcode, size_t length, uint32_t mask) noexcept:
    """At most 14 bytes at ``out``; returns how many. Plain stores."""
    cdef size_t at = 2
    cdef int shift
    out[0] = <char>(0x80 | opcode)
    if length < 126:
        out[1] = <char>(0x80 | <uint8_t>length)
    elif length < 65536:
        out[1] = <char>(0x80 | 126)
        out[2] = <char>(length >> 8)
        out[3] = <char>(length & 0xFF)
        at = 4
    else:
        out[1] = <char>(0x80 | 127)
        for shift in range(8):
            out[2 + shift] = <char>(<uint64_t>length >> (56 - 8 * shift) & 0xFF)
        at = 10
    memcpy(out + at, &mask, 4)
    return at + 4


cdef void apply_mask(char *data, size_t length, uint32_t mask) noexcept:
    # Plain stores; the words need no alignment through memcpy.
    cdef uint64_t wide = <uint64_t>mask << 32 | mask
    cdef uint64_t word
    cdef size_t at = 0
    cdef const char *key = <const char *>&mask
    if mask == 0:
        return
    while at + 8 <= length:
        memcpy(&word, data + at, 8)
        word ^= wide
        memcpy(data + at, &word, 8)
        at += 8
    while at < length:
        data[at] = <char>(data[at] ^ key[at & 3])
        at += 1


cdef class FrameReader:
    def __init__(self):
        pass

    def __dealloc__(self):
        reader_close(&self._reader)

    def feed(self, bytes data not None):
        cdef Message message
        cdef list found = []
        cdef int what
        reader_feed(&self._reader, data, len(data))
        while True:
            what = reader_next(&self._reader, &message)
            if what == NOTHING:
                return found
            if what == BROKEN:
                raise ValueError(ERRORS[self._reader.error])
            found.append((message.opcode, message.data[: message.length]))


def client_frame(int opcode, bytes payload not None, unsigned int mask):
    cdef char header[14]
    cdef size_t size = frame_header(header, <uint8_t>opcode, len(payload), mask)
    cdef bytearray masked = bytearray(payload)
    apply_mask(masked, len(payload), mask)
    return header[:size] + bytes(masked)
