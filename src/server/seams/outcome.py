"""How calls on a backend end: what they give, or why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
Done = Callable[[T | None, Exception | None], None]


class Conflict(Exception):
    """Somebody else holds what was to be written: the name is taken, or another writer committed this revision."""


class LastOwner(Exception):
    """What has an owner keeps one: its last one cannot be taken away."""


class Unavailable(Exception):
    """The backend did not answer. Nothing is known of the write's fate; reads changed nothing."""


class NotWritten(Unavailable):
    """As that, and it is known that nothing was written."""


class Unrecoverable(Exception):
    """The history no longer reaches back to the position asked for, or belongs to another epoch."""
