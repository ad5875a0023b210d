"""``locust -f loadtests/locustfile.py``: all scenarios; choose with ``--tags`` or by class names, else it is the mixed one."""

from __future__ import annotations

import sys
from pathlib import Path

# locust loads this file by its path, from wherever it is started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from loadtests.scenarios import (
    ChatUser,
    DocumentUser,
    EditorUser,
    HugeRoomSpeaker,
    HugeRoomUser,
    MixedUser,
    PresenceUser,
    SlowReader,
    SlowRoomSpeaker,
    SlowRoomUser,
    StormUser,
)

__all__ = [
    "ChatUser",
    "DocumentUser",
    "EditorUser",
    "HugeRoomSpeaker",
    "HugeRoomUser",
    "MixedUser",
    "PresenceUser",
    "SlowReader",
    "SlowRoomSpeaker",
    "SlowRoomUser",
    "StormUser",
]
