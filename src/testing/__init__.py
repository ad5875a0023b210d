"""For tests: the suites that every backend passes, one per contract of ``syncline.server.seams``, sentence by sentence;
and editing histories that are made up (``editing``).

Subclass a suite in a test file and give it the fixture ``create``, a function that makes an unstarted backend over the
test's own storage; called again it makes another one over the same storage, as a second process would::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def create(self, tmp_path):
            return lambda clock: MyStore(tmp_path / "data", clock)

The ``Durable...`` suites add what must hold after a restart. They need pytest and pytest-asyncio in its auto mode, and
are imported when they are asked for: ``editing`` needs neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .broker import BrokerSuite, DurableBrokerSuite
    from .clock import ManualClock
    from .events import DurableEventLogSuite, EventLogSuite
    from .outcome import Outcomes, settled
    from .presence import DurablePresenceSuite, PresenceSuite
    from .recorder import Recorder
    from .store import DurableStoreSuite, StoreSuite

__all__ = [
    "BrokerSuite",
    "DurableBrokerSuite",
    "DurableEventLogSuite",
    "DurablePresenceSuite",
    "DurableStoreSuite",
    "EventLogSuite",
    "ManualClock",
    "Outcomes",
    "PresenceSuite",
    "Recorder",
    "StoreSuite",
    "settled",
]

_HOMES = {
    "broker": ("BrokerSuite", "DurableBrokerSuite"),
    "clock": ("ManualClock",),
    "events": ("DurableEventLogSuite", "EventLogSuite"),
    "outcome": ("Outcomes", "settled"),
    "presence": ("DurablePresenceSuite", "PresenceSuite"),
    "recorder": ("Recorder",),
    "store": ("DurableStoreSuite", "StoreSuite"),
}


def __getattr__(name: str) -> object:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f".{home}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
