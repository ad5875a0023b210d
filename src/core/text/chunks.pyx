"""Large texts: a B+ tree whose leaves are chunks, gap buffers of a few kB of UTF-16.

Inner nodes hold for each child its size and its count of characters above U+FFFF, so that a position is found, and
converted to the other unit, in O(log n + chunk). A finger stays at the chunk of the last edit: edits within it touch
neither the tree nor, beyond the gap's way, other cells; the sums above it are set right when the finger leaves.

Invariants: no surrogate pair lies across a chunk's end or gap; no chunk but an only one is empty; all leaves are
equally deep; a root that is an inner node has two children at least. Chunks and inner nodes that an erasure leaves
less than a quarter full join a neighbour of the same parent when both then fill three quarters at most, so that the
next edits do not split them at once.

Callers check ranges and boundaries, and reserve (nodes.pyx): nothing here can fail. CRCs are kept by node and made anew
only where an edit has been.

Source: B+ trees with sums in place of keys, as in ropes (Boehm, Atkinson and Plass 1995), xi-rope and jumprope.
"""

from libc.stdint cimport int32_t, uint16_t, uint32_t
from libc.string cimport memcpy, memmove

from syncline.core.crc cimport crc_cells, crc_combine
from syncline.core.text.nodes cimport (
    MAX_DEPTH, Inner, Leaf, filled, give_inner, give_leaf, insert_child, move_children, remove_child, settle,
    take_inner, take_leaf,
)

cdef extern from "Python.h":
    void Py_FatalError(const char *message) noexcept


# ---------------------------------------------------------------------------------------------- one chunk, by itself


cdef inline uint16_t *cells_of(Leaf *leaf) noexcept:  # arithmetic
    return <uint16_t *>(leaf + 1)


cdef inline Py_ssize_t size_of(Tree *self, Leaf *leaf) noexcept:  # arithmetic
    return self.leaf_cells - (leaf.end - leaf.start)


cdef void move_gap(Tree *self, Leaf *leaf, Py_ssize_t offset) noexcept:  # moves memory inside the chunk
    cdef uint16_t *cells = cells_of(leaf)
    cdef Py_ssize_t distance
    if offset < leaf.start:
        distance = leaf.start - offset
        memmove(cells + leaf.end - distance, cells + offset, distance * sizeof(uint16_t))
        leaf.start -= <int32_t>distance
        leaf.end -= <int32_t>distance
    elif offset > leaf.start:
        distance = offset - leaf.start
        memmove(cells + leaf.start, cells + leaf.end, distance * sizeof(uint16_t))
        leaf.start += <int32_t>distance
        leaf.end += <int32_t>distance


cdef Py_ssize_t count_between(Leaf *leaf, Py_ssize_t start, Py_ssize_t end) noexcept:  # callers stay inside the chunk
    """Characters above U+FFFF in [start, end) of the chunk."""
    cdef Py_ssize_t middle = min(max(<Py_ssize_t>leaf.start, start), end), gap = leaf.end - leaf.start
    if leaf.wide == 0:
        return 0
    return count_high(cells_of(leaf) + start, middle - start) + count_high(cells_of(leaf) + middle + gap, end - middle)


cdef inline uint16_t cell_of(Leaf *leaf, Py_ssize_t offset) noexcept:  # callers stay inside the chunk
    return cells_of(leaf)[offset if offset < leaf.start else offset + (leaf.end - leaf.start)]


# -------------------------------------------------------------------------------------------------------- the finger


cdef void seek(Tree *self, Py_ssize_t position, bint inside) noexcept:  # callers stay inside the text
    """Puts the finger on the chunk where ``position`` lies; between two on the left one, unless ``inside``."""
    cdef Py_ssize_t rest = position - self.start
    cdef void *node = self.root
    cdef Inner *inner
    cdef int level, slot
    if self.leaf != NULL:
        if rest >= 0 and rest + inside <= size_of(self, self.leaf):
            return
        settle(self)
    rest = position + inside
    for level in range(self.depth):
        inner = <Inner *>node
        slot = 0
        while slot < inner.count - 1 and rest > inner.sizes[slot]:
            rest -= inner.sizes[slot]
            slot += 1
        self.path[level] = inner
        self.slots[level] = slot
        node = inner.children[slot]
    self.leaf = <Leaf *>node
    self.start = position + inside - rest


cdef bint next_leaf(Tree *self) noexcept:  # walks pointers
    """Moves the finger one chunk on, when the next one has the same parent."""
    cdef Inner *inner
    cdef int slot
    if self.depth == 0:
        return False
    inner = self.path[self.depth - 1]
    slot = self.slots[self.depth - 1] + 1
    if slot == inner.count:
        return False
    settle(self)
    self.start += size_of(self, self.leaf)
    self.slots[self.depth - 1] = slot
    self.leaf = <Leaf *>inner.children[slot]
    return True


