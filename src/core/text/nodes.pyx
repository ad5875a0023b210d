"""The nodes of chunks.pyx's trees: taken from spares that were reserved, given back, their children moved about."""

from cpython.exc cimport PyErr_NoMemory
from libc.stdint cimport int32_t, uint16_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef extern from "Python.h":
    void Py_FatalError(const char *message) noexcept

# Spare nodes that stay when an edit is done, so that the next one seldom allocates.
cdef Py_ssize_t SPARE_LEAVES = 4
cdef Py_ssize_t SPARE_INNERS = 8

cdef Py_ssize_t live = 0
cdef Py_ssize_t missing = 0


def live_chunks() -> int:
    """How many nodes of trees are allocated in this process; for leak tests."""
    return live


def missing_chunks() -> int:
    """How many nodes were needed beyond what was reserved, in this process; tests hold it at 0."""
    return missing


cdef Tree *tree_new(int leaf_cells, int fanout) except NULL:
    """An empty text. Chunks of ``leaf_cells`` (>= 8), inner nodes of ``fanout`` children (4 to FANOUT)."""
    cdef Tree *self = <Tree *>malloc(sizeof(Tree))
    if self == NULL:
        raise MemoryError()
    self.root = NULL
    self.depth = 0
    self.leaf_cells = leaf_cells
    self.fanout = fanout
    self.size = self.wide = self.start = self.grown = self.widened = 0
    self.dirty = False
    self.spare_leaves = self.spare_inners = NULL
    self.leaves = self.inners = self.leaves_spare = self.inners_spare = 0
    try:
        tree_reserve(self, 0, 1)
    except MemoryError:
        tree_free(self)
        raise
    self.leaf = take_leaf(self)
    self.root = self.leaf
    return self


cdef Tree *tree_copy(Tree *source) except NULL:
    """The same text in nodes of its own. O(text)."""
    cdef Tree *self = tree_new(source.leaf_cells, source.fanout)
    try:
        settle(source)
        self.leaf = NULL
        free_nodes(self.root, 0)
        self.root = NULL
        self.root = copy_nodes(source, source.root, source.depth)
    except MemoryError:
        tree_free(self)
        raise
    self.leaves, self.inners = source.leaves, source.inners
    self.depth = source.depth
    self.size = source.size
    self.wide = source.wide
    return self


cdef void *copy_nodes(Tree *source, void *node, int depth) except NULL:
    global live
    cdef size_t size = sizeof(Inner) if depth else sizeof(Leaf) + source.leaf_cells * sizeof(uint16_t)
    cdef void *twin = malloc(size)
    cdef Inner *inner
    cdef int index
    if twin == NULL:
        raise MemoryError()
    live += 1
    memcpy(twin, node, size)
    if depth:
        inner = <Inner *>twin
        inner.count = 0
        try:
            for index in range((<Inner *>node).count):
                inner.children[index] = copy_nodes(source, (<Inner *>node).children[index], depth - 1)
                inner.count += 1
        except MemoryError:
            free_nodes(twin, depth)
            raise
    return twin


cdef int tree_check(Tree *self) except -1:
    """For tests: the invariants of chunks.pyx."""
    cdef Py_ssize_t size = 0, wide = 0
    settle(self)
    check_nodes(self, self.root, self.depth, &size, &wide)
    assert size == self.size and wide == self.wide
    assert self.depth == 0 or (<Inner *>self.root).count >= 2
    return 0


cdef int check_nodes(Tree *self, void *node, int depth, Py_ssize_t *size, Py_ssize_t *wide) except -1:
    """Adds up what is below ``node``."""
    cdef Py_ssize_t before, wide_before
    cdef Inner *inner
    cdef Leaf *leaf
    cdef uint16_t *cells
    cdef int index
    if depth:
        inner = <Inner *>node
        assert 1 <= inner.count <= self.fanout
        for index in range(inner.count):
            before, wide_before = size[0], wide[0]
            check_nodes(self, inner.children[index], depth - 1, size, wide)
            assert inner.sizes[index] == size[0] - before and inner.wides[index] == wide[0] - wide_before
        return 0
    leaf = <Leaf *>node
    cells = <uint16_t *>(leaf + 1)
    assert 0 <= leaf.start <= leaf.end <= self.leaf_cells
    assert self.depth == 0 or leaf.end - leaf.start < self.leaf_cells
    before = wide_before = 0
    for index in range(self.leaf_cells):
        if index == leaf.start or index == leaf.end:
            assert before == 0
        if leaf.start <= index < leaf.end:
            continue
        assert (cells[index] & 0xFC00 == 0xDC00) == (before == 1)
        before = cells[index] & 0xFC00 == 0xD800
        wide_before += before
        size[0] += 1
    assert before == 0 and leaf.wide == wide_before
    wide[0] += wide_before
    return 0


