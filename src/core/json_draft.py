"""A JSON document while an operation is made on it (json0.py): what lies on a path is copied once, the rest is shared."""

from __future__ import annotations

from typing import Any

from . import text0
from .json_values import Value
from .text import Text
from .text0 import invalid, out_of_range


class Draft:
    """A document that is being changed: containers are copied when they are first written to."""

    __slots__ = ("edited", "fresh", "holder", "path", "room", "text")

    def __init__(self, content: Value, room: int | None) -> None:
        self.room = room  # how much may still be moved along; None: whatever it takes
        self.path: list[str | int] | None = None  # of a long string that is being edited,
        self.edited: tuple[Any, Any] | None = None  # where that is held,
        self.text: Text | None = None  # and what it is by now
        self.holder: dict[str | int, Value] = {"": content}
        self.fresh: dict[int, Value] = {id(self.holder): self.holder}  # keeps them alive, so that no id comes back

    def parent(self, path: list[str | int]) -> tuple[Any, Any]:
        """What holds the place that ``path`` names, writable, and the key there. The root is held under ""."""
        node: Any = self.holder
        key: str | int = ""
        for step in path:
            child = lookup(node, key)
            if type(child) is not dict and type(child) is not list:
                raise invalid("a path leads through what is no container")
            if id(child) not in self.fresh:
                child = child.copy()
                self.fresh[id(child)] = child
                node[key] = child
            node, key = child, step
        return node, key

    def edit(self, path: list[str | int], edits: list[text0.Edit]) -> None:
        """Edits a string; a long one is written back when something else is to be changed: O(text) once for many edits of it."""
        if self.text is not None and path == self.path:
            text0.edit(self.text, edits)
            return
        self.settle()
        node, key = self.parent(path)
        text = lookup(node, key)
        if type(text) is not str:
            raise invalid("text is edited where there is none")
        self.use(len(text))
        if not text0.is_long(text, edits):
            node[key] = text0.apply(text, edits)
            return
        self.path, self.edited, self.text = path, (node, key), Text(text)
        text0.edit(self.text, edits)

    def settle(self) -> None:
        """Before anything else is looked at or changed."""
        if self.text is not None and self.edited is not None:
            node, key = self.edited
            node[key] = str(self.text)
            self.path = self.edited = self.text = None

    def use(self, size: int) -> None:
        """So much is moved along. Raises SynclineError when that is too much for one operation."""
        if self.room is not None:
            self.room -= size
            if self.room < 0:
                raise invalid("too many changes of what is so long")

    def shift(self, node: list[Value]) -> None:
        """Before an element goes into a list or out of it: all behind it move."""
        self.use(len(node))


def lookup(node: Any, key: str | int) -> Value:
    """What a container holds at ``key``. Raises SynclineError."""
    if type(node) is dict:
        if type(key) is not str or key not in node:
            raise invalid("a path leads to a key that is not there")
        return node[key]
    if type(key) is not int:
        raise invalid("the elements of a list have indexes")
    if key >= len(node):
        raise out_of_range("an index past the end of its list")
    return node[key]
