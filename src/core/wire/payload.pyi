"""What may be in a payload: one value that every client can decode, in either encoding. See payload.pyx."""

from typing import Final

from .codec import Codec

MAX_DEPTH: Final = 128
MAX_NUMBER: Final = 1100

def check_payload(codec: Codec, payload: bytes) -> int:
    """Returns 0. Raises SynclineError(invalid_data), whose text says what is wrong and at which byte. O(payload)."""

def deliverable(codec: Codec, payload: bytes) -> bytes:
    """The payload, or null in its place where it must not be sent: one that an older server let in. O(payload)."""

def require_expressible(codec: Codec, value: object, around: int = 0) -> None:
    """None, bool, int, a finite float, str, and lists, tuples and dicts (their keys are str) of such; in MessagePack also bytes,
    bytearray and memoryview, and keys that are int. Raises SynclineError(invalid_data) for what is none of these or nested more than
    ``MAX_DEPTH`` levels deep, beside ``around`` levels that are no payload: encoders write it as something
    else (a set as a list, a date as a text), unsaid. O(value).
    """
