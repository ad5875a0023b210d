"""The contracts in one SQLite file: the embedded default. All parts share one Database: one turn, one transaction."""

from __future__ import annotations

from .broker import SqliteBroker
from .database import Database, open_database
from .events import SqliteEventLog
from .file import require_known
from .presence import SqlitePresence
from .restore import Restored, restore
from .store import SqliteStore

__all__ = [
    "Database",
    "Restored",
    "SqliteBroker",
    "SqliteEventLog",
    "SqlitePresence",
    "SqliteStore",
    "open_database",
    "require_known",
    "restore",
]
