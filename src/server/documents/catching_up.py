"""What a client was left out of follows, after a join or when it read too slowly: in parts, each when the last one was taken."""

from __future__ import annotations

import asyncio
import logging

from ...core.documents.document_type import AnyEntry
from ...core.errors import SynclineError
from ..seams.outcome import Unavailable
from ..sessions.session import Session, SessionGone
from .collaborator import Collaborator
from .frames import ENTRIES_PER_FRAME, send_entries, show_cursors
from .history import entry_size, history
from .loaded import Loaded

log = logging.getLogger("syncline.documents")

#: Operations may be large: of those that a client missed, a frame has about so many bytes, or one.
FRAME_BYTES = 262_144
#: Operations that are read from the store at once: more than one frame has.
MOST = 2 * ENTRIES_PER_FRAME


async def drained(session: Session, backlog: int) -> None:
    """Returns when at most so many bytes wait for the connection's socket. Raises SessionGone."""
    connection = session.connection
    while connection.backlog > backlog:
        if connection.held:
            taken = asyncio.Event()
            connection.when_drained(taken.set)
            await taken.wait()
        else:
            await asyncio.sleep(0)  # it is written at the end of this turn
        session.require_open()


async def let_catch_up(live: Loaded, collaborator: Collaborator, at: int) -> None:
    """For one that reads too slowly: what it was left out of after revision ``at`` follows when its socket has taken what waits."""
    session = collaborator.session
    try:
        await drained(session, session.connection.flusher.low_bytes)
    except SessionGone:
        return
    await go_on(live, collaborator, at, [])


async def go_on(live: Loaded, collaborator: Collaborator, at: int, rest: list[AnyEntry]) -> None:
    """Tells it what follows revision ``at``, and then the others' cursors. Who cannot be told what it missed joins again."""
    session = collaborator.session
    try:
        await _catch_up(live, collaborator, at, rest)
    except SessionGone:
        return
    except (SynclineError, Unavailable, ValueError) as error:
        log.warning("document %s: cannot catch up from revision %d: %s", live.id, at, error, extra=session.about)
        if live.collaborators.get(collaborator.client) is collaborator:
            live.remove(collaborator)
            session.push("document:resync", {"document": live.id, "reason": "what was missed cannot be read now"})
        return
    others = [other for other in live.collaborators.values() if other is not collaborator]
    if others and live.collaborators.get(collaborator.client) is collaborator:
        show_cursors(live.core, others, [collaborator])


def in_one_frame(entries: list[AnyEntry]) -> int:
    """How many of them; one at least, if there is one."""
    size = count = 0
    for entry in entries[:ENTRIES_PER_FRAME]:
        size += entry_size(entry)
        if count and size > FRAME_BYTES:
            break
        count += 1
    return count


async def _catch_up(live: Loaded, collaborator: Collaborator, at: int, rest: list[AnyEntry]) -> None:
    collaborator.behind = True
    session = collaborator.session
    while True:
        start = 0
        while start < len(rest):
            part = rest[start : start + in_one_frame(rest[start : start + ENTRIES_PER_FRAME])]
            start += len(part)
            at += len(part)
            send_entries(live.id, at, part, collaborator)
            await drained(session, 0)
            if live.closed or live.collaborators.get(collaborator.client) is not collaborator:
                return  # it was told to join again, or is out
        rest, whole = await history(live, at, MOST)
        session.require_open()
        if live.closed or live.collaborators.get(collaborator.client) is not collaborator:
            return  # it was told to join again
        if whole and in_one_frame(rest) == len(rest):
            # Nothing awaits from here: what is committed next reaches it with everybody else.
            if rest:
                send_entries(live.id, at + len(rest), rest, collaborator)
            collaborator.behind = False
            return
