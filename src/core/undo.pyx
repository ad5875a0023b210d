"""Undo and redo for each client of a text document. Sans-I/O; a deterministic fold over the committed entries.

    head <- u[n] <- u[n-1] ... u[1]     one client's stack: each item leads to the text in which the one below applies

An edit of the client at the head puts its inverse, with the deleted text, on top. What another client does to the head
moves the whole path: past the top item, then, as that item sees it, past the next one, and so on (Ressel and
Gunzenhaeuser 1999; the scheme of a linear undo history). The item is always on the left of what others did. So the
context of every item is exact: insert "abc", delete "b", undo, undo gives the empty text, whatever others did between.

Undo is an ordinary operation at the head, made of the top group of items; its inverse goes on the stack of redo, which
works the same way. Only the client's own work is undone: what others deleted meanwhile is gone from the item, what they
wrote inside stays. An item of which nothing is left is passed over.

**Lazy.** What others do is kept once for all clients, in ``log``, without texts; items remember from where on they have
not seen it. Only a request walks it: O(items of the group x steps), and the steps, as the next item sees them, stay
with that item. An edit costs O(1) for others and O(steps since the client's last edit) for a client that goes on typing.

**Deterministic.** Steps are never composed, so it does not matter when an item sees them. Every bound is checked after
a commit, in an order that depends on commits only. So a snapshot followed by the rest of the log gives the stacks that
the whole log gives. An undo that the stacks do not explain (bounds were changed between two runs) empties the client's
stacks.

Groups: typing, or deleting, that goes on where the last edit of the same kind left off within ``group_ms`` is one
group, until a new word begins. Anything else is a group of its own: a paste, a replacement, a restored text.

Bounds: groups of a client; bytes of a document, items and log together; how many revisions back an item may reach. The
oldest groups are dropped, and counted in ``dropped``.
"""

from cpython.unicode cimport Py_UNICODE_ISSPACE, PyUnicode_GET_LENGTH, PyUnicode_KIND
from libc.stdint cimport int64_t, uint8_t

cimport cython

from syncline.core.ot cimport MAX_COMPONENTS, Operation, new_operation
from syncline.core.parts cimport (
    DELETE,
    INSERT,
    MAX_LENGTH,
    RETAIN,
    Part,
    Parts,
    invalid,
    parts_close,
    parts_open,
    parts_push,
)
from syncline.core.steps cimport (
    Source,
    Steps,
    pass_through,
    write_number,
    write_operation,
    write_steps,
    write_text,
)
from syncline.core.window cimport EDIT, REDO, RESTORE, UNDO, read_kind

from syncline.core.errors import SynclineError
from syncline.core.ot import compose

cdef enum:
    CLOSED = 0
    TYPING = 1
    DELETING = 2

cdef uint8_t UNDO_V1 = 1

# More at once is a paste or a selection: a group of its own. A client that waits for an ack sends several keystrokes
# together.
cdef Py_ssize_t MAX_TYPED = 16

# Bounds the work of an undo in a busy document, where every keystroke is an item, and of a key held down.
cdef Py_ssize_t MAX_EDITS = 32

# What an item with its operation occupies beside parts and text, rounded up.
cdef Py_ssize_t ITEM_BYTES = 320

# How often old items and the old end of the log are looked for, in revisions.
cdef int64_t SWEEP = 256

cdef int64_t MAX_COUNT = 9_007_199_254_740_991


# No cycles are possible among these, so the collector need not look at them.
@cython.final
@cython.no_gc
@cython.freelist(64)
cdef class _Item:
    """One step back, or forward again."""


@cython.final
@cython.no_gc
cdef class _Stack:
    """What one client can undo and redo."""


@cython.final
@cython.no_gc
cdef class _Plan:
    """What an undo would do."""


