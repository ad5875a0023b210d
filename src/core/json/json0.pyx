"""Operations on JSON values: ShareDB's json0 (npm ``ot-json0`` 1.1), made strict.

An operation is a list of components, done one after the other. Each has a path ``p`` (keys and indexes from the root)
and one of

    na            adds to an integer                 oi, od, oi + od    sets, removes, replaces a key of an object
    lm            moves an element within its list   li, ld, li + ld    inserts, removes, replaces an element of a list
    t: "text0", o  edits a string (see text0.pyx); ``si`` and ``sd`` with a position at the end of the path are the same

The whole document is replaced with ``{"p": [], "od": old, "oi": new}``. Differences from ot-json0, each because the
original lets two ends drift apart, or trusts what it is told:

* a path that leads nowhere, an index past the end, a key that is set although it exists (without ``od``) are refused;
* what ``od`` and ``ld`` say was there is never believed: ``resolve`` puts in what is, and nothing is decided by it before;
* ``na`` adds integers to integers, up to 2^53 - 1: the sum of floats depends on the order of the summands;
* ``si``/``sd`` become ``t``/``o`` at once: the original does not transform one form against the other;
* a number is a finite double (json_values.pyx), so that every language reads the same; ``__proto__`` is no key.

Values and operations are never changed once they are made: ``resolve`` copies what lies on the path (each container once
per operation) and shares the rest, so it is all or nothing. The slow, obvious twin of this module is tests/oracle/json0.py.
"""

from cpython.list cimport PyList_GET_SIZE
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE, PyTuple_New, PyTuple_SET_ITEM
from libc.stdint cimport int64_t

cimport cython

from syncline.core.json.draft cimport Draft, new_draft
from syncline.core.json.components cimport (
    ITEM, KEY, MOVE, SUM, TEXT, Component, Op as Op_, copy_of, index_at, new_component, new_op, parse_op, part_at,
    reach, same_path, same_step, with_edits, with_old,
)
from syncline.core.values.json_values cimport LARGEST
from syncline.core.values.text0 cimport EditCrossing, compose_edits, invert_edits, new_crossing

from syncline.core.errors import SynclineError
from syncline.core.json.diff import diff as diff_components
from syncline.core.json.diff import drift as drift_components
from syncline.core.json.components import MAX_COMPONENTS, Op

# Elements that one operation may move along in lists, and bytes that it may copy in strings (json/draft.pyx): some fifty milliseconds.
MAX_SHIFTED = 50_000_000
# The same, for what a transform may follow of changes in what is removed.
MAX_FOLLOWED = 10_000_000
cdef int64_t VICTIM_ROOM = MAX_FOLLOWED
cdef int64_t NO_END = 2**62

# Pairs of components that pass each other at once where others may work between: a millisecond, about.
cdef int64_t SOME = 3000


def parse(value, bint trusted=False):
    """An operation from outside, checked in one pass and in canonical form; one that is that already. O(operation). ``trusted``: one of
    ours, which may have grown past MAX_COMPONENTS by what others did.

    Raises SynclineError(operation_invalid): wrong shapes, paths and sizes, and as ``check_value``. Whether it fits the document is
    for ``resolve``.
    """
    return parse_op(value, NO_END if trusted else MAX_COMPONENTS)


# --------------------------------------------------------------------------------------------------- apply and friends


def resolve(content, Op_ op not None, room=None):
    """The content after ``op``, and ``op`` with what is really there in its ``od`` and ``ld``. ``room``: MAX_SHIFTED for what is new,
    or None.

    Raises SynclineError (operation_invalid, operation_out_of_range) when it does not fit; nothing has changed then.
    O(components x (path + width of the containers on it)).
    """
    cdef Draft draft = new_draft(content, NO_END if room is None else room)
    cdef list told = []
    cdef Component one, made
    cdef bint same = True
    for one in op.parts:
        made = draft.make(one)
        same = same and made is one
        told.append(made)
    return draft.content(), op if same else new_op(told)


