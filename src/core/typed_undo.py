"""Undo and redo for each client of a document of any type: undo.pyx's scheme over the seam of types. Sans-I/O.

    head <- u[n] <- u[n-1] ... u[1]     one client's stack: each item leads to the content in which the one below applies

What another client does to the head moves the path: past the top item, then, as that item sees it, past the next one
(Ressel and Gunzenhaeuser 1999). The item is on the left of what others did. Lazy: what others do is kept once, in
``log``; only a request or an edit of the client walks it, and steps stay with the item that has not passed them yet.

Bounds: items of a client; how many revisions back an item may reach; the oldest are dropped, and counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .document_type import DocumentType
    from .window import Kind


class Item:
    """One inverse, and what was done above it that it has not seen."""

    __slots__ = ("operation", "revision", "steps")

    def __init__(self, operation: Any, revision: int) -> None:
        self.operation = operation
        self.revision = revision
        self.steps: list[Any] = []


class Stack:
    """One client's items. ``seen``: the revision up to which both lists have been told what others did."""

    __slots__ = ("redo", "seen", "undo")

    def __init__(self, seen: int) -> None:
        self.undo: list[Item] = []
        self.redo: list[Item] = []
        self.seen = seen


class TypedUndo:
    """The stacks of one document."""

    def __init__(self, type: DocumentType[Any, Any], *, groups: int = 100, history: int = 20_000) -> None:
        """``groups``: items of one client; 0 keeps nothing at all. ``history``: revisions."""
        self.type = type
        self.groups = groups
        self.history = history
        self.revision = 0
        self.dropped = 0
        self.log: deque[tuple[str, Any]] = deque(maxlen=history)
        self.stacks: dict[str, Stack] = {}

    def start_at(self, revision: int) -> None:
        """Nothing is known of what was done up to ``revision``."""
        self.revision = revision

    def depth(self, client: str) -> tuple[int, int]:
        """(to undo, to redo), at most: others may have left nothing of one. O(1)."""
        stack = self.stacks.get(client)
        return (0, 0) if stack is None else (len(stack.undo), len(stack.redo))

    def operation(self, client: str, kind: Kind) -> Any | None:
        """What "undo" or "redo" would do at the head; None: nothing. Items of which nothing is left go.

        O(items looked at x steps since). Raises as ``transform``.
        """
        stack = self.stacks.get(client)
        if stack is None:
            return None
        self.catch_up(stack)
        items = stack.redo if kind == "redo" else stack.undo
        while items:
            self.settle(items, len(items) - 1)
            if not self.type.is_identity(items[-1].operation):
                return items[-1].operation
            self.pop(items)
        return None

    def record(self, client: str, kind: Kind, operation: Any, inverse: Any) -> None:
        """The next revision: ``operation`` as it was applied to the head, ``inverse`` undoes it there."""
        if self.groups == 0:
            self.revision += 1
            return
        stack = self.stacks.get(client)
        if stack is None:
            stack = self.stacks[client] = Stack(self.revision)
        self.catch_up(stack)
        if kind in ("undo", "redo"):
            source, target = (stack.redo, stack.undo) if kind == "redo" else (stack.undo, stack.redo)
            if source:
                self.settle(source, len(source) - 1)
                self.pop(source)
        else:
            target = stack.undo
            stack.redo.clear()
        self.revision += 1
        self.log.append((client, operation))
        stack.seen = self.revision
        if not self.type.is_identity(inverse):
            target.append(Item(inverse, self.revision))
        self.trim(stack)

    # -------------------------------------------------------------------------------------------------- the paths

    def catch_up(self, stack: Stack) -> None:
        """Tells both lists what was committed since; all of it is others', as an own commit catches up first."""
        behind = self.revision - stack.seen
        stack.seen = self.revision
        if behind > len(self.log):
            self.dropped += len(stack.undo) + len(stack.redo)
            stack.undo.clear()
            stack.redo.clear()
        elif behind:
            steps = [self.log[index][1] for index in range(len(self.log) - behind, len(self.log))]
            for items in (stack.undo, stack.redo):
                if items:
                    items[-1].steps.extend(steps)
        self.trim(stack)

    def settle(self, items: list[Item], index: int) -> None:
        """Takes the item past its steps; the one below gets them as this one sees them."""
        item = items[index]
        below: list[Any] = []
        transform, operation = self.type.transform, item.operation
        for step in item.steps:
            below.append(transform(step, operation, "right"))
            operation = transform(operation, step, "left")
        item.operation, item.steps = operation, []
        if index:
            items[index - 1].steps.extend(below)

    def pop(self, items: list[Item]) -> None:
        """Drops the top item, which is settled."""
        items.pop()

    def trim(self, stack: Stack) -> None:
        """Holds the bounds of one client: the oldest items go."""
        for items in (stack.undo, stack.redo):
            over = max(0, len(items) - self.groups)
            while over < len(items) and items[over].revision <= self.revision - self.history:
                over += 1
            del items[:over]
            self.dropped += over
