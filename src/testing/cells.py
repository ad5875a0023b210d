"""What a document holds when several people edit it at once, slow and obvious: every character is a thing of its own.

Nothing here transforms an operation or shares a line with ``syncline.core``: this is what the core is compared with.

A ``View`` is the document as one author has it: a list of cells, in one order, of everything that this author sees or
the server has. ``seen`` and ``alive`` say which: a cell that another author has deleted is seen until the author hears of
it, one that another has put is alive before it is seen. The rules are those of docs/protocol.md, in these terms:

- **The author's own edit**: a character goes right behind the last cell that the author sees. So of what several have put
  at one place the one that is committed later is left of the others; so a character that replaces others is left of them.
- **A committed edit of another**: its characters go right before the next cell that is alive, so what is deleted
  stays left of what comes after it.

An operation is what an author does between two commits. Its own deletions are remembered until it is committed, since
those that have not heard of it see on which side of them its characters were put.
"""

from __future__ import annotations

from typing import NamedTuple


class Cell:
    """One character. ``born`` and ``died`` are revisions; 0: not yet."""

    __slots__ = ("born", "char", "died")

    def __init__(self, char: str) -> None:
        self.char = char
        self.born = 0
        self.died = 0


class Step(NamedTuple):
    """Part of a committed operation: ``put`` these cells behind ``offset`` living ones, or delete the one that is there."""

    offset: int
    put: list[Cell]


def past(flags: bytearray, count: int, start: int = 0) -> int:
    """The index right behind ``count`` set flags, from ``start`` on."""
    while count:
        if start > len(flags):
            raise IndexError("past the end")
        start, end = start + count, start
        count -= flags.count(1, end, start)
    return start


class View:
    """One author's. Positions count what the author sees."""

    def __init__(self) -> None:
        self.revision = 0  # of what others did this much is seen
        self.length = 0
        self._cells: list[Cell] = []
        self._seen = bytearray()
        self._alive = bytearray()
        self._dropped: set[Cell] = set()  # by the operation in the making

    def text(self, start: int, end: int) -> str:
        """A part of what the author sees."""
        first = past(self._seen, start)
        last = past(self._seen, min(end, self.length) - start, first)
        return "".join(
            cell.char for cell, seen in zip(self._cells[first:last], self._seen[first:last], strict=True) if seen
        )

    def committed(self) -> str:
        """The server's text."""
        return "".join(cell.char for cell, alive in zip(self._cells, self._alive, strict=True) if alive)

    def position(self, cell: Cell) -> int | None:
        """Behind ``cell``, or where it will be when it is seen; None: it is gone."""
        try:
            index = self._cells.index(cell)
        except ValueError:
            return None
        return self._seen.count(1, 0, index + 1)

    def edit(self, position: int, deleted: int, inserted: str) -> Cell | None:
        """Returns the last cell that was put."""
        index = past(self._seen, position)
        at = index
        for _ in range(deleted):
            at = self._seen.index(1, at)
            self._seen[at] = 0
            self._dropped.add(self._cells[at])
        put = [Cell(char) for char in inserted]
        self._cells[index:index] = put
        self._seen[index:index] = b"\1" * len(put)
        self._alive[index:index] = bytes(len(put))
        self.length += len(put) - deleted
        return put[-1] if put else None

    def commit(self, revision: int) -> list[Step]:
        """Ends the operation in the making: it is revision ``revision`` of the server's text, and applies to that so."""
        steps: list[Step] = []
        gone: list[int] = []
        born: list[int] = []
        living = at = 0
        for index in self._differences():
            cell = self._cells[index]
            if cell.born and cell not in self._dropped:
                continue
            living += self._alive.count(1, at, index)
            at = index
            if cell in self._dropped:
                gone.append(index)
                if self._alive[index]:
                    cell.died = revision
                    steps.append(Step(living, []))
            else:
                cell.born = revision
                born.append(index)
                if steps and steps[-1].put and steps[-1].offset == living:
                    steps[-1].put.append(cell)
                else:
                    steps.append(Step(living, [cell]))
        for index in born:
            self._alive[index] = 1
        self._remove(gone)
        self._dropped.clear()
        return steps

    def receive(self, steps: list[Step]) -> None:
        """What another author has committed; it is not seen before ``show``."""
        at = living = 0
        places = []
        for step in steps:
            at = past(self._alive, step.offset - living, at)
            living = step.offset
            following = self._alive.find(1, at)
            places.append(len(self._cells) if following < 0 else following)
        for place, step in zip(reversed(places), reversed(steps), strict=True):
            if step.put:
                self._cells[place:place] = step.put
                self._alive[place:place] = b"\1" * len(step.put)
                self._seen[place:place] = bytes(len(step.put))
            else:
                self._alive[place] = 0

    def show(self, revision: int, caret: int) -> int:
        """The author hears of all commits up to ``revision``. Returns where ``caret`` is then."""
        at = past(self._seen, caret)
        gone: list[int] = []
        for index in self._differences():
            cell = self._cells[index]
            if cell.died and cell.died <= revision:
                change = -self._seen[index]
                gone.append(index)
            elif self._seen[index] or cell.born > revision:
                continue
            else:
                change = 1
                self._seen[index] = 1
            self.length += change
            caret += change if index < at else 0
        self._remove(gone)
        self.revision = revision
        return caret

    def _differences(self) -> list[int]:
        """Where the author does not see what is alive, or sees what is not: a small part of the document."""
        found: set[int] = set()
        for flags in (self._seen, self._alive):
            index = flags.find(0)
            while index >= 0:
                found.add(index)
                index = flags.find(0, index + 1)
        return sorted(found)

    def _remove(self, indices: list[int]) -> None:
        end = len(indices)
        while end:
            start = end - 1
            while start and indices[start - 1] == indices[start] - 1:
                start -= 1
            together = slice(indices[start], indices[end - 1] + 1)
            del self._cells[together], self._seen[together], self._alive[together]
            end = start
