"""Request handlers, one file per noun. ``table()`` is what ``NativeSession`` dispatches by."""

from __future__ import annotations

from ..requests import Handler
from . import auth, documents, history, messages, presence, rooms


def table() -> dict[str, Handler]:
    """event -> handler, for every request event of docs/protocol.md."""
    handlers: dict[str, Handler] = {}
    for module in (auth, rooms, messages, presence, documents, history):
        for handler in module.EVENTS.table:
            if handler.event in handlers:
                raise ValueError(f"two handlers for {handler.event}")
            handlers[handler.event] = handler
    return handlers
