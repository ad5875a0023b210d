# cython: language_level=3
"""The hash of a document's content that is more than text, for clients and server to compare: 32 bits of a JSON value.

With ``mix``, the finish of Murmur3's 32 bits, all numbers unsigned and modulo 2^32:

    null, false, true   mix(1), mix(2), mix(3)
    a number            mix(mix(high ^ 4) ^ low), the halves of its double; -0 is 0
    a string            mix(crc ^ 5), the CRC-32 (zlib's) of it as UTF-16LE
    a list              mix(state ^ 6), where state begins with 0 and becomes mix(state ^ hash) for each element
    an object           mix(sum ^ 7) over mix(31 * hash of the key + hash of the value)

A sum, because no order of keys is said by JSON, and sorting them costs more than all the rest; mixed, so that two values that
are exchanged show. A client in any language needs a CRC, a multiplication and a few shifts. It finds faults, not forgers.

Complexity: O(value) without recursion, in parts as small as one likes. Source of the finish: Austin Appleby, MurmurHash3
(fmix32, public domain); docs/protocol.md, "Hash and healing", has the values that a client can be tested with.
"""

cimport cython
from cpython.dict cimport PyDict_Next
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_READ
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from syncline.core.crc cimport crc_cells

# Cells of a string that are read in one go.
cdef enum:
    CELLS = 2048

# Strings from here on let other threads run meanwhile.
cdef Py_ssize_t LONG = 1 << 16


@cython.overflowcheck(False)  # wraps on purpose
cdef uint32_t mix(uint32_t state) noexcept nogil:  # arithmetic
    state = (state ^ (state >> 16)) * <uint32_t>0x85EBCA6B
    state = (state ^ (state >> 13)) * <uint32_t>0xC2B2AE35
    return state ^ (state >> 16)


cdef uint32_t hash_number(double number) noexcept:  # arithmetic
    cdef uint64_t bits
    number += 0.0  # -0 becomes 0
    memcpy(&bits, &number, 8)
    return mix(mix(<uint32_t>(bits >> 32) ^ 4) ^ <uint32_t>(bits & 0xFFFFFFFF))


cdef uint32_t crc_of(int kind, const void *data, Py_ssize_t length) noexcept nogil:  # reads ``length`` characters of a str
    cdef uint16_t[CELLS] cells
    cdef uint32_t crc = 0, character
    cdef Py_ssize_t index = 0
    cdef int count
    if kind == 2:
        return crc_cells(0, <const uint16_t *>data, length)
    while index < length:
        count = 0
        if kind == 1:
            while index < length and count < CELLS:
                cells[count] = (<const unsigned char *>data)[index]
                count += 1
                index += 1
        else:
            while index < length and count < CELLS - 1:
                character = (<const uint32_t *>data)[index]
                index += 1
                if character > 0xFFFF:
                    cells[count] = <uint16_t>(0xD7C0 + (character >> 10))
                    count += 1
                    character = 0xDC00 | (character & 0x3FF)
                cells[count] = <uint16_t>character
                count += 1
        crc = crc_cells(crc, cells, count)
    return crc


cdef uint32_t hash_string(str text) noexcept:  # reads the text
    cdef int kind = PyUnicode_KIND(text)
    cdef const void *data = PyUnicode_DATA(text)
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef uint32_t crc
    if length < LONG:
        crc = crc_of(kind, data, length)
    else:
        with nogil:
            crc = crc_of(kind, data, length)
    return mix(crc ^ 5)


cdef struct Level:
    PyObject *container  # owned: a list or a dict
    Py_ssize_t at        # the next element; of a dict, PyDict_Next's place
    uint32_t state
    uint32_t key         # of the value that is under way, its hash


cdef Py_ssize_t live = 0


def live_hashers() -> int:
    """How many exist in this process; for leak tests."""
    return live


@cython.final
cdef class ContentHasher:
    """The hash of one value, in parts. The value must stay as it is meanwhile: otherwise the hash means nothing, and that is all."""

    cdef Level[MAX_LEVELS] levels
    cdef int depth
    cdef readonly bint done
    cdef readonly uint32_t value

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1
        while self.depth:
            self.depth -= 1
            Py_DECREF(<object>self.levels[self.depth].container)

    def __init__(self, value):
        if self.depth or self.done:
            raise TypeError("a hasher has one value")
        self.enter(value)

    cdef int enter(self, object value) except -1:
        """Takes up a value: its hash is known at once, or it is a container that is looked into next."""
        if type(value) is str:
            return self.told(hash_string(<str>value))
        if value is None:
            return self.told(mix(1))
        if type(value) is bool:
            return self.told(mix(3 if value else 2))
        if type(value) is int or type(value) is float:
            return self.told(hash_number(<double>value))
        if type(value) is not list and type(value) is not dict:
            raise TypeError("a value that JSON does not have")
        if self.depth == MAX_LEVELS:
            raise ValueError(f"nested more than {MAX_LEVELS} levels deep")
        Py_INCREF(value)
        self.levels[self.depth] = Level(<PyObject *>value, 0, 0, 0)
        self.depth += 1
        return 0

    @cython.overflowcheck(False)  # wraps on purpose
    cdef int told(self, uint32_t hashed) except -1:
        """The hash of what was taken up is known."""
        cdef Level *level
        if not self.depth:
            self.value = hashed
            self.done = True
            return 0
        level = &self.levels[self.depth - 1]
        if type(<object>level.container) is list:
            level.state = mix(level.state ^ hashed)
        else:
            level.state += mix(31 * level.key + hashed)
        return 0

    def work(self, int64_t values):
        """Looks at so many values; whether the hash is known. O(them and their strings)."""
        cdef Level *level
        cdef PyObject *key
        cdef PyObject *inner
        cdef object ended
        cdef uint32_t state
        while not self.done and values > 0:
            values -= 1
            level = &self.levels[self.depth - 1]
            if type(<object>level.container) is list:
                if level.at < PyList_GET_SIZE(<object>level.container):
                    level.at += 1
                    self.enter(<object>PyList_GET_ITEM(<object>level.container, level.at - 1))
                    continue
                state = mix(level.state ^ 6)
            else:
                if PyDict_Next(<object>level.container, &level.at, &key, &inner):
                    level.key = hash_string(<str?><object>key)
                    self.enter(<object>inner)
                    continue
                state = mix(level.state ^ 7)
            ended = <object>level.container
            self.depth -= 1
            Py_DECREF(ended)
            self.told(state)
        return self.done


cdef uint32_t hash_value(object value) except? 0:
    cdef ContentHasher hasher
    if type(value) is str:
        return hash_string(<str>value)
    hasher = ContentHasher(value)
    while not hasher.work(1 << 40):
        pass
    return hasher.value


def content_hash(value):
    return hash_value(value)
