"""Batches of edits as one array and one text of all that they insert: what ``Text.replay`` applies.

An operation of several components is several splices, each at its place in what the ones before have made.

As bytes:  count, then for each edit  position - end of the edit before (zigzag), deleted, inserted,  then all inserted
text as UTF-8. Numbers are varints (LEB128: 7 bits a byte, the low ones first); lengths and positions count UTF-16 code
units; the end of an edit is where its inserted text ends.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, realloc

from syncline.core.ot.components cimport MAX_LENGTH, out_of_range, utf16_length


cdef void splices_open(Splices *self) noexcept:  # only sets fields
    self.items = NULL
    self.count = 0
    self.capacity = 0


cdef void splices_close(Splices *self) noexcept:  # only frees
    free(self.items)
    self.items = NULL


cdef int splices_push(Splices *self, int64_t position, int64_t deleted, int64_t inserted) except -1:
    """Raises SynclineError(operation_out_of_range) for what no text can hold. Amortised O(1)."""
    cdef Splice *grown
    if not 0 <= position <= MAX_LENGTH or not 0 <= deleted <= MAX_LENGTH or not 0 <= inserted <= MAX_LENGTH:
        raise out_of_range("a splice lies outside the text")
    if self.count == self.capacity:
        grown = <Splice *>realloc(self.items, max(2 * self.capacity, 64) * sizeof(Splice))
        if grown == NULL:
            raise MemoryError()
        self.items = grown
        self.capacity = max(2 * self.capacity, 64)
    self.items[self.count].position = <int32_t>position
    self.items[self.count].deleted = <int32_t>deleted
    self.items[self.count].inserted = <int32_t>inserted
    self.count += 1
    return 0


cdef inline bint varint(const unsigned char *data, Py_ssize_t *at, Py_ssize_t end, uint64_t *value) noexcept:
    # Reads before `end`; false for a number that is cut off or over 63 bits.
    cdef int shift = 0
    cdef unsigned char byte
    value[0] = 0
    while at[0] < end and shift < 63:
        byte = data[at[0]]
        at[0] += 1
        value[0] |= <uint64_t>(byte & 0x7F) << shift
        if byte < 0x80:
            return True
        shift += 7
    return False


cdef str splices_read(Splices *self, bytes body):
    """Appends the edits of ``body``; returns the inserted text. Raises ValueError on a damaged body, SynclineError as
    ``splices_push``.
    """
    cdef const unsigned char *data = <const unsigned char *>PyBytes_AS_STRING(body)
    cdef Py_ssize_t at = 0, end = PyBytes_GET_SIZE(body)
    cdef uint64_t count, step, deleted, inserted
    cdef int64_t cursor = 0
    if not varint(data, &at, end, &count) or count > <uint64_t>(end - at) // 3:
        raise ValueError("damaged splices: the count is wrong")
    while count:
        if (
            not varint(data, &at, end, &step)
            or not varint(data, &at, end, &deleted)
            or not varint(data, &at, end, &inserted)
        ):
            raise ValueError("damaged splices: cut off")
        if step >> 34 or deleted >> 32 or inserted >> 32:
            raise out_of_range("a splice lies outside the text")
        cursor += -<int64_t>((step + 1) >> 1) if step & 1 else <int64_t>(step >> 1)
        splices_push(self, cursor, <int64_t>deleted, <int64_t>inserted)
        cursor += <int64_t>inserted
        count -= 1
    try:
        return PyUnicode_DecodeUTF8(<const char *>data + at, end - at, NULL)
    except UnicodeDecodeError as error:
        raise ValueError("damaged splices: the text is not UTF-8") from error


cdef int64_t splices_check(const Splice *items, Py_ssize_t count, int64_t size, str text) except -1:
    """The most that a text of ``size`` comes to hold on the way. O(edits).

    Raises SynclineError(operation_out_of_range) when an edit lies outside its text or makes it too long, ValueError
    when ``text`` is not exactly what is inserted. Where pairs would be split is not looked at.
    """
    cdef int64_t most = size, inserted = 0
    cdef Py_ssize_t index
    for index in range(count):
        if items[index].deleted > size - items[index].position:
            raise out_of_range("a splice lies outside the text")
        inserted += items[index].inserted
        size += <int64_t>items[index].inserted - items[index].deleted
        most = max(most, size)
    if most > MAX_LENGTH:
        raise out_of_range("the text would be over 2147483647 code units")
    if inserted != utf16_length(text):
        raise ValueError("damaged splices: the inserted text has another length")
    return most
