"""Document text: UTF-16 with a count of astral characters; edits in place, offsets both ways.

A gap buffer of 16-bit cells. Edits near the last one cost what they insert or delete; a distant one moves the cells
between, at memory speed. While no character lies above U+FFFF the two units are the same and conversions cost nothing;
otherwise they scan. A text is always well-formed: an edit that would split a surrogate pair is refused before anything
is changed.

The storage is the methods from ``size`` to ``copy``; everything else is written on top of them.
"""

from cpython.unicode cimport (
    PyUnicode_DATA,
    PyUnicode_GET_LENGTH,
    PyUnicode_KIND,
)
from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.parts cimport (
    DELETE,
    INSERT,
    MAX_LENGTH,
    RETAIN,
    Part,
    Parts,
    count_points,
    invalid,
    out_of_range,
    parts_close,
    parts_open,
    parts_push,
    require_well_formed,
    utf16_length,
)

cdef extern from "Python.h":
    # Cython's own declarations give these a wrong or no signature.
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 maxchar)
    void *WRITABLE "PyUnicode_DATA"(object text)

# Room for typing before the first growth; a fresh or idle document stays small.
cdef Py_ssize_t SMALLEST_GAP = 64

cdef Py_ssize_t live = 0


def live_texts() -> int:
    """How many texts exist in this process; for leak tests."""
    return live


cdef inline bint is_high(uint16_t cell) noexcept:  # arithmetic
    return (cell & 0xFC00) == 0xD800


