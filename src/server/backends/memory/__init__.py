"""The contracts in memory: complete, synchronous, gone with the process. The reference for every other backend."""

from __future__ import annotations

from .broker import MemoryBroker
from .events import MemoryEventLog
from .presence import MemoryPresence
from .store import MemoryStore

__all__ = ["MemoryBroker", "MemoryEventLog", "MemoryPresence", "MemoryStore"]
