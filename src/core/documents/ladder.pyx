"""How an operation that is behind gets to the head, by what that costs.

    one splice            a loop over the splices of the window, which lie side by side in memory: 1 to 2 ns a step,
                          no object is touched
    a few parts           the same loop while the others lie beside them; `transform_parts` for a step that does not.
                          What lands inside what a splice deletes makes it one of these
    hundreds of steps     blocks: the maps of 64 revisions each, in which a binary search finds where a position goes
    many steps, or parts  a position map from its base, kept and extended: a crowd that comes back from one revision
                          makes it once

A map pays after some use. So each base keeps account of the steps that were walked from it without one; when they have
cost what a map costs, it is made (the rule of renting skis: never more than twice the best in hindsight). An operation
of many parts pays for it at once.

All of it follows from the window's entries, which are handed in with each call: revisions up to ``revision``, at the
end of the list. What is kept here is brought up to date when it is asked, so that a document which nobody is behind
keeps nothing. Bounds: 16 to 64 bytes an entry of the window (both units, room to grow), as much again for blocks (12
bytes for each place that an operation changes), and ``max_bytes`` of maps; the least used goes first.
"""

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

cimport cython

from syncline.core.storage.commits cimport Entry
from syncline.core.ot.position_map cimport PositionMap
from syncline.core.ot.ot cimport Operation
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, parts_close, parts_open, parts_push, transform_parts,
)

from syncline.core.ot.position_map import PositionMap as _PositionMap

# Costs in steps of a splice over a splice, 1.5 ns, as measured.
cdef int64_t GENERAL_STEP = 12  # one `transform_parts`, and
cdef int64_t GENERAL_PART = 3   # for each of the parts that arrive
cdef int64_t FOLD = 40          # one operation into a map
# From here on blocks save more than they cost, unless nobody else comes from so far,
cdef int64_t FAR = 4 * BLOCK
# and that is at least this factor.
cdef int64_t SAVED = 4
# An operation of more parts makes a block too large.
cdef Py_ssize_t MANY = 8
# Below this many steps the accounts are not worth their keeping.
cdef int64_t SHORT = 1024
# Beyond any number of steps, and any revision.
cdef int64_t NEVER = -4_611_686_018_427_387_904
cdef int64_t MAX_REVISION = 9_223_372_036_854_775_807


cdef void *grown(void *memory, size_t size) except NULL:
    memory = realloc(memory, size)
    if memory == NULL:
        raise MemoryError()
    return memory


# ------------------------------------------------------------------------------------------------------- splices


cdef bint as_edit(const Part *parts, Py_ssize_t count, Edit *edit) noexcept:  # reads the parts
    """Whether the parts are retain, insert, delete, insert, each of which may be missing."""
    cdef Py_ssize_t index = 0
    edit.at = edit.before = edit.deleted = edit.after = 0
    if count > 4:
        return False
    if index < count and parts[index].kind == RETAIN:
        edit.at = parts[index].length
        index += 1
    if index < count and parts[index].kind == INSERT:
        edit.before = parts[index].length
        index += 1
    if index < count and parts[index].kind == DELETE:
        edit.deleted = parts[index].length
        index += 1
    if index < count and parts[index].kind == INSERT:
        edit.after = parts[index].length
        index += 1
    return index == count


cdef int64_t reach(const Part *parts, Py_ssize_t count) noexcept:  # reads the parts
    """How far into the text before them so many parts reach; of the first: 0 when it is no retain."""
    cdef int64_t total = 0
    cdef Py_ssize_t index
    if count == 1 and parts[0].kind != RETAIN:
        return 0
    for index in range(count):
        if parts[index].kind != INSERT:
            total += parts[index].length
    return total


cdef int settle(
    bint single, const Edit *edit, int64_t shift, const Part **parts, Py_ssize_t *count, Parts *buffers, int turn
) except -1:
    """Writes out what has become of an edit, or of shifted parts, into a buffer; returns the one that is free then."""
    cdef Parts *out = &buffers[turn]
    cdef Py_ssize_t index
    if not single and shift == 0:
        return turn
    out.count = 0
    if not single:
        for index in range(count[0]):
            parts_push(out, parts[0][index].kind, parts[0][index].length + (0 if index else shift))
    elif edit.before or edit.deleted or edit.after:
        parts_push(out, RETAIN, edit.at)
        parts_push(out, INSERT, edit.before)
        parts_push(out, DELETE, edit.deleted)
        parts_push(out, INSERT, edit.after)
    parts[0] = out.items
    count[0] = out.count
    return 1 - turn


