"""A document of any type but text: the window that all share, with content and operations that a DocumentType knows.

What arrives is transformed against base + 1 ... revision one by one, the one that arrives being left (it wins ties), as
for text. ``receive`` never trims: entries may not be stored yet. The owner calls ``trim`` after the commit.
"""

from libc.stdint cimport int64_t, uint64_t

cimport cython

from syncline.core.entries cimport encode_snapshot
from syncline.core.window cimport Commit, Window, read_count, read_kind, read_seq, require_nameable

from syncline.core.entries import decode_payloads, decode_snapshot, encode_payloads, new_text_snapshot
from syncline.core.errors import ErrorCode, Laborious, SynclineError, TooFarBehind
from syncline.core.json_values import exceeds
from syncline.core.typed_undo import TypedUndo
from syncline.core.window import Cursor, Receipt

# What a TypedEntry occupies beside its operation; and how much larger values are in memory than as bytes.
cdef Py_ssize_t ENTRY_BYTES = 400
cdef Py_ssize_t VALUE_FACTOR = 8

# What the transforms of one arriving operation may cost, in what the type's ``cost`` counts: about microseconds; and what they may cost
# at once. A replacement of the content costs more than that from SMALL on, in what the type's ``size`` counts.
cdef int64_t MAX_COST = 250_000
cdef int64_t QUICK = 2_000
cdef int64_t SMALL = 20_000

# The limit of what was committed already.
NO_LIMIT = 2**62

# Digest of a restoration, with the revision that is restored.
cdef uint64_t RESTORE_DIGEST = 0x7265_7374_6F72_6500

# Of a request without an operation: it tells an undo from a redo under the same number.
cdef uint64_t UNDO_DIGEST = 0x756E646F

cdef Py_ssize_t live = 0


def live_typed_documents() -> int:
    """How many documents of this class exist in this process; for leak tests."""
    return live


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

    def told(self, unit="utf-16"):
        """The operation as the protocol shows it."""
        return self.type.describe(self.operation)

    def in_unit(self, unit="utf-16"):
        """The operation; there is one unit."""
        return self.operation

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        return ENTRY_BYTES + VALUE_FACTOR * len(self.payload)

    def __repr__(self):
        return f"TypedEntry({self.client!r}, {self.user!r}, {self.seq}, {self.operation!r})"


