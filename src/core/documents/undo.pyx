"""Undo and redo for each client of a document. Sans-I/O; a deterministic fold over the committed operations.

    head <- u[n] <- u[n-1] ... u[1]     one client's stack: each item leads to the content in which the one below applies

An edit of the client at the head puts its inverse on top. What another client does to the head moves the whole path: past the top
item, then, as that item sees it, past the next one, and so on (Ressel and Gunzenhaeuser 1999; the scheme of a linear undo
history). The item is always on the left of what others did, but a value that both set is theirs. So the context of every item is
exact: insert "abc", delete "b", undo, undo gives the empty text, whatever others did between.

Undo is an ordinary operation at the head, made of the top group of items; its inverse goes on the stack of redo, which
works the same way. Only the client's own work is undone: what others deleted meanwhile is gone from the item, what they
wrote inside stays. An item of which nothing is left is passed over.

**Lazy.** What others do is kept once for all clients, in ``log`` (undo_log.pyx: what this fold knows of a type of documents); items
remember from where on they have not seen it. Only a request walks it: O(items of the group x steps), beside the event loop where
a type says that it takes long, and the steps, as the next item sees them, stay with that item. An edit costs O(1) for others and
O(steps since the client's last edit) for a client that goes on typing.

**Deterministic.** Looking changes nothing, steps are never composed, so it does not matter when an item sees them. Every bound is
checked after a commit, in an order that depends on commits only. So a snapshot followed by the rest of the log gives the stacks that
the whole log gives. An undo that the stacks do not explain (bounds were changed between two runs) empties the client's
stacks.

Groups: typing, or deleting, that goes on where the last edit of the same kind left off within ``group_ms`` is one
group, until a new word begins. Anything else is a group of its own: a paste, a replacement, a restored content.

Bounds: groups of a client; bytes of a document, items and log together; how many revisions back an item may reach. The
oldest groups are dropped, and counted in ``dropped``.
"""

from libc.stdint cimport int64_t, uint8_t

cimport cython

from syncline.core.storage.record_format cimport Writer, damaged
from syncline.core.ot.components cimport MAX_LENGTH
from syncline.core.documents.undo_log cimport CLOSED, DELETING, TYPING, Source, Stroke, UndoLog
from syncline.core.storage.window cimport EDIT, REDO, RESTORE, UNDO, read_kind

from syncline.core.errors import Laborious, SynclineError

cdef uint8_t UNDO_V1 = 1

# What a body of earlier versions, of another type than text, begins with: a MessagePack array. What could be undone then is let go.
cdef uint8_t EARLIER = 0x93

# Bounds the work of an undo in a busy document, where every keystroke is an item, and of a key held down.
cdef Py_ssize_t MAX_EDITS = 32

# How often old items and the old end of the log are looked for, in revisions.
cdef int64_t SWEEP = 256

# What one request may cost in all, and at once, in microseconds.
MAX_COST = 200_000
QUICK = 2_000

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

    cdef _Item top(self):
        """The next item that goes; None: it is made."""
        if self.operation is not None or self.left == 0:
            return None
        return self.items[self.left - 1]

    cdef bint answers(self, str client, str user, uint8_t mark, int64_t revision) except -1:
        return self.revision == revision and self.mark == mark and self.client == client and self.user == user


