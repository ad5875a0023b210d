"""The native face of undo_log.pyx."""

from libc.stdint cimport int64_t

from syncline.core.storage.record_format cimport Column, Writer


cdef struct Stroke:
    int kind           # CLOSED, TYPING or DELETING
    int64_t at
    int64_t length     # of what is inserted or deleted there, in UTF-16 units
    bint first_blank   # whether it begins in a space,
    bint last_blank    # and ends in one

cdef enum:
    CLOSED = 0
    TYPING = 1
    DELETING = 2
    MAX_TYPED = 16  # more at once is a paste or a selection: a group of its own


cdef class UndoLog:
    cdef readonly Py_ssize_t count

    cdef UndoLog emptied(self)
    cdef int append(self, object operation, Py_ssize_t size) except -1
    cdef int extend(self, UndoLog other, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int drop(self, Py_ssize_t count) except -1
    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) except -1
    cdef object move(self, object spot, int64_t *caret, Py_ssize_t start, Py_ssize_t end)
    cdef Py_ssize_t footprint(self) noexcept
    cdef int64_t labour(
        self, object operation, UndoLog pending, Py_ssize_t start, Py_ssize_t end, UndoLog passed
    ) except -1
    cdef object lift(self, object operation, UndoLog steps, Py_ssize_t start, Py_ssize_t end, UndoLog out)
    cdef object compose(self, object first, object second)
    cdef bint is_identity(self, object operation) except -1
    cdef bint is_same(self, object planned, object applied) except -1
    cdef int check(self, object operation) except -1
    cdef bint changes(self, object operation, object undoing) except -1
    cdef object stroke(self, object operation, object undoing, Stroke *stroke)
    cdef object inverse(self, object operation, object undoing)
    cdef object grown(self, object operation, object undoing, object top)
    cdef Py_ssize_t weigh(self, object operation) except -1
    cdef int write(self, Writer out) except -1
    cdef int write_operation(self, Writer out, object operation) except -1
    cdef int write_spot(self, Writer out, object spot) except -1
    cdef UndoLog read(self, Source source, int64_t limit)
    cdef object read_operation(self, Source source)
    cdef object read_spot(self, Source source)


cdef class Source:
    cdef bytes body             # keeps the memory alive
    cdef Column whole           # what is left to read

    cdef int64_t number(self, int64_t limit) except -1
    cdef bytes chunk(self)
    cdef str text(self)
