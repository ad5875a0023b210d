"""Text operations: normalise, apply, compose, transform, invert, map a cursor.

An operation walks the text from its start: retain n, insert a text, delete n. It is an array of parts (kind, length)
and one text that holds everything it inserts, so that `transform`, which never changes what is inserted, shares that
text and touches integers only.

Invariants of an `Operation` (`parts_push` and `load` make them true): every length is > 0; no two neighbours are of
the same kind; the last part is not a retain; retained + deleted and the inserted length are at most 2^31 - 1; the text
is well-formed Unicode (no surrogates). The order of inserts and deletes is kept: only then a history folds into one
position map exactly.

Words: `base` is the text an operation applies to; a "unit" is what lengths count, UTF-16 code units or Unicode code
points.

Sources: Ellis and Gibbs 1989, Jupiter (Nichols et al. 1995) for transform with one side; ot-text-unicode (ShareDB) for
the tie rule. Every function here is O(components + inserted characters), and O(text) where it says so.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from cpython.unicode cimport (
    PyUnicode_DATA, PyUnicode_FromKindAndData, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ,
    PyUnicode_Substring,
)
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

cimport cython

from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, Points, Source, Sums, compose_parts, count_astral,
    count_points, has_astral, invalid, out_of_range, parts_close, parts_finish, parts_open, parts_push,
    points_append, points_close, points_open, points_text, require_well_formed, transform_parts, utf16_length,
    widen,
)

from typing import Literal

from syncline.core.ot.differences import splices

Unit = Literal["utf-16", "unicode"]
Side = Literal["left", "right"]
Components = list[int | str]

# More components than any editor makes in one edit; bounds the work that one request can ask for.
cdef Py_ssize_t MAX_COMPONENTS = 100_000

cdef Py_ssize_t live = 0


def live_operations() -> int:
    """How many operations exist in this process; for leak tests."""
    return live


cdef bint unit_is_utf16(object unit) except -1:
    if unit == "utf-16":
        return True
    if unit == "unicode":
        return False
    raise ValueError(f"unit must be 'utf-16' or 'unicode', not {unit!r}")


cdef bint side_is_left(object side) except -1:
    if side == "left":
        return True
    if side == "right":
        return False
    raise ValueError(f"side must be 'left' or 'right', not {side!r}")


# ------------------------------------------------------------------------------------------------ the operation


cdef int64_t read_integer(object value, str positive, str negative) except? 0:
    """An int of at most 2^31 - 1 either way, not 0; the caller has looked at its type."""
    cdef int overflow = 0
    cdef int64_t length = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow or not -MAX_LENGTH <= length <= MAX_LENGTH:
        raise invalid(f"{negative if overflow < 0 or length < -MAX_LENGTH else positive} over 2147483647")
    if length == 0:
        raise invalid(f"{positive} must be positive")
    return length


cdef int64_t read_length(object value, str what) except -1:
    """A positive int of at most 2^31 - 1; bool and float are not lengths."""
    cdef int64_t length
    if type(value) is not int:
        raise invalid(f"{what} must be an integer")
    length = read_integer(value, what, what)
    if length < 0:
        raise invalid(f"{what} must be positive")
    return length


cdef str read_content(object value):
    if type(value) is not str:
        raise invalid("inserted content must be a string")
    if not value:
        raise invalid("inserted content must not be empty")
    require_well_formed(value)
    return value


cdef str read_parts(object components, bint utf16, Parts *parts):
    """Checks components from outside in one pass, and appends them; returns what they insert. See ``Operation``."""
    cdef list texts = None
    cdef str text = "", first = None
    cdef object item
    cdef int64_t length
    cdef Py_ssize_t index, total
    if type(components) is not list and type(components) is not tuple:
        raise invalid("an operation is a list of components")
    total = len(components)
    if total > MAX_COMPONENTS:
        raise invalid(f"more than {MAX_COMPONENTS} components")
    for index in range(total):
        item = (<list>components)[index] if type(components) is list else (<tuple>components)[index]
        if type(item) is int:
            length = read_integer(item, "a retained length", "a deleted length")
            parts_push(parts, RETAIN if length > 0 else DELETE, length if length > 0 else -length)
        elif type(item) is str:
            text = read_content(item)
            parts_push(parts, INSERT, utf16_length(text) if utf16 else PyUnicode_GET_LENGTH(text))
            if first is None:
                first = text
            else:
                if texts is None:
                    texts = [first]
                texts.append(text)
        else:
            raise invalid("a component is an integer or a string")
    return text if texts is None else "".join(texts)


@cython.overflowcheck(False)  # wraps on purpose
cdef uint64_t digest_parts(const Part *parts, Py_ssize_t count, str text) noexcept:  # reads them
    # FNV-1a, a step per number instead of per byte, with a finish (Murmur3's) that spreads the high bits.
    cdef uint64_t state = 14695981039346656037ULL
    cdef int kind = PyUnicode_KIND(text)
    cdef void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t index
    for index in range(count):
        state = (state ^ <uint64_t>(<int64_t>4 * parts[index].length + parts[index].kind)) * 1099511628211ULL
    for index in range(PyUnicode_GET_LENGTH(text)):
        state = (state ^ <uint64_t>PyUnicode_READ(kind, data, index)) * 1099511628211ULL
    state = (state ^ (state >> 33)) * <uint64_t>0xFF51AFD7ED558CCDULL
    state = (state ^ (state >> 33)) * <uint64_t>0xC4CEB9FE1A85EC53ULL
    return state ^ (state >> 33)


cdef Operation new_operation(Parts *parts, str text, bint utf16):
    cdef Operation self = Operation.__new__(Operation)
    self.load(parts, text, utf16)
    return self


@cython.final
@cython.freelist(64)
cdef class Operation:
    """An immutable, canonical list of components: retain n, insert text, delete n. Lengths count ``unit``.

    Canonical: no empty component, no equal neighbours, no trailing retain. The order of inserts and deletes within
    the operation is kept: only then does a history fold into one position map exactly.
    """

    def __cinit__(self):
        global live
        live += 1
        self.parts = self.local
        self.count = 0
        self.text = ""

    def __dealloc__(self):
        global live
        live -= 1
        if self.parts != self.local:
            free(self.parts)

    def __init__(self, components, unit="utf-16"):
        """Raises SynclineError(operation_invalid): wrong types, zero or too large lengths, lone surrogates."""
        cdef Parts parts
        cdef bint utf16 = unit_is_utf16(unit)
        if self.ready:
            raise TypeError("an Operation is immutable")
        parts_open(&parts)
        try:
            text = read_parts(components, utf16, &parts)
            self.load(&parts, text, utf16)
        finally:
            parts_close(&parts)

    cdef int load(self, Parts *parts, str text, bint utf16) except -1:
        """Takes the parts over by copy; called once."""
        cdef Sums sums
        cdef Py_ssize_t count = parts_finish(parts, &sums)
        if count > 4:
            self.parts = <Part *>malloc(count * sizeof(Part))
            if self.parts == NULL:
                self.parts = self.local
                raise MemoryError()
        memcpy(self.parts, parts.items, count * sizeof(Part))
        self.count = count
        self.text = text
        self.utf16 = utf16
        self.retained = sums.retained
        self.inserted = sums.inserted
        self.deleted = sums.deleted
        self.ready = True
        return 0

    @staticmethod
    def parse(value, unit="utf-16"):
        """A list of components, or the single form {type, position, content, length}. Same errors."""
        cdef list components
        if type(value) is not dict:
            return Operation(value, unit)
        kind = value.get("type")
        if type(kind) is not str or kind not in ("insert", "delete", "replace"):
            raise invalid("type must be 'insert', 'delete' or 'replace'")
        components = []
        position = value.get("position")
        if type(position) is not int or position != 0:
            components.append(read_length(position, "position"))
        if kind != "delete":
            components.append(read_content(value.get("content")))
        if kind != "insert":
            components.append(-read_length(value.get("length"), "length"))
        return Operation(components, unit)

    @property
    def unit(self):
        return "utf-16" if self.utf16 else "unicode"

    @property
    def components(self):
        """A new list: positive retains, negative deletes, strings insert."""
        cdef list result = []
        cdef Py_ssize_t index, points, at = 0
        cdef Part part
        for index in range(self.count):
            part = self.parts[index]
            if part.kind == RETAIN:
                result.append(part.length)
            elif part.kind == DELETE:
                result.append(-part.length)
            elif part.length == self.inserted:
                result.append(self.text)
            else:
                points = count_points(self.text, at, part.length) if self.utf16 else part.length
                result.append(PyUnicode_Substring(self.text, at, at + points))
                at += points
        return result

    @property
    def base_length(self):
        """How much of the text it names; the text must be at least this long."""
        return self.base()

    @property
    def delta(self):
        """Length after minus length before."""
        return self.inserted - self.deleted

    @property
    def is_identity(self):
        return self.count == 0

    @property
    def has_astral(self):
        """Whether an inserted text has a character above U+FFFF."""
        return has_astral(self.text)

    @property
    def end(self):
        """Offset, after applying, of the end of the last insert or delete; the author's cursor. 0 for the identity."""
        return self.tail()

    @property
    def digest(self):
        """64 bits of what it does, the same on every machine and in every version of Syncline. Not cryptographic."""
        return self.fingerprint()

    cdef int64_t base(self) noexcept:  # reads fields
        return self.retained + self.deleted

    cdef int64_t tail(self) noexcept:  # reads fields; the last part is never a retain
        return self.retained + self.inserted

    cdef bint same_parts(self, Operation other) noexcept:  # compares memory of known size
        return self.count == other.count and memcmp(self.parts, other.parts, self.count * sizeof(Part)) == 0

    cdef Operation recounted(self, bint utf16):
        """The same numbers under the other unit's name; right only where both units agree."""
        cdef Parts parts
        if self.utf16 == utf16:
            return self
        parts.items = self.parts
        parts.count = self.count
        return new_operation(&parts, self.text, utf16)

    cdef uint64_t fingerprint(self) noexcept:  # reads fields
        return digest_parts(self.parts, self.count, self.text)

    cdef int64_t move(self, int64_t position, bint right) noexcept:  # reads fields
        """Where a cursor goes; see ``map_position``."""
        cdef int64_t at = 0, result = position
        cdef Py_ssize_t index
        cdef Part part
        for index in range(self.count):
            if at > position:
                break
            part = self.parts[index]
            if part.kind == INSERT:
                if at < position or right:
                    result += part.length
                continue
            if part.kind == DELETE:
                result -= min(<int64_t>part.length, position - at)
            at += part.length
        return result

    def __eq__(self, other):
        if type(other) is not Operation:
            return NotImplemented
        return (
            self.utf16 == (<Operation>other).utf16
            and self.same_parts(<Operation>other)
            and self.text == (<Operation>other).text
        )

    def __hash__(self):
        return <Py_hash_t>(self.fingerprint() >> 1)

    def __repr__(self):
        return f"Operation({self.components!r}, {self.unit!r})"

    def __reduce__(self):
        return Operation, (self.components, self.unit)


