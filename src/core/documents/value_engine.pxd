"""The native face of value_engine.pyx."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from syncline.core.documents.engine cimport Caret, Engine
from syncline.core.storage.window cimport Commit


cdef class TypedEntry(Commit):
    cdef readonly object type
    cdef readonly object operation
    cdef readonly bytes payload  # the operation as bytes, for the log
    cdef int64_t weight          # of the operation, as its type weighs it
    cdef Py_ssize_t occupied     # bytes of memory that it takes, about
    cdef int64_t places          # microseconds that a position takes past it, about

    cdef Py_ssize_t footprint(self) noexcept


cdef class ValueCaret(Caret):
    cdef object anchor
    cdef object head


cdef class ValueEngine(Engine):
    cdef readonly object type
    cdef object held             # the content
    cdef readonly int64_t size   # of the content, as the type counts it
    cdef int64_t max_length
    cdef int64_t hash_revision   # whose hash is ``hash_known``; -1: it is not known
    cdef uint32_t hash_known
    cdef tuple prepared          # (what for, an operation at the head) by ``Laborious.steps``; None: nothing is

    cdef object take_prepared(self, tuple key)
    cdef int apply(self, object operation, object limit) except -1
