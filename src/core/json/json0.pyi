"""Operations on JSON values: ShareDB's json0, made strict. See json0.pyx."""

from collections.abc import Generator
from typing import final

from ..values.json_values import Value
from ..values.text0 import Side
from .components import Op as Op

MAX_COMPONENTS: int
MAX_SHIFTED: int
MAX_FOLLOWED: int

def parse(value: object, trusted: bool = False) -> Op:
    """An operation from outside, checked in one pass and in canonical form; one that is that already. O(operation).

    Raises SynclineError(operation_invalid): wrong shapes, paths and sizes, and as ``check_value``. Whether it fits the document is
    for ``resolve``.
    """

def resolve(content: Value, op: Op, room: int | None = None) -> tuple[Value, Op]:
    """The content after ``op``, and ``op`` with what is really there in its ``od`` and ``ld``. ``room``: MAX_SHIFTED for what is
    new, or None.

    Raises SynclineError (operation_invalid, operation_out_of_range) when it does not fit; nothing has changed then.
    O(components x (path + width of the containers on it)).
    """

def apply(content: Value, op: Op) -> Value:
    """The content after ``op``. As ``resolve``."""

def invert(op: Op, content: Value) -> Op:
    """What undoes ``op``, which applies to ``content``. Raises as ``resolve``."""

def invert_told(op: Op) -> Op:
    """What undoes an operation that tells the truth, as ``resolve`` gives it. O(components)."""

def compose(first: Op, second: Op) -> Op:
    """What ``first`` and then ``second`` do; neighbours that touch the same place become one. O(both)."""

def diff(before: Value, after: Value) -> Op:
    """An operation from ``before`` to ``after`` that keeps what is equal: see json/diff.py."""

def drift(before: Value, after: Value) -> Op:
    """The same, but for integers: what they changed by is added, so that it meets what others add."""

def transform(op: Op, other: Op, side: Side) -> Op:
    """``op`` as it must be made after ``other``; both were made on the same content. "left" wins ties.

    In what ``op`` removes (``od``, ``ld``) what ``other`` changes is followed, as far as that is no more work than MAX_FOLLOWED.
    Raises SynclineError(operation_invalid) when they cannot have been. O(components x other's components): see ``Op.cost``.
    """

def crossing(left: Op, right: Op, room: int = ..., yields: bool = False) -> Generator[None, None, tuple[Op, Op]]:
    """(``left`` after ``right``, ``right`` after ``left``) in parts: ``room``, pairs of components that pass each other at once.

    As ``transform``, but what they say they remove stays as it is: ``resolve`` puts in what is there, and nothing is decided by it.
    ``yields``: a value that both set is the one of ``right``.
    """

@final
class Crossing:
    """Two operations on their way past each other: see `crossing`."""
