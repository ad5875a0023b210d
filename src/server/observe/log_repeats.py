"""Lines of a log that repeat: of a kind a few are written, the rest is counted, and one line says how many there were.

What goes wrong for one request goes wrong for thousands, and a client that is refused comes back: without this a full disk or a single
client decides how fast the log grows. The first lines of a kind are always written, and no count is lost.

A kind is a logger, a level, a message before its arguments are put in, and of a fault where it was raised. Lines about one client have
its ``address``; those of one address do not keep another's out. A period begins with a kind's first line. Lines at ``debug`` all pass.

O(1) a line. Not locked: whoever calls sees to that.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, NamedTuple, TypeAlias

from ..net.addresses import subscriber

#: Lines of one kind and address in a period.
FEW: Final = 5
#: Lines of one kind in a period, whatever the addresses: many clients together do not drive the log either. Half of them are for
#: addresses that have none yet.
MOST: Final = 24
#: Addresses that are told apart, for each kind. Lines of further ones are counted, and not written: there were MOST long before.
ADDRESSES: Final = 256
#: Kinds in one period. Our own are some hundred; a library that puts everything into its messages gets no further: the oldest goes.
KINDS: Final = 512

_Fault: TypeAlias = tuple[type[BaseException] | None, CodeType | None, int]
_Key: TypeAlias = tuple[str, int, str, _Fault | None]


class Repeated(NamedTuple):
    """What was left out of one kind: ``lines`` in ``seconds``, ``message`` the first of them. ``addresses``: of so many clients, most of
    them of ``most_of``."""

    logger: str
    level: int
    message: str
    lines: int
    seconds: float
    addresses: int
    most_of: str


class _Kind:
    __slots__ = ("began", "by", "left_out", "message", "written")

    def __init__(self, now: float) -> None:
        self.began = now
        self.written = 0
        self.left_out = 0
        self.message = ""  # the first of what was left out
        self.by: dict[str, list[int]] = {}  # address -> lines written, lines left out


class Repeats:
    """``seconds``: a period. ``now``: a clock, in seconds."""

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self.seconds = seconds
        self.left_out = 0  # since the start
        self._now = now
        self._kinds: dict[_Key, _Kind] = {}  # by the beginning of their period
        self._waiting = 0  # of them, those that have something to tell
        self._over: list[Repeated] = []

    @property
    def waiting(self) -> bool:
        """Whether something will have to be told."""
        return bool(self._waiting or self._over)

    def passes(self, record: logging.LogRecord) -> bool:
        """Whether it is to be written; else it was counted."""
        if record.levelno <= logging.DEBUG:
            return True
        now = self._now()
        message, address = _message(record)
        key = (record.name, record.levelno, message, _fault(record))
        kind = self._kinds.get(key)
        if kind is not None and now >= kind.began + self.seconds:
            self._end(key, now)
            kind = None
        if kind is None:
            if len(self._kinds) >= KINDS:
                self._end(next(iter(self._kinds)), now)
            kind = self._kinds[key] = _Kind(now)
        mine = kind.by.get(address)
        if mine is None:
            mine = [0, 0]
            if len(kind.by) < ADDRESSES:
                kind.by[address] = mine
        if mine[0] < FEW and kind.written < (MOST // 2 if mine[0] else MOST):
            mine[0] += 1
            kind.written += 1
            return True
        mine[1] += 1
        if not kind.left_out:
            self._waiting += 1
            kind.message = _formatted(record, message)
        kind.left_out += 1
        self.left_out += 1
        return False

    def over(self) -> list[Repeated]:
        """What is to be told now: of periods that are over. O(those)."""
        now = self._now()
        while self._kinds:
            key, kind = next(iter(self._kinds.items()))
            if now < kind.began + self.seconds:
                break
            self._end(key, now)
        told, self._over = self._over, []
        return told

    def end(self) -> list[Repeated]:
        """What is to be told when no line comes any more."""
        now = self._now()
        while self._kinds:
            self._end(next(iter(self._kinds)), now)
        return self.over()

    def _end(self, key: _Key, now: float) -> None:
        kind = self._kinds.pop(key)
        if not kind.left_out:
            return
        self._waiting -= 1
        by = {address: left_out for address, (_, left_out) in kind.by.items() if address and left_out}
        most_of = max(by, key=by.__getitem__, default="")
        self._over.append(Repeated(*key[:2], kind.message, kind.left_out, now - kind.began, len(by), most_of))


def _message(record: logging.LogRecord) -> tuple[str, str]:
    """The message as it is in the code, and whose address it is about, "" for nobody's."""
    message: Any = record.msg
    address: Any = getattr(record, "address", "")
    if isinstance(message, dict):  # structlog's
        address = message.get("address", "")
        message = message.get("event")
    if not isinstance(message, str):
        message = type(message).__name__
    # asyncio puts what it knows of a fault into further lines, with the addresses of objects.
    return message.partition("\n")[0], _subscriber(address)


def _formatted(record: logging.LogRecord, message: str) -> str:
    """``message`` with its arguments, as it would have been written."""
    if not isinstance(record.msg, str):
        return message
    try:
        return record.getMessage().partition("\n")[0]
    except Exception:  # arguments that do not fit: the line would have been a fault of its own
        return message


def _subscriber(address: object) -> str:
    if not isinstance(address, str):
        return ""
    try:
        return subscriber(address)
    except ValueError:
        return address


def _fault(record: logging.LogRecord) -> _Fault | None:
    """What was raised, and where: one message may tell of many faults."""
    if not record.exc_info:
        return None
    kind, _, trace = record.exc_info
    if trace is None:
        return kind, None, 0
    while trace.tb_next is not None:
        trace = trace.tb_next
    return kind, trace.tb_frame.f_code, trace.tb_lineno
