"""Components and operations of JSON documents: what json0.pyx computes with. Read from JSON, written to it, measured.

A component is one of the five kinds of json/components.pxd at a path; an operation is a list of them. Neither is ever changed once it is
made, so they share paths, values and each other. What is removed (``old``) is what its author says; ``resolve`` puts in what is there.
"""

from cpython.dict cimport PyDict_GetItemWithError
from cpython.list cimport PyList_GET_ITEM
from cpython.long cimport PyLong_AsSsize_t
from cpython.object cimport PyObject
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.string cimport memcmp

cimport cython

from syncline.core.values.json_values cimport LEVELS, check_claim, check_index, check_key, check_value, same_value, size
from syncline.core.ot.components cimport invalid
from syncline.core.values.text0 cimport StringEdit, describe_edits, length_of, new_edit, same_edits

import msgspec

from syncline.core.storage.commits import payload_digest

# Components of one operation, edits of strings counted one by one.
MAX_COMPONENTS = MOST

cdef enum:
    MOST = 1000

# Sorted keys: the same operation gives the same bytes, in whatever order a client writes its objects.
_encoder = msgspec.msgpack.Encoder(order="sorted")
cdef object encode = _encoder.encode


# ---------------------------------------------------------------------------------------------------------- components


@cython.final
@cython.no_gc
@cython.freelist(512)
@cython.auto_pickle(False)
cdef class Component:
    """One change at one place."""


cdef Component new_component(Kind kind, tuple path):
    cdef Component self = Component.__new__(Component)
    self.kind = kind
    self.path = path
    return self


cdef Component copy_of(Component self, tuple path):
    """The same at another path."""
    cdef Component other = Component.__new__(Component)
    other.kind, other.removes, other.puts, other.number = self.kind, self.removes, self.puts, self.number
    other.path, other.edits, other.old, other.new = path, self.edits, self.old, self.new
    return other


cdef Component with_old(Component self, object old):
    """The same, which removes something else."""
    cdef Component other
    if self.old is old:
        return self
    other = copy_of(self, self.path)
    other.old = old
    return other


cdef Component with_edits(Component self, list edits):
    cdef Component other = copy_of(self, self.path)
    other.edits = edits
    return other


cdef Component part_at(list parts, Py_ssize_t index):
    """Without a look at bounds and type."""
    return <Component>PyList_GET_ITEM(parts, index)


cdef Py_ssize_t reach(Component self) noexcept:  # reads fields
    """How many steps of paths lie above what it changes, and one: a text and a number are a step below their place."""
    return PyTuple_GET_SIZE(self.path) + (self.kind == TEXT or self.kind == SUM)


cdef Py_ssize_t index_at(tuple path, Py_ssize_t at) noexcept:  # steps are checked: int below 2^31, or str
    """The index in a path; -1 where there is a key, or no step at all."""
    if at < 0 or at >= PyTuple_GET_SIZE(path):
        return -1
    step = <object>PyTuple_GET_ITEM(path, at)
    return PyLong_AsSsize_t(step) if type(step) is int else -1


cdef object last_step(tuple path):
    """Of a path that has one."""
    return path[PyTuple_GET_SIZE(path) - 1]


cdef bint same_step(object one, object two) noexcept:  # compares str and int, which raises nothing
    cdef Py_ssize_t length
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    if type(one) is int:
        return PyLong_AsSsize_t(one) == PyLong_AsSsize_t(two)
    length = PyUnicode_GET_LENGTH(one)
    return (
        length == PyUnicode_GET_LENGTH(two)
        and PyUnicode_KIND(one) == PyUnicode_KIND(two)
        and memcmp(PyUnicode_DATA(one), PyUnicode_DATA(two), length * PyUnicode_KIND(one)) == 0
    )


cdef bint same_path(tuple one, tuple two) noexcept:  # as same_step
    """From the end: there neighbours differ."""
    cdef Py_ssize_t at = PyTuple_GET_SIZE(one)
    if one is two:
        return True
    if at != PyTuple_GET_SIZE(two):
        return False
    while at:
        at -= 1
        if not same_step(<object>PyTuple_GET_ITEM(one, at), <object>PyTuple_GET_ITEM(two, at)):
            return False
    return True


