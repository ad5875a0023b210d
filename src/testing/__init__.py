"""The suites that every backend passes: one per contract of ``syncline.server.seams``, sentence by sentence.

Subclass a suite in a test file and give it the fixture ``create``, a function that makes an unstarted backend over the
test's own storage; called again it makes another one over the same storage, as a second process would::

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def create(self, tmp_path):
            return lambda clock: MyStore(tmp_path / "data", clock)

The ``Durable...`` suites add what must hold after a restart. Needs pytest and pytest-asyncio in its auto mode.
"""

from __future__ import annotations

from .broker import BrokerSuite, DurableBrokerSuite, Recorder
from .clock import ManualClock
from .events import DurableEventLogSuite, EventLogSuite
from .outcome import Outcomes, settled
from .presence import DurablePresenceSuite, PresenceSuite
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
