"""The native face of steps.pyx, for undo.pyx."""

from libc.stdint cimport int64_t

from syncline.core.ot cimport Operation
from syncline.core.parts cimport Part, Parts


cdef class Steps:
    cdef Part *parts            # of all steps, one after the other
    cdef Py_ssize_t used        # parts in use
    cdef Py_ssize_t room
    cdef Py_ssize_t *ends       # of each step, in `parts`
    cdef readonly Py_ssize_t count
    cdef Py_ssize_t capacity

    cdef int append(self, const Part *parts, Py_ssize_t count) except -1
    cdef int extend(self, Steps other, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int drop(self, Py_ssize_t count) except -1
    cdef int shrink(self) except -1
    cdef Py_ssize_t start_of(self, Py_ssize_t index) noexcept
    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) noexcept
    cdef int64_t move(self, int64_t position, Py_ssize_t start, Py_ssize_t end) noexcept
    cdef Py_ssize_t footprint(self) noexcept


cdef Operation pass_through(Operation operation, Steps steps, Py_ssize_t start, Py_ssize_t end, Steps out)

cdef int write_number(bytearray out, int64_t value) except -1
cdef int write_text(bytearray out, str text) except -1
cdef int write_operation(bytearray out, Operation operation) except -1
cdef int write_steps(bytearray out, Steps steps, Py_ssize_t start) except -1


cdef class Source:
    cdef bytes body             # keeps the memory alive
    cdef const unsigned char *data
    cdef Py_ssize_t at
    cdef Py_ssize_t end

    cdef int64_t number(self, int64_t limit) except -1
    cdef str text(self)
    cdef int read_parts(self, Parts *parts, int64_t count) except -1
    cdef Operation operation(self)
    cdef Steps steps(self, int64_t limit)
