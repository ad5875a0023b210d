"""Composing a whole history into one operation.

Composing is associative, so a balanced tree of it does: O(n log n) parts in all, where a left fold walks the whole
composite for each operation. Runs of typing are joined before they become leaves, which makes of most histories a small
tree.
"""

from cpython.unicode cimport PyUnicode_DATA, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free

from syncline.core.ot.ot cimport Operation, new_operation, unit_is_utf16
from syncline.core.ot.components cimport (
    DELETE, INSERT, RETAIN, Part, Parts, Points, Source, compose_parts, parts_close, parts_open, parts_push,
    points_close, points_copy, points_open, points_text,
)

from syncline.core.ot.ot import Operation as _Operation


cdef struct Composite:
    Parts parts
    Points text
    bint wide        # a character above U+FFFF may be in it
    Composite *next  # in the list of free ones


cdef struct Forge:
    Composite *levels[64]  # a binary counter: level i is NULL or the composite of about 2^i runs, older than those below
    Composite *free
    bint utf16


cdef Composite *forge_take(Forge *self) except NULL:
    cdef Composite *made = self.free
    if made != NULL:
        self.free = made.next
        made.parts.count = made.text.count = 0
        made.wide = False
        return made
    made = <Composite *>calloc(1, sizeof(Composite))
    if made == NULL:
        raise MemoryError()
    parts_open(&made.parts)
    points_open(&made.text)
    return made


cdef void forge_give(Forge *self, Composite *done) noexcept:  # links it into a list
    if done != NULL:
        done.next = self.free
        self.free = done


cdef void forge_close(Forge *self) noexcept:  # only frees
    cdef Composite *one
    cdef int level
    for level in range(64):
        forge_give(self, self.levels[level])
    while self.free != NULL:
        one = self.free
        self.free = one.next
        parts_close(&one.parts)
        points_close(&one.text)
        free(one)


cdef Source composite_source(const Composite *self) noexcept:  # copies fields
    cdef Source source
    source.parts = self.parts.items
    source.count = self.parts.count
    source.data = self.text.items
    source.length = self.text.count
    source.kind = 4
    source.wide = self.wide
    return source


cdef Composite *forge_join(Forge *self, Composite *first, Composite *second) except NULL:
    """Their composite; both are free again. When it raises, they are too."""
    cdef Composite *result = NULL
    cdef Source before = composite_source(first), after = composite_source(second)
    try:
        result = forge_take(self)
        compose_parts(&before, &after, self.utf16, &result.parts, &result.text)
        result.wide = first.wide or second.wide
        return result
    except:
        forge_give(self, result)
        raise
    finally:
        forge_give(self, first)
        forge_give(self, second)


cdef int forge_push(Forge *self, Composite *run) except -1:
    """Takes over the next one."""
    cdef Composite *older
    cdef int level = 0
    while self.levels[level] != NULL:
        older = self.levels[level]
        self.levels[level] = NULL
        run = forge_join(self, older, run)
        level += 1
    self.levels[level] = run
    return 0


cdef bint join_run(Composite *run, Operation operation) except -1:
    """Whether ``operation``, one splice, could be joined to ``run``, which is one: typed on, or deleted on. Exactly
    what composing would make of the two.
    """
    cdef int64_t at = 0, inserted = 0, deleted = 0, position = 0
    cdef Py_ssize_t index = 0
    cdef const Part *parts = run.parts.items
    if run.wide or operation.count > 2 or PyUnicode_KIND(operation.text) == 4:
        return False
    if run.parts.count > 3 or operation.count == 0:
        return operation.count == 0
    if run.parts.count == 0:
        return False
    if parts[0].kind == RETAIN:
        at = parts[0].length
        index = 1
    if index < run.parts.count and parts[index].kind == INSERT:
        inserted = parts[index].length
        index += 1
    if index < run.parts.count and parts[index].kind == DELETE:
        deleted = parts[index].length
        index += 1
    if index < run.parts.count:
        return False
    index = 0
    if operation.parts[0].kind == RETAIN:
        position = operation.parts[0].length
        index = 1
    if operation.count > index + 1:
        return False
    if operation.parts[index].kind == INSERT:
        if position != at + inserted:
            return False
        points_copy(
            &run.text, PyUnicode_KIND(operation.text), PyUnicode_DATA(operation.text), 0,
            PyUnicode_GET_LENGTH(operation.text),
        )
        inserted += operation.inserted
    elif position == at + inserted:
        deleted += operation.deleted
    elif position >= at and position + operation.deleted == at + inserted:
        inserted -= operation.deleted
        run.text.count -= operation.deleted
    elif inserted == 0 and position + operation.deleted == at:
        at = position
        deleted += operation.deleted
    else:
        return False
    run.parts.count = 0
    parts_push(&run.parts, RETAIN, at)
    parts_push(&run.parts, INSERT, inserted)
    parts_push(&run.parts, DELETE, deleted)
    return True


def compose_all(operations, unit="utf-16"):
    """One operation that does what all of them do, one after the other: the left fold of ``compose``, in a balanced
    tree. O(parts log operations); runs of typing cost their length.

    ``unit`` is what the operations count. Raises ValueError for another, SynclineError(operation_invalid) when one
    splits a pair that an earlier one inserts, or a length is over 2^31 - 1.
    """
    cdef Forge forge
    cdef Operation operation
    cdef Composite *run = NULL
    cdef Composite *total = NULL
    cdef Composite *older
    cdef Composite *newer
    cdef Py_ssize_t index
    cdef int level
    forge.utf16 = unit_is_utf16(unit)
    forge.free = NULL
    for level in range(64):
        forge.levels[level] = NULL
    try:
        for item in operations:
            if type(item) is not Operation:
                raise TypeError("operations are composed")
            operation = item
            if operation.utf16 != forge.utf16:
                raise ValueError("the operations count different units")
            if run != NULL:
                if join_run(run, operation):
                    continue
                older = run
                run = NULL
                forge_push(&forge, older)
            run = forge_take(&forge)
            for index in range(operation.count):
                parts_push(&run.parts, operation.parts[index].kind, operation.parts[index].length)
            run.wide = PyUnicode_KIND(operation.text) == 4
            points_copy(
                &run.text, PyUnicode_KIND(operation.text), PyUnicode_DATA(operation.text), 0,
                PyUnicode_GET_LENGTH(operation.text),
            )
        total = run
        run = NULL
        for level in range(64):
            older = forge.levels[level]
            if older == NULL:
                continue
            forge.levels[level] = NULL
            if total == NULL:
                total = older
                continue
            newer = total
            total = NULL  # forge_join gives both back, whatever happens
            total = forge_join(&forge, older, newer)
        if total == NULL:
            return _Operation([], unit)
        return new_operation(&total.parts, points_text(&total.text), forge.utf16)
    finally:
        forge_give(&forge, run)
        forge_give(&forge, total)
        forge_close(&forge)
