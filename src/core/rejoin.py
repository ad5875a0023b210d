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
from typing import Any, NamedTuple

from .document_type import DocumentType
from .ot import Unit
from .types import AnyEntry

#: Operations composed in one go by ``Missed.add``'s callers, between which they may let others run.
SLICE = 2000


@dataclass(frozen=True, slots=True)
class Composite:
    """``count`` revisions as one operation."""

    operation: Any
    count: int


class Pending(NamedTuple):
    """An operation that a client has not seen committed. ``seq``: None when it was never sent."""

    operation: Any
    seq: int | None


class Missed:
    """Folds the entries that a client missed. One unit throughout.

    ``awaited``: the number of the client's operation in flight, when it is committed; its entry will be among them.
    """

    def __init__(self, type: DocumentType[Any, Any], client: str, unit: Unit, awaited: int | None = None) -> None:
        self._type = type
        self._client = client
        self._unit = unit
        self._awaited = awaited
        self._run: list[Composite] = []  # others' operations, each slice of them composed
        self._steps: list[AnyEntry | Composite] = []

    def add(self, entries: Iterable[AnyEntry]) -> None:
        """Entries that follow what was added before. O(size, times log n)."""
        slice_: list[Any] = []
        for entry in entries:
            if self._awaited is not None:
                self._steps.append(entry)
                if entry.client == self._client and entry.seq == self._awaited:
                    self._awaited = None
            elif entry.client == self._client:
                self._run += self._composed(slice_)
                slice_ = []
                self._close()
                self._steps.append(entry)
            else:
                slice_.append(entry.in_unit(self._unit))
        self._run += self._composed(slice_)

    def _composed(self, operations: list[Any]) -> list[Composite]:
        return [Composite(operation, count) for operation, count in self._type.compose_all(operations)]

    def _close(self) -> None:
        at = 0
        for composite in self._composed([composite.operation for composite in self._run]):
            some = self._run[at : at + composite.count]
            at += composite.count
            self._steps.append(Composite(composite.operation, sum(one.count for one in some)))
        self._run = []

    def steps(self) -> list[AnyEntry | Composite]:
        """Everything added, in order: entries up to the awaited one, then the client's own ones, and few Composites for
        each run between them."""
        self._close()
        return self._steps

    def bulk(self) -> int:
        """About how many characters the steps take to tell."""
        return sum(self._type.bulk(step.operation) + 16 for step in self.steps())

    def labour(self, pending: list[Pending]) -> int:
        """About how many microseconds ``carry`` takes."""
        weigh = self._type.weight
        steps = self.steps()
        weight, others = sum(weigh(one.operation) for one in pending), sum(weigh(step.operation) for step in steps)
        return self._type.labour(weight, others, len(steps) * len(pending))

    def carry(self, pending: list[Pending]) -> list[Any]:
        """``pending`` (in the order made, in the content that the client had) as it must be applied at the head.

        What is committed already is left out: its entry is among the steps, with its seq.
        """
        transform = self._type.transform
        carried = list(pending)
        for step in self.steps():
            if isinstance(step, Composite):
                theirs = step.operation
            else:
                if carried and step.client == self._client and step.kind == "edit" and carried[0].seq == step.seq:
                    del carried[0]  # its entry is what it has become: the others stand on it already
                    continue
                theirs = step.in_unit(self._unit)
            moved = []
            for operation, seq in carried:
                moved.append(Pending(transform(operation, theirs, "left"), seq))
                theirs = transform(theirs, operation, "right")
            carried = moved
        return [operation for operation, _ in carried]
