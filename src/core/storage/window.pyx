"""What every type of document shares: revisions, the bounded window of commits, and who has committed what.

    floor + 1 ... revision         the window: commits in memory, oldest first
    base ... revision              what an arriving operation is transformed against

Exactly once. (client, seq) names an operation; numbers of one client only grow. A client's last committed number is
kept with the digest of what was submitted, in a table with this invariant: *every client with a commit in the window
is in the table*. An operation made at ``base`` can only have been committed after ``base``. So: a number above the
last one is new; one that is not above was committed before, or was refused, and the window from ``base`` on tells
which. A client that is not in the table has committed nothing after the floor. When ``base`` lies below the floor the
answer is OutdatedRevision, the caller widens the window with ``prepend``, which brings forgotten clients back, and the
same reasoning holds.

A gap in the numbers is allowed: it is what a refused operation leaves behind (docs/protocol.md).

Nothing here trims of its own accord: commits may not be stored yet. The owner calls ``trim`` after the store has them.
"""

from cpython.long cimport PyLong_AsLongLongAndOverflow
from libc.stdint cimport int64_t, uint8_t, uint64_t

from operator import attrgetter
from typing import Any, Literal, NamedTuple

cimport cython

from syncline.core.ot.components cimport require_well_formed

from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError

# Above this a number does not survive JSON in JavaScript.
cdef int64_t MAX_COUNT = 9_007_199_254_740_991

Kind = Literal["edit", "undo", "redo", "restore"]
KINDS = ("edit", "undo", "redo", "restore")


@cython.final
@cython.freelist(64)
cdef class Receipt:
    """``duplicate``: nothing was applied, ``entry`` is None, ``revision`` is where (client, seq) was committed."""

    def __init__(self, revision, entry, duplicate):
        self.revision = revision
        self.entry = entry
        self.duplicate = duplicate

    def __iter__(self):
        return iter((self.revision, self.entry, self.duplicate))

    def __eq__(self, other):
        """With another one, or such a tuple."""
        return type(other) in (Receipt, tuple) and tuple(self) == tuple(other)

    def __repr__(self):
        return f"Receipt({self.revision}, {self.entry!r}, {self.duplicate})"


cdef Receipt new_receipt(int64_t revision, Commit entry):
    cdef Receipt self = Receipt.__new__(Receipt)
    self.revision = revision
    self.entry = entry
    self.duplicate = entry is None
    return self


class Cursor(NamedTuple):
    anchor: Any
    head: Any


cdef int64_t read_count(object value, str what) except -1:
    """A non-negative int; what is too large for a revision or number is MAX_COUNT + 1, which no document has."""
    cdef int overflow = 0
    cdef int64_t count = -1
    if type(value) is int:
        count = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow > 0 or count > MAX_COUNT:
        return MAX_COUNT + 1
    if count < 0:
        raise SynclineError(ErrorCode.INVALID_DATA, f"{what} must be an integer from 0")
    return count


cdef int64_t read_seq(object value) except -1:
    cdef int64_t number = read_count(value, "seq")
    if not 1 <= number <= MAX_COUNT:
        raise SynclineError(ErrorCode.INVALID_DATA, "seq must be an integer from 1")
    return number


cdef int require_nameable(str name) except -1:
    """A name that cannot be written as UTF-8 could be accepted but never stored."""
    try:
        require_well_formed(name)
    except SynclineError:
        raise SynclineError(ErrorCode.INVALID_DATA, "a name has a lone surrogate") from None
    return 0


cdef uint8_t read_kind(str kind) except? 255:
    """Raises ValueError."""
    return KINDS.index(kind)


cdef class Commit:
    """One committed operation of any type: who, when, what number. What it does is in the subclass."""

    @property
    def kind(self):
        """"edit", or how the server came to make it: "undo", "redo", "restore"."""
        return KINDS[self.mark]

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        """About what it occupies in memory, in bytes."""
        return 0


@cython.final
cdef class ClientState:
    """What a document remembers of one client."""

    @property
    def last(self):
        """The revision that its last commit made."""
        return self.revision