cdef Splice as_splice(Operation operation) noexcept:  # sums of an Operation fit 32 bits
    cdef Splice splice
    cdef Edit edit
    if not as_edit(operation.parts, operation.count, &edit):
        splice.at = splice.end = splice.put = -1
        splice.delta = 0
    elif operation.count == 0:
        splice.at = splice.end = splice.put = <int32_t>MAX_LENGTH
        splice.delta = 0
    else:
        splice.at = <int32_t>edit.at
        splice.end = <int32_t>(edit.at + edit.deleted)
        splice.put = <int32_t>(edit.at + edit.before)
        splice.delta = <int32_t>(edit.before + edit.after - edit.deleted)
    return splice


cdef inline int64_t moved(const Splice *other, int64_t position) noexcept:  # arithmetic
    """Where a position goes that inserts at it leave where it is; the left side's insert goes there too."""
    # Masks instead of branches: where others edit is as good as random, and a branch foretold wrong costs five steps.
    cdef int64_t behind = -<int64_t>(position > other.end), after = -<int64_t>(position > other.at)
    cdef int64_t moved = ((position + other.delta) & behind) | (other.put & ~behind)
    return (moved & after) | (position & ~after)


cdef Py_ssize_t move_position(const Splice *splices, Py_ssize_t index, Py_ssize_t end, int64_t *position) noexcept:
    # Reads splices[index : end].
    """Moves it past splices until one is none; returns where that is, or ``end``."""
    cdef int64_t at = position[0]
    while index < end and splices[index].at >= 0:
        at = moved(&splices[index], at)
        index += 1
    position[0] = at
    return index


cdef bint step(Edit *edit, const Splice *other) noexcept:  # arithmetic
    """Transforms an edit that deletes, as the left side. False, and unchanged, when the result is no single splice."""
    cdef int64_t end = edit.at + edit.deleted
    cdef int64_t new_at, new_end, overlap, left, right, within
    if end <= other.at:
        return True
    if edit.at > other.end:
        edit.at += other.delta
        return True
    new_at = moved(other, edit.at)
    new_end = moved(other, end)
    overlap = max(<int64_t>0, min(end, <int64_t>other.end) - max(edit.at, <int64_t>other.at))
    left = max(<int64_t>0, min(end, <int64_t>other.at) - edit.at)
    right = edit.deleted - overlap - left
    within = new_end - new_at - left - right  # what the other inserts inside, which is retained
    if within and (left or edit.before):
        if right or edit.after:
            return False
        edit.at = new_at  # all of it lies behind what is left of this edit
    elif within:
        edit.at = new_end - right
    else:
        edit.at = new_at
    edit.deleted = left + right
    if edit.deleted == 0:
        edit.before += edit.after
        edit.after = 0
    return True


cdef Py_ssize_t move_edit(const Splice *splices, Py_ssize_t index, Py_ssize_t end, Edit *edit) noexcept:
    # Reads splices[index : end].
    """Transforms it past splices until one is none, or the result is none; returns where that is, or ``end``."""
    while index < end:
        if edit.deleted == 0:
            return move_position(splices, index, end, &edit.at)
        if splices[index].at < 0 or not step(edit, &splices[index]):
            break
        index += 1
    return index


cdef Py_ssize_t move_far(
    const Splice *splices, Py_ssize_t index, Py_ssize_t end, int64_t first, int64_t last, int64_t *shift
) noexcept:
    # Reads splices[index : end].
    """Past splices that lie beside an operation which begins at ``first`` and ends at ``last``: they only shift it.
    Returns where that stops, and adds to the ``shift``.
    """
    cdef int64_t done = shift[0]
    first += done
    last += done
    while index < end and splices[index].at >= 0:
        if first > splices[index].end:
            first += splices[index].delta
            last += splices[index].delta
            done += splices[index].delta
        elif last > splices[index].at:
            break
        index += 1
    shift[0] = done
    return index


# -------------------------------------------------------------------------------------------------------- blocks


cdef Py_ssize_t stretch_of(const Block *block, int64_t cell) noexcept:  # the last stretch is endless
    """The index of the stretch that holds a cell of the base."""
    cdef Py_ssize_t half, low = 0, count = block.count
    while count > 1:
        half = count // 2
        low += half if block.stretches[low + half - 1].end <= cell else 0
        count -= half
    return low


cdef int64_t jump_position(const Block *block, int64_t position) noexcept:  # see `stretch_of`
    cdef Py_ssize_t index
    if position == 0:
        return 0
    index = stretch_of(block, position - 1)
    return (position & block.stretches[index].mask) + block.stretches[index].value