# ---------------------------------------------------------------------------------------------------- the verbs


cdef int require_same_unit(Operation first, Operation second) except -1:
    if first.utf16 != second.utf16:
        raise ValueError("the operations count different units")
    return 0


def apply(str text not None, Operation operation not None):
    """Returns the text after the operation. O(text).

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """
    cdef Operation counted = to_unit(operation, text, "unicode")
    cdef int kind = max(<int>PyUnicode_KIND(text), <int>PyUnicode_KIND(counted.text))
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef Py_ssize_t index, at = 0, source = 0, used = 0
    cdef Part part
    cdef char *buffer
    if counted.base() > length:
        raise out_of_range("the operation reaches past the end of the text")
    if counted.count == 0:
        return text
    buffer = <char *>malloc((length + counted.inserted - counted.deleted) * kind + 1)
    if buffer == NULL:
        raise MemoryError()
    try:
        for index in range(counted.count):
            part = counted.parts[index]
            if part.kind == RETAIN:
                widen(text, source, part.length, kind, buffer, at)
                source += part.length
                at += part.length
            elif part.kind == INSERT:
                widen(counted.text, used, part.length, kind, buffer, at)
                used += part.length
                at += part.length
            else:
                source += part.length
        widen(text, source, length - source, kind, buffer, at)
        at += length - source
        return PyUnicode_FromKindAndData(kind, buffer, at)
    finally:
        free(buffer)