cdef class Window:
    """Base of a document. Not for use by itself."""

    def __init__(
        self,
        str id not None,
        str generation not None,
        *,
        Py_ssize_t window_operations=10_000,
        Py_ssize_t window_bytes=4_194_304,
        Py_ssize_t max_clients=10_000,
    ):
        self.id = id
        self.generation = generation
        self.max_operations = window_operations
        self.max_bytes = window_bytes
        self.max_clients = max_clients
        self.entries = []
        self.clients = {}
        self.silent = []

    def __reduce__(self):
        raise TypeError("a document is not copied; take a snapshot")

    # ------------------------------------------------------------------------------------------------- the window

    cdef int64_t bottom(self) noexcept:  # reads fields
        return self.revision - (len(self.entries) - self.first)

    cdef object commit_at(self, int64_t revision):
        """What made ``revision``; the caller stays inside the window."""
        return self.entries[self.first + (revision - self.bottom() - 1)]

    cdef int require_held(self, int64_t revision) except -1:
        """Whether the window reaches from ``revision`` to the head."""
        if revision > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        if revision < self.bottom():
            raise OutdatedRevision(revision, self.bottom())
        return 0

    @property
    def floor(self):
        """The window holds the operations of revisions floor + 1 ... revision."""
        return self.bottom()

    @property
    def window_bytes(self):
        """About what the window occupies in memory."""
        return self.occupied

    def since(self, revision):
        """Entries of revisions revision + 1 ... head. O(result).

        Raises OutdatedRevision, SynclineError(revision_unknown, invalid_data).
        """
        cdef int64_t start = read_count(revision, "revision")
        self.require_held(start)
        return self.entries[self.first + (start - self.bottom()) :]

    cdef int keep(self, Commit commit) except -1:
        """Makes an applied commit the next revision."""
        self.entries.append(commit)
        self.revision += 1
        self.occupied += commit.footprint()
        self.remember(commit, self.revision)
        return 0

    cdef int require_adjacent(self, int64_t first_revision, Py_ssize_t count) except -1:
        """Raises ValueError unless so many commits end at the floor."""
        if first_revision < 1 or first_revision + count - 1 != self.bottom():
            raise ValueError(f"entries from revision {first_revision} on do not end at the floor, {self.bottom()}")
        return 0

    cdef int widen(self, int64_t first_revision, list commits) except -1:
        """Widens the window downwards. ``require_adjacent`` has let them pass."""
        cdef Commit commit
        cdef Py_ssize_t index, added = 0
        cdef int64_t revision = self.bottom()
        for index in range(len(commits) - 1, -1, -1):
            commit = commits[index]
            added += commit.footprint()
            if commit.client not in self.clients:
                # A forgotten client: its last commit lies before those of all that are remembered.
                self.remember(commit, revision)
                self.silent = []
            revision -= 1
        self.entries = commits + self.entries[self.first :]
        self.first = 0
        self.occupied += added
        return 0

    def trim(self):
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored. O(dropped).
        """
        cdef Commit commit
        while self.first < len(self.entries) and (
            len(self.entries) - self.first > self.max_operations or self.occupied > self.max_bytes
        ):
            commit = self.entries[self.first]
            self.floor_rises(commit)
            self.occupied -= commit.footprint()
            self.entries[self.first] = None
            self.first += 1
        if self.first > 32 and 2 * self.first > len(self.entries):
            del self.entries[: self.first]
            self.first = 0
        self.forget_clients()

    cdef int floor_rises(self, Commit commit) except -1:
        """``commit`` is about to leave the window; for what a document knows of the floor."""
        return 0

    # ----------------------------------------------------------------------------------------------- exactly once

    cdef object admit(self, str client, str user, int64_t seq, int64_t base, uint64_t digest):
        """None when (client, seq) is new and the window reaches down to its base; the old Receipt when it is not new.

        Raises SynclineError (revision_unknown, sequence_conflict, client_taken), OutdatedRevision.
        """
        cdef ClientState state = self.clients.get(client)
        self.author = state
        if base > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        if state is not None:
            if state.user != user:
                raise SynclineError(ErrorCode.CLIENT_TAKEN, "this client id belongs to another user")
            if seq <= state.seq:
                return self.repeated(state, seq, base, digest)
        if base < self.bottom():
            raise OutdatedRevision(base, self.bottom())
        return None

    cdef object repeated(self, ClientState state, int64_t seq, int64_t base, uint64_t digest):
        """The answer to a number that is not above the client's last one."""
        cdef int64_t revision = self.revision
        cdef Commit commit
        if seq == state.seq:
            if digest != state.digest:
                raise SynclineError(ErrorCode.SEQUENCE_CONFLICT, f"operation {seq} of this client was another one")
            return new_receipt(state.revision, None)
        while revision > self.bottom():
            commit = self.commit_at(revision)
            if commit.seq == seq and commit.client == state.name:
                if digest != commit.digest:
                    raise SynclineError(ErrorCode.SEQUENCE_CONFLICT, f"operation {seq} of this client was another one")
                return new_receipt(revision, None)
            revision -= 1
        if base < self.bottom():
            raise OutdatedRevision(base, self.bottom())
        raise SynclineError(
            ErrorCode.SEQUENCE_CONFLICT,
            f"operation {state.seq} of this client is committed, and {seq} is not among those since revision {base}",
        )

    cdef int remember(self, Commit commit, int64_t revision) except -1:
        """Makes ``commit`` the last one of its client."""
        cdef ClientState state = self.clients.get(commit.client)
        if state is None:
            state = ClientState.__new__(ClientState)
            state.name = commit.client
            state.user = commit.user
            self.clients[state.name] = state
        state.seq = commit.seq
        state.revision = revision
        state.digest = commit.digest
        return 0

    cdef int forget_clients(self) except -1:
        """Holds the bound on clients, as far as the invariant of the table allows."""
        cdef ClientState oldest
        while len(self.clients) > self.max_clients:
            if not self.silent:
                # Every commit would have to move its client in a table kept in order; so it is put in order when it
                # is needed, at most once for as many commits or drops as there are clients.
                self.silent = sorted(self.clients.values(), key=attrgetter("last"), reverse=True)
                for oldest in self.silent:
                    oldest.silent_since = oldest.revision
            oldest = self.silent[len(self.silent) - 1]
            if oldest.revision == oldest.silent_since:
                if oldest.revision > self.bottom():
                    break
                del self.clients[oldest.name]
                self.forgotten = True
            self.silent.pop()
        return 0

    def last_seq(self, str client not None):
        """The last committed sequence number of a client; 0 when unknown."""
        cdef ClientState state = self.clients.get(client)
        return 0 if state is None else state.seq

    def client_user(self, str client not None):
        """The user that a client id belongs to; None when unknown."""
        cdef ClientState state = self.clients.get(client)
        return None if state is None else state.user

    @property
    def client_count(self):
        """Clients whose last number is in memory. At most ``max_clients``, or those with an entry in the window."""
        return len(self.clients)

    @property
    def has_forgotten(self):
        """Whether a client that ``client_user`` does not know may have been here before."""
        return self.forgotten

    # -------------------------------------------------------------------------------------------------- on loading

    cdef int start_at(self, int64_t revision, list states, bint forgotten) except -1:
        """Takes over what a snapshot remembers; the window is empty then. Raises ValueError, and changes nothing, when
        it does not fit together."""
        cdef ClientState state
        cdef int64_t last = 0
        if revision < 0:
            raise ValueError("a revision is not negative")
        clients = {}
        for state in states:
            if not last < state.revision <= revision or state.name in clients:
                raise ValueError("damaged body: the clients' revisions do not fit the snapshot")
            last = state.revision
            clients[state.name] = state
        self.revision = revision
        self.clients = clients
        self.silent = []
        self.forgotten = forgotten
        self.entries = []
        self.first = 0
        self.occupied = 0
        self.forget_clients()
        return 0

    cdef int require_next(self, Commit commit, int64_t revision) except -1:
        """Whether a stored commit can follow as ``revision``; ValueError when not. Its names become those in memory.

        A number that is not above the client's last one, or another user, is no damage: between the two the client was forgotten. When
        that was depended on how the floor rose and on bounds that are not in the log. Only who made the head is never forgotten.
        """
        cdef ClientState state
        if revision != self.revision + 1:
            raise ValueError(f"revisions {self.revision + 1} to {revision - 1} are missing")
        state = self.clients.get(commit.client)
        if state is None:
            return 0
        if commit.seq > state.seq and commit.user == state.user:
            commit.client, commit.user = state.name, state.user  # one object per name
            return 0
        if state.revision == self.revision:
            raise ValueError(f"revision {revision} does not follow the client's last one")
        del self.clients[state.name]
        self.silent = []
        self.forgotten = True
        return 0
