"""The configuration tree as data: one ``Key`` per setting, for the loader and for what documents it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Final

from .schema import Config

PREFIX: Final = "SYNCLINE_"


@dataclass(frozen=True, slots=True)
class Key:
    """One setting of the tree. ``type`` is one of: str, int, float, bool, list[str]."""

    section: str
    name: str
    type: str
    default: Any
    doc: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    zero: str
    secret: bool
    restart: bool

    @property
    def path(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"{PREFIX}{self.section.upper()}__{self.name.upper()}"

    @property
    def allowed(self) -> str:
        """What is allowed, in words."""
        if self.choices:
            return "one of " + ", ".join(f'"{choice}"' for choice in self.choices)
        if self.type == "bool":
            return "true or false"
        if self.type == "str":
            return "a string"
        if self.type == "list[str]":
            return "a list of strings"
        words = "an integer" if self.type == "int" else "a number"
        words += f" from {number(self.low)} to {number(self.high)}" if self.low is not None else ""
        words += f" ({self.unit})" if self.unit else ""
        return words + (f"; 0: {self.zero}" if self.zero else "")


def number(value: float | None) -> str:
    """A bound as people read it: 8,388,608 rather than 8388608.0."""
    return "any" if value is None else f"{int(value):,}" if float(value).is_integer() else str(value)


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if item.default_factory is not MISSING else item.default


def _keys() -> Iterator[Key]:
    for section in fields(Config):
        for item in fields(section.default_factory):  # type: ignore[arg-type]  # a dataclass
            data = item.metadata
            yield Key(
                section.name,
                item.name,
                str(item.type),
                _default(item),
                data["doc"],
                data["unit"],
                data["low"],
                data["high"],
                data["choices"],
                data["zero"],
                data["secret"],
                data["restart"],
            )


KEYS: Final[dict[str, Key]] = {key.path: key for key in _keys()}
SECTIONS: Final[tuple[str, ...]] = tuple(section.name for section in fields(Config))
VARIABLES: Final[dict[str, Key]] = {key.variable: key for key in KEYS.values()}
