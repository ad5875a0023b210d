"""Places in JSON documents, for cursors: a path, a tuple of keys and indexes from the root, whose last step may be an offset in a string.

A place follows what it points at. Where that is removed it stays where it was: at the index in its list, or at the object that had it.
An insert at an offset leaves the offset (the tie rule); one at an index moves the element that was there, and the place with it.
"""

from syncline.core.json.components cimport KEY, MOVE, SUM, TEXT, Component, Op, index_at, part_at
from syncline.core.values.json_values cimport LEVELS, check_index, check_key
from syncline.core.values.text0 cimport StringEdit, length_of

from syncline.core.errors import ErrorCode, SynclineError

# Keys and indexes from the root.
Place = tuple[str | int, ...]

# Characters of all keys of a place: it is told to everybody, as often as it moves.
MAX_KEYS = 1024


def read(value):
    """A place from outside: a list. Raises SynclineError(invalid_data)."""
    cdef list steps = []
    cdef Py_ssize_t characters = 0
    if type(value) is not list and type(value) is not tuple:
        raise invalid("a position in JSON is a path: a list of keys and indexes")
    if len(value) > LEVELS + 1:
        raise invalid(f"a path of more than {LEVELS} steps")
    for step in value:
        try:
            if type(step) is str:
                steps.append(check_key(step))
                characters += len(<str>step)
            else:
                steps.append(check_index(step))
        except SynclineError as error:
            raise invalid(error.message) from None
    if characters > MAX_KEYS:
        raise invalid(f"a path of more than {MAX_KEYS} characters")
    return tuple(steps)


def check(content, tuple place not None):
    """Raises SynclineError(invalid_data) for a place that ``content`` does not have. O(path + the string at its end)."""
    cdef Py_ssize_t at = 0
    for step in place:
        at += 1
        if type(content) is dict and type(step) is str and step in content:
            content = content[step]
        elif type(content) is list and type(step) is int and step < len(content):
            content = content[step]
        elif type(content) is list and type(step) is int and step == len(content) and at == len(place):
            return
        elif type(content) is str and type(step) is int and step <= length_of(content) and at == len(place):
            return
        else:
            raise invalid("the cursor lies outside of the content")


def move(Op op not None, tuple place not None, bint pushed=False):
    """Where it goes. ``pushed``: also on by what is inserted just at an offset. O(components)."""
    cdef Component part
    for part in op.parts:
        place = past(part, place, pushed)
    return place


cdef tuple past(Component part, tuple place, bint pushed):
    cdef tuple path = part.path
    cdef Py_ssize_t last = len(path) - 1, length = len(place), index, origin
    if part.kind == SUM:
        return place
    if part.kind == TEXT:
        if length == last + 2 and starts_with(place, path, last + 1) and type(place[length - 1]) is int:
            return (*path, offset_after(part.edits, place[length - 1], pushed))
        return place
    if last < 0:  # the root
        return ()
    if length <= last or not starts_with(place, path, last):
        return place
    if part.kind == KEY:
        if place[last] != path[last]:
            return place
        return path if part.puts else path[:last]
    if type(place[last]) is not int:
        return place
    index, origin = place[last], index_at(path, last)
    if part.kind == MOVE:
        return step_to(place, last, carried(index, origin, part.number))
    if part.removes and index == origin:
        return path
    if part.removes and not part.puts:
        return step_to(place, last, index - (origin < index))
    if part.puts and not part.removes:
        return step_to(place, last, index + (origin <= index))
    return place


cdef bint starts_with(tuple place, tuple path, Py_ssize_t steps) except -1:
    cdef Py_ssize_t at
    for at in range(steps):
        if type(place[at]) is not type(path[at]) or place[at] != path[at]:
            return False
    return True


cdef tuple step_to(tuple place, Py_ssize_t at, Py_ssize_t step):
    return (*place[:at], step, *place[at + 1 :])


cdef Py_ssize_t carried(Py_ssize_t index, Py_ssize_t origin, Py_ssize_t target) noexcept:  # arithmetic
    """Where an element is after one was moved."""
    if index == origin:
        return target
    return index - (index > origin) + (index > target or (index == target and origin > target))


cdef Py_ssize_t offset_after(list edits, Py_ssize_t offset, bint pushed) except -1:
    cdef StringEdit edit
    for edit in edits:
        if edit.position < offset or (pushed and edit.position == offset):
            if edit.deletes:
                offset -= min(edit.length, offset - edit.position)
            else:
                offset += edit.length
    return offset


def end(Op op not None):
    """Behind the last edit of a string; None: the operation ends with something else."""
    cdef Component part
    cdef StringEdit edit
    if not op.parts:
        return None
    part = part_at(op.parts, len(op.parts) - 1)
    if part.kind != TEXT or not part.edits:
        return None
    edit = part.edits[len(part.edits) - 1]
    return (*part.path, edit.position + (0 if edit.deletes else edit.length))


def stroke(Op op not None):
    """(place, text) of one that inserts a text into one string and does nothing else; None: it is another one."""
    cdef Component part
    cdef StringEdit edit
    if len(op.parts) != 1:
        return None
    part = part_at(op.parts, 0)
    if part.kind != TEXT or len(part.edits) != 1:
        return None
    edit = part.edits[0]
    return None if edit.deletes else ((*part.path, edit.position), edit.text)


cdef object invalid(str what):
    return SynclineError(ErrorCode.INVALID_DATA, what)
