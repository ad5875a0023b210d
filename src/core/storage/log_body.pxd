"""Run-length columns of committed operations: LogWriter and LogReader. See log_body.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from syncline.core.storage.record_format cimport Column, Reader, Writer
from syncline.core.ot.components cimport Part, Parts

cdef uint8_t ENTRIES_V2
cdef int64_t MAX_ENTRIES

cdef enum DigestMode:
    OF_UNITS = 0    # the digest is that of the operation as committed, in UTF-16 units (or of the payload),
    OF_POINTS = 1   # or in code points,
    WRITTEN = 2     # or it is written out

# Who committed an operation, as which number, when.
cdef struct Stamp:
    int64_t author   # index of `LogReader.clients` and `.users`
    int64_t seq
    int64_t time     # Unix milliseconds
    uint64_t digest  # set when `mode` is WRITTEN
    int mode         # DigestMode
    int mark         # window.EDIT ... RESTORE

cdef enum RunKind:
    TYPED = 0        # `count` inserts of `length` units each, every one behind the one before
    BACKSPACED = 1   # `count` deletes of `length` units each, every one before the one before
    DELETED = 2      # `count` deletes of `length` units each, all at one place
    GENERAL = 3      # one operation of `parts` components

# A run of operations of one form, or what is left of it. `position`: of the first.
cdef struct Run:
    int kind         # RunKind
    int64_t position
    int64_t count
    int64_t length
    int64_t parts


cdef class LogWriter:
    cdef readonly int64_t count
    cdef bint opaque
    cdef dict names              # name -> index
    cdef dict authors            # (client, user) -> index
    cdef list expected           # per author: the seq that would follow
    cdef list pieces             # inserted texts, in order
    cdef Writer stamps
    cdef Writer runs
    cdef Writer lengths          # of the runs, and of the components of general operations
    cdef Writer digests
    cdef Writer retain_excess    # UTF-16 units minus code points, per retain,
    cdef Writer delete_excess    # and per delete
    cdef Stamp stamp             # of the last entry of the stretch under way,
    cdef int64_t stretch         # its length,
    cdef int64_t stretch_seq     # and the seq of its first
    cdef int64_t last_time
    cdef Run run                 # under way
    cdef int64_t cursor
    cdef int64_t retain_value, retain_count, delete_value, delete_count

    cdef int64_t author(self, str client, str user) except -1
    cdef int add_stamp(self, const Stamp *stamp) except -1
    cdef int add_edit(self, const Part *parts, Py_ssize_t count) except -1
    cdef int add_excess(self, const Part *units, const Part *points, Py_ssize_t count) except -1
    cdef int add_payload(self, bytes payload) except -1
    cdef int end_stretch(self) except -1
    cdef int end_run(self) except -1
    cdef int one_excess(self, bint deletes, int64_t value) except -1
    cdef bytes finish(self)


cdef class LogReader:
    cdef readonly int64_t count  # entries in the body
    cdef readonly bint opaque
    cdef readonly list clients   # per author
    cdef readonly list users
    cdef readonly str text       # everything that is inserted
    cdef Py_ssize_t used         # characters of it that were read
    cdef bint wide               # whether the units may differ
    cdef Reader reader
    cdef Column stamps
    cdef Column runs
    cdef Column lengths
    cdef Column digests
    cdef Column retain_excess
    cdef Column delete_excess
    cdef list expected
    cdef Stamp stamp
    cdef int64_t stretch
    cdef Run run
    cdef int64_t cursor
    cdef int64_t seen            # entries whose run was read
    cdef int64_t stamped
    cdef int64_t retain_value, retain_count, delete_value, delete_count

    cdef int next_stamp(self, Stamp *out) except -1
    cdef int next_run(self, int64_t limit, Run *out) except -1
    cdef int next_edit(self, Parts *out) except -1
    cdef int read_parts(self, const Run *run, Parts *out) except -1
    cdef Py_ssize_t take_text(self, int64_t units) except -1
    cdef int64_t excess(self, bint deletes) except -1
    cdef bytes next_payload(self)
    cdef int begin_run(self) except -1
    cdef int finish(self) except -1
