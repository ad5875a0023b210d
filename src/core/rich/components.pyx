"""Arrays of rich text components: what deltas are made of.

A piece is (kind, length, attributes, embed). `pieces_push` is quill-delta's `push`: equal neighbours become one; what is
inserted goes before what is deleted at the same place, since it makes no difference to the document. The order of what
is inserted never changes, so that the inserted texts can stand elsewhere, one after another (as in ot.pyx).

A piece owns a reference to its attributes and embed. Those are never changed, so sharing is free.
"""

from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF, Py_XINCREF
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memmove

from syncline.core.values.attributes cimport same_attributes, same_value
from syncline.core.ot.components cimport DELETE, INSERT, MAX_LENGTH, RETAIN, invalid


cdef void pieces_open(Pieces *self) noexcept:  # only sets fields
    self.items = self.local
    self.count = 0
    self.capacity = 8


cdef void pieces_release(Piece *items, Py_ssize_t count) noexcept:  # drops references to dicts of JSON, runs no code
    cdef Py_ssize_t index
    for index in range(count):
        Py_XDECREF(items[index].attributes)
        Py_XDECREF(items[index].embed)


cdef void pieces_close(Pieces *self) noexcept:  # only frees
    pieces_release(self.items, self.count)
    if self.items != self.local:
        free(self.items)
    self.items = self.local
    self.count = 0


cdef int pieces_grow(Pieces *self) except -1:
    cdef Piece *grown
    if self.items == self.local:
        grown = <Piece *>malloc(4 * self.capacity * sizeof(Piece))
        if grown != NULL:
            memcpy(grown, self.local, self.count * sizeof(Piece))
    else:
        grown = <Piece *>realloc(self.items, 2 * self.capacity * sizeof(Piece))
    if grown == NULL:
        raise MemoryError()
    self.capacity *= 4 if self.items == self.local else 2
    self.items = grown
    return 0


cdef bint attributes_same(PyObject *a, PyObject *b) except -1:
    if a == b:
        return True
    if a == NULL or b == NULL:
        return False
    return same_attributes(<dict>a, <dict>b)


cdef int pieces_push(Pieces *self, int kind, int64_t length, PyObject *attributes, PyObject *embed) except -1:
    """Appends a piece, or adds it to an equal neighbour; leaves out an empty one. Takes references of its own.

    Raises SynclineError(operation_invalid) when a length overflows.
    """
    cdef Py_ssize_t at = self.count
    cdef Piece *last
    if length <= 0:
        return 0
    if length > MAX_LENGTH:
        raise invalid("a length over 2147483647")
    if at and kind == INSERT and self.items[at - 1].kind == DELETE:
        at -= 1
    if at:
        last = &self.items[at - 1]
        if (
            last.kind == kind
            and embed == NULL
            and last.embed == NULL
            and (kind == DELETE or attributes_same(last.attributes, attributes))
        ):
            if last.length + length > MAX_LENGTH:
                raise invalid("a length over 2147483647")
            last.length += <int32_t>length
            return 0
    if self.count == self.capacity:
        pieces_grow(self)
    if at < self.count:
        memmove(&self.items[at + 1], &self.items[at], (self.count - at) * sizeof(Piece))
    self.items[at].kind = <int32_t>kind
    self.items[at].length = <int32_t>length
    self.items[at].attributes = attributes
    self.items[at].embed = embed
    self.count += 1
    Py_XINCREF(attributes)
    Py_XINCREF(embed)
    return 0


cdef int pieces_same(const Piece *a, const Piece *b, Py_ssize_t count) except -1:
    """Whether the first ``count`` of both are equal."""
    cdef Py_ssize_t index
    for index in range(count):
        if a[index].kind != b[index].kind or a[index].length != b[index].length:
            return False
        if (a[index].embed == NULL) != (b[index].embed == NULL):
            return False
        if not attributes_same(a[index].attributes, b[index].attributes):
            return False
        if a[index].embed != NULL and not same_value(<object>a[index].embed, <object>b[index].embed):
            return False
    return True
