"""The native face of document.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.entries cimport Entry
from syncline.core.ladder cimport Ladder
from syncline.core.ot cimport Operation
from syncline.core.text cimport Text
from syncline.core.undo cimport Undo
from syncline.core.window cimport Commit, Window


cdef class _Caret:
    cdef int64_t revision  # where it is as of then
    cdef int64_t anchor
    cdef int64_t head


cdef class Document(Window):
    cdef Text body
    cdef int64_t floor_units     # length of the text at the floor, in either unit
    cdef int64_t floor_points
    cdef dict carets             # client -> _Caret, in UTF-16 units
    cdef int64_t carets_from     # none of them is older
    cdef int64_t max_length
    cdef Undo stacks             # what each client can undo
    cdef Ladder ladder

    cdef Entry entry_at(self, int64_t revision)
    cdef int64_t length_at(self, int64_t revision, bint utf16) except -1
    cdef object accept(
        self, str client, str user, object seq, object base, object components, bint utf16, double time
    )
    cdef bint same_in_both(self, str text) noexcept
    cdef object commit(
        self, str client, str user, int64_t number, Operation units, uint8_t mark, uint64_t digest, double time
    )
    cdef int append(self, Entry entry) except -1
    cdef int floor_rises(self, Commit commit) except -1
    cdef _Caret caret_of(self, str client)
    cdef int bring_on(self, _Caret caret) except -1
    cdef int keep_caret(self, str client, int64_t anchor, int64_t head) except -1
