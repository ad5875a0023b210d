"""The native face of ladder.pyx, for document.pyx."""

from libc.stdint cimport int32_t, int64_t

from syncline.core.storage.commits cimport Entry
from syncline.core.ot.position_map cimport PositionMap
from syncline.core.ot.components cimport Part, Parts

cdef enum:
    SLOTS = 8   # base revisions that are remembered as asked for
    BLOCK = 64  # revisions that a block passes over, the first of them a multiple of it

# A committed operation that is one splice, as it moves a position. `at` is -1 for any other operation.
cdef struct Splice:
    int32_t at     # what lies up to here stays
    int32_t end    # at + what it deletes
    int32_t put    # at + what it inserts before that: where a position inside goes
    int32_t delta  # how far it moves what lies behind

# An arriving splice: retain, insert, delete, insert.
cdef struct Edit:
    int64_t at
    int64_t before
    int64_t deleted
    int64_t after

# The map of BLOCK revisions: cells of the base up to `end`, and not those before, go to (position & mask) + value.
cdef struct Stretch:
    int32_t end
    int32_t mask   # -1, or 0 for tombstones, which all go to one place
    int32_t value

cdef struct Block:
    Py_ssize_t count  # 0: not to be had, its operations are too many parts
    Stretch stretches[1]  # so many

# What is known of a base revision that was asked for.
cdef struct Slot:
    int64_t base   # -1: free
    int64_t top    # how far its map reaches
    int64_t spent  # steps walked from here without a map
    int64_t used   # on the clock
    bint utf16


cdef class Ladder:
    cdef Splice *units       # of revisions floor + 1 ... floor + count, from index `start` on
    cdef Splice *points      # the same in code points; NULL while they are the same
    cdef Py_ssize_t start
    cdef Py_ssize_t count
    cdef Py_ssize_t capacity
    cdef int64_t floor
    cdef Block **blocks      # of revisions from block_floor * BLOCK on; NULL where none was asked for
    cdef Block **point_blocks  # the same for `points`
    cdef Py_ssize_t block_count
    cdef Py_ssize_t block_bytes
    cdef int64_t block_floor
    cdef Slot slots[SLOTS]
    cdef list maps           # PositionMap or None, one a slot
    cdef int64_t clock
    cdef Py_ssize_t max_bytes

    cdef void clear(self) noexcept
    cdef int push(self, Entry entry) except -1
    cdef int sync(self, list entries, int64_t revision, int64_t bottom, int64_t base) except -1
    cdef void clear_blocks(self) noexcept
    cdef const Block *block(self, list entries, int64_t revision, int64_t base, bint utf16) except? NULL
    cdef int forget(self) except -1
    cdef int let_go(self, int64_t bottom) except -1
    cdef Py_ssize_t size(self) except -1
    cdef PositionMap map_from(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16, int64_t steps
    )
    cdef int64_t age(self, int index) noexcept
    cdef int hold_bounds(self, int kept) except -1
    cdef int climb(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16,
        const Part **parts, Py_ssize_t *count, Parts *buffers,
    ) except -1
    cdef int64_t move(
        self, list entries, int64_t revision, int64_t bottom, int64_t base, bint utf16, int64_t position
    ) except -1


cdef bint as_edit(const Part *parts, Py_ssize_t count, Edit *edit) noexcept