cdef void tree_free(Tree *self) noexcept:  # only frees
    if self == NULL:
        return
    if self.root != NULL:
        free_nodes(self.root, self.depth)
    free_spares(self, 0, 0)
    free(self)


cdef void free_nodes(void *node, int depth) noexcept:  # only frees
    global live
    cdef Inner *inner
    cdef int index
    if depth:
        inner = <Inner *>node
        for index in range(inner.count):
            free_nodes(inner.children[index], depth - 1)
    free(node)
    live -= 1


cdef void free_spares(Tree *self, Py_ssize_t leaves, Py_ssize_t inners) noexcept:  # only frees
    """All but so many."""
    drop_spares(&self.spare_leaves, &self.leaves_spare, leaves)
    drop_spares(&self.spare_inners, &self.inners_spare, inners)


cdef void drop_spares(void **first, Py_ssize_t *count, Py_ssize_t kept) noexcept:  # only frees
    global live
    cdef void *node
    while count[0] > kept:
        node = first[0]
        first[0] = (<void **>node)[0]
        free(node)
        live -= 1
        count[0] -= 1


cdef int add_spares(void **first, Py_ssize_t *count, Py_ssize_t wanted, size_t size) except -1:
    global live
    cdef void *node
    while count[0] < wanted:
        node = malloc(size)
        if node == NULL:
            PyErr_NoMemory()
        (<void **>node)[0] = first[0]
        first[0] = node
        live += 1
        count[0] += 1
    return 0


