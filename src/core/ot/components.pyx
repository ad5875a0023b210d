"""Arrays of components, and the text they insert: what operations are made of.

A part is (kind, length). `parts_push` keeps an array canonical: lengths > 0, no equal neighbours. Nothing here knows
what is on the other side of a length; `transform_parts` is all there is to transforming, since what is inserted stays
the same; `compose_parts` gathers the inserted text too.

Texts are Python strings, which are stored in the narrowest of three kinds: kind 4 means that there is a character above
U+FFFF, any other kind that UTF-16 units and code points are the same.
"""

from cpython.unicode cimport (
    PyUnicode_DATA, PyUnicode_FromKindAndData, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ,
)
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy

from syncline.core.errors import ErrorCode, SynclineError

cdef int64_t MAX_LENGTH = 2_147_483_647


cdef object invalid(str message):
    return SynclineError(ErrorCode.OPERATION_INVALID, message)


cdef object out_of_range(str message):
    return SynclineError(ErrorCode.OPERATION_OUT_OF_RANGE, message)


# ----------------------------------------------------------------------------------------------- growable arrays


cdef void parts_open(Parts *self) noexcept:  # only sets fields
    self.items = self.local
    self.count = 0
    self.capacity = 16


cdef void parts_close(Parts *self) noexcept:  # only frees
    if self.items != self.local:
        free(self.items)
    self.items = self.local


cdef int parts_push(Parts *self, int kind, int64_t length) except -1:
    """Appends a component; joins it to an equal neighbour; leaves out an empty one."""
    cdef Part *grown
    if length <= 0:
        return 0
    if self.count and self.items[self.count - 1].kind == kind:
        length += self.items[self.count - 1].length
        self.count -= 1
    if length > MAX_LENGTH:
        raise invalid("a length over 2147483647")
    if self.count == self.capacity:
        if self.items == self.local:
            grown = <Part *>malloc(4 * self.capacity * sizeof(Part))
            if grown != NULL:
                memcpy(grown, self.local, self.count * sizeof(Part))
        else:
            grown = <Part *>realloc(self.items, 4 * self.capacity * sizeof(Part))
        if grown == NULL:
            raise MemoryError()
        self.items = grown
        self.capacity *= 4
    self.items[self.count].kind = <int32_t>kind
    self.items[self.count].length = <int32_t>length
    self.count += 1
    return 0


cdef Py_ssize_t parts_finish(Parts *self, Sums *sums) except -1:
    """Drops a trailing retain, adds up, and holds the sums to 2^31 - 1. Returns the count."""
    cdef Py_ssize_t index
    cdef int64_t retained = 0, inserted = 0, deleted = 0
    if self.count and self.items[self.count - 1].kind == RETAIN:
        self.count -= 1
    for index in range(self.count):
        if self.items[index].kind == RETAIN:
            retained += self.items[index].length
        elif self.items[index].kind == INSERT:
            inserted += self.items[index].length
        else:
            deleted += self.items[index].length
    if retained + deleted > MAX_LENGTH or retained + inserted > MAX_LENGTH:
        raise invalid("the lengths add up to more than 2147483647")
    sums.retained = retained
    sums.inserted = inserted
    sums.deleted = deleted
    return self.count


cdef void points_open(Points *self) noexcept:  # only sets fields
    self.items = NULL
    self.count = 0
    self.capacity = 0


cdef int points_reserve(Points *self, Py_ssize_t extra) except -1:
    cdef Py_ssize_t capacity = self.capacity
    cdef Py_UCS4 *grown
    if self.count + extra <= capacity:
        return 0
    capacity = max(2 * capacity, self.count + extra, 32)
    grown = <Py_UCS4 *>realloc(self.items, capacity * sizeof(Py_UCS4))
    if grown == NULL:
        raise MemoryError()
    self.items = grown
    self.capacity = capacity
    return 0


cdef void points_close(Points *self) noexcept:  # only frees
    free(self.items)
    self.items = NULL


cdef int points_copy(Points *self, int kind, const void *data, Py_ssize_t start, Py_ssize_t length) except -1:
    """Appends characters start ... start + length of a text of that kind; the caller has checked the range."""
    cdef Py_ssize_t index
    cdef Py_UCS4 *out
    points_reserve(self, length)
    out = self.items + self.count
    if kind == 1:
        for index in range(length):
            out[index] = (<const unsigned char *>data)[start + index]
    elif kind == 2:
        for index in range(length):
            out[index] = (<const unsigned short *>data)[start + index]
    elif length:
        memcpy(out, <const Py_UCS4 *>data + start, length * sizeof(Py_UCS4))
    self.count += length
    return 0


cdef int points_append(Points *self, str text, Py_ssize_t start, Py_ssize_t length) except -1:
    """Appends text[start : start + length]; the caller has checked the range."""
    return points_copy(self, PyUnicode_KIND(text), PyUnicode_DATA(text), start, length)


cdef str points_text(Points *self):
    """What was gathered."""
    if self.count == 0:
        return ""
    return PyUnicode_FromKindAndData(4, self.items, self.count)


# ------------------------------------------------------------------------------------------- counting characters


cdef bint has_astral(str text) noexcept:  # a str is stored in the narrowest kind: 4 means above U+FFFF
    return PyUnicode_KIND(text) == 4


cdef Py_ssize_t utf16_length(str text) except -1:
    return PyUnicode_GET_LENGTH(text) + count_astral(text, 0, PyUnicode_GET_LENGTH(text))


cdef Py_ssize_t count_astral(str text, Py_ssize_t start, Py_ssize_t length) noexcept:  # reads inside checked bounds
    cdef const Py_UCS4 *data
    cdef Py_ssize_t index, found = 0
    if not has_astral(text):
        return 0
    data = <const Py_UCS4 *>PyUnicode_DATA(text)
    for index in range(start, start + length):
        found += data[index] > 0xFFFF
    return found


