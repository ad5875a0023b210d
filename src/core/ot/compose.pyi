"""Composing a whole history into one operation. See compose.pyx."""

from collections.abc import Iterable

from .ot import Operation, Unit

def compose_all(operations: Iterable[Operation], unit: Unit = "utf-16") -> Operation: ...
