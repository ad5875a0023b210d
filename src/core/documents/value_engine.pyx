"""Documents of any ``DocumentType``: its content, and its operations as Python objects.

What arrives is transformed against base + 1 ... revision one by one, the one that arrives being left (it wins ties), as for text.
Where that takes long it is done in steps beside the event loop: ``Laborious`` brings them, ``prepared`` keeps what comes of it until
the same is asked again.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.documents.engine cimport Arrival, Caret, Engine
from syncline.core.storage.window cimport Commit, Window, read_kind

from syncline.core.documents.document_type import NO_LIMIT as _NO_LIMIT
from syncline.core.storage.commits import decode_payloads, encode_payloads, new_text_snapshot
from syncline.core.errors import ErrorCode, Laborious, SynclineError, TooFarBehind
from syncline.core.values.json_values import exceeds
from syncline.core.documents.value_log import ValueLog
from syncline.core.storage.window import KINDS as _KINDS
from syncline.core.storage.window import Cursor

# What a TypedEntry occupies beside its operation.
cdef Py_ssize_t ENTRY_BYTES = 400

# What the transforms of one arriving operation may cost, in what the type's ``cost`` counts: about microseconds; and what they may cost
# at once. A replacement of the content costs more than that from SMALL on, in what the type's ``size`` counts.
cdef int64_t MAX_COST = 250_000
cdef int64_t QUICK = 2_000
cdef int64_t SMALL = 20_000

# Microseconds that a cursor may take to the head when it is set.
cdef int64_t FAR = 5_000


@cython.final
cdef class TypedEntry(Commit):
    """One committed operation of any type."""

    def __init__(
        self,
        type not None,
        str client not None,
        str user not None,
        int64_t seq,
        operation not None,
        double time=0.0,
        digest=None,
        str kind not None="edit",
    ):
        """``digest``: of the operation as it was submitted; by default that of ``operation``."""
        self.type = type
        self.client = client
        self.user = user
        self.seq = seq
        self.operation = operation
        self.time = time
        self.digest = type.digest(operation) if digest is None else digest
        self.mark = read_kind(kind)
        self.payload = type.encode(operation)
        self.weight = type.weight(operation)
        self.places = type.places(operation)
        self.occupied = type.footprint(operation, len(self.payload))

    def told(self, unit="utf-16"):
        """The operation as the protocol shows it."""
        return self.type.describe(self.operation)

    def in_unit(self, unit="utf-16"):
        """The operation; there is one unit."""
        return self.operation

    @property
    def bulk(self):
        """About how many characters it takes to tell it. O(1)."""
        return len(self.payload)

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        return ENTRY_BYTES + self.occupied

    def __repr__(self):
        return f"TypedEntry({self.client!r}, {self.user!r}, {self.seq}, {self.operation!r})"


@cython.final
cdef class ValueCaret(Caret):
    """Positions as the type has them."""


@cython.final
cdef class ValueEngine(Engine):
    """Over a DocumentType."""

    def __init__(self, type not None, *, int64_t max_length=16_777_216, bint undone=True):
        """``undone``: whether anything can be undone."""
        self.type = type
        self.max_length = max_length
        self.undone = undone
        self.leads = type.has_cursors
        self.held = type.empty()
        self.size = type.size(self.held)
        self.hash_revision = -1

    @property
    def units(self):
        return self.type.units

    def undo_log(self):
        """An empty one."""
        return ValueLog(self.type)

    # ------------------------------------------------------------------------------------------- what arrives

    cdef uint64_t read(self, Arrival *arrival, object value, bint utf16) except? 0:
        self.arrived = self.type.parse(value)
        return self.type.digest(self.arrived)

    def require_unit(self, value, unit):
        """There is one unit."""

    cdef object climb(
        self, Arrival *arrival, Window window, str client, int64_t seq, uint64_t digest, int64_t base
    ):
        cdef Py_ssize_t index, start = window.first + (base - window.bottom())
        cdef int64_t others = 0
        cdef list entries = window.entries
        operation = self.arrived
        if start == len(entries):
            return operation
        key = client, seq, digest, base, window.revision
        moved = self.take_prepared(key)
        if moved is not None:
            return moved
        for index in range(start, len(entries)):
            others += (<TypedEntry>entries[index]).weight
        labour = self.type.labour(self.type.weight(operation), others, len(entries) - start)
        if labour > MAX_COST:
            raise TooFarBehind("its transforms would cost too much")
        steps = self._moving(operation, entries[start:], key)
        if labour > QUICK:
            raise Laborious(steps, labour)
        for _ in steps:
            pass
        return self.take_prepared(key)

    def _moving(self, operation, list others, tuple key):
        cdef TypedEntry other
        cost = 0
        for other in others:
            cost += self.type.cost(operation, other.operation)
            if cost > MAX_COST:  # it has grown on the way
                raise TooFarBehind("its transforms would cost too much")
            operation, _ = yield from self.type.crossing(operation, other.operation)
            yield
        self.prepared = key, operation

    cdef object take_prepared(self, tuple key):
        """What was prepared under that key, once; None when nothing was."""
        prepared, self.prepared = self.prepared, None
        return prepared[1] if prepared is not None and prepared[0] == key else None

    def replacing(self, value, tuple key):
        """An operation from the head to ``value``; ``key`` names it. Raises SynclineError(operation_invalid), Laborious. O(content)."""
        operation = self.take_prepared(key)
        if operation is None:
            steps = self._replacing(value, key)
            if self.size > SMALL or exceeds(value, SMALL):
                raise Laborious(steps, MAX_COST / 2 + self.size / 10)  # how large the value is is not known
            for _ in steps:
                pass
            operation = self.take_prepared(key)
        return operation

    def is_empty(self):
        return self.type.is_empty(self.held)

    def _replacing(self, value, tuple key):
        content = self.type.parse_content(value)
        yield
        self.prepared = key, self.type.diff(self.held, content)

    # ------------------------------------------------------------------------------------------------- commits

    cdef Commit make(
        self, str client, str user, int64_t seq, object operation, uint8_t mark, uint64_t digest, double time
    ):
        cdef TypedEntry entry
        self.apply(operation, self.max_length)
        entry = TypedEntry(self.type, client, user, seq, self.applied, time, digest, _KINDS[mark])
        self.applied_bytes = len(entry.payload)
        return entry

    cdef int take(self, Commit commit, int64_t revision) except -1:
        cdef TypedEntry entry = <TypedEntry?>commit
        self.apply(entry.operation, _NO_LIMIT)
        self.applied_bytes = len(entry.payload)
        return 0

    cdef int apply(self, object operation, object limit) except -1:
        """``applied`` is it as it is to be told."""
        inverse = None
        if self.undone and not self.type.inverts_told:  # before it is applied: content may change in place
            inverse = self.type.invert(operation, self.held)
        self.held, self.size, self.applied = self.type.commit(self.held, self.size, operation, limit)
        self.hash_revision = -1
        self.undoing = self.type.invert_told(self.applied) if self.undone and self.type.inverts_told else inverse
        return 0

    def lower(self, list entries not None):
        """They come before the floor: that needs nothing."""

    def trimmed(self, int64_t floor):
        """Nothing is kept of the window."""

    def ladder_bytes(self):
        return 0

    # -------------------------------------------------------------------------------------------------- carets

    cdef Caret caret(self):
        return ValueCaret.__new__(ValueCaret) if self.type.has_cursors else None

    cdef bint follow(self, Caret caret, Commit commit) except -1:
        cdef ValueCaret own = <ValueCaret>caret
        end = self.type.end((<TypedEntry>commit).operation)
        if end is None:
            return False
        own.anchor = own.head = end
        return True

    cdef int64_t bring_on(self, Window window, Caret caret, int64_t room) except -1:
        cdef ValueCaret own = <ValueCaret>caret
        cdef TypedEntry entry
        cdef Py_ssize_t index
        cdef int64_t spent = 0
        for index in range(window.first + (own.revision - window.bottom()), len(window.entries)):
            if spent >= room:
                break
            entry = <TypedEntry>window.entries[index]
            same = own.head is own.anchor
            own.anchor = self.type.move(entry.operation, own.anchor)
            own.head = own.anchor if same else self.type.move(entry.operation, own.head)
            own.revision += 1
            spent += entry.places if same else 2 * entry.places
        return spent

    def place(self, Window window not None, int64_t base, anchor, head, unit):
        """A caret at the head, of a selection in the content at ``base``, which the window reaches. Raises SynclineError(invalid_data)."""
        cdef ValueCaret caret = ValueCaret.__new__(ValueCaret)
        if not self.type.has_cursors:
            raise SynclineError(ErrorCode.INVALID_DATA, f"documents of type {self.type.name} have no cursors")
        caret.revision = base
        caret.anchor = self.type.parse_position(anchor)
        caret.head = self.type.parse_position(head)
        if caret.head == caret.anchor:
            caret.head = caret.anchor  # moved once
        self.bring_on(window, caret, FAR)
        if caret.revision < window.revision:
            raise SynclineError(ErrorCode.INVALID_DATA, "too much was committed since the revision of the cursor")
        self.type.check_position(self.held, caret.anchor)
        self.type.check_position(self.held, caret.head)
        return caret

    def shown(self, ValueCaret caret not None, unit):
        return Cursor(caret.anchor, caret.head)

    # ------------------------------------------------------------------------------------------------- content

    def content(self):
        """As a JSON value, not to be changed."""
        return self.type.show(self.held)

    def state(self):
        return {"text": None, "content": self.content()}

    def hash(self, revision):
        """Kept until the content is another one. O(content)."""
        if self.hash_revision != revision:
            self.hash_known = self.type.hash(self.held)
            self.hash_revision = revision
        return self.hash_known

    def hashing(self, revision):
        if self.hash_revision != revision:
            self.hash_known = yield from self.type.hashing(self.held)
            self.hash_revision = revision
        return self.hash_known

    def hash_labour(self, revision):
        return 0 if self.hash_revision == revision else self.type.hash_labour(self.held, self.size)

    def length(self, unit):
        """As the type counts its size."""
        return self.size

    def dump(self):
        return self.type.dump(self.held)

    def loaded(self, str dumped not None):
        """What ``adopt`` takes. Raises ValueError."""
        return self.type.load(dumped)

    def adopt(self, content):
        self.held = content
        self.size = self.type.size(content)
        self.hash_revision = -1
        self.prepared = None


def first_snapshot(type not None, value, int64_t limit):
    """See ``DocumentType.new_snapshot``."""
    content = type.parse_content(value)
    if type.size(content) > limit:
        raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {limit} UTF-16 code units")
    return new_text_snapshot(type.dump(content))


# ------------------------------------------------------------------------------------------------------------ the log


def encode_typed_entries(entries not None):
    """The body of one turn in the store."""
    return encode_payloads(entries, [(<TypedEntry>entry).payload for entry in entries])


def decode_typed_entries(type not None, bytes body not None, Py_ssize_t skip=0, count=None):
    """The inverse, from number ``skip`` on at most ``count`` of them. Raises ValueError on a damaged body."""
    rows = decode_payloads(body)
    return [
        TypedEntry(type, client, user, seq, type.decode(payload), time, digest, kind)
        for client, user, seq, time, digest, kind, payload in rows[skip : None if count is None else skip + count]
    ]