cdef Py_ssize_t count_points(str text, Py_ssize_t start, Py_ssize_t units) noexcept:  # reads inside the text
    """How many characters from ``start`` on make exactly so many UTF-16 units; -1 when that would split a pair or
    reach past the end.
    """
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    if not has_astral(text):
        return units if units <= length - start else -1
    return count_wide_points(<const Py_UCS4 *>PyUnicode_DATA(text), start, length, units)


cdef Py_ssize_t count_wide_points(
    const Py_UCS4 *data, Py_ssize_t start, Py_ssize_t end, Py_ssize_t units
) noexcept:  # reads inside the text
    cdef Py_ssize_t index = start
    while units > 0 and index < end:
        units -= 1 + (data[index] > 0xFFFF)
        index += 1
    return index - start if units == 0 else -1


cdef int require_well_formed(str text) except -1:
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t index
    cdef bint found = False
    if kind == 1:
        return 0
    for index in range(PyUnicode_GET_LENGTH(text)):
        found |= (<uint32_t>PyUnicode_READ(kind, data, index) & <uint32_t>0xFFFFF800) == 0xD800
    if found:
        raise invalid("a lone surrogate is not text")
    return 0


cdef void widen(str text, Py_ssize_t start, Py_ssize_t length, int kind, char *out, Py_ssize_t at) noexcept:
    # Copies inside bounds that the caller has checked; `kind` is at least the text's own.
    cdef int own = PyUnicode_KIND(text)
    cdef char *data = <char *>PyUnicode_DATA(text)
    cdef Py_ssize_t index
    if own == kind:
        memcpy(out + at * kind, data + start * kind, length * kind)
    elif kind == 2:
        for index in range(length):
            (<unsigned short *>out)[at + index] = (<unsigned char *>data)[start + index]
    else:
        for index in range(length):
            (<Py_UCS4 *>out)[at + index] = PyUnicode_READ(own, data, start + index)


# ----------------------------------------------------------------------------------------------------- transform


cdef int transform_parts(
    const Part *parts, Py_ssize_t count, const Part *other, Py_ssize_t other_count, bint left, Parts *out
) except -1:
    """Appends to ``out`` what ``parts`` become after ``other``. What is inserted stays the same, in the same order."""
    cdef Py_ssize_t index, other_index = 0
    cdef int64_t left_over = other[0].length if other_count else 0
    cdef int64_t want, step
    cdef int kind
    for index in range(count):
        kind = parts[index].kind
        want = parts[index].length
        if kind == INSERT:
            if not left:
                # Inserts of `other` at this very place go first.
                while other_index < other_count and other[other_index].kind == INSERT:
                    parts_push(out, RETAIN, left_over)
                    other_index += 1
                    left_over = other[other_index].length if other_index < other_count else 0
            parts_push(out, INSERT, want)
            continue
        while want:
            if other_index == other_count:
                parts_push(out, kind, want)
                break
            if other[other_index].kind == INSERT:
                parts_push(out, RETAIN, left_over)
                left_over = 0
            else:
                step = min(want, left_over)
                if other[other_index].kind == RETAIN:
                    parts_push(out, kind, step)
                want -= step
                left_over -= step
            if left_over == 0:
                other_index += 1
                left_over = other[other_index].length if other_index < other_count else 0
    return 0


# ------------------------------------------------------------------------------------------------------- compose


cdef int take_text(Points *out, const Source *source, Py_ssize_t *used, int64_t length, bint utf16, bint keep) except -1:
    """Goes on by so many units in the inserted text; with ``keep`` what lies there is appended to ``out``."""
    cdef Py_ssize_t taken = length
    if utf16 and source.wide:
        taken = count_wide_points(<const Py_UCS4 *>source.data, used[0], source.length, length)
        if taken < 0:
            raise invalid("an operation may not split a surrogate pair")
    if keep:
        points_copy(out, source.kind, source.data, used[0], taken)
    used[0] += taken
    return 0


cdef int compose_parts(const Source *first, const Source *second, bint utf16, Parts *out, Points *text) except -1:
    """Appends what does ``first`` and then ``second``: see ``ot.compose``."""
    cdef Py_ssize_t index, part_index = 0, used_first = 0, used_second = 0
    cdef int64_t left_over = 0, want, step
    cdef Part part
    cdef int head = -1
    for index in range(second.count):
        part = second.parts[index]
        want = part.length
        if part.kind == INSERT:
            parts_push(out, INSERT, want)
            take_text(text, second, &used_second, want, utf16, True)
            continue
        while want:
            if left_over == 0:
                if part_index < first.count:
                    head = first.parts[part_index].kind
                    left_over = first.parts[part_index].length
                    part_index += 1
                else:
                    head = -1
            if head == DELETE and left_over:
                parts_push(out, DELETE, left_over)
                left_over = 0
                continue
            if head == -1:  # beyond what `first` names: an endless retain
                parts_push(out, part.kind, want)
                break
            step = min(want, left_over)
            want -= step
            left_over -= step
            if head == INSERT:
                if part.kind == RETAIN:
                    parts_push(out, INSERT, step)
                take_text(text, first, &used_first, step, utf16, part.kind == RETAIN)
            else:
                parts_push(out, part.kind, step)
    while True:
        if left_over:
            parts_push(out, head, left_over)
            if head == INSERT:
                take_text(text, first, &used_first, left_over, utf16, True)
        if part_index == first.count:
            break
        head = first.parts[part_index].kind
        left_over = first.parts[part_index].length
        part_index += 1
    return 0