cdef inline bint is_low(uint16_t cell) noexcept:  # arithmetic
    return (cell & 0xFC00) == 0xDC00


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

    def __init__(self, str text not None=""):
        """Raises SynclineError(operation_invalid) for lone surrogates."""
        require_well_formed(text)
        cdef Py_ssize_t length = utf16_length(text)
        if length > MAX_LENGTH:
            raise out_of_range("a text over 2147483647 code units")
        if self.size():
            self.erase(0, self.size())
        self.reserve(length)
        self.write(0, text, 0, PyUnicode_GET_LENGTH(text))

    # ------------------------------------------------------------------------------------------------ the storage

    cdef Py_ssize_t size(self) noexcept:  # reads fields
        return self.capacity - (self.gap_end - self.gap_start)

    cdef uint16_t cell(self, Py_ssize_t index) noexcept:  # callers stay below size
        return self.cells[index if index < self.gap_start else index + (self.gap_end - self.gap_start)]

    cdef int reserve(self, Py_ssize_t extra) except -1:
        """Makes the gap at least ``extra`` cells wide. Grows by an eighth: amortised O(1) a cell, little waste at
        rest.
        """
        cdef Py_ssize_t size = self.size(), tail = self.capacity - self.gap_end
        cdef Py_ssize_t capacity
        cdef uint16_t *grown
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

    cdef void write(self, Py_ssize_t position, str text, Py_ssize_t start, Py_ssize_t length) noexcept:
        # Inserts text[start : start + length] (characters); the caller has reserved the room.
        cdef int kind = PyUnicode_KIND(text)
        cdef void *data = PyUnicode_DATA(text)
        cdef uint16_t *out
        cdef Py_ssize_t index, count = length
        cdef uint32_t point
        self.move_gap(position)
        out = self.cells + self.gap_start
        if kind == 1:
            for index in range(length):
                out[index] = (<unsigned char *>data)[start + index]
        elif kind == 2:
            memcpy(out, <uint16_t *>data + start, length * sizeof(uint16_t))
        else:
            count = 0
            for index in range(start, start + length):
                point = (<uint32_t *>data)[index]
                if point > 0xFFFF:
                    out[count] = <uint16_t>(0xD800 + ((point - 0x10000) >> 10))
                    out[count + 1] = <uint16_t>(0xDC00 + ((point - 0x10000) & 0x3FF))
                    count += 2
                    self.wide += 1
                else:
                    out[count] = <uint16_t>point
                    count += 1
        self.gap_start += count

    cdef void erase(self, Py_ssize_t position, Py_ssize_t length) noexcept:  # callers stay inside the text
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
        cdef Py_ssize_t found = 0, index, gap = self.gap_end - self.gap_start
        cdef Py_ssize_t middle = min(max(self.gap_start, start), end)
        if self.wide == 0:
            return 0
        for index in range(start, middle):
            found += is_high(self.cells[index])
        for index in range(middle + gap, end + gap):
            found += is_high(self.cells[index])
        return found

    cdef str copy(self, Py_ssize_t start, Py_ssize_t end):
        """[start, end), which lie on character boundaries, as a str; at memory speed."""
        cdef Py_ssize_t gap = self.gap_end - self.gap_start
        cdef Py_ssize_t middle = min(max(self.gap_start, start), end)
        cdef Py_ssize_t wide = self.count_wide(start, end)
        cdef uint16_t mask = 0
        cdef Py_ssize_t index
        cdef str result
        cdef void *out
        if start == end:
            return ""
        # The narrowest form is known from all bits seen together: its bounds are powers of two.
        for index in range(start, middle):
            mask |= self.cells[index]
        for index in range(middle + gap, end + gap):
            mask |= self.cells[index]
        result = PyUnicode_New(
            end - start - wide, 0x10FFFF if wide else 0x7F if mask < 0x80 else 0xFF if mask < 0x100 else 0xFFFF
        )
        out = WRITABLE(result)
        if wide:
            out = decode_cells(self.cells + start, middle - start, <uint32_t *>out)
            decode_cells(self.cells + middle + gap, end - middle, <uint32_t *>out)
        elif mask < 0x100:
            for index in range(middle - start):
                (<unsigned char *>out)[index] = <unsigned char>self.cells[start + index]
            for index in range(middle - start, end - start):
                (<unsigned char *>out)[index] = <unsigned char>self.cells[start + gap + index]
        else:
            memcpy(out, self.cells + start, (middle - start) * sizeof(uint16_t))
            memcpy(<uint16_t *>out + (middle - start), self.cells + middle + gap, (end - middle) * sizeof(uint16_t))
        return result

    # ------------------------------------------------------------------------------------------ on top of storage

    cdef bint splits(self, Py_ssize_t position) noexcept:
        """Whether a boundary here, inside [0, size], would lie between the halves of a pair."""
        return (
            self.wide != 0
            and 0 < position < self.size()
            and is_low(self.cell(position))
            and is_high(self.cell(position - 1))
        )

    cdef Py_ssize_t skip_points(self, Py_ssize_t start, Py_ssize_t points) noexcept:
        """Code units that the next ``points`` characters from ``start`` on take; -1 when the text ends before."""
        cdef Py_ssize_t size = self.size(), index = start
        if self.wide == 0:
            return points if points <= size - start else -1
        while points > 0 and index < size:
            index += 1 + is_high(self.cell(index))
            points -= 1
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

    cdef int commit(self, Operation operation) except -1:
        """Applies what ``require_applicable`` has let pass; fails only for want of memory, and then before any change.
        """
        cdef Py_ssize_t index, at = 0, used = 0, points
        cdef Part part
        self.reserve(operation.inserted)
        for index in range(operation.count):
            part = operation.parts[index]
            if part.kind == RETAIN:
                at += part.length
            elif part.kind == INSERT:
                points = count_points(operation.text, used, part.length)
                self.write(at, operation.text, used, points)
                used += points
                at += part.length
            else:
                self.erase(at, part.length)
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

    def length(self, unit):
        return self.size() if unit_is_utf16(unit) else self.size() - self.wide

    def splice(self, Py_ssize_t position, Py_ssize_t deleted, str inserted not None):
        """Replaces ``deleted`` code units at ``position``; raises as ``apply``. O(distance from the last edit + edit).
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
        self.reserve(length)
        self.erase(position, deleted)
        self.write(position, inserted, 0, PyUnicode_GET_LENGTH(inserted))

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
        """``operation``, which applies to this text, counted in ``unit``. O(text) with astral characters.

        Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
        """
        return self.counted(operation, unit_is_utf16(unit))

    def offset_to(self, Py_ssize_t position, source, target):
        """Raises SynclineError: operation_out_of_range, operation_invalid (inside a surrogate pair)."""
        return self.convert(position, unit_is_utf16(source), unit_is_utf16(target))


cdef void *decode_cells(const uint16_t *cells, Py_ssize_t count, uint32_t *out) noexcept:
    # The text is well-formed and the ends are character boundaries, so a high half is followed by its low half.
    cdef Py_ssize_t index = 0
    while index < count:
        if is_high(cells[index]):
            out[0] = 0x10000 + ((<uint32_t>(cells[index] & 0x3FF)) << 10) + (cells[index + 1] & 0x3FF)
            index += 2
        else:
            out[0] = cells[index]
            index += 1
        out += 1
    return out
