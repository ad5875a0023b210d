"""Committed operations, and how they and snapshots are written for the store.

    entries   see log_body.pyx; still read is the first form:
              0x11  count, names (count, texts), then per entry: client and user as indexes of names, seq, flags,
                    [time: float64], [digest: uint64], parts (count, then length * 4 + kind each), inserted text,
                    [the lengths of the same parts in code points]
    snapshot  0x21  flags, clients (count, then name, user, seq, revision, digest each; the longest silent first), text,
                    [to the end: what clients can undo; see undo.pyx]

A damaged body raises ValueError (see record_format.pyx).
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH, PyUnicode_KIND, PyUnicode_Substring
from libc.math cimport floor, isfinite
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp, memcpy

from operator import attrgetter

cimport cython

from syncline.core.storage.record_format cimport MAX_COUNT, Reader, Writer, damaged
from syncline.core.storage.log_body cimport OF_POINTS, OF_UNITS, WRITTEN, LogReader, LogWriter, Stamp
from syncline.core.ot.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, count_points, parts_close, parts_open, parts_push,
    require_well_formed, utf16_length,
)
from syncline.core.storage.window cimport ClientState, Commit, read_kind

from syncline.core.errors import SynclineError
from syncline.core.storage import window as _window

cdef uint8_t ENTRIES_V1 = 0x11  # the first form; nothing is written in it any more
cdef uint8_t SNAPSHOT_V1 = 0x21

cdef enum:
    SAME_TIME = 1         # as the entry before
    HAS_POINTS = 2        # the numbers in code points differ
    DIGEST_OF_UNITS = 4   # the digest is that of the operation as committed, in UTF-16 units,
    DIGEST_OF_POINTS = 8  # or in code points; neither: it is written out
    FORGOTTEN = 1         # flags of a snapshot: some client is not listed;
    HAS_UNDO = 2          # there is something to undo

# What an Entry and its Operation occupy beside parts and text, measured with tracemalloc and rounded up.
cdef Py_ssize_t ENTRY_BYTES = 320


@cython.final
@cython.no_gc  # what it refers to refers to nothing: no cycles, and there are very many of them
cdef class Entry(Commit):
    """One committed operation. Both units are kept when they differ, so that a client of either can be served."""

    def __init__(
        self,
        str client not None,
        str user not None,
        int64_t seq,
        Operation operation not None,
        Operation unicode_operation=None,
        double time=0.0,
        digest=None,
        str kind not None="edit",
    ):
        """``digest``: of the operation as it was submitted; by default that of ``operation``.

        Raises ValueError when an operation counts the wrong unit, or there is no such kind.
        """
        if not operation.utf16 or (unicode_operation is not None and unicode_operation.utf16):
            raise ValueError("operation counts utf-16, unicode_operation counts unicode")
        if unicode_operation is not None and unicode_operation.same_parts(operation):
            unicode_operation = None
        self.client = client
        self.user = user
        self.seq = seq
        self.operation = operation
        self.points = unicode_operation
        self.time = time
        self.digest = operation.fingerprint() if digest is None else digest
        self.mark = read_kind(kind)

    @property
    def unicode_operation(self):
        """None when the numbers are the same in both units."""
        return self.points

    def in_unit(self, unit):
        """The operation counted in ``unit``."""
        if unit_is_utf16(unit):
            return self.operation
        if self.points is not None:
            return self.points
        if self.points_view is None:
            self.points_view = self.operation.recounted(False)
        return self.points_view

    def told(self, unit="utf-16"):
        """The operation as the protocol shows it."""
        return self.in_unit(unit).components

    @property
    def bulk(self):
        """About how many characters it takes to tell it. O(1)."""
        return PyUnicode_GET_LENGTH(self.operation.text)

    cdef Operation numbers(self, bint utf16):
        """An operation whose numbers are right in the unit, whatever unit it claims to count."""
        return self.operation if utf16 or self.points is None else self.points

    cdef Py_ssize_t footprint(self) noexcept:  # reads fields
        cdef Py_ssize_t parts = self.operation.count * (1 if self.points is None else 2)
        return ENTRY_BYTES + 8 * parts + PyUnicode_GET_LENGTH(self.operation.text) * PyUnicode_KIND(self.operation.text)

    def __reduce__(self):
        how = (self.client, self.user, self.seq, self.operation, self.points, self.time, self.digest, self.kind)
        return Entry, how

    def __repr__(self):
        return f"Entry({self.client!r}, {self.user!r}, {self.seq}, {self.operation!r})"


cdef Entry new_entry(
    str client, str user, int64_t seq, Operation operation, Operation points, double time, uint64_t digest,
    uint8_t mark=0
):
    cdef Entry self = Entry.__new__(Entry)
    self.client = client
    self.user = user
    self.seq = seq
    self.operation = operation
    self.points = points
    self.time = time
    self.digest = digest
    self.mark = mark
    return self


# ------------------------------------------------------------------------------------------------------- writing


cdef int64_t milliseconds(double time) except? -9223372036854775807:
    """The nearest one. Raises ValueError for what is no time."""
    time *= 1000
    if not isfinite(time) or not -MAX_COUNT <= time <= MAX_COUNT:
        raise ValueError("a time is out of range")
    return <int64_t>floor(time + 0.5)


cdef int write_entry(LogWriter out, Entry entry) except -1:
    cdef Operation operation = entry.operation
    cdef Stamp stamp
    stamp.author = out.author(entry.client, entry.user)
    stamp.seq = entry.seq
    stamp.time = milliseconds(entry.time)
    stamp.mark = entry.mark
    stamp.digest = entry.digest
    stamp.mode = WRITTEN
    if entry.digest == operation.fingerprint():
        stamp.mode = OF_UNITS
    elif entry.points is not None and entry.digest == entry.points.fingerprint():
        stamp.mode = OF_POINTS
    out.add_stamp(&stamp)
    out.add_edit(operation.parts, operation.count)
    out.add_excess(operation.parts, NULL if entry.points is None else entry.points.parts, operation.count)
    if operation.inserted:
        out.pieces.append(operation.text)
    return 0


def encode_entries(list entries not None):
    """The body of one turn in the store. Times are kept in milliseconds.

    Raises ValueError for names that are not well-formed Unicode, and above 1,048,576 entries.
    """
    cdef LogWriter out = LogWriter(False)
    cdef Entry entry
    for entry in entries:
        write_entry(out, entry)
    return out.finish()


def encode_payloads(list commits not None, list payloads not None):
    """The same for operations of another type than text, each written as bytes by its type. Same errors."""
    cdef LogWriter out = LogWriter(True)
    cdef Commit commit
    cdef Stamp stamp
    cdef bytes payload
    for commit, payload in zip(commits, payloads, strict=True):
        stamp.author = out.author(commit.client, commit.user)
        stamp.seq = commit.seq
        stamp.time = milliseconds(commit.time)
        stamp.mark = commit.mark
        stamp.digest = commit.digest
        stamp.mode = OF_UNITS if commit.digest == payload_digest(payload) else WRITTEN
        out.add_stamp(&stamp)
        out.add_payload(payload)
    return out.finish()


@cython.overflowcheck(False)  # wraps on purpose
cpdef uint64_t payload_digest(bytes payload) except? 0:
    """64 bits of an operation's bytes (FNV-1a), the same everywhere. A digest made so costs the log nothing."""
    cdef uint64_t value = 14695981039346656037ULL
    cdef uint8_t byte
    for byte in payload:
        value = (value ^ byte) * 1099511628211ULL
    return value


