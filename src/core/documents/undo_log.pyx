"""What undo needs to know of a type of documents: what others did, kept for all clients at once, and what an undo is made of.

``Undo`` (undo.pyx) is the fold, the same for all; there are two logs: ``Steps`` (steps.pyx) for texts, arrays of C; ``ValueLog``
(value_log.pyx) for any ``DocumentType``. Also here: how a snapshot of it is read.

A *step* is what one committed operation did; of what nobody has to see it does nothing. *undoing*: what the engine gives with an
operation that is applied, from which ``inverse`` makes the operation back.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.storage.record_format cimport Writer, column_varint, damaged
from syncline.core.ot.components cimport MAX_LENGTH


cdef int64_t NEVER_LITTLE = 2**62


cdef class UndoLog:
    """Not for use by itself. Ranges are of steps, and inside the log."""

    cdef UndoLog emptied(self):
        """Another one, without steps."""
        raise NotImplementedError

    cdef int append(self, object operation, Py_ssize_t size) except -1:
        """``size``: bytes of the operation in the log of the document, where that is known, or -1. None does nothing."""
        raise NotImplementedError

    cdef int extend(self, UndoLog other, Py_ssize_t start, Py_ssize_t end) except -1:
        """Those of ``other`` in the range that do something."""
        raise NotImplementedError

    cdef int drop(self, Py_ssize_t count) except -1:
        """Forgets the first ``count``, which is at most ``self.count``. O(what is left)."""
        raise NotImplementedError

    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) except -1:
        """Whether none of the range does anything."""
        raise NotImplementedError

    cdef object move(self, object spot, int64_t *caret, Py_ssize_t start, Py_ssize_t end):
        """Takes a caret past the steps of the range (an insert just at it leaves it where it is). ``spot``: which text it is in, of types that
        have several; None: the one there is. Returns the spot after that, False where it is gone."""
        raise NotImplementedError

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        """About what the steps occupy in memory, in bytes."""
        return 0

    # Operations that undo

    cdef int64_t labour(
        self, object operation, UndoLog pending, Py_ssize_t start, Py_ssize_t end, UndoLog passed
    ) except -1:
        """About how many microseconds it takes at most to lift ``operation`` past ``pending`` (or None), the range of these steps, and
        ``passed``. O(1). Where that is never little, only ``lifting`` is asked for it, not ``lift``."""
        return NEVER_LITTLE

    cdef object lift(self, object operation, UndoLog steps, Py_ssize_t start, Py_ssize_t end, UndoLog out):
        """``operation`` after the steps of the range, and to ``out`` those steps after ``operation``; both start in the same content. One at a
        time, the operation on the left: so the result does not depend on how a history is cut into ranges. Raises SynclineError."""
        raise NotImplementedError

    def lifting(self, operation, UndoLog steps, Py_ssize_t start, Py_ssize_t end, UndoLog out, list budget):
        """The same in parts, between which others may work. ``budget``: its item goes down by about the microseconds that are spent."""
        raise NotImplementedError

    cdef object compose(self, object first, object second):
        """What both do, one after the other."""
        raise NotImplementedError

    cdef bint is_identity(self, object operation) except -1:
        raise NotImplementedError

    cdef bint is_same(self, object planned, object applied) except -1:
        """Whether ``applied`` is what was committed of ``planned``."""
        raise NotImplementedError

    cdef int check(self, object operation) except -1:
        """Raises SynclineError for what is too large to be submitted."""
        return 0

    def undoing(self, operation, inverse):
        """What an engine gives for ``operation``, which ``inverse`` undoes. Raises ValueError for operations of another kind."""
        return inverse

    cdef bint changes(self, object operation, object undoing) except -1:
        """Whether there is anything to undo."""
        raise NotImplementedError

    cdef object stroke(self, object operation, object undoing, Stroke *stroke):
        """Typing or deleting a few characters at one place, or CLOSED; returns the spot."""
        raise NotImplementedError

    cdef object inverse(self, object operation, object undoing):
        """What undoes ``operation`` in the content after it."""
        raise NotImplementedError

    cdef object grown(self, object operation, object undoing, object top):
        """The inverse of ``operation``, and then ``top``, which applies where that leads."""
        raise NotImplementedError

    cdef Py_ssize_t weigh(self, object operation) except -1:
        """About what an item of it occupies in memory, in bytes."""
        raise NotImplementedError

    # In a snapshot

    cdef int write(self, Writer out) except -1:
        """All steps. Of those that do nothing the number: they come in long runs."""
        raise NotImplementedError

    cdef int write_operation(self, Writer out, object operation) except -1:
        raise NotImplementedError

    cdef int write_spot(self, Writer out, object spot) except -1:
        return 0

    cdef UndoLog read(self, Source source, int64_t limit):
        """Another one, of at most ``limit`` steps. Raises ValueError."""
        raise NotImplementedError

    cdef object read_operation(self, Source source):
        raise NotImplementedError

    cdef object read_spot(self, Source source):
        return None


@cython.final
cdef class Source:
    """Walks what was written. Every method raises ValueError rather than read past the end."""

    def __init__(self, bytes body not None):
        self.body = body
        self.whole.data = <const uint8_t *>PyBytes_AS_STRING(body)
        self.whole.end = PyBytes_GET_SIZE(body)

    cdef int64_t number(self, int64_t limit) except -1:
        """From 0 to ``limit``."""
        return <int64_t>column_varint(&self.whole, <uint64_t>limit)

    cdef bytes chunk(self):
        """Bytes after their number."""
        cdef int64_t length = self.number(4 * MAX_LENGTH)
        cdef const char *start = <const char *>self.whole.data + self.whole.at
        if length > self.whole.end - self.whole.at:
            raise damaged("cut off")
        self.whole.at += length
        return start[:length]

    cdef str text(self):
        return self.chunk().decode("utf-8")
