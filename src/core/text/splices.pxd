"""The native face of splices.pyx."""

from libc.stdint cimport int32_t, int64_t

# Replaces `deleted` code units at `position` by the next `inserted` ones of a text that all share.
cdef struct Splice:
    int32_t position
    int32_t deleted
    int32_t inserted

cdef struct Splices:
    Splice *items
    Py_ssize_t count
    Py_ssize_t capacity

cdef void splices_open(Splices *self) noexcept
cdef void splices_close(Splices *self) noexcept
cdef int splices_push(Splices *self, int64_t position, int64_t deleted, int64_t inserted) except -1
cdef str splices_read(Splices *self, bytes body)
cdef int64_t splices_check(const Splice *items, Py_ssize_t count, int64_t size, str text) except -1
