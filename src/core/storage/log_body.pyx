"""How committed operations are written: columns, each run-length coded, so that a burst of typing costs a few bytes.

    0x12  flags (1: payloads, 2: there are digests, 4: the units differ), count
          names (count, texts), authors (count, then client and user as indexes of names)
          stamps    stretches of entries of one author and one time whose numbers follow one another:
                    author << 4 | digest mode << 2 | kind, length, zigzag(seq - expected), zigzag(time - last time)
          digests   [flag 2] 8 bytes for each entry whose mode says so
          runs      see below; or, with payloads, the operations as their type writes them, length before each
          lengths   of the runs
          retains   [flag 4] (count, units - code points) for the retains of all operations in order, run-length coded;
          deletes   [flag 4] what is not there is 0; the same for deletes
          text      everything that is inserted, in order

Every column has its length in bytes before it. Times are Unix milliseconds. A run is ``zigzag(position - cursor) << 3 |
form``, where the cursor is the place where the run before ended, and its lengths:

    0 1 2     count: so many inserts one behind the other, deletes going backwards, deletes in place, of one unit each
    3 4 5     count, length: the same, of ``length`` units each
    7         an operation of another form: the number before the form is that of its components; length << 2 | kind
              each

automerge-paper (259,778 keystrokes) has 10,731 runs: 27 kB and its text. Reading never trusts: positions, lengths and
counts are checked as they come, and the end of every column must be reached with the last entry.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH
from libc.stdint cimport int64_t, uint8_t, uint64_t

cimport cython

from syncline.core.storage.record_format cimport (
    MAX_COUNT, Column, Reader, Writer, column_fixed, column_varint, damaged, unzigzag, zigzag,
)
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, RETAIN, Part, Parts, count_points, has_astral, parts_push,
)

from syncline.core.storage.record_format import pack

cdef uint8_t ENTRIES_V2 = 0x12

# Entries in one body; more than any turn may have (documents.pending_operations).
cdef int64_t MAX_ENTRIES = 1_048_576

cdef enum:
    PAYLOADS = 1
    DIGESTS = 2
    UNITS = 4
    LONG = 3      # added to the form of a run whose lengths are not 1
    OTHER = 7


@cython.final
cdef class LogWriter:
    """Takes entries one by one, stamp and edit of each, and writes the body. ``opaque``: of payloads."""

    def __init__(self, bint opaque):
        self.opaque = opaque
        self.names = {}
        self.authors = {}
        self.expected = []
        self.pieces = []
        self.stamps = Writer()
        self.runs = Writer()
        self.lengths = Writer()
        self.digests = Writer()
        self.retain_excess = Writer()
        self.delete_excess = Writer()

    cdef int64_t author(self, str client, str user) except -1:
        """The index of an author; a new one is added."""
        key = (client, user)
        found = self.authors.get(key)
        if found is None:
            found = self.authors[key] = len(self.authors)
            self.names.setdefault(client, len(self.names))
            self.names.setdefault(user, len(self.names))
            self.expected.append(0)
        return found

    cdef int add_stamp(self, const Stamp *stamp) except -1:
        cdef Stamp *last = &self.stamp
        if self.count == MAX_ENTRIES:
            raise ValueError(f"more than {MAX_ENTRIES} operations in one body")
        if not 0 <= stamp.seq <= MAX_COUNT or not -MAX_COUNT <= stamp.time <= MAX_COUNT:
            raise ValueError("a number or a time is out of range")
        self.count += 1
        if stamp.mode == WRITTEN:
            self.digests.fixed(stamp.digest, 8)
        if (
            self.stretch
            and stamp.author == last.author
            and stamp.seq == last.seq + 1
            and stamp.time == last.time
            and stamp.mode == last.mode
            and stamp.mark == last.mark
        ):
            last.seq = stamp.seq
            self.stretch += 1
            return 0
        self.end_stretch()
        self.stamp = stamp[0]
        self.stretch = 1
        self.stretch_seq = stamp.seq
        return 0

    cdef int end_stretch(self) except -1:
        cdef Stamp *stamp = &self.stamp
        if self.stretch == 0:
            return 0
        self.stamps.varint(<uint64_t>stamp.author << 4 | <uint64_t>stamp.mode << 2 | <uint64_t>stamp.mark)
        self.stamps.varint(self.stretch)
        self.stamps.varint(zigzag(self.stretch_seq - <int64_t>self.expected[stamp.author]))
        self.stamps.varint(zigzag(stamp.time - self.last_time))
        self.expected[stamp.author] = stamp.seq + 1
        self.last_time = stamp.time
        self.stretch = 0
        return 0

    cdef int add_edit(self, const Part *parts, Py_ssize_t count) except -1:
        """A canonical operation in UTF-16 units. What it inserts goes to ``pieces``, which is the caller's part."""
        cdef Run *run = &self.run
        cdef int64_t position = 0, length
        cdef Py_ssize_t index = 0, at
        if count and parts[0].kind == RETAIN:
            position = parts[0].length
            index = 1
        if index + 1 == count:
            length = parts[index].length
            if parts[index].kind == INSERT:
                if (
                    run.count
                    and run.kind == TYPED
                    and length == run.length
                    and position == run.position + run.count * length
                ):
                    run.count += 1
                    return 0
                self.end_run()
                run.kind = TYPED
            else:
                if run.count and run.kind != TYPED and length == run.length:
                    if run.kind == BACKSPACED and position == run.position - run.count * length:
                        run.count += 1
                        return 0
                    if position == run.position and (run.kind == DELETED or run.count == 1):
                        run.kind = DELETED
                        run.count += 1
                        return 0
                self.end_run()
                run.kind = BACKSPACED
            run.position = position
            run.length = length
            run.count = 1
            return 0
        self.end_run()
        self.runs.varint(<uint64_t>count << 3 | OTHER)
        position = 0
        self.cursor = 0
        for at in range(count):
            self.lengths.varint(<uint64_t>parts[at].length << 2 | <uint64_t>parts[at].kind)
            if parts[at].kind != DELETE:
                position += parts[at].length
            if parts[at].kind != RETAIN:
                self.cursor = position
        return 0

    cdef int end_run(self) except -1:
        cdef Run *run = &self.run
        cdef int form = run.kind
        if run.count == 0:
            return 0
        if run.length != 1:
            form += LONG
        self.runs.varint(zigzag(run.position - self.cursor) << 3 | <uint64_t>form)
        self.lengths.varint(run.count)
        if run.length != 1:
            self.lengths.varint(run.length)
        self.cursor = run.position
        if run.kind == TYPED:
            self.cursor += run.count * run.length
        elif run.kind == BACKSPACED:
            self.cursor -= (run.count - 1) * run.length
        run.count = 0
        return 0

    cdef int add_excess(self, const Part *units, const Part *points, Py_ssize_t count) except -1:
        """How much longer each component is in units than in code points; ``points`` NULL: not at all."""
        cdef Py_ssize_t index
        for index in range(count):
            if units[index].kind != INSERT:
                self.one_excess(
                    units[index].kind == DELETE,
                    0 if points == NULL else units[index].length - points[index].length,
                )
        return 0

    cdef int one_excess(self, bint deletes, int64_t value) except -1:
        if deletes:
            if self.delete_count and value != self.delete_value:
                self.delete_excess.varint(self.delete_count)
                self.delete_excess.varint(self.delete_value)
                self.delete_count = 0
            self.delete_value = value
            self.delete_count += 1
        else:
            if self.retain_count and value != self.retain_value:
                self.retain_excess.varint(self.retain_count)
                self.retain_excess.varint(self.retain_value)
                self.retain_count = 0
            self.retain_value = value
            self.retain_count += 1
        return 0

    cdef int add_payload(self, bytes payload) except -1:
        self.runs.varint(PyBytes_GET_SIZE(payload))
        return self.runs.raw(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))

    cdef bytes finish(self):
        cdef Writer out = Writer()
        cdef bint units
        self.end_stretch()
        self.end_run()
        if self.retain_value:
            self.one_excess(False, 0)
        if self.delete_value:
            self.one_excess(True, 0)
        units = self.retain_excess.count + self.delete_excess.count > 0
        out.fixed(ENTRIES_V2, 1)
        out.varint(PAYLOADS * self.opaque | DIGESTS * (self.digests.count > 0) | UNITS * units)
        out.varint(self.count)
        out.varint(len(self.names))
        for name in self.names:
            out.text(name)
        out.varint(len(self.authors))
        for client, user in self.authors:
            out.varint(self.names[client])
            out.varint(self.names[user])
        out.column(self.stamps)
        if self.digests.count:
            out.column(self.digests)
        out.column(self.runs)
        out.column(self.lengths)
        if units:
            out.column(self.retain_excess)
            out.column(self.delete_excess)
        out.text("".join(self.pieces))
        return out.finish()


