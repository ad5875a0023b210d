"""One setting of the configuration: its default, and what is allowed for it."""

from __future__ import annotations

from dataclasses import field
from typing import Any


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    zero: str = "",
    secret: bool = False,
    restart: bool = False,
) -> Any:
    """A field with what is allowed for it. ``low`` and ``high`` are inclusive; a ``secret`` is never shown; a change of one that needs a
    ``restart`` waits for it."""
    metadata = {
        "doc": doc,
        "unit": unit,
        "low": low,
        "high": high,
        "choices": choices,
        "zero": zero,
        "secret": secret,
        "restart": restart,
    }
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, repr=not secret, metadata=metadata)