cdef bint same_component(Component a, Component b) except -1:
    if (a.kind, a.removes, a.puts, a.number) != (b.kind, b.removes, b.puts, b.number) or not same_path(a.path, b.path):
        return False
    if a.kind == TEXT:
        return same_edits(a.edits, b.edits)
    return same_value(a.old, b.old) and same_value(a.new, b.new)


cdef dict describe_component(Component self):
    cdef list path = list(self.path)
    cdef dict told
    if self.kind == TEXT:
        return {"p": path, "t": "text0", "o": describe_edits(self.edits)}
    if self.kind == SUM:
        return {"p": path, "na": self.number}
    if self.kind == MOVE:
        return {"p": path, "lm": self.number}
    told = {"p": path}
    if self.removes:
        told["od" if self.kind == KEY else "ld"] = self.old
    if self.puts:
        told["oi" if self.kind == KEY else "li"] = self.new
    return told


# ----------------------------------------------------------------------------------------------------- from the outside


cdef object item(dict value, str name):
    """What it has under that name, which is there."""
    cdef PyObject *found = PyDict_GetItemWithError(value, name)
    if found == NULL:
        raise wrong_form()
    return <object>found


cdef object wrong_form():
    return invalid("a component has a path p and na, lm, oi, od, li, ld, si, sd, or t and o")


cdef Component parse_component(object value, Py_ssize_t most):
    """Raises SynclineError(operation_invalid)."""
    cdef Component self
    cdef tuple path
    cdef dict given
    cdef bint keyed
    if type(value) is not dict or not 2 <= len(<dict>value) <= 3:
        raise wrong_form()
    given = <dict>value
    path = parse_path(item(given, "p"))
    if len(given) == 2:
        if "na" in given:
            return parse_sum(path, given["na"])
        if "lm" in given:
            require_step(path, False)
            self = new_component(MOVE, path)
            self.number = check_index(given["lm"])
            return self
        if "si" in given or "sd" in given:
            if not path:
                raise invalid("the path of si and sd ends with a position")
            self = new_component(TEXT, path[:PyTuple_GET_SIZE(path) - 1])
            self.edits = parse_edits([{"p": last_step(path), "i" if "si" in given else "d": given["si" if "si" in given else "sd"]}], 1)
            return self
    elif "t" in given:
        if item(given, "t") != "text0":
            raise invalid("the only subtype is text0")
        self = new_component(TEXT, path)
        self.edits = parse_edits(item(given, "o"), most)
        return self
    keyed = "oi" in given or "od" in given
    self = new_component(KEY if keyed else ITEM, path)
    self.removes = ("od" if keyed else "ld") in given
    self.puts = ("oi" if keyed else "li") in given
    if 1 + self.removes + self.puts != len(given):
        raise wrong_form()
    if not keyed or path:
        require_step(path, keyed)
    elif not self.removes or not self.puts:
        raise invalid("the root is replaced: od and oi")
    if self.removes:
        self.old = check_claim(given["od" if keyed else "ld"], PyTuple_GET_SIZE(path))
    if self.puts:
        self.new = check_value(given["oi" if keyed else "li"], PyTuple_GET_SIZE(path))
    return self


cdef int require_step(tuple path, bint keyed) except -1:
    if not path or type(last_step(path)) is not (str if keyed else int):
        raise invalid("the path of oi and od ends with a key, that of li, ld and lm with an index")
    return 0


cdef Component parse_sum(tuple path, object number):
    cdef Component self = new_component(SUM, path)
    number = check_value(number)
    if type(number) is not int:
        raise invalid("na adds an integer of at most 2^53 - 1")
    self.number = number
    return self


cdef tuple parse_path(object value):
    cdef list steps = []
    if type(value) is not list:
        raise invalid("a path is a list of keys and indexes")
    if len(<list>value) > LEVELS:
        raise invalid(f"a path of more than {LEVELS} steps")
    for step in <list>value:
        if type(step) is str:
            check_key(step)
        else:
            check_index(step)
        steps.append(step)
    return tuple(steps)