cdef Source operation_source(Operation operation) noexcept:  # borrows; the caller keeps the operation
    cdef Source source
    source.parts = operation.parts
    source.count = operation.count
    source.data = PyUnicode_DATA(operation.text)
    source.length = PyUnicode_GET_LENGTH(operation.text)
    source.kind = PyUnicode_KIND(operation.text)
    source.wide = has_astral(operation.text)
    return source


def compose(Operation first not None, Operation second not None):
    """One operation that does what ``first`` and then ``second`` do.

    Where ``first`` deletes and ``second`` inserts, the insert comes first: then the composite, transformed as the side
    that wins ties, gives the text that its two steps would have given. As a history it does not replace them: T(x, a.b)
    is not T(T(x, a), b). Raises ValueError for mixed units, SynclineError(operation_invalid) when ``second`` splits a
    pair that ``first`` inserts.
    """
    cdef Parts parts
    cdef Points points
    cdef Source before = operation_source(first), after = operation_source(second)
    require_same_unit(first, second)
    if second.count == 0:
        return first
    if first.count == 0:
        return second
    parts_open(&parts)
    points_open(&points)
    try:
        compose_parts(&before, &after, first.utf16, &parts, &points)
        return new_operation(&parts, points_text(&points), first.utf16)
    finally:
        parts_close(&parts)
        points_close(&points)


