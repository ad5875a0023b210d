"""Text operations, slow and obvious: the reference for ``syncline.core.ot.ot``. Nothing of the package is imported here.

A text is a list of units: characters, or UTF-16 code units as one-character strings (surrogates stand alone in it). An
operation is a list of components; most functions first spell it out as atoms, one per unit:

    ("keep",)  ("drop",)  ("put", unit)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Components = list[int | str]
Atom = tuple[str, ...]


class Refused(Exception):
    """The operation does not fit the text, or is none."""


def split(text: str, unit: str) -> list[str]:
    if unit == "unicode":
        return list(text)
    data = text.encode("utf-16-le", "surrogatepass")
    return [chr(int.from_bytes(data[at : at + 2], "little")) for at in range(0, len(data), 2)]


def join(units: Iterable[str]) -> str:
    """Raises Refused for half a pair."""
    data = b"".join(unit.encode("utf-16-le", "surrogatepass") for unit in units)
    try:
        return data.decode("utf-16-le")
    except UnicodeDecodeError as error:
        raise Refused("half a surrogate pair") from error


def length(text: str, unit: str) -> int:
    return len(split(text, unit))


def is_boundary(units: list[str], at: int) -> bool:
    return not (0 < at < len(units) and "\ud800" <= units[at - 1] <= "\udbff" and "\udc00" <= units[at] <= "\udfff")


def atoms(components: Components, unit: str) -> list[Atom]:
    result: list[Atom] = []
    for component in components:
        if isinstance(component, str):
            result += [("put", one) for one in split(component, unit)]
        else:
            result += [("keep",) if component > 0 else ("drop",)] * abs(component)
    return result


def gather(spelled: Iterable[Atom]) -> Components:
    """The canonical list of components."""
    result: list[Any] = []
    for atom in spelled:
        if atom[0] == "put":
            if result and isinstance(result[-1], list):
                result[-1].append(atom[1])
            else:
                result.append([atom[1]])
        else:
            step = 1 if atom[0] == "keep" else -1
            if result and isinstance(result[-1], int) and result[-1] * step > 0:
                result[-1] += step
            else:
                result.append(step)
    if result and isinstance(result[-1], int) and result[-1] > 0:
        result.pop()
    return [join(item) if isinstance(item, list) else item for item in result]


def canonical(components: Components, unit: str) -> Components:
    return gather(atoms(components, unit))


def apply(text: str, components: Components, unit: str) -> str:
    source = split(text, unit)
    result: list[str] = []
    at = 0
    for component in canonical(components, unit):
        if isinstance(component, str):
            if not is_boundary(source, at):
                raise Refused("splits a pair")
            result += split(component, unit)
            continue
        end = at + abs(component)
        if end > len(source):
            raise Refused("past the end")
        if component > 0:
            result += source[at:end]
        elif not (is_boundary(source, at) and is_boundary(source, end)):
            raise Refused("splits a pair")
        at = end
    return join(result + source[at:])


class Slots:
    """An operation seen from the base: what it puts before each unit, in order, and which units it drops."""

    def __init__(self, components: Components, unit: str) -> None:
        self.before: dict[int, list[str]] = {}
        self.dropped: set[int] = set()
        at = 0
        for atom in atoms(components, unit):
            if atom[0] == "put":
                self.before.setdefault(at, []).append(atom[1])
            else:
                if atom[0] == "drop":
                    self.dropped.add(at)
                at += 1


def transform(components: Components, other: Components, side: str, unit: str) -> Components:
    slots = Slots(other, unit)
    result: list[Atom] = []
    at = 0
    passed = -1  # the last slot whose puts are behind us
    for atom in atoms(components, unit):
        if passed < at and (atom[0] != "put" or side == "right"):
            result += [("keep",)] * len(slots.before.get(at, []))
            passed = at
        if atom[0] == "put":
            result.append(atom)
        else:
            if at not in slots.dropped:
                result.append(atom)
            at += 1
    return gather(result)


class Cell:
    """One unit of a history: of the base (``index``) or put there, alive or a tombstone."""

    def __init__(self, index: int | None, unit: str = "", alive: bool = True) -> None:
        self.index = index
        self.unit = unit
        self.alive = alive


class PositionMap:
    """A history folded into one list of cells: what is put stands just before the next
    visible cell, tombstones stay to its left."""

    def __init__(self, base_length: int, unit: str) -> None:
        self.unit = unit
        self.cells = [Cell(index) for index in range(base_length)]

    def fold(self, components: Components) -> None:
        at = 0
        for atom in atoms(components, self.unit):
            while at < len(self.cells) and not self.cells[at].alive:
                at += 1
            if atom[0] == "put":
                self.cells.insert(at, Cell(None, atom[1]))
            elif at == len(self.cells):
                raise Refused("past the end")
            elif atom[0] == "drop":
                self.cells[at].alive = False
            at += 1

    def operation(self) -> Components:
        result: list[Atom] = []
        for cell in self.cells:
            if cell.index is None:
                if cell.alive:
                    result.append(("put", cell.unit))
            else:
                result.append(("keep",) if cell.alive else ("drop",))
        return gather(result)

    def transform(self, components: Components) -> Components:
        """What ``components``, made at the base, become after the whole history; they win every tie."""
        result: list[Atom] = []
        at = 0  # cells that are behind us
        for atom in atoms(components, self.unit):
            if atom[0] == "put":
                result.append(atom)
                continue
            while self.cells[at].index is None:
                if self.cells[at].alive:
                    result.append(("keep",))
                at += 1
            if self.cells[at].alive:
                result.append(atom)
            at += 1
        return gather(result)


def compose(first: Components, second: Components, unit: str) -> Components:
    """What the second puts stands just after the last visible cell, tombstones of the first to its right."""
    size = sum(atom[0] != "put" for atom in atoms(first, unit)) + sum(atom[0] != "put" for atom in atoms(second, unit))
    result = PositionMap(size, unit)
    result.fold(first)
    at = 0  # cells that are behind us
    for atom in atoms(second, unit):
        if atom[0] == "put":
            result.cells.insert(at, Cell(None, atom[1]))
        else:
            while not result.cells[at].alive:
                at += 1
            result.cells[at].alive = atom[0] == "keep"
        at += 1
    return result.operation()


def invert(components: Components, text: str, unit: str) -> Components:
    source = split(text, unit)
    result: list[Atom] = []
    at = 0
    for atom in atoms(components, unit):
        if atom[0] == "put":
            result.append(("drop",))
        else:
            result.append(("keep",) if atom[0] == "keep" else ("put", source[at]))
            at += 1
    return gather(result)


def map_position(position: int, components: Components, stick: str, unit: str) -> int:
    slots = Slots(components, unit)
    before = sum(
        len(puts) for at, puts in slots.before.items() if at < position or (at == position and stick == "right")
    )
    return position + before - sum(at < position for at in slots.dropped)


def to_unit(components: Components, text: str, source: str, target: str) -> Components:
    """Every length looked up in the text it covers."""
    units = split(text, source)
    result: Components = []
    at = 0
    for component in canonical(components, source):
        if isinstance(component, str):
            result.append(component)
            continue
        end = at + abs(component)
        if end > len(units):
            raise Refused("past the end")
        count = length(join(units[at:end]), target)
        result.append(count if component > 0 else -count)
        at = end
    return result
