"""Edits inside a string of a JSON document: ShareDB's text0, the subtype of json0.

An operation is a list of edits, done one after the other: each inserts a text, or deletes the text that it says, at a position in
the string as the edits before it have left it. As JSON ``{"p": position, "i": text}`` and ``{"p": position, "d": text}``. Positions
and lengths are UTF-16 code units, as in JavaScript. The rules, ties included, are those of npm ``ot-json0`` 1.1 (text0.js,
bootstrapTransform.js), so that clients of that package may take part.

Edits and lists of them are never changed once they are made. O(edits) for all but ``EditCrossing``.
"""

from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.unicode cimport PyUnicode_GET_LENGTH, PyUnicode_Substring
from libc.stdint cimport int64_t

cimport cython

from syncline.core.ot.components cimport (
    count_points, has_astral, invalid, out_of_range, require_well_formed, utf16_length,
)
from syncline.core.text.text cimport Text

from typing import Literal

Side = Literal["left", "right"]

# Characters from which on several edits are made in a text with chunks: each on its own copies the string.
cdef Py_ssize_t LONG = 4096

# To copy so many code units takes as long as two edits to pass each other.
cdef enum:
    COPIED = 400


def units(str text not None):
    """Length in UTF-16 code units. Raises SynclineError(operation_invalid) for a lone surrogate."""
    return length_of(text)


cdef Py_ssize_t length_of(str text) except -1:
    require_well_formed(text)
    return utf16_length(text)


cdef str cut(str text, Py_ssize_t start, Py_ssize_t end):
    """The code units from ``start`` to ``end``, which lie within. Raises SynclineError(operation_invalid) when that splits a pair."""
    cdef Py_ssize_t first = count_points(text, 0, start), length
    length = -1 if first < 0 else count_points(text, first, end - start)
    if length < 0:
        raise invalid("it splits a surrogate pair")
    return PyUnicode_Substring(text, first, first + length)


cdef str rest(str text, Py_ssize_t start):
    """The code units from ``start`` on, which lies within. Raises as ``cut``."""
    cdef Py_ssize_t first = count_points(text, 0, start)
    if first < 0:
        raise invalid("it splits a surrogate pair")
    return PyUnicode_Substring(text, first, PyUnicode_GET_LENGTH(text))


cdef str spliced(str text, Py_ssize_t start, Py_ssize_t end, str inserted):
    """``inserted`` in the place of what lies between. Raises as ``cut``."""
    return cut(text, 0, start) + inserted + rest(text, end)


@cython.final
@cython.no_gc
@cython.freelist(256)
@cython.auto_pickle(False)
cdef class StringEdit:
    """One insert or deletion; the text is never empty."""


cdef StringEdit new_edit(Py_ssize_t position, bint deletes, str text, Py_ssize_t length):
    cdef StringEdit self = StringEdit.__new__(StringEdit)
    self.position = position
    self.deletes = deletes
    self.text = text
    self.length = length
    return self


cdef StringEdit edit_at(list edits, Py_ssize_t index):
    """Without a look at bounds and type."""
    return <StringEdit>PyList_GET_ITEM(edits, index)


cdef list describe_edits(list edits):
    """As JSON."""
    cdef StringEdit edit
    return [{"p": edit.position, "d" if edit.deletes else "i": edit.text} for edit in edits]


cdef bint same_edits(list one, list two) except -1:
    cdef Py_ssize_t index
    cdef StringEdit a, b
    if len(one) != len(two):
        return False
    for index in range(len(one)):
        a, b = edit_at(one, index), edit_at(two, index)
        if a.position != b.position or a.deletes != b.deletes or a.text != b.text:
            return False
    return True


# --------------------------------------------------------------------------------------------------- apply and friends


cdef bint is_long(str text, list edits) except -1:
    """Whether several edits of it are better made on a text with chunks."""
    cdef Py_ssize_t length = PyUnicode_GET_LENGTH(text)
    cdef StringEdit edit
    if len(edits) < 2:
        return False
    for edit in edits:
        if not edit.deletes:
            length += edit.length
    return length > LONG


cdef str apply_edits(str text, list edits):
    """The string after them. Raises SynclineError: operation_out_of_range; operation_invalid (splits a pair, deletes what is
    not there)."""
    cdef Py_ssize_t length = utf16_length(text), end
    cdef StringEdit edit
    cdef Text whole
    if is_long(text, edits):
        whole = Text(text)
        edit_text(whole, edits)
        return str(whole)
    for edit in edits:
        if edit.position > length:
            raise out_of_range("an edit past the end of its string")
        if edit.deletes:
            end = edit.position + edit.length
            if end > length or cut(text, edit.position, end) != edit.text:
                raise invalid("the text to delete is not what is there")
            text = spliced(text, edit.position, end, "")
            length -= edit.length
        else:
            text = spliced(text, edit.position, edit.position, edit.text)
            length += edit.length
    return text


cdef int edit_text(Text whole, list edits) except -1:
    """As ``apply_edits``, on a text, which is spoilt when that raises. O(edits x log text)."""
    cdef StringEdit edit
    for edit in edits:
        if edit.position > len(whole):
            raise out_of_range("an edit past the end of its string")
        if not edit.deletes:
            whole.splice(edit.position, 0, edit.text)
            continue
        if edit.length > len(whole) - edit.position or whole.slice(edit.position, edit.position + edit.length) != edit.text:
            raise invalid("the text to delete is not what is there")
        whole.splice(edit.position, edit.length, "")
    return 0


