"""Committed operations, and how they and snapshots are written for the store.

Two bodies, both: a first byte that says kind and version, the content, CRC-32 of all before it (little endian).
Integers are LEB128 varints, texts are UTF-8 with their length in bytes before them.

    entries   0x11  count, names (count, texts), then per entry: client and user as indexes of names, seq, flags,
                    [time: float64], [digest: uint64], parts (count, then length * 4 + kind each), inserted text,
                    [the lengths of the same parts in code points]
    snapshot  0x21  flags, clients (count, then name, user, seq, revision, digest each; the longest silent first), text

A damaged body raises ValueError: the checksum finds accidents, and every number is checked as well, so that not even a
body with a right checksum can do harm.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ
from cpython.unicode cimport PyUnicode_DecodeUTF8, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

from zlib import crc32

cimport cython

from syncline.core.errors import SynclineError
from syncline.core.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.parts cimport (
    INSERT,
    MAX_LENGTH,
    RETAIN,
    Parts,
    count_points,
    parts_close,
    parts_open,
    parts_push,
    require_well_formed,
    utf16_length,
)
from syncline.core.window cimport ClientState, Commit, read_kind

cdef uint8_t ENTRIES_V1 = 0x11
cdef uint8_t SNAPSHOT_V1 = 0x21

cdef enum:
    SAME_TIME = 1         # as the entry before
    HAS_POINTS = 2        # the numbers in code points differ
    DIGEST_OF_UNITS = 4   # the digest is that of the operation as committed, in UTF-16 units,
    DIGEST_OF_POINTS = 8  # or in code points; neither: it is written out
    FORGOTTEN = 1

# What an Entry and its Operation occupy beside parts and text, measured with tracemalloc and rounded up.
cdef Py_ssize_t ENTRY_BYTES = 320


cdef object damaged(str what):
    return ValueError(f"damaged body: {what}")


@cython.final
cdef class Entry(Commit):
    """One committed operation. Both units are kept when they differ, so that a client of either can be served."""

    def __init__(
        self,
        str client not None,
        str user not None,
        int64_t seq,
        Operation operation not None,
        Operation unicode_operation=None,
        double time=0.0,
        digest=None,
        str kind not None="edit",
    ):
        """``digest``: of the operation as it was submitted; by default that of ``operation``.

        Raises ValueError when an operation counts the wrong unit, or there is no such kind.
        """
        if not operation.utf16 or (unicode_operation is not None and unicode_operation.utf16):
            raise ValueError("operation counts utf-16, unicode_operation counts unicode")
        if unicode_operation is not None and unicode_operation.same_parts(operation):
            unicode_operation = None
        self.client = client
        self.user = user
        self.seq = seq
        self.operation = operation
        self.points = unicode_operation
        self.time = time
        self.digest = operation.fingerprint() if digest is None else digest
        self.mark = read_kind(kind)

    @property
    def unicode_operation(self):
        """None when the numbers are the same in both units."""
        return self.points

    def in_unit(self, unit):
        """The operation counted in ``unit``."""
        if unit_is_utf16(unit):
            return self.operation
        if self.points is not None:
            return self.points
        if self.points_view is None:
            self.points_view = self.operation.recounted(False)
        return self.points_view

    cdef Operation numbers(self, bint utf16):
        """An operation whose numbers are right in the unit, whatever unit it claims to count."""
        return self.operation if utf16 or self.points is None else self.points

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        cdef Py_ssize_t parts = self.operation.count * (1 if self.points is None else 2)
        return ENTRY_BYTES + 8 * parts + PyUnicode_GET_LENGTH(self.operation.text) * PyUnicode_KIND(self.operation.text)

    def __reduce__(self):
        how = (self.client, self.user, self.seq, self.operation, self.points, self.time, self.digest, self.kind)
        return Entry, how

    def __repr__(self):
        return f"Entry({self.client!r}, {self.user!r}, {self.seq}, {self.operation!r})"


cdef Entry new_entry(
    str client, str user, int64_t seq, Operation operation, Operation points, double time, uint64_t digest
):
    cdef Entry self = Entry.__new__(Entry)
    self.client = client
    self.user = user
    self.seq = seq
    self.operation = operation
    self.points = points
    self.time = time
    self.digest = digest
    return self


# ------------------------------------------------------------------------------------------------------- writing


@cython.final
cdef class _Writer:
    """A growing buffer."""

    cdef char *data
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity

    def __dealloc__(self):
        free(self.data)

    cdef int raw(self, const void *source, Py_ssize_t length) except -1:
        cdef Py_ssize_t capacity
        cdef char *grown
        if self.count + length > self.capacity:
            capacity = max(2 * self.capacity, self.count + length, 256)
            grown = <char *>realloc(self.data, capacity)
            if grown == NULL:
                raise MemoryError()
            self.data = grown
            self.capacity = capacity
        memcpy(self.data + self.count, source, length)
        self.count += length
        return 0

    cdef int fixed(self, uint64_t value, int width) except -1:
        """Little endian on every machine."""
        cdef uint8_t out[8]
        cdef int index
        for index in range(width):
            out[index] = <uint8_t>((value >> (8 * index)) & 0xFF)
        return self.raw(out, width)

    cdef int varint(self, uint64_t value) except -1:
        cdef uint8_t out[10]
        cdef int count = 0
        while value >= 0x80:
            out[count] = <uint8_t>((value & 0x7F) | 0x80)
            value >>= 7
            count += 1
        out[count] = <uint8_t>value
        return self.raw(out, count + 1)

    cdef int text(self, str value) except -1:
        cdef bytes encoded = value.encode("utf-8")
        self.varint(PyBytes_GET_SIZE(encoded))
        return self.raw(PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))

    cdef bytes finish(self):
        self.fixed(<uint32_t>crc32(PyMemoryView_FromMemory(self.data, self.count, PyBUF_READ)), 4)
        return PyBytes_FromStringAndSize(self.data, self.count)


cdef uint64_t double_bits(double value) noexcept:  # copies eight bytes
    cdef uint64_t bits
    memcpy(&bits, &value, 8)
    return bits


cdef Py_ssize_t name_index(dict names, str name) except -1:
    index = names.get(name)
    if index is None:
        index = names[name] = len(names)
    return index


def encode_entries(list entries not None):
    """The body of one turn in the store. Raises ValueError for names that are not well-formed Unicode."""
    cdef _Writer out = _Writer()
    cdef dict names = {}
    cdef Entry entry
    cdef Operation operation
    cdef Py_ssize_t index
    cdef uint64_t flags, time, last_time = 0
    for entry in entries:
        name_index(names, entry.client)
        name_index(names, entry.user)
    out.fixed(ENTRIES_V1, 1)
    out.varint(len(entries))
    out.varint(len(names))
    for name in names:
        out.text(name)
    for entry in entries:
        operation = entry.operation
        time = double_bits(entry.time)
        flags = SAME_TIME if time == last_time else 0
        last_time = time
        if entry.points is not None:
            flags |= HAS_POINTS
        if entry.digest == operation.fingerprint():
            flags |= DIGEST_OF_UNITS
        elif entry.points is not None and entry.digest == entry.points.fingerprint():
            flags |= DIGEST_OF_POINTS
        out.varint(name_index(names, entry.client))
        out.varint(name_index(names, entry.user))
        out.varint(<uint64_t>entry.seq)
        out.varint(flags)
        if not flags & SAME_TIME:
            out.fixed(time, 8)
        if not flags & (DIGEST_OF_UNITS | DIGEST_OF_POINTS):
            out.fixed(entry.digest, 8)
        out.varint(operation.count)
        for index in range(operation.count):
            out.varint(<uint64_t>operation.parts[index].length << 2 | <uint64_t>operation.parts[index].kind)
        if operation.inserted:
            out.text(operation.text)
        if entry.points is not None:
            for index in range(entry.points.count):
                out.varint(<uint64_t>entry.points.parts[index].length)
    return out.finish()


cdef bytes encode_snapshot(str text, object clients, bint forgotten):
    cdef _Writer out = _Writer()
    cdef ClientState state
    out.fixed(SNAPSHOT_V1, 1)
    out.varint(FORGOTTEN if forgotten else 0)
    out.varint(len(clients))
    for state in clients:
        out.text(state.name)
        out.text(state.user)
        out.varint(<uint64_t>state.seq)
        out.varint(<uint64_t>state.revision)
        out.fixed(state.digest, 8)
    out.text(text)
    return out.finish()


def new_text_snapshot(str text not None):
    """The snapshot body of revision 0 of a document that is created with a text.

    Raises SynclineError(operation_invalid) for lone surrogates.
    """
    require_well_formed(text)
    return encode_snapshot(text, (), False)


# ------------------------------------------------------------------------------------------------------- reading


@cython.final
cdef class _Reader:
    """Walks a body. Every method raises ValueError rather than read past the end."""

    cdef bytes body  # keeps the memory alive
    cdef const uint8_t *data
    cdef Py_ssize_t at
    cdef Py_ssize_t end

    def __init__(self, bytes body not None, uint8_t version):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
        self.body = body
        self.data = <const uint8_t *>PyBytes_AS_STRING(body)
        self.end = size
        if size < 5:
            raise damaged("too short")
        if self.data[0] != version:
            raise ValueError(f"unknown body: first byte {self.data[0]}, expected {version}")
        self.at = size - 4
        if self.fixed(4) != crc32(PyMemoryView_FromMemory(<char *>self.data, size - 4, PyBUF_READ)):
            raise damaged("wrong checksum")
        self.at = 1
        self.end = size - 4

    cdef uint64_t fixed(self, int width) except? 0:
        cdef uint64_t value = 0
        cdef int index
        if self.end - self.at < width:
            raise damaged("cut off")
        for index in range(width):
            value |= <uint64_t>self.data[self.at + index] << (8 * index)
        self.at += width
        return value

    cdef int64_t varint(self, int64_t limit=MAX_LENGTH) except -1:
        """A number from 0 to ``limit``."""
        cdef uint64_t value = 0
        cdef int shift = 0
        cdef uint8_t byte
        while True:
            if self.at == self.end:
                raise damaged("cut off")
            if shift > 56:
                raise damaged("a number is too large")
            byte = self.data[self.at]
            self.at += 1
            value |= <uint64_t>(byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
        if value > <uint64_t>limit:
            raise damaged("a number is too large")
        return <int64_t>value

    cdef str text(self):
        cdef int64_t length = self.varint()
        cdef const char *start = <const char *>self.data + self.at
        if length > self.end - self.at:
            raise damaged("cut off")
        self.at += length
        return PyUnicode_DecodeUTF8(start, length, NULL)

    cdef Operation units(self):
        """An operation in UTF-16 units; refuses what is not canonical."""
        cdef int64_t count = self.varint(), number
        cdef Py_ssize_t index, points, used = 0
        cdef Parts parts
        cdef str text = ""
        cdef int64_t inserted = 0
        parts_open(&parts)
        try:
            for index in range(count):
                number = self.varint(4 * MAX_LENGTH + 3)
                if number & 3 == 3 or number < 4:
                    raise damaged("not a component")
                parts_push(&parts, number & 3, number >> 2)
                if number & 3 == INSERT:
                    inserted += number >> 2
            if parts.count != count or (count and parts.items[count - 1].kind == RETAIN):
                raise damaged("an operation is not canonical")
            if inserted:
                text = self.text()
            if utf16_length(text) != inserted:
                raise damaged("an inserted text has another length")
            for index in range(count):
                if parts.items[index].kind == INSERT:
                    points = count_points(text, used, parts.items[index].length)
                    if points < 0:
                        raise damaged("an insert splits a surrogate pair")
                    used += points
            return new_operation(&parts, text, True)
        finally:
            parts_close(&parts)

    cdef Operation points(self, Operation units):
        """The same operation in code points."""
        cdef Py_ssize_t index, used = 0
        cdef int64_t length, expected
        cdef Parts parts
        parts_open(&parts)
        try:
            for index in range(units.count):
                length = self.varint()
                expected = units.parts[index].length
                if units.parts[index].kind == INSERT:
                    expected = count_points(units.text, used, units.parts[index].length)
                    used += expected
                    if length != expected:
                        raise damaged("an inserted text has another length")
                elif length > expected or 2 * length < expected:
                    raise damaged("the units disagree")
                parts_push(&parts, units.parts[index].kind, length)
            return new_operation(&parts, units.text, False)
        finally:
            parts_close(&parts)

    cdef int finish(self) except -1:
        if self.at != self.end:
            raise damaged("it goes on after the end")
        return 0


# Sequence numbers and revisions stay below what JSON can carry.
cdef int64_t MAX_COUNT = 9_007_199_254_740_991


def decode_entries(bytes body not None):
    """The entries of one turn. Raises ValueError on a damaged body."""
    cdef _Reader reader = _Reader(body, ENTRIES_V1)
    cdef int64_t count, name_count, index, flags, client, user, seq
    cdef uint64_t digest, time_bits = 0
    cdef double time
    cdef Operation operation, points
    cdef list names = [], result = []
    try:
        count = reader.varint()
        name_count = reader.varint()
        if count and not name_count:
            raise damaged("no names")
        for index in range(name_count):
            names.append(reader.text())
        for index in range(count):
            client = reader.varint(name_count - 1)
            user = reader.varint(name_count - 1)
            seq = reader.varint(MAX_COUNT)
            flags = reader.varint(15)
            if not flags & SAME_TIME:
                time_bits = reader.fixed(8)
            memcpy(&time, &time_bits, 8)
            digest = 0
            if not flags & (DIGEST_OF_UNITS | DIGEST_OF_POINTS):
                digest = reader.fixed(8)
            operation = reader.units()
            points = reader.points(operation) if flags & HAS_POINTS else None
            if flags & DIGEST_OF_UNITS:
                digest = operation.fingerprint()
            elif flags & DIGEST_OF_POINTS:
                if points is None:
                    raise damaged("contradictory flags")
                digest = points.fingerprint()
            result.append(new_entry(names[client], names[user], seq, operation, points, time, digest))
        reader.finish()
    except SynclineError as error:
        raise damaged(error.message) from error
    return result


def decode_snapshot(bytes body not None):
    """(text, states of the clients, whether clients have been forgotten). Raises ValueError on a damaged body."""
    cdef _Reader reader = _Reader(body, SNAPSHOT_V1)
    cdef ClientState state
    cdef int64_t index, flags = reader.varint(FORGOTTEN)
    cdef int64_t count = reader.varint()
    cdef list clients = []
    cdef str text
    for index in range(count):
        state = ClientState.__new__(ClientState)
        state.name = reader.text()
        state.user = reader.text()
        state.seq = reader.varint(MAX_COUNT)
        state.revision = reader.varint(MAX_COUNT)
        state.digest = reader.fixed(8)
        clients.append(state)
    text = reader.text()
    reader.finish()
    return text, clients, flags != 0
