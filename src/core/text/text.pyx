"""Document text: UTF-16 with a count of astral characters; edits in place, offsets both ways.

A gap buffer of 16-bit cells while small: edits near the last one cost what they insert or delete, a distant one moves
the cells between, at memory speed. What grows over FLAT cells goes into a tree of chunks (chunks.pyx), and stays there:
edits anywhere and conversions of offsets are O(log n + chunk). While no character lies above U+FFFF the two units are
the same and conversions cost nothing; otherwise a gap buffer is scanned. A text is always well-formed: an edit that
would split a surrogate pair is refused before anything is changed.

The storage is the methods from ``size`` to ``copy``; everything else is written on top of them.
"""

from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.text.chunks cimport (
    CELLS, count_high, decode, encode, is_high, is_low, tree_erase, tree_hash, tree_piece, tree_seek_points,
    tree_wide_before, tree_write,
)
from syncline.core.crc cimport crc_cells
from syncline.core.text.nodes cimport FANOUT, Tree, tree_check, tree_copy, tree_free, tree_new, tree_release, tree_reserve
from syncline.core.ot.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, count_points, has_astral, invalid, out_of_range, parts_close,
    parts_open, parts_push, require_well_formed, utf16_length,
)
from syncline.core.text.splices cimport Splice, Splices, splices_check, splices_close, splices_open, splices_read

cdef extern from "Python.h":
    # Cython's own declarations give these a wrong or no signature.
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *WRITABLE "PyUnicode_DATA"(object text)

# Room for typing before the first growth; a fresh or idle document stays small.
cdef Py_ssize_t SMALLEST_GAP = 64

# The longest gap buffer, in cells: moving half of it costs about what a descent into a tree costs, times ten. With
# astral characters conversions scan it, so it is shorter.
cdef Py_ssize_t FLAT = 131_072
cdef Py_ssize_t FLAT_WIDE = 16_384

# A batch on a larger text than this, in cells an edit, keeps a journal rather than copy the text.
cdef Py_ssize_t JOURNAL = 1_024

# Cells of a chunk (4 kB with its head), children of an inner node.
cdef int LEAF = 2_032
cdef int CHILDREN = FANOUT

cdef Py_ssize_t live = 0


def live_texts() -> int:
    """How many texts exist in this process; for leak tests."""
    return live


def set_limits(Py_ssize_t flat, int leaf, int children):
    """For tests: FLAT, LEAF and CHILDREN of texts that grow from now on; returns what they were."""
    global FLAT, FLAT_WIDE, LEAF, CHILDREN
    before = FLAT, LEAF, CHILDREN
    if flat < 0 or not 8 <= leaf <= 65_536 or not 4 <= children <= FANOUT:
        raise ValueError("8 to 65536 cells, 4 to 64 children")
    FLAT, FLAT_WIDE, LEAF, CHILDREN = flat, flat // 8, leaf, children
    return before


