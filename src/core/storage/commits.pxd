"""The native face of commits.pyx, for document.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.ot.ot cimport Operation
from syncline.core.storage.window cimport Commit


cdef class Entry(Commit):
    cdef readonly Operation operation  # counts utf-16
    cdef Operation points              # counts unicode; None while the numbers are the same
    cdef Operation points_view         # `operation` under the name "unicode", made when first asked for
    cdef int64_t units_after           # length of the text at this revision; the document sets both
    cdef int64_t points_after

    cdef Operation numbers(self, bint utf16)
    cdef Py_ssize_t footprint(self) noexcept


cdef Entry new_entry(
    str client, str user, int64_t seq, Operation operation, Operation points, double time, uint64_t digest,
    uint8_t mark=*
)
cdef bytes encode_snapshot(str text, object clients, bint forgotten, bytes undo=*)
cpdef uint64_t payload_digest(bytes payload) except? 0
