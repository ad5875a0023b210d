"""Old texts and authors straight from log bodies, without an object per operation. See replay.pyx."""

from typing import NamedTuple, final

from ..text.text import Text
from .window import Kind

class Author(NamedTuple):
    """Who made a revision. ``time``: Unix seconds."""

    client: str
    user: str
    seq: int
    time: float
    kind: Kind

class Range(NamedTuple):
    """A piece of a text and its newest revision; ``client`` and ``user`` None: it was there before."""

    length: int
    revision: int
    client: str | None
    user: str | None
    time: float

def count_entries(body: bytes) -> int:
    """How many operations it holds. Raises ValueError."""

def replay_text(text: Text, body: bytes, skip: int = 0, count: int | None = None) -> int:
    """Applies operations ``skip`` ... ``skip + count`` of a body to the text before them, all or none; returns how many
    there were.

    Raises ValueError for a damaged body or one that does not fit the text. O(runs) splices.
    """

def growth(body: bytes, skip: int = 0, count: int | None = None) -> int:
    """By how many UTF-16 code units operations ``skip`` ... ``skip + count`` of a body make the text longer.

    Raises ValueError. O(runs).
    """

def author_of(body: bytes, index: int) -> Author:
    """Who committed the operation number ``index`` (from 0) of a body. Raises ValueError. O(stretches)."""

@final
class Blame:
    """Folds operations into the origin of every code unit of a text."""

    def __init__(self, length: int, revision: int) -> None:
        """A text of so many UTF-16 code units at ``revision``, of unknown origin."""
    def fold(self, body: bytes, skip: int = 0, count: int | None = None) -> int:
        """Applies operations ``skip`` ... ``skip + count`` of a body; returns how many there were. About as fast as
        replaying them.

        Raises ValueError for a damaged body or one that does not fit; the object is then worth nothing.
        """
    @property
    def revision(self) -> int: ...
    def __len__(self) -> int:
        """In UTF-16 code units."""
    def ranges(self, start: int, end: int, joined: float = 0.0, text: str | None = None) -> list[Range]:
        """The origin of the units [start, end). Neighbours by one client not more than ``joined`` seconds apart are one
        range, of the newer revision. With ``text`` (all of it) lengths count code points. O(end - start).

        Raises ValueError for a range outside the text.
        """