def transform(Operation operation not None, Operation other not None, side):
    """``operation`` as it must be applied after ``other``. ``side``: "left" wins ties (inserts before other's).

    Raises ValueError for mixed units, SynclineError(operation_invalid) when a length overflows.
    """
    cdef Parts parts
    cdef bint left = side_is_left(side)
    require_same_unit(operation, other)
    if operation.count == 0 or other.count == 0:
        return operation
    parts_open(&parts)
    try:
        transform_parts(operation.parts, operation.count, other.parts, other.count, left, &parts)
        return new_operation(&parts, operation.text, operation.utf16)
    finally:
        parts_close(&parts)


def invert(Operation operation not None, str text not None):
    """The operation that undoes it; ``text`` is the one before it. O(text) with astral characters.

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """
    cdef Operation counted = to_unit(operation, text, "unicode")
    cdef Parts parts
    cdef Points points
    cdef Py_ssize_t index, at = 0
    cdef Part part
    if counted.base() > PyUnicode_GET_LENGTH(text):
        raise out_of_range("the operation reaches past the end of the text")
    parts_open(&parts)
    points_open(&points)
    try:
        for index in range(operation.count):
            part = operation.parts[index]
            if part.kind == INSERT:
                parts_push(&parts, DELETE, part.length)
                continue
            parts_push(&parts, RETAIN if part.kind == RETAIN else INSERT, part.length)
            if part.kind == DELETE:
                points_append(&points, text, at, counted.parts[index].length)
            at += counted.parts[index].length
        return new_operation(&parts, points_text(&points), operation.utf16)
    finally:
        parts_close(&parts)
        points_close(&points)


def map_position(position, Operation operation not None, stick="right"):
    """Where a cursor goes. An insert exactly at the cursor pushes it on with "right", leaves it with "left".

    Raises ValueError for a negative position.
    """
    cdef bint left = side_is_left(stick)
    if type(position) is not int or not 0 <= position <= MAX_LENGTH:
        raise ValueError("position must be an integer from 0 to 2147483647")
    return operation.move(position, not left)


def to_unit(Operation operation not None, str text not None, unit):
    """The same operation counted in ``unit``; ``text`` is the one it applies to. O(text) with astral characters.

    Raises SynclineError: operation_out_of_range, operation_invalid (splits a surrogate pair).
    """
    cdef bint utf16 = unit_is_utf16(unit)
    cdef bint wide_text = has_astral(text)
    cdef Py_ssize_t index, at = 0, used = 0, points
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef Parts parts
    cdef Part part
    if operation.utf16 == utf16:
        return operation
    if not wide_text and operation.base() > length:
        raise out_of_range("the operation reaches past the end of the text")
    if not wide_text and not has_astral(operation.text):
        return operation.recounted(utf16)
    parts_open(&parts)
    try:
        for index in range(operation.count):
            part = operation.parts[index]
            if part.kind == INSERT:
                points = count_points(operation.text, used, part.length) if operation.utf16 else part.length
                parts_push(&parts, INSERT, points + count_astral(operation.text, used, points) if utf16 else points)
                used += points
                continue
            points = part.length
            if operation.utf16:
                points = count_points(text, at, part.length)
                if points < 0:
                    if part.length > length - at + count_astral(text, at, length - at):
                        raise out_of_range("the operation reaches past the end of the text")
                    raise invalid("an operation may not split a surrogate pair")
            elif part.length > length - at:
                raise out_of_range("the operation reaches past the end of the text")
            parts_push(&parts, part.kind, points + count_astral(text, at, points) if utf16 else points)
            at += points
        return new_operation(&parts, operation.text, utf16)
    finally:
        parts_close(&parts)


def diff(str before not None, str after not None, unit="utf-16", bint thorough=True):
    """What differs, as ``differences.splices`` finds it: at each place the inserted text, then the deletion. O(both), and some
    milliseconds. Not ``thorough``: a single splice, O(both).

    Raises SynclineError(operation_invalid) when ``after`` brings in a lone surrogate.
    """
    cdef bint utf16 = unit_is_utf16(unit)
    cdef Py_ssize_t start, deleted, at = 0
    cdef list changes = splices(before, after, None if thorough else [0])
    cdef Parts parts
    cdef str inserted
    parts_open(&parts)
    try:
        for start, deleted, inserted in changes:
            require_well_formed(inserted)
            parts_push(&parts, RETAIN, start - at + count_astral(before, at, start - at) if utf16 else start - at)
            parts_push(&parts, INSERT, utf16_length(inserted) if utf16 else PyUnicode_GET_LENGTH(inserted))
            parts_push(&parts, DELETE, deleted + count_astral(before, start, deleted) if utf16 else deleted)
            at = start + deleted
        return new_operation(&parts, "".join([change[2] for change in changes]), utf16)
    finally:
        parts_close(&parts)