@cython.final
cdef class TypedDocument(Window):
    """Applies operations in order. Raises, and stays as it was, when it must refuse one."""

    def __cinit__(self):
        global live
        live += 1

    def __dealloc__(self):
        global live
        live -= 1

    def __init__(
        self,
        type not None,
        str id not None,
        str generation not None,
        *,
        Py_ssize_t window_operations=10_000,
        Py_ssize_t window_bytes=4_194_304,
        int64_t max_length=16_777_216,
        Py_ssize_t max_clients=10_000,
        Py_ssize_t undo_depth=100,
        Py_ssize_t undo_bytes=4_194_304,
        int64_t undo_history=20_000,
        int64_t undo_group_ms=1000,
    ):
        Window.__init__(
            self,
            id,
            generation,
            window_operations=window_operations,
            window_bytes=window_bytes,
            max_clients=max_clients,
        )
        self.type = type
        self.max_length = max_length
        self.held = type.empty()
        self.size = type.size(self.held)
        self.carets = {}
        self.hash_revision = -1
        self.stacks = TypedUndo(
            type, groups=undo_depth, max_bytes=undo_bytes, history=undo_history, group_ms=undo_group_ms
        )

    def prepend(self, int64_t first_revision, list entries not None):
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor. O(entries + window).
        """
        self.widen(first_revision, entries)

    # ---------------------------------------------------------------------------------------------------- receive

    def receive(
        self, str client not None, str user not None, seq, base, operation, unit="utf-16", double time=0.0
    ):
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``operation``: what the type's ``parse`` takes. Raises SynclineError (operation_invalid,
        operation_out_of_range, revision_unknown, sequence_conflict, document_too_large, client_taken, invalid_data) or
        OutdatedRevision when ``base`` < ``floor``; Laborious, and TooFarBehind before any work, when the O(revision - base)
        transforms cost much.
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        parsed = self.type.parse(operation)
        digest = self.type.digest(parsed)
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        operation = self.rebase(parsed, start, (client, number, digest, start, self.revision))
        return self.accept(client, user, number, operation, "edit", digest, time)

    def restore_content(
        self, str client not None, str user not None, seq, base, to, value, double time=0.0
    ):
        """Makes ``value``, which is the content of revision ``to``, the content at the head; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision, Laborious. O(content).
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision"), source = read_count(to, "to")
        cdef uint64_t digest = RESTORE_DIGEST ^ <uint64_t>source
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        key = client, number, digest, start, self.revision
        operation = self.take_prepared(key)
        if operation is None:
            steps = self._replacing(value, key)
            if self.size > SMALL or exceeds(value, SMALL):
                raise Laborious(steps, MAX_COST / 2 + self.size / 10)  # how large the value is is not known
            for _ in steps:
                pass
            operation = self.take_prepared(key)
        return self.accept(client, user, number, operation, "restore", digest, time)

    def _replacing(self, value, tuple key):
        content = self.type.parse_content(value)
        yield
        self.prepared = key, self.type.diff(self.held, content)

    cdef object take_prepared(self, tuple key):
        """What was prepared under that key, once; None when nothing was."""
        prepared, self.prepared = self.prepared, None
        return prepared[1] if prepared is not None and prepared[0] == key else None

    cdef object accept(
        self, str client, str user, int64_t number, object operation, str kind, uint64_t digest, double time
    ):
        """Applies an operation that is at the head."""
        cdef TypedEntry entry
        require_nameable(client)
        require_nameable(user)
        told, inverse = self.make(operation, self.max_length)
        entry = TypedEntry(self.type, client, user, number, told, time, digest, kind)
        self.stacks.record(client, user, kind, told, inverse, len(entry.payload), time)
        self.keep(entry)
        self.move_carets(entry)
        self.forget_clients()
        return Receipt(self.revision, entry, False)

    cdef tuple make(self, object operation, object limit):
        """Applies an operation; (it as it is told, what undoes it, or None where nothing is undone). Raises as ``commit``."""
        cdef bint undone = self.stacks.max_groups > 0
        inverse = None
        if undone and not self.type.inverts_told:  # before it is applied: content may change in place
            inverse = self.type.invert(operation, self.held)
        self.held, self.size, told = self.type.commit(self.held, self.size, operation, limit)
        return told, self.type.invert_told(told) if undone and self.type.inverts_told else inverse

    def undo(self, str client not None, str user not None, seq, base, kind="undo", double time=0.0):
        """Takes back the client's newest group of edits of which something is left; kind "redo" does it again.

        An entry like any other, made at the head. Raises SynclineError (nothing_to_undo, nothing_to_redo, and as
        ``receive``), OutdatedRevision or Laborious. O(edits of the group x revisions since): see typed_undo.py.
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef uint64_t digest = UNDO_DIGEST + read_kind(kind)
        if kind != "undo" and kind != "redo":
            raise ValueError("kind must be 'undo' or 'redo'")
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        operation = self.stacks.operation(client, user, kind)
        if operation is None:
            raise SynclineError(ErrorCode.NOTHING_TO_REDO if kind == "redo" else ErrorCode.NOTHING_TO_UNDO)
        return self.accept(client, user, number, operation, kind, digest, time)

    def undo_depth(self, str client not None):
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
        return self.stacks.depth(client)

    @property
    def undo_bytes(self):
        """About what can be undone occupies in memory."""
        return self.stacks.footprint

    @property
    def undo_dropped(self):
        """Groups that can no longer be undone, for want of room."""
        return self.stacks.dropped

    cdef object rebase(self, object operation, int64_t base, tuple key):
        """``operation`` after everything that was committed since ``base``. ``key`` names it."""
        cdef Py_ssize_t index, start = self.first + (base - self.bottom())
        cdef int64_t others = 0
        if start == len(self.entries):
            return operation
        moved = self.take_prepared(key)
        if moved is not None:
            return moved
        for index in range(start, len(self.entries)):
            others += (<TypedEntry>self.entries[index]).weight
        labour = self.type.labour(self.type.weight(operation), others, len(self.entries) - start)
        if labour > MAX_COST:
            raise TooFarBehind("its transforms would cost too much")
        steps = self._moving(operation, self.entries[start:], key)
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
            operation = self.type.rebase(operation, other.operation, "left")
            yield
        self.prepared = key, operation

    # --------------------------------------------------------------------------------------------------- questions

    def content(self):
        """The content at the head as a JSON value, not to be changed."""
        return self.type.show(self.held)

    def state(self):
        """What `document:state` says of the content."""
        return {"text": None, "content": self.content()}

    def hash(self):
        """For clients to compare; kept until the content is another one. O(content)."""
        if self.hash_revision != self.revision:
            self.hash_known = self.type.hash(self.held)
            self.hash_revision = self.revision
        return self.hash_known

    def hashing(self):
        """The same in steps; nothing may be received meanwhile."""
        if self.hash_revision != self.revision:
            self.hash_known = yield from self.type.hashing(self.held)
            self.hash_revision = self.revision
        return self.hash_known

    def quick_hash(self, int64_t most=QUICK):
        """``hash``, or None where that takes longer than so many microseconds, about: by default, too long for an event loop."""
        return self.hash() if self.hash_labour <= most else None

    @property
    def hash_labour(self):
        """About how many microseconds ``hash`` takes."""
        return 0 if self.hash_revision == self.revision else self.type.hash_labour(self.held, self.size)

    def length(self, unit="utf-16"):
        """As the type counts its size."""
        return self.size

    # ----------------------------------------------------------------------------------------------------- cursors

    cdef int move_carets(self, TypedEntry entry) except -1:
        if not self.type.has_cursors:
            return 0
        for client, (anchor, head) in self.carets.items():
            self.carets[client] = (
                self.type.move(entry.operation, anchor), self.type.move(entry.operation, head)
            )
        end = self.type.end(entry.operation)
        if end is not None:
            self.keep_caret(entry.client, (end, end))
        return 0

    def set_cursor(self, str client not None, base, anchor, head, unit="utf-16"):
        """A selection in the content at ``base``.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
        cdef int64_t start = read_count(base, "revision")
        cdef int64_t at = read_count(anchor, "anchor"), to = read_count(head, "head")
        cdef Py_ssize_t index
        if not self.type.has_cursors:
            raise SynclineError(ErrorCode.INVALID_DATA, f"documents of type {self.type.name} have no cursors")
        self.require_held(start)
        for index in range(self.first + (start - self.bottom()), len(self.entries)):
            operation = (<TypedEntry>self.entries[index]).operation
            at = self.type.move(operation, at)
            to = self.type.move(operation, to)
        last = self.type.length(self.held)
        if at > last or to > last:
            raise SynclineError(ErrorCode.INVALID_DATA, "the cursor lies past the end of the content")
        self.keep_caret(client, (at, to))

    cdef int keep_caret(self, str client, object caret) except -1:
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
        caret = self.carets.get(client)
        return None if caret is None else Cursor(*caret)

    # ------------------------------------------------------------------------------------------------- persistence

    def snapshot(self):
        """Content, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
        return encode_snapshot(
            self.type.dump(self.held), self.clients.values(), self.forgotten, self.stacks.snapshot()
        )

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot; the window is empty then. Raises ValueError, and changes nothing, when it is damaged.
        """
        dumped, states, forgotten, undo = decode_snapshot(body)
        content = self.type.load(dumped)
        stacks = self.stacks.emptied()
        stacks.restore(revision, undo)
        self.start_at(revision, states, forgotten)
        self.held = content
        self.size = self.type.size(content)
        self.hash_revision = -1
        self.carets = {}
        self.stacks = stacks

    def replay(self, int64_t base, list entries not None):
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """
        cdef TypedEntry entry
        cdef int64_t revision = base
        if base < 0:
            raise ValueError("a revision is not negative")
        for entry in entries:
            revision += 1
            if revision <= self.revision:
                continue
            self.require_next(entry, revision)
            try:
                told, inverse = self.make(entry.operation, NO_LIMIT)
            except SynclineError as error:
                raise ValueError(f"revision {revision} does not fit the content: {error.message}") from error
            self.stacks.record(
                entry.client, entry.user, entry.kind, told, inverse, len(entry.payload), entry.time
            )
            self.keep(entry)
        self.trim()


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
