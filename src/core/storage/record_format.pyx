"""How bodies are written for the store: a first byte that says kind and version, the content, CRC-32 of all before it
(little endian). Integers are LEB128 varints, texts are UTF-8 with their length in bytes before them.

Every plain version has a *packed* form, its number plus one: the length of the content as a varint, then the content
deflated. A Reader opens both. The checksum finds accidents; every number is checked as well, so that not even a body
with a right checksum can do harm: what is damaged raises ValueError, and what is packed unpacks to at most MAX_RAW bytes.
"""

from cpython.buffer cimport PyBUF_READ
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy

import zlib
from zlib import compressobj, crc32, decompressobj

cimport cython

from syncline.core.ot.components cimport MAX_LENGTH

cdef int64_t MAX_COUNT = 9_007_199_254_740_991

# What a packed body may unpack to.
cdef int64_t MAX_RAW = 268_435_456

#: Versions whose packed form is the next number: entries, snapshots.
cdef tuple PACKABLE = (0x12, 0x21)


cdef object damaged(str what):
    return ValueError(f"damaged body: {what}")


@cython.overflowcheck(False)  # wraps on purpose
cdef uint64_t zigzag(int64_t value) noexcept:  # arithmetic
    return (<uint64_t>value << 1) ^ <uint64_t>(value >> 63)


@cython.overflowcheck(False)  # wraps on purpose
cdef int64_t unzigzag(uint64_t value) noexcept:  # arithmetic
    return <int64_t>(value >> 1) ^ -<int64_t>(value & 1)


@cython.final
cdef class Writer:
    """A growing buffer."""

    def __dealloc__(self):
        free(self.data)

    cdef int raw(self, const void *source, Py_ssize_t length) except -1:
        cdef Py_ssize_t capacity
        cdef char *grown
        if length == 0:
            return 0
        if self.count + length > self.capacity:
            capacity = max(2 * self.capacity, self.count + length, 64)
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
        """Raises ValueError (UnicodeEncodeError) for lone surrogates."""
        return self.chunk(value.encode("utf-8"))

    cdef int chunk(self, bytes value) except -1:
        """With their number before them."""
        self.varint(PyBytes_GET_SIZE(value))
        return self.raw(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value))

    cdef int column(self, Writer other) except -1:
        """Another buffer's bytes, with their number before them."""
        self.varint(other.count)
        return self.raw(other.data, other.count)

    cdef bytes content(self):
        return PyBytes_FromStringAndSize(self.data, self.count)

    cdef bytes finish(self):
        """The body: everything written, and the checksum."""
        self.fixed(<uint32_t>crc32(PyMemoryView_FromMemory(self.data, self.count, PyBUF_READ)), 4)
        return self.content()


# ------------------------------------------------------------------------------------------------------- reading


cdef uint64_t column_fixed(Column *self, int width) except? 0xFFFFFFFFFFFFFFFF:
    cdef uint64_t value = 0
    cdef int index
    if self.end - self.at < width:
        raise damaged("cut off")
    for index in range(width):
        value |= <uint64_t>self.data[self.at + index] << (8 * index)
    self.at += width
    return value


cdef uint64_t column_varint(Column *self, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF:
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
    if value > limit:
        raise damaged("a number is too large")
    return value


@cython.final
cdef class Reader:
    """Walks a body. Every method raises ValueError rather than read past the end."""

    def __init__(self, bytes body not None, uint8_t version):
        cdef Py_ssize_t size = PyBytes_GET_SIZE(body)
        cdef int64_t length
        cdef uint8_t first
        self.body = body
        self.whole.data = <const uint8_t *>PyBytes_AS_STRING(body)
        self.whole.end = size
        if size < 5:
            raise damaged("too short")
        first = self.whole.data[0]
        if first != version and (first != version + 1 or version not in PACKABLE):
            raise ValueError(f"unknown body: first byte {first}, expected {version}")
        self.whole.at = size - 4
        if self.fixed(4) != crc32(PyMemoryView_FromMemory(<char *>self.whole.data, size - 4, PyBUF_READ)):
            raise damaged("wrong checksum")
        self.whole.at = 1
        self.whole.end = size - 4
        if first == version:
            return
        length = self.varint(MAX_RAW)
        unpacker = decompressobj(-15)
        try:
            # One byte more than announced, else a longer content would pass for one that ends.
            raw = unpacker.decompress(body[self.whole.at : self.whole.end], length + 1)
        except zlib.error as error:
            raise damaged(str(error)) from error
        if len(raw) != length or not unpacker.eof or unpacker.unused_data:
            raise damaged("it unpacks to another length")
        self.body = raw
        self.whole.data = <const uint8_t *>PyBytes_AS_STRING(self.body)
        self.whole.at = 0
        self.whole.end = length

    cdef uint64_t fixed(self, int width) except? 0xFFFFFFFFFFFFFFFF:
        return column_fixed(&self.whole, width)

    cdef int64_t varint(self, int64_t limit=MAX_LENGTH) except -1:
        """A number from 0 to ``limit``."""
        return <int64_t>column_varint(&self.whole, <uint64_t>limit)

    cdef str text(self):
        cdef Column column = self.column()
        return PyUnicode_DecodeUTF8(<const char *>column.data + column.at, column.end - column.at, NULL)

    cdef Column column(self) except *:
        """The next bytes, whose number stands before them."""
        cdef int64_t length = self.varint()
        cdef Column column = self.whole
        if length > self.whole.end - self.whole.at:
            raise damaged("cut off")
        self.whole.at += length
        column.end = self.whole.at
        return column

    cdef int finish(self) except -1:
        if self.whole.at != self.whole.end:
            raise damaged("it goes on after the end")
        return 0


def pack(bytes body not None, int level=9, tuple cuts=()):
    """The packed form of a plain body of entries or of a snapshot; ``body`` itself where it cannot be packed, is packed
    already or would not get smaller. O(body); the interpreter lock is free meanwhile.

    ``cuts``: where in the body another sort of content begins, ascending; each gets Huffman codes of its own.
    """
    cdef Py_ssize_t start = 1, cut, size = PyBytes_GET_SIZE(body)
    cdef Writer out
    cdef bytes packed
    if size < 5 or body[0] not in PACKABLE or size - 5 > MAX_RAW:
        return body
    packer = compressobj(level, zlib.DEFLATED, -15, 9)
    pieces = []
    for cut in cuts:
        pieces += packer.compress(body[start:cut]), packer.flush(zlib.Z_BLOCK)
        start = cut
    packed = b"".join((*pieces, packer.compress(body[start : size - 4]), packer.flush()))
    out = Writer()
    out.fixed(body[0] + 1, 1)
    out.varint(size - 5)
    out.raw(PyBytes_AS_STRING(packed), PyBytes_GET_SIZE(packed))
    packed = out.finish()
    return packed if PyBytes_GET_SIZE(packed) < size else body


def raw_size(bytes body not None):
    """How many bytes the body has, or had before it was packed. O(1). Raises ValueError for what is no body."""
    cdef Column column
    column.data = <const uint8_t *>PyBytes_AS_STRING(body)
    column.at = 1
    column.end = PyBytes_GET_SIZE(body)
    if column.end < 5:
        raise damaged("too short")
    if column.data[0] - 1 in PACKABLE:
        return column_varint(&column, MAX_RAW) + 5
    return PyBytes_GET_SIZE(body)
