"""The native face of undo.pyx, for document.pyx."""

from libc.stdint cimport int64_t, uint8_t

from syncline.core.storage.record_format cimport Writer
from syncline.core.documents.undo_log cimport Source, Stroke, UndoLog


cdef class _Item:
    cdef object operation      # leads from the content after `created` back to the one before
    cdef int64_t created       # the revision that put it on the stack
    cdef UndoLog pending       # what others did since then, in its context and before `at`; None: nothing
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
    cdef object spot           # where that left off: in which text,
    cdef int64_t caret         # at which offset,
    cdef int64_t caret_at      # at which revision,
    cdef bint blank            # and whether it ended in a space
    cdef Py_ssize_t edits      # in the group


cdef class _Plan:
    cdef str client
    cdef str user
    cdef uint8_t mark
    cdef int64_t revision      # the head that it was made for
    cdef object operation      # None: there is nothing to do
    cdef object whole          # while it is made: of the group so far
    cdef list items            # of the stack
    cdef Py_ssize_t left       # items that stay on the stack
    cdef Py_ssize_t groups     # that go
    cdef int64_t until         # the last revision before the lowest item that goes
    cdef UndoLog passed        # what others did, as the items below see it
    cdef int64_t cost          # microseconds that making it took, about

    cdef _Item top(self)
    cdef bint answers(self, str client, str user, uint8_t mark, int64_t revision) except -1


cdef class Undo:
    cdef readonly int64_t revision
    cdef int64_t base
    cdef UndoLog log           # of revisions base + 1 ... revision
    cdef dict stacks           # client -> _Stack
    cdef _Plan planned
    cdef Py_ssize_t occupied   # size of all items
    cdef Py_ssize_t max_groups
    cdef Py_ssize_t max_bytes
    cdef int64_t max_history
    cdef int64_t group_ms
    cdef readonly Py_ssize_t dropped
    cdef readonly int64_t labour  # microseconds that making what was done took, about: whoever replays the log makes it again

    cdef Undo emptied(self)
    cdef object find(self, str client, str user, uint8_t mark)
    cdef _Plan plan(self, str client, str user, uint8_t mark, bint quick)
    cdef bint make(self, _Plan plan) except -1
    cdef int add(self, _Plan plan, _Item item, object lifted, UndoLog passed) except -1
    cdef int keep(
        self, str client, str user, uint8_t mark, bint undoable, object operation, object undoing, Py_ssize_t size, double time
    ) except -1
    cdef int edit(self, _Stack stack, object operation, object undoing, bint may_join, int64_t time) except -1
    cdef bint continues(self, _Stack stack, object spot, const Stroke *stroke, int64_t time) except -1
    cdef int take(self, _Stack stack, uint8_t mark, object operation, object undoing) except -1
    cdef int push(self, list items, object operation, bint joins) except -1
    cdef int count(self, _Item item) except -1
    cdef int cut(self, list items, Py_ssize_t start, Py_ssize_t end) except -1
    cdef int drop_oldest(self, _Stack stack, list items) except -1
    cdef int discard(self, _Stack stack) except -1
    cdef int sweep(self, int64_t floor) except -1
    cdef int squeeze(self) except -1
    cdef int read(self, int64_t revision, Source source) except -1
    cdef list read_items(self, Source source)
    cdef int write_items(self, Writer out, list items) except -1