# ------------------------------------------------------------------------------------------------------------ growth


cdef void attach(Tree *self, Leaf *leaf) noexcept:  # takes what was reserved
    """Puts ``leaf`` after the finger's; the sums above the finger are right, and lack the new one. Lifts the finger."""
    cdef Py_ssize_t size = size_of(self, leaf), wide = leaf.wide, moved, widened
    cdef void *node = leaf
    cdef int level = self.depth - 1, above, half = self.fanout // 2, at, index
    cdef Inner *inner
    cdef Inner *right
    for above in range(level):
        self.path[above].sizes[self.slots[above]] += <int32_t>size
        self.path[above].wides[self.slots[above]] += <int32_t>wide
        self.path[above].hashed = False
    self.size += size
    self.wide += wide
    self.leaf = NULL
    while level >= 0:
        inner = self.path[level]
        inner.hashed = False
        at = self.slots[level] + 1
        if inner.count < self.fanout:
            insert_child(inner, at, node, size, wide)
            return
        right = take_inner(self)
        move_children(inner, right, half)
        if at <= half:
            insert_child(inner, at, node, size, wide)
        else:
            insert_child(right, at - half, node, size, wide)
        moved = widened = 0
        for index in range(right.count):
            moved += right.sizes[index]
            widened += right.wides[index]
        if level:
            self.path[level - 1].sizes[self.slots[level - 1]] -= <int32_t>moved
            self.path[level - 1].wides[self.slots[level - 1]] -= <int32_t>widened
        node = right
        size = moved
        wide = widened
        level -= 1
    if self.depth == MAX_DEPTH:
        Py_FatalError("syncline.core.text.chunks: the tree is too deep")
    right = take_inner(self)
    insert_child(right, 0, self.root, self.size - size, self.wide - wide)
    insert_child(right, 1, node, size, wide)
    self.root = right
    self.depth += 1


cdef void split_leaf(Tree *self, Py_ssize_t offset) noexcept:  # takes what was reserved
    """Moves what lies behind ``offset`` of the finger's chunk into a new one. Lifts the finger."""
    cdef Leaf *leaf = self.leaf
    cdef Leaf *right = take_leaf(self)
    cdef Py_ssize_t count = size_of(self, leaf) - offset
    move_gap(self, leaf, offset)
    memcpy(cells_of(right), cells_of(leaf) + leaf.end, count * sizeof(uint16_t))
    right.start = <int32_t>count
    if leaf.wide:
        right.wide = <int32_t>count_high(cells_of(right), count)
    leaf.end = self.leaf_cells
    leaf.wide -= right.wide
    leaf.hashed = False
    self.size -= count
    self.wide -= right.wide
    self.grown -= count
    self.widened -= right.wide
    self.dirty = True
    settle(self)
    attach(self, right)


cdef void tree_write(
    Tree *self, Py_ssize_t position, int kind, const void *data, Py_ssize_t start, Py_ssize_t length, Py_ssize_t cells
) noexcept:  # takes what was reserved
    """Inserts ``length`` units of a source, which make ``cells`` cells, at a character boundary."""
    cdef Leaf *leaf
    cdef Py_ssize_t wide, offset
    seek(self, position, False)
    leaf = self.leaf
    if cells > leaf.end - leaf.start and position == self.start and position:
        # Between two chunks; the left one may have room, and no split leaves an empty one there.
        settle(self)
        self.leaf = NULL
        seek(self, position, False)
        leaf = self.leaf
    if cells > leaf.end - leaf.start:
        if cells > self.leaf_cells // 4:
            write_long(self, position, kind, data, start, length)
            return
        offset = size_of(self, leaf)
        if position < self.start + offset:
            offset //= 2
            split_leaf(self, offset - is_low(cell_of(leaf, offset)))
            seek(self, position, False)
        elif not room_behind(self, position, cells):
            # Typing at the end of a chunk leaves it full.
            settle(self)
            leaf = take_leaf(self)
            leaf.wide = <int32_t>encode(kind, data, start, length, cells_of(leaf))
            leaf.start = <int32_t>cells
            attach(self, leaf)
            return
        leaf = self.leaf
    move_gap(self, leaf, position - self.start)
    wide = encode(kind, data, start, length, cells_of(leaf) + leaf.start)
    leaf.start += <int32_t>cells
    leaf.hashed = False
    leaf.wide += <int32_t>wide
    self.size += cells
    self.wide += wide
    self.grown += cells
    self.widened += wide
    self.dirty = True


