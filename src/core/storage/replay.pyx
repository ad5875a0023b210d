"""Old texts and authors straight from log bodies, without an object per operation.

A run of typing is one splice of the text, so a whole history replays at the speed of its runs; its text is checked to be
well-formed as a whole, not keystroke by keystroke. For blame every code
unit has a number beside it: which operation brought it in, counted from the oldest one that is looked at; 0 for what was
there before. They live in a gap buffer as the text itself does.
"""

from bisect import bisect_right
from typing import NamedTuple

from cpython.unicode cimport PyUnicode_Substring
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cimport cython

from syncline.core.storage.record_format cimport damaged
from syncline.core.storage.log_body cimport BACKSPACED, GENERAL, TYPED, LogReader, Run, Stamp
from syncline.core.ot.components cimport (
    DELETE, INSERT, MAX_LENGTH, Parts, count_points, has_astral, parts_close, parts_open,
)
from syncline.core.text.splices cimport Splices, splices_close, splices_open, splices_push
from syncline.core.text.text cimport Text

from syncline.core.storage import commits as _entries
from syncline.core.storage import window as _window
from syncline.core.errors import SynclineError


class Author(NamedTuple):
    """Who made a revision. ``time``: Unix seconds."""

    client: str
    user: str
    seq: int
    time: float
    kind: str


class Range(NamedTuple):
    """A piece of a text and its newest revision; ``client`` and ``user`` None: it was there before."""

    length: int
    revision: int
    client: str | None
    user: str | None
    time: float


# Cells that are moved without letting other threads run: some microseconds.
cdef Py_ssize_t ALONE = 16_384


cdef LogReader open_log(bytes body):
    """A reader of a body of any form."""
    cdef LogReader reader
    if body[:1] == b"\x11":
        body = _entries.merge_bodies([body])
    reader = LogReader(body)
    if reader.opaque:
        raise ValueError("the operations are not those of a text")
    return reader


cdef int64_t take_count(LogReader reader, int64_t skip, object count) except -1:
    """How many operations behind ``skip`` are wanted and there."""
    if skip < 0 or (count is not None and count < 0):
        raise ValueError("a number of operations is not negative")
    if skip >= reader.count:
        return 0
    return reader.count - skip if count is None else min(count, reader.count - skip)


def count_entries(bytes body not None):
    """How many operations it holds. Raises ValueError."""
    return open_log(body).count


# -------------------------------------------------------------------------------------------------------- the text


def replay_text(Text text not None, bytes body not None, int64_t skip=0, count=None):
    """Applies operations ``skip`` ... ``skip + count`` of a body to the text before them, all or none; returns how many
    there were.

    Raises ValueError for a damaged body or one that does not fit the text. O(runs) splices.
    """
    cdef LogReader reader = open_log(body)
    cdef int64_t wanted = take_count(reader, skip, count)
    cdef Py_ssize_t used
    cdef Splices splices
    splices_open(&splices)
    try:
        gather(reader, min(skip, reader.count), &splices)
        splices.count = 0
        used = reader.used
        gather(reader, wanted, &splices)
        text.replay_splices(splices.items, splices.count, PyUnicode_Substring(reader.text, used, reader.used))
    except SynclineError as error:
        raise damaged(error.message) from error
    finally:
        splices_close(&splices)
    return wanted


cdef int gather(LogReader reader, int64_t count, Splices *out) except -1:
    """The next ``count`` operations, a splice for each run and for each component that changes something."""
    cdef int64_t position, length
    cdef Py_ssize_t index
    cdef Parts parts
    cdef Run run
    parts_open(&parts)
    try:
        while count:
            reader.next_run(count, &run)
            count -= run.count
            length = run.count * run.length
            if run.kind == TYPED:
                reader.take_text(length)
                splices_push(out, run.position, 0, length)
            elif run.kind == BACKSPACED:
                splices_push(out, run.position - length + run.length, length, 0)
            elif run.kind != GENERAL:
                splices_push(out, run.position, length, 0)
            else:
                parts.count = 0
                reader.read_parts(&run, &parts)
                position = 0
                for index in range(parts.count):
                    length = parts.items[index].length
                    if parts.items[index].kind == DELETE:
                        splices_push(out, position, length, 0)
                        continue
                    if parts.items[index].kind == INSERT:
                        reader.take_text(length)
                        splices_push(out, position, 0, length)
                    position += length
        return 0
    finally:
        parts_close(&parts)


def author_of(bytes body not None, int64_t index):
    """Who committed the operation number ``index`` (from 0) of a body. Raises ValueError. O(entries before it)."""
    cdef LogReader reader
    cdef Stamp stamp
    cdef int64_t at
    if body[:1] == b"\x11":
        body = _entries.merge_bodies([body])
    reader = LogReader(body)
    if not 0 <= index < reader.count:
        raise ValueError("there is no such operation in the body")
    for at in range(index + 1):
        reader.next_stamp(&stamp)
    who = reader.clients[stamp.author], reader.users[stamp.author]
    return Author(*who, stamp.seq, stamp.time / 1000.0, _window.KINDS[stamp.mark])