def merge_bodies(list bodies not None, int64_t time_step=1):
    """One body that holds the entries of all of these, in order. ``time_step``: to how many milliseconds times are
    rounded down; a coarse one makes the body small.

    Raises ValueError for a damaged body, for bodies of texts and of payloads together, above 1,048,576 entries.
    """
    cdef LogWriter out = None
    cdef LogReader reader
    cdef Entry entry
    cdef bytes body
    if time_step < 1:
        raise ValueError("the time step is at least one millisecond")
    for body in bodies:
        if body[:1] == b"\x11":
            if out is None:
                out = LogWriter(False)
            elif out.opaque:
                raise ValueError("bodies of different types are not merged")
            for entry in decode_entries(body):
                entry.time = round_down(milliseconds(entry.time), time_step) / 1000.0
                write_entry(out, entry)
            continue
        reader = LogReader(body)
        if out is None:
            out = LogWriter(reader.opaque)
        if out.opaque != reader.opaque:
            raise ValueError("bodies of different types are not merged")
        try:
            merge(out, reader, time_step)
        except SynclineError as error:
            raise damaged(error.message) from error
    if out is None:
        out = LogWriter(False)
    return out.finish()


cdef bint equal_parts(const Parts *one, const Parts *other) noexcept:  # both canonical, of the same kinds
    return one.count == other.count and memcmp(one.items, other.items, one.count * sizeof(Part)) == 0


