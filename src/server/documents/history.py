"""The operations of a loaded document, also those that its window no longer has: read from the store, piece by piece."""

from __future__ import annotations

from typing import Any, Final

from ...core.documents.document_type import AnyEntry, DocumentType
from ...core.errors import ErrorCode, SynclineError, TooFarBehind
from ..limits.fair_thread import Steps
from ..seams.store import Turn
from .frames import entries_between
from .loaded import Loaded
from .threads import OWN

#: Operations that are read at once to widen a window, and how many times its bounds it may be widened to.
PIECE: Final = 1000
WIDEST: Final = 4
#: How many are read at first, more when they are small; and after how many bytes a list of them is told as it is so far.
FIRST: Final = 64
MOST_BYTES: Final = 4_194_304
#: What a smaller window counts as there.
LEAST_BYTES: Final = 1_048_576
#: Bytes of turns that are decoded on the loop: some milliseconds. More is decoded beside it.
AT_ONCE: Final = 65_536


async def widen(live: Loaded, base: int) -> None:
    """Reads history from the store until the window reaches down to ``base``, piece by piece.

    Raises TooFarBehind when that would be ``WIDEST`` windows, SynclineError(history_trimmed), Unavailable.
    """
    config, step = live.context.config.documents, FIRST
    while base < live.core.floor:
        floor = live.core.floor
        size, count = max(config.window_bytes, LEAST_BYTES), max(config.window_operations, PIECE)
        if live.core.window_bytes > WIDEST * size or floor - base > WIDEST * count:
            raise TooFarBehind("the history that it needs is too long")
        start = max(base, floor - step)
        turns = await live.context.store.turns(live.id, start, floor)
        if floor != live.core.floor:  # somebody else widened or the window was trimmed meanwhile
            continue
        entries = await _decoded(live, turns, start, floor)
        if floor != live.core.floor:
            continue
        if len(entries) != floor - start:
            raise SynclineError(ErrorCode.HISTORY_TRIMMED, f"revision {start} is no longer stored")
        live.core.prepend(start + 1, entries)
        step = min(4 * step, PIECE) if sum(map(entry_size, entries)) < LEAST_BYTES else FIRST


async def _decoded(live: Loaded, turns: list[Turn], since: int, until: int) -> list[AnyEntry]:
    """The entries of revisions since + 1 ... until. Raises ValueError on a damaged body."""
    if sum(len(turn.body) for turn in turns) <= AT_ONCE:
        return entries_between(live.type, turns, since, until)
    return await live.context.threads.loads.work(OWN, _decoding(live.type, turns, since, until), bounded=False)


def _decoding(type: DocumentType[Any, Any], turns: list[Turn], since: int, until: int) -> Steps[list[AnyEntry]]:
    entries: list[AnyEntry] = []
    for turn in turns:
        entries += entries_between(type, [turn], since, until)
        yield
    return entries


async def history(live: Loaded, revision: int, most: int) -> tuple[list[AnyEntry], bool]:
    """The entries after ``revision``, read from the store where the window does not reach, and whether those are all: not more than
    ``most`` are read, nor after ``MOST_BYTES`` of them.

    When they are all it returns while no commit is under way, and they are on disk, until the next await.
    Raises SynclineError(history_trimmed), Unavailable.
    """
    older: list[AnyEntry] = []
    at, size, step = revision, 0, FIRST
    while True:
        floor = live.core.floor
        until = min(floor, at + step, revision + most)
        if at < until:
            part = await _decoded(live, await live.context.store.turns(live.id, at, until), at, until)
            if len(part) != until - at:
                raise SynclineError(ErrorCode.HISTORY_TRIMMED, f"revision {revision} is no longer stored")
            older += part
            at = until
            grown = sum(map(entry_size, part))
            size += grown
            if len(older) >= most or size >= MOST_BYTES:
                return older, False
            step = step * 4 if grown < MOST_BYTES // 16 else FIRST
            continue
        await live.settle()
        if live.core.floor <= at:
            return older + live.core.since(at), True


def entry_size(entry: AnyEntry) -> int:
    """About its bytes on the wire. O(1)."""
    bulk: int = entry.bulk
    return 64 + bulk
