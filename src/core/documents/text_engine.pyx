"""Text behind a document: UTF-16 in a gap buffer, operations as arrays of C, a ladder to the head.

An operation is transformed in the unit of who sent it, as if past one committed operation after the other (never composed:
T(x, a.b) is not T(T(x, a), b)); ladder.pyx does it fast. It is converted at the head, where the text is at hand. Lengths of the
text at each revision are kept in both units: what reaches past the end of *its* text, operation or cursor, is refused before
anything is transformed.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.documents.engine cimport Arrival, Caret, Engine
from syncline.core.storage.commits cimport Entry, new_entry
from syncline.core.documents.ladder cimport Ladder
from syncline.core.ot.ot cimport MAX_COMPONENTS, Operation, digest_parts, new_operation, read_parts, unit_is_utf16
from syncline.core.ot.components cimport (
    MAX_LENGTH, Part, Parts, has_astral, invalid, out_of_range, parts_close, parts_finish, parts_open,
)
from syncline.core.text.text cimport Text
from syncline.core.storage.window cimport Commit, Window, read_count

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import diff
from syncline.core.documents.steps import Steps
from syncline.core.storage.window import Cursor


@cython.final
cdef class TextCaret(Caret):
    """In UTF-16 units."""


@cython.final
cdef class TextEngine(Engine):
    """Operations count UTF-16 code units or code points, as who sends them says."""

    def __init__(self, *, int64_t max_length=16_777_216, Py_ssize_t ladder_bytes=2_097_152, bint undone=True):
        """``undone``: whether anything can be undone."""
        self.max_length = min(max_length, MAX_LENGTH)
        self.body = Text()
        self.ladder = Ladder(ladder_bytes)
        self.undone = undone

    @property
    def units(self):
        return ("utf-16", "unicode")

    def undo_log(self):
        """An empty one."""
        return Steps()

    # ------------------------------------------------------------------------------------------- what arrives

    cdef uint64_t read(self, Arrival *arrival, object value, bint utf16) except? 0:
        """``value``: what ``Operation.parse`` takes, or an Operation that counts ``utf16``."""
        cdef Operation given
        cdef int index
        arrival.utf16 = utf16
        for index in range(3):
            parts_open(&arrival.buffers[index])
        arrival.used = True
        if type(value) is list:
            text = read_parts(value, utf16, &arrival.buffers[0])
            arrival.count = parts_finish(&arrival.buffers[0], &arrival.sums)
            arrival.parts = arrival.buffers[0].items
            self.arrived = text
            return digest_parts(arrival.parts, arrival.count, text)
        self.require_unit(value, utf16)
        self.arrived = given = (
            value if type(value) is Operation else Operation.parse(value, "utf-16" if utf16 else "unicode")
        )
        arrival.parts = given.parts
        arrival.count = given.count
        arrival.sums.retained = given.retained
        arrival.sums.deleted = given.deleted
        return digest_parts(given.parts, given.count, given.text)

    def require_unit(self, value, unit):
        """Raises ValueError for an Operation that counts another one."""
        cdef bint utf16 = unit_is_utf16(unit) if type(unit) is str else unit
        if type(value) is Operation and (<Operation>value).utf16 != utf16:
            raise ValueError("the operation counts another unit")

    cdef int drop(self, Arrival *arrival) noexcept:  # frees memory
        cdef int index
        self.arrived = None
        if arrival.used:
            for index in range(3):
                parts_close(&arrival.buffers[index])
        return 0

    cdef object climb(
        self, Arrival *arrival, Window window, str client, int64_t seq, uint64_t digest, int64_t base
    ):
        cdef str text = <str>self.arrived if type(self.arrived) is str else (<Operation>self.arrived).text
        cdef Parts result
        if arrival.sums.retained + arrival.sums.deleted > self.length_at(window, base, arrival.utf16):
            raise out_of_range("the operation reaches past the end of the text at its revision")
        if base < window.revision:
            self.ladder.climb(
                window.entries, window.revision, window.bottom(), base, arrival.utf16, &arrival.parts, &arrival.count,
                &arrival.buffers[1],
            )
            if arrival.count > MAX_COMPONENTS:
                raise invalid(f"more than {MAX_COMPONENTS} components")
        result.items = <Part *>arrival.parts
        result.count = arrival.count
        if arrival.utf16 or self.same_in_both(text):
            return new_operation(&result, text, True)
        return self.body.counted(new_operation(&result, text, False), True)

    cdef bint same_in_both(self, str text) noexcept:  # reads fields
        """Whether an operation at the head that inserts ``text`` has the same numbers in both units."""
        return self.body.wide == 0 and not has_astral(text)

    def replacing(self, value, tuple key):
        """An operation from the head to that text: one splice. Raises SynclineError(operation_invalid). O(text)."""
        if type(value) is not str:
            raise invalid("a text is a string")
        return diff(str(self.body), value, thorough=False)

    def is_empty(self):
        return self.body.size() == 0

    # ------------------------------------------------------------------------------------------------- commits

    cdef Commit make(
        self, str client, str user, int64_t seq, object operation, uint8_t mark, uint64_t digest, double time
    ):
        cdef Operation units = <Operation>operation, points = None
        cdef Entry entry
        self.body.require_applicable(units)
        if units.inserted > units.deleted and self.body.size() + units.inserted - units.deleted > self.max_length:
            raise SynclineError(ErrorCode.DOCUMENT_TOO_LARGE, f"at most {self.max_length} UTF-16 code units")
        if not self.same_in_both(units.text):
            points = self.body.counted(units, False)
            if points.same_parts(units):
                points = None
        entry = new_entry(client, user, seq, units, points, time, digest, mark)
        self.apply(entry)
        return entry

    cdef int take(self, Commit commit, int64_t revision) except -1:
        cdef Entry entry = <Entry?>commit
        cdef Operation points = entry.operation  # the units are the same as long as there are no pairs
        self.body.require_applicable(entry.operation)
        if self.body.wide or has_astral(points.text):
            points = self.body.counted(points, False)
        if not points.same_parts(entry.numbers(False)):
            raise ValueError(f"revision {revision} does not fit the text: its units disagree")
        return self.apply(entry)

    cdef int apply(self, Entry entry) except -1:
        """One that ``Text.require_applicable`` has let pass."""
        self.applied = entry.operation
        self.undoing = ""
        if entry.operation.deleted and self.undone:
            self.undoing = (<Operation>self.body.invert(entry.operation)).text
        self.body.prepare(entry.operation)  # what can fail comes first
        self.body.commit(entry.operation)
        entry.units_after = self.body.size()
        entry.points_after = self.body.size() - self.body.wide
        return 0

    # -------------------------------------------------------------------------------------------------- window

    cdef int64_t length_at(self, Window window, int64_t revision, bint utf16) except -1:
        """Length of the text at a revision from the floor to the head."""
        cdef Entry entry
        if revision == window.revision:
            return self.body.size() if utf16 else self.body.size() - self.body.wide
        if revision == window.bottom():
            return self.floor_units if utf16 else self.floor_points
        entry = <Entry>window.commit_at(revision)
        return entry.units_after if utf16 else entry.points_after

    cdef int rise(self, Commit commit) except -1:
        self.floor_units, self.floor_points = (<Entry>commit).units_after, (<Entry>commit).points_after
        return 0

    def lower(self, list entries not None):
        """They come before the floor. Raises ValueError, and changes nothing that counts, when they do not fit the text."""
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
        self.floor_units, self.floor_points = units, points

    def trimmed(self, int64_t floor):
        self.ladder.let_go(floor)

    def ladder_bytes(self):
        """At most about 128 bytes for each entry of the window, and ``ladder_bytes``."""
        return self.ladder.size()

    # -------------------------------------------------------------------------------------------------- carets

    cdef Caret caret(self):
        return TextCaret.__new__(TextCaret)

    cdef bint follow(self, Caret caret, Commit commit) except -1:
        cdef TextCaret own = <TextCaret>caret
        cdef Operation operation = (<Entry>commit).operation
        if operation.count == 0:
            return False
        own.anchor = own.head = operation.tail()
        return True

    cdef int64_t bring_on(self, Window window, Caret caret, int64_t room) except -1:
        """An insert at a cursor leaves it where it is, because an operation that its owner has under way there goes to the left of that
        insert too (the tie rule), and so the text being typed and its cursor stay together."""
        cdef TextCaret own = <TextCaret>caret
        cdef int64_t anchor = self.ladder.move(
            window.entries, window.revision, window.bottom(), own.revision, True, own.anchor
        )
        if own.head != own.anchor:
            own.head = self.ladder.move(
                window.entries, window.revision, window.bottom(), own.revision, True, own.head
            )
        else:
            own.head = anchor
        own.anchor = anchor
        own.revision = window.revision
        return 1

    def place(self, Window window not None, int64_t base, anchor, head, unit):
        """A caret at the head, of a selection in the text at ``base``, which the window reaches. A position inside a surrogate pair goes
        before it. Raises SynclineError(invalid_data)."""
        cdef bint utf16 = unit_is_utf16(unit)
        cdef int64_t at = read_count(anchor, "anchor"), to = read_count(head, "head")
        cdef int64_t length = self.length_at(window, base, utf16)
        cdef TextCaret caret = TextCaret.__new__(TextCaret)
        if at > length or to > length:
            raise SynclineError(ErrorCode.INVALID_DATA, "the cursor lies past the end of the text at its revision")
        at = self.ladder.move(window.entries, window.revision, window.bottom(), base, utf16, at)
        to = self.ladder.move(window.entries, window.revision, window.bottom(), base, utf16, to)
        if utf16:
            at -= self.body.splits(at)
            to -= self.body.splits(to)
        caret.anchor = self.body.convert(at, utf16, True)
        caret.head = self.body.convert(to, utf16, True)
        return caret

    def shown(self, TextCaret caret not None, unit):
        cdef bint utf16 = unit_is_utf16(unit)
        return Cursor(self.body.convert(caret.anchor, True, utf16), self.body.convert(caret.head, True, utf16))

    # ------------------------------------------------------------------------------------------------- content

    def content(self):
        return str(self.body)

    def state(self):
        return {"text": str(self.body)}

    def hash(self, revision):
        """CRC-32 of the text as UTF-16LE. O(text), in chunks O(edited ones)."""
        return self.body.hash()

    def hashing(self, revision):
        yield from ()
        return self.body.hash()

    def hash_labour(self, revision):
        """None: chunks know theirs."""
        return 0

    def length(self, unit):
        return self.body.length(unit)

    def dump(self):
        return str(self.body)

    def loaded(self, str dumped not None):
        """What ``adopt`` takes. Raises ValueError."""
        return Text(dumped)

    def adopt(self, Text content not None):
        self.body = content
        self.ladder.forget()
        self.floor_units = self.body.size()
        self.floor_points = self.body.size() - self.body.wide
