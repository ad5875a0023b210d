"""The native face of steps.pyx."""

from libc.stdint cimport int64_t

from syncline.core.ot.ot cimport Operation
from syncline.core.ot.components cimport Part
from syncline.core.documents.undo_log cimport UndoLog


cdef class Steps(UndoLog):
    cdef Part *parts            # of all steps, one after the other
    cdef Py_ssize_t used        # parts in use
    cdef Py_ssize_t room
    cdef Py_ssize_t *ends       # of each step, in `parts`
    cdef Py_ssize_t capacity

    cdef int push(self, const Part *parts, Py_ssize_t count) except -1
    cdef int shrink(self) except -1
    cdef Py_ssize_t start_of(self, Py_ssize_t index) noexcept


cdef Operation pass_through(
    Operation operation, Steps steps, Py_ssize_t *start, Py_ssize_t end, Steps out, int64_t room, int64_t *spent
)
