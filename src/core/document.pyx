"""One collaborative document: text, revision, a bounded window of operations, receive(). Sans-I/O.

    floor + 1 ... revision         the window: entries in memory, oldest first
    base ... revision              what an arriving operation is transformed against, one by one (never composed:
                                   T(x, a.b) is not T(T(x, a), b))

Exactly once. (client, seq) names an operation; numbers of one client only grow. A client's last committed number is
kept with the digest of what was submitted, in a table with this invariant: *every client with an entry in the window
is in the table*. An operation made at ``base`` can only have been committed after ``base``. So: a number above the
last one is new; one that is not above was committed before, or was refused, and the window from ``base`` on tells
which. A client that is not in the table has committed nothing after the floor. When ``base`` lies below the floor the
answer is OutdatedRevision, the caller widens the window with ``prepend``, which brings forgotten clients back, and the
same reasoning holds.

A gap in the numbers is allowed: it is what a refused operation leaves behind (docs/protocol.md).

An operation is transformed in the unit of who sent it, and converted at the head, where the text is at hand. Lengths
of the text at each revision are kept in both units: what reaches past the end of *its* text, operation or cursor, is
refused before anything is transformed.

``receive`` never trims: entries may not be stored yet. The owner calls ``trim`` after the commit.
"""

from libc.stdint cimport int64_t, uint64_t

from collections import OrderedDict
from typing import NamedTuple

cimport cython

from syncline.core.entries cimport ClientState, Entry, encode_snapshot, new_entry
from syncline.core.ot cimport MAX_COMPONENTS, Operation, new_operation, unit_is_utf16
from syncline.core.parts cimport (
    MAX_LENGTH,
    Part,
    Parts,
    invalid,
    out_of_range,
    parts_close,
    parts_open,
    require_well_formed,
    transform_parts,
)
from syncline.core.text cimport Text

from syncline.core import entries as _entries
from syncline.core.entries import decode_entries, decode_snapshot, encode_entries, new_text_snapshot
from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError

# A cimported class is no name for importers; one place to import from is kinder to them.
globals()["Entry"] = _entries.Entry

# Above this a number does not survive JSON in JavaScript.
cdef int64_t MAX_COUNT = 9_007_199_254_740_991

cdef Py_ssize_t live = 0


def live_documents() -> int:
    """How many documents exist in this process; for leak tests."""
    return live


class Receipt(NamedTuple):
    """``duplicate``: nothing was applied, ``entry`` is None, ``revision`` is where (client, seq) was committed."""

    revision: int
    entry: Entry | None
    duplicate: bool


class Cursor(NamedTuple):
    anchor: int
    head: int


@cython.final
cdef class _Caret:
    """A client's selection."""


cdef int64_t read_count(object value, str what) except -1:
    """A non-negative int; what is too large for a revision or number is MAX_COUNT + 1, which no document has."""
    if type(value) is not int or value < 0:
        raise SynclineError(ErrorCode.INVALID_DATA, f"{what} must be an integer from 0")
    return value if value <= MAX_COUNT else MAX_COUNT + 1


