"""Connections that have not said who they are: how many there may be, and which of them make room.

A connection takes a descriptor from its first byte on, before anything is known of it. Were strangers to hold all places, by half
requests or by silence, nobody else could come in; so whoever has waited longest goes, as soon as there is no place left.
Who has authenticated is never sent away for it. All are counted against ``limits.connections``.
"""

from __future__ import annotations

import logging
import resource
from collections.abc import Callable, Hashable
from typing import Final

log = logging.getLogger("syncline.arrivals")

#: Descriptors that are not connections': listener, store, logs, the event loop's own.
OWN_DESCRIPTORS: Final = 64
#: Strangers that are let in although every place is a client's, to be told so, or whether the node is ready.
ALWAYS: Final = 16
#: Between two lines in the log, in seconds.
QUIET: Final = 10.0


def places(connections: int, backlog: int) -> tuple[int, int]:
    """``limits.connections`` and ``server.backlog`` as far as the process may open files: what waits to be accepted can
    become descriptors at one blow, before anybody is sent away."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY:
        return connections, backlog
    left = limit - OWN_DESCRIPTORS - ALWAYS
    backlog = max(1, min(backlog, max(left - connections, min(limit // 8, 512))))
    return max(1, min(connections, left - backlog)), backlog


class Arrivals:
    """Everybody enters, is perhaps ``identified``, and leaves once. O(1) each."""

    def __init__(self, places: int, now: Callable[[], float]) -> None:
        """``now``: a clock, in seconds."""
        self.places = places
        self.known = 0
        self.dropped = 0
        self._strangers: dict[Hashable, Callable[[], object]] = {}  # the one heard of longest ago first -> what ends it
        self._now = now
        self._told = now() - QUIET
        self._told_dropped = 0

    def __len__(self) -> int:
        """How many connections there are."""
        return self.known + len(self._strangers)

    @property
    def strangers(self) -> int:
        return len(self._strangers)

    @property
    def full(self) -> bool:
        """Whether clients have all places."""
        return self.known >= self.places

    def enter(self, one: Hashable, end: Callable[[], object]) -> None:
        """A connection; ``end`` closes it at once. Somebody may be sent away for it."""
        strangers = self._strangers
        if len(self) >= self.places and len(strangers) >= ALWAYS:
            self._drop()
        strangers[one] = end

    def heard(self, one: Hashable) -> None:
        """A stranger has asked for something whole: it is the newest now."""
        end = self._strangers.pop(one, None)
        if end is not None:
            self._strangers[one] = end

    def identified(self, one: Hashable) -> None:
        """It is somebody's, and is never sent away from now on."""
        # Not among them when it was just sent away; it leaves as one who is known all the same.
        self._strangers.pop(one, None)
        self.known += 1

    def left(self, one: Hashable, *, identified: bool = False) -> None:
        if identified:
            self.known -= 1
        else:
            self._strangers.pop(one, None)

    def _drop(self) -> None:
        one = next(iter(self._strangers))
        end = self._strangers.pop(one)
        self.dropped += 1
        now = self._now()
        if now - self._told >= QUIET:
            log.warning(
                "no place left: of %d connections %d have not said who they are; %d of those were closed since this was last said",
                len(self) + 1,
                self.strangers + 1,
                self.dropped - self._told_dropped,
            )
            self._told, self._told_dropped = now, self.dropped
        end()
