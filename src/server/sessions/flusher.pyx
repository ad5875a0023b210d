# cython: language_level=3
"""Writes the queues of all connections once per turn of the event loop, and counts what is written and what is left out."""

import logging

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from cpython.object cimport PyObject
from libc.string cimport memcmp

from ...core.rooms.room cimport Member

cdef extern from "Python.h":
    ctypedef struct PyListObject:
        PyObject **ob_item

log = logging.getLogger("syncline.connection")


cdef class Flushed(Member):
    """What the flusher knows of a connection."""

    cdef int write_out(self) except -1:
        raise NotImplementedError("a connection says how it writes")

    def broken(self):
        """Writing failed."""
        raise NotImplementedError("a connection says what then")


cdef class Keyed:
    """See flusher.pxd."""


cdef double alone(list queue) except -1:
    """Bytes of the frames in a connection's queue, each divided among all who hold it. O(frames)."""
    cdef double size = 0.0
    cdef Py_ssize_t holders
    for item in queue:
        if item is None:
            continue
        frame = (<Keyed>item).frame if isinstance(item, Keyed) else item
        holders = (<PyObject *>frame).ob_refcnt - (2 if frame is item else 1)  # without the names here
        size += PyBytes_GET_SIZE(<bytes>frame) / <double>max(1, holders)
    return size


cdef class Flusher:
    """Writes every dirty connection's queue once per turn. One per node."""

    def __init__(
        self,
        call_soon,
        Py_ssize_t low_bytes=131_072,
        Py_ssize_t high_bytes=1_048_576,
        Py_ssize_t max_messages=16_384,
    ):
        """The marks of ``limits.queue_low_bytes``, ``queue_high_bytes`` and ``queue_messages``, for all connections."""
        self._call_soon = call_soon
        self.limit(low_bytes, high_bytes, max_messages)
        self._dirty = []
        self._scheduled = False

    def limit(self, Py_ssize_t low_bytes, Py_ssize_t high_bytes, Py_ssize_t max_messages):
        """The marks from now on."""
        self.low_bytes = low_bytes
        self.high_bytes = high_bytes
        self.max_messages = max_messages

    cdef int mark(self, Flushed connection) except -1:
        self._dirty.append(connection)
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self.flush)
        return 0

    cpdef int flush(self) except -1:
        """Returns how many connections were written to."""
        cdef list dirty = self._dirty
        cdef Flushed connection
        self._dirty = []
        self._scheduled = False
        if dirty:
            self.flushes += 1
        for item in dirty:
            connection = <Flushed>item
            try:
                connection.write_out()
            except Exception:
                # One socket's fault must not cost the others their turn.
                log.exception("connection %s could not be written to", connection.id)
                connection.broken()
        self._last_queue = self._last_joined = None
        return <int>len(dirty)

    cdef bytes joined(self, list queue):
        """The frames of ``queue``, which nobody changes any more, as one. The members of a room have mostly the same waiting:
        then it is made once and shared."""
        cdef list last = self._last_queue
        if (
            last is None
            or PyList_GET_SIZE(last) != PyList_GET_SIZE(queue)
            or memcmp(
                (<PyListObject *><PyObject *>last).ob_item,
                (<PyListObject *><PyObject *>queue).ob_item,
                <size_t>PyList_GET_SIZE(queue) * sizeof(PyObject *),
            ) != 0
        ):
            self._last_queue = queue
            self._last_joined = b"".join(queue)
        return self._last_joined

    cdef bytes deflated(self, object deflater, bytes frame):
        # The members of a room come one after the other: mostly it is the frame of the one before.
        if frame is not self._last_frame or deflater is not self._last_deflater:
            self._last_deflated = <bytes>deflater.frame(frame)
            self._last_frame = frame
            self._last_deflater = deflater
        return self._last_deflated

    def take_queue_bytes_max(self):
        """The fullest queue since the last call, in bytes."""
        cdef Py_ssize_t seen = self.queue_bytes_max
        self.queue_bytes_max = 0
        return seen

    def take_queue_messages_max(self):
        """The longest queue since the last call, in frames."""
        cdef Py_ssize_t seen = self.queue_messages_max
        self.queue_messages_max = 0
        return seen
