"""The native face of payload.pyx."""

from libc.stdint cimport uint8_t


cdef struct Scan:
    const uint8_t *data
    Py_ssize_t size
    Py_ssize_t at


cpdef int check_payload(str codec, bytes payload) except -1
cdef int unit_at(Scan *scan, Py_ssize_t at) noexcept
