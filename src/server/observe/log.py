"""Logs: structlog's processors over the standard library's loggers, so that ours and the libraries' lines look alike.

Code logs through ``logging.getLogger("syncline.<part>")`` or ``structlog.get_logger()``; one handler on the root writes
a line per event to standard error: JSON for machines, coloured text on a terminal. Secrets do not reach it: ``redact``
is the last processor before rendering, over every field and the traceback.
"""

from __future__ import annotations

import json
import logging
import queue
import re
import sys
import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Final, TextIO

import structlog
from structlog.typing import Processor

from . import standard
from .log_repeats import Repeated, Repeats

REDACTED: Final = "[redacted]"
#: Nesting that redaction looks into; what lies deeper is shown as a type name only.
MAX_DEPTH: Final = 6

#: How often it is looked whether something that was left out has to be told, in seconds; only while there is something.
_LOOK_SECONDS: Final = 0.5

_SECRET_KEY = re.compile(r"token|passw|secret|authorization|cookie|private_key", re.IGNORECASE)
_SECRET_TEXT = (
    # access_token=... in a URL, token=... in a query
    (re.compile(r"((?:access_|refresh_)?token|password|secret)=[^&\s\"'<>]+", re.IGNORECASE), rf"\1={REDACTED}"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    # a compact JWS: the header is a JSON object, so it begins with `{"` in base64
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]*\.[\w-]*"), REDACTED),
)
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)}
#: In one line of the console a line feed in a message would forge the next line.
_CONTROL_LINE = {**_CONTROL, 0x0A: "\\n"}

#: Loggers of libraries that say more than an operator wants at our level.
_QUIET: Final = {
    "uvicorn.error": logging.WARNING,  # "Started server process" and so on; we say it ourselves
    "picows": logging.WARNING,
    "asyncio": logging.WARNING,
}


def redact_text(text: str) -> str:
    """``text`` without tokens, passwords and credentials that it quotes."""
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= MAX_DEPTH:
        return f"<{type(value).__name__}>"
    if isinstance(value, dict):
        return {
            str(key): REDACTED if _SECRET_KEY.search(str(key)) and item not in (None, "") else _clean(item, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    return redact_text(repr(value))


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The processor: secret keys lose their values, texts the secrets in them. O(size of the event)."""
    cleaned: dict[str, Any] = _clean(dict(event), 0)
    return cleaned


def _one_line(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = value.translate(_CONTROL if key in ("exception", "stack") else _CONTROL_LINE)
    return event


def _drop_formatted(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Another handler's formatter leaves these two on the record; they are no extra fields."""
    event.pop("message", None)
    event.pop("asctime", None)
    return event


def _dumps(event: Any, **_: Any) -> str:
    # ASCII only: lone surrogates, line separators and terminal escapes in it are harmless everywhere.
    return json.dumps(event, default=repr, separators=(", ", ": "))


def formatter(kind: str, *, colours: bool = False) -> logging.Formatter:
    """``kind``: "console" or "json"."""
    shared: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        _drop_formatted,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
    ]
    if kind == "json":
        rename = structlog.processors.EventRenamer("message")
        last += [redact, rename, structlog.processors.JSONRenderer(serializer=_dumps)]
    else:
        plain = structlog.dev.plain_traceback
        last += [redact, _one_line, structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain)]
    return structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=last)


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that a second ``configure`` replaces it and leaves those of others (pytest's, say) alone."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the standard library's name)
        # A closed or full standard error must neither stop the server nor make noise of its own.
        pass


