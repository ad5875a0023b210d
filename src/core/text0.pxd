"""The native face of text0.pyx: lists of edits."""

from syncline.core.text cimport Text


cdef class StringEdit:
    cdef Py_ssize_t position  # in code units, of the string as the edits before have left it
    cdef Py_ssize_t length    # of the text, in code units
    cdef bint deletes         # else it inserts
    cdef str text

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
cdef tuple cross_edits(list left, list right)
