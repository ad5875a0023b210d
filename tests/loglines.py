"""The log of a server that runs inside a test, as an operator has it: through the handler of ``syncline serve``, as JSON."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import structlog

from syncline.server.observe import log
from tests.waiting import wait_until


class LogLines:
    """``log_lines("room r")``: the lines so far that have this text, those that tell of repeated ones at their end."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self._configure()

    def _configure(self, level: str = "info") -> None:
        log.configure(level, "json", self.stream, waiting=100_000, repeat_seconds=3600.0)

    def __call__(self, text: str = "") -> list[dict[str, Any]]:
        [handler] = [one for one in logging.getLogger().handlers if isinstance(one, log._Background)]
        self._configure()  # which ends the one before
        wait_until(lambda: not handler._thread.is_alive())
        return [json.loads(line) for line in self.stream.getvalue().splitlines() if text in line]

    def all_of(self, level: str) -> None:
        """From now on lines of this level, too."""
        self._configure(level)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Logging is the process's: what is changed in the block is put back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in (*log._QUIET, "uvicorn.access"):
            quiet = logging.getLogger(name)
            quiet.setLevel(logging.NOTSET)
            quiet.propagate, quiet.disabled = True, False
        structlog.reset_defaults()