@cython.final
cdef class Undo:
    """The stacks of one document."""

    def __init__(
        self,
        UndoLog log not None,
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
        self.log = log
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
            self.log.emptied(),
            groups=self.max_groups,
            max_bytes=self.max_bytes,
            history=self.max_history,
            group_ms=self.group_ms,
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

        Raises SynclineError(operation_invalid) when it would be too large or take too long, Laborious. O(items x steps since).
        """
        cdef uint8_t mark = read_kind(kind)
        if mark != UNDO and mark != REDO:
            raise ValueError("kind must be 'undo' or 'redo'")
        return self.find(client, user, mark)

    def record(
        self, str client not None, str user not None, kind, operation not None, inverse not None, double time=0.0
    ):
        """The next revision: ``operation`` as it was applied to the head, ``inverse`` is what undoes it there. Raises ValueError where
        ``inverse`` cannot be."""
        self.keep(client, user, read_kind(kind), True, operation, self.log.undoing(operation, inverse), -1, time)

    # ---------------------------------------------------------------------------------------------------- looking

    cdef object find(self, str client, str user, uint8_t mark):
        cdef _Plan plan = self.plan(client, user, mark, True)
        if plan.operation is not None:
            self.log.check(plan.operation)
        return plan.operation

    cdef _Plan plan(self, str client, str user, uint8_t mark, bint quick):
        """What was planned for the head, or is planned now: the newest group of which something is left. ``quick``: raises Laborious where
        that takes long."""
        cdef _Plan plan = self.planned
        cdef _Stack stack
        if plan is not None and plan.answers(client, user, mark, self.revision):
            return plan
        stack = self.stacks.get(client)
        plan = _Plan.__new__(_Plan)
        plan.client = client
        plan.user = user
        plan.mark = mark
        plan.revision = plan.until = self.revision
        plan.passed = self.log.emptied()
        if stack is not None and stack.user == user:
            plan.items = stack.undo if mark == UNDO else stack.redo
            plan.left = len(plan.items)
        if not self.make(plan):
            budget = [MAX_COST]
            steps = self._planning(plan, budget)
            for _ in steps:
                if quick and budget[0] < MAX_COST - QUICK:
                    raise Laborious(steps, MAX_COST)
        self.planned = plan
        return plan

    cdef bint make(self, _Plan plan) except -1:
        """As far as it is known to be quick; whether that is all. A generator would cost more than most undos of texts."""
        cdef _Item item
        cdef UndoLog out
        cdef int64_t quick = QUICK, left = quick
        while (item := plan.top()) is not None:
            left -= self.log.labour(item.operation, item.pending, item.at - self.base, plan.until - self.base, plan.passed)
            if left < 0:
                return False
            plan.cost = quick - left
            plan.left -= 1
            out = self.log.emptied()
            lifted = item.operation
            if item.pending is not None:
                lifted = self.log.lift(lifted, item.pending, 0, item.pending.count, out)
            lifted = self.log.lift(lifted, self.log, item.at - self.base, plan.until - self.base, out)
            self.add(plan, item, self.log.lift(lifted, plan.passed, 0, plan.passed.count, out), out)
        return True

    def _planning(self, _Plan plan, list budget):
        """``make`` in parts, between which others may work, but not on this document."""
        cdef _Item item
        cdef UndoLog out
        whole = budget[0] + plan.cost
        while (item := plan.top()) is not None:
            plan.left -= 1
            out = self.log.emptied()
            lifted = item.operation
            if item.pending is not None:
                lifted = yield from self.log.lifting(lifted, item.pending, 0, item.pending.count, out, budget)
            lifted = yield from self.log.lifting(
                lifted, self.log, item.at - self.base, plan.until - self.base, out, budget
            )
            lifted = yield from self.log.lifting(lifted, plan.passed, 0, plan.passed.count, out, budget)
            self.add(plan, item, lifted, out)
            if plan.top() is not None:
                yield
        plan.cost = whole - budget[0]
        self.planned = plan

    def planning(self, str client not None, str user not None, uint8_t mark):
        """What the log says was done next is planned in parts, between which others may work, but not on this document."""
        cdef _Stack stack = self.stacks.get(client)
        if stack is None or (mark != UNDO and mark != REDO):
            return
        try:
            try:
                self.plan(client, user, mark, True)
            except Laborious as needs:
                yield from needs.steps
        except SynclineError:  # bounds were changed between two runs
            self.discard(stack)

    cdef int add(self, _Plan plan, _Item item, object lifted, UndoLog passed) except -1:
        """The next item of a plan: ``lifted`` after all that others did, which is ``passed`` as the item below sees it."""
        plan.whole = lifted if plan.whole is None else self.log.compose(plan.whole, lifted)
        plan.passed = passed
        plan.until = item.created - 1
        if item.joins:
            return 0
        plan.groups += 1
        if not self.log.is_identity(plan.whole):
            plan.operation = plan.whole
        plan.whole = None
        return 0

    # --------------------------------------------------------------------------------------------------- recording

    cdef int keep(
        self,
        str client,
        str user,
        uint8_t mark,
        bint undoable,
        object operation,
        object undoing,
        Py_ssize_t size,
        double time,
    ) except -1:
        """See ``record``; ``undoing`` and ``size`` as the log has them. What is not ``undoable`` is for the client's own items, too, as if
        somebody else had done it. Fails only for want of memory: what cannot be undone is discarded."""
        cdef _Stack stack
        cdef Py_ssize_t others
        if self.max_groups <= 0:
            self.revision += 1
            self.base = self.revision
            return 0
        stack = self.stacks.get(client)
        if stack is not None and stack.user != user:
            self.discard(stack)
            stack = None
        try:
            if mark == EDIT or mark == RESTORE:
                if not self.log.changes(operation, undoing):
                    operation = None  # nobody has to see it, and nobody yields to it
                elif undoable:
                    if stack is None:
                        stack = self.stacks[client] = _Stack.__new__(_Stack)
                        stack.client = client
                        stack.user = user
                        stack.undo = []
                        stack.redo = []
                    self.edit(stack, operation, undoing, mark == EDIT, to_ms(time))
            elif stack is not None:
                self.take(stack, mark, operation, undoing)
        except SynclineError:  # lengths that overflow, or too much work
            if stack is not None and client in self.stacks:
                self.discard(stack)
        self.planned = None
        # Nobody else's items have to see it when there is nobody else: a single author costs no log.
        others = len(self.stacks)
        if others == 1 and undoable and client in self.stacks:
            others = 0
        self.log.append(operation if others else None, size)
        self.revision += 1
        if not self.stacks:
            self.sweep(0)
        if self.revision % SWEEP == 0:
            self.sweep(self.revision - self.max_history)
        if self.occupied + self.log.footprint() > self.max_bytes:
            self.squeeze()
        return 0

    cdef int edit(self, _Stack stack, object operation, object undoing, bint may_join, int64_t time) except -1:
        cdef Stroke stroke
        cdef bint joins = False, forward
        cdef object spot = None
        cdef _Item top
        stroke.kind = CLOSED
        if may_join:
            spot = self.log.stroke(operation, undoing, &stroke)
            joins = stroke.kind != CLOSED and stroke.kind == stack.open and self.continues(stack, spot, &stroke, time)
        forward = joins and stroke.at == stack.caret
        self.cut(stack.redo, 0, len(stack.redo))
        if joins:
            top = stack.undo[len(stack.undo) - 1]
            if top.pending is None and self.log.is_empty(top.at - self.base, self.revision - self.base):
                top.operation = self.log.grown(operation, undoing, top.operation)
                top.at = self.revision + 1
                self.count(top)
            else:
                self.push(stack.undo, self.log.inverse(operation, undoing), True)
            stack.edits += 1
        else:
            self.push(stack.undo, self.log.inverse(operation, undoing), False)
            stack.groups += 1
            stack.edits = 1
            if stack.groups > self.max_groups:
                self.drop_oldest(stack, stack.undo)
        stack.open = stroke.kind
        if stroke.kind != CLOSED:
            # Deleting goes backwards unless it is known to go on at the same place.
            stack.blank = stroke.first_blank if stroke.kind == DELETING and not forward else stroke.last_blank
            stack.time = time
            stack.spot = spot
            stack.caret = stroke.at + stroke.length if stroke.kind == TYPING else stroke.at
            stack.caret_at = self.revision + 1
        return 0

    cdef bint continues(self, _Stack stack, object spot, const Stroke *stroke, int64_t time) except -1:
        """Whether an edit of the right kind belongs to the open group. Leaves the caret where it is at the head."""
        if stack.edits >= MAX_EDITS or self.group_ms == 0 or not 0 <= time - stack.time <= self.group_ms:
            return False
        stack.spot = self.log.move(stack.spot, &stack.caret, stack.caret_at - self.base, self.revision - self.base)
        stack.caret_at = self.revision
        if spot is not stack.spot and spot != stack.spot:
            return False
        if stroke.at == stack.caret:
            return not (stack.blank and not stroke.first_blank)
        return (
            stroke.kind == DELETING
            and stroke.at + stroke.length == stack.caret
            and not (stack.blank and not stroke.last_blank)
        )

    cdef int take(self, _Stack stack, uint8_t mark, object operation, object undoing) except -1:
        """What was planned has been done."""
        cdef _Plan plan = self.plan(stack.client, stack.user, mark, False)  # on loading it was not planned before
        cdef list items = stack.undo if mark == UNDO else stack.redo
        cdef _Item top
        cdef UndoLog pending
        if plan.operation is None or not self.log.is_same(plan.operation, operation):
            return self.discard(stack)
        self.labour += plan.cost
        self.cut(items, plan.left, len(items))
        if plan.left:
            top = items[plan.left - 1]
            pending = self.log.emptied()
            if top.pending is not None:
                pending.extend(top.pending, 0, top.pending.count)
            pending.extend(self.log, top.at - self.base, plan.until - self.base)
            pending.extend(plan.passed, 0, plan.passed.count)
            top.pending = pending if pending.count else None
            top.at = self.revision + 1
            self.count(top)
        stack.open = CLOSED
        if mark == UNDO:
            stack.groups -= plan.groups
            self.push(stack.redo, self.log.inverse(operation, undoing), False)
        else:
            self.push(stack.undo, self.log.inverse(operation, undoing), False)
            stack.groups += 1
        return 0

    # ------------------------------------------------------------------------------------------------------- items

    cdef int push(self, list items, object operation, bint joins) except -1:
        cdef _Item item = _Item.__new__(_Item)
        item.operation = operation
        item.created = item.at = self.revision + 1
        item.joins = joins
        items.append(item)
        return self.count(item)

    cdef int count(self, _Item item) except -1:
        """Keeps ``occupied`` right after a change of the item."""
        self.occupied -= item.size
        item.size = 0
        item.size = self.log.weigh(item.operation)
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
        cdef Writer out = Writer()
        cdef _Stack stack
        if not self.stacks:
            return b""
        out.varint(UNDO_V1)
        self.log.write(out)
        out.varint(len(self.stacks))
        for stack in self.stacks.values():
            out.text(stack.client)
            out.text(stack.user)
            out.varint(stack.open)
            if stack.open != CLOSED:
                out.varint(stack.time)
                self.log.write_spot(out, stack.spot)
                out.varint(stack.caret)
                out.varint(self.revision - stack.caret_at)
                out.varint(stack.blank)
                out.varint(stack.edits)
            self.write_items(out, stack.undo)
            self.write_items(out, stack.redo)
        return out.content()

    def restore(self, int64_t revision, bytes body not None):
        """Takes over a snapshot made at ``revision``. Raises ValueError, and changes nothing, when it is damaged."""
        cdef Undo fresh = self.emptied()
        fresh.revision = fresh.base = revision
        if body and self.max_groups > 0 and (<const unsigned char *>body)[0] != EARLIER:
            try:
                fresh.read(revision, Source(body))
            except (SynclineError, RecursionError) as error:
                raise ValueError(f"damaged body: {error}") from error
        self.revision = revision
        self.base = fresh.base
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
        self.log = self.log.read(source, revision)
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
                stack.spot = self.log.read_spot(source)
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
        if source.whole.at != source.whole.end:
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
            item.operation = self.log.read_operation(source)
            item.pending = self.log.read(source, MAX_LENGTH)
            if item.pending.count == 0:
                item.pending = None
            if not last < item.created <= item.at <= self.revision or item.at < self.base or (item.joins and not items):
                raise damaged("items do not fit together")
            last = item.at
            items.append(item)
            self.count(item)
        return items

    cdef int write_items(self, Writer out, list items) except -1:
        cdef _Item item
        out.varint(len(items))
        for item in items:
            out.varint(item.joins)
            out.varint(item.created)
            out.varint(item.at)
            self.log.write_operation(out, item.operation)
            if item.pending is None:
                out.varint(0)
            else:
                item.pending.write(out)
        return 0


cdef int64_t to_ms(double time) noexcept:  # arithmetic
    # As the log keeps it, so that the same groups come out on loading.
    return <int64_t>(time * 1000 + 0.5) if 0 <= time < 9e12 else 0
