"""Undo and redo for each client of a document of any type: the scheme of undo.pyx over the seam of types. Sans-I/O.

    head <- u[n] <- u[n-1] ... u[1]     one client's stack: each item leads to the content in which the one below applies

What another client does to the head moves the whole path: past the top item, then, as that item sees it, past the next
one, and so on (Ressel and Gunzenhaeuser 1999). The item is always on the left of what others did. Undo is an ordinary
operation at the head, made of the top group of items; its inverse goes on the stack of redo. An item of which nothing
is left is passed over.

**Lazy.** What others do is kept once for all clients, in ``log``; items remember from where on they have not seen it. Only
a request walks it: O(items of the group x steps) transforms, bounded by ``MAX_COST``, beside the event loop above ``QUICK``. An edit costs
O(1) for others.

**Deterministic.** Looking changes nothing, steps are never composed, and every bound is checked after a commit, in an
order that depends on commits only. So a snapshot followed by the rest of the log gives the stacks that the whole log
gives. An undo that the stacks do not explain (bounds were changed between two runs) empties the client's stacks.

Groups: typing, or deleting, that goes on where the last edit of the same kind left off within ``group_ms`` is one
group, until a new word begins; what typing is says the type (``DocumentType.stroke``). Anything else is a group of its own.

Bounds: groups of a client; bytes of a document, items and log together; how many revisions back an item may reach. The
oldest groups are dropped, and counted in ``dropped``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .errors import ErrorCode, Laborious, SynclineError
from .text0 import units

if TYPE_CHECKING:
    from .document_type import DocumentType
    from .window import Kind

CLOSED, TYPING, DELETING = 0, 1, 2

#: More at once is a paste or a selection: a group of its own.
MAX_TYPED = 16

#: Bounds the work of an undo in a busy document, where every keystroke is an item, and of a key held down.
MAX_EDITS = 32

#: What an item, and a step in the log, occupy beside their operations; and how much larger values are than as bytes.
ITEM_BYTES = 400
STEP_BYTES = 100
VALUE_FACTOR = 8

#: How often old items and the old end of the log are looked for, in revisions.
SWEEP = 256

#: What the transforms of one request may cost, in what the type's ``cost`` counts: about microseconds; and what they may cost at once.
MAX_COST = 200_000
QUICK = 2_000

_MAX_COUNT = 9_007_199_254_740_991
_NO_STEP = (None, 8)  # of what nobody has to see
_VERSION = 1


class _Item:
    """One step back, or forward again. ``operation`` leads from the content after ``created`` to the one before;
    ``pending`` is what others did since then and before ``at``, in its context; from ``at`` on the log says it."""

    __slots__ = ("at", "created", "joins", "operation", "pending", "size")

    def __init__(self, operation: Any, created: int, joins: bool) -> None:
        self.operation = operation
        self.created = self.at = created
        self.joins = joins  # belongs to the group of the item below
        self.pending: list[Any] = []
        self.size = 0


class _Stack:
    """What one client can undo and redo. ``groups``: in ``undo``. The rest: what the newest group may go on with."""

    __slots__ = ("blank", "caret", "caret_at", "client", "edits", "groups", "open", "redo", "time", "undo", "user")

    def __init__(self, client: str, user: str) -> None:
        self.client = client
        self.user = user
        self.undo: list[_Item] = []
        self.redo: list[_Item] = []
        self.groups = 0
        self.open = CLOSED
        self.time = 0  # of its last edit, in milliseconds
        self.caret = 0  # where that left off,
        self.caret_at = 0  # at which revision,
        self.blank = False  # and whether it ended in a space
        self.edits = 0


class _Plan(NamedTuple):
    """What an undo would do: ``left`` items stay; ``passed`` is what others did after ``until``, as those see it."""

    operation: Any
    left: int
    groups: int
    until: int
    passed: list[Any]


_Planning = Generator[None, None, _Plan | None]
_ItemRow = tuple[bool, int, int, bytes, list[bytes]]
_StackRow = tuple[str, str, int, int, int, int, bool, int, list[_ItemRow], list[_ItemRow]]
_Snapshot = tuple[int, list[bytes | None], list[_StackRow]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Snapshot).decode


class TypedUndo:
    """The stacks of one document."""

    def __init__(
        self,
        type: DocumentType[Any, Any],
        *,
        groups: int = 100,
        max_bytes: int = 4_194_304,
        history: int = 20_000,
        group_ms: int = 1000,
    ) -> None:
        """``groups``: of one client; 0 keeps nothing at all. ``history``: revisions."""
        self.type = type
        self.max_groups = groups
        self.max_bytes = max_bytes
        self.max_history = history
        self.group_ms = group_ms
        self.revision = 0
        self.dropped = 0
        self._base = 0
        self._log: list[tuple[Any, int]] = []  # of revisions base + 1 ... revision: (operation or None, its size)
        self._logged = 0  # bytes of them
        self._occupied = 0  # bytes of all items
        self._stacks: dict[str, _Stack] = {}
        # What was asked last, and the answer.
        self._planned: tuple[str, str, Kind, int, _Plan | None] = ("", "", "undo", -1, None)

    @property
    def footprint(self) -> int:
        """About what it occupies in memory; at most ``max_bytes`` after a commit."""
        return self._occupied + self._logged

    def emptied(self) -> TypedUndo:
        """Another one with the same bounds."""
        other = TypedUndo(
            self.type,
            groups=self.max_groups,
            max_bytes=self.max_bytes,
            history=self.max_history,
            group_ms=self.group_ms,
        )
        other.dropped = self.dropped
        return other

    def depth(self, client: str) -> tuple[int, int]:
        """(groups to undo, groups to redo): at most so many, as others may have left nothing of one. O(1)."""
        stack = self._stacks.get(client)
        return (0, 0) if stack is None else (stack.groups, len(stack.redo))

    def operation(self, client: str, user: str, kind: Kind) -> Any | None:
        """What "undo" or "redo" would do at the head, None when there is nothing to do. Forgets nothing.

        Raises Laborious, SynclineError(operation_invalid) when that would take too long. O(items x steps since).
        """
        asked = client, user, kind, self.revision
        if self._planned[:-1] != asked:
            budget = [MAX_COST]
            steps = self._planning(asked, self._plan(client, user, kind, budget))
            for _ in steps:
                if budget[0] < MAX_COST - QUICK:
                    raise Laborious(steps, MAX_COST / 4)
        plan = self._planned[-1]
        return None if plan is None else plan.operation

    def _planning(self, asked: tuple[str, str, Kind, int], plan: _Planning) -> Generator[None, None, None]:
        found = yield from plan
        self._planned = *asked, found

    def record(
        self, client: str, user: str, kind: Kind, operation: Any, inverse: Any, size: int, time: float = 0.0
    ) -> None:
        """The next revision: ``operation`` as it was applied to the head and has ``size`` bytes in the log, ``inverse``
        undoes it there (None when ``groups`` is 0). Never refuses: what cannot be undone is discarded."""
        if self.max_groups <= 0:
            self.revision += 1
            self._base = self.revision
            return
        stack = self._stacks.get(client)
        if stack is not None and stack.user != user:
            self._discard(stack)
            stack = None
        try:
            if kind in ("edit", "restore"):
                if not self.type.is_identity(inverse):  # formats that were there already are no change
                    if stack is None:
                        stack = self._stacks[client] = _Stack(client, user)
                    self._edit(stack, operation, inverse, kind == "edit", to_ms(time))
            elif stack is not None:
                self._take(stack, user, kind, operation, inverse)
        except SynclineError:  # lengths that overflow, or too much work
            if stack is not None and client in self._stacks:
                self._discard(stack)
        # Nobody else's items have to see it when there is nobody else: a single author costs no log.
        seen = len(self._stacks) > (client in self._stacks)
        self._append((operation, STEP_BYTES + VALUE_FACTOR * size) if seen else _NO_STEP)
        self.revision += 1
        if not self._stacks:
            self._sweep(0)
        if self.revision % SWEEP == 0:
            self._sweep(self.revision - self.max_history)
        if self.footprint > self.max_bytes:
            self._squeeze()

    # -- looking -----------------------------------------------------------------------------------------------------

    def _plan(self, client: str, user: str, kind: Kind, budget: list[int]) -> _Planning:
        """The newest group of which something is left; None without any. ``budget``: what it may cost goes down in there."""
        stack = self._stacks.get(client)
        if stack is None or stack.user != user:
            return None
        items = stack.redo if kind == "redo" else stack.undo
        index, groups, until = len(items), 0, self.revision
        passed: list[Any] = []
        while index:
            whole = None
            while True:
                index -= 1
                item = items[index]
                operation, passed = yield from self._lift(item, until, passed, budget)
                until = item.created - 1
                whole = operation if whole is None else self.type.compose(whole, operation)
                if not item.joins:
                    break
            groups += 1
            if not self.type.is_identity(whole):
                return _Plan(whole, index, groups, until, passed)
        return None

    def _steps(self, item: _Item, until: int) -> Iterator[Any]:
        yield from item.pending
        for step, _ in self._log[item.at - self._base : until - self._base]:
            if step is not None:
                yield step

    def _lift(
        self, item: _Item, until: int, passed: list[Any], budget: list[int]
    ) -> Generator[None, None, tuple[Any, list[Any]]]:
        """The item after all that others did, and that as the item below sees it."""
        operation, below = item.operation, []
        for step in (*self._steps(item, until), *passed):
            budget[0] -= self.type.cost(operation, step)
            if budget[0] < 0:
                raise SynclineError(ErrorCode.OPERATION_INVALID, "too much was committed since what it would undo")
            yield  # before the work, so that whoever counts it can put it off
            below.append(self.type.rebase(step, operation, "right"))
            operation = self.type.rebase(operation, step, "left")
        return operation, below

    # -- recording ---------------------------------------------------------------------------------------------------

    def _edit(self, stack: _Stack, operation: Any, inverse: Any, may_join: bool, time: int) -> None:
        kind, at, text = self._stroke(operation, inverse) if may_join else (CLOSED, 0, "")
        joins = kind != CLOSED and kind == stack.open and self._continues(stack, at, text, time)
        forward = joins and at == stack.caret
        self._cut(stack.redo, 0, len(stack.redo))
        if joins:
            top = stack.undo[-1]
            if not any(True for _ in self._steps(top, self.revision)):
                top.operation = self.type.compose(inverse, top.operation)
                top.at = self.revision + 1
                self._count(top)
            else:
                self._push(stack.undo, inverse, True)
            stack.edits += 1
        else:
            self._push(stack.undo, inverse, False)
            stack.groups += 1
            stack.edits = 1
            if stack.groups > self.max_groups:
                self._drop_oldest(stack, stack.undo)
        stack.open = kind
        if kind != CLOSED:
            # Deleting goes backwards unless it is known to go on at the same place.
            stack.blank = text[0 if kind == DELETING and not forward else -1].isspace()
            stack.time = time
            stack.caret = at + units(text) if kind == TYPING else at
            stack.caret_at = self.revision + 1

    def _stroke(self, operation: Any, inverse: Any) -> tuple[int, int, str]:
        """(TYPING or DELETING, where, what) for a few characters at one place; else CLOSED."""
        for kind, one in ((TYPING, operation), (DELETING, inverse)):
            stroke = self.type.stroke(one)
            if stroke is not None and 0 < units(stroke[1]) <= MAX_TYPED:
                return kind, *stroke
        return CLOSED, 0, ""

    def _continues(self, stack: _Stack, at: int, text: str, time: int) -> bool:
        """Whether an edit of the right kind belongs to the open group. Leaves the caret where it is at the head."""
        if stack.edits >= MAX_EDITS or self.group_ms == 0 or not 0 <= time - stack.time <= self.group_ms:
            return False
        for step, _ in self._log[stack.caret_at - self._base :]:
            if step is not None:
                stack.caret = self.type.move(step, stack.caret)
        stack.caret_at = self.revision
        if at == stack.caret:
            return not (stack.blank and not text[0].isspace())
        return (
            stack.open == DELETING and at + units(text) == stack.caret and not (stack.blank and not text[-1].isspace())
        )

    def _take(self, stack: _Stack, user: str, kind: Kind, operation: Any, inverse: Any) -> None:
        """What the stacks say has been done."""
        items = stack.redo if kind == "redo" else stack.undo
        asked = stack.client, user, kind, self.revision
        if self._planned[:-1] != asked:  # on loading
            for _ in self._planning(asked, self._plan(stack.client, user, kind, [MAX_COST])):
                pass
        plan = self._planned[-1]
        if plan is None or not self.type.is_same(plan.operation, operation):
            self._discard(stack)
            return
        lowest = items[plan.left - 1] if plan.left else None
        if lowest is not None:
            lowest.pending = [*self._steps(lowest, plan.until), *plan.passed]
            lowest.at = self.revision + 1
            self._count(lowest)
        self._cut(items, plan.left, len(items))
        stack.open = CLOSED
        if kind == "undo":
            stack.groups -= plan.groups
            self._push(stack.redo, inverse, False)
        else:
            self._push(stack.undo, inverse, False)
            stack.groups += 1

    # -- items -------------------------------------------------------------------------------------------------------

    def _push(self, items: list[_Item], operation: Any, joins: bool) -> None:
        item = _Item(operation, self.revision + 1, joins)
        items.append(item)
        self._count(item)

    def _count(self, item: _Item) -> None:
        """Keeps ``_occupied`` right after a change of the item."""
        encode = self.type.encode
        self._occupied -= item.size
        item.size = ITEM_BYTES + VALUE_FACTOR * len(encode(item.operation))
        item.size += sum(STEP_BYTES + VALUE_FACTOR * len(encode(step)) for step in item.pending)
        self._occupied += item.size

    def _cut(self, items: list[_Item], start: int, end: int) -> None:
        self._occupied -= sum(item.size for item in items[start:end])
        del items[start:end]

    def _drop_oldest(self, stack: _Stack, items: list[_Item]) -> None:
        """The bottom group of a stack that is not empty."""
        end = 1
        while end < len(items) and items[end].joins:
            end += 1
        self._cut(items, 0, end)
        self.dropped += 1
        if items is stack.undo:
            stack.groups -= 1
            if not items:
                stack.open = CLOSED
        if not stack.undo and not stack.redo:
            del self._stacks[stack.client]

    def _discard(self, stack: _Stack) -> None:
        self.dropped += stack.groups + len(stack.redo)
        self._cut(stack.undo, 0, len(stack.undo))
        self._cut(stack.redo, 0, len(stack.redo))
        del self._stacks[stack.client]

    def _append(self, step: tuple[Any, int]) -> None:
        self._log.append(step)
        self._logged += step[1]

    def _sweep(self, floor: int) -> None:
        """Drops what reaches below ``floor``, then the part of the log that no item has to see. O(clients + log)."""
        lowest = self.revision
        for stack in list(self._stacks.values()):
            for items in (stack.undo, stack.redo):
                while items and items[0].at < floor:
                    self._drop_oldest(stack, items)
                if items:
                    lowest = min(lowest, items[0].at)
        done = lowest - self._base
        self._logged -= sum(size for _, size in self._log[:done])
        del self._log[:done]
        self._base = lowest

    def _squeeze(self) -> None:
        """Over the bound on bytes: drops the oldest groups, a quarter at a time, until there is room again."""
        self._sweep(0)
        while self._stacks and self.footprint > self.max_bytes // 4 * 3:
            oldest = [
                (item.created, stack, items)
                for stack in self._stacks.values()
                for items in (stack.undo, stack.redo)
                for item in items
                if not item.joins
            ]
            oldest.sort(key=lambda group: group[0])
            for _, stack, items in oldest[: (len(oldest) + 3) // 4]:
                self._drop_oldest(stack, items)
            self._sweep(0)

    # -- persistence -------------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """Everything, for ``restore`` at the same revision; empty when there is nothing. O(size)."""
        if not self._stacks:
            return b""
        encode = self.type.encode

        def rows(items: list[_Item]) -> list[_ItemRow]:
            return [
                (item.joins, item.created, item.at, encode(item.operation), [encode(step) for step in item.pending])
                for item in items
            ]

        stacks = [
            (
                *(stack.client, stack.user, stack.open, stack.time, stack.caret, stack.caret_at, stack.blank),
                *(stack.edits, rows(stack.undo), rows(stack.redo)),
            )
            for stack in self._stacks.values()
        ]
        log = [None if step is None else encode(step) for step, _ in self._log]
        return _encode((_VERSION, log, stacks))

    def restore(self, revision: int, body: bytes) -> None:
        """Takes over a snapshot made at ``revision``. Raises ValueError, and changes nothing, when it is damaged."""
        fresh = self.emptied()
        fresh.revision = fresh._base = revision
        if body and self.max_groups > 0:
            try:
                fresh._read(revision, body)
            except (ValueError, RecursionError, SynclineError) as error:
                raise ValueError(f"damaged body: {error}") from error
        self.revision, self._base = revision, fresh._base
        self._log, self._logged = fresh._log, fresh._logged
        self._stacks, self._occupied = fresh._stacks, fresh._occupied
        self._planned = fresh._planned

    def _read(self, revision: int, body: bytes) -> None:
        """The part of ``restore`` that fills a new object."""
        version, log, stacks = _decode(body)
        if version != _VERSION or len(log) > revision:
            raise ValueError("stacks of an unknown version, or a log that is too long")
        decode = self.type.decode
        self._base = revision - len(log)
        for step in log:
            self._append(_NO_STEP if step is None else (decode(step), STEP_BYTES + VALUE_FACTOR * len(step)))
        for client, user, opened, time, caret, caret_at, blank, edits, undo, redo in stacks:
            stack = _Stack(client, user)
            stack.undo, stack.redo = self._read_items(undo), self._read_items(redo)
            stack.groups = sum(not item.joins for item in stack.undo)
            stack.open, stack.time, stack.caret, stack.caret_at = opened, time, caret, caret_at
            stack.blank, stack.edits = blank, edits
            if (
                client in self._stacks
                or not (undo or redo)
                or opened not in (CLOSED, TYPING, DELETING)
                or (opened and not (undo and self._base <= caret_at <= revision and 0 <= caret <= _MAX_COUNT))
            ):
                raise ValueError("stacks do not fit together")
            self._stacks[client] = stack

    def _read_items(self, rows: list[_ItemRow]) -> list[_Item]:
        items: list[_Item] = []
        last = 0
        for joins, created, at, operation, pending in rows:
            if not last < created <= at <= self.revision or at < self._base or (joins and not items):
                raise ValueError("items do not fit together")
            item = _Item(self.type.decode(operation), created, joins)
            item.at, last = at, at
            item.pending = [self.type.decode(step) for step in pending]
            items.append(item)
            self._count(item)
        return items


def to_ms(time: float) -> int:
    """As the log keeps it, so that the same groups come out on loading."""
    return int(time * 1000 + 0.5) if 0 <= time < 9e12 else 0
