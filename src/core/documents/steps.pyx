"""The undo log of texts: a history as bare arrays of parts, which is what moves operations past it, without its texts and without an
object per step.

A step has UTF-16 units; one that did nothing has no parts.
"""

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.unicode cimport Py_UNICODE_ISSPACE, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.storage.record_format cimport Writer, damaged
from syncline.core.ot.ot cimport MAX_COMPONENTS, Operation, new_operation
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, count_points, invalid, parts_close, parts_open, parts_push,
    transform_parts, utf16_length,
)
from syncline.core.documents.undo_log cimport CLOSED, DELETING, MAX_TYPED, TYPING, Source, Stroke, UndoLog

from syncline.core.ot.ot import compose

# An operation has at most so many components (ot.pyx); several composed ones may have more.
cdef int64_t MAX_PARTS = 10_000_000

# Steps and parts that are looked at in a microsecond; and how many microseconds of that are done at once.
cdef int64_t UNITS = 100
cdef int64_t SOME = 1000
cdef int64_t NO_ROOM = 2**62

# What an item with its operation occupies beside parts and text, rounded up.
cdef Py_ssize_t ITEM_BYTES = 320


cdef Py_ssize_t live = 0


def live_steps() -> int:
    """How many lists of steps exist in this process; for leak tests."""
    return live