cdef int64_t round_down(int64_t time, int64_t step) noexcept:  # arithmetic; down, also before 1970
    return time - (time % step + step) % step


cdef int merge(LogWriter out, LogReader reader, int64_t time_step) except -1:
    cdef Parts parts, points
    cdef Stamp stamp
    cdef int64_t index
    cdef Py_ssize_t at
    cdef list authors = []
    for index in range(len(reader.clients)):
        authors.append(out.author(reader.clients[index], reader.users[index]))
    parts_open(&parts)
    parts_open(&points)
    try:
        for index in range(reader.count):
            reader.next_stamp(&stamp)
            stamp.author = authors[stamp.author]
            stamp.time = round_down(stamp.time, time_step)
            out.add_stamp(&stamp)
            if out.opaque:
                out.add_payload(reader.next_payload())
                continue
            parts.count = 0
            reader.next_edit(&parts)
            out.add_edit(parts.items, parts.count)
            points.count = 0
            count_parts(reader, &parts, &points)
            if stamp.mode == OF_POINTS and equal_parts(&parts, &points):
                raise damaged("contradictory flags")
            out.add_excess(parts.items, points.items, parts.count)
        reader.finish()
        if not out.opaque:
            out.pieces.append(reader.text)
        return 0
    finally:
        parts_close(&parts)
        parts_close(&points)


cdef bytes encode_snapshot(str text, object clients, bint forgotten, bytes undo=b""):
    cdef Writer out = Writer()
    cdef ClientState state
    out.fixed(SNAPSHOT_V1, 1)
    out.varint((FORGOTTEN if forgotten else 0) | (HAS_UNDO if undo else 0))
    out.varint(len(clients))
    for state in sorted(clients, key=attrgetter("last")):
        out.text(state.name)
        out.text(state.user)
        out.varint(<uint64_t>state.seq)
        out.varint(<uint64_t>state.revision)
        out.fixed(state.digest, 8)
    out.text(text)
    out.raw(PyBytes_AS_STRING(undo), PyBytes_GET_SIZE(undo))
    return out.finish()


def new_text_snapshot(str text not None):
    """The snapshot body of revision 0 of a document that is created with a text.

    Raises SynclineError(operation_invalid) for lone surrogates.
    """
    require_well_formed(text)
    return encode_snapshot(text, (), False)


# ------------------------------------------------------------------------------------------------------- reading


