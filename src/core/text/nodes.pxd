"""The native face of nodes.pyx: trees of chunks, which chunks.pyx edits and reads."""

from libc.stdint cimport int32_t, uint16_t, uint32_t

cdef enum:
    FANOUT = 64     # children of an inner node, at most
    MAX_DEPTH = 40  # inner levels; five hold 2^31 cells

# A chunk: a gap buffer of `leaf_cells` cells, which follow the struct.
cdef struct Leaf:
    int32_t start    # of the gap
    int32_t end
    int32_t wide     # characters above U+FFFF
    bint hashed      # crc is that of the cells
    uint32_t crc

cdef struct Inner:
    int32_t count
    bint hashed
    uint32_t crc
    int32_t sizes[FANOUT]
    int32_t wides[FANOUT]
    void *children[FANOUT]

cdef struct Tree:
    void *root
    int depth              # inner levels; 0: the root is a leaf
    int leaf_cells
    int fanout
    Py_ssize_t size
    Py_ssize_t wide
    # The finger: the chunk of the last edit and the way to it. Sums on the way lack `grown` and `widened`.
    Leaf *leaf             # NULL: nowhere
    Py_ssize_t start       # offset of its first cell
    Py_ssize_t grown
    Py_ssize_t widened
    bint dirty             # edited since the way was last set right
    Inner *path[MAX_DEPTH]
    int32_t slots[MAX_DEPTH]
    Py_ssize_t leaves      # in the tree
    Py_ssize_t inners
    # Nodes in reserve, linked through their first bytes.
    void *spare_leaves
    void *spare_inners
    Py_ssize_t leaves_spare
    Py_ssize_t inners_spare

cdef Tree *tree_new(int leaf_cells, int fanout) except NULL
cdef Tree *tree_copy(Tree *source) except NULL
cdef void tree_free(Tree *self) noexcept
cdef int tree_check(Tree *self) except -1
cdef int tree_reserve(Tree *self, Py_ssize_t cells, Py_ssize_t inserts) except -1
cdef void tree_release(Tree *self) noexcept
cdef void settle(Tree *self) noexcept
cdef Leaf *take_leaf(Tree *self) noexcept
cdef Inner *take_inner(Tree *self) noexcept
cdef void give_leaf(Tree *self, Leaf *leaf) noexcept
cdef void give_inner(Tree *self, Inner *inner) noexcept
cdef void insert_child(Inner *inner, int at, void *node, Py_ssize_t size, Py_ssize_t wide) noexcept
cdef void remove_child(Inner *inner, int at) noexcept
cdef void move_children(Inner *source, Inner *target, int first) noexcept


cdef inline Py_ssize_t filled(Tree *self) noexcept:  # arithmetic
    """How far new chunks are filled: an eighth is left for the first edits."""
    return self.leaf_cells - self.leaf_cells // 8