@cython.final
cdef class Text:
    """Mutable text. Offsets are UTF-16 code units unless a unit is given."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1
        free(self.cells)
        tree_free(self.tree)

    def __init__(self, str text not None=""):
        """Raises SynclineError(operation_invalid) for lone surrogates."""
        require_well_formed(text)
        cdef Py_ssize_t length = utf16_length(text)
        if length > MAX_LENGTH:
            raise out_of_range("a text over 2147483647 code units")
        if self.size():
            self.erase(0, self.size())
        self.reserve(length, 1)
        self.write(0, text, 0, PyUnicode_GET_LENGTH(text), length)
        self.reserve(0, 1)  # known to have astral characters it may be for chunks

    # ------------------------------------------------------------------------------------------------ the storage

    cdef Py_ssize_t size(self) noexcept:  # reads fields
        if self.tree != NULL:
            return self.tree.size
        return self.capacity - (self.gap_end - self.gap_start)

    cdef Py_ssize_t piece(self, Py_ssize_t position, Py_ssize_t end, const uint16_t **cells) noexcept:
        """Cells from ``position`` (< size) on that lie in one row, before ``end``: where, and how many. They begin and
        end between characters if the arguments do.
        """
        if self.tree != NULL:
            return tree_piece(self.tree, position, end, cells)
        if position < self.gap_start:
            cells[0] = self.cells + position
            return min(end, self.gap_start) - position
        cells[0] = self.cells + position + (self.gap_end - self.gap_start)
        return end - position

    cdef int reserve(self, Py_ssize_t extra, Py_ssize_t inserts) except -1:
        """Room for so many insertions of ``extra`` cells together. A gap grows by an eighth: amortised O(1) a cell,
        little waste at rest. What gets too long for one goes into chunks.
        """
        cdef Py_ssize_t size = self.size(), tail = self.capacity - self.gap_end
        cdef Py_ssize_t capacity
        cdef uint16_t *grown
        if self.tree != NULL:
            return tree_reserve(self.tree, extra, inserts)
        if size + extra > (FLAT_WIDE if self.wide else FLAT):
            return self.chop(extra, inserts)
        if extra <= self.gap_end - self.gap_start:
            return 0
        capacity = size + extra + (size + extra) // 8 + SMALLEST_GAP
        grown = <uint16_t *>malloc(capacity * sizeof(uint16_t))
        if grown == NULL:
            raise MemoryError()
        if size:
            memcpy(grown, self.cells, self.gap_start * sizeof(uint16_t))
            memcpy(grown + capacity - tail, self.cells + self.gap_end, tail * sizeof(uint16_t))
        free(self.cells)
        self.cells = grown
        self.gap_end = capacity - tail
        self.capacity = capacity
        return 0

    cdef void release(self) noexcept:  # only frees
        if self.tree != NULL:
            tree_release(self.tree)

    cdef int chop(self, Py_ssize_t extra, Py_ssize_t inserts) except -1:
        """From a gap buffer into chunks, with what ``reserve`` asks."""
        cdef Tree *tree = tree_new(LEAF, CHILDREN)
        cdef Py_ssize_t size = self.size(), position = 0, count
        cdef const uint16_t *cells
        try:
            tree_reserve(tree, size, 2)
            while position < size:
                count = self.piece(position, size, &cells)
                tree_write(tree, position, CELLS, cells, 0, count, count)
                position += count
            tree_reserve(tree, extra, inserts)
        except MemoryError:
            tree_free(tree)
            raise
        free(self.cells)
        self.cells = NULL
        self.capacity = self.gap_start = self.gap_end = 0
        self.tree = tree
        return 0

    cdef Text twin(self):
        """A copy with the same storage."""
        cdef Text other = Text.__new__(Text)
        other.wide = self.wide
        if self.tree != NULL:
            other.tree = tree_copy(self.tree)
        elif self.capacity:
            other.cells = <uint16_t *>malloc(self.capacity * sizeof(uint16_t))
            if other.cells == NULL:
                raise MemoryError()
            memcpy(other.cells, self.cells, self.capacity * sizeof(uint16_t))
            other.capacity, other.gap_start, other.gap_end = self.capacity, self.gap_start, self.gap_end
        return other

    cdef void swap(self, Text other) noexcept:  # swaps fields
        self.cells, other.cells = other.cells, self.cells
        self.tree, other.tree = other.tree, self.tree
        self.capacity, other.capacity = other.capacity, self.capacity
        self.gap_start, other.gap_start = other.gap_start, self.gap_start
        self.gap_end, other.gap_end = other.gap_end, self.gap_end
        self.wide, other.wide = other.wide, self.wide

    cdef void move_gap(self, Py_ssize_t position) noexcept:  # moves memory inside the buffer
        cdef Py_ssize_t distance
        if position < self.gap_start:
            distance = self.gap_start - position
            memmove(self.cells + self.gap_end - distance, self.cells + position, distance * sizeof(uint16_t))
            self.gap_start -= distance
            self.gap_end -= distance
        elif position > self.gap_start:
            distance = position - self.gap_start
            memmove(self.cells + self.gap_start, self.cells + self.gap_end, distance * sizeof(uint16_t))
            self.gap_start += distance
            self.gap_end += distance

    cdef void write(self, Py_ssize_t position, str text, Py_ssize_t start, Py_ssize_t length, Py_ssize_t cells) noexcept:
        # Inserts text[start : start + length] (characters), so many cells; the caller has reserved the room.
        if length == 0:
            return
        if self.tree != NULL:
            tree_write(self.tree, position, PyUnicode_KIND(text), PyUnicode_DATA(text), start, length, cells)
            self.wide = self.tree.wide
            return
        self.move_gap(position)
        self.wide += encode(PyUnicode_KIND(text), PyUnicode_DATA(text), start, length, self.cells + self.gap_start)
        self.gap_start += cells

    cdef void erase(self, Py_ssize_t position, Py_ssize_t length) noexcept:  # callers stay inside the text
        if self.tree != NULL:
            tree_erase(self.tree, position, length)
            self.wide = self.tree.wide
            return
        if self.wide:
            self.wide -= self.count_wide(position, position + length)
        # A delete that touches the gap widens it in place, so that backspacing moves nothing.
        if position <= self.gap_start <= position + length:
            self.gap_end += length - (self.gap_start - position)
            self.gap_start = position
        else:
            self.move_gap(position)
            self.gap_end += length

    cdef Py_ssize_t count_wide(self, Py_ssize_t start, Py_ssize_t end) noexcept:
        """Characters above U+FFFF in [start, end), which lie on character boundaries."""
        cdef Py_ssize_t found = 0, count
        cdef const uint16_t *cells
        if self.wide == 0:
            return 0
        if self.tree != NULL and end - start > self.tree.leaf_cells:
            return tree_wide_before(self.tree, end) - tree_wide_before(self.tree, start)
        while start < end:
            count = self.piece(start, end, &cells)
            found += count_high(cells, count)
            start += count
        return found

    cdef str copy(self, Py_ssize_t start, Py_ssize_t end):
        """[start, end), which lie on character boundaries, as a str; at memory speed."""
        cdef Py_ssize_t wide = self.count_wide(start, end), at = start, count, index
        cdef const uint16_t *cells
        cdef uint16_t mask = 0
        cdef str result
        cdef void *out
        if start == end:
            return ""
        # The narrowest form is known from all bits seen together: its bounds are powers of two.
        while at < end and wide == 0:
            count = self.piece(at, end, &cells)
            for index in range(count):
                mask |= cells[index]
            at += count
        result = PyUnicode_New(
            end - start - wide, 0x10FFFF if wide else 0x7F if mask < 0x80 else 0xFF if mask < 0x100 else 0xFFFF
        )
        out = WRITABLE(result)
        while start < end:
            count = self.piece(start, end, &cells)
            if wide:
                out = decode(cells, count, <uint32_t *>out)
            elif mask < 0x100:
                for index in range(count):
                    (<unsigned char *>out)[index] = <unsigned char>cells[index]
                out = <unsigned char *>out + count
            else:
                memcpy(out, cells, count * sizeof(uint16_t))
                out = <uint16_t *>out + count
            start += count
        return result

# ------------------------------------------------------------------------------------------ on top of storage

    cdef bint splits(self, Py_ssize_t position) noexcept:
        """Whether a boundary here, inside [0, size], would lie between the halves of a pair."""
        cdef const uint16_t *cells
        if self.wide == 0 or position == 0 or position >= self.size():
            return False
        self.piece(position, position + 1, &cells)
        return is_low(cells[0])

    cdef Py_ssize_t skip_points(self, Py_ssize_t start, Py_ssize_t points) noexcept:
        """Code units that the next ``points`` characters from ``start`` on take; -1 when the text ends before."""
        cdef Py_ssize_t size = self.size(), index = start, count, step, taken
        cdef const uint16_t *cells
        if self.wide == 0:
            return points if points <= size - start else -1
        if self.tree != NULL and points > self.tree.leaf_cells:
            points += start - tree_wide_before(self.tree, start)
            if points > size - self.wide:
                return -1
            index = tree_seek_points(self.tree, &points)
        while points > 0 and index < size:
            count = self.piece(index, size, &cells)
            taken = 0
            while points > 0 and taken < count:
                # So many cells hold at most so many characters; those that are pairs are missing then.
                step = min(points, count - taken)
                step += is_high(cells[taken + step - 1])
                points -= step - count_high(cells + taken, step)
                taken += step
            index += taken
        return index - start if points == 0 else -1

    cdef int require_applicable(self, Operation operation) except -1:
        cdef Py_ssize_t index, at = 0
        if not operation.utf16:
            raise ValueError("the operation must count utf-16; convert it with to_unit")
        if operation.base() > self.size():
            raise out_of_range("the operation reaches past the end of the text")
        if self.size() + operation.inserted - operation.deleted > MAX_LENGTH:
            raise out_of_range("the text would be over 2147483647 code units")
        if self.wide == 0:
            return 0
        for index in range(operation.count):
            if operation.parts[index].kind != RETAIN and self.splits(at):
                raise invalid("an operation may not split a surrogate pair")
            if operation.parts[index].kind != INSERT:
                at += operation.parts[index].length
                if operation.parts[index].kind == DELETE and self.splits(at):
                    raise invalid("an operation may not split a surrogate pair")
        return 0

    cdef int prepare(self, Operation operation) except -1:
        """Reserves what ``commit`` takes: after this it does not fail."""
        cdef Py_ssize_t index, inserts = 0
        for index in range(operation.count):
            inserts += operation.parts[index].kind == INSERT
        return self.reserve(operation.inserted, inserts)

    cdef int commit(self, Operation operation) except -1:
        """Applies what ``require_applicable`` let pass; fails only for want of memory, and then before any change."""
        cdef Py_ssize_t index, at = 0, used = 0, points
        cdef Part part
        self.prepare(operation)
        for index in range(operation.count):
            part = operation.parts[index]
            if part.kind == RETAIN:
                at += part.length
            elif part.kind == INSERT:
                points = count_points(operation.text, used, part.length)
                self.write(at, operation.text, used, points, part.length)
                used += points
                at += part.length
            else:
                self.erase(at, part.length)
        self.release()
        return 0

    cdef int replay_splices(self, const Splice *splices, Py_ssize_t count, str inserted) except -1:
        """Applies them one after the other, all or nothing; ``inserted``: what all insert, in order. Raises as ``replay``."""
        cdef int64_t most = splices_check(splices, count, self.size(), inserted), deleted = 0
        cdef Py_ssize_t index
        cdef list journal = []
        cdef Text twin
        require_well_formed(inserted)
        for index in range(count):
            deleted += splices[index].deleted
        if self.tree == NULL and self.wide == 0 and most <= FLAT and not has_astral(inserted):
            self.reserve(most - self.size(), 1)
            self.run(splices, count, inserted, None)  # nothing can fail
        elif deleted + JOURNAL * count > self.size():
            # What may still be refused, or lack memory, is tried on a copy,
            twin = self.twin()
            twin.reserve(most - self.size(), 1)
            twin.run(splices, count, inserted, None)
            self.swap(twin)
        else:
            # or can be taken back: there and back are reserved.
            self.reserve(most - self.size(), 1)
            if self.tree != NULL:
                tree_reserve(self.tree, utf16_length(inserted) + deleted, 2 * count)
            try:
                self.run(splices, count, inserted, journal)
            except BaseException:
                self.take_back(journal)
                self.release()
                raise
        self.release()
        return 0

    cdef int run(self, const Splice *splices, Py_ssize_t count, str inserted, list journal) except -1:
        # Ranges and lengths are checked, a gap is wide enough, chunks are reserved if there is a journal (what was
        # inserted where, and what was deleted); pairs are looked after here.
        cdef Py_ssize_t index = 0, used = 0, points, position, units, deleted, more
        cdef bint wide = has_astral(inserted)
        while index < count:
            position = splices[index].position
            deleted = splices[index].deleted
            units = points = 0
            # What is typed on and on goes in at once.
            while True:
                more = splices[index].inserted
                units += more
                if wide:
                    more = count_points(inserted, used + points, more)
                    if more < 0:
                        raise invalid("a splice may not insert half a surrogate pair")
                points += more
                index += 1
                if index == count or splices[index].position != position + units or splices[index].deleted:
                    break
            if self.wide and (self.splits(position) or self.splits(position + deleted)):
                raise invalid("a splice may not split a surrogate pair")
            if journal is not None:
                journal.append((position, units, self.copy(position, position + deleted), deleted))
            elif self.tree != NULL:
                tree_reserve(self.tree, units, 1)
            self.erase(position, deleted)
            self.write(position, inserted, used, points, units)
            used += points
        return 0

    cdef int take_back(self, list journal) except -1:
        """The edits of a journal, the last one first; there is room."""
        cdef Py_ssize_t index, position, units, deleted
        cdef str text
        for index in range(len(journal) - 1, -1, -1):
            position, units, text, deleted = journal[index]
            self.erase(position, units)
            self.write(position, text, 0, PyUnicode_GET_LENGTH(text), deleted)
        return 0

    cdef Operation counted(self, Operation operation, bint utf16):
        """``operation``, which applies to this text, in the unit; raises as ``to_unit``."""
        cdef Py_ssize_t index, at = 0, used = 0, points, units
        cdef Parts parts
        cdef Part part
        if operation.utf16 == utf16:
            return operation
        if self.wide == 0 and PyUnicode_KIND(operation.text) != 4:
            if operation.base() > self.size():
                raise out_of_range("the operation reaches past the end of the text")
            return operation.recounted(utf16)
        if operation.utf16:
            self.require_applicable(operation)
        parts_open(&parts)
        try:
            for index in range(operation.count):
                part = operation.parts[index]
                if part.kind == INSERT:
                    if operation.utf16:
                        units = part.length
                        points = count_points(operation.text, used, units)
                    else:
                        points = part.length
                        units = utf16_length(operation.text[used : used + points])
                    used += points
                elif operation.utf16:
                    units = part.length
                    points = units - self.count_wide(at, at + units)
                    at += units
                else:
                    points = part.length
                    units = self.skip_points(at, points)
                    if units < 0:
                        raise out_of_range("the operation reaches past the end of the text")
                    at += units
                parts_push(&parts, part.kind, units if utf16 else points)
            return new_operation(&parts, operation.text, utf16)
        finally:
            parts_close(&parts)

    cdef Py_ssize_t convert(self, Py_ssize_t position, bint source_utf16, bint target_utf16) except -1:
        """An offset in the other unit. Raises as ``offset_to``."""
        cdef Py_ssize_t units
        if position < 0 or position > (self.size() if source_utf16 else self.size() - self.wide):
            raise out_of_range("the position lies outside the text")
        if source_utf16 and self.splits(position):
            raise invalid("the position lies inside a surrogate pair")
        if source_utf16 == target_utf16 or self.wide == 0:
            return position
        return position - self.count_wide(0, position) if source_utf16 else self.skip_points(0, position)

    # ------------------------------------------------------------------------------------------------------ for all

    def __str__(self):
        return self.copy(0, self.size())

    def __len__(self):
        """In UTF-16 code units."""
        return self.size()

    def __reduce__(self):
        return Text, (str(self),)

    def __repr__(self):
        return f"<Text of {self.size()} code units>"

    @property
    def astral(self):
        """How many characters lie above U+FFFF; zero makes the two units the same."""
        return self.wide

    @property
    def chunked(self):
        """Whether it has grown into chunks."""
        return self.tree != NULL

    def check(self):
        """For tests: raises AssertionError unless the chunks are as their invariants say. O(text)."""
        if self.tree != NULL:
            tree_check(self.tree)
            assert self.wide == self.tree.wide

    def hash(self):
        """CRC-32 (zlib's) of the text as UTF-16LE. O(chunks edited since the last call); not in chunks, O(text)."""
        cdef Py_ssize_t size = self.size(), position = 0, count
        cdef const uint16_t *cells
        cdef uint32_t crc = 0
        if self.tree != NULL:
            return tree_hash(self.tree)
        while position < size:
            count = self.piece(position, size, &cells)
            crc = crc_cells(crc, cells, count)
            position += count
        return crc

    def length(self, unit):
        return self.size() if unit_is_utf16(unit) else self.size() - self.wide

    def splice(self, Py_ssize_t position, Py_ssize_t deleted, str inserted not None):
        """Replaces ``deleted`` code units at ``position``; raises as ``apply``. O(edit + distance from the last
        one), in chunks O(edit + log n + chunk).
        """
        cdef Py_ssize_t length
        if position < 0 or deleted < 0 or position > self.size() or deleted > self.size() - position:
            raise out_of_range("the splice lies outside the text")
        if self.splits(position) or self.splits(position + deleted):
            raise invalid("a splice may not split a surrogate pair")
        require_well_formed(inserted)
        length = utf16_length(inserted)
        if self.size() - deleted + length > MAX_LENGTH:
            raise out_of_range("the text would be over 2147483647 code units")
        self.reserve(length, 1)
        self.erase(position, deleted)
        self.write(position, inserted, 0, PyUnicode_GET_LENGTH(inserted), length)
        self.release()

    def replay(self, bytes body not None):
        """Applies a batch of splices (splices.pyx), all or nothing. O(edits * (log n + chunk) + what they insert and delete).

        Raises ValueError for a damaged body, SynclineError as ``splice``.
        """
        cdef Splices splices
        cdef str inserted
        splices_open(&splices)
        try:
            inserted = splices_read(&splices, body)
            self.replay_splices(splices.items, splices.count, inserted)
        finally:
            splices_close(&splices)

    def slice(self, Py_ssize_t start, Py_ssize_t end):
        """Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair)."""
        if start < 0 or end < start or end > self.size():
            raise out_of_range("the slice lies outside the text")
        if self.splits(start) or self.splits(end):
            raise invalid("a slice may not split a surrogate pair")
        return self.copy(start, end)

    def apply(self, Operation operation not None):
        """All or nothing. ``operation`` counts utf-16 (else ValueError). Raises as ``ot.apply``."""
        self.require_applicable(operation)
        self.commit(operation)

    def invert(self, Operation operation not None):
        """What undoes ``operation``, which applies to this text and counts utf-16. Raises as ``apply``."""
        cdef Py_ssize_t index, at = 0
        cdef Parts parts
        cdef Part part
        cdef list texts = []
        self.require_applicable(operation)
        parts_open(&parts)
        try:
            for index in range(operation.count):
                part = operation.parts[index]
                if part.kind == INSERT:
                    parts_push(&parts, DELETE, part.length)
                    continue
                parts_push(&parts, RETAIN if part.kind == RETAIN else INSERT, part.length)
                if part.kind == DELETE:
                    texts.append(self.copy(at, at + part.length))
                at += part.length
            return new_operation(&parts, "".join(texts), True)
        finally:
            parts_close(&parts)

    def to_unit(self, Operation operation not None, unit):
        """``operation``, which applies to this text, counted in ``unit``. With astral characters O(text) for a gap
        buffer, O(components * (log n + chunk)) for chunks. Raises SynclineError as ``slice``.
        """
        return self.counted(operation, unit_is_utf16(unit))

    def offset_to(self, Py_ssize_t position, source, target):
        """Raises SynclineError: operation_out_of_range, operation_invalid (inside a surrogate pair)."""
        return self.convert(position, unit_is_utf16(source), unit_is_utf16(target))
