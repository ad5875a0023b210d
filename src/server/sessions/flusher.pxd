from ...core.rooms.room cimport Member


cdef class Flushed(Member):
    cdef readonly str id

    cdef int write_out(self) except -1


cdef class Keyed:
    """A queued frame that a newer one of its key replaces. ``number``: its place, counted over the connection's life."""

    cdef bytes frame
    cdef object key
    cdef Py_ssize_t number


cdef double alone(list queue) except -1


cdef class Flusher:
    cdef:
        object _call_soon
        list _dirty              #: connections with queued frames, each once
        bint _scheduled
        readonly Py_ssize_t low_bytes
        readonly Py_ssize_t high_bytes
        readonly Py_ssize_t max_messages
        readonly unsigned long long frames       # handed to sockets
        readonly unsigned long long bytes_out
        readonly unsigned long long flushes      # turns that wrote something
        readonly unsigned long long conflated    # frames that a newer one of their key replaced
        readonly unsigned long long dropped      # volatile frames
        readonly unsigned long long behind       # times that a member fell behind in a room
        readonly unsigned long long slow_consumers
        readonly Py_ssize_t queue_bytes_max      # the fullest queue seen since it was taken
        readonly Py_ssize_t queue_messages_max
        object _last_frame                       # what was compressed last, for the next member
        object _last_deflater
        bytes _last_deflated
        list _last_queue                         #: what was joined last in this turn, for the next member
        bytes _last_joined

    cdef int mark(self, Flushed connection) except -1
    cpdef int flush(self) except -1
    cdef bytes joined(self, list queue)
    cdef bytes deflated(self, object deflater, bytes frame)
