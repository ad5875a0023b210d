"""The native face of undo.pyx, for document.pyx."""

from libc.stdint cimport int64_t, uint8_t

from syncline.core.ot cimport Operation
from syncline.core.steps cimport Source, Steps


cdef class _Item:
    cdef Operation operation   # leads from the text after `created` back to the one before
    cdef int64_t created       # the revision that put it on the stack
    cdef Steps pending         # what others did since then, in its context and before `at`; None: nothing
    cdef int64_t at            # from here to the item above, or to the head, `Undo.log` says what others did
    cdef bint joins            # belongs to the group of the item below
    cdef Py_ssize_t size       # as counted in Undo.occupied


cdef class _Stack:
    cdef str client
    cdef str user
    cdef list undo             # of _Item
    cdef list redo
    cdef Py_ssize_t groups     # in `undo`
    cdef int open              # what the newest group may go on with: TYPING, DELETING or CLOSED
    cdef int64_t time          # of its last edit, in milliseconds,
    cdef int64_t caret         # where that left off,
    cdef int64_t caret_at      # at which revision,
    cdef bint blank            # and whether it ended in a space
    cdef Py_ssize_t edits      # in the group


cdef class _Plan:
    cdef str client
    cdef uint8_t mark
    cdef int64_t revision      # the head that it was made for
    cdef Operation operation
    cdef Py_ssize_t left       # items that stay on the stack
    cdef Py_ssize_t groups     # that go
    cdef int64_t until         # the last revision before the lowest item that goes
    cdef Steps passed          # what others did, as the items below see it


cdef class Undo:
    cdef readonly int64_t revision
    cdef int64_t base
    cdef Steps log             # of revisions base + 1 ... revision
    cdef dict stacks           # client -> _Stack
    cdef _Plan planned
    cdef Py_ssize_t occupied   # size of all items
    cdef Py_ssize_t max_groups
    cdef Py_ssize_t max_bytes
    cdef int64_t max_history
    cdef int64_t group_ms
    cdef readonly Py_ssize_t dropped

    cdef Undo emptied(self)
    cdef Operation find(self, str client, str user, uint8_t mark)
    cdef _Plan plan(self, str client, str user, uint8_t mark)
    cdef Steps lift(self, _Item item, int64_t until, Steps passed, list result)
    cdef int keep(
        self, str client, str user, uint8_t mark, Operation operation, str removed, double time
    ) except -1
    cdef int edit(self, _Stack stack, Operation operation, str removed, int kind, int64_t time) except -1
    cdef bint continues(self, _Stack stack, Operation operation, str removed, int64_t time) except -1
    cdef int take(self, _Stack stack, _Plan plan, Operation inverse) except -1
    cdef int push(self, list items, Operation operation, bint joins) except -1
    cdef int count(self, _Item item) except -1
    cdef int cut(self, list items, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int drop_oldest(self, _Stack stack, list items) except -1
    cdef int discard(self, _Stack stack) except -1
    cdef int sweep(self, int64_t floor) except -1
    cdef int squeeze(self) except -1
    cdef int read(self, int64_t revision, Source source) except -1
    cdef list read_items(self, Source source)
