"""Components and operations of JSON documents. See json/components.pyx."""

from libc.stdint cimport int64_t

cdef enum Kind:
    TEXT  # t, o: edits a string
    SUM   # na: adds to an integer
    MOVE  # lm: moves an element within its list
    ITEM  # li, ld: inserts, removes, replaces an element
    KEY   # oi, od: sets, removes, replaces a key, or the root


cdef class Component:
    cdef Kind kind
    cdef bint removes    # ITEM, KEY: has ld, od
    cdef bint puts       # ITEM, KEY: has li, oi
    cdef tuple path      # keys and indexes, from the root
    cdef int64_t number  # SUM: the summand; MOVE: the index it goes to
    cdef list edits      # TEXT: of StringEdit
    cdef object old      # of `removes`; never believed
    cdef object new      # of `puts`


cdef class Op:
    cdef list parts      # of Component
    cdef bytes encoded   # once it was asked for
    cdef object printed  # its digest, likewise
    cdef int64_t load    # what `measure` finds: components and edits, more for long paths,
    cdef int64_t cuts    # by how many its deletions in strings may be more when they are cut by inserts,
    cdef int64_t inserts # into strings,
    cdef int64_t copied  # how much text may be copied at each step,
    cdef int64_t joins   # what joining edits of one string takes, once,
    cdef int64_t texts   # and bytes of what it does in several strings

    cdef bytes encoding(self)
    cdef int measure(self) except -1

cdef Component new_component(Kind kind, tuple path)
cdef Component copy_of(Component self, tuple path)
cdef Component with_old(Component self, object old)
cdef Component with_edits(Component self, list edits)
cdef Component part_at(list parts, Py_ssize_t index)
cdef Py_ssize_t reach(Component self) noexcept
cdef Py_ssize_t index_at(tuple path, Py_ssize_t at) noexcept
cdef bint same_step(object one, object two) noexcept
cdef bint same_path(tuple one, tuple two) noexcept
cdef Op new_op(list parts)
cdef Op parse_op(object value, Py_ssize_t most=*)
