"""The native face of content_hash.pyx."""

from libc.stdint cimport uint32_t

# Levels of JSON documents, and of what attributes hold.
cdef enum:
    MAX_LEVELS = 80

cdef uint32_t mix(uint32_t state) noexcept nogil
cdef uint32_t hash_value(object value) except? 0
