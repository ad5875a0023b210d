"""Whether the process can still open files: each connection is one, and so is much of what it does for those that it has.

``arrivals.places`` sees to it that connections alone never take all. What else may: files that something else of the process has open,
a limit that was lowered while it runs, a system that has none left. The event loop then closes what connects without a word to anybody;
so the last RESERVE are not given to connections, and it is looked every second whether there is one at all.
"""

from __future__ import annotations

import logging
import os
import resource
from typing import Final

from .arrivals import ALWAYS, OWN_DESCRIPTORS, places

log = logging.getLogger("syncline.descriptors")

#: For what the process opens for the connections it has: the store's temporary files, /proc for the metrics. The event loop accepts one
#: connection a turn, so that none slips by.
RESERVE: Final = 16


def raise_limit(connections: int, backlog: int) -> None:
    """As far as ``limits.connections`` and ``server.backlog`` need it; says in the log when it cannot be. Each connection is a descriptor;
    the soft limit is 1024 on many systems, which nobody means."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = connections + backlog + OWN_DESCRIPTORS + ALWAYS
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as error:
        wanted = soft
        log.warning("the limit of open files could not be raised: %s", error)
    room, _ = places(connections, backlog)
    if room < connections and wanted >= OWN_DESCRIPTORS + ALWAYS:
        log.warning(
            "limits.connections is %d, but this process may open %d files: %d are taken; raise `ulimit -n`, or lower it",
            connections,
            wanted,
            room,
        )


class TooFew(Exception):
    """The process may open too few files to serve anybody; the text is for the operator."""


def require() -> None:
    """Raises TooFew."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    least = OWN_DESCRIPTORS + ALWAYS
    if soft != resource.RLIM_INFINITY and soft < least:
        raise TooFew(
            f"this process may open {soft} files, and a node needs {least} beside its connections: raise `ulimit -n`"
        )


class Descriptors:
    """``missing``: how often none was free when it was looked."""

    def __init__(self) -> None:
        self.missing = 0

    def short(self, descriptor: int) -> bool:
        """Whether a connection with this descriptor takes one of the last. The system gives out the lowest that is free."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return limit != resource.RLIM_INFINITY and descriptor >= limit - RESERVE

    def look(self) -> None:
        """Every second."""
        try:
            os.close(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            self.missing += 1
            log.error("no descriptor is free: what connects is closed without an answer, and not counted: %s", error)