@cython.final
cdef class Undo:
    """The stacks of one document. Numbers count UTF-16 code units."""

    def __init__(
        self,
        *,
        Py_ssize_t groups=100,
        Py_ssize_t max_bytes=4_194_304,
        int64_t history=20_000,
        int64_t group_ms=1000,
    ):
        """``groups``: of one client; 0 keeps nothing at all. ``history``: revisions."""
        self.max_groups = groups
        self.max_bytes = max_bytes
        self.max_history = history
        self.group_ms = group_ms
        self.log = Steps()
        self.stacks = {}

    def __reduce__(self):
        raise TypeError("stacks are not copied; take a snapshot")

    @property
    def bytes(self):
        """About what it occupies in memory; at most ``max_bytes``."""
        return self.occupied + self.log.footprint()

    cdef Undo emptied(self):
        """Another one with the same bounds."""
        cdef Undo other = Undo(
            groups=self.max_groups, max_bytes=self.max_bytes, history=self.max_history, group_ms=self.group_ms
        )
        other.dropped = self.dropped
        return other

    def depth(self, str client not None):
        """(groups to undo, groups to redo): at most so many, as others may have left nothing of one. O(1)."""
        cdef _Stack stack = self.stacks.get(client)
        if stack is None:
            return 0, 0
        return stack.groups, len(stack.redo)

    def operation(self, str client not None, str user not None, kind):
        """What "undo" or "redo" would do at the head, None when there is nothing to do. Changes nothing.

        Raises SynclineError(operation_invalid) when it would have too many components. O(items x steps since).
        """
        cdef uint8_t mark = read_kind(kind)
        if mark != UNDO and mark != REDO:
            raise ValueError("kind must be 'undo' or 'redo'")
        return self.find(client, user, mark)

    def record(
        self,
        str client not None,
        str user not None,
        kind,
        Operation operation not None,
        Operation inverse not None,
        double time=0.0,
    ):
        """The next revision: ``operation`` as it was applied to the head, ``inverse`` is what undoes it there.

        Raises ValueError for operations that count unicode.
        """
        if not operation.utf16 or not inverse.utf16:
            raise ValueError("operations count utf-16 here")
        self.keep(client, user, read_kind(kind), operation, inverse.text, time)

    # ---------------------------------------------------------------------------------------------------- looking

    cdef Operation find(self, str client, str user, uint8_t mark):
        cdef _Plan plan = self.plan(client, user, mark)
        if plan is None:
            return None
        if plan.operation.count > MAX_COMPONENTS:
            raise invalid(f"more than {MAX_COMPONENTS} components")
        self.planned = plan
        return plan.operation

    cdef _Plan plan(self, str client, str user, uint8_t mark):
        """The newest group of which something is left; None without any."""
        cdef _Stack stack = self.stacks.get(client)
        cdef Steps passed = Steps()
        cdef Py_ssize_t index, groups = 0
        cdef int64_t until = self.revision
        cdef list items, result = []
        cdef Operation whole
        cdef _Item item
        cdef _Plan plan
        if stack is None or stack.user != user:
            return None
        items = stack.undo if mark == UNDO else stack.redo
        index = len(items)
        while index:
            whole = None
            while True:
                index -= 1
                item = items[index]
                passed = self.lift(item, until, passed, result)
                until = item.created - 1
                whole = result.pop() if whole is None else compose(whole, result.pop())
                if not item.joins:
                    break
            groups += 1
            if whole.count:
                plan = _Plan.__new__(_Plan)
                plan.client = client
                plan.mark = mark
                plan.revision = self.revision
                plan.operation = whole
                plan.left = index
                plan.groups = groups
                plan.until = until
                plan.passed = passed
                return plan
        return None

    cdef Steps lift(self, _Item item, int64_t until, Steps passed, list result):
        """To ``result`` the item after all that others did; returns that as the item below sees it."""
        cdef Steps out = Steps()
        cdef Operation operation = item.operation
        if item.pending is not None:
            operation = pass_through(operation, item.pending, 0, item.pending.count, out)
        operation = pass_through(operation, self.log, item.at - self.base, until - self.base, out)
        result.append(pass_through(operation, passed, 0, passed.count, out))
        return out

    # --------------------------------------------------------------------------------------------------- recording

    cdef int keep(
        self, str client, str user, uint8_t mark, Operation operation, str removed, double time
    ) except -1:
        """See ``record``; ``removed``: what ``operation`` deletes. Fails only for want of memory: what cannot be undone
        is discarded."""
        cdef _Stack stack
        cdef _Plan plan = self.planned
        if self.max_groups <= 0:
            self.revision += 1
            self.base = self.revision
            return 0
        self.planned = None
        stack = self.stacks.get(client)
        if stack is not None and stack.user != user:
            self.discard(stack)
            stack = None
        try:
            if mark == EDIT or mark == RESTORE:
                if operation.count:
                    if stack is None:
                        stack = self.stacks[client] = _Stack.__new__(_Stack)
                        stack.client = client
                        stack.user = user
                        stack.undo = []
                        stack.redo = []
                    self.edit(stack, operation, removed, kind_of(operation) if mark == EDIT else CLOSED, to_ms(time))
            elif stack is not None:
                if plan is None or plan.client != client or plan.mark != mark or plan.revision != self.revision:
                    plan = self.plan(client, user, mark)  # on loading
                if plan is not None and plan.operation == operation:
                    self.take(stack, plan, inverse_of(operation, removed))
                else:
                    self.discard(stack)
        except SynclineError:
            self.discard(stack)  # lengths that overflow
        # Nobody else's items have to see it when there is nobody else: a single author costs no log.
        if len(self.stacks) > (client in self.stacks):
            self.log.append(operation.parts, operation.count)
        else:
            self.log.append(NULL, 0)
        self.revision += 1
        if not self.stacks:
            self.sweep(0)
        if self.revision % SWEEP == 0:
            self.sweep(self.revision - self.max_history)
        if self.occupied + self.log.footprint() > self.max_bytes:
            self.squeeze()
        return 0

    cdef int edit(self, _Stack stack, Operation operation, str removed, int kind, int64_t time) except -1:
        cdef bint joins = kind != CLOSED and kind == stack.open and self.continues(stack, operation, removed, time)
        cdef bint forward = joins and operation.retained == stack.caret
        cdef _Item top
        cdef str text
        self.cut(stack.redo, 0, len(stack.redo))
        if joins:
            top = stack.undo[len(stack.undo) - 1]
            if top.pending is None and self.log.is_empty(top.at - self.base, self.revision - self.base):
                top.operation = with_inverse(operation, removed, top.operation)
                top.at = self.revision + 1
                self.count(top)
            else:
                self.push(stack.undo, inverse_of(operation, removed), True)
            stack.edits += 1
        else:
            self.push(stack.undo, inverse_of(operation, removed), False)
            stack.groups += 1
            stack.edits = 1
            if stack.groups > self.max_groups:
                self.drop_oldest(stack, stack.undo)
        stack.open = kind
        if kind != CLOSED:
            text = operation.text if kind == TYPING else removed
            # Deleting goes backwards unless it is known to go on at the same place.
            stack.blank = Py_UNICODE_ISSPACE(text[0 if kind == DELETING and not forward else len(text) - 1])
            stack.time = time
            stack.caret = operation.tail()
            stack.caret_at = self.revision + 1
        return 0

    cdef bint continues(self, _Stack stack, Operation operation, str removed, int64_t time) except -1:
        """Whether an edit of the right kind belongs to the open group. Leaves the caret where it is at the head."""
        cdef str text
        if stack.edits >= MAX_EDITS or self.group_ms == 0 or not 0 <= time - stack.time <= self.group_ms:
            return False
        stack.caret = self.log.move(stack.caret, stack.caret_at - self.base, self.revision - self.base)
        stack.caret_at = self.revision
        if stack.open == TYPING:
            text = operation.text
            return operation.retained == stack.caret and not (stack.blank and not Py_UNICODE_ISSPACE(text[0]))
        if operation.retained == stack.caret:
            return not (stack.blank and not Py_UNICODE_ISSPACE(removed[0]))
        return operation.retained + operation.deleted == stack.caret and not (
            stack.blank and not Py_UNICODE_ISSPACE(removed[len(removed) - 1])
        )

    cdef int take(self, _Stack stack, _Plan plan, Operation inverse) except -1:
        """What was planned has been done."""
        cdef list items = stack.undo if plan.mark == UNDO else stack.redo
        cdef _Item top
        cdef Steps pending
        self.cut(items, plan.left, len(items))
        if plan.left:
            top = items[plan.left - 1]
            pending = Steps()
            if top.pending is not None:
                pending.extend(top.pending, 0, top.pending.count)
            pending.extend(self.log, top.at - self.base, plan.until - self.base)
            pending.extend(plan.passed, 0, plan.passed.count)
            top.pending = pending if pending.count else None
            top.at = self.revision + 1
            self.count(top)
        stack.open = CLOSED
        if plan.mark == UNDO:
            stack.groups -= plan.groups
            self.push(stack.redo, inverse, False)
        else:
            self.push(stack.undo, inverse, False)
            stack.groups += 1
        return 0

    # ------------------------------------------------------------------------------------------------------- items

    cdef int push(self, list items, Operation operation, bint joins) except -1:
        cdef _Item item = _Item.__new__(_Item)
        item.operation = operation
        item.created = item.at = self.revision + 1
        item.joins = joins
        items.append(item)
        return self.count(item)

    cdef int count(self, _Item item) except -1:
        """Keeps ``occupied`` right after a change of the item."""
        cdef str text = item.operation.text
        self.occupied -= item.size
        item.size = ITEM_BYTES + item.operation.count * sizeof(Part) + PyUnicode_GET_LENGTH(text) * PyUnicode_KIND(text)
        if item.pending is not None:
            item.size += item.pending.footprint()
        self.occupied += item.size
        return 0

    cdef int cut(self, list items, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Py_ssize_t index
        if start == end:
            return 0
        for index in range(start, end):
            self.occupied -= (<_Item>items[index]).size
        del items[start:end]
        return 0

    cdef int drop_oldest(self, _Stack stack, list items) except -1:
        """The bottom group of a stack that is not empty."""
        cdef Py_ssize_t end = 1
        while end < len(items) and (<_Item>items[end]).joins:
            end += 1
        self.cut(items, 0, end)
        self.dropped += 1
        if items is stack.undo:
            stack.groups -= 1
            if not items:
                stack.open = CLOSED
        if not stack.undo and not stack.redo:
            del self.stacks[stack.client]
        return 0

    cdef int discard(self, _Stack stack) except -1:
        self.dropped += stack.groups + len(stack.redo)
        self.cut(stack.undo, 0, len(stack.undo))
        self.cut(stack.redo, 0, len(stack.redo))
        del self.stacks[stack.client]
        return 0

    cdef int sweep(self, int64_t floor) except -1:
        """Drops what reaches below ``floor``, then the part of the log that no item has to see. O(clients + log)."""
        cdef _Stack stack
        cdef list items
        cdef int64_t lowest = self.revision
        for stack in list(self.stacks.values()):
            for items in (stack.undo, stack.redo):
                while items and (<_Item>items[0]).at < floor:
                    self.drop_oldest(stack, items)
                if items:
                    lowest = min(lowest, (<_Item>items[0]).at)
        self.log.drop(lowest - self.base)
        self.base = lowest
        return 0

    cdef int squeeze(self) except -1:
        """Over the bound on bytes: drops the oldest groups, a quarter at a time, until there is room again."""
        cdef _Stack stack
        cdef _Item item
        cdef list items, oldest
        cdef Py_ssize_t index
        self.sweep(0)
        while self.stacks and self.occupied + self.log.footprint() > self.max_bytes // 4 * 3:
            oldest = []
            for stack in self.stacks.values():
                for items in (stack.undo, stack.redo):
                    oldest += [(item.created, stack, items) for item in items if not item.joins]
            oldest.sort(key=lambda group: group[0])
            for index in range((len(oldest) + 3) // 4):
                self.drop_oldest(<_Stack>oldest[index][1], <list>oldest[index][2])
            self.sweep(0)
        return 0

    # ------------------------------------------------------------------------------------------------- persistence

    def snapshot(self):
        """Everything, for ``restore`` at the same revision; empty when there is nothing. O(size)."""
        cdef bytearray out = bytearray()
        cdef _Stack stack
        if not self.stacks:
            return b""
        out.append(UNDO_V1)
        write_steps(out, self.log, 0)
        write_number(out, len(self.stacks))
        for stack in self.stacks.values():
            write_text(out, stack.client)
            write_text(out, stack.user)
            write_number(out, stack.open)
            if stack.open != CLOSED:
                write_number(out, stack.time)
                write_number(out, stack.caret)
                write_number(out, self.revision - stack.caret_at)
                write_number(out, stack.blank)
                write_number(out, stack.edits)
            write_items(out, stack.undo)
            write_items(out, stack.redo)
        return bytes(out)

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot made at ``revision``. Raises ValueError, and changes nothing, when it is damaged."""
        cdef Undo fresh = Undo()
        if body and self.max_groups > 0:
            try:
                fresh.read(revision, Source(body))
            except SynclineError as error:
                raise ValueError(f"damaged body: {error.message}") from error
        self.revision = revision
        self.base = revision - fresh.log.count
        self.log = fresh.log
        self.stacks = fresh.stacks
        self.occupied = fresh.occupied
        self.planned = None

    cdef int read(self, int64_t revision, Source source) except -1:
        """The part of ``restore`` that fills a new object."""
        cdef _Stack stack
        cdef int64_t count
        if source.number(255) != UNDO_V1:
            raise damaged("stacks of an unknown version")
        self.revision = revision
        self.log = source.steps(revision)
        self.base = revision - self.log.count
        count = source.number(MAX_LENGTH)
        while count:
            count -= 1
            stack = _Stack.__new__(_Stack)
            stack.client = source.text()
            stack.user = source.text()
            stack.open = source.number(DELETING)
            if stack.open != CLOSED:
                stack.time = source.number(MAX_COUNT)
                stack.caret = source.number(MAX_LENGTH)
                stack.caret_at = revision - source.number(self.log.count)
                stack.blank = source.number(1)
                stack.edits = source.number(MAX_LENGTH)
            stack.undo = self.read_items(source)
            stack.redo = self.read_items(source)
            stack.groups = sum([not (<_Item>item).joins for item in stack.undo])
            if stack.client in self.stacks or not (stack.undo or stack.redo) or (stack.open and not stack.undo):
                raise damaged("stacks do not fit together")
            self.stacks[stack.client] = stack
        if source.at != source.end:
            raise damaged("it goes on after the end")
        return 0

    cdef list read_items(self, Source source):
        cdef list items = []
        cdef int64_t count = source.number(MAX_LENGTH), last = 0
        cdef _Item item
        while count:
            count -= 1
            item = _Item.__new__(_Item)
            item.joins = source.number(1)
            item.created = source.number(MAX_COUNT)
            item.at = source.number(MAX_COUNT)
            item.operation = source.operation()
            item.pending = source.steps(MAX_LENGTH)
            if item.pending.count == 0:
                item.pending = None
            if not last < item.created <= item.at <= self.revision or item.at < self.base or (item.joins and not items):
                raise damaged("items do not fit together")
            last = item.at
            items.append(item)
            self.count(item)
        return items


cdef object damaged(str what):
    return ValueError(f"damaged body: {what}")


cdef int write_items(bytearray out, list items) except -1:
    cdef _Item item
    write_number(out, len(items))
    for item in items:
        write_number(out, item.joins)
        write_number(out, item.created)
        write_number(out, item.at)
        write_operation(out, item.operation)
        if item.pending is None:
            write_number(out, 0)
        else:
            write_steps(out, item.pending, 0)
    return 0


cdef Operation inverse_of(Operation operation, str removed):
    """What undoes ``operation``, which deleted ``removed``, in the text after it."""
    cdef Parts parts
    cdef Py_ssize_t index
    cdef int kind
    parts_open(&parts)
    try:
        for index in range(operation.count):
            kind = operation.parts[index].kind
            kind = DELETE if kind == INSERT else INSERT if kind == DELETE else RETAIN
            parts_push(&parts, kind, operation.parts[index].length)
        return new_operation(&parts, removed, True)
    finally:
        parts_close(&parts)


cdef Operation with_inverse(Operation operation, str removed, Operation undo):
    """The inverse of ``operation`` and then ``undo``, which applies where that leads."""
    cdef Parts parts
    if operation.deleted or undo.inserted or undo.count > 2 or operation.retained != undo.base():
        return compose(inverse_of(operation, removed), undo)
    # Typing goes on: what is to be deleted grows at its end.
    parts_open(&parts)
    try:
        parts_push(&parts, RETAIN, undo.retained)
        parts_push(&parts, DELETE, undo.deleted + operation.inserted)
        return new_operation(&parts, "", True)
    finally:
        parts_close(&parts)


cdef int64_t to_ms(double time) noexcept:  # arithmetic
    # As the log keeps it, so that the same groups come out on loading.
    return <int64_t>(time * 1000 + 0.5) if 0 <= time < 9e12 else 0


cdef int kind_of(Operation operation) except -1:
    """TYPING or DELETING for a few characters at one place."""
    if operation.count > 2 or operation.inserted > MAX_TYPED or operation.deleted > MAX_TYPED:
        return CLOSED
    if operation.deleted == 0:
        return TYPING if operation.inserted else CLOSED
    return DELETING if operation.inserted == 0 else CLOSED
