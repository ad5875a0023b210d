"""What a ``Document`` is a document of: content and operations, behind nine virtual methods and some questions.

    what arrives  --read-->  digest  --climb-->  operation at the head  --make-->  Commit, content after it

There are two. ``TextEngine`` (text_engine.pyx) is the fast one: C arrays, a gap buffer, a ladder past what was committed.
``ValueEngine`` (value_engine.pyx) is any ``DocumentType``. An engine belongs to one document, which keeps the window, who has
committed what, undo and cursors, and hands its window over where an engine has to look back.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.storage.window cimport Commit, Window


cdef class Caret:
    """A client's selection; positions are the engine's."""


cdef class Engine:
    """Not for use by itself."""

    cdef uint64_t read(self, Arrival *arrival, object value, bint utf16) except? 0:
        """Checks what arrived, in one pass, and keeps it until ``drop``; returns its digest. Raises SynclineError."""
        raise NotImplementedError

    cdef int drop(self, Arrival *arrival) noexcept:  # frees memory
        """Forgets what was read; there may be nothing."""
        self.arrived = None
        return 0

    cdef object climb(
        self, Arrival *arrival, Window window, str client, int64_t seq, uint64_t digest, int64_t base
    ):
        """What was read, as an operation at the head. (client, seq, digest) names it.

        Raises SynclineError, TooFarBehind before any work, Laborious when the work is too much at once.
        """
        raise NotImplementedError

    cdef Commit make(
        self, str client, str user, int64_t seq, object operation, uint8_t mark, uint64_t digest, double time
    ):
        """Applies an operation that is at the head. All or nothing; raises SynclineError."""
        raise NotImplementedError

    cdef int take(self, Commit commit, int64_t revision) except -1:
        """Applies a stored commit again, as ``revision``. Raises SynclineError, or ValueError, when it does not fit."""
        raise NotImplementedError

    cdef int rise(self, Commit commit) except -1:
        """``commit`` leaves the window at its old end."""
        return 0

    cdef Caret caret(self):
        """A new one; None: there are no cursors."""
        return None

    cdef bint follow(self, Caret caret, Commit commit) except -1:
        """Sets its author's caret to the end of what the newest commit did. Whether it says anything about that."""
        return False

    cdef int64_t bring_on(self, Window window, Caret caret, int64_t room) except -1:
        """From ``caret.revision`` to the head; an insert at a caret leaves it where it is (the tie rule). Returns about how many
        microseconds that took; when it is ``room``, the caret may be at a revision before the head."""
        caret.revision = window.revision
        return 0
