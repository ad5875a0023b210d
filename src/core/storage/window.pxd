"""The native face of window.pyx."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef enum:
    EDIT = 0
    UNDO = 1
    REDO = 2
    RESTORE = 3

cdef class Commit:
    cdef readonly str client
    cdef readonly str user
    cdef readonly int64_t seq
    cdef readonly double time
    cdef readonly uint64_t digest  # of the operation as it was submitted
    cdef uint8_t mark              # EDIT, UNDO, REDO or RESTORE

    cdef Py_ssize_t footprint(self) noexcept


cdef class ClientState:
    cdef str name
    cdef str user
    cdef int64_t seq       # the last committed one,
    cdef int64_t revision  # the revision that it made,
    cdef uint64_t digest   # and what it was when submitted
    cdef int64_t silent_since  # `revision` when Window.silent was made


cdef class Receipt:
    cdef readonly int64_t revision
    cdef readonly Commit entry
    cdef readonly bint duplicate


cdef class Window:
    cdef readonly str id
    cdef readonly str generation
    cdef readonly int64_t revision
    cdef list entries            # the window, from index `first` on; None before it
    cdef Py_ssize_t first
    cdef Py_ssize_t occupied     # footprint of the window
    cdef dict clients            # name -> ClientState
    cdef ClientState author      # of what was admitted last; None: a client that is not known
    cdef list silent             # of them, the longest silent last; those that were not when it was made are skipped
    cdef bint forgotten          # some client is no longer in `clients`
    cdef Py_ssize_t max_operations
    cdef Py_ssize_t max_bytes
    cdef Py_ssize_t max_clients

    cdef int64_t bottom(self) noexcept
    cdef object commit_at(self, int64_t revision)
    cdef int require_held(self, int64_t revision) except -1
    cdef object admit(self, str client, str user, int64_t seq, int64_t base, uint64_t digest)
    cdef object repeated(self, ClientState state, int64_t seq, int64_t base, uint64_t digest)
    cdef int keep(self, Commit commit) except -1
    cdef int remember(self, Commit commit, int64_t revision) except -1
    cdef int require_adjacent(self, int64_t first_revision, Py_ssize_t count) except -1
    cdef int widen(self, int64_t first_revision, list commits) except -1
    cdef int forget_clients(self) except -1
    cdef int floor_rises(self, Commit commit) except -1
    cdef int start_at(self, int64_t revision, list states, bint forgotten) except -1
    cdef int require_next(self, Commit commit, int64_t revision) except -1


cdef Receipt new_receipt(int64_t revision, Commit entry)
cdef int64_t read_count(object value, str what) except -1
cdef int64_t read_seq(object value) except -1
cdef int require_nameable(str name) except -1
cdef uint8_t read_kind(str kind) except? 255
