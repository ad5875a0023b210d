from ..core.room cimport Member


cdef class Flusher:
    cdef:
        object _call_soon
        list _dirty              #: connections with queued frames, each once
        bint _scheduled
        readonly unsigned long long frames       # handed to sockets
        readonly unsigned long long bytes_out
        readonly unsigned long long flushes      # turns that wrote something
        readonly unsigned long long slow_consumers
        readonly Py_ssize_t queue_bytes_max      # the fullest queue seen since the last scrape

    cdef int mark(self, Connection connection) except -1
    cpdef int flush(self) except -1


cdef class Connection(Member):
    cdef:
        readonly str id
        readonly object transport        # seams.Transport
        readonly Flusher flusher
        readonly Py_ssize_t max_bytes
        object _on_overflow              # called once, when the reader is too slow
        object _deflater                 # core.deflate.Deflater or None
        list _queue                      #: frames in order
        Py_ssize_t _queued               # bytes in _queue
        Py_ssize_t _room                 # bytes beyond max_bytes, for replies on their way
        bint _dirty
        readonly bint closed

    cpdef int deliver(self, bytes frame) except -1
    cpdef int reply(self, bytes frame) except -1
    cdef int write_out(self) except -1
