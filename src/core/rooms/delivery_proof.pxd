"""The native face of delivery_proof.pyx."""

from libc.stdint cimport uint32_t


cdef uint32_t hash_item(uint32_t seed, long long offset, const unsigned char *payload, Py_ssize_t size) noexcept
cdef uint32_t hash_seed(str epoch) except? 0


cdef class RollingDigest:
    cdef:
        readonly long long since      # the sum at this offset is 0
        readonly long long newest     # the last offset folded
        readonly Py_ssize_t limit
        uint32_t _seed                #: CRC-32 of the epoch
        uint32_t *_sums               #: by offset & _mask; those of ``_oldest`` ... ``newest`` are known
        Py_ssize_t _mask
        long long _oldest

    cpdef int fold(self, bytes payload) except -1
    cdef long long sum_at(self, long long offset) noexcept
    cdef int _grow(self) except -1