class _Background(_Handler):
    """Lines are written by a thread: whoever reads standard error, or does not (a full pipe), never holds up the event loop.

    ``most`` lines wait; more are dropped, counted, and told of when there is room again. Those that repeat are left out before they are
    formatted, and told of when their period is over, or at the end.
    """

    def __init__(self, stream: TextIO, most: int, repeat_seconds: float) -> None:
        """``repeat_seconds``: a period of log_repeats.py; 0: every line is written."""
        super().__init__(stream)
        try:
            self._descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):  # a stream of the program's own
            self._descriptor = -1
        self.dropped = 0
        self.repeats = Repeats(repeat_seconds, time.monotonic) if repeat_seconds else None
        # Not the handler's own lock: ``logging.shutdown`` holds that one while it waits for the thread.
        self._counting = threading.Lock()
        self._most = most
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        # A daemon: one that is stuck in a write must not keep the process.
        self._thread = threading.Thread(target=self._write, name="syncline-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= self._most:
            self.dropped += 1
            return
        try:
            if self._passes(record):
                self._lines.put(self.format(record))
        except Exception:  # as every handler does: what cannot be formatted is not worth more than the rest
            self.handleError(record)

    def _passes(self, record: logging.LogRecord) -> bool:
        repeats = self.repeats
        if repeats is None:
            return True
        with self._counting:
            quiet = not repeats.waiting
            passes = repeats.passes(record)
            if quiet and repeats.waiting:
                self._lines.put("")  # the thread looks at the time from now on
        return passes

    def flush(self) -> None:
        """Nothing: the thread writes as fast as it can."""

    def close(self) -> None:
        """Writes what waits, for a second at most."""
        self._lines.put(None)
        self._thread.join(1.0)
        super().close()

    def _write(self) -> None:
        told = 0
        line: str | None = ""
        while line is not None:
            line = self._next()
            if self.dropped > told and self._lines.qsize() < self._most // 2:
                missing, told = self.dropped - told, self.dropped
                text = "%d lines of this log were dropped: nobody took them"
                self._put(self.format(_record("syncline.log", logging.WARNING, text, missing)))
            for repeated in self._over(at_end=line is None):
                self._put(self.format(_repeated(repeated)))
            if line:
                self._put(line)

    def _next(self) -> str | None:
        """The next line; None: there are no more. "" when it is time to look for what has to be told."""
        waiting = self.repeats is not None and self.repeats.waiting
        try:
            return self._lines.get(timeout=_LOOK_SECONDS if waiting else None)
        except queue.Empty:
            return ""

    def _over(self, *, at_end: bool) -> list[Repeated]:
        if self.repeats is None or not self.repeats.waiting:
            return []
        with self._counting:
            return self.repeats.end() if at_end else self.repeats.over()

    def _put(self, line: str) -> None:
        with suppress(OSError, ValueError):  # closed, or a full disk
            if self._descriptor >= 0:
                standard.write(self._descriptor, line + self.terminator)
            else:
                self.stream.write(line + self.terminator)
                self.stream.flush()


def _record(logger: str, level: int, text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord(logger, level, __file__, 0, text, values, None)


def _repeated(told: Repeated) -> logging.LogRecord:
    """The line that stands for those that were left out; of their own logger and level, so that who filters by those sees it."""
    record = _record(told.logger, told.level, "%d more in %.0f s, such as: %s", told.lines, told.seconds, told.message)
    record.repeated, record.seconds = told.lines, round(told.seconds, 3)
    if told.addresses:
        record.addresses, record.most_of = told.addresses, told.most_of
    return record


def dropped() -> int:
    """Lines that were dropped since the start."""
    return sum(one.dropped for one in logging.getLogger().handlers if isinstance(one, _Background))


def finish() -> None:
    """Writes what waits, for a second at most. What is logged afterwards is lost."""
    for one in logging.getLogger().handlers:
        if isinstance(one, _Background):
            one.close()


def set_level(level: str) -> None:
    """Of what is written from now on. ``level``: as for ``configure``."""
    number = logging.getLevelNamesMapping()[level.upper()]
    logging.getLogger().setLevel(number)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(max(least, number))


def left_out() -> int:
    """Lines that were left out since the start because they repeated others."""
    handlers = (one for one in logging.getLogger().handlers if isinstance(one, _Background))
    return sum(one.repeats.left_out for one in handlers if one.repeats is not None)


def configure(
    level: str = "info",
    format: str = "auto",
    stream: TextIO | None = None,
    *,
    waiting: int | None = None,
    repeat_seconds: float = 0.0,
) -> None:
    """Sets logging up for the whole process; calling it again replaces what it did.

    ``waiting``: lines that may wait for a thread that writes them; None: each is written before the call that logs it returns.
    ``repeat_seconds``: of lines of that thread, so long a few of a kind are written and the rest is counted; 0: all are written.

    ``level``: debug, info, warning or error. ``format``: auto (console on a terminal, else JSON), console or json.
    ``stream``: standard error by default.
    """
    stream = sys.stderr if stream is None else stream
    terminal = stream.isatty()
    kind = ("console" if terminal else "json") if format == "auto" else format
    handler = _Handler(stream) if waiting is None else _Background(stream, waiting, repeat_seconds)
    handler.setFormatter(formatter(kind, colours=terminal and kind == "console"))
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
        if isinstance(old, _Background):
            old.close()
    root.addHandler(handler)
    set_level(level)
    # Request lines are no events of ours: they would name URLs with tokens, and cost more than the requests.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
    access.disabled = True

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.StackInfoRenderer(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # a later ``configure`` reaches loggers made before it
    )
