"""The node's services, as handlers ask them: ``session.services``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..config.schema import Config
from ..documents.service import Documents
from ..limits.arrivals import Arrivals
from ..limits.rates import Rates
from ..observe.counters import Counters
from ..rooms.messages import Messages
from ..rooms.presence import PresenceTracker
from ..rooms.service import Rooms
from ..seams.clock import Clock
from ..seams.tasks import Spawn
from ..sessions.authentication import Authentication
from ..sessions.session import Sessions
from .requests import Handler


@dataclass(slots=True)
class Services:
    """Those of a node, and the table of ``handlers``, by event."""

    config: Config
    clock: Clock
    counters: Counters
    handlers: Mapping[str, Handler]
    sessions: Sessions
    arrivals: Arrivals
    rates: Rates
    authentication: Authentication
    rooms: Rooms
    messages: Messages
    presence: PresenceTracker
    documents: Documents
    spawn: Spawn