cdef int count_parts(LogReader reader, const Parts *units, Parts *points) except -1:
    """Reads the operation's text and appends its components in code points."""
    cdef Py_ssize_t index
    cdef int64_t length, more
    cdef int kind
    for index in range(units.count):
        kind = units.items[index].kind
        length = units.items[index].length
        if kind == INSERT:
            length = reader.take_text(length)
        elif reader.wide:
            more = reader.excess(kind == DELETE)
            if 2 * more > length:
                raise damaged("the units disagree")
            length -= more
        parts_push(points, kind, length)
    return 0


def decode_entries(bytes body not None, int64_t skip=0, count=None):
    """The entries of one turn, or of several that were merged; from number ``skip`` (from 0) on at most ``count`` of
    them. Raises ValueError on a damaged body. O(body), and an object for each entry of the result only.
    """
    cdef int64_t until
    if skip < 0 or (count is not None and count < 0):
        raise ValueError("a number of entries is not negative")
    if body[:1] == b"\x11":
        return decode_first_form(body)[skip : None if count is None else skip + count]
    cdef LogReader reader = LogReader(body)
    cdef Operation operation, numbers
    cdef Parts parts, points
    cdef Stamp stamp
    cdef uint64_t digest
    cdef int64_t index
    cdef Py_ssize_t used
    cdef list result = []
    cdef str text
    if reader.opaque:
        raise ValueError("the operations are not those of a text")
    until = reader.count if count is None or skip + count > reader.count else skip + count
    parts_open(&parts)
    parts_open(&points)
    try:
        for index in range(reader.count):
            if index == until:
                return result
            reader.next_stamp(&stamp)
            parts.count = points.count = 0
            reader.next_edit(&parts)
            used = reader.used
            count_parts(reader, &parts, &points)
            if index < skip:
                continue
            text = PyUnicode_Substring(reader.text, used, reader.used) if reader.used > used else ""
            operation = new_operation(&parts, text, True)
            numbers = None
            if reader.wide:
                numbers = new_operation(&points, text, False)
                if numbers.same_parts(operation):
                    numbers = None
            digest = stamp.digest
            if stamp.mode == OF_UNITS:
                digest = operation.fingerprint()
            elif stamp.mode == OF_POINTS:
                if numbers is None:
                    raise damaged("contradictory flags")
                digest = numbers.fingerprint()
            result.append(
                new_entry(
                    reader.clients[stamp.author],
                    reader.users[stamp.author],
                    stamp.seq,
                    operation,
                    numbers,
                    stamp.time / 1000.0,
                    digest,
                    stamp.mark,
                )
            )
        reader.finish()
    except SynclineError as error:
        raise damaged(error.message) from error
    finally:
        parts_close(&parts)
        parts_close(&points)
    return result


def decode_payloads(bytes body not None):
    """What ``encode_payloads`` wrote: a list of (client, user, seq, time, digest, kind, payload).

    Raises ValueError on a damaged body, or one of texts.
    """
    cdef LogReader reader = LogReader(body)
    cdef Stamp stamp
    cdef int64_t index
    cdef uint64_t digest
    cdef bytes payload
    cdef list result = []
    if not reader.opaque:
        raise ValueError("the operations are those of a text")
    for index in range(reader.count):
        reader.next_stamp(&stamp)
        payload = reader.next_payload()
        digest = payload_digest(payload) if stamp.mode == OF_UNITS else stamp.digest
        who = (reader.clients[stamp.author], reader.users[stamp.author])
        result.append((*who, stamp.seq, stamp.time / 1000.0, digest, _window.KINDS[stamp.mark], payload))
    reader.finish()
    return result