@cython.final
cdef class Steps(UndoLog):
    """A growing list of arrays of parts."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1
        PyMem_Free(self.parts)
        PyMem_Free(self.ends)

    cdef UndoLog emptied(self):
        return Steps()

    cdef int append(self, object operation, Py_ssize_t size) except -1:
        if operation is None:
            return self.push(NULL, 0)
        return self.push((<Operation>operation).parts, (<Operation>operation).count)

    cdef int push(self, const Part *parts, Py_ssize_t count) except -1:
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

    cdef int extend(self, UndoLog other, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Steps steps = <Steps>other
        cdef Py_ssize_t index, at
        for index in range(start, end):
            at = steps.start_of(index)
            if steps.ends[index] > at:
                self.push(steps.parts + at, steps.ends[index] - at)
        return 0

    cdef int drop(self, Py_ssize_t count) except -1:
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

    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) except -1:
        return self.start_of(start) == self.start_of(end)

    cdef object move(self, object spot, int64_t *caret, Py_ssize_t start, Py_ssize_t end):
        cdef Py_ssize_t index, step
        cdef int64_t at, result, position = caret[0]
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
        caret[0] = position
        return spot

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        return self.used * sizeof(Part) + self.count * sizeof(Py_ssize_t)

    # ------------------------------------------------------------------------------------------------- operations

    cdef int64_t labour(
        self, object operation, UndoLog pending, Py_ssize_t start, Py_ssize_t end, UndoLog passed
    ) except -1:
        cdef Steps before = <Steps>pending, after = <Steps>passed
        cdef int64_t count = end - start + after.count, parts = self.start_of(end) - self.start_of(start) + after.used
        if before is not None:
            count += before.count
            parts += before.used
        return (count + parts + count * (<Operation>operation).count) // UNITS

    cdef object lift(self, object operation, UndoLog steps, Py_ssize_t start, Py_ssize_t end, UndoLog out):
        cdef int64_t spent = 0
        return pass_through(<Operation>operation, <Steps>steps, &start, end, <Steps>out, NO_ROOM, &spent)

    def lifting(self, operation, Steps steps not None, Py_ssize_t start, Py_ssize_t end, Steps out not None, list budget):
        while start < end:
            operation, start, spent = lift_some(operation, steps, start, end, out)
            budget[0] -= spent
            if budget[0] < 0:
                raise invalid("too much was committed since what it would undo")
            if start < end:
                yield
        return operation

    cdef object compose(self, object first, object second):
        return compose(first, second)

    cdef bint is_identity(self, object operation) except -1:
        return (<Operation>operation).count == 0

    cdef bint is_same(self, object planned, object applied) except -1:
        return planned == applied

    cdef int check(self, object operation) except -1:
        if (<Operation>operation).count > MAX_COMPONENTS:
            raise invalid(f"more than {MAX_COMPONENTS} components")
        return 0

    def undoing(self, Operation operation not None, Operation inverse not None):
        """The text that is put back."""
        if not operation.utf16 or not inverse.utf16:
            raise ValueError("operations count utf-16 here")
        return inverse.text

    cdef bint changes(self, object operation, object undoing) except -1:
        return (<Operation>operation).count > 0

    cdef object stroke(self, object operation, object undoing, Stroke *stroke):
        cdef Operation edit = <Operation>operation
        cdef str text
        stroke.kind = CLOSED
        if edit.count > 2 or edit.inserted > MAX_TYPED or edit.deleted > MAX_TYPED:
            return None
        if (edit.inserted > 0) == (edit.deleted > 0):
            return None
        text = edit.text if edit.inserted else <str>undoing
        stroke.kind = TYPING if edit.inserted else DELETING
        stroke.at = edit.retained
        stroke.length = edit.inserted + edit.deleted
        stroke.first_blank = Py_UNICODE_ISSPACE(text[0])
        stroke.last_blank = Py_UNICODE_ISSPACE(text[len(text) - 1])
        return None

    cdef object inverse(self, object operation, object undoing):
        return inverse_of(<Operation>operation, <str>undoing)

    cdef object grown(self, object operation, object undoing, object top):
        return with_inverse(<Operation>operation, <str>undoing, <Operation>top)

    cdef Py_ssize_t weigh(self, object operation) except -1:
        cdef str text = (<Operation>operation).text
        return (
            ITEM_BYTES + (<Operation>operation).count * sizeof(Part) + PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text)
        )

    # ---------------------------------------------------------------------------------------------- in a snapshot

    cdef int write(self, Writer out) except -1:
        cdef Py_ssize_t index = 0, at, run
        out.varint(self.count)
        while index < self.count:
            at = self.start_of(index)
            run = 0
            while index + run < self.count and self.ends[index + run] == at:
                run += 1
            if run:
                out.varint(0)
                out.varint(run)
                index += run
            else:
                out.varint(self.ends[index] - at)
                write_parts(out, self.parts + at, self.ends[index] - at)
                index += 1
        return 0

    cdef int write_operation(self, Writer out, object operation) except -1:
        cdef Operation edit = <Operation>operation
        out.varint(edit.count)
        write_parts(out, edit.parts, edit.count)
        return out.text(edit.text)

    cdef UndoLog read(self, Source source, int64_t limit):
        cdef int64_t left = source.number(limit), count, run
        cdef Steps result = Steps()
        cdef Parts parts
        parts_open(&parts)
        try:
            while left:
                count = source.number(MAX_PARTS)
                parts.count = 0
                if count == 0:
                    run = source.number(left)
                    if run == 0:
                        raise damaged("an empty run")
                    left -= run
                    while run:
                        result.push(parts.items, 0)
                        run -= 1
                else:
                    read_parts(source, &parts, count)
                    result.push(parts.items, parts.count)
                    left -= 1
            return result
        finally:
            parts_close(&parts)

    cdef object read_operation(self, Source source):
        cdef int64_t count = source.number(MAX_PARTS), index, inserted = 0
        cdef Py_ssize_t points, used = 0
        cdef Parts parts
        cdef str text
        parts_open(&parts)
        try:
            read_parts(source, &parts, count)
            text = source.text()
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


cdef Operation inverse_of(Operation operation, str removed):
    """What undoes ``operation``, which deleted ``removed``, in the text after it."""
    cdef Parts parts
    cdef Py_ssize_t index
    cdef int kind
    parts_open(&parts)
    try:
        for index in range(operation.count):
            kind = operation.parts[index].kind
            kind = DELETE if kind == INSERT else INSERT if kind == DELETE else RETAIN
            parts_push(&parts, kind, operation.parts[index].length)
        return new_operation(&parts, removed, True)
    finally:
        parts_close(&parts)


cdef Operation with_inverse(Operation operation, str removed, Operation undo):
    """The inverse of ``operation`` and then ``undo``, which applies where that leads."""
    cdef Parts parts
    if operation.deleted or undo.inserted or undo.count > 2 or operation.retained != undo.base():
        return compose(inverse_of(operation, removed), undo)
    # Typing goes on: what is to be deleted grows at its end.
    parts_open(&parts)
    try:
        parts_push(&parts, RETAIN, undo.retained)
        parts_push(&parts, DELETE, undo.deleted + operation.inserted)
        return new_operation(&parts, "", True)
    finally:
        parts_close(&parts)


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


cdef tuple lift_some(Operation operation, Steps steps, Py_ssize_t start, Py_ssize_t end, Steps out):
    """(operation after them, how far it has come, microseconds, about): the steps that take a millisecond, about; one at least."""
    cdef int64_t spent = 0
    operation = pass_through(operation, steps, &start, end, out, SOME * UNITS, &spent)
    return operation, start, spent // UNITS


cdef Operation pass_through(
    Operation operation, Steps steps, Py_ssize_t *start, Py_ssize_t end, Steps out, int64_t room, int64_t *spent
):
    """``operation`` after the steps of the range, and to ``out`` the steps after ``operation``.

    Both start in the same text. One at a time, the operation on the left: the result does not depend on how a history
    is cut into ranges. O(steps x parts). It stops, and ``start`` says where, when ``spent`` is ``room``: steps and parts that were
    looked at.
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
    if count == 0 or steps.is_empty(start[0], end):
        out.extend(steps, start[0], end)
        spent[0] += end - start[0]
        start[0] = end
        return operation
    parts_open(&buffers[0])
    parts_open(&buffers[1])
    parts_open(&step)
    try:
        for index in range(count):
            parts_push(&buffers[0], operation.parts[index].kind, operation.parts[index].length)
        parts = buffers[0].items
        for index in range(start[0], end):
            start[0] = index
            if spent[0] >= room:
                break
            at = steps.start_of(index)
            size = steps.ends[index] - at
            spent[0] += 1 + size
            if size == 0:
                continue
            other = steps.parts + at
            # Nearly always one lies before the other as a whole: then only a first retain changes.
            first = other[0].length if other[0].kind == RETAIN else 0
            if count == 0 or first > end_of_base:
                out.push(other, size)
                if count:
                    out.parts[out.used - size].length = moved(first, delta)
                continue
            if begin:
                extent(other, size, &last, &grows)
                if last < begin:
                    out.push(other, size)
                    parts[0].length = moved(begin, grows)
                    begin += grows
                    end_of_base += grows
                    continue
            step.count = 0
            spent[0] += count
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
                out.push(step.items, step.count)
        else:
            start[0] = end
        buffers[1 - turn].count = count
        return new_operation(&buffers[1 - turn], operation.text if operation.inserted else "", True)
    finally:
        parts_close(&buffers[0])
        parts_close(&buffers[1])
        parts_close(&step)


cdef int write_parts(Writer out, const Part *parts, Py_ssize_t count) except -1:
    cdef Py_ssize_t index
    for index in range(count):
        out.varint(<int64_t>parts[index].length * 4 + parts[index].kind)
    return 0


cdef int read_parts(Source source, Parts *parts, int64_t count) except -1:
    """Canonical ones only."""
    cdef int64_t number, index
    for index in range(count):
        number = source.number(4 * MAX_LENGTH + 3)
        if number & 3 == 3 or number < 4:
            raise damaged("not a component")
        parts_push(parts, number & 3, number >> 2)
    if parts.count != count or (count and parts.items[count - 1].kind == RETAIN):
        raise damaged("an operation is not canonical")
    return 0
