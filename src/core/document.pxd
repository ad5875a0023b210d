"""The native face of document.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.entries cimport Entry
from syncline.core.ladder cimport Ladder
from syncline.core.ot cimport Operation
from syncline.core.text cimport Text
from syncline.core.undo cimport Undo
from syncline.core.window cimport Commit, Window


cdef class _Caret:
    cdef int64_t anchor
    cdef int64_t head


cdef class Document(Window):
    cdef Text body
    cdef int64_t floor_units     # length of the text at the floor, in either unit
    cdef int64_t floor_points
    cdef dict carets             # client -> _Caret, in UTF-16 units at the head
    cdef int64_t max_length
    cdef Undo stacks             # what each client can undo
    cdef Ladder ladder

    cdef Entry entry_at(self, int64_t revision)
    cdef int64_t length_at(self, int64_t revision, bint utf16) except -1
    cdef Operation rebase(self, Operation operation, int64_t base)
    cdef object commit(
        self, str client, str user, int64_t number, Operation units, uint8_t mark, uint64_t digest, double time
    )
    cdef int append(self, Entry entry) except -1
    cdef int floor_rises(self, Commit commit) except -1
    cdef int move_carets(self, Entry entry) except -1
    cdef int keep_caret(self, str client, _Caret caret) except -1
