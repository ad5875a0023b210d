"""Standard input, output and error: there, and never waited for by the server.

Imports nothing that takes long: ``ensure`` is to be called before a file or a socket is opened.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from contextlib import suppress


def ensure() -> None:
    """Opens what is missing of the descriptors 0, 1 and 2: a socket or a database of ours that got one of these numbers would be printed
    into."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free, which is this one
    # What Python did not find when it started it has left out.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (for the life of the process)


def write(descriptor: int, text: str) -> None:
    """All of ``text``, however long nobody takes it. Raises OSError.

    Past Python's own buffers: a thread that hangs in one of those has its lock, and a process with such a thread aborts at its end."""
    data = text.encode("utf-8", "backslashreplace")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:  # who shares it has made it so
            ready = select.poll()
            ready.register(descriptor, select.POLLOUT)
            ready.poll()


def announce(text: str) -> None:
    """A line on standard output, for who waits for it. Who does not take it, or has closed it, holds nothing up."""

    def tell() -> None:
        with suppress(OSError):
            write(1, text + "\n")

    threading.Thread(target=tell, name="syncline-announce", daemon=True).start()
