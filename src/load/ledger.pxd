from libc.stdint cimport int64_t, uint32_t, uint64_t

from .histogram cimport Histogram

# What one member has had of one publisher.
cdef struct Seen:
    uint64_t recent   # bit i: sequence number next - 1 - i was delivered
    uint32_t next     # the sequence number that must come

# A message that not all members have yet.
cdef struct Slot:
    uint32_t sequence
    uint32_t waiting

cdef enum:
    MARK_LENGTH = 3

cdef const char *MARK


cdef class Ledger:
    cdef:
        readonly Py_ssize_t rooms
        readonly Py_ssize_t members      # of a room
        readonly Py_ssize_t publishers   # of a room: its first members
        readonly Py_ssize_t payload      # bytes
        readonly int64_t published
        readonly int64_t delivered       # each to each member once
        readonly int64_t completed       # messages that all members have
        readonly int64_t gaps            # skipped by what came after, and not come since
        readonly int64_t duplicates
        readonly int64_t late            # came after a later one
        readonly int64_t corrupt
        readonly int64_t stray           # of another room
        readonly int64_t overrun         # given up waiting for: so many newer ones are on their way
        readonly Histogram each          # to each member
        readonly Histogram last          # to the last of all members
        uint32_t *_sent
        Seen *_seen
        Slot *_slots
        uint64_t *_order
        char *_filler
        uint32_t _slot_mask

    cdef int compose(self, char *out, Py_ssize_t publisher, int64_t time) except -1
    cdef Py_ssize_t receive(self, Py_ssize_t member, const char *data, int64_t now) noexcept
    cdef bint is_behind(self, Py_ssize_t member) noexcept
