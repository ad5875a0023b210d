"""A document's past: its operations, its content at a revision, who wrote what. Values, and how answers become them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .document_values import Kind


class HistoryEntry(NamedTuple):
    """One committed operation: an ``Operation`` of a text, a JSON value of another type. ``time``: Unix seconds."""

    revision: int
    client: str
    user: str
    time: float
    kind: Kind
    operation: Any


class History(NamedTuple):
    """Oldest first. ``revision`` is the newest there is, ``horizon`` the oldest whose content can be had."""

    revision: int
    horizon: int
    operations: list[HistoryEntry]


class Version(NamedTuple):
    """The content as it was, and who made it so; None: nobody is known (the first one, or older than the horizon)."""

    revision: int
    content: Any
    user: str | None
    client: str | None
    time: float | None

    @property
    def text(self) -> str:
        """The same, of a text."""
        return str(self.content)


class BlameRange(NamedTuple):
    """``length`` code points that came into the text together; ``user`` None: older than the horizon."""

    length: int
    revision: int
    user: str | None
    client: str | None
    time: float | None


class Blame(NamedTuple):
    """``ranges`` follow each other in the text of ``revision``."""

    revision: int
    horizon: int
    ranges: list[BlameRange]


def read_history(result: Any, read: Callable[[Any], Any]) -> History:
    """``read``: an operation, as it is given out."""
    entries = [
        HistoryEntry(
            entry["revision"],
            entry["client"],
            entry["user"],
            entry["time"],
            entry.get("kind", "edit"),
            read(entry["operation"]),
        )
        for entry in result["operations"]
    ]
    return History(result["revision"], result["horizon"], entries)


def read_version(result: Any) -> Version:
    get = result.get
    content = get("content") if get("text") is None else get("text")
    return Version(result["revision"], content, get("user"), get("client"), get("time"))


def read_blame(result: Any) -> Blame:
    ranges = [
        BlameRange(entry["length"], entry["revision"], entry.get("user"), entry.get("client"), entry.get("time"))
        for entry in result["ranges"]
    ]
    return Blame(result["revision"], result["horizon"], ranges)