def apply(content, op):
    """The content after ``op``. As ``resolve``."""
    return resolve(content, op)[0]


def invert(op, content):
    """What undoes ``op``, which applies to ``content``. Raises as ``resolve``."""
    return invert_told(resolve(content, op)[1])


def invert_told(Op_ op not None):
    """What undoes an operation that tells the truth, as ``resolve`` gives it. O(components)."""
    cdef Component one
    return new_op([inverse(one) for one in reversed(op.parts)])


cdef Component inverse(Component self):
    cdef Component other
    if self.kind == TEXT:
        return with_edits(self, invert_edits(self.edits))
    if self.kind == MOVE:
        other = at_step(self, PyTuple_GET_SIZE(self.path) - 1, self.number)
        return to_index(other, index_at(self.path, PyTuple_GET_SIZE(self.path) - 1))
    other = copy_of(self, self.path)
    other.number = -self.number
    other.removes, other.puts, other.old, other.new = self.puts, self.removes, self.new, self.old
    return other


def compose(Op_ first not None, Op_ second not None):
    """What ``first`` and then ``second`` do; neighbours that touch the same place become one. O(both)."""
    cdef list result = first.parts[:]
    cdef Component one
    for one in second.parts:
        append(result, one)
    return new_op(result)


cdef int append(list op, Component component) except -1:
    """Adds a component to the end, into the last one where the two are about the same place."""
    cdef Py_ssize_t end = PyList_GET_SIZE(op) - 1
    cdef Component last, both
    cdef list edits
    if end < 0:
        op.append(component)
        return 0
    last = part_at(op, end)
    if not same_path(last.path, component.path):
        op.append(component)
    elif component.kind == TEXT and last.kind == TEXT:
        edits = compose_edits(last.edits, component.edits)
        if edits:
            op[end] = with_edits(component, edits)
        else:
            del op[end]
    elif component.kind == SUM and last.kind == SUM and -LARGEST <= component.number + last.number <= LARGEST:
        both = copy_of(component, component.path)
        both.number += last.number
        op[end] = both
    elif (
        last.kind == ITEM and last.puts and component.kind == ITEM and component.removes and not component.puts
        and type(last.new) is not list and type(last.new) is not dict
    ):
        # Inserted and taken away again; what it had replaced stays away. As upstream: not for containers. What is taken away is what was
        # inserted, whatever ``ld`` says.
        del op[end]
        if last.removes:
            op.append(new_pair(ITEM, last.path, last, None))
    elif last.kind == KEY and last.removes and not last.puts and component.kind == KEY and component.puts and not component.removes:
        op[end] = new_pair(KEY, last.path, last, component)
    elif last.kind == KEY and last.puts and component.kind == KEY and component.removes:
        del op[end]
        if last.removes or component.puts:
            op.append(new_pair(KEY, last.path, last if last.removes else None, component if component.puts else None))
    elif component.kind == MOVE and component.number == index_at(component.path, PyTuple_GET_SIZE(component.path) - 1):
        pass
    else:
        op.append(component)
    return 0


cdef Component new_pair(kind, tuple path, Component removing, Component putting):
    """ITEM or KEY: removes what the one does, and puts what the other does; None: nothing."""
    cdef Component self = new_component(kind, path)
    if removing is not None:
        self.removes, self.old = True, removing.old
    if putting is not None:
        self.puts, self.new = True, putting.new
    return self


def diff(before, after):
    """An operation from ``before`` to ``after`` that keeps what is equal: see json/diff.py."""
    return parse_op(diff_components(before, after))


def drift(before, after):
    """The same, for carrying one's own work over it: of any size, and integers are added to, so that it meets what others add."""
    return parse_op(drift_components(before, after), NO_END)


# ----------------------------------------------------------------------------------------------------------- transform


