"""The seam between a document and what it is a document of."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.ot.components cimport Part, Parts, Sums
from syncline.core.storage.window cimport Commit, Window


# Place for what arrived, on the stack of who receives it. Texts use it: so an operation costs one object, the one that is kept.
cdef struct Arrival:
    bint used            # the buffers are open
    bint utf16
    Parts buffers[3]     # what arrived, and two that take turns
    const Part *parts
    Py_ssize_t count
    Sums sums


cdef class Caret:
    cdef int64_t revision  # where it is as of then


cdef class Engine:
    cdef readonly bint undone   # whether anything can be undone at all
    cdef bint leads             # whether carets are taken on after each turn: far behind they are dear
    # Of what was applied last, for undo:
    cdef object applied         # the operation,
    cdef Py_ssize_t applied_bytes  # how many the log has of it, or -1,
    cdef object undoing         # and what ``UndoLog.inverse`` makes it back from; None where nothing is undone
    cdef object arrived         # what was read, or the objects of it

    cdef uint64_t read(self, Arrival *arrival, object value, bint utf16) except? 0
    cdef int drop(self, Arrival *arrival) noexcept
    cdef object climb(
        self, Arrival *arrival, Window window, str client, int64_t seq, uint64_t digest, int64_t base
    )
    cdef Commit make(
        self, str client, str user, int64_t seq, object operation, uint8_t mark, uint64_t digest, double time
    )
    cdef int take(self, Commit commit, int64_t revision) except -1
    cdef int rise(self, Commit commit) except -1
    cdef Caret caret(self)
    cdef bint follow(self, Caret caret, Commit commit) except -1
    cdef int64_t bring_on(self, Window window, Caret caret, int64_t room) except -1
