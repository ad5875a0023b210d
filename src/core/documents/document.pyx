"""One collaborative document: content, revision, a bounded window of operations, receive(). Sans-I/O.

    base ... revision              what an arriving operation is transformed against, as if one by one
    engine                         the content, and what its operations are (engine.pyx)

The window and exactly once are in window.pyx, undo in undo.pyx. ``receive`` never trims: entries may not be stored yet. The owner calls
``trim`` after the commit.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.documents.engine cimport Arrival, Caret, Engine
from syncline.core.storage.commits cimport encode_snapshot, payload_digest
from syncline.core.ot.ot cimport unit_is_utf16
from syncline.core.documents.undo cimport Undo
from syncline.core.storage.window cimport (
    EDIT, REDO, RESTORE, UNDO, ClientState, Commit, Window, new_receipt, read_count, read_kind, read_seq,
    require_nameable,
)

import msgspec

from syncline.core.storage.commits import decode_snapshot
from syncline.core.errors import ErrorCode, Laborious, OutdatedRevision, SynclineError, TooFarBehind

# Requests without an operation have a digest too: it tells an undo from a redo under the same number.
cdef uint64_t UNDO_DIGEST = 0x756E646F
cdef uint64_t RESTORE_DIGEST = 0x726573746F726500ULL
cdef uint64_t INITIAL_DIGEST = 0x696E697400000000ULL

# Microseconds that cursors may take, about: some of them after each turn, one that is asked for, all that the window would leave behind.
cdef int64_t EACH_TURN = 500
cdef int64_t EACH_CURSOR = 50
cdef int64_t AT_ONCE = 5_000

# What is replayed between two rests, in characters that tell it; and what an operation counts beside its own.
cdef int64_t EACH_PART = 10_000
cdef int64_t ENTRY = 100

_encode = msgspec.msgpack.Encoder(order="sorted").encode  # the order of keys says nothing

cdef Py_ssize_t live = 0


cdef bint is_initial(uint64_t digest, int64_t revision) noexcept:  # compares
    """Whether a restoration at ``revision`` gave a first content, by its digest: else that names a revision, which is none to come. A first
    content is no step of undo: what others did on it would go with it."""
    return (digest ^ RESTORE_DIGEST) > <uint64_t>revision


def live_documents() -> int:
    """How many documents exist in this process; for leak tests."""
    return live


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
        Engine engine not None,
        str id not None,
        str generation not None,
        *,
        Py_ssize_t window_operations=10_000,
        Py_ssize_t window_bytes=4_194_304,
        Py_ssize_t max_clients=10_000,
        Py_ssize_t undo_depth=100,
        Py_ssize_t undo_bytes=4_194_304,
        int64_t undo_history=20_000,
        int64_t undo_group_ms=1000,
    ):
        """``engine``: of this document alone. ``DocumentType.open`` makes both."""
        Window.__init__(
            self,
            id,
            generation,
            window_operations=window_operations,
            window_bytes=window_bytes,
            max_clients=max_clients,
        )
        self.engine = engine
        self.carets = {}
        self.late = []
        self.stacks = Undo(
            engine.undo_log(), groups=undo_depth, max_bytes=undo_bytes, history=undo_history, group_ms=undo_group_ms
        )

    # ------------------------------------------------------------------------------------------------- the window

    def prepend(self, int64_t first_revision, list entries not None):
        """Widens the window downwards with entries read from the store: revisions first_revision ... floor.

        Raises ValueError unless they end exactly at the floor, or do not fit the content. O(entries + window).
        """
        self.require_adjacent(first_revision, len(entries))
        self.engine.lower(entries)
        self.widen(first_revision, entries)

    def trim(self):
        """Drops from the old end of the window what is over its bounds. Only after its entries are stored. O(dropped).
        """
        Window.trim(self)
        self.engine.trimmed(self.bottom())
        if self.engine.leads and self.carets:
            self.lead()

    @property
    def ladder_bytes(self):
        """Memory of what takes operations that are behind to the head; an engine may have none."""
        return self.engine.ladder_bytes()

    cdef int floor_rises(self, Commit commit) except -1:
        if self.carets_from <= self.bottom():  # some caret may not have seen it yet
            self.gather(self.bottom() + 1)
        return self.engine.rise(commit)

    # ---------------------------------------------------------------------------------------------------- receive

    def receive(
        self, str client not None, str user not None, seq, base, operation, unit="utf-16", double time=0.0
    ):
        """Validates, deduplicates, transforms against base + 1 ... revision (ties: left), applies, keeps.

        ``operation``: what the type's ``parse`` takes. The author's cursor goes to the end of what it did. Raises SynclineError
        (operation_invalid, operation_out_of_range, revision_unknown, sequence_conflict, document_too_large, client_taken,
        invalid_data), OutdatedRevision when ``base`` < ``floor``; TooFarBehind before any work, and Laborious, where the transforms
        cost much. O(revision - base) or less.
        """
        return self.accept(client, user, seq, base, operation, unit_is_utf16(unit), time)

    def receive_many(self, list submissions not None, double time=0.0):
        """``receive`` for each (client, user, seq, base, operation, unit), in order.

        Returns a list with a Receipt, or the SynclineError that refused it, for each. A refused one does not stop
        those after it. The first that raises OutdatedRevision, TooFarBehind or Laborious does: the error is then the last of the list,
        and the rest was not looked at. Raises TypeError or ValueError, before anything is applied, for what is not such a
        list, an unknown unit, or an operation that counts another one.
        """
        cdef list results = []
        cdef tuple submission
        for item in submissions:
            if type(item) is not tuple or len(<tuple>item) != 6:
                raise TypeError("a submission is (client, user, seq, base, operation, unit)")
            submission = item
            if type(submission[0]) is not str or type(submission[1]) is not str:
                raise TypeError("client and user are strings")
            self.engine.require_unit(submission[4], submission[5])
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
            except (OutdatedRevision, TooFarBehind, Laborious) as error:
                results.append(error.with_traceback(None))
                break
        return results

    cdef object accept(
        self, str client, str user, object seq, object base, object operation, bint utf16, double time
    ):
        cdef Arrival arrival
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef uint64_t digest
        if start > self.revision:
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, f"the document is at revision {self.revision}")
        arrival.used = self.torn = False
        try:
            digest = self.engine.read(&arrival, operation, utf16)
            receipt = self.admit(client, user, number, start, digest)
            if receipt is not None:
                return receipt
            operation = self.engine.climb(&arrival, self, client, number, digest, start)
        finally:
            self.engine.drop(&arrival)
        return self.commit(client, user, number, operation, EDIT, digest, time)

    def undo(self, str client not None, str user not None, seq, base, kind="undo", double time=0.0):
        """Takes back the client's newest group of edits of which something is left; kind "redo" does it again.

        An entry like any other, made at the head. Raises SynclineError (nothing_to_undo, nothing_to_redo, and as
        ``receive``), OutdatedRevision or Laborious. O(edits of the group x revisions since): see undo.pyx.
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef uint8_t mark = read_kind(kind)
        cdef uint64_t digest = UNDO_DIGEST + mark
        self.torn = False
        if mark != UNDO and mark != REDO:
            raise ValueError("kind must be 'undo' or 'redo'")
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        operation = self.stacks.find(client, user, mark)
        if operation is None:
            raise SynclineError(ErrorCode.NOTHING_TO_UNDO if mark == UNDO else ErrorCode.NOTHING_TO_REDO)
        return self.commit(client, user, number, operation, mark, digest, time)

    def restore_content(self, str client not None, str user not None, seq, base, to, value, double time=0.0):
        """Makes ``value``, which is the content of revision ``to``, the content at the head; an entry like any other.

        Raises SynclineError as ``receive``, OutdatedRevision, Laborious. O(content).
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision"), source = read_count(to, "to")
        cdef uint64_t digest = RESTORE_DIGEST ^ <uint64_t>source
        self.torn = False
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        operation = self.engine.replacing(value, (client, number, digest, start, self.revision))
        return self.commit(client, user, number, operation, RESTORE, digest, time)

    def initialize(self, str client not None, str user not None, seq, base, value, double time=0.0):
        """Makes ``value`` the content where there is none yet; committed as a restoration of nothing is.

        Of several who do it at the same time the first one's stays. Raises SynclineError(document_exists) where there is content, and as
        ``receive``, OutdatedRevision, Laborious. O(content).
        """
        cdef int64_t number = read_seq(seq), start = read_count(base, "revision")
        cdef uint64_t digest
        self.torn = False
        if number > self.last_seq(client) and start >= self.bottom():  # it is new: then nothing of it need be looked at
            self.require_empty()
        try:
            digest = INITIAL_DIGEST ^ payload_digest(_encode(value))
        except (TypeError, ValueError, OverflowError) as error:
            raise SynclineError(ErrorCode.OPERATION_INVALID, str(error)) from error
        receipt = self.admit(client, user, number, start, digest)
        if receipt is not None:
            return receipt
        self.require_empty()
        operation = self.engine.replacing(value, (client, number, digest, start, self.revision))
        return self.commit(client, user, number, operation, RESTORE, digest, time)

    cdef int require_empty(self) except -1:
        if not self.engine.is_empty():
            raise SynclineError(ErrorCode.DOCUMENT_EXISTS, "the document has content already")
        return 0

    def undo_depth(self, str client not None):
        """(groups to undo, groups to redo), at most: others may have left nothing of one. O(1)."""
        return self.stacks.depth(client)

    @property
    def undo_bytes(self):
        """About what can be undone occupies in memory."""
        return self.stacks.bytes

    @property
    def undo_labour(self):
        """About how many microseconds planning took of what was undone and done again since the document was loaded, and on loading."""
        return self.stacks.labour

    @property
    def undo_dropped(self):
        """Groups dropped for want of room since the document was loaded."""
        return self.stacks.dropped

    cdef object commit(
        self, str client, str user, int64_t number, object operation, uint8_t mark, uint64_t digest, double time
    ):
        """Applies an operation that is at the head, and was just admitted. Raises when it does not fit."""
        cdef ClientState state = self.author
        cdef Commit entry
        cdef bint first
        if state is None:
            require_nameable(client)
            require_nameable(user)
        else:
            client, user = state.name, state.user  # one object per name, however often it came over the wire
        first = mark == RESTORE and is_initial(digest, self.revision)
        self.torn = True  # until it is done; a refusal by ``make`` is none of the errors that this is asked after
        entry = self.engine.make(client, user, number, operation, mark, digest, time)
        self.append(entry, first)
        self.follow(client, entry)
        self.forget_clients()
        self.torn = False
        return new_receipt(self.revision, entry)

    cdef int follow(self, str client, Commit entry) except -1:
        """The author's cursor goes to the end of what it did."""
        cdef Caret caret = self.carets.get(client)
        if caret is not None:
            if self.engine.follow(caret, entry):
                caret.revision = self.revision
        elif (caret := self.engine.caret()) is not None and self.engine.follow(caret, entry):
            self.keep_caret(client, caret)
        return 0

    cdef int append(self, Commit entry, bint first) except -1:
        """What the engine has applied."""
        cdef Engine engine = self.engine
        self.stacks.keep(
            entry.client, entry.user, entry.mark, not first, engine.applied, engine.undoing, engine.applied_bytes, entry.time
        )
        return self.keep(entry)

    # --------------------------------------------------------------------------------------------------- questions

    def content(self):
        """The content at the head as a JSON value, not to be changed. O(content) for types that keep another form."""
        return self.engine.content()

    def state(self):
        """What `document:state` says of the content."""
        return self.engine.state()

    def hash(self):
        """32 bits for clients to compare, of the content at the head. O(content) at most."""
        return self.engine.hash(self.revision)

    def hashing(self):
        """The same in steps; nothing may be received meanwhile."""
        return self.engine.hashing(self.revision)

    def quick_hash(self, int64_t most=2000):
        """``hash``, or None where that takes longer than so many microseconds, about: by default, too long for an event loop."""
        return self.hash() if self.hash_labour <= most else None

    @property
    def hash_labour(self):
        """About how many microseconds ``hash`` takes."""
        return self.engine.hash_labour(self.revision)

    def length(self, unit="utf-16"):
        """Of the content, as its type counts it."""
        return self.engine.length(unit)

    # ----------------------------------------------------------------------------------------------------- cursors

    # Carets follow some at a time, and when they are asked for: so an operation does not cost by how many there are. None takes long at
    # once, and what stays behind the window is dropped: who is there sets it again, and with few carets none is ever that late.

    cdef int64_t bring_on(self, str client, Caret caret, int64_t room) except -1:
        """Returns what it took of ``room``. One that cannot be moved costs nobody anything but itself."""
        if caret.revision >= self.revision:
            return 0
        try:
            return self.engine.bring_on(self, caret, room)
        except Exception:
            self.carets.pop(client, None)
            return 0

    cdef int gather(self, int64_t lowest) except -1:
        """Takes all carets on, and drops those that are before ``lowest`` still."""
        cdef Caret caret
        cdef int64_t room = AT_ONCE
        self.carets_from = self.revision
        for client, caret in list(self.carets.items()):
            room -= self.bring_on(client, caret, room)
            if caret.revision < lowest:
                self.carets.pop(client, None)
            else:
                self.carets_from = min(self.carets_from, caret.revision)
        return 0

    cdef int lead(self) except -1:
        """Takes some of them on, each in its turn."""
        cdef Caret caret
        cdef int64_t room = EACH_TURN
        if not self.late:
            if self.led_at == self.revision:
                return 0
            self.late = [client for client, caret in self.carets.items() if (<Caret>caret).revision < self.revision]
            if not self.late:
                self.led_at = self.revision
        while room > 0 and self.late:
            client = self.late.pop()
            caret = self.carets.get(client)
            if caret is not None:
                room -= 1 + self.bring_on(client, caret, room)
        return 0

    def set_cursor(self, str client not None, base, anchor, head, unit="utf-16"):
        """A selection in the content at ``base``; a caret when both are equal. Positions are the type's.

        Raises SynclineError(revision_unknown, invalid_data) or OutdatedRevision. O(revision - base).
        """
        cdef int64_t start = read_count(base, "revision")
        self.require_held(start)
        self.keep_caret(client, self.engine.place(self, start, anchor, head, unit))

    cdef int keep_caret(self, str client, Caret caret) except -1:
        """At the head. One per client and at most ``max_clients``: the one that was set first makes place."""
        caret.revision = self.revision
        if client not in self.carets and len(self.carets) >= self.max_clients:
            del self.carets[next(iter(self.carets))]
        self.carets[client] = caret
        return 0

    def drop_cursor(self, str client not None):
        """Forgets it, if there is one."""
        self.carets.pop(client, None)

    def cursor(self, str client not None, unit="utf-16"):
        """A Cursor at the head; None where there is none, or it is too far behind to be there at once."""
        cdef Caret caret = self.carets.get(client)
        if caret is None:
            return None
        self.bring_on(client, caret, EACH_CURSOR)
        return self.engine.shown(caret, unit) if caret.revision == self.revision and client in self.carets else None

    # ------------------------------------------------------------------------------------------------- persistence

    def snapshot(self):
        """Content, clients' sequence numbers and what they can undo at ``revision``, for ``restore``. O(size)."""
        return encode_snapshot(self.engine.dump(), self.clients.values(), self.forgotten, self.stacks.snapshot())

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot; the window is empty then. Raises ValueError, and changes nothing, when it is damaged. Where only what could
        be undone is, nothing can be undone, and ``undo_lost`` says why."""
        if revision < 0:
            raise ValueError("a revision is not negative")
        dumped, states, forgotten, undo = decode_snapshot(body)
        content = self.engine.loaded(dumped)
        stacks = self.stacks.emptied()
        try:
            stacks.restore(revision, undo)
        except ValueError as error:
            stacks.restore(revision, b"")  # the document is worth more than what can be undone in it
            self.undo_lost = str(error)
        else:
            self.undo_lost = None
        self.start_at(revision, states, forgotten)
        self.stacks = stacks
        self.engine.adopt(content)
        self.carets = {}
        self.late = []
        self.carets_from = revision

    def replay(self, int64_t base, list entries not None):
        """Applies committed entries (revisions base + 1 ...) again, on load; those at or below ``revision`` are
        skipped.

        Raises ValueError on a gap or an entry that does not fit: the caller must not take the document for loaded.
        Trims.
        """
        for _ in self.replaying(base, entries):
            pass

    def replaying(self, int64_t base, list entries not None):
        """The same in parts of a few milliseconds."""
        cdef Commit entry
        cdef int64_t revision = base, room = EACH_PART
        cdef bint first
        if base < 0:
            raise ValueError("a revision is not negative")
        for entry in entries:
            revision += 1
            if revision <= self.revision:
                continue
            self.require_next(entry, revision)
            if entry.mark == UNDO or entry.mark == REDO:
                yield from self.stacks.planning(entry.client, entry.user, entry.mark)
            room -= ENTRY + entry.bulk
            if room < 0:
                yield
                room = EACH_PART
            first = entry.mark == RESTORE and is_initial(entry.digest, self.revision)
            try:
                self.engine.take(entry, revision)
            except SynclineError as error:
                raise ValueError(f"revision {revision} does not fit the content: {error.message}") from error
            self.append(entry, first)
        self.trim()
