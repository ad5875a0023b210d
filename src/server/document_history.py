"""The operations of a loaded document, also those that its window no longer has: read from the store, piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..core.errors import ErrorCode, SynclineError, TooFarBehind
from ..core.types import AnyEntry
from .document_frames import entries_between

if TYPE_CHECKING:
    from .live_document import LiveDocument

#: Operations that are read at once to widen a window, and how many times its bounds it may be widened to.
PIECE: Final = 1000
WIDEST: Final = 4
#: What a smaller window counts as there.
LEAST_BYTES: Final = 1_048_576


async def widen(live: LiveDocument, base: int) -> None:
    """Reads history from the store until the window reaches down to ``base``, piece by piece.

    Raises TooFarBehind when that would be ``WIDEST`` windows, SynclineError(history_trimmed), Unavailable.
    """
    config = live.node.config.documents
    while base < live.core.floor:
        floor = live.core.floor
        size, count = max(config.window_bytes, LEAST_BYTES), max(config.window_operations, PIECE)
        if live.core.window_bytes > WIDEST * size or floor - base > WIDEST * count:
            raise TooFarBehind("the history that it needs is too long")
        start = max(base, floor - PIECE)
        turns = await live.node.store.turns(live.id, start, floor)
        if floor != live.core.floor:  # somebody else widened or the window was trimmed meanwhile
            continue
        entries = entries_between(live.type, turns, start, floor)
        if len(entries) != floor - start:
            raise SynclineError(ErrorCode.HISTORY_TRIMMED, f"revision {start} is no longer stored")
        live.core.prepend(start + 1, entries)


async def history(live: LiveDocument, revision: int, most: int = 2**62) -> list[AnyEntry]:
    """The entries after ``revision``, read from the store where the window does not reach; of those not more than ``most``.

    Fewer than ``most`` are all: then it returns when no commit is under way, and they are on disk, until the next await.
    Raises SynclineError(history_trimmed), Unavailable.
    """
    older: list[AnyEntry] = []
    at = revision
    while True:
        until = min(live.core.floor, revision + most)
        if at < until:
            part = entries_between(live.type, await live.node.store.turns(live.id, at, until), at, until)
            if len(part) != until - at:
                raise SynclineError(ErrorCode.HISTORY_TRIMMED, f"revision {revision} is no longer stored")
            older += part
            at = until
        if len(older) >= most:
            return older
        await live.settle()
        if live.core.floor <= at:
            return older + live.core.since(at)