cdef int tree_reserve(Tree *self, Py_ssize_t cells, Py_ssize_t inserts) except -1:
    """Enough nodes for so many insertions of so many cells together, and deletions between them. Raises MemoryError, with the text
    as it was.

    One insertion splits a chunk, and fills new ones but for an eighth and half a pair, the last as far as it goes. It may split the
    whole way up; after that, along a run of new chunks, an inner node splits once in half a fan-out, its parents more seldom: less
    than one inner node in all for each half - 1 chunks.

    Many insertions take fewer than two chunks each, or a list of 49,000 single characters would reserve half a gigabyte. Say a chunk
    has in credit what it holds above half its size. A short insertion (up to a quarter of a chunk) splits only what is three quarters
    full, and the halves have no credit: so a quarter of a chunk is used up, of what the chunks had at the beginning (at most half of
    each) and of what was inserted. It adds a chunk between two only if both are three quarters full, and that one must be filled
    before it happens there again. A long insertion splits one chunk anywhere and begins one; there are at most cells / quarter. When
    two chunks become one, that adds no more credit than the chunk which is given back is worth. Together less than four chunks
    for each that there is and for each quarter inserted. Inner nodes likewise: a split takes half a fan-out of children.
    """
    cdef Py_ssize_t quarter = self.leaf_cells // 4, half = self.fanout // 2
    cdef Py_ssize_t splits = 2 * inserts
    cdef Py_ssize_t leaves, inners
    if inserts == 1 and cells <= quarter and self.leaves_spare >= 2 and self.inners_spare >= self.depth + 4:
        return 0  # typing
    if quarter >= 8:
        splits = min(splits, 4 * self.leaves + 4 * (cells // quarter) + 8)
    leaves = splits + cells // (filled(self) - 1)
    inners = (self.depth + 1) * min(inserts, splits) + leaves // (half - 1) + 1
    if half >= 8:
        inners = min(inners, 2 * self.inners + 2 * (leaves // (half - 1)) + self.depth + 2)
    if cells > self.leaf_cells or inserts > 1:
        inners += 8 if self.fanout >= 16 else MAX_DEPTH  # what grows above the root meanwhile
    if leaves > self.leaves_spare or inners > self.inners_spare:
        try:
            add_spares(&self.spare_leaves, &self.leaves_spare, leaves, leaf_size(self))
            add_spares(&self.spare_inners, &self.inners_spare, inners, sizeof(Inner))
        except MemoryError:
            tree_release(self)
            raise
    return 0


cdef void tree_release(Tree *self) noexcept:  # only frees
    """Gives back what was reserved and not needed, and what deletions left."""
    if self.leaves_spare > SPARE_LEAVES or self.inners_spare > SPARE_INNERS:
        free_spares(self, SPARE_LEAVES, SPARE_INNERS)


cdef inline Py_ssize_t leaf_size(Tree *self) noexcept:  # arithmetic
    return sizeof(Leaf) + self.leaf_cells * sizeof(uint16_t)


cdef void *unreserved(size_t size) noexcept:
    """A node all the same, should the bound above be wrong: the edit is half done, so only want of memory ends it."""
    global live, missing
    cdef void *node = malloc(size)
    if node == NULL:
        Py_FatalError("syncline.core.text.chunks: no memory in the middle of an edit")
    live += 1
    missing += 1
    return node


cdef Leaf *take_leaf(Tree *self) noexcept:  # what was reserved
    cdef Leaf *leaf = <Leaf *>self.spare_leaves
    if leaf == NULL:
        leaf = <Leaf *>unreserved(leaf_size(self))
    else:
        self.spare_leaves = (<void **>leaf)[0]
        self.leaves_spare -= 1
    self.leaves += 1
    leaf.start = 0
    leaf.end = self.leaf_cells
    leaf.wide = 0
    leaf.hashed = False
    return leaf


cdef Inner *take_inner(Tree *self) noexcept:  # as take_leaf
    cdef Inner *inner = <Inner *>self.spare_inners
    if inner == NULL:
        inner = <Inner *>unreserved(sizeof(Inner))
    else:
        self.spare_inners = (<void **>inner)[0]
        self.inners_spare -= 1
    self.inners += 1
    inner.count = 0
    inner.hashed = False
    return inner


cdef void give_leaf(Tree *self, Leaf *leaf) noexcept:  # links it into a list
    # Kept until the edit is done: what it inserts further on may count on it.
    (<void **>leaf)[0] = self.spare_leaves
    self.spare_leaves = leaf
    self.leaves -= 1
    self.leaves_spare += 1


cdef void give_inner(Tree *self, Inner *inner) noexcept:  # as give_leaf
    (<void **>inner)[0] = self.spare_inners
    self.spare_inners = inner
    self.inners -= 1
    self.inners_spare += 1


cdef void insert_child(Inner *inner, int at, void *node, Py_ssize_t size, Py_ssize_t wide) noexcept:  # there is room
    memmove(&inner.children[at + 1], &inner.children[at], (inner.count - at) * sizeof(void *))
    memmove(&inner.sizes[at + 1], &inner.sizes[at], (inner.count - at) * sizeof(int32_t))
    memmove(&inner.wides[at + 1], &inner.wides[at], (inner.count - at) * sizeof(int32_t))
    inner.children[at] = node
    inner.sizes[at] = <int32_t>size
    inner.wides[at] = <int32_t>wide
    inner.count += 1


cdef void remove_child(Inner *inner, int at) noexcept:  # moves memory inside the node
    inner.count -= 1
    memmove(&inner.children[at], &inner.children[at + 1], (inner.count - at) * sizeof(void *))
    memmove(&inner.sizes[at], &inner.sizes[at + 1], (inner.count - at) * sizeof(int32_t))
    memmove(&inner.wides[at], &inner.wides[at + 1], (inner.count - at) * sizeof(int32_t))


cdef void move_children(Inner *source, Inner *target, int first) noexcept:  # there is room
    """The children from ``first`` on go behind the target's."""
    cdef int count = source.count - first
    memcpy(&target.children[target.count], &source.children[first], count * sizeof(void *))
    memcpy(&target.sizes[target.count], &source.sizes[first], count * sizeof(int32_t))
    memcpy(&target.wides[target.count], &source.wides[first], count * sizeof(int32_t))
    target.count += count
    source.count = first


cdef void settle(Tree *self) noexcept:  # writes sums
    """Sets right what the finger's edits left undone above it."""
    cdef int level
    if self.dirty:
        for level in range(self.depth):
            self.path[level].sizes[self.slots[level]] += <int32_t>self.grown
            self.path[level].wides[self.slots[level]] += <int32_t>self.widened
            self.path[level].hashed = False
        self.grown = self.widened = 0
        self.dirty = False
