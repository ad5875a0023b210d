"""What transports need of the node they are the way into."""

from __future__ import annotations

import asyncio
from typing import Protocol

from ..config.schema import Config
from ..limits.admission import Admission
from ..limits.arrivals import Arrivals
from ..limits.descriptors import Descriptors
from ..limits.refusals import Refusals
from ..net.addresses import Addresses
from ..net.origins import Origins
from ..observe.counters import Counters
from ..seams.clock import Clock
from ..sessions.authentication import Authentication
from ..sessions.flusher import Flusher


class Host(Protocol):
    """``addresses`` and ``origins`` are others after a reload."""

    @property
    def config(self) -> Config: ...
    @property
    def loop(self) -> asyncio.AbstractEventLoop: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def addresses(self) -> Addresses: ...
    @property
    def origins(self) -> Origins: ...
    @property
    def arrivals(self) -> Arrivals: ...
    @property
    def admission(self) -> Admission: ...
    @property
    def descriptors(self) -> Descriptors: ...
    @property
    def refusals(self) -> Refusals: ...
    @property
    def authentication(self) -> Authentication: ...
    @property
    def flusher(self) -> Flusher: ...
    @property
    def draining(self) -> bool: ...