cdef bint room_behind(Tree *self, Py_ssize_t position, Py_ssize_t cells) noexcept:  # walks pointers
    """Moves the finger to the chunk that begins at ``position`` when that has room, else leaves it on the one that ends there.

    Without it, text put in at the same place again and again would take a chunk each time.
    """
    if position == self.size:
        return False
    seek(self, position, True)
    if cells <= self.leaf.end - self.leaf.start:
        return True
    settle(self)
    self.leaf = NULL
    seek(self, position, False)
    return False


cdef Py_ssize_t fitting(
    int kind, const void *data, Py_ssize_t start, Py_ssize_t length, Py_ssize_t room, Py_ssize_t *cells
) noexcept:  # reads the source
    """How many units of the source fill at most ``room`` cells without splitting a pair, and how many cells exactly."""
    cdef Py_ssize_t index = 0, width
    if kind == 4:
        cells[0] = 0
        while index < length:
            width = 1 + ((<const uint32_t *>data)[start + index] > 0xFFFF)
            if cells[0] + width > room:
                break
            cells[0] += width
            index += 1
        return index
    index = min(length, room)
    if kind == CELLS and 0 < index < length and is_low((<const uint16_t *>data)[start + index]):
        index -= 1
    cells[0] = index
    return index


cdef void write_long(
    Tree *self, Py_ssize_t position, int kind, const void *data, Py_ssize_t start, Py_ssize_t length
) noexcept:  # takes what was reserved
    """Cuts the finger's chunk at the position, fills up its left part, and goes on in chunks of their own."""
    cdef Leaf *leaf = self.leaf
    cdef Py_ssize_t cells, units
    if position - self.start < size_of(self, leaf):
        split_leaf(self, position - self.start)
        seek(self, position, False)
        leaf = self.leaf
    units = fitting(kind, data, start, length, filled(self) - size_of(self, leaf), &cells)
    if units > 0:
        tree_write(self, position, kind, data, start, units, cells)
        position += cells
        start += units
        length -= units
    while length:
        settle(self)
        leaf = take_leaf(self)
        units = fitting(kind, data, start, length, filled(self), &cells)
        leaf.wide = <int32_t>encode(kind, data, start, units, cells_of(leaf))
        leaf.start = <int32_t>cells
        attach(self, leaf)
        position += cells
        start += units
        length -= units
        seek(self, position, False)


# --------------------------------------------------------------------------------------------------------- shrinking


cdef void tree_erase(Tree *self, Py_ssize_t position, Py_ssize_t length) noexcept:  # callers stay inside the text
    """Removes cells between two character boundaries. O(log n + chunks)."""
    cdef Py_ssize_t offset, step, wide
    cdef Leaf *leaf
    while length:
        seek(self, position, True)
        leaf = self.leaf
        offset = position - self.start
        step = min(length, size_of(self, leaf) - offset)
        wide = leaf.wide if step == size_of(self, leaf) else count_between(leaf, offset, offset + step)
        # An erasure that touches the gap widens it in place, so that backspacing moves nothing.
        if offset <= leaf.start <= offset + step:
            leaf.end += <int32_t>(step - (leaf.start - offset))
            leaf.start = <int32_t>offset
        else:
            move_gap(self, leaf, offset)
            leaf.end += <int32_t>step
        leaf.hashed = False
        leaf.wide -= <int32_t>wide
        self.size -= step
        self.wide -= wide
        self.grown -= step
        self.widened -= wide
        self.dirty = True
        length -= step
        if self.depth and size_of(self, leaf) < self.leaf_cells // 4:
            shrink(self)


cdef void shrink(Tree *self) noexcept:  # frees and moves memory
    """The finger's chunk, which is small, goes when empty, or into a neighbour. Lifts the finger then."""
    cdef int level = self.depth - 1, slot = self.slots[level]
    cdef Inner *inner = self.path[level]
    cdef Py_ssize_t size = size_of(self, self.leaf), limit = self.leaf_cells * 3 // 4
    settle(self)
    if size:
        if slot + 1 < inner.count and size + inner.sizes[slot + 1] <= limit:
            slot += 1
        elif slot == 0 or size + inner.sizes[slot - 1] > limit:
            return
        # The right one of the two goes into the left one.
        join(self, <Leaf *>inner.children[slot - 1], <Leaf *>inner.children[slot])
        inner.sizes[slot - 1] += inner.sizes[slot]
        inner.wides[slot - 1] += inner.wides[slot]
    give_leaf(self, <Leaf *>inner.children[slot])
    self.leaf = NULL
    remove_child(inner, slot)
    while level > 0 and inner.count < self.fanout // 4 + (self.fanout < 8):
        inner = self.path[level - 1]
        slot = self.slots[level - 1]
        if not join_inners(self, inner, slot):
            break
        level -= 1
    while self.depth and (<Inner *>self.root).count == 1:
        inner = <Inner *>self.root
        self.root = inner.children[0]
        self.depth -= 1
        give_inner(self, inner)


