"""The native face of rich.pyx."""

from libc.stdint cimport int64_t

from syncline.core.rich.components cimport Piece, Pieces

cdef Delta new_delta(Pieces *pieces, str text)


cdef class Delta:
    cdef Piece *pieces
    cdef Py_ssize_t count
    cdef Piece local[3]     # where `pieces` points while they fit: nearly every live edit
    cdef readonly str text  # what all inserts insert, in order; an embed is U+FFFC
    cdef int64_t retained
    cdef int64_t inserted_units
    cdef int64_t deleted_units
    cdef bint ready         # built; it never changes from here

    cdef int load(self, Pieces *pieces, str text) except -1
    cdef int64_t base(self) noexcept
    cdef Delta inverse(self, Delta base)
