"""JSON values from outside, and attribute maps. See attributes.pyx."""

from libc.stdint cimport int64_t, uint64_t

cdef dict read_attributes(object value, bint trusted)
cdef dict read_embed(object value, bint trusted)
cdef dict without_nulls(dict attributes)
cdef object copied(object value)
cdef bint same_value(object a, object b) except -1
cdef bint same_attributes(dict a, dict b) except -1
cdef int64_t weight_of(object value) except -1
cdef uint64_t hash_of(object value) except? 0

cdef dict compose_attributes(dict first, dict second, bint keep_null)
cdef dict transform_attributes(dict first, dict second, bint priority)
cdef dict invert_attributes(dict attributes, dict base)
cdef dict diff_attributes(dict before, dict after)
