"""The native face of text0.pyx: lists of edits."""

from libc.stdint cimport int64_t

from syncline.core.text.text cimport Text


cdef class StringEdit:
    cdef Py_ssize_t position  # in code units, of the string as the edits before have left it
    cdef Py_ssize_t length    # of the text, in code units
    cdef bint deletes         # else it inserts
    cdef str text


cdef class EditCrossing:
    cdef list left            # of StringEdit, as all are
    cdef list passed          # what came through
    cdef list waiting         # what is to go through, from `next` on
    cdef Py_ssize_t next
    cdef StringEdit walker    # what goes through; None: nothing is left of it,
    cdef list walked          # what of `left` it has behind it; None: nothing is on its way,
    cdef Py_ssize_t index     # and what it comes to
    cdef list behind          # where walkers fell apart: (walked, waiting, next)

    cdef bint work(self, int64_t *room) except -1


cdef Py_ssize_t length_of(str text) except -1
cdef str cut(str text, Py_ssize_t start, Py_ssize_t end)
cdef StringEdit new_edit(Py_ssize_t position, bint deletes, str text, Py_ssize_t length)
cdef list describe_edits(list edits)
cdef bint same_edits(list one, list two) except -1
cdef bint is_long(str text, list edits) except -1
cdef str apply_edits(str text, list edits)
cdef int edit_text(Text whole, list edits) except -1
cdef list compose_edits(list first, list second)
cdef list invert_edits(list edits)
cdef EditCrossing new_crossing(list left, list right)