cdef Operation read_units(Reader reader):
    """An operation in UTF-16 units; refuses what is not canonical."""
    cdef int64_t count = reader.varint(), number
    cdef Py_ssize_t index, points, used = 0
    cdef Parts parts
    cdef str text = ""
    cdef int64_t inserted = 0
    parts_open(&parts)
    try:
        for index in range(count):
            number = reader.varint(4 * MAX_LENGTH + 3)
            if number & 3 == 3 or number < 4:
                raise damaged("not a component")
            parts_push(&parts, number & 3, number >> 2)
            if number & 3 == INSERT:
                inserted += number >> 2
        if parts.count != count or (count and parts.items[count - 1].kind == RETAIN):
            raise damaged("an operation is not canonical")
        if inserted:
            text = reader.text()
        if utf16_length(text) != inserted:
            raise damaged("an inserted text has another length")
        for index in range(count):
            if parts.items[index].kind == INSERT:
                points = count_points(text, used, parts.items[index].length)
                if points < 0:
                    raise damaged("an insert splits a surrogate pair")
                used += points
        return new_operation(&parts, text, True)
    finally:
        parts_close(&parts)


cdef Operation read_points(Reader reader, Operation units):
    """The same operation in code points."""
    cdef Py_ssize_t index, used = 0
    cdef int64_t length, expected
    cdef Parts parts
    parts_open(&parts)
    try:
        for index in range(units.count):
            length = reader.varint()
            expected = units.parts[index].length
            if units.parts[index].kind == INSERT:
                expected = count_points(units.text, used, units.parts[index].length)
                used += expected
                if length != expected:
                    raise damaged("an inserted text has another length")
            elif length > expected or 2 * length < expected:
                raise damaged("the units disagree")
            parts_push(&parts, units.parts[index].kind, length)
        return new_operation(&parts, units.text, False)
    finally:
        parts_close(&parts)


cdef list decode_first_form(bytes body):
    cdef Reader reader = Reader(body, ENTRIES_V1)
    cdef int64_t count, name_count, index, flags, client, user, seq
    cdef uint64_t digest, time_bits = 0
    cdef double time
    cdef Operation operation, points
    cdef list names = [], result = []
    try:
        count = reader.varint()
        name_count = reader.varint()
        if count and not name_count:
            raise damaged("no names")
        for index in range(name_count):
            names.append(reader.text())
        for index in range(count):
            client = reader.varint(name_count - 1)
            user = reader.varint(name_count - 1)
            seq = reader.varint(MAX_COUNT)
            flags = reader.varint(15)
            if not flags & SAME_TIME:
                time_bits = reader.fixed(8)
            memcpy(&time, &time_bits, 8)
            time = milliseconds(time) / 1000.0
            digest = 0
            if not flags & (DIGEST_OF_UNITS | DIGEST_OF_POINTS):
                digest = reader.fixed(8)
            operation = read_units(reader)
            points = read_points(reader, operation) if flags & HAS_POINTS else None
            if flags & DIGEST_OF_UNITS:
                digest = operation.fingerprint()
            elif flags & DIGEST_OF_POINTS:
                if points is None:
                    raise damaged("contradictory flags")
                digest = points.fingerprint()
            result.append(new_entry(names[client], names[user], seq, operation, points, time, digest, 0))
        reader.finish()
    except SynclineError as error:
        raise damaged(error.message) from error
    return result


def decode_snapshot(bytes body not None):
    """(text, states of the clients, whether clients have been forgotten, what they can undo). Raises ValueError on a
    damaged body."""
    cdef Reader reader = Reader(body, SNAPSHOT_V1)
    cdef ClientState state
    cdef int64_t index, flags = reader.varint(FORGOTTEN | HAS_UNDO)
    cdef int64_t count = reader.varint()
    cdef list clients = []
    cdef str text
    for index in range(count):
        state = ClientState.__new__(ClientState)
        state.name = reader.text()
        state.user = reader.text()
        state.seq = reader.varint(MAX_COUNT)
        state.revision = reader.varint(MAX_COUNT)
        state.digest = reader.fixed(8)
        clients.append(state)
    text = reader.text()
    undo = b""
    if flags & HAS_UNDO:
        undo = reader.body[reader.whole.at : reader.whole.end]
        reader.whole.at = reader.whole.end
    reader.finish()
    return text, clients, flags & FORGOTTEN != 0, undo
