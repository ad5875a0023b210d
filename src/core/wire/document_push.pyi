"""The push `document:operation` as one WebSocket frame, written from the entries of a text. See document_push.pyx."""

from ..ot.ot import Unit
from ..storage.commits import Entry
from .envelopes import Codec

def operations_frame(
    codec: Codec,
    document: str,
    revision: int,
    entries: list[Entry],
    unit: Unit = "utf-16",
    text_hash: int | None = None,
) -> bytes:
    """Consecutive entries that end at ``revision``, where the text has ``text_hash`` if one is told. O(result).

    Raises ValueError for an unknown codec or unit, TypeError when an entry is not that of a text.
    """
