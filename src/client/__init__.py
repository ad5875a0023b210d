"""The asyncio client: ``async with await connect("ws://127.0.0.1:8000/ws", name="Ada") as client: ...``.

``client.join(room)`` gives a ``Room``, ``client.document(name)`` a ``TextDocument``, ``client.document(name, type="json")`` a
``Document``; all are kept over reconnects.
docs/python-client.md shows each with an example.
"""

from .backoff import Backoff, Clock, SystemClock
from .client import Client, connect
from .connection import Options, State
from .cursors import Collaborator
from .document_values import Committed, Kind, LostWork, Origin
from .documents import Document, Rebased, Refused
from .errors import (
    BufferFull,
    ClientError,
    Closed,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    Diverged,
    NoToken,
    NotSent,
    ProtocolViolation,
    Removed,
    RequestError,
    RequestTimeout,
    Undecodable,
)
from .history import Blame, BlameRange, History, HistoryEntry, Version
from .proof import Position, Proof
from .rooms import CustomEvent, Member, MessageStream, Occupancy, Publication, Room
from .text_document import TextDocument

__all__ = [
    "Backoff",
    "Blame",
    "BlameRange",
    "BufferFull",
    "Client",
    "ClientError",
    "Clock",
    "Closed",
    "Collaborator",
    "Committed",
    "ConnectFailed",
    "ConnectionLost",
    "CustomEvent",
    "Disconnected",
    "Diverged",
    "Document",
    "History",
    "HistoryEntry",
    "Kind",
    "LostWork",
    "Member",
    "MessageStream",
    "NoToken",
    "NotSent",
    "Occupancy",
    "Options",
    "Origin",
    "Position",
    "Proof",
    "ProtocolViolation",
    "Publication",
    "Rebased",
    "Refused",
    "Removed",
    "RequestError",
    "RequestTimeout",
    "Room",
    "State",
    "SystemClock",
    "TextDocument",
    "Undecodable",
    "Version",
    "connect",
]