cdef list parse_edits(object value, Py_ssize_t most):
    cdef list edits = []
    cdef Py_ssize_t length
    cdef bint deletes
    if type(value) is not list:
        raise invalid("o is a list of edits")
    if len(<list>value) > most:
        raise invalid(f"more than {most} components")
    for edit in <list>value:
        if type(edit) is not dict or len(<dict>edit) != 2 or "p" not in <dict>edit or ("i" in <dict>edit) == ("d" in <dict>edit):
            raise invalid("an edit of a string has p and either i or d")
        deletes = "d" in <dict>edit
        text = (<dict>edit)["d" if deletes else "i"]
        if type(text) is not str:
            raise invalid("i and d are strings")
        length = length_of(text)
        if length:
            edits.append(new_edit(check_index((<dict>edit)["p"]), deletes, text, length))
    return edits


cdef Op parse_op(object value, Py_ssize_t most=MOST):
    """Of at most so many components. Raises SynclineError(operation_invalid)."""
    cdef list parts = []
    cdef Component component
    cdef Py_ssize_t count = 0
    if type(value) is Op:
        return value
    if type(value) is not list:
        raise invalid("an operation is a list of components")
    for one in <list>value:
        component = parse_component(one, most)
        count += len(component.edits) if component.kind == TEXT else 1
        if count > most:
            raise invalid(f"more than {most} components")
        if component.kind != TEXT or component.edits:
            parts.append(component)
    return new_op(parts)


# ----------------------------------------------------------------------------------------------------------- splitting


# What an operation, and an edit beside its text, take at most in MessagePack.
cdef enum:
    HEAD_BYTES = 5
    EDIT_BYTES = 16


@cython.final
@cython.auto_pickle(False)
cdef class Packer:
    """Operations that are filled up one after the other."""

    cdef int64_t limit  # bytes
    cdef list pieces    # of Op
    cdef list parts     # of the one that is being filled
    cdef list edits     # of its last part, where that can take more
    cdef object whole   # the component whose edits they are
    cdef int64_t bytes
    cdef Py_ssize_t count

    cdef int start(self) except -1:
        self.pieces = [] if self.pieces is None else self.pieces
        self.parts, self.edits, self.whole = [], None, None
        self.bytes, self.count = HEAD_BYTES, 0
        return 0

    cdef int close(self) except -1:
        if self.parts:
            self.pieces.append(new_op(self.parts))
        return self.start()

    cdef int make_room(self, int64_t bytes) except -1:
        """For one component or edit more."""
        if self.count == MOST or self.bytes + bytes > self.limit:
            self.close()
        return 0

    cdef int put(self, Component component, int64_t bytes) except -1:
        self.parts.append(component)
        self.bytes += bytes
        self.count += 1
        return 0

    cdef int put_edit(self, Component whole, StringEdit edit, int64_t base) except -1:
        cdef int64_t bytes = EDIT_BYTES + len((<str>edit.text).encode())
        self.make_room(bytes + (0 if self.whole is whole else base))
        if self.whole is not whole:
            self.whole, self.edits = whole, []
            self.parts.append(with_edits(whole, self.edits))
            self.bytes += base
        self.edits.append(edit)
        self.bytes += bytes
        self.count += 1
        return 0


