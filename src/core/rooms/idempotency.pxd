from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef struct Remembered:
    uint64_t[2] digest
    int64_t offset
    uint64_t epoch
    double time                       # seconds


cdef class IdempotencyKeys:
    cdef:
        readonly Py_ssize_t most
        readonly double seconds
        readonly long long dropped    # before their time, for want of places
        Remembered *_entries               #: a ring
        uint32_t *_slots              #: digest -> place in the ring + 1; 0: free. Twice as many as places
        uint32_t _capacity            #: places; a power of two
        uint32_t _first               #: the oldest
        uint32_t _count

    cdef uint32_t _slot(self, const uint64_t *digest) noexcept
    cdef void _drop(self) noexcept
    cdef int _reserve(self, uint32_t capacity) except -1
