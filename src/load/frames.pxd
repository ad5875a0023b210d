from libc.stdint cimport uint32_t, uint8_t

cdef enum Found:
    NOTHING = 0      # more bytes are needed
    MESSAGE = 1      # text or binary, all its fragments together
    CONTROL = 2      # close, ping, pong
    BROKEN = -1      # not RFC 6455, or not what a server may send

# What a server sends, as messages. Zeroed memory is a reader that has seen nothing; reader_close frees what it holds.
cdef struct Reader:
    const char *at           # what is still to be parsed: in the caller's buffer, or in `held`
    size_t left
    char *held               # the beginning of a frame whose rest has not come
    size_t held_length
    size_t held_capacity
    char *joined             # fragments of a message that has begun
    size_t joined_length
    size_t joined_capacity
    uint8_t opcode           # of that message; 0: none has begun
    uint8_t error            # of BROKEN, an index into what reader_error says

# Points into the reader, or into what was fed: valid until the next call.
cdef struct Message:
    uint8_t opcode
    const char *data
    size_t length

cdef int reader_feed(Reader *self, const char *data, size_t length) except -1
cdef int reader_next(Reader *self, Message *message) except -2
cdef int reader_keep(Reader *self) except -1
cdef void reader_close(Reader *self) noexcept
cdef size_t frame_header(char *out, uint8_t opcode, size_t length, uint32_t mask) noexcept
cdef void apply_mask(char *data, size_t length, uint32_t mask) noexcept


cdef class FrameReader:
    cdef Reader _reader