cdef list cut_edit(StringEdit edit, int64_t room):
    """The same in edits of at most so many bytes of text, of one character at least."""
    cdef Py_ssize_t wide = 1 if edit.text.isascii() else 1 + PyUnicode_KIND(edit.text)
    cdef Py_ssize_t position = edit.position, at = 0, step, length
    cdef list pieces = []
    cdef str text
    if len(edit.text) <= room and (wide == 1 or len((<str>edit.text).encode()) <= room):
        return [edit]
    step = max(1, room // min(4, wide))
    while at < PyUnicode_GET_LENGTH(edit.text):
        text = edit.text[at:at + step]
        length = length_of(text)
        pieces.append(new_edit(position, edit.deletes, text, length))
        position += 0 if edit.deletes else length
        at += step
    return pieces


# ---------------------------------------------------------------------------------------------------------- operations


# What a transform takes, as measured: a third of a microsecond for each pair of components or edits at most, where the paths are shorter
# than PATH_BYTES; and as much for COPIED_BYTES of a text that is cut or joined. A step of a path counts as 256 bytes of keys.
cdef enum:
    PATH_BYTES = 4096
    STEP_BYTES = 256
    COPIED_BYTES = 400
    CUTS = 64  # of the pieces that deletions may be cut into, so many are counted before it is known by what
    # Edits of one string in several components are joined where they touch, once: each takes that long, and as much for so many bytes of
    # all of them, half of which are copied.
    JOIN = 4
    JOINED_BYTES = 1600

# A place past a component or an edit, in steps of paths that are compared and copied; so many of those take a microsecond.
cdef enum:
    PLACE = 16
    PLACES = 64

cdef int64_t HEAVIEST = 2**40  # no sum of them overflows


cdef int64_t path_bytes(tuple path) noexcept:  # reads strings
    cdef int64_t total = 0
    for step in path:
        total += STEP_BYTES
        if type(step) is str:
            total += PyUnicode_GET_LENGTH(step) * PyUnicode_KIND(step)
    return total


cdef Op new_op(list parts):
    """Takes the list over."""
    cdef Op self = Op.__new__(Op)
    self.parts = parts
    return self


@cython.final
@cython.no_gc
@cython.freelist(64)
@cython.auto_pickle(False)
cdef class Op:
    """An immutable operation on a JSON document, checked and in canonical form. ``json0.parse`` makes it."""

    def __cinit__(self):
        self.parts = []

    @property
    def components(self):
        """As JSON: new lists and objects at each call, but for the values."""
        cdef Component one
        return [describe_component(one) for one in self.parts]

    @property
    def count(self):
        """Components, edits of strings counted one by one."""
        cdef Component one
        cdef Py_ssize_t total = 0
        for one in self.parts:
            total += len(one.edits) if one.kind == TEXT else 1
        return total

    @property
    def places(self):
        """About how many microseconds it takes to move a place past it. O(components)."""
        cdef Component one
        cdef int64_t total = 0
        for one in self.parts:
            total += PLACE * (len(one.edits) if one.kind == TEXT else 1) + PyTuple_GET_SIZE(one.path)
        return 1 + total // PLACES

    @property
    def weight(self):
        """What sums and products of estimate: about thirds of a microsecond that a transform past a single component takes."""
        self.measure()
        return min(self.load + min(self.cuts, CUTS) + (self.load + 1) * self.copied + self.joins, HEAVIEST)

    def cost(self, Op other not None):
        """At most about so many microseconds a transform of one past the other takes, but for what ``victims`` are followed. O(1) once
        both are measured."""
        cdef double one, two, copied, joins
        self.measure()
        other.measure()
        # Each step may copy what the two that meet in it have; texts may grow together step by step.
        one, two = self.load + min(self.cuts, other.inserts), other.load + min(other.cuts, self.inserts)
        copied = self.copied + other.copied
        # What stood between edits of one string may be gone: about as often as the other one has components.
        joins = self.joins + other.joins + min(one, two) * ((self.texts + other.texts) // JOINED_BYTES)
        return 1 + <int64_t>min((one * two + (one + two) * copied + joins) / 3, 1e15)

    cdef int measure(self) except -1:
        """O(operation), once."""
        cdef Component one
        cdef StringEdit edit
        cdef int64_t copied, texts, count, before
        cdef dict strings = {}  # path -> components, edits and bytes of texts
        if self.load:
            return 0
        for one in self.parts:
            self.load += 1 + path_bytes(one.path) // PATH_BYTES
            if one.kind != TEXT:
                continue
            copied = texts = 0
            self.load += len(one.edits) - 1
            for edit in one.edits:
                if edit.deletes:
                    self.cuts += edit.length - 1
                else:
                    self.inserts += 1
                texts += len(edit.text) * PyUnicode_KIND(edit.text)
                if edit.deletes or len(one.edits) > 1:  # one insert alone is only joined to others
                    copied += len(edit.text) * PyUnicode_KIND(edit.text)
            self.copied += copied // COPIED_BYTES
            self.texts += texts
            parts, count, before = strings.get(one.path, (0, 0, 0))
            strings[one.path] = parts + 1, count + len(one.edits), before + texts
        if len(strings) == 1:
            self.texts = 0
        for parts, count, texts in strings.values():
            if parts > 1:
                self.joins += (count - 1) * (JOIN + texts // JOINED_BYTES)
        return 0

    def split(self, int64_t limit):
        """The same in pieces of at most MAX_COMPONENTS and about ``limit`` bytes of encoding, to be done one after the other: between
        components, and between and inside of the edits of a string. What else is larger stays whole. O(operation)."""
        cdef Component one
        cdef StringEdit edit
        cdef int64_t base, room
        cdef Packer packer
        if len(self.parts) == 0 or (self.count <= MOST and len(self.encoding()) <= limit):
            return [self]
        packer = Packer.__new__(Packer)
        packer.limit = limit
        packer.start()
        for one in self.parts:
            base = len(encode(describe_component(one if one.kind != TEXT else with_edits(one, []))))
            if one.kind != TEXT:
                packer.make_room(base)
                packer.put(one, base)
                continue
            room = limit - HEAD_BYTES - base - EDIT_BYTES
            for edit in one.edits:
                for edit in cut_edit(edit, room):
                    packer.put_edit(one, edit, base)
        packer.close()
        return packer.pieces

    @property
    def growth(self):
        """By how much one that tells the truth changes the size of the content."""
        cdef Component one
        cdef StringEdit edit
        cdef int64_t grown = 0
        for one in self.parts:
            if one.kind == TEXT:
                for edit in one.edits:
                    grown += -edit.length if edit.deletes else edit.length
                continue
            if one.kind == KEY and one.path and one.removes != one.puts:
                grown += (length_of(last_step(one.path)) + 3) * (1 if one.puts else -1)
            if one.puts:
                grown += size(one.new)
            if one.removes:
                grown -= size(one.old)
        return grown

    cdef bytes encoding(self):
        if self.encoded is None:
            self.encoded = encode(self.components)
        return self.encoded

    def encode(self):
        """For the log: its JSON as MessagePack, keys sorted."""
        return self.encoding()

    @property
    def digest(self):
        """64 bits of what it does: the same for the same operation sent again."""
        if self.printed is None:
            self.printed = payload_digest(self.encoding())
        return self.printed

    def is_same(self, Op other not None):
        """Whether both do the same, whatever they say is removed."""
        cdef Py_ssize_t index
        cdef Component one
        if len(self.parts) != len(other.parts):
            return False
        for index in range(len(self.parts)):
            one = part_at(other.parts, index)
            if not same_component(with_old(part_at(self.parts, index), one.old), one):
                return False
        return True

    def without_claims(self):
        """The same, which says null of what it removes. O(components)."""
        cdef Component one
        cdef list parts = [with_old(one, None) for one in self.parts]
        cdef Py_ssize_t index
        for index in range(len(parts)):
            if part_at(parts, index) is not part_at(self.parts, index):
                return new_op(parts)
        return self

    def __len__(self):
        """Of components."""
        return len(self.parts)

    def __eq__(self, other):
        cdef Py_ssize_t index
        if type(other) is not Op:
            return NotImplemented
        if len(self.parts) != len((<Op>other).parts):
            return False
        for index in range(len(self.parts)):
            if not same_component(part_at(self.parts, index), part_at((<Op>other).parts, index)):
                return False
        return True

    def __hash__(self):
        return hash(self.encoding())

    def __repr__(self):
        return f"Op({self.components!r})"

    def __reduce__(self):
        return parse_again, (self.components,)


def parse_again(components):
    return parse_op(components, 2**62)  # pickle finds functions by name
