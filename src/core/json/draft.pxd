"""A JSON document while an operation is made on it. See json/draft.pyx."""

from libc.stdint cimport int64_t

from syncline.core.json.components cimport Component
from syncline.core.text.text cimport Text


cdef class Draft:
    cdef dict holder       # the content, under ""
    cdef dict fresh        # containers that are this draft's own, by id: they are kept alive, so that no id comes back
    cdef int64_t room      # how much may still be copied and moved along
    cdef object node       # what `find` has found: the container, writable,
    cdef object key        # and the key or index there
    cdef tuple path        # of a long string that is being edited, else None,
    cdef object text_node  # where that is held,
    cdef object text_key
    cdef Text text         # and what it is by now

    cdef object content(self)
    cdef Component make(self, Component component)
    cdef Component make_key(self, Component component)
    cdef int find(self, tuple path) except -1
    cdef int edit(self, Component component) except -1
    cdef int settle(self) except -1
    cdef int use(self, Py_ssize_t amount) except -1

cdef Draft new_draft(object content, int64_t room)
