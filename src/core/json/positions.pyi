"""Places in JSON documents, for cursors. See json/positions.pyx."""

from typing import TypeAlias

from ..values.json_values import Value
from .components import Op

#: Keys and indexes from the root; the last step may be an offset in a string, in UTF-16 units.
Place: TypeAlias = tuple[str | int, ...]

MAX_KEYS: int

def read(value: object) -> Place:
    """A place from outside: a list. Raises SynclineError(invalid_data)."""

def check(content: Value, place: Place) -> None:
    """Raises SynclineError(invalid_data) for a place that ``content`` does not have. O(path + the string at its end)."""

def move(op: Op, place: Place, pushed: bool = False) -> Place:
    """Where it goes. ``pushed``: also on by what is inserted just at an offset. O(components)."""

def stroke(op: Op) -> tuple[Place, str] | None:
    """(place, text) of one that inserts a text into one string and does nothing else; None: it is another one."""

def end(op: Op) -> Place | None:
    """Behind the last edit of a string; None: the operation ends with something else."""
