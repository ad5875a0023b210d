"""The native face of document.pyx."""

from libc.stdint cimport int64_t, uint64_t

from syncline.core.entries cimport ClientState, Entry
from syncline.core.ot cimport Operation
from syncline.core.text cimport Text


cdef class _Caret:
    cdef int64_t anchor
    cdef int64_t head


cdef class Document:
    cdef readonly str id
    cdef readonly str generation
    cdef readonly int64_t revision
    cdef Text body
    cdef list entries            # the window, from index `first` on; None before it
    cdef Py_ssize_t first
    cdef Py_ssize_t occupied     # footprint of the window
    cdef int64_t floor_units     # length of the text at the floor, in either unit
    cdef int64_t floor_points
    cdef object clients          # name -> ClientState, in the order of their last commits
    cdef bint forgotten          # some client is no longer in `clients`
    cdef dict carets             # client -> _Caret, in UTF-16 units at the head
    cdef Py_ssize_t max_operations
    cdef Py_ssize_t max_bytes
    cdef int64_t max_length
    cdef Py_ssize_t max_clients

    cdef int64_t bottom(self) noexcept
    cdef Entry entry_at(self, int64_t revision)
    cdef int64_t length_at(self, int64_t revision, bint utf16) except -1
    cdef Operation rebase(self, Operation operation, int64_t base)
    cdef object repeated(self, ClientState state, int64_t seq, int64_t base, uint64_t digest)
    cdef int append(self, Entry entry) except -1
    cdef int forget_clients(self) except -1
    cdef int move_carets(self, Entry entry) except -1
    cdef int keep_caret(self, str client, _Caret caret) except -1
