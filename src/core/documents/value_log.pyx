"""The undo log of documents of any ``DocumentType``: a list of operations."""

from libc.stdint cimport int64_t

cimport cython

from syncline.core.storage.record_format cimport Writer, damaged
from syncline.core.documents.undo_log cimport CLOSED, DELETING, MAX_TYPED, TYPING, Source, Stroke, UndoLog

import msgspec

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.values.text0 import units

# What an item, and a step, occupy beside their operations.
cdef Py_ssize_t ITEM_BYTES = 400
cdef Py_ssize_t STEP_BYTES = 100
cdef Py_ssize_t EMPTY_BYTES = 8

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@cython.final
cdef class ValueLog(UndoLog):
    """Operations as their type has them."""

    def __init__(self, type not None):
        self.type = type
        self.steps = []
        self.sizes = []

    cdef UndoLog emptied(self):
        return ValueLog(self.type)

    cdef int append(self, object operation, Py_ssize_t size) except -1:
        cdef Py_ssize_t occupied = EMPTY_BYTES
        if operation is not None:
            lean = self.type.without_claims(operation)
            if lean is not operation:
                operation, size = lean, -1
            if size < 0:
                size = len(self.type.encode(operation))
            occupied = STEP_BYTES + self.type.footprint(operation, size)
        self.steps.append(operation)
        self.sizes.append(occupied)
        self.weight += occupied
        self.count += 1
        return 0

    cdef int extend(self, UndoLog other, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef ValueLog log = <ValueLog>other
        cdef Py_ssize_t index
        for index in range(start, end):
            if log.steps[index] is not None:
                self.append(log.steps[index], -1)
        return 0

    cdef int drop(self, Py_ssize_t count) except -1:
        self.weight -= sum(self.sizes[:count])
        del self.steps[:count]
        del self.sizes[:count]
        self.count -= count
        return 0

    cdef bint is_empty(self, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Py_ssize_t index
        for index in range(start, end):
            if self.steps[index] is not None:
                return False
        return True

    cdef object move(self, object spot, int64_t *caret, Py_ssize_t start, Py_ssize_t end):
        cdef Py_ssize_t index, last
        cdef tuple place
        for index in range(start, end):
            if self.steps[index] is None:
                continue
            if spot is None:
                caret[0] = self.type.move(self.steps[index], caret[0])
                continue
            place = self.type.move(self.steps[index], (*spot, caret[0]))
            last = len(place) - 1
            if last != len(spot):
                return False
            spot, caret[0] = place[:last], place[last]
        return spot

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        return self.weight

    # ------------------------------------------------------------------------------------------------- operations

    def lifting(self, operation, ValueLog steps not None, Py_ssize_t start, Py_ssize_t end, ValueLog out, list budget):
        for step in steps.steps[start:end]:
            if step is None:
                continue
            budget[0] -= self.type.cost(operation, step)
            if budget[0] < 0:
                raise SynclineError(ErrorCode.OPERATION_INVALID, "too much was committed since what it would undo")
            yield  # before the work, so that whoever counts it can put it off
            operation, after = yield from self.type.yielding(operation, step)
            out.append(after, 0)
        return operation

    cdef object compose(self, object first, object second):
        return self.type.compose(first, second)

    cdef bint is_identity(self, object operation) except -1:
        return self.type.is_identity(operation)

    cdef bint is_same(self, object planned, object applied) except -1:
        return self.type.is_same(planned, applied)

    cdef bint changes(self, object operation, object undoing) except -1:
        return not self.type.is_identity(undoing)  # formats that were there already are no change

    cdef object stroke(self, object operation, object undoing, Stroke *stroke):
        cdef Py_ssize_t last
        cdef str text
        stroke.kind = CLOSED
        for kind, one in ((TYPING, operation), (DELETING, undoing)):
            found = self.type.stroke(one)
            if found is not None and 0 < units(found[1]) <= MAX_TYPED:
                at, text = found
                spot = None
                if type(at) is tuple:
                    last = len(<tuple>at) - 1
                    spot, at = (<tuple>at)[:last], (<tuple>at)[last]
                stroke.kind = kind
                stroke.at = at
                stroke.length = units(text)
                stroke.first_blank = text[0].isspace()
                stroke.last_blank = text[len(text) - 1].isspace()
                return spot
        return None

    cdef object inverse(self, object operation, object undoing):
        return self.type.without_claims(undoing)

    cdef object grown(self, object operation, object undoing, object top):
        return self.type.without_claims(self.type.compose(undoing, top))

    cdef Py_ssize_t weigh(self, object operation) except -1:
        return ITEM_BYTES + self.type.footprint(operation, len(self.type.encode(operation)))

    # ---------------------------------------------------------------------------------------------- in a snapshot

    cdef int write(self, Writer out) except -1:
        cdef Py_ssize_t index = 0, run
        out.varint(self.count)
        while index < self.count:
            run = 0
            while index + run < self.count and self.steps[index + run] is None:
                run += 1
            if run:
                out.varint(0)
                out.varint(run)
                index += run
            else:
                self.write_operation(out, self.steps[index])
                index += 1
        return 0

    cdef int write_operation(self, Writer out, object operation) except -1:
        cdef bytes encoded = self.type.encode(operation)
        return out.chunk(encoded)

    cdef int write_spot(self, Writer out, object spot) except -1:
        cdef bytes encoded = _encode(spot)
        return out.chunk(encoded)

    cdef UndoLog read(self, Source source, int64_t limit):
        cdef int64_t left = source.number(limit), run
        cdef ValueLog result = ValueLog(self.type)
        cdef bytes encoded
        while left:
            encoded = source.chunk()
            if encoded:
                result.append(self.type.decode(encoded), len(encoded))
                left -= 1
                continue
            run = source.number(left)
            if run == 0:
                raise damaged("an empty run")
            left -= run
            while run:
                result.append(None, 0)
                run -= 1
        return result

    cdef object read_operation(self, Source source):
        return self.type.decode(source.chunk())

    cdef object read_spot(self, Source source):
        spot = _decode(source.chunk())
        if spot is None or spot is False:
            return spot
        if type(spot) is not list or not all([type(step) is str or (type(step) is int and step >= 0) for step in spot]):
            raise damaged("not a place")
        return tuple(spot)
