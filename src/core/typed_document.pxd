"""The native face of typed_document.pyx."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from syncline.core.window cimport Commit, Window


cdef class TypedEntry(Commit):
    cdef readonly object type
    cdef readonly object operation
    cdef readonly bytes payload  # the operation as bytes, for the log
    cdef int64_t weight          # of the operation, as its type weighs it

    cdef Py_ssize_t footprint(self) noexcept


cdef class TypedDocument(Window):
    cdef readonly object type
    cdef object held             # the content
    cdef readonly int64_t size   # of the content, as the type counts it
    cdef int64_t max_length
    cdef object stacks           # typed_undo.TypedUndo
    cdef dict carets             # client -> (anchor, head), at the head
    cdef int64_t hash_revision   # whose hash is ``hash_known``; -1: it is not known
    cdef uint32_t hash_known
    cdef tuple prepared          # (what for, an operation at the head) by ``Laborious.steps``; None: nothing is

    cdef object accept(
        self, str client, str user, int64_t number, object operation, str kind, uint64_t digest, double time
    )
    cdef tuple make(self, object operation, object limit)
    cdef object take_prepared(self, tuple key)
    cdef object rebase(self, object operation, int64_t base, tuple key)
    cdef int move_carets(self, TypedEntry entry) except -1
    cdef int keep_caret(self, str client, object caret) except -1
