"""The native face of document.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.documents.engine cimport Caret, Engine
from syncline.core.documents.undo cimport Undo
from syncline.core.storage.window cimport Commit, Window


cdef class Document(Window):
    cdef readonly Engine engine
    cdef dict carets             # client -> Caret
    cdef int64_t carets_from     # none of them is older
    cdef int64_t led_at          # the revision at which all of them were found
    cdef list late               # clients whose turn it is to be taken on, the last one first
    cdef Undo stacks             # what each client can undo
    cdef readonly bint torn      # while something is applied, and after an unforeseen error in that
    cdef readonly str undo_lost  # why nothing of what could be undone was in the snapshot that was loaded, or None

    cdef object accept(
        self, str client, str user, object seq, object base, object operation, bint utf16, double time
    )
    cdef object commit(
        self, str client, str user, int64_t number, object operation, uint8_t mark, uint64_t digest, double time
    )
    cdef int require_empty(self) except -1
    cdef int append(self, Commit entry, bint first) except -1
    cdef int follow(self, str client, Commit entry) except -1
    cdef int64_t bring_on(self, str client, Caret caret, int64_t room) except -1
    cdef int gather(self, int64_t lowest) except -1
    cdef int lead(self) except -1
    cdef int keep_caret(self, str client, Caret caret) except -1
