# cython: language_level=3
"""Proof of delivery: a hash of each publication of a room, and their running sum.

The hash of a publication is CRC-32 (zlib's) over the epoch as UTF-8, the offset as eight bytes, the low one first, and
the payload's bytes as they are sent in one codec. A room's *digest* at an offset is the sum of the hashes of all
publications since the one after ``since``, modulo 2^32. Who folds what it received from the same start has the same
number, or has missed something, got it twice or got other bytes. It is not a signature: it finds faults, not forgers.

A sum, because then two ends that start at different offsets still agree about what lies between: what a client is sent
at its join can be taken off the newest sum again (``before``), and no sum below the newest need be kept for that. Which
publication came at which place is in the hash itself, by its offset.

Complexity: fold O(payload), at O(1), before O(their payloads). Memory: 4 bytes an offset, for at most ``limit``, a power
of two at a time.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint32_t
from libc.string cimport memset

from ..crc cimport crc_bytes

cdef Py_ssize_t SMALLEST = 16
cdef Py_ssize_t LARGEST = 1 << 20

cdef Py_ssize_t live = 0


def live_digests() -> int:
    """How many rolling digests exist in this process; for leak tests."""
    return live


cdef uint32_t hash_seed(str epoch) except? 0:
    cdef bytes encoded = epoch.encode("utf-8")
    return crc_bytes(0, <const unsigned char *>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cdef uint32_t hash_item(uint32_t seed, long long offset, const unsigned char *payload, Py_ssize_t size) noexcept:
    """Arithmetic; reads ``size`` bytes."""
    cdef unsigned char[8] place
    cdef unsigned long long left = <unsigned long long>offset
    cdef int index
    for index in range(8):
        place[index] = <unsigned char>(left & 0xFF)
        left >>= 8
    return crc_bytes(crc_bytes(seed, place, 8), payload, size)


def epoch_seed(str epoch not None):
    return hash_seed(epoch)


def item_hash(uint32_t seed, long long offset, payload):
    cdef Py_buffer view
    cdef uint32_t value
    if offset < 0:
        raise ValueError("offset must not be negative")
    PyObject_GetBuffer(payload, &view, PyBUF_SIMPLE)
    try:
        value = hash_item(seed, offset, <const unsigned char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return value


cdef class RollingDigest:
    """Invariant: ``_oldest`` <= ``newest``, and the sums of all offsets between are known; at most ``limit`` of them."""

    def __cinit__(self, str epoch not None, long long since, Py_ssize_t limit):
        global live
        if since < 0:
            raise ValueError("since must not be negative")
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self.since = self.newest = self._oldest = since
        self.limit = min(limit, LARGEST)
        self._seed = hash_seed(epoch)
        self._mask = SMALLEST - 1
        self._sums = <uint32_t *>PyMem_Malloc(SMALLEST * sizeof(uint32_t))
        if self._sums == NULL:
            raise MemoryError
        memset(self._sums, 0, SMALLEST * sizeof(uint32_t))
        live += 1

    def __dealloc__(self):
        global live
        if self._sums != NULL:
            PyMem_Free(self._sums)
            live -= 1

    @cython.overflowcheck(False)  # the sum is one modulo 2^32
    cpdef int fold(self, bytes payload) except -1:
        cdef uint32_t total
        if payload is None:
            raise TypeError("payload must not be None")
        if self.newest - self._oldest + 1 >= self.limit:
            self._oldest = self.newest + 2 - self.limit
        elif self.newest - self._oldest + 1 > self._mask:
            self._grow()
        total = self._sums[self.newest & self._mask]
        self.newest += 1
        total += hash_item(
            self._seed, self.newest, <const unsigned char *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)
        )
        self._sums[self.newest & self._mask] = total
        return 0

    cdef int _grow(self) except -1:
        cdef Py_ssize_t size = 2 * (self._mask + 1)
        cdef long long offset
        cdef uint32_t *sums = <uint32_t *>PyMem_Malloc(size * sizeof(uint32_t))
        if sums == NULL:
            raise MemoryError
        memset(sums, 0, size * sizeof(uint32_t))
        for offset in range(self._oldest, self.newest + 1):
            sums[offset & (size - 1)] = self._sums[offset & self._mask]
        PyMem_Free(self._sums)
        self._sums = sums
        self._mask = size - 1
        return 0

    cdef long long sum_at(self, long long offset) noexcept:
        """-1 where it is not known. The index is checked here."""
        if offset < self._oldest or offset > self.newest:
            return -1
        return self._sums[offset & self._mask]

    def at(self, long long offset):
        cdef long long total = self.sum_at(offset)
        return None if total < 0 else total

    @cython.overflowcheck(False)  # as in fold
    def before(self, publications):
        cdef uint32_t total = self._sums[self.newest & self._mask]
        cdef long long offset
        cdef bytes payload
        for offset, payload in publications:
            total -= hash_item(
                self._seed, offset, <const unsigned char *>PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload)
            )
        return total