def growth(bytes body not None, int64_t skip=0, count=None):
    """By how many UTF-16 code units operations ``skip`` ... ``skip + count`` of a body make the text longer.

    Raises ValueError. O(runs).
    """
    cdef LogReader reader = open_log(body)
    cdef int64_t wanted = take_count(reader, skip, count), left = min(skip, reader.count), grown = 0
    cdef int turn
    cdef Py_ssize_t index
    cdef Parts parts
    cdef Run run
    parts_open(&parts)
    try:
        for turn in range(2):
            while left:
                reader.next_run(left, &run)
                left -= run.count
                if run.kind == GENERAL:
                    parts.count = 0
                    reader.read_parts(&run, &parts)
                    for index in range(parts.count):
                        if parts.items[index].kind == INSERT:
                            grown += parts.items[index].length
                        elif parts.items[index].kind == DELETE:
                            grown -= parts.items[index].length
                elif run.kind == TYPED:
                    grown += run.count * run.length
                else:
                    grown -= run.count * run.length
            if turn == 0:  # what was skipped does not count
                grown = 0
                left = wanted
    except SynclineError as error:
        raise damaged(error.message) from error
    finally:
        parts_close(&parts)
    return grown


# ------------------------------------------------------------------------------------------------------- the authors


cdef void spread(int32_t *cells, int64_t count, int32_t number) noexcept nogil:  # the caller has the room
    cdef int64_t at
    for at in range(count):
        cells[at] = number