@cython.final
cdef class LogReader:
    """Reads a body entry by entry, or run by run. Raises ValueError when it is damaged.

    Stamps and runs are read independently of one another; ``finish`` wants both to have come to the end.
    """

    def __init__(self, bytes body not None):
        cdef Reader reader = Reader(body, ENTRIES_V2)
        cdef int64_t index, count, names, flags
        self.reader = reader
        flags = reader.varint(PAYLOADS | DIGESTS | UNITS)
        self.opaque = flags & PAYLOADS
        self.count = reader.varint(MAX_ENTRIES)
        known = []
        names = reader.varint()
        for index in range(names):
            known.append(reader.text())
        self.clients = []
        self.users = []
        self.expected = []
        count = reader.varint()
        if (count and not names) or (self.count and not count):
            raise damaged("no names")
        for index in range(count):
            self.clients.append(known[reader.varint(names - 1)])
            self.users.append(known[reader.varint(names - 1)])
            self.expected.append(0)
        self.stamps = reader.column()
        if flags & DIGESTS:
            self.digests = reader.column()
        self.runs = reader.column()
        self.lengths = reader.column()
        if flags & UNITS:
            self.retain_excess = reader.column()
            self.delete_excess = reader.column()
        self.text = reader.text()
        reader.finish()
        self.wide = has_astral(self.text) or flags & UNITS

    cdef int next_stamp(self, Stamp *out) except -1:
        cdef Stamp *stamp = &self.stamp
        cdef uint64_t head
        if self.stretch == 0:
            head = column_varint(&self.stamps, <uint64_t>1 << 40)
            stamp.author = head >> 4
            stamp.mode = (head >> 2) & 3
            stamp.mark = head & 3
            if stamp.author >= len(self.clients) or stamp.mode > WRITTEN or (self.opaque and stamp.mode == OF_POINTS):
                raise damaged("a stamp makes no sense")
            self.stretch = column_varint(&self.stamps, self.count - self.stamped)
            if self.stretch == 0:
                raise damaged("an empty stretch")
            stamp.seq = <int64_t>self.expected[stamp.author] + unzigzag(column_varint(&self.stamps, 2 * MAX_COUNT + 1))
            stamp.time += unzigzag(column_varint(&self.stamps, 4 * <uint64_t>MAX_COUNT + 1))
            if not 0 <= stamp.seq <= MAX_COUNT - self.stretch + 1 or not -MAX_COUNT <= stamp.time <= MAX_COUNT:
                raise damaged("a number or a time is out of range")
            self.expected[stamp.author] = stamp.seq + self.stretch
        else:
            stamp.seq += 1
        self.stretch -= 1
        self.stamped += 1
        if stamp.mode == WRITTEN:
            stamp.digest = column_fixed(&self.digests, 8)
        out[0] = stamp[0]
        return 0

    cdef int begin_run(self) except -1:
        """Reads the head of the next run into ``run``."""
        cdef Run *run = &self.run
        cdef int64_t position, reach
        cdef uint64_t head = column_varint(&self.runs, <uint64_t>1 << 40)
        cdef int form = head & 7
        if form == OTHER:
            run.kind = GENERAL
            run.count = 1
            run.parts = head >> 3
            run.position = 0
            run.length = 0
            return 0
        if form > LONG + DELETED:
            raise damaged("not a run")
        position = self.cursor + unzigzag(head >> 3)
        run.count = column_varint(&self.lengths, self.count - self.seen)
        run.length = 1 if form < LONG else column_varint(&self.lengths, MAX_LENGTH)
        run.kind = form % LONG
        run.position = position
        reach = run.count * run.length  # both below 2^31
        if run.count == 0 or run.length == 0 or position < 0 or position > MAX_LENGTH - run.length or reach > MAX_LENGTH:
            raise damaged("a run makes no sense")
        self.cursor = position
        if run.kind == TYPED:
            self.cursor += reach
        elif run.kind == BACKSPACED:
            self.cursor -= reach - run.length
        if not 0 <= self.cursor <= MAX_LENGTH:
            raise damaged("a run leaves the text")
        return 0

    cdef int next_run(self, int64_t limit, Run *out) except -1:
        """What comes next, at most ``limit`` > 0 operations of it. After GENERAL call ``read_parts``; after TYPED
        ``take_text``."""
        cdef Run *run = &self.run
        if run.count == 0:
            if self.seen == self.count:
                raise damaged("more operations than it says")
            self.begin_run()
        out[0] = run[0]
        if out.count > limit:
            out.count = limit
            if run.kind == TYPED:
                run.position += limit * run.length
            elif run.kind == BACKSPACED:
                run.position -= limit * run.length
        run.count -= out.count
        self.seen += out.count
        return 0

    cdef int read_parts(self, const Run *run, Parts *out) except -1:
        """The components of a general operation; refuses what is not canonical."""
        cdef int64_t index, number, position = 0, base = 0
        self.cursor = 0
        for index in range(run.parts):
            number = column_varint(&self.lengths, 4 * <uint64_t>MAX_LENGTH + 3)
            if number & 3 == 3 or number < 4:
                raise damaged("not a component")
            parts_push(out, number & 3, number >> 2)
            if number & 3 != DELETE:
                position += number >> 2
            if number & 3 != INSERT:
                base += number >> 2
            if number & 3 != RETAIN:
                self.cursor = position
        if position > MAX_LENGTH or base > MAX_LENGTH:
            raise damaged("an operation reaches too far")
        if out.count != run.parts or (run.parts and out.items[run.parts - 1].kind == RETAIN):
            raise damaged("an operation is not canonical")
        return 0

    cdef int next_edit(self, Parts *out) except -1:
        """Appends the components of the next operation, in UTF-16 units. Its text is the caller's part."""
        cdef Run run
        self.next_run(1, &run)
        if run.kind == GENERAL:
            return self.read_parts(&run, out)
        parts_push(out, RETAIN, run.position)
        return parts_push(out, INSERT if run.kind == TYPED else DELETE, run.length)

    cdef Py_ssize_t take_text(self, int64_t units) except -1:
        """How many characters of ``text`` from ``used`` on the next ``units`` are; moves on behind them."""
        cdef Py_ssize_t points = count_points(self.text, self.used, units)
        if points < 0:
            raise damaged("the inserted text is too short, or an insert splits a surrogate pair")
        self.used += points
        return points

    cdef int64_t excess(self, bint deletes) except -1:
        """How much longer the next retain or delete is in units than in code points."""
        if deletes:
            if self.delete_count == 0:
                if self.delete_excess.at == self.delete_excess.end:
                    return 0
                self.delete_count = column_varint(&self.delete_excess, MAX_COUNT)
                self.delete_value = column_varint(&self.delete_excess, MAX_LENGTH)
                if self.delete_count == 0:
                    raise damaged("an empty run")
            self.delete_count -= 1
            return self.delete_value
        if self.retain_count == 0:
            if self.retain_excess.at == self.retain_excess.end:
                return 0
            self.retain_count = column_varint(&self.retain_excess, MAX_COUNT)
            self.retain_value = column_varint(&self.retain_excess, MAX_LENGTH)
            if self.retain_count == 0:
                raise damaged("an empty run")
        self.retain_count -= 1
        return self.retain_value

    cdef bytes next_payload(self):
        cdef int64_t length = column_varint(&self.runs, MAX_LENGTH)
        if length > self.runs.end - self.runs.at:
            raise damaged("cut off")
        self.runs.at += length
        self.seen += 1
        return PyBytes_FromStringAndSize(<const char *>self.runs.data + self.runs.at - length, length)

    cdef int finish(self) except -1:
        """Raises ValueError unless everything was read."""
        if (
            self.seen != self.count
            or self.stamped != self.count
            or self.run.count
            or self.stretch
            or self.runs.at != self.runs.end
            or self.lengths.at != self.lengths.end
            or self.stamps.at != self.stamps.end
            or self.digests.at != self.digests.end
            or (self.wide and (self.retain_count or self.delete_count))
            or self.retain_excess.at != self.retain_excess.end
            or self.delete_excess.at != self.delete_excess.end
            or self.used != PyUnicode_GET_LENGTH(self.text)
        ):
            raise damaged("it goes on after the last operation")
        return 0


def pack_entries(bytes body not None, int level=9):
    """The packed form of a body of entries (``record_format.pack``); a body of the first form stays as it is.

    Columns of a different nature are cut into deflate blocks of their own: 3 % smaller. Raises ValueError.
    """
    cdef LogReader reader
    cdef tuple cuts
    if body[:1] != bytes((ENTRIES_V2,)):
        return body
    reader = LogReader(body)
    cuts = (reader.runs.end, reader.lengths.end)
    if reader.retain_excess.data != NULL:
        cuts += (reader.delete_excess.end,)
    return pack(body, level, cuts)
