"""Signals, from the first line of the program to its end: there is no moment at which one has its usual meaning, which is to kill.

What asks for something (KEPT) while no server is there to take it is noted, and done as soon as it serves. What ends it ends it at once
then, as one that was asked to: nothing has been acknowledged yet, or everything is stored. On the way through ``execv`` all wait in the
kernel, whose masks and pending signals outlive it (execve(2), signal(7)).

Imports nothing that takes long: ``take`` is to be called first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

KEPT: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
ENDING: Final = (signal.SIGTERM, signal.SIGINT)

Taker = Callable[[signal.Signals], object]

_taker: Taker | None = None
_noted: set[signal.Signals] = set()


def take() -> None:
    """From now on. For the main thread."""
    for number in KEPT + ENDING:
        signal.signal(number, _came)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, KEPT + ENDING)


def give(taker: Taker | None) -> None:
    """Those that come from now on, and those that were noted, go to ``taker``, which is called in the main thread between any two of its
    instructions; None: there is no server any more."""
    global _taker
    _taker = taker
    if taker is not None:
        for number in _noted_so_far():
            taker(number)


def keep_through_exec() -> None:
    """Right before ``execv``: the program that follows gets them when it calls ``take``."""
    signal.pthread_sigmask(signal.SIG_BLOCK, KEPT + ENDING)
    for number in _noted_so_far():
        signal.pthread_kill(threading.get_ident(), number)


def _noted_so_far() -> set[signal.Signals]:
    found = set(_noted)
    _noted.clear()
    return found


def _came(number: int, _frame: Any) -> None:
    if _taker is not None:
        _taker(signal.Signals(number))
    elif number in ENDING:
        os._exit(0)
    else:
        _noted.add(signal.Signals(number))
