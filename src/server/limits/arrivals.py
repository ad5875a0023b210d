"""Connections that have not said who they are: how many there may be, and which of them make room.

A connection takes a descriptor from its first byte on, before anything is known of it. Were strangers to hold all places, by half
requests or by silence, nobody else could come in; so as soon as there is no place left one of them goes: of the address that has most,
the one that was heard of longest ago. Who has authenticated is never sent away for it. All are counted against ``limits.connections``.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Hashable
from typing import Final

from .refusals import Reason, Refusals

#: Descriptors that are not connections': listener, store, logs, the event loop's own.
OWN_DESCRIPTORS: Final = 64
#: Strangers that are let in although every place is a client's, to be told so, or whether the node is ready.
ALWAYS: Final = 16


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
    """Everybody enters, is perhaps ``identified``, and leaves once. ``address``: whose it is, "" for nobody knows. O(1) each."""

    def __init__(self, places: int, refusals: Refusals, *, of_address: int = 0, strangers_of_address: int = 0) -> None:
        """``of_address``, ``strangers_of_address``: 0 is no limit."""
        self.places = places
        self.known = 0
        self.dropped = 0
        self._of_address = of_address
        self._strangers_of_address = strangers_of_address
        self._known_of: dict[str, int] = {}  # address -> how many
        self._strangers: dict[Hashable, tuple[str, Callable[[], object]]] = {}  # -> address, what ends it
        self._groups: dict[str, dict[Hashable, None]] = {}  # address -> strangers, the one heard of longest ago first
        # Number of strangers -> the addresses that have so many; no empty end.
        self._levels: list[dict[str, None]] = [{}]
        self._refusals = refusals

    def limit(self, places: int, of_address: int, strangers_of_address: int) -> None:
        """From now on; nobody is sent away for it."""
        self.places = places
        self._of_address = of_address
        self._strangers_of_address = strangers_of_address

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

    def full_for(self, address: str) -> bool:
        """Whether clients of this address have all that one may have."""
        return bool(self._of_address and address) and self._known_of.get(address, 0) >= self._of_address

    def enter(self, one: Hashable, end: Callable[[], object], address: str = "") -> None:
        """A connection; ``end`` closes it at once. Somebody may be sent away for it."""
        most = self._strangers_of_address
        if most and address and len(self._groups.get(address, ())) >= most:
            self._drop(address, Reason.ADDRESS_UNIDENTIFIED)
        if len(self) >= self.places and len(self._strangers) >= ALWAYS:
            self._drop(next(iter(self._levels[-1])), Reason.NO_PLACE)
        self._put(one, end, address)

    def heard(self, one: Hashable) -> None:
        """A stranger has asked for something whole: it is the newest now."""
        if one in self._strangers:
            address, end = self._take(one)
            self._put(one, end, address)

    def identified(self, one: Hashable, address: str = "") -> None:
        """It is somebody's, and is never sent away from now on."""
        if one in self._strangers:  # else it was just sent away; it leaves as one who is known all the same
            self._take(one)
        self.known += 1
        if address:
            self._known_of[address] = self._known_of.get(address, 0) + 1

    def left(self, one: Hashable, address: str = "", *, identified: bool = False) -> None:
        if not identified:
            if one in self._strangers:
                self._take(one)
            return
        self.known -= 1
        if address:
            self._known_of[address] -= 1
            if not self._known_of[address]:
                del self._known_of[address]

    def _put(self, one: Hashable, end: Callable[[], object], address: str) -> None:
        self._strangers[one] = (address, end)
        group = self._groups.setdefault(address, {})
        self._level(address, len(group), len(group) + 1)
        group[one] = None

    def _take(self, one: Hashable) -> tuple[str, Callable[[], object]]:
        address, end = self._strangers.pop(one)
        group = self._groups[address]
        self._level(address, len(group), len(group) - 1)
        del group[one]
        if not group:
            del self._groups[address]
        return address, end

    def _level(self, address: str, before: int, after: int) -> None:
        levels = self._levels
        levels[before].pop(address, None)
        if after == len(levels):
            levels.append({})
        if after:
            levels[after][address] = None
        while len(levels) > 1 and not levels[-1]:
            levels.pop()

    def _drop(self, address: str, why: Reason) -> None:
        one = next(iter(self._groups[address]))
        _, end = self._take(one)
        self.dropped += 1
        self._refusals.refused(why, address, connections=len(self) + 1, unidentified=self.strangers + 1)
        end()
