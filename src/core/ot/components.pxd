"""Arrays of components, and the text they insert. See ot/components.pyx."""

from libc.stdint cimport int32_t, int64_t

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

cdef struct Sums:
    int64_t retained
    int64_t inserted
    int64_t deleted

# Text that is being gathered, as code points.
cdef struct Points:
    Py_UCS4 *items
    Py_ssize_t count
    Py_ssize_t capacity

# What `compose_parts` reads: parts, and the text they insert, as a str holds it.
cdef struct Source:
    const Part *parts
    Py_ssize_t count
    const void *data
    Py_ssize_t length  # characters
    int kind           # bytes a character: 1, 2, 4
    bint wide          # a character above U+FFFF may be in it; the kind is 4 then

cdef int64_t MAX_LENGTH

cdef void parts_open(Parts *self) noexcept
cdef void parts_close(Parts *self) noexcept
cdef Py_ssize_t parts_finish(Parts *self, Sums *sums) except -1
cdef int parts_push(Parts *self, int kind, int64_t length) except -1
cdef void points_open(Points *self) noexcept
cdef int points_append(Points *self, str text, Py_ssize_t start, Py_ssize_t length) except -1
cdef int points_copy(Points *self, int kind, const void *data, Py_ssize_t start, Py_ssize_t length) except -1
cdef void points_close(Points *self) noexcept
cdef str points_text(Points *self)

cdef Py_ssize_t utf16_length(str text) except -1
cdef bint has_astral(str text) noexcept
cdef Py_ssize_t count_astral(str text, Py_ssize_t start, Py_ssize_t length) noexcept
cdef Py_ssize_t count_points(str text, Py_ssize_t start, Py_ssize_t units) noexcept
cdef int require_well_formed(str text) except -1
cdef void widen(str text, Py_ssize_t start, Py_ssize_t length, int kind, char *out, Py_ssize_t at) noexcept
cdef int transform_parts(
    const Part *parts, Py_ssize_t count, const Part *other, Py_ssize_t other_count, bint left, Parts *out
) except -1
cdef int compose_parts(const Source *first, const Source *second, bint utf16, Parts *out, Points *text) except -1

cdef object invalid(str message)
cdef object out_of_range(str message)
