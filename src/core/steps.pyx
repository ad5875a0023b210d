"""A history as bare arrays of parts: what is needed to move operations past it, without its texts and without an
object per step. For undo.pyx, which keeps long ones.

A step is what one committed operation did, in UTF-16 units; one that did nothing has no parts. Also here: how steps and
operations are written in a snapshot.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.ot cimport Operation, new_operation
from syncline.core.parts cimport (
    DELETE,
    INSERT,
    MAX_LENGTH,
    RETAIN,
    Part,
    Parts,
    count_points,
    invalid,
    parts_close,
    parts_open,
    parts_push,
    transform_parts,
    utf16_length,
)

# An operation has at most so many components (ot.pyx); several composed ones may have more.
cdef int64_t MAX_PARTS = 10_000_000


cdef Py_ssize_t live = 0


def live_steps() -> int:
    """How many lists of steps exist in this process; for leak tests."""
    return live


@cython.final
cdef class Steps:
    """A growing list of arrays of parts."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1
        PyMem_Free(self.parts)
        PyMem_Free(self.ends)

    cdef int append(self, const Part *parts, Py_ssize_t count) except -1:
        """A trailing retain is left out."""
        cdef Py_ssize_t size
        cdef void *grown
        if count and parts[count - 1].kind == RETAIN:
            count -= 1
        if self.used + count > self.room:
            size = max(self.used + count, self.room + self.room // 2, 8)
            grown = PyMem_Realloc(self.parts, size * sizeof(Part))
            if grown == NULL:
                raise MemoryError()
            self.parts = <Part *>grown
            self.room = size
        if self.count == self.capacity:
            size = max(self.capacity + self.capacity // 2, 8)
            grown = PyMem_Realloc(self.ends, size * sizeof(Py_ssize_t))
            if grown == NULL:
                raise MemoryError()
            self.ends = <Py_ssize_t *>grown
            self.capacity = size
        if count:
            memcpy(self.parts + self.used, parts, count * sizeof(Part))
        self.used += count
        self.ends[self.count] = self.used
        self.count += 1
        return 0

    cdef int extend(self, Steps other, Py_ssize_t start, Py_ssize_t end) except -1:
        """Those of ``other`` in the range that do something."""
        cdef Py_ssize_t index, at
        for index in range(start, end):
            at = other.start_of(index)
            if other.ends[index] > at:
                self.append(other.parts + at, other.ends[index] - at)
        return 0

    cdef int drop(self, Py_ssize_t count) except -1:
        """Forgets the first ``count``, which is at most ``self.count``. O(what is left)."""
        cdef Py_ssize_t index, gone = self.start_of(count)
        if count == 0:
            return 0
        memmove(self.parts, self.parts + gone, (self.used - gone) * sizeof(Part))
        for index in range(count, self.count):
            self.ends[index - count] = self.ends[index] - gone
        self.used -= gone
        self.count -= count
        self.shrink()
        return 0

    cdef int shrink(self) except -1:
        """Gives memory back after a long history has gone."""
        cdef Py_ssize_t room = 2 * self.used + 8, capacity = 2 * self.count + 8
        cdef void *smaller
        if self.room > 2 * room:
            smaller = PyMem_Realloc(self.parts, room * sizeof(Part))
            if smaller != NULL:
                self.parts = <Part *>smaller
                self.room = room
        if self.capacity > 2 * capacity:
            smaller = PyMem_Realloc(self.ends, capacity * sizeof(Py_ssize_t))
            if smaller != NULL:
                self.ends = <Py_ssize_t *>smaller
                self.capacity = capacity
        return 0

    cdef Py_ssize_t start_of(self, Py_ssize_t index) noexcept:  # callers stay at or below count
        return self.ends[index - 1] if index else 0

    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) noexcept:  # as above
        """Whether none of the range does anything."""
        return self.start_of(start) == self.start_of(end)

    cdef int64_t move(self, int64_t position, Py_ssize_t start, Py_ssize_t end) noexcept:  # reads inside the range
        """Where a cursor goes that an insert just at it leaves where it is."""
        cdef Py_ssize_t index, step
        cdef int64_t at, result
        cdef Part part
        for step in range(start, end):
            at = 0
            result = position
            for index in range(self.start_of(step), self.ends[step]):
                if at > position:
                    break
                part = self.parts[index]
                if part.kind == INSERT:
                    if at < position:
                        result += part.length
                    continue
                if part.kind == DELETE:
                    result -= min(<int64_t>part.length, position - at)
                at += part.length
            position = result
        return position

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        return self.used * sizeof(Part) + self.count * sizeof(Py_ssize_t)


cdef int32_t moved(int64_t retained, int64_t by) except -1:
    """A first retain after a change before it."""
    retained += by
    if not 0 < retained <= MAX_LENGTH:
        raise invalid("a length over 2147483647")
    return <int32_t>retained


cdef void extent(const Part *parts, Py_ssize_t count, int64_t *end, int64_t *delta) noexcept:
    # Where the text that the parts name ends, and how much longer they make it. Reads inside the array.
    cdef Py_ssize_t index
    end[0] = delta[0] = 0
    for index in range(count):
        if parts[index].kind == INSERT:
            delta[0] += parts[index].length
            continue
        end[0] += parts[index].length
        if parts[index].kind == DELETE:
            delta[0] -= parts[index].length


cdef Operation pass_through(Operation operation, Steps steps, Py_ssize_t start, Py_ssize_t end, Steps out):
    """``operation`` after the steps of the range, and to ``out`` the steps after ``operation``.

    Both start in the same text. One at a time, the operation on the left: the result does not depend on how a history
    is cut into ranges. O(steps x parts).
    """
    cdef Parts buffers[2]
    cdef Parts step
    cdef Part *parts
    cdef const Part *other
    cdef Py_ssize_t index, at, size, count = operation.count
    cdef int64_t begin = operation.parts[0].length if count and operation.parts[0].kind == RETAIN else 0
    cdef int64_t end_of_base = operation.base()
    cdef int64_t delta = operation.inserted - operation.deleted
    cdef int64_t first, last, grows
    cdef int turn = 1
    if count == 0 or steps.is_empty(start, end):
        out.extend(steps, start, end)
        return operation
    parts_open(&buffers[0])
    parts_open(&buffers[1])
    parts_open(&step)
    try:
        for index in range(count):
            parts_push(&buffers[0], operation.parts[index].kind, operation.parts[index].length)
        parts = buffers[0].items
        for index in range(start, end):
            at = steps.start_of(index)
            size = steps.ends[index] - at
            if size == 0:
                continue
            other = steps.parts + at
            # Nearly always one lies before the other as a whole: then only a first retain changes.
            first = other[0].length if other[0].kind == RETAIN else 0
            if count == 0 or first > end_of_base:
                out.append(other, size)
                if count:
                    out.parts[out.used - size].length = moved(first, delta)
                continue
            if begin:
                extent(other, size, &last, &grows)
                if last < begin:
                    out.append(other, size)
                    parts[0].length = moved(begin, grows)
                    begin += grows
                    end_of_base += grows
                    continue
            step.count = 0
            transform_parts(other, size, parts, count, False, &step)
            buffers[turn].count = 0
            transform_parts(parts, count, other, size, True, &buffers[turn])
            parts = buffers[turn].items
            count = buffers[turn].count
            turn = 1 - turn
            if count and parts[count - 1].kind == RETAIN:
                count -= 1
            begin = parts[0].length if count and parts[0].kind == RETAIN else 0
            extent(parts, count, &end_of_base, &delta)
            if step.count and not (step.count == 1 and step.items[0].kind == RETAIN):
                out.append(step.items, step.count)
        buffers[1 - turn].count = count
        return new_operation(&buffers[1 - turn], operation.text if operation.inserted else "", True)
    finally:
        parts_close(&buffers[0])
        parts_close(&buffers[1])
        parts_close(&step)


# ------------------------------------------------------------------------------------------------------- writing


cdef int write_number(bytearray out, int64_t value) except -1:
    """LEB128; ``value`` is not negative."""
    while value >= 0x80:
        out.append((value & 0x7F) | 0x80)
        value >>= 7
    out.append(value)
    return 0


cdef int write_text(bytearray out, str text) except -1:
    cdef bytes encoded = text.encode("utf-8")
    write_number(out, len(encoded))
    out += encoded
    return 0


cdef int write_parts(bytearray out, const Part *parts, Py_ssize_t count) except -1:
    cdef Py_ssize_t index
    for index in range(count):
        write_number(out, <int64_t>parts[index].length * 4 + parts[index].kind)
    return 0


cdef int write_operation(bytearray out, Operation operation) except -1:
    write_number(out, operation.count)
    write_parts(out, operation.parts, operation.count)
    write_text(out, operation.text)
    return 0


cdef int write_steps(bytearray out, Steps steps, Py_ssize_t start) except -1:
    """Those from ``start`` on. Of steps that do nothing the number: they come in long runs."""
    cdef Py_ssize_t index = start, at, run
    write_number(out, steps.count - start)
    while index < steps.count:
        at = steps.start_of(index)
        run = 0
        while index + run < steps.count and steps.ends[index + run] == at:
            run += 1
        if run:
            write_number(out, 0)
            write_number(out, run)
            index += run
        else:
            write_number(out, steps.ends[index] - at)
            write_parts(out, steps.parts + at, steps.ends[index] - at)
            index += 1
    return 0


# ------------------------------------------------------------------------------------------------------- reading


cdef object damaged(str what):
    return ValueError(f"damaged body: {what}")


@cython.final
cdef class Source:
    """Walks what was written. Every method raises ValueError rather than read past the end."""

    def __init__(self, bytes body not None):
        self.body = body
        self.data = <const unsigned char *>PyBytes_AS_STRING(body)
        self.at = 0
        self.end = PyBytes_GET_SIZE(body)

    cdef int64_t number(self, int64_t limit) except -1:
        """From 0 to ``limit``."""
        cdef int64_t value = 0
        cdef int shift = 0
        cdef unsigned char byte
        while True:
            if self.at == self.end:
                raise damaged("cut off")
            if shift > 49:
                raise damaged("a number is too large")
            byte = self.data[self.at]
            self.at += 1
            value |= <int64_t>(byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if value > limit:
            raise damaged("a number is too large")
        return value

    cdef str text(self):
        cdef int64_t length = self.number(4 * MAX_LENGTH)
        cdef const char *start = <const char *>self.data + self.at
        if length > self.end - self.at:
            raise damaged("cut off")
        self.at += length
        return PyUnicode_DecodeUTF8(start, length, NULL)

    cdef int read_parts(self, Parts *parts, int64_t count) except -1:
        """Canonical ones only."""
        cdef int64_t number, index
        for index in range(count):
            number = self.number(4 * MAX_LENGTH + 3)
            if number & 3 == 3 or number < 4:
                raise damaged("not a component")
            parts_push(parts, number & 3, number >> 2)
        if parts.count != count or (count and parts.items[count - 1].kind == RETAIN):
            raise damaged("an operation is not canonical")
        return 0

    cdef Operation operation(self):
        cdef int64_t count = self.number(MAX_PARTS), index, inserted = 0
        cdef Py_ssize_t points, used = 0
        cdef Parts parts
        cdef str text
        parts_open(&parts)
        try:
            self.read_parts(&parts, count)
            text = self.text()
            for index in range(parts.count):
                if parts.items[index].kind == INSERT:
                    inserted += parts.items[index].length
                    points = count_points(text, used, parts.items[index].length)
                    if points < 0:
                        raise damaged("an insert does not fit its text")
                    used += points
            if utf16_length(text) != inserted:
                raise damaged("an inserted text has another length")
            return new_operation(&parts, text, True)
        finally:
            parts_close(&parts)

    cdef Steps steps(self, int64_t limit):
        """At most ``limit``."""
        cdef int64_t left = self.number(limit), count, run
        cdef Steps result = Steps()
        cdef Parts parts
        parts_open(&parts)
        try:
            while left:
                count = self.number(MAX_PARTS)
                parts.count = 0
                if count == 0:
                    run = self.number(left)
                    if run == 0:
                        raise damaged("an empty run")
                    left -= run
                    while run:
                        result.append(parts.items, 0)
                        run -= 1
                else:
                    self.read_parts(&parts, count)
                    result.append(parts.items, parts.count)
                    left -= 1
            return result
        finally:
            parts_close(&parts)
