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

# Of a string, they take about as long as a value.
cdef Py_ssize_t CHARACTERS = 64

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


cdef uint32_t hash_string(str text) noexcept:  # reads the text, which the caller holds
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


cdef bint is_container(object value) noexcept:  # looks at its type
    return type(value) is list or type(value) is dict


cdef uint32_t hash_scalar(object value) except? 0:
    if type(value) is str:
        return hash_string(<str>value)
    if value is None:
        return mix(1)
    if type(value) is bool:
        return mix(3 if value else 2)
    if type(value) is int or type(value) is float:
        return hash_number(<double>value)
    raise TypeError("a value that JSON does not have")


@cython.overflowcheck(False)  # wraps on purpose
cdef uint32_t hash_within(object value, int levels) except? 0:
    """With at most so many levels below it."""
    cdef uint32_t state = 0, name
    cdef Py_ssize_t at = 0
    cdef PyObject *key
    cdef PyObject *inner
    cdef object held, held_key
    if not is_container(value):
        return hash_scalar(value)
    if levels == 0:
        raise ValueError(f"nested more than {MAX_LEVELS} levels deep")
    if type(value) is list:
        while at < PyList_GET_SIZE(value):
            held = <object>PyList_GET_ITEM(value, at)
            state = mix(state ^ hash_within(held, levels - 1))
            at += 1
        return mix(state ^ 6)
    while PyDict_Next(value, &at, &key, &inner):
        held_key, held = <object>key, <object>inner
        name = hash_string(<str?>held_key)
        state += mix(31 * name + hash_within(held, levels - 1))
    return mix(state ^ 7)


cdef uint32_t hash_value(object value) except? 0:
    return hash_within(value, MAX_LEVELS)


def content_hash(value):
    return hash_value(value)


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

    def __cinit__(self, value):
        global live
        live += 1
        self.enter(value)

    def __dealloc__(self):
        global live
        live -= 1
        while self.depth:
            self.depth -= 1
            Py_DECREF(<object>self.levels[self.depth].container)

    cdef int enter(self, object value) except -1:
        """Takes up a value: its hash is known at once, or it is a container that is looked into next."""
        if not is_container(value):
            return self.told(hash_scalar(value))
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

    def work(self, int64_t labour):
        """Goes on; whether the hash is known. O(labour): a value is one, and so are CHARACTERS of a string."""
        cdef Level *level
        cdef PyObject *key
        cdef PyObject *inner
        cdef object held, held_key, ended
        cdef uint32_t state
        while not self.done and labour > 0:
            labour -= 1
            level = &self.levels[self.depth - 1]
            if type(<object>level.container) is list:
                if level.at < PyList_GET_SIZE(<object>level.container):
                    held = <object>PyList_GET_ITEM(<object>level.container, level.at)
                    level.at += 1
                    labour -= length_of(held) // CHARACTERS
                    self.enter(held)
                    continue
                state = mix(level.state ^ 6)
            else:
                if PyDict_Next(<object>level.container, &level.at, &key, &inner):
                    held_key, held = <object>key, <object>inner
                    labour -= (length_of(held_key) + length_of(held)) // CHARACTERS
                    level.key = hash_string(<str?>held_key)
                    self.enter(held)
                    continue
                state = mix(level.state ^ 7)
            ended = <object>level.container
            self.depth -= 1
            Py_DECREF(ended)
            self.told(state)
        return self.done


cdef Py_ssize_t length_of(object value) noexcept:  # reads a field
    return PyUnicode_GET_LENGTH(value) if type(value) is str else 0