cdef bint jump_far(const Block *block, int64_t first, int64_t last, int64_t *shift) noexcept:  # see `stretch_of`
    """Whether an operation that begins at ``first`` and ends at ``last`` lies inside one living stretch, cell before
    it included: then nothing happens to it, and ``shift`` is added to.
    """
    cdef Py_ssize_t index
    if first == 0:
        return False
    index = stretch_of(block, first - 1)
    if block.stretches[index].mask == 0 or last > block.stretches[index].end:
        return False
    shift[0] += block.stretches[index].value
    return True


cdef bint jump_edit(const Block *block, Edit *edit) noexcept:  # see `stretch_of`
    if edit.deleted:
        return jump_far(block, edit.at, edit.at + edit.deleted, &edit.at)
    edit.at = jump_position(block, edit.at)
    return True


cdef Block *make_block(const Parts *spans) except NULL:
    """Of a map's spans; what they insert is in the values of what follows."""
    cdef Py_ssize_t index, count = 0
    cdef int64_t base = 0, head = 0, value
    cdef Block *block
    cdef int kind
    for index in range(spans.count):
        count += spans.items[index].kind != INSERT
    block = <Block *>grown(NULL, sizeof(Block) + count * sizeof(Stretch))
    block.count = count
    count = 0
    for index in range(spans.count):
        kind = spans.items[index].kind
        if kind == INSERT:
            head += spans.items[index].length
            continue
        value = head if kind == DELETE else head - base
        base += spans.items[index].length
        if kind == RETAIN:
            head += spans.items[index].length
        block.stretches[count].end = <int32_t>base
        block.stretches[count].mask = 0 if kind == DELETE else -1
        block.stretches[count].value = <int32_t>value
        count += 1
    return block


# -------------------------------------------------------------------------------------------------------- ladder