def transform(Op_ op not None, Op_ other not None, side):
    """``op`` as it must be made after ``other``; both were made on the same content. "left" wins ties.

    In what ``op`` removes (``od``, ``ld``) what ``other`` changes is followed, as far as that is no more work than MAX_FOLLOWED.
    Raises SynclineError(operation_invalid) when they cannot have been. O(components x other's components): see ``Op.cost``.
    """
    if side != "left" and side != "right":
        raise ValueError(f"side must be 'left' or 'right', not {side!r}")
    cdef Crossing both
    cdef int64_t room = NO_END
    if not op.parts or not other.parts:
        return op
    if side == "left":
        both = new_meeting(op.parts, other.parts, True, False)
        both.work(&room)
        return made_of(op, both.left)
    both = new_meeting(other.parts, op.parts, False, True)
    both.work(&room)
    return made_of(op, both.passed)


def crossing(Op_ left not None, Op_ right not None, int64_t room=SOME, bint yields=False):
    """(``left`` after ``right``, ``right`` after ``left``) in parts: ``room``, pairs of components that pass each other at once. As
    ``transform``, but what they say they remove stays as it is: ``resolve`` puts in what is there, and nothing is decided by it.
    ``yields``: a value that both set is the one of ``right``."""
    cdef Crossing both
    if not left.parts or not right.parts:
        return left, right
    both = new_meeting(left.parts, right.parts, False, False)
    both.yields = yields
    while not both.work_some(room):
        yield
    return made_of(left, both.left), made_of(right, both.passed)


cdef Op_ made_of(Op_ op, list parts):
    """``op`` where these are its parts."""
    cdef Py_ssize_t index
    if PyList_GET_SIZE(parts) != PyList_GET_SIZE(op.parts):
        return new_op(parts)
    for index in range(PyList_GET_SIZE(parts)):
        if part_at(parts, index) is not part_at(op.parts, index):
            return new_op(parts)
    return op


@cython.final
@cython.freelist(16)
@cython.auto_pickle(False)
cdef class Crossing:
    """Two lists of components past each other: each one of ``right`` walks through all of ``left``. None falls into pieces. In the end
    ``left`` and ``passed`` are what comes of them. The victims are followed of the one that is asked for."""

    cdef list left
    cdef list passed          # what came through
    cdef list waiting         # what is to go through, from `next` on
    cdef Py_ssize_t next
    cdef Component walker     # what goes through; None: nothing is left of it,
    cdef list walked          # what of `left` it has behind it; None: nothing is on its way,
    cdef Py_ssize_t index     # what it comes to,
    cdef EditCrossing edits   # and the two of them, where both edit one string
    cdef bint left_victims
    cdef bint right_victims
    cdef bint yields          # a value that both set is the right one's
    cdef int64_t victim_room

    cdef bint work_some(self, int64_t room) except -1:
        return self.work(&room)

    cdef bint work(self, int64_t *room) except -1:
        """Goes on until ``room`` is used up: about a third of a microsecond each. Whether all is done."""
        cdef list left = self.left, walked = self.walked
        cdef Component walker = self.walker, one, after
        cdef Py_ssize_t index = self.index
        cdef bint first
        while True:
            if walked is None:
                if self.next == PyList_GET_SIZE(self.waiting):
                    self.left = left
                    return True
                walker = part_at(self.waiting, self.next)
                self.next += 1
                walked = []
                index = 0
            while index < PyList_GET_SIZE(left):
                if room[0] <= 0:
                    self.left, self.walked, self.walker, self.index = left, walked, walker, index
                    return False
                one = part_at(left, index)
                if walker is None:  # nothing is left of it
                    append(walked, one)
                elif one.kind == TEXT and walker.kind == TEXT:
                    if same_path(one.path, walker.path):
                        if self.edits is None:
                            self.edits = new_crossing(one.edits, walker.edits)
                        if not self.edits.work(room):
                            continue
                        one = with_edits(one, self.edits.left)
                        walker = with_edits(walker, self.edits.passed) if self.edits.passed else None
                        self.edits = None
                    if one.edits:
                        append(walked, one)
                else:
                    first = not (self.yields and one.puts and walker.puts and one.kind == walker.kind and same_path(one.path, walker.path)
                                 and (one.kind == KEY or one.removes and walker.removes))
                    after = one
                    if self.left_victims and one.removes:
                        after = with_changed_victim(one, walker, &self.victim_room)
                    after = past(after, walker, first)
                    if after is not None:
                        append(walked, after)
                    after = walker
                    if self.right_victims and walker.removes:
                        after = with_changed_victim(walker, one, &self.victim_room)
                    walker = past(after, one, not first)
                room[0] -= 1
                index += 1
            if walker is not None:
                append(self.passed, walker)
            left, walked = walked, None


