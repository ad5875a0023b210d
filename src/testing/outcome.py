"""What ``done`` callbacks said, awaited without sleeping."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Hashable
from typing import Any

#: Seconds after which a ``done`` that never comes is a failure. A bound for hangs, not a measurement.
PATIENCE = 30.0


class Outcomes:
    """Hands out callbacks by name and keeps the order and the arguments of their calls."""

    def __init__(self) -> None:
        self.order: list[Any] = []
        self.results: dict[Any, Any] = {}
        self.errors: dict[Any, Exception] = {}
        # Raised by ``wait``: an exception in a callback would end in the backend.
        self._broken: list[str] = []
        self._names: set[Hashable] = set()
        self._all = asyncio.Event()

    def done(self, name: Hashable) -> Callable[[Any, Exception | None], None]:
        """The callback for the call named ``name``."""
        assert name not in self._names, f"two calls named {name!r}"
        self._names.add(name)
        self._all.clear()
        thread = threading.get_ident()

        def done(result: Any, error: Exception | None) -> None:
            if threading.get_ident() != thread:
                self._broken.append(f"done of {name!r} was called in another thread")
            if (result is None) == (error is None):
                self._broken.append(f"done of {name!r} got {result!r} and {error!r}: exactly one must be None")
            if name in self.order:
                self._broken.append(f"done of {name!r} was called twice")
            self.order.append(name)
            if error is None:
                self.results[name] = result
            else:
                self.errors[name] = error
            if len(self.order) >= len(self._names):
                self._all.set()

        return done

    async def wait(self) -> None:
        """Until every callback handed out was called; asserts that each was called once, on the loop's thread."""
        if len(self.order) < len(self._names):
            await asyncio.wait_for(self._all.wait(), PATIENCE)
        assert not self._broken, self._broken


async def settled(submit: Callable[[Callable[[Any, Exception | None], None]], object]) -> Any:
    """The result of one call with ``done``, as in ``await settled(partial(store.append, "notes", "generation", turn))``.

    Raises the call's error.
    """
    outcomes = Outcomes()
    submit(outcomes.done("call"))
    await outcomes.wait()
    if outcomes.errors:
        raise outcomes.errors["call"]
    return outcomes.results["call"]
