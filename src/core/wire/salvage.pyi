"""What can be saved of a frame that does not decode. See salvage.pyx. All are linear in their input, whatever it is."""

from .codec import Codec

def cut(codec: Codec, frame: bytes, limit: int) -> tuple[list[bytes], bool]:
    """The elements of the array that ``frame`` is, at most ``limit`` of them, and whether there was nothing else that is wrong with it.

    A frame that is no array is its only element. An element may be anything, and empty in JSON.
    """

def request_id(codec: Codec, element: bytes) -> int | None:
    """The id of the request that ``element`` was to be: the last one said, as decoders have it. None where none can be read."""

def mend(codec: Codec, value: bytes, otherwise: bool = False) -> bytes:
    """``value``, whole or not, with U+FFFD for each half of a surrogate pair in its strings; the same object where there is none.

    The length stays. ``otherwise``: with U+FFFC. What differs between the two was mended.
    """

def admissible(codec: Codec, payload: bytes) -> bytes:
    """The payload as it may be passed on: mended. Raises SynclineError(invalid_data), as ``check_payload``. O(payload)."""
