"""The native face of ot.pyx: components as plain arrays, for text.pyx and document.pyx."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef enum Kind:
    RETAIN = 0
    INSERT = 1
    DELETE = 2

cdef struct Part:
    int32_t kind
    int32_t length  # > 0, in the unit of the operation

# A growable list of parts that keeps itself canonical. It points into itself while short: never copy one.
cdef struct Parts:
    Part *items
    Py_ssize_t count
    Py_ssize_t capacity
    Part local[16]

# Text that is being gathered, as code points.
cdef struct Points:
    Py_UCS4 *items
    Py_ssize_t count
    Py_ssize_t capacity

cdef Py_ssize_t MAX_COMPONENTS
cdef int64_t MAX_LENGTH

cdef void parts_open(Parts *self) noexcept
cdef void parts_close(Parts *self) noexcept
cdef int parts_push(Parts *self, int kind, int64_t length) except -1
cdef int points_reserve(Points *self, Py_ssize_t extra) except -1
cdef void points_close(Points *self) noexcept
cdef str points_text(Points *self)

cdef Py_ssize_t utf16_length(str text) except -1
cdef Py_ssize_t count_points(str text, Py_ssize_t start, Py_ssize_t units) except -2
cdef int require_well_formed(str text) except -1
cdef bint unit_is_utf16(object unit) except -1
cdef int transform_parts(
    const Part *parts, Py_ssize_t count, const Part *other, Py_ssize_t other_count, bint left, Parts *out
) except -1
cdef Operation new_operation(Parts *parts, str text, bint utf16)

cdef object invalid(str message)
cdef object out_of_range(str message)


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
