"""What a room's digest must be: every publication hashed anew with zlib, and summed. docs/protocol.md, Delivery digest."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable


def item(epoch: str, offset: int, payload: bytes) -> int:
    return zlib.crc32(epoch.encode() + struct.pack("<Q", offset) + payload)


def digest(epoch: str, publications: Iterable[tuple[int, bytes]]) -> int:
    """Of these (offset, payload)."""
    return sum(item(epoch, offset, payload) for offset, payload in publications) % 2**32
