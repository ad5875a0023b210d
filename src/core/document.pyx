"""One collaborative document: text, revision, a bounded window of operations, receive(). Sans-I/O.

    base ... revision              what an arriving operation is transformed against, as if one by one (never composed:
                                   T(x, a.b) is not T(T(x, a), b)); ladder.pyx does it fast

What every type of document shares (the window, exactly once) is in window.pyx.

An operation is transformed in the unit of who sent it, and converted at the head, where the text is at hand. Lengths
of the text at each revision are kept in both units: what reaches past the end of *its* text, operation or cursor, is
refused before anything is transformed.

``receive`` never trims: entries may not be stored yet. The owner calls ``trim`` after the commit.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.entries cimport Entry, encode_snapshot, new_entry
from syncline.core.ladder cimport Ladder
from syncline.core.ot cimport MAX_COMPONENTS, Operation, digest_parts, new_operation, read_parts, unit_is_utf16
from syncline.core.parts cimport (
    MAX_LENGTH,
    Part,
    Parts,
    Sums,
    has_astral,
    invalid,
    out_of_range,
    parts_close,
    parts_finish,
    parts_open,
)
from syncline.core.text cimport Text
from syncline.core.undo cimport Undo
from syncline.core.window cimport (
    EDIT,
    REDO,
    RESTORE,
    UNDO,
    ClientState,
    Commit,
    Window,
    new_receipt,
    read_count,
    read_kind,
    read_seq,
    require_nameable,
)

from syncline.core import entries as _entries
from syncline.core.entries import decode_entries, decode_snapshot, encode_entries, new_text_snapshot
from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError
from syncline.core.ot import diff
from syncline.core.window import Cursor, Receipt

# A cimported class is no name for importers; one place to import from is kinder to them.
globals()["Entry"] = _entries.Entry

# Requests without an operation have a digest too: it tells an undo from a redo under the same number.
cdef uint64_t UNDO_DIGEST = 0x756E646F
cdef uint64_t RESTORE_DIGEST = 0x726573746F726500ULL

cdef Py_ssize_t live = 0


def live_documents() -> int:
    """How many documents exist in this process; for leak tests."""
    return live


@cython.final
cdef class _Caret:
    """A client's selection."""


cdef int require_unit(object components, bint utf16) except -1:
    if type(components) is Operation and (<Operation>components).utf16 != utf16:
        raise ValueError("the operation counts another unit")
    return 0


