"""Latencies in bounded memory, exact to one part in 128.

Log-linear buckets, as in HdrHistogram (Gil Tene): values below 128 have one each; above that every power of two is
divided into 128. So a bucket's width is below 1/128 of its values, and the bucket of a value is two shifts.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from *:
    int highest_bit "__builtin_clzll"(unsigned long long value) noexcept nogil

cdef enum:
    LINEAR = 128
    LINEAR_BITS = 7
    LARGEST_BIT = 44
    BUCKETS = 4864                # (LARGEST_BIT - LINEAR_BITS + 1) * LINEAR

cdef int64_t LARGEST = (<int64_t>1 << LARGEST_BIT) - 1


cdef int64_t now_ns() noexcept nogil:
    # It cannot fail: the clock is there and the pointer is ours.
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec


def monotonic_ns():
    return now_ns()


cdef inline Py_ssize_t _bucket(int64_t value) noexcept nogil:
    # Plain arithmetic on a value within 0 .. LARGEST.
    cdef int shift
    if value < LINEAR:
        return value
    shift = 63 - highest_bit(<unsigned long long>value) - LINEAR_BITS
    return (shift + 1) * LINEAR + (value >> shift) - LINEAR


cdef inline int64_t _upper(Py_ssize_t bucket) noexcept nogil:
    """The largest value of a bucket; plain arithmetic."""
    cdef Py_ssize_t shift
    if bucket < LINEAR:
        return bucket
    shift = bucket // LINEAR - 1
    return ((<int64_t>(bucket % LINEAR + LINEAR) + 1) << shift) - 1


cdef class Histogram:
    def __cinit__(self):
        self._buckets = <int64_t *>calloc(BUCKETS, sizeof(int64_t))
        if self._buckets is NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._buckets)

    cdef void add(self, int64_t value) noexcept:
        # The bucket of a clamped value is always there.
        value = min(max(value, 0), LARGEST)
        if self.count == 0 or value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value
        self.count += 1
        self._sum += <double>value
        self._buckets[_bucket(value)] += 1

    def record(self, value):
        self.add(<int64_t>min(max(value, 0), LARGEST))

    def percentile(self, double percent):
        if not 0 <= percent <= 100:
            raise ValueError("a percentile lies between 0 and 100")
        if self.count == 0:
            return 0
        cdef double exact = percent * <double>self.count / 100
        cdef int64_t rank = <int64_t>exact
        if rank < exact:
            rank += 1
        rank = min(max(rank, 1), self.count)
        cdef int64_t seen = 0
        cdef Py_ssize_t bucket
        for bucket in range(BUCKETS):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(max(_upper(bucket), self.minimum), self.maximum)
        return self.maximum

    def mean(self):
        return self._sum / <double>self.count if self.count else 0.0

    def clear(self):
        self.count = self.minimum = self.maximum = 0
        self._sum = 0
        memset(self._buckets, 0, BUCKETS * sizeof(int64_t))

    def merge(self, Histogram other not None):
        cdef Py_ssize_t bucket
        if other.count == 0:
            return
        for bucket in range(BUCKETS):
            self._buckets[bucket] += other._buckets[bucket]
        self.minimum = other.minimum if self.count == 0 else min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)
        self.count += other.count
        self._sum += other._sum

    def counts(self):
        cdef Py_ssize_t bucket
        return [(bucket, self._buckets[bucket]) for bucket in range(BUCKETS) if self._buckets[bucket]]

    def add_counts(self, counts, int64_t minimum, int64_t maximum, double total):
        cdef Histogram other = Histogram()
        cdef Py_ssize_t bucket
        cdef int64_t count
        for bucket, count in counts:
            if not 0 <= bucket < BUCKETS or count < 0:
                raise ValueError(f"no bucket {bucket}")
            other._buckets[bucket] += count
            other.count += count
        other.minimum = minimum
        other.maximum = maximum
        other._sum = total
        self.merge(other)

    def summary(self):
        cdef double ms = 1e6
        return {
            "count": self.count,
            "mean": self.mean() / ms,
            "min": self.minimum / ms,
            "p50": self.percentile(50) / ms,
            "p90": self.percentile(90) / ms,
            "p95": self.percentile(95) / ms,
            "p99": self.percentile(99) / ms,
            "p99.9": self.percentile(99.9) / ms,
            "max": self.maximum / ms,
        }
