"""What was published under which idempotency key lately: of so many messages, for so many seconds, whatever became of them since.

Keys are kept as 128 bits of BLAKE2b (RFC 7693), with whose they are and where: nobody can make somebody else's, and all cost the same.
Entries stand in a ring in the order in which they came, so the oldest are at hand; a table of open addresses finds them (linear probing
with deletion by shifting back: Knuth, TAOCP 3, 6.4, algorithm R). 48 bytes a key, and as much again while it grows.
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from hashlib import blake2b

from syncline.core.rooms.room import Position

cdef uint32_t FEW = 64


def idempotency_digest(str room not None, str user not None, str key not None):
    """16 bytes that stand for the user's key in the room. O(length)."""
    # The lengths tell where one ends and the next begins.
    text = f"{len(room)} {len(user)} {room}{user}{key}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


cdef int _read(bytes key, uint64_t *digest) except -1:
    if len(key) != 16:
        raise ValueError("a digest has 16 bytes")
    memcpy(digest, PyBytes_AS_STRING(key), 16)
    return 0


cdef class IdempotencyKeys:
    """Of the newest ``most`` messages, each for ``seconds``. Not for several threads."""

    def __cinit__(self, Py_ssize_t most, double seconds):
        if not 1 <= most <= 1 << 30:
            raise ValueError("between 1 and 2^30 keys can be remembered")
        if not seconds > 0:
            raise ValueError("keys are remembered for more than 0 seconds")
        self.most = most
        self.seconds = seconds
        self.dropped = 0
        self._entries = NULL
        self._slots = NULL
        self._reserve(FEW)

    def __dealloc__(self):
        PyMem_Free(self._entries)
        PyMem_Free(self._slots)

    def __len__(self):
        return self._count

    @property
    def held_bytes(self):
        """In memory."""
        return self._capacity * (sizeof(Remembered) + 2 * sizeof(uint32_t))

    def find(self, bytes key not None, double now):
        """Where the message with the key (``idempotency_digest``) is, or None. ``now`` in seconds, by the clock of ``add``. O(1)."""
        cdef uint64_t[2] digest
        _read(key, digest)
        cdef uint32_t slot = self._slot(digest)
        if not self._slots[slot]:
            return None
        cdef Remembered *entry = &self._entries[self._slots[slot] - 1]
        if entry.time <= now - self.seconds:
            return None
        return Position(entry.offset, f"{entry.epoch:016x}")

    def add(self, bytes key not None, position not None, double now):
        """Remembers it; one that is known is another one from now on. O(1) amortised.

        Raises ValueError when the position's epoch is not 64 bits in hexadecimal digits."""
        if len(position.epoch) != 16:
            raise ValueError("an epoch is 16 hexadecimal digits here")
        cdef uint64_t epoch = int(position.epoch, 16)
        cdef int64_t offset = position.offset
        cdef uint64_t[2] digest
        _read(key, digest)
        # Two for each that comes, so that those whose time is over are few.
        for _ in range(2):
            if self._count and self._entries[self._first].time <= now - self.seconds:
                self._drop()
        if self._count == self.most:
            self._drop()
            self.dropped += 1
        if self._count == self._capacity:
            self._reserve(2 * self._capacity)
        cdef uint32_t place = (self._first + self._count) & (self._capacity - 1)
        cdef Remembered *entry = &self._entries[place]
        entry.digest[0], entry.digest[1] = digest[0], digest[1]
        entry.offset, entry.epoch, entry.time = offset, epoch, now
        self._count += 1
        self._slots[self._slot(digest)] = place + 1

    cdef uint32_t _slot(self, const uint64_t *digest) noexcept:  # only walks a table that always has free slots
        """That of the digest, or the free one where it would be."""
        cdef uint32_t mask = 2 * self._capacity - 1
        cdef uint32_t slot = <uint32_t>digest[0] & mask
        cdef Remembered *entry
        while self._slots[slot]:
            entry = &self._entries[self._slots[slot] - 1]
            if entry.digest[0] == digest[0] and entry.digest[1] == digest[1]:
                break
            slot = (slot + 1) & mask
        return slot

    cdef void _drop(self) noexcept:  # only moves numbers
        """The oldest one."""
        cdef uint32_t mask = 2 * self._capacity - 1
        cdef uint32_t place = self._first
        cdef uint32_t free = self._slot(self._entries[place].digest)
        self._first = (place + 1) & (self._capacity - 1)
        self._count -= 1
        if self._slots[free] != place + 1:
            return  # the key came again since
        self._slots[free] = 0
        cdef uint32_t slot = free
        cdef uint32_t home
        while True:
            slot = (slot + 1) & mask
            if not self._slots[slot]:
                return
            home = <uint32_t>self._entries[self._slots[slot] - 1].digest[0] & mask
            if ((slot - home) & mask) >= ((slot - free) & mask):  # the free slot lies on its way from home
                self._slots[free] = self._slots[slot]
                self._slots[slot] = 0
                free = slot

    cdef int _reserve(self, uint32_t capacity) except -1:
        """Room for so many, a power of two."""
        cdef Remembered *entries = <Remembered *>PyMem_Malloc(capacity * sizeof(Remembered))
        cdef uint32_t *slots = <uint32_t *>PyMem_Malloc(2 * <size_t>capacity * sizeof(uint32_t))
        if entries == NULL or slots == NULL:
            PyMem_Free(entries)
            PyMem_Free(slots)
            raise MemoryError
        memset(slots, 0, 2 * <size_t>capacity * sizeof(uint32_t))
        cdef uint32_t index
        for index in range(self._count):
            entries[index] = self._entries[(self._first + index) & (self._capacity - 1)]
        PyMem_Free(self._entries)
        PyMem_Free(self._slots)
        self._entries, self._slots = entries, slots
        self._first, self._capacity = 0, capacity
        for index in range(self._count):  # the newest of a key counts
            slots[self._slot(entries[index].digest)] = index + 1
        return 0
