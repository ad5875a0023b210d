"""Writer and Reader of what goes to the store. See record_format.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

# Sequence numbers, revisions and milliseconds stay below what JSON can carry.
cdef int64_t MAX_COUNT

cdef object damaged(str what)
cdef uint64_t zigzag(int64_t value) noexcept
cdef int64_t unzigzag(uint64_t value) noexcept


cdef class Writer:
    cdef char *data
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    cdef int raw(self, const void *source, Py_ssize_t length) except -1
    cdef int fixed(self, uint64_t value, int width) except -1
    cdef int varint(self, uint64_t value) except -1
    cdef int text(self, str value) except -1
    cdef int chunk(self, bytes value) except -1
    cdef int column(self, Writer other) except -1
    cdef bytes content(self)
    cdef bytes finish(self)


# A part of a body that is read by itself. It points into the body of its Reader, which must outlive it.
cdef struct Column:
    const uint8_t *data
    Py_ssize_t at
    Py_ssize_t end

cdef uint64_t column_varint(Column *self, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF
cdef uint64_t column_fixed(Column *self, int width) except? 0xFFFFFFFFFFFFFFFF


cdef class Reader:
    cdef bytes body    # keeps the memory alive
    cdef Column whole  # what is left to read, without the version and the checksum

    cdef uint64_t fixed(self, int width) except? 0xFFFFFFFFFFFFFFFF
    cdef int64_t varint(self, int64_t limit=*) except -1
    cdef str text(self)
    cdef Column column(self) except *
    cdef int finish(self) except -1
