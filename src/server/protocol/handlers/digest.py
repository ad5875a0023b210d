"""`room:digest`: what clients have of their rooms is held against the rooms' digests. docs/protocol.md, Delivery digest.

What is counted, of each connection in each room: as proven the deliveries up to a position where the client's digest is the room's;
as not proven those up to a position where it is another one, and those that it asks for again while it is in the room (they are sent
again, and then count as proven too). What nobody asked about before a connection was lost is neither, unless the client comes back to
the same digest and goes on with its own.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from ....core.rooms.room import Position, Publication
from ...rooms.hub import Seat
from ...sessions.session import Session
from ..events import DigestClaim, DigestState, RoomDigest
from ..registry import Events
from ..requests import Request

log = logging.getLogger("syncline.digest")

EVENTS = Events()
CLASS: Final = "history"  # of rooms whose members get everything


def begin(
    seat: Seat, publications: Sequence[Publication], state: DigestState | None, *, behind: bool
) -> dict[str, int]:
    """The digest from which a client goes on that is sent these at its join; from now on its deliveries can be proven.
    ``state``: of a client that lacks nothing else, and goes on with its own digest when that began where this one did.
    ``behind``: it was too slow to be sent them before."""
    codec, ring = seat.session.codec, seat.room.group.history
    digest = ring.digest(codec)
    value = digest.before([(publication.offset, publication.payload(codec)) for publication in publications])
    start = publications[0].offset - 1 if publications else ring.offset
    proven = seat.proven
    if proven is not None and proven.epoch == ring.epoch:
        again = sum(1 for publication in publications if publication.offset > proven.offset)
        if again and not behind:
            _unproven(seat, again, f"it asks again for {again} after offset {start}")
        start = min(start, proven.offset)  # what lies between, the next proof will say of it
    elif state is not None and state.since == digest.since <= state.proven:
        start = min(start, state.proven)  # the same over a lost connection
    seat.proven = Position(start, ring.epoch)
    return {"since": digest.since, "value": value}


@EVENTS.on("room:digest", RoomDigest)
def digest(session: Session, data: RoomDigest, request: Request) -> dict[str, Any]:
    answers = []
    for claim in data.rooms:
        seat = session.rooms.get(claim.room)
        if seat is not None and seat.proven is not None:  # else left out: it joins again, or has left meanwhile
            answers.append(_check(seat, seat.proven, claim))
    return {"rooms": answers}


def _check(seat: Seat, proven: Position, claim: DigestClaim) -> dict[str, Any]:
    codec, ring = seat.session.codec, seat.room.group.history
    expected = ring.digest_at(codec, claim.offset, claim.epoch)
    if expected is not None:  # else too old to be told, or of another epoch
        count = claim.offset - (proven.offset if proven.epoch == claim.epoch else 0)
        if count > 0:
            seat.proven = Position(claim.offset, claim.epoch)
        if expected != claim.digest:
            about = f"at offset {claim.offset} it has {claim.digest:08x}, not {expected:08x}"
            _unproven(seat, max(count, 1), about)
        elif count > 0:
            seat.session.node.counters.deliveries_proven[CLASS] += count
    position = ring.position
    answer = {
        "room": claim.room,
        "epoch": position.epoch,
        "offset": position.offset,
        "digest": ring.digest(codec).at(position.offset),
    }
    if seat.session.connection.behind_in(claim.room):
        answer["behind"] = True
    return answer


def _unproven(seat: Seat, count: int, about: str) -> None:
    session = seat.session
    session.node.counters.deliveries_unproven[CLASS] += count
    log.warning("room %s: deliveries: %s", seat.room.name, about, extra=session.about)
