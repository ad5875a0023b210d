"""A JSON document while an operation is made on it: what lies on a path is copied once, the rest is shared."""

from cpython.unicode cimport PyUnicode_KIND
from libc.stdint cimport int64_t

cimport cython

from syncline.core.json.components cimport KEY, MOVE, SUM, TEXT, Component, same_path, with_old
from syncline.core.values.json_values cimport LARGEST
from syncline.core.ot.components cimport invalid, out_of_range
from syncline.core.text.text cimport Text
from syncline.core.values.text0 cimport apply_edits, edit_text, is_long

# To copy an element counts as much as to move so many along.
cdef enum:
    COPYING = 8


cdef object lookup(object node, object key):
    """What a container holds at ``key``. Raises SynclineError."""
    if type(node) is dict:
        if type(key) is not str or key not in <dict>node:
            raise invalid("a path leads to a key that is not there")
        return (<dict>node)[key]
    if type(key) is not int:
        raise invalid("the elements of a list have indexes")
    if key >= len(<list>node):
        raise out_of_range("an index past the end of its list")
    return (<list>node)[key]


cdef Draft new_draft(object content, int64_t room):
    """``room``: how many elements may be moved along in lists, and bytes of strings copied that are edited: about a nanosecond each."""
    cdef Draft self = Draft.__new__(Draft)
    self.holder = {"": content}
    self.fresh = {}
    self.room = room
    return self


@cython.final
@cython.auto_pickle(False)
cdef class Draft:
    """A document that is being changed: containers are copied when they are first written to."""

    cdef object content(self):
        self.settle()
        return self.holder[""]

    cdef Component make(self, Component component):
        """Does it; it as it is to be told: with what is really there in what it removes.

        Raises SynclineError (operation_invalid, operation_out_of_range) when it does not fit; the draft is spoilt then.
        """
        cdef Py_ssize_t at, to
        cdef list items
        if component.kind == TEXT:
            self.edit(component)
            return component
        self.settle()
        self.find(component.path)
        if component.kind == SUM:
            number = lookup(self.node, self.key)
            if type(number) is not int or not -LARGEST <= number + component.number <= LARGEST:
                raise invalid("na where there is no integer, or beyond 2^53 - 1")
            self.node[self.key] = number + component.number
            return component
        if component.kind == KEY:
            return self.make_key(component)
        if type(self.node) is not list:
            raise invalid("li, ld and lm are for lists")
        items, at = self.node, self.key
        there = lookup(items, self.key) if component.kind == MOVE or component.removes else None
        if component.kind == MOVE:
            to = component.number
            if to >= len(items):
                raise out_of_range("an index past the end of its list")
            self.use(len(items))
            del items[at]
            items.insert(to, there)
            return component
        if not component.removes:
            if at > len(items):
                raise out_of_range("an index past the end of its list")
            self.use(len(items))
            items.insert(at, component.new)
            return component
        if component.puts:
            items[at] = component.new
        else:
            self.use(len(items))
            del items[at]
        return with_old(component, there)

    cdef Component make_key(self, Component component):
        cdef dict values
        if type(self.node) is not dict:
            raise invalid("oi and od are for objects")
        values = self.node
        if not component.removes:
            if self.key in values:
                raise invalid("oi without od where the key exists")
            values[self.key] = component.new
            return component
        there = lookup(values, self.key)
        if component.puts:
            values[self.key] = component.new
        else:
            del values[self.key]
        return with_old(component, there)

    cdef int find(self, tuple path) except -1:
        """Leaves in ``node`` and ``key`` what holds the place that ``path`` names. The root is held under ""."""
        cdef object node = self.holder, key = "", child
        for step in path:
            child = lookup(node, key)
            if type(child) is not dict and type(child) is not list:
                raise invalid("a path leads through what is no container")
            if <size_t><void *>child not in self.fresh:
                self.use(COPYING * len(child))
                child = child.copy()
                self.fresh[<size_t><void *>child] = child
                node[key] = child
            node, key = child, step
        self.node, self.key = node, key
        return 0

    cdef int edit(self, Component component) except -1:
        """Edits a string; a long one is written back when something else is to be changed: O(text) once for many edits of it."""
        cdef str text
        if self.path is not None and same_path(component.path, self.path):
            return edit_text(self.text, component.edits)
        self.settle()
        self.find(component.path)
        there = lookup(self.node, self.key)
        if type(there) is not str:
            raise invalid("text is edited where there is none")
        text = there
        self.use(len(text) * PyUnicode_KIND(text))
        if not is_long(text, component.edits):
            self.node[self.key] = apply_edits(text, component.edits)
            return 0
        self.path, self.text_node, self.text_key, self.text = component.path, self.node, self.key, Text(text)
        return edit_text(self.text, component.edits)

    cdef int settle(self) except -1:
        """Before anything else is looked at or changed."""
        if self.path is not None:
            self.text_node[self.text_key] = str(self.text)
            self.path = self.text_node = self.text_key = self.text = None
        return 0

    cdef int use(self, Py_ssize_t amount) except -1:
        """So much is moved along. Raises SynclineError(operation_invalid) when that is too much for one operation."""
        self.room -= amount
        if self.room < 0:
            raise invalid("too many changes of what is so long")
        return 0
