"""A document's past: its operations, its text at a revision, who wrote what. Values, and how answers become them."""

from __future__ import annotations

from typing import Any, NamedTuple

from ..core.ot import Operation
from .code_points import UNIT
from .document_state import Kind


class HistoryEntry(NamedTuple):
    """One committed operation. ``time``: Unix seconds."""

    revision: int
    client: str
    user: str
    time: float
    kind: Kind
    operation: Operation


class History(NamedTuple):
    """Oldest first. ``revision`` is the newest there is, ``horizon`` the oldest whose text can be had."""

    revision: int
    horizon: int
    operations: list[HistoryEntry]


class Version(NamedTuple):
    """The text as it was, and who made it so; None: nobody is known (the first text, or older than the horizon)."""

    revision: int
    text: str
    user: str | None
    client: str | None
    time: float | None


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


def read_history(result: Any) -> History:
    entries = [
        HistoryEntry(
            entry["revision"],
            entry["client"],
            entry["user"],
            entry["time"],
            entry.get("kind", "edit"),
            Operation.parse(entry["operation"], UNIT),
        )
        for entry in result["operations"]
    ]
    return History(result["revision"], result["horizon"], entries)


def read_version(result: Any) -> Version:
    get = result.get
    return Version(result["revision"], result["text"], get("user"), get("client"), get("time"))


def read_blame(result: Any) -> Blame:
    ranges = [
        BlameRange(entry["length"], entry["revision"], entry.get("user"), entry.get("client"), entry.get("time"))
        for entry in result["ranges"]
    ]
    return Blame(result["revision"], result["horizon"], ranges)
