"""The native face of text.pyx: what document.pyx calls without Python objects in between."""

from libc.stdint cimport uint16_t

from syncline.core.text.nodes cimport Tree
from syncline.core.ot.ot cimport Operation
from syncline.core.text.splices cimport Splice


cdef class Text:
    cdef Tree *tree           # NULL: the gap buffer, else that is empty
    cdef uint16_t *cells      # [0, gap_start) and [gap_end, capacity) hold the text
    cdef Py_ssize_t capacity
    cdef Py_ssize_t gap_start
    cdef Py_ssize_t gap_end
    cdef Py_ssize_t wide      # characters above U+FFFF

    # The storage: everything below goes through these. After `reserve`, `write` and `erase` do not fail.
    cdef Py_ssize_t size(self) noexcept
    cdef Py_ssize_t piece(self, Py_ssize_t position, Py_ssize_t end, const uint16_t **cells) noexcept
    cdef int reserve(self, Py_ssize_t extra, Py_ssize_t inserts) except -1
    cdef void release(self) noexcept
    cdef int chop(self, Py_ssize_t extra, Py_ssize_t inserts) except -1
    cdef Text twin(self)
    cdef void swap(self, Text other) noexcept
    cdef void move_gap(self, Py_ssize_t position) noexcept
    cdef void write(self, Py_ssize_t position, str text, Py_ssize_t start, Py_ssize_t length, Py_ssize_t cells) noexcept
    cdef void erase(self, Py_ssize_t position, Py_ssize_t length) noexcept
    cdef Py_ssize_t count_wide(self, Py_ssize_t start, Py_ssize_t end) noexcept
    cdef str copy(self, Py_ssize_t start, Py_ssize_t end)

    cdef bint splits(self, Py_ssize_t position) noexcept
    cdef Py_ssize_t skip_points(self, Py_ssize_t start, Py_ssize_t points) noexcept
    cdef int require_applicable(self, Operation operation) except -1
    cdef int prepare(self, Operation operation) except -1
    cdef int commit(self, Operation operation) except -1
    cdef int replay_splices(self, const Splice *splices, Py_ssize_t count, str inserted) except -1
    cdef int run(self, const Splice *splices, Py_ssize_t count, str inserted, list journal) except -1
    cdef int take_back(self, list journal) except -1
    cdef Operation counted(self, Operation operation, bint utf16)
    cdef Py_ssize_t convert(self, Py_ssize_t position, bint source_utf16, bint target_utf16) except -1
