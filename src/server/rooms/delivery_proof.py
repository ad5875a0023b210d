"""What clients have of their rooms, held against the rooms' digests. docs/protocol.md, Delivery digest.

What is counted, of each connection in each room: as proven the deliveries up to a position where the client's digest is the room's;
as not proven those up to a position where it is another one, and those that it asks for again while it is in the room (they are sent
again, and then count as proven too). What nobody asked about before a connection was lost is neither, unless the client comes back to
the same digest and goes on with its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from ...core.rooms.room import Position, Publication
from ..sessions.session import Session
from .hub import Membership

log = logging.getLogger("syncline.digest")

CLASS: Final = "history"  # of rooms whose members get everything


def begin(
    membership: Membership, publications: Sequence[Publication], own: tuple[int, int] | None, *, behind: bool
) -> dict[str, int] | None:
    """The digest from which a client goes on that is sent these at its join; from now on its deliveries can be proven. None: in such a
    room they cannot. ``own``: of a client that lacks nothing else, and goes on with its own digest when that began where this one did:
    where it began, and up to where it is proven. ``behind``: it was too slow to be sent them before."""
    if membership.room.room_class != CLASS:
        return None
    codec, ring = membership.session.codec, membership.room.group.history
    digest = ring.digest(codec)
    value = digest.before([(publication.offset, publication.payload(codec)) for publication in publications])
    start = publications[0].offset - 1 if publications else ring.offset
    proven = membership.proven
    if proven is not None and proven.epoch == ring.epoch:
        again = sum(1 for publication in publications if publication.offset > proven.offset)
        if again and not behind:
            _unproven(membership, again, f"it asks again for {again} after offset {start}")
        start = min(start, proven.offset)  # what lies between, the next proof will say of it
    elif own is not None and own[0] == digest.since <= own[1]:
        start = min(start, own[1])  # the same over a lost connection
    membership.proven = Position(start, ring.epoch)
    return {"since": digest.since, "value": value}


def check(session: Session, room: str, has: Position, digest: int) -> dict[str, Any] | None:
    """What the client has of a room, up to a position, and its digest there. None: it joins again, or has left meanwhile. Otherwise where
    the room is, and what its digest is there."""
    membership: Membership | None = session.rooms.get(room)
    if membership is None or membership.proven is None:
        return None
    codec, ring, proven = session.codec, membership.room.group.history, membership.proven
    expected = ring.digest_at(codec, has.offset, has.epoch)
    if expected is not None:  # else too old to be told, or of another epoch
        count = has.offset - (proven.offset if proven.epoch == has.epoch else 0)
        if count > 0:
            membership.proven = has
        if expected != digest:
            about = f"at offset {has.offset} it has {digest:08x}, not {expected:08x}"
            _unproven(membership, max(count, 1), about)
        elif count > 0:
            session.sessions.counters.deliveries_proven[CLASS] += count
    position = ring.position
    answer = {
        "room": room,
        "epoch": position.epoch,
        "offset": position.offset,
        "digest": ring.digest(codec).at(position.offset),
    }
    if session.connection.behind_in(room):
        answer["behind"] = True
    return answer


def _unproven(membership: Membership, count: int, about: str) -> None:
    session = membership.session
    session.sessions.counters.deliveries_unproven[CLASS] += count
    log.warning("room %s: deliveries: %s", membership.room.name, about, extra=session.about)