@cython.final
cdef class Document(Window):
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
        self.max_length = min(max_length, MAX_LENGTH)
        self.body = Text()
        self.carets = {}
        self.stacks = Undo(groups=undo_depth, max_bytes=undo_bytes, history=undo_history, group_ms=undo_group_ms)
        self.ladder = Ladder(window_bytes // 2)

    # ------------------------------------------------------------------------------------------------- the window

    cdef Entry entry_at(self, int64_t revision):
        """The entry that made ``revision``; the caller stays inside the window."""
        return <Entry>self.commit_at(revision)

    cdef int64_t length_at(self, int64_t revision, bint utf16) except -1:
        """Length of the text at a revision from the floor to the head."""
        cdef Entry entry
        if revision == self.bottom():
            return self.floor_units if utf16 else self.floor_points
        entry = self.entry_at(revision)
        return entry.units_after if utf16 else entry.points_after

    def prepend(self, int64_t first_revision, list entries not None):
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the text. O(entries + window).
        """
        cdef Entry entry
        cdef int64_t units = self.floor_units, points = self.floor_points
        cdef Py_ssize_t index
        for index in range(len(entries) - 1, -1, -1):
            entry = entries[index]
            entry.units_after, entry.points_after = units, points
            units -= entry.operation.inserted - entry.operation.deleted
            points -= entry.numbers(False).inserted - entry.numbers(False).deleted
            if points < 0 or units < points:
                raise ValueError("the entries do not fit the text")
        self.widen(first_revision, entries)
        self.floor_units, self.floor_points = units, points

    def trim(self):
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored. O(dropped).
        """
        Window.trim(self)
        self.ladder.let_go(self.bottom())

    @property
    def ladder_bytes(self):
        """Memory of what takes operations that are behind to the head. At most about 128 bytes for each entry of the
        window, and ``window_bytes`` / 2.
        """
        return self.ladder.size()

    cdef int floor_rises(self, Commit commit) except -1:
        cdef Entry entry = <Entry>commit
        cdef _Caret caret
        if self.carets_from <= self.bottom():
            # Some caret may not have seen it yet. Once they all are at the head, that is good for a whole window.
            for caret in self.carets.values():
                if caret.revision < self.revision:
                    self.bring_on(caret)
            self.carets_from = self.revision
        self.floor_units, self.floor_points = entry.units_after, entry.points_after
        return 0

    # ---------------------------------------------------------------------------------------------------- receive

    def receive(
        self, str client not None, str user not None, seq, base, components, unit="utf-16", double time=0.0
    ):
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``components``: what ``Operation.parse`` takes, or an Operation that counts ``unit``. The author's cursor goes
        to the end of what it did. Raises SynclineError (operation_invalid, operation_out_of_range, revision_unknown,
        sequence_conflict, document_too_large, client_taken, invalid_data) or OutdatedRevision when ``base`` <
        ``floor``. O(revision - base) or less.
        """
        return self.accept(client, user, seq, base, components, unit_is_utf16(unit), time)

    def receive_many(self, list submissions not None, double time=0.0):
        """``receive`` for each (client, user, seq, base, components, unit), in order.

        Returns a list with a Receipt, or the SynclineError that refused it, for each. A refused one does not stop
        those after it. The first that raises OutdatedRevision does: the error is then the last of the list, and the
        rest was not looked at. Raises TypeError or ValueError, before anything is applied, for what is not such a
        list, an unknown unit, or an Operation that counts another one.
        """
        cdef list results = []
        cdef tuple submission
        for item in submissions:
            if type(item) is not tuple or len(<tuple>item) != 6:
                raise TypeError("a submission is (client, user, seq, base, components, unit)")
            submission = item
            if type(submission[0]) is not str or type(submission[1]) is not str:
                raise TypeError("client and user are strings")
            require_unit(submission[4], unit_is_utf16(submission[5]))
        for item in submissions:
            submission = item
            try:
                results.append(
                    self.accept(
                        <str>submission[0], <str>submission[1], submission[2], submission[3], submission[4],
                        unit_is_utf16(submission[5]), time,
                    )
                )
            except SynclineError as error:
                results.append(error.with_traceback(None))
            except OutdatedRevision as error:
                results.append(error.with_traceback(None))
                break
        return results

    cdef object accept(
        self, str client, str user, object seq, object base, object components, bint utf16, double time
    ):
        """``receive``. Works on parts, so that one Operation is made: the one that is kept."""
        cdef Parts buffers[3]  # what arrived, and two that take turns
        cdef Parts result
        cdef Sums sums
        cdef const Part *parts
        cdef Py_ssize_t count
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef Operation operation
        cdef uint64_t digest
        cdef str text
        cdef int index
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        for index in range(3):
            parts_open(&buffers[index])
        try:
            if type(components) is list:
                text = read_parts(components, utf16, &buffers[0])
                count = parts_finish(&buffers[0], &sums)
                parts = buffers[0].items
            else:
                require_unit(components, utf16)
                operation = components if type(components) is Operation else Operation.parse(
                    components, "utf-16" if utf16 else "unicode"
                )
                text = operation.text
                parts = operation.parts
                count = operation.count
                sums.retained = operation.retained
                sums.deleted = operation.deleted
            digest = digest_parts(parts, count, text)
            receipt = self.admit(client, user, number, start, digest)
            if receipt is not None:
                return receipt
            if sums.retained + sums.deleted > self.length_at(start, utf16):
                raise out_of_range("the operation reaches past the end of the text at its revision")
            if start < self.revision:
                self.ladder.climb(
                    self.entries, self.revision, self.bottom(), start, utf16, &parts, &count, &buffers[1]
                )
                if count > MAX_COMPONENTS:
                    raise invalid(f"more than {MAX_COMPONENTS} components")
            result.items = <Part *>parts
            result.count = count
            if utf16 or self.same_in_both(text):
                operation = new_operation(&result, text, True)
            else:
                operation = self.body.counted(new_operation(&result, text, False), True)
        finally:
            for index in range(3):
                parts_close(&buffers[index])
        return self.commit(client, user, number, operation, EDIT, digest, time)

    cdef bint same_in_both(self, str text) noexcept:  # reads fields
        """Whether an operation at the head that inserts ``text`` has the same numbers in both units."""
        return self.body.wide == 0 and not has_astral(text)

    def undo(self, str client not None, str user not None, seq, base, kind="undo", double time=0.0):
        """Takes back the client's newest group of edits of which something is left; kind "redo" does it again.

        An entry like any other, made at the head. Raises SynclineError (nothing_to_undo, nothing_to_redo, and as
        ``receive``) or OutdatedRevision. O(edits of the group x revisions since): see undo.pyx.
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef uint8_t mark = read_kind(kind)
        cdef uint64_t digest = UNDO_DIGEST + mark
        cdef Operation operation
        if mark != UNDO and mark != REDO:
            raise ValueError("kind must be 'undo' or 'redo'")
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        operation = self.stacks.find(client, user, mark)
        if operation is None:
            raise SynclineError(ErrorCode.NOTHING_TO_UNDO if mark == UNDO else ErrorCode.NOTHING_TO_REDO)
        return self.commit(client, user, number, operation, mark, digest, time)

    def restore_content(
        self, str client not None, str user not None, seq, base, to, str text not None, double time=0.0
    ):
        """Makes ``text``, which is that of revision ``to``, the text at the head, by one splice; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision. O(text).
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision"), source = read_count(to, "to")
        cdef uint64_t digest = RESTORE_DIGEST ^ <uint64_t>source
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        return self.commit(client, user, number, diff(str(self.body), text, thorough=False), RESTORE, digest, time)

    def undo_depth(self, str client not None):
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
        return self.stacks.depth(client)

    @property
    def undo_bytes(self):
        """About what can be undone occupies in memory."""
        return self.stacks.bytes

    @property
    def undo_dropped(self):
        """Groups dropped for want of room since the document was loaded."""
        return self.stacks.dropped

    cdef object commit(
        self, str client, str user, int64_t number, Operation units, uint8_t mark, uint64_t digest, double time
    ):
        """Applies an operation that is at the head, and counts UTF-16. Raises when it does not fit."""
        cdef Operation points = None
        cdef ClientState state
        cdef Entry entry
        self.body.require_applicable(units)
        if units.inserted > units.deleted and self.body.size() + units.inserted - units.deleted > self.max_length:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {self.max_length} UTF-16 code units")
        state = self.clients.get(client)
        if state is None:
            require_nameable(client)
            require_nameable(user)
        else:
            client, user = state.name, state.user  # one object per name, however often it came over the wire
        if not self.same_in_both(units.text):
            points = self.body.counted(units, False)
            if points.same_parts(units):
                points = None
        entry = new_entry(client, user, number, units, points, time, digest, mark)
        self.append(entry)
        if units.count:
            self.keep_caret(client, units.tail(), units.tail())
        self.forget_clients()
        return new_receipt(self.revision, entry)

    cdef int append(self, Entry entry) except -1:
        """Applies an entry that ``Text.require_applicable`` has let pass."""
        cdef str removed = ""
        if entry.operation.deleted and self.stacks.max_groups > 0:
            removed = (<Operation>self.body.invert(entry.operation)).text
        self.body.prepare(entry.operation)  # what can fail comes first
        self.body.commit(entry.operation)
        self.stacks.keep(entry.client, entry.user, entry.mark, entry.operation, removed, entry.time)
        entry.units_after = self.body.size()
        entry.points_after = self.body.size() - self.body.wide
        return self.keep(entry)

    # --------------------------------------------------------------------------------------------------- questions

    def text(self):
        """The text at the head. O(text)."""
        return str(self.body)

    def content(self):
        """The text, under the name that every type's document has for it."""
        return str(self.body)

    def state(self):
        """What `document:state` says of the content."""
        return {"text": str(self.body)}

    def hash(self):
        """CRC-32 of the text at the head as UTF-16LE, for clients to compare. O(text), in chunks O(edited ones)."""
        return self.body.hash()

    def hashing(self):
        """As documents of other types have it."""
        yield from ()
        return self.body.hash()

    def quick_hash(self, int64_t most=0):
        """As documents of other types have it; always the hash: chunks know theirs."""
        return self.body.hash()

    @property
    def hash_labour(self):
        return 0

    def length(self, unit="utf-16"):
        return self.body.length(unit)

    # ----------------------------------------------------------------------------------------------------- cursors

    cdef _Caret caret_of(self, str client):
        """It at the head, or None. Carets follow when they are asked for, so that an operation does not cost by how
        many there are: an insert at a cursor leaves it where it is, because an operation that its owner has under way
        there goes to the left of that insert too (the tie rule), and so the text being typed and its cursor stay
        together."""
        cdef _Caret caret = self.carets.get(client)
        if caret is not None and caret.revision < self.revision:
            self.bring_on(caret)
        return caret

    cdef int bring_on(self, _Caret caret) except -1:
        cdef int64_t anchor = self.ladder.move(
            self.entries, self.revision, self.bottom(), caret.revision, True, caret.anchor
        )
        if caret.head != caret.anchor:
            caret.head = self.ladder.move(
                self.entries, self.revision, self.bottom(), caret.revision, True, caret.head
            )
        else:
            caret.head = anchor
        caret.anchor = anchor
        caret.revision = self.revision
        return 0

    def set_cursor(self, str client not None, base, anchor, head, unit="utf-16"):
        """A selection in the text at ``base``; a caret when both are equal. A position inside a surrogate pair goes
        before it.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
        cdef bint utf16 = unit_is_utf16(unit)
        cdef int64_t start = read_count(base, "revision"), length
        cdef int64_t at = read_count(anchor, "anchor"), to = read_count(head, "head")
        self.require_held(start)
        length = self.length_at(start, utf16)
        if at > length or to > length:
            raise SynclineError(ErrorCode.INVALID_DATA, "the cursor lies past the end of the text at its revision")
        at = self.ladder.move(self.entries, self.revision, self.bottom(), start, utf16, at)
        to = self.ladder.move(self.entries, self.revision, self.bottom(), start, utf16, to)
        if utf16:
            at -= self.body.splits(at)
            to -= self.body.splits(to)
        self.keep_caret(client, self.body.convert(at, utf16, True), self.body.convert(to, utf16, True))

    cdef int keep_caret(self, str client, int64_t anchor, int64_t head) except -1:
        """At the head. One per client and at most ``max_clients``: the one that was set first makes place."""
        cdef _Caret caret = self.carets.get(client)
        if caret is None:
            if len(self.carets) >= self.max_clients:
                del self.carets[next(iter(self.carets))]
            caret = self.carets[client] = _Caret.__new__(_Caret)
        caret.revision = self.revision
        caret.anchor = anchor
        caret.head = head
        return 0

    def drop_cursor(self, str client not None):
        """Forgets it, if there is one."""
        self.carets.pop(client, None)

    def cursor(self, str client not None, unit="utf-16"):
        """A Cursor at the head, or None."""
        cdef bint utf16 = unit_is_utf16(unit)
        cdef _Caret caret = self.caret_of(client)
        if caret is None:
            return None
        return Cursor(self.body.convert(caret.anchor, True, utf16), self.body.convert(caret.head, True, utf16))

    # ------------------------------------------------------------------------------------------------- persistence

    def snapshot(self):
        """Text, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
        return encode_snapshot(str(self.body), self.clients.values(), self.forgotten, self.stacks.snapshot())

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot; the window is empty then. Raises ValueError, and changes nothing, when it is damaged.
        """
        if revision < 0:
            raise ValueError("a revision is not negative")
        text, states, forgotten, undo = decode_snapshot(body)
        stacks = self.stacks.emptied()
        stacks.restore(revision, undo)
        self.start_at(revision, states, forgotten)
        self.stacks = stacks
        self.ladder.forget()
        self.body = Text(text)
        self.carets = {}
        self.carets_from = revision
        self.floor_units = self.body.size()
        self.floor_points = self.body.size() - self.body.wide

    def replay(self, int64_t base, list entries not None):
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """
        cdef Entry entry
        cdef Operation points
        cdef int64_t revision = base
        if base < 0:
            raise ValueError("a revision is not negative")
        for entry in entries:
            revision += 1
            if revision <= self.revision:
                continue
            self.require_next(entry, revision)
            try:
                self.body.require_applicable(entry.operation)
                points = entry.operation  # the units are the same as long as there are no pairs
                if self.body.wide or has_astral(points.text):
                    points = self.body.counted(points, False)
            except SynclineError as error:
                raise ValueError(f"revision {revision} does not fit the text: {error.message}") from error
            if not points.same_parts(entry.numbers(False)):
                raise ValueError(f"revision {revision} does not fit the text: its units disagree")
            self.append(entry)
        self.trim()
