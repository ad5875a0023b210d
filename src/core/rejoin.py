"""What a returning client missed, in few steps, and what becomes of the work that it has not sent yet.

A client that was away for long would have to transform its pending work over every single operation. Runs of what others
did are composed instead; the client's own operations stay single, because they acknowledge.

T(x, a.b) is not T(T(x, a), b), so this is sound only for work that is not committed: it is submitted again *at the
head*, nobody else has transformed it, and both sides of the one transform see the same composite (TP1). What was committed
unnoticed has been transformed step by step: up to its entry the steps stay single.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from .compose import compose_all
from .entries import Entry
from .ot import Operation, Unit, transform

#: Operations composed in one go by ``Missed.add``'s callers, between which they may let others run.
SLICE = 2000


@dataclass(frozen=True, slots=True)
class Composite:
    """``count`` revisions as one operation."""

    operation: Operation
    count: int


class Pending(NamedTuple):
    """An operation that a client has not seen committed. ``seq``: None when it was never sent."""

    operation: Operation
    seq: int | None


class Missed:
    """Folds the entries that a client missed. One unit throughout.

    ``awaited``: the number of the client's operation in flight, when it is committed; its entry will be among them.
    """

    def __init__(self, client: str, unit: Unit, awaited: int | None = None) -> None:
        self._client = client
        self._unit = unit
        self._awaited = awaited
        self._run: list[Operation] = []  # others' operations, not yet composed with each other
        self._count = 0  # the revisions that they stand for
        self._steps: list[Entry | Composite] = []

    def add(self, entries: Iterable[Entry]) -> None:
        """Entries that follow what was added before. O(size, times log n)."""
        slice_: list[Operation] = []
        for entry in entries:
            if self._awaited is not None:
                self._steps.append(entry)
                if entry.client == self._client and entry.seq == self._awaited:
                    self._awaited = None
            elif entry.client == self._client:
                self._run += _composed(slice_)
                slice_ = []
                self._close()
                self._steps.append(entry)
            else:
                slice_.append(entry.in_unit(self._unit))
                self._count += 1
        self._run += _composed(slice_)

    def _close(self) -> None:
        if self._count:
            self._steps.append(Composite(_composed(self._run)[0], self._count))
            self._run, self._count = [], 0

    def steps(self) -> list[Entry | Composite]:
        """Everything added, in order: entries up to the awaited one, then the client's own ones, and one Composite for
        each run between them."""
        self._close()
        return self._steps

    def weight(self) -> int:
        """About how many characters the steps take to tell."""
        operations = [step.operation for step in self.steps()]
        return sum(len(operation.text) + 4 * len(operation.components) + 16 for operation in operations)

    def carry(self, pending: list[Pending]) -> list[Operation]:
        """``pending`` (in the order made, in the text that the client had) as it must be applied at the head.

        What is committed already is left out: its entry is among the steps, with its seq.
        """
        carried = list(pending)
        for step in self.steps():
            if isinstance(step, Entry):
                if carried and step.client == self._client and step.kind == "edit" and carried[0].seq == step.seq:
                    del carried[0]  # its entry is what it has become: the others stand on it already
                    continue
                theirs = step.in_unit(self._unit)
            else:
                theirs = step.operation
            moved = []
            for operation, seq in carried:
                moved.append(Pending(transform(operation, theirs, "left"), seq))
                theirs = transform(theirs, operation, "right")
            carried = moved
        return [operation for operation, _ in carried]


def _composed(operations: list[Operation]) -> list[Operation]:
    """At most one operation that does what all do."""
    return [compose_all(operations, operations[0].unit)] if len(operations) > 1 else operations