@cython.final
cdef class Ladder:
    """What a document knows about its window to get over it quickly."""

    def __cinit__(self, Py_ssize_t max_bytes=0):
        cdef int index
        self.max_bytes = max_bytes
        self.maps = [None] * SLOTS
        for index in range(SLOTS):
            self.slots[index].base = -1

    def __dealloc__(self):
        self.clear()
        free(self.units)

    def __reduce__(self):
        raise TypeError("a Ladder is not copied; it follows from a window")

    # -------------------------------------------------------------------------------------------------- the splices

    cdef void clear(self) noexcept:  # only frees
        self.clear_blocks()
        free(self.points)
        self.points = NULL
        self.start = self.count = 0

    cdef int push(self, Entry entry) except -1:
        """The splice of the next revision."""
        cdef Py_ssize_t capacity = self.capacity
        if self.start + self.count == capacity:
            if self.start > self.count:
                memcpy(self.units, self.units + self.start, self.count * sizeof(Splice))
                if self.points != NULL:
                    memcpy(self.points, self.points + self.start, self.count * sizeof(Splice))
                self.start = 0
            else:
                capacity = max(2 * capacity, 64)
                if self.points != NULL:
                    self.points = <Splice *>grown(self.points, capacity * sizeof(Splice))
                self.units = <Splice *>grown(self.units, capacity * sizeof(Splice))
                self.capacity = capacity
        if entry.points is not None and self.points == NULL:
            self.points = <Splice *>grown(NULL, self.capacity * sizeof(Splice))
            memcpy(self.points + self.start, self.units + self.start, self.count * sizeof(Splice))
        self.units[self.start + self.count] = as_splice(entry.operation)
        if self.points != NULL:
            self.points[self.start + self.count] = as_splice(entry.numbers(False))
        self.count += 1
        return 0

    cdef int sync(self, list entries, int64_t revision, int64_t bottom, int64_t base) except -1:
        """Has the splices of revisions base + 1 ... revision; the window reaches down to ``bottom``."""
        cdef int64_t top = self.floor + self.count
        if base < self.floor or base > top:
            # Never asked before, or the window was widened, or trimmed meanwhile.
            self.clear()
            self.floor = top = bottom if base < self.floor else base
        elif self.floor < bottom:
            self.start += bottom - self.floor
            self.count -= bottom - self.floor
            self.floor = bottom
            if self.block_count > 32 and 2 * (bottom // BLOCK - self.block_floor) > self.block_count:
                self.clear_blocks()  # more than half of them are of no use any more
        while top < revision:
            self.push(<Entry>entries[len(entries) - (revision - top)])
            top += 1
        return 0

    cdef void clear_blocks(self) noexcept:  # only frees
        cdef Py_ssize_t index
        for index in range(self.block_count):
            free(self.blocks[index])
            free(self.point_blocks[index])
        free(self.blocks)
        free(self.point_blocks)
        self.blocks = self.point_blocks = NULL
        self.block_count = self.block_bytes = 0

    cdef const Block *block(self, list entries, int64_t revision, int64_t base, bint utf16) except? NULL:
        """Over the BLOCK revisions after ``base``, a multiple of BLOCK; NULL when there is none. Made when first asked
        for, which costs about 50 ns a revision.
        """
        cdef Py_ssize_t at, count, index
        cdef Block **place
        cdef PositionMap map
        cdef Operation operation
        cdef Parts spans
        if self.block_count and base // BLOCK < self.block_floor:
            self.clear_blocks()
        if self.block_count == 0:
            self.block_floor = base // BLOCK
        at = base // BLOCK - self.block_floor
        if at >= self.block_count:
            count = max(at + 1, 2 * self.block_count, 16)
            self.point_blocks = <Block **>grown(self.point_blocks, count * sizeof(Block *))
            self.blocks = <Block **>grown(self.blocks, count * sizeof(Block *))
            for index in range(self.block_count, count):
                self.blocks[index] = self.point_blocks[index] = NULL
            self.block_count = count
        place = &self.blocks[at] if utf16 or self.points == NULL else &self.point_blocks[at]
        if place[0] == NULL:
            map = _PositionMap((), "utf-16" if utf16 else "unicode")
            parts_open(&spans)
            try:
                for index in range(BLOCK):
                    operation = (<Entry>entries[len(entries) - (revision - base) + index]).numbers(utf16)
                    if operation.count > MANY:
                        break
                    map.fold(operation.parts, operation.count)
                else:
                    map.spans(&spans)
                place[0] = make_block(&spans)
                self.block_bytes += sizeof(Block) + place[0].count * sizeof(Stretch)
            finally:
                parts_close(&spans)
        return place[0] if place[0].count else NULL

    # ----------------------------------------------------------------------------------------------------- the maps

    cdef int forget(self) except -1:
        """Another history begins."""
        self.let_go(MAX_REVISION)
        self.clear()
        self.floor = 0
        return 0

    cdef int let_go(self, int64_t bottom) except -1:
        """The window reaches down to ``bottom`` only: nothing can be made before it any more."""
        cdef int index
        for index in range(SLOTS):
            if 0 <= self.slots[index].base < bottom:
                self.slots[index].base = -1
                self.maps[index] = None
        return 0

    cdef Py_ssize_t size(self) except -1:
        """Bytes of the maps, the blocks and the splices."""
        cdef Py_ssize_t total = self.capacity * <Py_ssize_t>sizeof(Splice) * (1 if self.points == NULL else 2)
        total += self.block_bytes + 2 * self.block_count * <Py_ssize_t>sizeof(Block *)
        for item in self.maps:
            if item is not None:
                total += (<PositionMap>item).size()
        return total

    cdef PositionMap map_from(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16, int64_t steps
    ):
        """The map from ``base`` to ``revision``; None while the ``steps`` to be done now had better be walked."""
        cdef PositionMap found
        cdef Operation operation
        cdef Slot *slot
        cdef int index, chosen = -1
        cdef int64_t at
        self.let_go(bottom)
        for index in range(SLOTS):
            if self.slots[index].base == base and self.slots[index].utf16 == utf16:
                chosen = index
                break
            # In its place: a free slot, else the one that has no map and was not asked for longest.
            if self.maps[index] is None and (chosen < 0 or self.age(index) < self.age(chosen)):
                chosen = index
        slot = &self.slots[chosen]
        if slot.base != base or slot.utf16 != utf16:
            slot.base = slot.top = base
            slot.utf16 = utf16
            slot.spent = 0
        self.clock += 1
        slot.used = self.clock
        found = self.maps[chosen]
        if found is None:
            slot.spent += steps
            if slot.spent < FOLD * (revision - base):
                return None
            slot.top = base
        try:
            if found is None:
                found = _PositionMap((), "utf-16" if utf16 else "unicode", max_bytes=self.max_bytes)
            for at in range(slot.top, revision):
                operation = (<Entry>entries[len(entries) - (revision - at)]).numbers(utf16)
                found.fold(operation.parts, operation.count)
        except (OverflowError, MemoryError):
            # Too large to keep: from here on it is walked.
            self.maps[chosen] = None
            slot.spent = NEVER
            return None
        slot.top = revision
        self.maps[chosen] = found
        self.hold_bounds(chosen)
        return found

    cdef int64_t age(self, int index) noexcept:  # reads fields
        return 0 if self.slots[index].base < 0 else self.slots[index].used

    cdef int hold_bounds(self, int kept) except -1:
        """Drops maps, the one that was not used longest first; half of the slots have one at most."""
        cdef int index, oldest, count
        cdef Py_ssize_t total
        while True:
            total = count = 0
            oldest = -1
            for index in range(SLOTS):
                if self.maps[index] is not None:
                    count += 1
                    total += (<PositionMap>self.maps[index]).size()
                    if index != kept and (oldest < 0 or self.age(index) < self.age(oldest)):
                        oldest = index
            if oldest < 0 or (total <= self.max_bytes and count <= SLOTS // 2):
                return 0
            self.maps[oldest] = None
            self.slots[oldest].base = -1

    # ---------------------------------------------------------------------------------------------------- the climb

    cdef int climb(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16,
        const Part **parts, Py_ssize_t *count, Parts *buffers,
    ) except -1:
        """Transforms parts made at ``base``, as the left side, against all since. Sets ``parts`` and ``count`` to the
        result, which lies in one of two ``buffers`` or where it was.
        """
        cdef const Splice *splices
        cdef PositionMap map
        cdef Operation other
        cdef Edit edit
        cdef const Block *block
        cdef Py_ssize_t index, end, limit
        cdef int64_t first, last, shift, at
        cdef int turn = 0
        cdef bint single = as_edit(parts[0], count[0], &edit)
        cdef int64_t steps = revision - base
        if steps == 0 or count[0] == 0:
            return 0
        if count[0] > MANY:
            steps *= GENERAL_STEP + GENERAL_PART * count[0]
        elif steps >= FAR:
            steps //= SAVED
        if steps >= SHORT:
            map = self.map_from(entries, revision, bottom, base, utf16, steps)
            if map is not None:
                buffers[0].count = 0
                map.move_parts(parts[0], count[0], &buffers[0])
                parts[0] = buffers[0].items
                count[0] = buffers[0].count
                return 0
        self.sync(entries, revision, bottom, base)
        splices = self.units if utf16 or self.points == NULL else self.points
        index = self.start + (base - self.floor)
        end = limit = self.start + self.count
        first, last, shift = reach(parts[0], 1), reach(parts[0], count[0]), 0
        while index < end and (single or count[0]):
            if revision - base >= FAR:
                at = self.floor + (index - self.start)
                if at % BLOCK == 0 and end - index >= BLOCK:
                    block = self.block(entries, revision, at, utf16)
                    if block != NULL and (
                        jump_edit(block, &edit) if single else jump_far(block, first + shift, last + shift, &shift)
                    ):
                        index += BLOCK
                        continue
                limit = min(end, index + BLOCK - at % BLOCK)
            if single:
                index = move_edit(splices, index, limit, &edit)
            else:
                index = move_far(splices, index, limit, first, last, &shift)
            if index == limit:
                continue
            turn = settle(single, &edit, shift, parts, count, buffers, turn)
            other = (<Entry>entries[len(entries) - (end - index)]).numbers(utf16)
            buffers[turn].count = 0
            transform_parts(parts[0], count[0], other.parts, other.count, True, &buffers[turn])
            parts[0] = buffers[turn].items
            count[0] = buffers[turn].count
            turn = 1 - turn
            index += 1
            single = as_edit(parts[0], count[0], &edit)
            first, last, shift = reach(parts[0], 1), reach(parts[0], count[0]), 0
        settle(single, &edit, shift, parts, count, buffers, turn)
        return 0

    cdef int64_t move(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16, int64_t position
    ) except -1:
        """Where a position at ``base`` goes; inserts at it leave it where it is."""
        cdef const Splice *splices
        cdef const Block *block
        cdef PositionMap map
        cdef Py_ssize_t index, end, limit
        cdef int64_t at
        if revision - base >= SAVED * SHORT:
            map = self.map_from(entries, revision, bottom, base, utf16, (revision - base) // SAVED)
            if map is not None:
                return map.move(position)
        self.sync(entries, revision, bottom, base)
        splices = self.units if utf16 or self.points == NULL else self.points
        index = self.start + (base - self.floor)
        end = limit = self.start + self.count
        while index < end:
            if revision - base >= FAR:
                at = self.floor + (index - self.start)
                if at % BLOCK == 0 and end - index >= BLOCK:
                    block = self.block(entries, revision, at, utf16)
                    if block != NULL:
                        position = jump_position(block, position)
                        index += BLOCK
                        continue
                limit = min(end, index + BLOCK - at % BLOCK)
            index = move_position(splices, index, limit, &position)
            if index < limit:
                position = (<Entry>entries[len(entries) - (end - index)]).numbers(utf16).move(position, False)
                index += 1
        return position
