"""The native face of text_engine.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.documents.engine cimport Caret, Engine
from syncline.core.storage.commits cimport Entry
from syncline.core.documents.ladder cimport Ladder
from syncline.core.text.text cimport Text
from syncline.core.storage.window cimport Commit, Window


cdef class TextCaret(Caret):
    cdef int64_t anchor  # in UTF-16 units
    cdef int64_t head


cdef class TextEngine(Engine):
    cdef Text body
    cdef int64_t max_length
    cdef int64_t floor_units     # length of the text at the floor, in either unit
    cdef int64_t floor_points
    cdef Ladder ladder

    cdef int64_t length_at(self, Window window, int64_t revision, bint utf16) except -1
    cdef bint same_in_both(self, str text) noexcept
    cdef int apply(self, Entry entry) except -1
