"""What a returning client missed, in few steps, and what becomes of the work that it has not sent yet.

A client that was away for long would have to transform its pending work over every single operation. Runs of what others
did are composed instead; the client's own operations stay single, because they acknowledge.

T(x, a.b) is not T(T(x, a), b), so this is sound only for work that is not committed: it is submitted again *at the
head*, nobody else has transformed it, and both sides of the one transform see the same composite (TP1). What was committed
unnoticed has been transformed step by step: up to its entry the steps stay single.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..ot.ot import Unit
from .document_type import AnyEntry, DocumentType, run


@dataclass(frozen=True, slots=True)
class Composite:
    """``count`` revisions as one operation. ``bulk``, ``weight``: as its type counts them."""

    operation: Any
    count: int
    bulk: int
    weight: int


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
        self._steps: list[AnyEntry | Composite] = []
        self._weight = 0
        self.bulk = 0  # about how many characters the steps take to tell

    def add(self, entries: Iterable[AnyEntry]) -> Generator[None, None, None]:
        """Entries that follow what was added before; in steps of at most a few milliseconds. O(size, times log n)."""
        run: list[tuple[Any, int]] = []  # others' operations, and how many each stands for
        if self._steps and isinstance(last := self._steps[-1], Composite):  # more may fit into it
            self._steps.pop()
            self._count(last, -1)
            run.append((last.operation, last.count))
        for entry in entries:
            if self._awaited is None and entry.client != self._client:
                run.append((entry.in_unit(self._unit), 1))
                continue
            yield from self._close(run)
            run = []
            self._steps.append(entry)
            self.bulk += entry.bulk + 16
            self._weight += self._type.weight(entry.operation)
            if entry.client == self._client and entry.seq == self._awaited:
                self._awaited = None
        yield from self._close(run)

    def _close(self, run: list[tuple[Any, int]]) -> Generator[None, None, None]:
        type = self._type
        for operation, count in (yield from type.composing(run)):
            step = Composite(operation, count, type.bulk(operation), type.weight(operation))
            self._steps.append(step)
            self._count(step, 1)

    def _count(self, step: Composite, sign: int) -> None:
        self.bulk += sign * (step.bulk + 16)
        self._weight += sign * step.weight

    def steps(self) -> list[AnyEntry | Composite]:
        """Everything added, in order: entries up to the awaited one, then the client's own ones, and few Composites for
        each run between them."""
        return self._steps

    def labour(self, pending: list[Pending]) -> int:
        """About how many microseconds ``carry`` takes."""
        weight = sum(self._type.weight(one.operation) for one in pending)
        return self._type.labour(weight, self._weight, len(self._steps) * len(pending))

    def carry(self, pending: list[Pending]) -> list[Any]:
        """``pending`` (in the order made, in the content that the client had) as it must be applied at the head.

        What is committed already is left out: its entry is among the steps, with its seq. The client applies the others and submits
        them: what they only say (``crossing``) is made true there.
        """
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
                operation, theirs = run(self._type.crossing(operation, theirs))  # ``labour`` has said how much it is
                moved.append(Pending(operation, seq))
            carried = moved
        return [operation for operation, _ in carried]
