"""The native face of position_map.pyx, for document.pyx."""

from libc.stdint cimport int32_t, int64_t

from syncline.core.ot.ot cimport Operation
from syncline.core.ot.components cimport Part, Parts

cdef enum:
    LEAF = 96  # spans in a leaf, and
    FAN = 32   # children of an inner node: the same 768 bytes

cdef struct Branches:
    int64_t bases[FAN]  # cells of the base below each child
    int64_t heads[FAN]  # cells of the head below each child
    Node *children[FAN]

cdef union Content:
    Part spans[LEAF]
    Branches below

cdef struct Node:
    Node *parent
    int32_t slot   # its index in the parent
    int32_t count
    int32_t level  # 0: a leaf
    Content at

# A place in the map that only moves forward: a span, and the cells of base and head before it.
cdef struct Place:
    const Node *leaf
    Py_ssize_t index
    int64_t base
    int64_t head
    int64_t end  # cells of the base up to the end of the leaf


cdef class PositionMap:
    cdef Node *root
    cdef Node *leaf         # where the last fold ended,
    cdef int64_t leaf_head  # the cells of the head before it
    cdef int64_t leaf_size  # and in it
    cdef int64_t head       # cells of the head, the endless tail among them
    cdef int64_t put        # of which the history has inserted so many
    cdef Py_ssize_t nodes
    cdef Py_ssize_t max_nodes
    cdef readonly Py_ssize_t operations
    cdef bint utf16
    cdef bint broken

    cdef Node *new_node(self, int level) except NULL
    cdef int split(self, Node *node) except -1
    cdef void grow(self, int64_t cells) noexcept
    cdef void seek(self, int64_t at) noexcept
    cdef Py_ssize_t room(self, int64_t at, int64_t *offset) except -1
    cdef int insert_cells(self, int64_t at, int64_t length) except -1
    cdef int delete_cells(self, int64_t at, int64_t length) except -1
    cdef int fold(self, const Part *parts, Py_ssize_t count) except -1
    cdef void find(self, Place *place, int64_t cell) noexcept
    cdef int64_t rank(self, Place *place, int64_t position) noexcept
    cdef int move_parts(self, const Part *parts, Py_ssize_t count, Parts *out) except -1
    cdef int spans(self, Parts *out) except -1
    cdef int64_t move(self, int64_t position) except -1
    cdef Py_ssize_t size(self) noexcept