@cython.final
cdef class Document:
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1

    def __init__(
        self,
        str id not None,
        str generation not None,
        *,
        Py_ssize_t window_operations=10_000,
        Py_ssize_t window_bytes=4_194_304,
        int64_t max_length=16_777_216,
        Py_ssize_t max_clients=10_000,
    ):
        self.id = id
        self.generation = generation
        self.max_operations = window_operations
        self.max_bytes = window_bytes
        self.max_length = min(max_length, MAX_LENGTH)
        self.max_clients = max_clients
        self.body = Text()
        self.entries = []
        self.clients = OrderedDict()
        self.carets = {}

    # ------------------------------------------------------------------------------------------------- the window

    cdef int64_t bottom(self) noexcept:  # reads fields
        return self.revision - (len(self.entries) - self.first)

    cdef Entry entry_at(self, int64_t revision):
        """The entry that made ``revision``; the caller stays inside the window."""
        return <Entry>self.entries[self.first + (revision - self.bottom() - 1)]

    cdef int64_t length_at(self, int64_t revision, bint utf16) except -1:
        """Length of the text at a revision from the floor to the head."""
        cdef Entry entry
        if revision == self.bottom():
            return self.floor_units if utf16 else self.floor_points
        entry = self.entry_at(revision)
        return entry.units_after if utf16 else entry.points_after

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
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        if start < self.bottom():
            raise OutdatedRevision(revision, self.bottom())
        return self.entries[self.first + (start - self.bottom()) :]

    def prepend(self, int64_t first_revision, list entries not None):
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the text. O(entries + window).
        """
        cdef Entry entry
        cdef ClientState state
        cdef int64_t units = self.floor_units, points = self.floor_points, revision = self.bottom()
        cdef Py_ssize_t index, added = 0
        if first_revision < 1 or first_revision + len(entries) - 1 != revision:
            raise ValueError(f"entries from revision {first_revision} on do not end at the floor, {revision}")
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            entry.units_after, entry.points_after = units, points
            units -= entry.operation.inserted - entry.operation.deleted
            points -= entry.numbers(False).inserted - entry.numbers(False).deleted
            added += entry.footprint()
            if points < 0 or units < points:
                raise ValueError("the entries do not fit the text")
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            if entry.client not in self.clients:
                # A forgotten client: its last commit lies before those of all that are remembered.
                remember(self.clients, entry, revision)
                self.clients.move_to_end(entry.client, False)
            revision -= 1
        self.entries = entries + self.entries[self.first :]
        self.first = 0
        self.occupied += added
        self.floor_units, self.floor_points = units, points

    def trim(self):
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored. O(dropped).
        """
        cdef Entry entry
        while self.first < len(self.entries) and (
            len(self.entries) - self.first > self.max_operations or self.occupied > self.max_bytes
        ):
            entry = self.entries[self.first]
            self.floor_units, self.floor_points = entry.units_after, entry.points_after
            self.occupied -= entry.footprint()
            self.entries[self.first] = None
            self.first += 1
        if self.first > 32 and 2 * self.first > len(self.entries):
            del self.entries[: self.first]
            self.first = 0
        self.forget_clients()

    # ---------------------------------------------------------------------------------------------------- receive

    def __reduce__(self):
        raise TypeError("a Document is not copied; take a snapshot")

    def receive(
        self, str client not None, str user not None, seq, base, components, unit="utf-16", double time=0.0
    ):
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``components``: what ``Operation.parse`` takes, or an Operation that counts ``unit``. The author's cursor goes
        to the end of what it did. Raises SynclineError (operation_invalid, operation_out_of_range, revision_unknown,
        sequence_conflict, document_too_large, client_taken, invalid_data) or OutdatedRevision when ``base`` <
        ``floor``. O(revision - base).
        """
        cdef bint utf16 = unit_is_utf16(unit)
        cdef int64_t number = read_count(seq, "seq"), start = read_count(base, "revision")
        cdef Operation operation, units, points
        cdef ClientState state = self.clients.get(client)
        cdef Entry entry
        cdef uint64_t digest
        if not 1 <= number <= MAX_COUNT:
            raise SynclineError(ErrorCode.INVALID_DATA, "seq must be an integer from 1")
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        if type(components) is Operation:
            operation = components
            if operation.utf16 != utf16:
                raise ValueError("the operation counts another unit")
        else:
            operation = Operation.parse(components, unit)
        digest = operation.fingerprint()
        if state is not None:
            if state.user != user:
                raise SynclineError(ErrorCode.CLIENT_TAKEN, "this client id belongs to another user")
            if number <= state.seq:
                return self.repeated(state, number, start, digest)
        if start < self.bottom():
            raise OutdatedRevision(start, self.bottom())
        if operation.base() > self.length_at(start, utf16):
            raise out_of_range("the operation reaches past the end of the text at its revision")
        units = self.body.counted(self.rebase(operation, start), True)
        self.body.require_applicable(units)
        if units.inserted > units.deleted and self.body.size() + units.inserted - units.deleted > self.max_length:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {self.max_length} UTF-16 code units")
        if state is None:
            require_nameable(client)
            require_nameable(user)
        else:
            client, user = state.name, state.user  # one object per name, however often it came over the wire
        points = self.body.counted(units, False)
        if points.same_parts(units):
            points = None
        entry = new_entry(client, user, number, units, points, time, digest)
        self.append(entry)
        self.move_carets(entry)
        self.forget_clients()
        return Receipt(self.revision, entry, False)

    cdef Operation rebase(self, Operation operation, int64_t base):
        """``operation`` after everything that was committed since ``base``. Two arrays take turns: no object per step.
        """
        cdef Parts buffers[2]
        cdef const Part *parts = operation.parts
        cdef Py_ssize_t index, count = operation.count
        cdef int turn = 0
        cdef Operation other
        cdef Py_ssize_t start = self.first + (base - self.bottom())
        if start == len(self.entries) or count == 0:
            return operation
        parts_open(&buffers[0])
        parts_open(&buffers[1])
        try:
            for index in range(start, len(self.entries)):
                other = (<Entry>self.entries[index]).numbers(operation.utf16)
                buffers[turn].count = 0
                transform_parts(parts, count, other.parts, other.count, True, &buffers[turn])
                parts = buffers[turn].items
                count = buffers[turn].count
                turn = 1 - turn
            if count > MAX_COMPONENTS:
                raise invalid(f"more than {MAX_COMPONENTS} components")
            return new_operation(&buffers[1 - turn], operation.text, operation.utf16)
        finally:
            parts_close(&buffers[0])
            parts_close(&buffers[1])

    cdef object repeated(self, ClientState state, int64_t seq, int64_t base, uint64_t digest):
        """The answer to a number that is not above the client's last one."""
        cdef int64_t revision = self.revision
        cdef Entry entry
        if seq == state.seq:
            if digest != state.digest:
                raise SynclineError(ErrorCode.SEQUENCE_CONFLICT, f"operation {seq} of this client was another one")
            return Receipt(state.revision, None, True)
        while revision > self.bottom():
            entry = self.entry_at(revision)
            if entry.seq == seq and entry.client == state.name:
                if digest != entry.digest:
                    raise SynclineError(ErrorCode.SEQUENCE_CONFLICT, f"operation {seq} of this client was another one")
                return Receipt(revision, None, True)
            revision -= 1
        if base < self.bottom():
            raise OutdatedRevision(base, self.bottom())
        raise SynclineError(
            ErrorCode.SEQUENCE_CONFLICT,
            f"operation {state.seq} of this client is committed, and {seq} is not among those since revision {base}",
        )

    cdef int append(self, Entry entry) except -1:
        """Applies an entry that ``Text.require_applicable`` has let pass."""
        self.body.reserve(entry.operation.inserted)  # what can fail comes first
        self.entries.append(entry)
        self.body.commit(entry.operation)
        self.revision += 1
        entry.units_after = self.body.size()
        entry.points_after = self.body.size() - self.body.wide
        self.occupied += entry.footprint()
        remember(self.clients, entry, self.revision)
        self.clients.move_to_end(entry.client)
        return 0

    cdef int forget_clients(self) except -1:
        """Holds the bound on clients, as far as the invariant of the table allows."""
        cdef ClientState oldest
        while len(self.clients) > self.max_clients:
            oldest = next(iter(self.clients.values()))
            if oldest.revision > self.bottom():
                break
            del self.clients[oldest.name]
            self.forgotten = True
        return 0

    # --------------------------------------------------------------------------------------------------- questions

    def text(self):
        """The text at the head. O(text)."""
        return str(self.body)

    def length(self, unit="utf-16"):
        return self.body.length(unit)

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

    # ----------------------------------------------------------------------------------------------------- cursors

    cdef int move_carets(self, Entry entry) except -1:
        """An insert at a cursor leaves it where it is: an operation that its owner has under way there goes to the left
        of that insert too (the tie rule), and so the text being typed and its cursor stay together."""
        cdef _Caret caret
        for caret in self.carets.values():
            caret.anchor = entry.operation.move(caret.anchor, False)
            caret.head = entry.operation.move(caret.head, False)
        if entry.operation.count:
            caret = self.carets.get(entry.client)
            if caret is None:
                caret = _Caret.__new__(_Caret)
                self.keep_caret(entry.client, caret)
            caret.anchor = caret.head = entry.operation.tail()
        return 0

    def set_cursor(self, str client not None, base, anchor, head, unit="utf-16"):
        """A selection in the text at ``base``; a caret when both are equal. A position inside a surrogate pair goes
        before it.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
        cdef bint utf16 = unit_is_utf16(unit)
        cdef int64_t start = read_count(base, "revision"), length
        cdef int64_t at = read_count(anchor, "anchor"), to = read_count(head, "head")
        cdef Py_ssize_t index
        cdef Entry entry
        cdef _Caret caret
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        if start < self.bottom():
            raise OutdatedRevision(start, self.bottom())
        length = self.length_at(start, utf16)
        if at > length or to > length:
            raise SynclineError(ErrorCode.INVALID_DATA, "the cursor lies past the end of the text at its revision")
        for index in range(self.first + (start - self.bottom()), len(self.entries)):
            entry = self.entries[index]
            at = entry.numbers(utf16).move(at, False)
            to = entry.numbers(utf16).move(to, False)
        if utf16:
            at -= self.body.splits(at)
            to -= self.body.splits(to)
        caret = _Caret.__new__(_Caret)
        caret.anchor = self.body.convert(at, utf16, True)
        caret.head = self.body.convert(to, utf16, True)
        self.keep_caret(client, caret)

    cdef int keep_caret(self, str client, _Caret caret) except -1:
        """One per client and at most ``max_clients``: the one that was set first makes place."""
        if client not in self.carets and len(self.carets) >= self.max_clients:
            del self.carets[next(iter(self.carets))]
        self.carets[client] = caret
        return 0

    def drop_cursor(self, str client not None):
        """Forgets it, if there is one."""
        self.carets.pop(client, None)

    def cursor(self, str client not None, unit="utf-16"):
        """A Cursor at the head, or None."""
        cdef bint utf16 = unit_is_utf16(unit)
        cdef _Caret caret = self.carets.get(client)
        if caret is None:
            return None
        return Cursor(self.body.convert(caret.anchor, True, utf16), self.body.convert(caret.head, True, utf16))

    # ------------------------------------------------------------------------------------------------- persistence

    def snapshot(self):
        """Text and clients' sequence numbers at ``revision``, for ``restore``. O(text + clients)."""
        return encode_snapshot(str(self.body), self.clients.values(), self.forgotten)

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot; the window is empty then. Raises ValueError, and changes nothing, when it is damaged.
        """
        cdef ClientState state
        cdef int64_t last = 0
        if revision < 0:
            raise ValueError("a revision is not negative")
        text, states, forgotten = decode_snapshot(body)
        clients = OrderedDict()
        for state in states:
            if not last < state.revision <= revision or state.name in clients:
                raise ValueError("damaged body: the clients' revisions do not fit the snapshot")
            last = state.revision
            clients[state.name] = state
        self.body = Text(text)
        self.revision = revision
        self.clients = clients
        self.forgotten = forgotten
        self.entries = []
        self.first = 0
        self.occupied = 0
        self.carets = {}
        self.floor_units = self.body.size()
        self.floor_points = self.body.size() - self.body.wide
        self.forget_clients()

    def replay(self, int64_t base, list entries not None):
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """
        cdef Entry entry
        cdef ClientState state
        cdef Operation points
        cdef int64_t revision = base
        if base < 0:
            raise ValueError("a revision is not negative")
        for entry in entries:
            revision += 1
            if revision <= self.revision:
                continue
            if revision != self.revision + 1:
                raise ValueError(f"revisions {self.revision + 1} to {revision - 1} are missing")
            state = self.clients.get(entry.client)
            if state is not None:
                if entry.seq <= state.seq or entry.user != state.user:
                    raise ValueError(f"revision {revision} does not follow the client's earlier ones")
                entry.client, entry.user = state.name, state.user
            try:
                self.body.require_applicable(entry.operation)
                points = self.body.counted(entry.operation, False)
            except SynclineError as error:
                raise ValueError(f"revision {revision} does not fit the text: {error.message}") from error
            if not points.same_parts(entry.numbers(False)):
                raise ValueError(f"revision {revision} does not fit the text: its units disagree")
            self.append(entry)
        self.trim()


cdef int remember(object clients, Entry entry, int64_t revision) except -1:
    """Makes ``entry`` the last one of its client."""
    cdef ClientState state = clients.get(entry.client)
    if state is None:
        state = ClientState.__new__(ClientState)
        state.name = entry.client
        state.user = entry.user
        clients[state.name] = state
    state.seq = entry.seq
    state.revision = revision
    state.digest = entry.digest
    return 0


cdef int require_nameable(str name) except -1:
    """A name that cannot be written as UTF-8 could be accepted but never stored."""
    try:
        require_well_formed(name)
    except SynclineError:
        raise SynclineError(ErrorCode.INVALID_DATA, "a name has a lone surrogate") from None
    return 0
