"""Signals that come when no server is there to take them: while the program starts, and while it becomes another one.

What asks for something (KEPT) is noted and done as soon as it serves. What ends it ends it at once, as one that was asked to: nothing has
been acknowledged yet, or everything is stored. On the way through ``execv`` all wait in the kernel, whose masks and pending signals
outlive it (execve(2), signal(7)).

Imports nothing that takes long: ``take`` is to be called first.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import Any, Final

KEPT: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ENDING: Final = (signal.SIGTERM, signal.SIGINT)

_noted: set[signal.Signals] = set()


def take() -> None:
    """From now on until others handle them."""
    for number in KEPT:
        signal.signal(number, _note)
    for number in ENDING:
        signal.signal(number, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT + ENDING)


def noted() -> set[signal.Signals]:
    """Those that came, once."""
    found = set(_noted)
    _noted.clear()
    return found


def keep_through_exec() -> None:
    """Right before ``execv``: the program that follows gets them when it calls ``take``."""
    signal.pthread_sigmask(signal.SIG_BLOCK, KEPT + ENDING)
    for number in noted():
        signal.pthread_kill(threading.get_ident(), number)


def _note(number: int, _frame: Any) -> None:
    _noted.add(signal.Signals(number))


def _end(_number: int, _frame: Any) -> None:
    os._exit(0)