cdef Crossing new_meeting(list left, list right, bint left_victims, bint right_victims):
    cdef Crossing self = Crossing.__new__(Crossing)
    self.left, self.waiting, self.passed = left, right, []
    self.left_victims, self.right_victims, self.victim_room = left_victims, right_victims, VICTIM_ROOM
    return self


cdef enum:
    APART = -2
    ROOT = -1


cdef Py_ssize_t operand(Component above, Component below) noexcept:  # compares steps, which raises nothing
    """The step in the path of ``below`` that ``above`` is about: APART when they do not meet."""
    cdef Py_ssize_t last = reach(above) - 1, at
    if last < 0:
        return ROOT
    if last >= reach(below):
        return APART
    for at in range(last):
        if not same_step(<object>PyTuple_GET_ITEM(above.path, at), <object>PyTuple_GET_ITEM(below.path, at)):
            return APART
    return last


cdef bint meets(Component one, Component other, Py_ssize_t at) noexcept:  # as operand
    """Whether both have the same step there; the root has none."""
    cdef Py_ssize_t a = PyTuple_GET_SIZE(one.path), b = PyTuple_GET_SIZE(other.path)
    if at < 0 or at >= a or at >= b:
        return (at < 0 or at >= a) and (at < 0 or at >= b)
    return same_step(<object>PyTuple_GET_ITEM(one.path, at), <object>PyTuple_GET_ITEM(other.path, at))


cdef Component past(Component component, Component other, bint left):
    """``component`` after ``other``, with what it removes as it says; None: nothing is left of it. Not of two edits of strings."""
    cdef Py_ssize_t at = operand(other, component)
    cdef bint same
    if at == APART or other.kind == SUM or other.kind == TEXT:
        return component
    same = reach(component) == reach(other)
    if other.kind == KEY:
        return past_key(component, other, at, same, left)
    if index_at(component.path, at) < 0:
        return component  # not made on one content: ``resolve`` will refuse what comes of it
    if other.kind == MOVE:
        return past_move(component, other, at, same, left)
    if not other.removes:
        return past_insert(component, other, at, same, left)
    return past_replacement(component, other, at, same, left) if other.puts else past_removal(component, other, at, same)


cdef Component with_changed_victim(Component component, Component other, int64_t *room):
    """``component`` removes something: where ``other`` changes that, the changed thing. ``room``: what that may copy goes down in there."""
    cdef Py_ssize_t within
    cdef Draft draft
    if reach(other) <= reach(component):
        return component
    within = operand(component, other)
    if within == APART or not meets(component, other, within):
        return component
    draft = new_draft(component.old, room[0])
    try:
        draft.make(copy_of(other, other.path[PyTuple_GET_SIZE(component.path):]))
        return with_old(component, draft.content())
    except SynclineError:
        return component  # it was not true what it says was there, or there is no room; ``resolve`` puts it right
    finally:
        room[0] = draft.room


cdef Component at_step(Component self, Py_ssize_t at, Py_ssize_t index):
    """The component with another index in its path."""
    cdef Py_ssize_t step, length = PyTuple_GET_SIZE(self.path)
    cdef tuple path
    cdef object item
    if index_at(self.path, at) == index:
        return self
    path = PyTuple_New(length)
    for step in range(length):
        item = index if step == at else <object>PyTuple_GET_ITEM(self.path, step)
        Py_INCREF(item)
        PyTuple_SET_ITEM(path, step, item)
    return copy_of(self, path)


