from libc.stdint cimport int64_t

cdef int64_t now_ns() noexcept nogil


cdef class Histogram:
    cdef:
        readonly int64_t count
        readonly int64_t minimum   # 0 while empty
        readonly int64_t maximum
        double _sum
        int64_t *_buckets

    cdef void add(self, int64_t value) noexcept
