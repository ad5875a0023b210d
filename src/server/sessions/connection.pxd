from ...core.rooms.room cimport Room
from .flusher cimport Flushed, Flusher


cdef class Connection(Flushed):
    cdef:
        readonly object transport        # seams.transport.Transport
        readonly Flusher flusher
        readonly Py_ssize_t max_bytes
        object _on_overflow              # called once, when the reader is too slow
        object _deflater                 # core.wire.deflate.Deflater or None
        list _queue                      #: bytes; a Keyed; None where one was replaced
        Py_ssize_t _base                 # the number of the first one in _queue
        Py_ssize_t _holes                # Nones in _queue
        Py_ssize_t _queued               # bytes in _queue
        Py_ssize_t _handed               # bytes of the last write, while the transport holds some of them
        Py_ssize_t _room                 # bytes beyond max_bytes, for replies on their way
        Py_ssize_t _mark                 # _queued above this is looked at
        dict _latest                     #: key -> its Keyed in _queue; None: never used
        dict _behind                     #: room -> (offset, epoch) of the last one given; None: nowhere
        set _told                        #: rooms that it is to recover from the history; None: none
        list _waiting                    #: called when the transport has handed on what it had; None: nobody
        bint _dirty                      # the flusher knows, or need not
        readonly bint held               # the transport holds what the kernel did not take
        readonly bint closed

    cpdef int deliver(self, bytes frame) except -1
    cpdef int reply(self, bytes frame) except -1
    cpdef int deliver_latest(self, bytes frame, object key) except -1
    cpdef int deliver_volatile(self, bytes frame) except -1
    cpdef int pong(self, bytes payload) except -1
    cdef int offer(self, bytes frame, Room room) except -1
    cdef bint _full(self, Py_ssize_t more) noexcept
    cpdef int paused(self) except -1
    cpdef int drained(self) except -1
    cdef int _write_part(self, Py_ssize_t size) except -1
    cdef int _crowded(self) except -1
    cdef int _compact(self) except -1
    cdef int _wake(self) except -1
