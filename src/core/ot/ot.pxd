"""The native face of ot.pyx, for text.pyx, commits.pyx and document.pyx."""

from libc.stdint cimport int64_t, uint64_t

from syncline.core.ot.components cimport Part, Parts

cdef Py_ssize_t MAX_COMPONENTS

cdef bint unit_is_utf16(object unit) except -1
cdef str read_parts(object components, bint utf16, Parts *parts)
cdef uint64_t digest_parts(const Part *parts, Py_ssize_t count, str text) noexcept
cdef Operation new_operation(Parts *parts, str text, bint utf16)


cdef class Operation:
    cdef Part *parts
    cdef Py_ssize_t count
    cdef Part local[4]      # where `parts` points while they fit: nearly every live edit
    cdef readonly str text  # what all inserts insert, in order
    cdef bint utf16
    cdef bint ready         # built; it never changes from here
    cdef int64_t retained
    cdef int64_t inserted
    cdef int64_t deleted

    cdef int load(self, Parts *parts, str text, bint utf16) except -1
    cdef int64_t base(self) noexcept
    cdef bint same_parts(self, Operation other) noexcept
    cdef Operation recounted(self, bint utf16)
    cdef uint64_t fingerprint(self) noexcept
    cdef int64_t move(self, int64_t position, bint right) noexcept
    cdef int64_t tail(self) noexcept