cdef void join(Tree *self, Leaf *left, Leaf *right) noexcept:  # there is room
    cdef Py_ssize_t count = size_of(self, right)
    move_gap(self, left, size_of(self, left))
    move_gap(self, right, count)
    memcpy(cells_of(left) + left.start, cells_of(right), count * sizeof(uint16_t))
    left.start += <int32_t>count
    left.wide += right.wide
    left.hashed = False


cdef bint join_inners(Tree *self, Inner *parent, int slot) noexcept:  # frees and moves memory
    """The child at ``slot``, with few children of its own, goes when it has none, or into a neighbour; whether it did.
    """
    cdef Inner *inner = <Inner *>parent.children[slot]
    cdef int limit = self.fanout * 3 // 4
    if inner.count:
        if slot + 1 < parent.count and inner.count + (<Inner *>parent.children[slot + 1]).count <= limit:
            slot += 1
        elif slot == 0 or inner.count + (<Inner *>parent.children[slot - 1]).count > limit:
            return False
        inner = <Inner *>parent.children[slot]
        move_children(inner, <Inner *>parent.children[slot - 1], 0)
        (<Inner *>parent.children[slot - 1]).hashed = False
        parent.sizes[slot - 1] += parent.sizes[slot]
        parent.wides[slot - 1] += parent.wides[slot]
    give_inner(self, inner)
    remove_child(parent, slot)
    return True


# ----------------------------------------------------------------------------------------------------------- reading


cdef Py_ssize_t tree_piece(Tree *self, Py_ssize_t position, Py_ssize_t end, const uint16_t **cells) noexcept:
    """Cells from ``position`` (< size) on that lie in one row, before ``end``: where, and how many."""
    cdef Py_ssize_t offset
    cdef Leaf *leaf
    if self.leaf == NULL or position != self.start + size_of(self, self.leaf) or not next_leaf(self):
        seek(self, position, True)
    leaf = self.leaf
    offset = position - self.start
    if offset < leaf.start:
        cells[0] = cells_of(leaf) + offset
        return min(end - position, leaf.start - offset)
    cells[0] = cells_of(leaf) + offset + (leaf.end - leaf.start)
    return min(end - position, size_of(self, leaf) - offset)


cdef Py_ssize_t tree_wide_before(Tree *self, Py_ssize_t position) noexcept:  # callers stay inside the text
    """Characters above U+FFFF in [0, position), which ends on a character boundary. O(log n + chunk)."""
    cdef Py_ssize_t rest = position, wide = 0
    cdef void *node = self.root
    cdef Inner *inner
    cdef int level, slot
    settle(self)
    for level in range(self.depth):
        inner = <Inner *>node
        slot = 0
        while slot < inner.count - 1 and rest > inner.sizes[slot]:
            rest -= inner.sizes[slot]
            wide += inner.wides[slot]
            slot += 1
        node = inner.children[slot]
    return wide + count_between(<Leaf *>node, 0, rest)


cdef Py_ssize_t tree_seek_points(Tree *self, Py_ssize_t *points) noexcept:  # callers stay inside the text
    """Where the chunk begins in which the first ``points`` characters end; leaves there how many of them lie in it.
    O(log n).
    """
    cdef Py_ssize_t offset = 0
    cdef void *node = self.root
    cdef Inner *inner
    cdef int level, slot
    settle(self)
    for level in range(self.depth):
        inner = <Inner *>node
        slot = 0
        while slot < inner.count - 1 and points[0] > inner.sizes[slot] - inner.wides[slot]:
            points[0] -= inner.sizes[slot] - inner.wides[slot]
            offset += inner.sizes[slot]
            slot += 1
        node = inner.children[slot]
    return offset


cdef uint32_t tree_hash(Tree *self) noexcept:  # arithmetic
    """CRC-32 of the cells. O(chunks that were edited + nodes above them)."""
    settle(self)
    return hash_node(self, self.root, self.depth)


cdef uint32_t hash_node(Tree *self, void *node, int depth) noexcept:  # arithmetic
    cdef uint32_t crc = 0
    cdef Inner *inner
    cdef Leaf *leaf
    cdef int index
    if depth:
        inner = <Inner *>node
        if not inner.hashed:
            for index in range(inner.count):
                crc = crc_combine(crc, hash_node(self, inner.children[index], depth - 1), inner.sizes[index])
            inner.crc = crc
            inner.hashed = True
        return inner.crc
    leaf = <Leaf *>node
    if not leaf.hashed:
        crc = crc_cells(0, cells_of(leaf), leaf.start)
        leaf.crc = crc_cells(crc, cells_of(leaf) + leaf.end, self.leaf_cells - leaf.end)
        leaf.hashed = True
    return leaf.crc
