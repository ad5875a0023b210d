"""Lists of callbacks: called in order, each shielded from the faults of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")
log = logging.getLogger("syncline.client")


class Callbacks(Generic[P]):
    """A callback that raises is logged and goes on being called: one listener's fault is not the connection's."""

    __slots__ = ("_callbacks",)

    def __init__(self) -> None:
        self._callbacks: list[Callable[P, object]] = []

    def __bool__(self) -> bool:
        return bool(self._callbacks)

    def add(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Returns what takes it off again; doing so twice is harmless."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def fire(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for callback in [*self._callbacks]:
            try:
                callback(*args, **kwargs)
            except Exception:
                log.exception("a callback failed")
