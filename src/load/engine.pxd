from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from .frames cimport Message, Reader
from .histogram cimport Histogram
from .ledger cimport Ledger
from .system cimport epoll_event

cdef enum:
    POSITION_BYTES = 40

cdef struct Conn:
    Reader reader
    char *out                 # frames that are to be sent
    size_t out_length
    size_t out_at             # sent up to here
    size_t out_capacity
    int64_t began             # when it began to connect, or when it was cut
    int fd                    # -1: none
    uint8_t state
    uint8_t step              # of the greeting
    bint dirty                # in the list of those to flush
    bint blocked              # waits for EPOLLOUT
    bint behind               # ready again, but has not caught up
    uint8_t position_length
    char position[POSITION_BYTES]  # what the protocol says where it is, as bytes of the message


cdef class Engine:
    cdef:
        readonly Ledger ledger
        readonly Histogram opened      # TCP and HTTP upgrade
        readonly Histogram joined      # from the first SYN until in the room
        readonly Histogram recovered   # from the cut until caught up
        readonly Py_ssize_t ready
        readonly int64_t failed        # connections that did not become ready
        readonly int64_t cuts          # connections that this side cut
        readonly int64_t lost          # connections that the server ended
        readonly int64_t errors        # error answers
        readonly int64_t others        # messages without a payload of ours
        readonly int64_t bytes_in
        readonly int64_t bytes_out
        readonly dict endings          # why connections ended -> how many
        readonly str first_error
        readonly bint stalled
        readonly int64_t left_at       # when the server ended the first connection, by monotonic_ns; 0: it did not
        readonly int64_t back_at       # when the newest to come back had caught up; 0: none had
        public object progress         # called each second with no arguments; None: nobody listens
        public object retry_seconds    # (least, most) of a random wait before a lost connection comes back; None: never
        tuple _address
        list _sources
        object _request, _greeting, _greeted
        list _frames
        bytes _lead, _trail, _error, _ping, _pong, _position_key
        bint _position_after
        uint8_t _opcode
        bint _mask
        uint32_t _random
        Conn *_conns
        Py_ssize_t _count
        int _epoll, _timer
        epoll_event *_events
        char *_buffer
        int *_dirty
        Py_ssize_t _dirty_count
        Py_ssize_t _connecting         # neither ready nor ended
        size_t _hint                   # where the last payload began in its message
        size_t _position_hint          # and the position, in what is searched for it
        int64_t _now                   # when what is being read was read; 0: not asked yet
        bint _windowed
        dict _steps                    # greetings that are not over yet, by connection
        double _retry_after            # what a refused handshake was told, for the next _end
        list _timers                   # heap of (when, what, connection)
        int64_t _next_progress
        int64_t _armed                 # what the timer is set to; 0: not

    cdef uint32_t _next_mask(self) noexcept
    cdef int _connected(self, Py_ssize_t index) except -1
    cdef int _connect(self, Py_ssize_t index) except -1
    cdef int _watch(self, int op, Py_ssize_t index, uint32_t events) except -1
    cdef int _write(self, Py_ssize_t index, uint8_t opcode, const char *data, size_t length) except -1
    cdef char *_room_for(self, Py_ssize_t index, size_t length) except NULL
    cdef int _publish(self, Py_ssize_t publisher, int64_t due) except -1
    cdef int _flush(self, Py_ssize_t index) except -1
    cdef int _flush_dirty(self) except -1
    cdef int _end(self, Py_ssize_t index, str why) except -1
    cdef int _read(self, Py_ssize_t index) except -1
    cdef int _upgrade(self, Py_ssize_t index) except -1
    cdef int _greet(self, Py_ssize_t index, const char *data, size_t length) except -1
    cdef int _control(self, Py_ssize_t index, Message *message) except -1
    cdef int _message(self, Py_ssize_t index, Message *message) except -1
    cdef int _payload(self, Py_ssize_t index, const char *payload, const char *start, const char *end, int64_t now) except -1
    cdef int _remember(self, Py_ssize_t index, const char *payload, const char *start, const char *end) except -1
    cdef int _turn(self, int64_t until) except -1