cdef Py_ssize_t append_edit(list edits, StringEdit edit) except -1:
    """Adds ``edit``, into the last one where the two touch. Returns the length of the text that was copied."""
    cdef Py_ssize_t last_index = PyList_GET_SIZE(edits) - 1, offset
    cdef StringEdit last
    cdef str text
    if last_index >= 0:
        last = edit_at(edits, last_index)
        if last.deletes == edit.deletes:
            if not edit.deletes and last.position <= edit.position <= last.position + last.length:
                offset = edit.position - last.position
                text = spliced(last.text, offset, offset, edit.text)
                edits[last_index] = new_edit(last.position, False, text, last.length + edit.length)
                return last.length + edit.length
            if edit.deletes and edit.position <= last.position <= edit.position + edit.length:
                offset = last.position - edit.position
                text = spliced(edit.text, offset, offset, last.text)
                edits[last_index] = new_edit(edit.position, True, text, last.length + edit.length)
                return last.length + edit.length
    edits.append(edit)
    return 0


cdef list compose_edits(list first, list second):
    """What ``first`` and then ``second`` do."""
    cdef list result = first[:]
    cdef StringEdit edit
    for edit in second:
        append_edit(result, edit)
    return result


cdef list invert_edits(list edits):
    """What undoes them."""
    cdef StringEdit edit
    return [new_edit(edit.position, not edit.deletes, edit.text, edit.length) for edit in reversed(edits)]


# ----------------------------------------------------------------------------------------------------------- transform


cdef StringEdit moved(StringEdit edit, Py_ssize_t position):
    return edit if position == edit.position else new_edit(position, edit.deletes, edit.text, edit.length)


cdef bint splits(StringEdit edit, StringEdit other) noexcept:  # reads fields
    """Whether ``edit`` is a deletion that ``other`` inserts into."""
    return edit.deletes and not other.deletes and edit.position < other.position < edit.position + edit.length


cdef int split_past(list result, StringEdit edit, StringEdit other) except -1:
    """Appends both parts of ``edit``, a deletion that ``other`` inserts into."""
    cdef Py_ssize_t head = other.position - edit.position
    append_edit(result, new_edit(edit.position, True, cut(edit.text, 0, head), head))
    append_edit(
        result, new_edit(edit.position + other.length, True, rest(edit.text, head), edit.length - head)
    )
    return 0


cdef StringEdit edit_past(StringEdit edit, StringEdit other, bint left):
    """``edit`` after ``other``, which does not split it; None when nothing is left of it. ``left``: it wins ties. Raises
    SynclineError(operation_invalid) when both delete at one place and disagree about what is there."""
    cdef Py_ssize_t position = edit.position, at = other.position, end, other_end, low, high
    cdef str kept
    if not other.deletes:
        if edit.deletes:
            return moved(edit, position + other.length) if position >= at else edit
        return moved(edit, position + other.length) if at < position or (at == position and not left) else edit
    other_end = at + other.length
    if position >= other_end:
        return moved(edit, position - other.length)
    if not edit.deletes:
        return moved(edit, min(position, at))
    end = position + edit.length
    if end <= at:
        return edit
    low, high = max(position, at), min(end, other_end)
    if cut(edit.text, low - position, high - position) != cut(other.text, low - at, high - at):
        raise invalid("the text to delete is not what is there")
    if low == position and high == end:
        return None
    kept = spliced(edit.text, low - position, high - position, "")
    return new_edit(min(position, at), True, kept, edit.length - (high - low))


@cython.final
@cython.freelist(16)
@cython.auto_pickle(False)
cdef class EditCrossing:
    """Two lists of edits as they must be made after each other: what ``left`` inserts stands before what ``right`` inserts at the same
    place. In the end ``left`` and ``passed`` are what comes of them.

    O(a x b), where a and b are the edits of each, and as many more as the other one may cut its deletions into. Each edit of ``right``
    walks through all of ``left``. Where it falls apart, its pieces have the rest of ``left`` before them; upstream recurses there, here a
    stack keeps what lies behind, so that no length of input can exhaust any other.
    """

    cdef bint work(self, int64_t *room) except -1:
        """Goes on until ``room`` is used up, as ``COPIED`` says; whether all is done."""
        cdef list left = self.left, walked = self.walked, pieces
        cdef StringEdit walker = self.walker, edit, after
        cdef Py_ssize_t index = self.index
        while True:
            if walked is None:
                if self.next < PyList_GET_SIZE(self.waiting):
                    walker = edit_at(self.waiting, self.next)
                    self.next += 1
                    walked = []
                elif self.behind:
                    walker = None
                    walked, self.waiting, self.next = self.behind.pop()
                else:
                    self.left = left
                    return True
                index = 0
            while index < PyList_GET_SIZE(left):
                if room[0] <= 0:
                    self.left, self.walked, self.walker, self.index = left, walked, walker, index
                    return False
                edit = edit_at(left, index)
                index += 1
                if walker is None:  # nothing is left of it
                    room[0] -= 1 + append_edit(walked, edit) // COPIED
                    continue
                room[0] -= 1 + (edit.length + walker.length) // COPIED
                if splits(edit, walker):
                    split_past(walked, edit, walker)
                else:
                    after = edit_past(edit, walker, True)
                    if after is not None:
                        room[0] -= append_edit(walked, after) // COPIED
                if splits(walker, edit):
                    pieces = []
                    split_past(pieces, walker, edit)
                    self.behind.append((walked, self.waiting, self.next))
                    left, walked, self.waiting, self.next = left[index:], None, pieces, 0
                    break
                walker = edit_past(walker, edit, False)
            else:
                if walker is not None:
                    room[0] -= append_edit(self.passed, walker) // COPIED
                left, walked = walked, None


cdef EditCrossing new_crossing(list left, list right):
    cdef EditCrossing self = EditCrossing.__new__(EditCrossing)
    self.left, self.waiting, self.passed, self.behind = left, right, [], []
    return self
