"""The native face of rich_text.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t

from syncline.core.rich.components cimport Pieces
from syncline.core.rich.rich cimport Delta
from syncline.core.text.text cimport Text

cdef struct Run:
    PyObject *attributes  # owned; NULL: none
    PyObject *embed       # owned; then the length is 1
    int32_t length        # > 0
    int32_t weight        # of attributes and embed


cdef class _Block:
    cdef Run *runs
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int64_t length  # of all runs

    cdef int reserve(self) except -1
    cdef int put(self, Py_ssize_t index, const Run *run) except -1
    cdef void drop(self, Py_ssize_t index) noexcept
    cdef bint joins(self, Py_ssize_t index) except -1


cdef class RichText:
    cdef Text content
    cdef list blocks         # never empty; only the first may be
    cdef int64_t weight      # of all runs

    # Where `seek` has come to: the run at `position`, or behind the last one.
    cdef Py_ssize_t block
    cdef int64_t block_start
    cdef Py_ssize_t run
    cdef int64_t offset      # in the run, below its length

    cdef _Block seek(self, int64_t position)
    cdef _Block cut(self, int64_t position)
    cdef int insert(self, int64_t position, int64_t length, PyObject *attributes, PyObject *embed) except -1
    cdef int erase(self, int64_t position, int64_t length) except -1
    cdef int format(self, int64_t position, int64_t length, dict attributes) except -1
    cdef int join(self, int64_t position) except -1
    cdef int require_applicable(self, Delta delta) except -1
    cdef int gather(self, int64_t start, int64_t end, Pieces *out, list texts) except -1
