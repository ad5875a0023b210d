"""The native face of json_values.pyx."""

from libc.stdint cimport int64_t

# Bounds of values and paths.
cdef enum:
    LEVELS = 64
    LONGEST_KEY = 1024
    LAST_INDEX = 2147483647
    FACTOR = 8

cdef int64_t LARGEST  # of the integers

cpdef object check_value(object value, Py_ssize_t depth=*)
cpdef object check_number(object value)
cdef object check_claim(object value, Py_ssize_t depth)
cdef str check_key(object key)
cdef Py_ssize_t check_index(object value) except -1
cpdef bint same_value(object one, object two) except -1
cpdef int64_t size(object value) except -1
