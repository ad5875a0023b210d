"""What may be in a payload: one value that every client can decode, in either encoding. See payload.pyx."""

from typing import Final

from .wire import Codec

MAX_DEPTH: Final = 128
MAX_NUMBER: Final = 1100

def check_payload(codec: Codec, payload: bytes) -> int:
    """Returns 0. Raises SynclineError(invalid_data), whose text says what is wrong and at which byte. O(payload)."""

def deliverable(codec: Codec, payload: bytes) -> bytes:
    """The payload, or null in its place where it must not be sent: one that an older server let in. O(payload)."""