cdef Component to_index(Component self, Py_ssize_t index):
    """A move to another index."""
    cdef Component other
    if self.number == index:
        return self
    other = copy_of(self, self.path)
    other.number = index
    return other


cdef Component past_key(Component component, Component other, Py_ssize_t at, bint same, bint left):
    """``other`` sets, replaces or removes a key, or the root."""
    cdef Component last_word
    if not meets(component, other, at):
        return component
    if not same or component.kind != KEY or not component.puts:
        return None
    if not other.puts:  # removed: only a new value survives
        return new_pair(KEY, component.path, None, component)
    if not left:
        return None
    last_word = new_pair(KEY, component.path, None, component)
    last_word.removes, last_word.old = True, other.new
    return last_word


cdef Component past_insert(Component component, Component other, Py_ssize_t at, bint same, bint left):
    """``other`` inserts an element."""
    cdef Py_ssize_t index = index_at(component.path, at), place = index_at(other.path, at)
    if same and component.kind == ITEM and component.puts and not component.removes and index == place:
        return component if left else at_step(component, at, index + 1)
    if same and component.kind == MOVE and place <= component.number:
        component = to_index(component, component.number + 1)
    return at_step(component, at, index + (place <= index))


cdef Component past_replacement(Component component, Component other, Py_ssize_t at, bint same, bint left):
    """``other`` replaces an element."""
    if index_at(component.path, at) != index_at(other.path, at):
        return component
    if not same:
        return None
    if component.kind != ITEM or not component.removes:
        return component
    # Both take the same element away: one of two new ones stays.
    return with_old(component, other.new) if component.puts and left else None


cdef Component past_removal(Component component, Component other, Py_ssize_t at, bint same):
    """``other`` removes an element."""
    cdef Py_ssize_t index = index_at(component.path, at), place = index_at(other.path, at), to
    if same and component.kind == MOVE:
        if place == index:
            return None
        to = component.number
        if place < to or (place == to and index < to):
            component = to_index(component, to - 1)
    if place == index:
        if not same:
            return None
        if component.kind == ITEM and component.removes:
            return new_pair(ITEM, component.path, None, component) if component.puts else None
    return at_step(component, at, index - (place < index))


cdef Component past_move(Component component, Component other, Py_ssize_t at, bint same, bint left):
    """``other`` moves an element."""
    cdef Py_ssize_t index = index_at(component.path, at), origin = index_at(other.path, at), target = other.number
    if same and component.kind == MOVE:
        return move_past_move(component, other, at, left)
    if same and component.kind == ITEM and component.puts and not component.removes:  # into a gap, which the move may shift
        return at_step(component, at, index - (index > origin) + (index > target))
    return at_step(component, at, carried(index, origin, target))


cdef Py_ssize_t carried(Py_ssize_t index, Py_ssize_t origin, Py_ssize_t target) noexcept:  # arithmetic
    """Where an element is after one was moved."""
    if index == origin:
        return target
    return index - (index > origin) + (index > target or (index == target and origin > target))


cdef Component move_past_move(Component component, Component other, Py_ssize_t at, bint left):
    """Two moves within one list, as ot-json0 has them."""
    cdef Py_ssize_t start = index_at(component.path, at), end = component.number
    cdef Py_ssize_t origin = index_at(other.path, at), target = other.number
    cdef Py_ssize_t index, to = end
    if origin == target:
        return component
    if start == origin:  # the same element: one of them moves it
        return to_index(at_step(component, at, target), target if start == end else end) if left else None
    index = start - (start > origin)
    if start > target:
        index += 1
    elif start == target and origin > target:
        index += 1
        to += start == end
    if end > origin or (end == origin and end > start):
        to -= 1
    if end > target:
        to += 1
    elif end == target:
        if (target > origin and end > start) or (target < origin and end < start):
            to += not left
        elif end > start:
            to += 1
        elif end == origin:
            to -= 1
    return to_index(at_step(component, at, index), to)
