"""Arrays of rich text components. See rich/components.pyx."""

from cpython.object cimport PyObject
from libc.stdint cimport int32_t, int64_t

cdef struct Piece:
    PyObject *attributes  # a dict of attributes.pyx, owned; NULL: none
    PyObject *embed       # an embed, owned; only of an insert of length 1. NULL: text, or no insert
    int32_t kind          # Kind of ot/components.pxd
    int32_t length        # > 0, in UTF-16 units

# A growable list of pieces that keeps itself canonical. It points into itself while short: never copy one.
cdef struct Pieces:
    Piece *items
    Py_ssize_t count
    Py_ssize_t capacity
    Piece local[8]

# Hands out pieces bit by bit; behind the end it retains for ever.
cdef struct Cursor:
    const Piece *at
    const Piece *end
    int64_t left

cdef void pieces_open(Pieces *self) noexcept
cdef void pieces_close(Pieces *self) noexcept
cdef void pieces_release(Piece *items, Py_ssize_t count) noexcept
cdef int pieces_push(Pieces *self, int kind, int64_t length, PyObject *attributes, PyObject *embed) except -1
cdef int pieces_same(const Piece *a, const Piece *b, Py_ssize_t count) except -1
cdef bint attributes_same(PyObject *a, PyObject *b) except -1

cdef inline PyObject *pointer(object value) noexcept:  # borrowed
    return NULL if value is None else <PyObject *>value

cdef inline dict as_dict(PyObject *value):
    return None if value == NULL else <dict>value

cdef inline void cursor_open(Cursor *self, const Piece *items, Py_ssize_t count) noexcept:  # only sets fields
    self.at = items
    self.end = items + count
    self.left = items[0].length if count else (<int64_t>1 << 40)

cdef inline void cursor_skip(Cursor *self, int64_t length) noexcept:  # length <= left
    self.left -= length
    if self.left == 0:
        self.at += 1
        self.left = self.at[0].length if self.at != self.end else (<int64_t>1 << 40)
