"""The native face of crc.pyx."""

from libc.stdint cimport uint16_t, uint32_t

cdef uint32_t crc_cells(uint32_t crc, const uint16_t *cells, Py_ssize_t count) noexcept nogil
cdef uint32_t crc_bytes(uint32_t crc, const unsigned char *data, Py_ssize_t count) noexcept
cdef uint32_t crc_combine(uint32_t first, uint32_t second, Py_ssize_t cells) noexcept nogil
