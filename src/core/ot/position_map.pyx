"""A history of operations folded into one map: transform against all of it in one pass.

A `PositionMap` is a list of spans: RETAIN, cells of the base that are alive; DELETE, cells of the base that are tombstones;
INSERT, cells that the history put there and that are alive. What is put stands just before the next visible cell,
tombstones stay to its left. One walk through the spans makes of an operation what transforming it (as the left side)
against the history, one by one, would make: exact because operations keep the order of their inserts and deletes. It
is no composite: T(x, a.b) is not T(T(x, a), b), and composing puts inserts to the left of tombstones.

    base   a b c d e f                cells of the base: RETAIN, DELETE
    spans  R2   D1  I3     R3 ...     the last span is endless: the map knows no length of the text
    head   a b      x y z  d e f      cells of the head: RETAIN, INSERT

The spans lie in a B+ tree that counts cells of both ends, so that folding an edit in, and looking a place up from
either end, is O(log spans); edits near the last one find its leaf at once. Spans of inserted cells that die vanish.
Leaves are not merged again: a map has at most about two spans for each part of its history.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.ot.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, out_of_range, parts_close, parts_open, parts_push,
)

from syncline.core.ot import compose as _compose

# What else is done with a whole history; one place to import from is kinder to importers.
compose_all = _compose.compose_all

# More than any window comes to; who keeps many maps passes less.
cdef Py_ssize_t MAX_BYTES = 67_108_864

cdef Py_ssize_t live = 0


def live_maps() -> int:
    """How many maps exist in this process; for leak tests."""
    return live


# --------------------------------------------------------------------------------------------------- the span tree


cdef inline int64_t base_cells(Part span) noexcept:  # arithmetic
    return 0 if span.kind == INSERT else span.length


cdef inline int64_t head_cells(Part span) noexcept:  # arithmetic
    return 0 if span.kind == DELETE else span.length


cdef int64_t node_cells(const Node *node, bint head) noexcept:  # reads a node's own arrays
    cdef int64_t total = 0
    cdef Py_ssize_t index
    for index in range(node.count):
        if node.level:
            total += node.at.below.heads[index] if head else node.at.below.bases[index]
        else:
            total += head_cells(node.at.spans[index]) if head else base_cells(node.at.spans[index])
    return total


cdef void free_tree(Node *node) noexcept:  # only frees; as deep as the tree
    cdef Py_ssize_t index
    if node != NULL:
        if node.level:
            for index in range(node.count):
                free_tree(node.at.below.children[index])
        free(node)


cdef void adopt(Node *parent, Py_ssize_t slot, Node *child) noexcept:  # sets fields; the caller has made the room
    parent.at.below.children[slot] = child
    parent.at.below.bases[slot] = node_cells(child, False)
    parent.at.below.heads[slot] = node_cells(child, True)
    child.parent = parent
    child.slot = <int32_t>slot


cdef void open_spans(Node *leaf, Py_ssize_t index, Py_ssize_t extra) noexcept:  # `room` has seen to it
    memmove(&leaf.at.spans[index + extra], &leaf.at.spans[index], (leaf.count - index) * sizeof(Part))
    leaf.count += <int32_t>extra


cdef void close_spans(Node *leaf, Py_ssize_t index, Py_ssize_t fewer) noexcept:  # callers stay inside the leaf
    leaf.count -= <int32_t>fewer
    memmove(&leaf.at.spans[index], &leaf.at.spans[index + fewer], (leaf.count - index) * sizeof(Part))


cdef void set_span(Node *leaf, Py_ssize_t index, int kind, int64_t length) noexcept:  # callers stay inside the leaf
    leaf.at.spans[index].kind = <int32_t>kind
    leaf.at.spans[index].length = <int32_t>length


cdef int push_spans(const Node *node, Parts *out) except -1:
    cdef Py_ssize_t index
    for index in range(node.count):
        if node.level:
            push_spans(node.at.below.children[index], out)
        else:
            parts_push(out, node.at.spans[index].kind, node.at.spans[index].length)
    return 0


@cython.final
cdef class PositionMap:
    """Operations that follow each other, folded into one map from the text before them to the text after them."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1
        free_tree(self.root)

    def __init__(self, operations=(), unit="utf-16", *, Py_ssize_t max_bytes=MAX_BYTES):
        """``max_bytes`` bounds its memory. Raises as ``extend``."""
        if self.root != NULL:
            raise TypeError("a PositionMap is made once")
        self.utf16 = unit_is_utf16(unit)
        self.max_nodes = max(1, max_bytes // <Py_ssize_t>sizeof(Node))
        self.root = self.new_node(0)
        self.root.count = 1
        set_span(self.root, 0, RETAIN, MAX_LENGTH)
        self.head = MAX_LENGTH
        self.extend(operations)

    def __reduce__(self):
        raise TypeError("a PositionMap is not copied; make it from its operations")

    @property
    def unit(self):
        return "utf-16" if self.utf16 else "unicode"

    @property
    def bytes(self):
        """Memory of its spans."""
        return self.size()

    cdef Py_ssize_t size(self) noexcept:  # arithmetic
        return self.nodes * <Py_ssize_t>sizeof(Node)

    cdef Node *new_node(self, int level) except NULL:
        cdef Node *node
        if self.nodes == self.max_nodes:
            raise OverflowError(f"a position map over {self.max_nodes * <Py_ssize_t>sizeof(Node)} bytes")
        node = <Node *>malloc(sizeof(Node))
        if node == NULL:
            raise MemoryError()
        node.parent = NULL
        node.slot = 0
        node.count = 0
        node.level = level
        self.nodes += 1
        return node

    cdef int split(self, Node *node) except -1:
        """Moves the second half of a node into a new one after it. Fails only before it changes this node."""
        cdef Node *parent
        cdef Node *fresh
        cdef Py_ssize_t index, kept = node.count // 2
        self.leaf = NULL
        if node.parent == NULL:
            parent = self.new_node(node.level + 1)
            adopt(parent, 0, node)
            parent.count = 1
            self.root = parent
        elif node.parent.count == FAN:
            self.split(node.parent)
        fresh = self.new_node(node.level)
        parent = node.parent
        fresh.count = <int32_t>(node.count - kept)
        if node.level:
            for index in range(fresh.count):
                adopt(fresh, index, node.at.below.children[kept + index])
        else:
            memcpy(fresh.at.spans, &node.at.spans[kept], fresh.count * sizeof(Part))
        node.count = <int32_t>kept
        for index in range(parent.count, node.slot + 1, -1):
            parent.at.below.bases[index] = parent.at.below.bases[index - 1]
            parent.at.below.heads[index] = parent.at.below.heads[index - 1]
            parent.at.below.children[index] = parent.at.below.children[index - 1]
            parent.at.below.children[index].slot = <int32_t>index
        parent.count += 1
        adopt(parent, node.slot + 1, fresh)
        adopt(parent, node.slot, node)
        return 0

    # ------------------------------------------------------------------------------------------------ from the head

    cdef void grow(self, int64_t cells) noexcept:  # walks up the tree; no fold changes the cells of the base
        cdef Node *node = self.leaf
        self.head += cells
        self.leaf_size += cells
        while node.parent != NULL:
            node.parent.at.below.heads[node.slot] += cells
            node = node.parent

    cdef void seek(self, int64_t at) noexcept:  # `fold` has checked that there is such a cell
        """Makes ``leaf`` the one that holds visible cell ``at``."""
        cdef Node *node = self.root
        cdef Py_ssize_t index
        if self.leaf != NULL and self.leaf_head <= at < self.leaf_head + self.leaf_size:
            return
        self.leaf_head = 0
        self.leaf_size = self.head
        while node.level:
            index = 0
            while at - self.leaf_head >= node.at.below.heads[index]:
                self.leaf_head += node.at.below.heads[index]
                index += 1
            self.leaf_size = node.at.below.heads[index]
            node = node.at.below.children[index]
        self.leaf = node

    cdef Py_ssize_t room(self, int64_t at, int64_t *offset) except -1:
        """Seeks ``at``, makes room for two spans there; returns the index of its span and sets the offset in it."""
        cdef Py_ssize_t index = 0
        cdef int64_t left
        self.seek(at)
        if self.leaf.count > LEAF - 2:
            self.split(self.leaf)
            self.seek(at)
        left = at - self.leaf_head
        while left >= head_cells(self.leaf.at.spans[index]):
            left -= head_cells(self.leaf.at.spans[index])
            index += 1
        offset[0] = left
        return index

    cdef int insert_cells(self, int64_t at, int64_t length) except -1:
        """Just before visible cell ``at``."""
        cdef int64_t offset = 0, kept
        cdef Py_ssize_t index = self.room(at, &offset)
        cdef Node *leaf = self.leaf
        if leaf.at.spans[index].kind == INSERT:
            leaf.at.spans[index].length += <int32_t>length
        elif offset == 0:
            if index and leaf.at.spans[index - 1].kind == INSERT:
                leaf.at.spans[index - 1].length += <int32_t>length
            else:
                open_spans(leaf, index, 1)
                set_span(leaf, index, INSERT, length)
        else:
            kept = leaf.at.spans[index].length
            open_spans(leaf, index, 2)
            set_span(leaf, index, RETAIN, offset)
            set_span(leaf, index + 1, INSERT, length)
            set_span(leaf, index + 2, RETAIN, kept - offset)
        self.put += length
        self.grow(length)
        return 0

    cdef int delete_cells(self, int64_t at, int64_t length) except -1:
        """Visible cells from ``at`` on: those of the base become tombstones, those of the history vanish."""
        cdef int64_t offset = 0, size, take, gone
        cdef Py_ssize_t index
        cdef Node *leaf
        while length:
            index = self.room(at, &offset)
            leaf = self.leaf
            gone = 0
            while length and index < leaf.count:
                size = leaf.at.spans[index].length
                take = min(length, size - offset)
                if leaf.at.spans[index].kind == DELETE:
                    index += 1
                    offset = 0
                    continue
                length -= take
                gone += take
                if leaf.at.spans[index].kind == INSERT:
                    self.put -= take
                    if take < size:
                        leaf.at.spans[index].length -= <int32_t>take
                        index += 1
                    elif 0 < index < leaf.count - 1 and (
                        leaf.at.spans[index - 1].kind == leaf.at.spans[index + 1].kind
                    ):
                        # What it stood between is one span again; the walk goes on inside it.
                        index -= 1
                        offset = leaf.at.spans[index].length
                        leaf.at.spans[index].length += leaf.at.spans[index + 2].length
                        close_spans(leaf, index + 1, 2)
                        continue
                    else:
                        close_spans(leaf, index, 1)
                    offset = 0
                    continue
                index = bury(leaf, index, offset, take)
                offset = 0
            self.grow(-gone)
        return 0

    cdef int fold(self, const Part *parts, Py_ssize_t count) except -1:
        """The next operation of the history. When it raises for want of memory, the map is of no more use."""
        cdef int64_t at = 0, retained = 0, inserted = 0
        cdef Py_ssize_t index
        if self.broken:
            raise ValueError("a fold into this position map has failed")
        for index in range(count):
            if parts[index].kind == INSERT:
                inserted += parts[index].length
            else:
                retained += parts[index].length
        # The endless tail keeps a cell, which inserts at the end stand before.
        if retained >= self.head or self.put + inserted > MAX_LENGTH:
            raise out_of_range("the history reaches past the end of any text")
        self.broken = True
        for index in range(count):
            if parts[index].kind == DELETE:
                self.delete_cells(at, parts[index].length)
                continue
            if parts[index].kind == INSERT:
                self.insert_cells(at, parts[index].length)
            at += parts[index].length
        self.operations += 1
        self.broken = False
        return 0

    def extend(self, operations):
        """Operations that follow those before. O(parts log spans).

        Raises ValueError for another unit, SynclineError(operation_out_of_range) for lengths over 2^31 - 1, and
        OverflowError when it would need more than ``max_bytes``; after that, and after MemoryError, it is of no use.
        """
        cdef Operation operation
        for item in operations:
            if type(item) is not Operation:
                raise TypeError("a history consists of operations")
            operation = item
            if operation.utf16 != self.utf16:
                raise ValueError("the operations count different units")
            self.fold(operation.parts, operation.count)

    # ------------------------------------------------------------------------------------------------ from the base

    cdef void find(self, Place *place, int64_t cell) noexcept:  # the tail holds every cell there can be
        """Moves on to the span that holds ``cell`` of the base; not back."""
        cdef const Node *node
        cdef Py_ssize_t index
        cdef Part span
        if place.leaf == NULL or cell >= place.end:
            node = self.root
            place.base = place.head = 0
            place.end = MAX_LENGTH
            while node.level:
                index = 0
                while cell - place.base >= node.at.below.bases[index]:
                    place.base += node.at.below.bases[index]
                    place.head += node.at.below.heads[index]
                    index += 1
                place.end = place.base + node.at.below.bases[index]
                node = node.at.below.children[index]
            place.leaf = node
            place.index = 0
        while True:
            span = place.leaf.at.spans[place.index]
            if span.kind != INSERT and cell < place.base + span.length:
                break
            place.base += base_cells(span)
            place.head += head_cells(span)
            place.index += 1

    cdef int64_t rank(self, Place *place, int64_t position) noexcept:  # see `find`
        """The offset in the head just after the last cell before ``position``."""
        if position == 0:
            return 0
        self.find(place, position - 1)
        if place.leaf.at.spans[place.index].kind == DELETE:
            return place.head
        return place.head + (position - place.base)

    cdef int move_parts(self, const Part *parts, Py_ssize_t count, Parts *out) except -1:
        """Appends to ``out`` what the parts become: as ``transform_parts`` against each operation of the history."""
        cdef Place place
        cdef int64_t at = 0, done = 0, rank, take, left
        cdef Py_ssize_t index
        cdef Part span
        place.leaf = NULL
        for index in range(count):
            if parts[index].kind == INSERT:
                parts_push(out, INSERT, parts[index].length)
                continue
            left = parts[index].length
            if parts[index].kind == RETAIN:
                at += left
                rank = self.rank(&place, at)
                parts_push(out, RETAIN, rank - done)
                done = rank
                continue
            while left:
                self.find(&place, at)
                span = place.leaf.at.spans[place.index]
                take = min(left, place.base + span.length - at)
                rank = place.head
                if span.kind == RETAIN:
                    rank += at - place.base
                parts_push(out, RETAIN, rank - done)
                done = rank
                if span.kind == RETAIN:
                    parts_push(out, DELETE, take)
                    done += take
                at += take
                left -= take
        return 0

    cdef int spans(self, Parts *out) except -1:
        """Appends all of them, the endless tail too."""
        return push_spans(self.root, out)

    def transform(self, Operation operation not None):
        """What ``operation``, made before the history, is after all of it; it wins ties. O(parts log spans + spans
        that it deletes).

        Raises ValueError for another unit, SynclineError(operation_invalid) when a length overflows.
        """
        cdef Parts parts
        if operation.utf16 != self.utf16:
            raise ValueError("the operations count different units")
        if self.broken:
            raise ValueError("a fold into this position map has failed")
        if operation.count == 0 or self.operations == 0:
            return operation
        parts_open(&parts)
        try:
            self.move_parts(operation.parts, operation.count, &parts)
            return new_operation(&parts, operation.text, self.utf16)
        finally:
            parts_close(&parts)

    cdef int64_t move(self, int64_t position) except -1:
        cdef Place place
        place.leaf = NULL
        if self.broken:
            raise ValueError("a fold into this position map has failed")
        return self.rank(&place, position)

    def map_position(self, position):
        """Where a cursor goes that inserts at its place leave where it is: ``ot.map_position(..., "left")`` one by one.

        The other stickiness cannot be told from a map. Raises ValueError for a negative position.
        """
        if type(position) is not int or not 0 <= position <= MAX_LENGTH:
            raise ValueError("position must be an integer from 0 to 2147483647")
        return self.move(position)


cdef Py_ssize_t bury(Node *leaf, Py_ssize_t index, int64_t offset, int64_t take) noexcept:  # `room` has made room
    """Makes a tombstone of a part of a living span; returns the index of the span that follows it."""
    cdef Part *spans = leaf.at.spans
    cdef int64_t after = spans[index].length - offset - take
    cdef bint before_dead = index > 0 and spans[index - 1].kind == DELETE
    cdef bint after_dead = index < leaf.count - 1 and spans[index + 1].kind == DELETE
    if offset:
        if after:
            open_spans(leaf, index, 2)
            set_span(leaf, index, RETAIN, offset)
            set_span(leaf, index + 1, DELETE, take)
            set_span(leaf, index + 2, RETAIN, after)
        elif after_dead:
            spans[index].length -= <int32_t>take
            spans[index + 1].length += <int32_t>take
        else:
            open_spans(leaf, index + 1, 1)
            spans[index].length -= <int32_t>take
            set_span(leaf, index + 1, DELETE, take)
        return index + 2
    if after:
        spans[index].length -= <int32_t>take
        if before_dead:
            spans[index - 1].length += <int32_t>take
            return index
        open_spans(leaf, index, 1)
        set_span(leaf, index, DELETE, take)
        return index + 1
    if before_dead:
        spans[index - 1].length += <int32_t>take
        if after_dead:
            spans[index - 1].length += spans[index + 1].length
            close_spans(leaf, index, 2)
        else:
            close_spans(leaf, index, 1)
        return index
    if after_dead:
        spans[index + 1].length += <int32_t>take
        close_spans(leaf, index, 1)
    else:
        spans[index].kind = DELETE
    return index + 1