@cython.final
cdef class Blame:
    """Folds operations into the origin of every code unit of a text."""

    cdef int32_t *cells       # [0, gap_start) and [gap_end, capacity)
    cdef Py_ssize_t capacity
    cdef Py_ssize_t gap_start
    cdef Py_ssize_t gap_end
    cdef readonly int64_t revision
    cdef int64_t base
    cdef list firsts          # per stretch of entries: the number of its first,
    cdef list stretches       # and (client, user, time)

    def __dealloc__(self):
        free(self.cells)

    def __init__(self, int64_t length, int64_t revision):
        """A text of so many UTF-16 code units at ``revision``, of unknown origin."""
        if not 0 <= length <= MAX_LENGTH or revision < 0 or self.cells != NULL:
            raise ValueError("a length or revision is out of range")
        self.base = self.revision = revision
        self.firsts = []
        self.stretches = []
        self.fill(0, length, 1, 0, False)

    def __len__(self):
        return self.capacity - (self.gap_end - self.gap_start)

    cdef int move_gap(self, Py_ssize_t position, Py_ssize_t room) except -1:
        """Puts the gap at a position inside the text and makes it wide enough."""
        cdef Py_ssize_t size = self.capacity - (self.gap_end - self.gap_start), capacity, distance, tail
        cdef int32_t *grown
        if room > self.gap_end - self.gap_start:
            capacity = size + room + (size + room) // 8 + 64
            grown = <int32_t *>malloc(capacity * sizeof(int32_t))
            if grown == NULL:
                raise MemoryError()
            tail = self.capacity - self.gap_end
            if size:
                with nogil:
                    memcpy(grown, self.cells, self.gap_start * sizeof(int32_t))
                    memcpy(grown + capacity - tail, self.cells + self.gap_end, tail * sizeof(int32_t))
            free(self.cells)
            self.cells = grown
            self.gap_end = capacity - tail
            self.capacity = capacity
        if position < self.gap_start:
            distance = self.gap_start - position
            self.shift(self.gap_end - distance, position, distance)
            self.gap_start -= distance
            self.gap_end -= distance
        elif position > self.gap_start:
            distance = position - self.gap_start
            self.shift(self.gap_start, self.gap_end, distance)
            self.gap_start += distance
            self.gap_end += distance
        return 0

    cdef int shift(self, Py_ssize_t to, Py_ssize_t start, Py_ssize_t count) except -1:
        """Moves cells. A long way is milliseconds, for which other threads may run: an object is one thread's."""
        if count < ALONE:
            memmove(self.cells + to, self.cells + start, count * sizeof(int32_t))
        else:
            with nogil:
                memmove(self.cells + to, self.cells + start, count * sizeof(int32_t))
        return 0

    cdef int fill(self, int64_t position, int64_t length, int64_t count, int32_t number, bint counting) except -1:
        """Inserts ``count`` times ``length`` cells of a number, or of numbers from there on."""
        cdef int64_t size = self.capacity - (self.gap_end - self.gap_start), index
        if position > size or size + count * length > MAX_LENGTH:
            raise damaged("an operation reaches past the end of the text")
        self.move_gap(position, count * length)
        for index in range(count):
            if length < ALONE:
                spread(self.cells + self.gap_start, length, number)
            else:
                with nogil:
                    spread(self.cells + self.gap_start, length, number)
            self.gap_start += length
            number += counting
        return 0

    cdef int erase(self, int64_t position, int64_t length) except -1:
        if position + length > self.capacity - (self.gap_end - self.gap_start):
            raise damaged("an operation reaches past the end of the text")
        if position <= self.gap_start <= position + length:
            self.gap_end += length - (self.gap_start - position)
            self.gap_start = position
        else:
            self.move_gap(position, 0)
            self.gap_end += length
        return 0

    def fold(self, bytes body not None, int64_t skip=0, count=None):
        """Applies operations ``skip`` ... ``skip + count`` of a body; returns how many there were. About as fast as
        replaying them.

        Raises ValueError for a damaged body or one that does not fit; the object is then worth nothing.
        """
        cdef LogReader reader = open_log(body)
        cdef int64_t wanted = take_count(reader, skip, count), left
        cdef Parts parts
        cdef Run run
        if self.revision - self.base + wanted > MAX_LENGTH:
            raise ValueError("more operations than can be told apart")
        self.note_authors(reader, skip, wanted)
        parts_open(&parts)
        try:
            left = min(skip, reader.count)
            while left:
                reader.next_run(left, &run)
                left -= run.count
                if run.kind == GENERAL:
                    parts.count = 0
                    reader.read_parts(&run, &parts)
            left = wanted
            while left:
                reader.next_run(left, &run)
                left -= run.count
                parts.count = 0
                self.fold_run(reader, &run, &parts)
                self.revision += run.count
        except SynclineError as error:
            raise damaged(error.message) from error
        finally:
            parts_close(&parts)
        return wanted

    cdef int fold_run(self, LogReader reader, const Run *run, Parts *parts) except -1:
        cdef int32_t number = <int32_t>(self.revision - self.base + 1)
        cdef int64_t position = run.position
        cdef Py_ssize_t index
        if run.kind == TYPED:
            return self.fill(position, run.length, run.count, number, True)
        if run.kind != GENERAL:
            if run.kind == BACKSPACED:
                position -= (run.count - 1) * run.length
            return self.erase(position, run.count * run.length)
        reader.read_parts(run, parts)
        position = 0
        for index in range(parts.count):
            if parts.items[index].kind == INSERT:
                self.fill(position, parts.items[index].length, 1, number, False)
            if parts.items[index].kind == DELETE:
                self.erase(position, parts.items[index].length)
            else:
                position += parts.items[index].length
        return 0

    cdef int note_authors(self, LogReader reader, int64_t skip, int64_t wanted) except -1:
        cdef Stamp stamp
        cdef int64_t index, number = self.revision - self.base + 1
        cdef int64_t author = -1, time = 0
        for index in range(min(skip, reader.count)):
            reader.next_stamp(&stamp)
        for index in range(wanted):
            reader.next_stamp(&stamp)
            if stamp.author != author or stamp.time != time:
                author = stamp.author
                time = stamp.time
                self.firsts.append(number + index)
                self.stretches.append((reader.clients[author], reader.users[author], time / 1000.0))
        return 0

    def ranges(self, Py_ssize_t start, Py_ssize_t end, double joined=0.0, str text=None):
        """The origin of the units [start, end). Neighbours by one client not more than ``joined`` seconds apart are one
        range, of the newer revision. With ``text`` (all of it) lengths count code points. O(end - start).

        Raises ValueError for a range outside the text.
        """
        cdef Py_ssize_t at = start, run, used = 0, points, length = 0, stretch
        cdef int64_t number, newest = 0, first = 1, behind = 1  # the stretch under way: numbers first ... behind - 1
        cdef double time = 0.0, last_time = 0.0
        cdef list result = []
        cdef bint wide = text is not None and has_astral(text)
        client = user = last_client = last_user = None
        if not 0 <= start <= end <= len(self):
            raise ValueError("the range lies outside the text")
        if wide:
            used = count_points(text, 0, start)
        self.move_gap(len(self), 0)
        while at < end:
            number = self.cells[at]
            run = at
            while run < end and self.cells[run] == number:
                run += 1
            points = run - at
            at = run
            if wide and used >= 0:
                points = count_points(text, used, points)
                used += points
            if points < 0 or used < 0:
                raise ValueError("the text is not the one that the operations made")
            if number == 0:
                client = user = None
                time = 0.0
            elif client is None or not first <= number < behind:
                stretch = bisect_right(self.firsts, number)
                client, user, time = self.stretches[stretch - 1]
                first = self.firsts[stretch - 1]
                behind = self.firsts[stretch] if stretch < len(self.firsts) else MAX_LENGTH + 1
            if length and client == last_client and abs(time - last_time) <= joined:
                length += points
                if number > newest:
                    newest, last_time = number, time
                continue
            if length:
                result.append(Range(length, self.base + newest, last_client, last_user, last_time))
            last_client, last_user, last_time, length, newest = client, user, time, points, number
        if length:
            result.append(Range(length, self.base + newest, last_client, last_user, last_time))
        return result
