"""A room as one client sees it: publications in order, members, custom events; kept over reconnects."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from msgspec import Struct

from ..core.errors import ErrorCode
from .access import SHUT
from .callbacks import Callbacks
from .codec import Received
from .errors import ClientError, Closed, ConnectionLost, ProtocolViolation, Removed, RequestError, Undecodable
from .handles import PASSING, Handle
from .order import Order
from .proof import Position, Proof

if TYPE_CHECKING:
    from .handle_owner import HandleOwner

log = logging.getLogger("syncline.client")

Status = Literal["online", "away", "busy"]
STATUSES: tuple[Status, ...] = get_args(Status)


class Publication(Struct, frozen=True):
    """One message with its position. ``time`` in Unix seconds; ``data`` as it was sent."""

    room: str
    offset: int
    epoch: str
    user: str
    name: str
    time: float
    data: Any

    @property
    def position(self) -> Position:
        return Position(self.offset, self.epoch)


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody in the room. ``status`` online, away, busy or (of ``all_members``) offline. ``role``: None where it is not told, as of who
    is here; ``all_members`` has it."""

    user: str
    name: str
    role: str | None
    status: str
    last_seen: float | None
    metadata: Any


class Occupancy(NamedTuple):
    """How many users are in a room, and the connections that they have."""

    users: int
    connections: int


@dataclass(frozen=True, slots=True)
class CustomEvent:
    """What ``send_event`` sends: no position, no history, at most once."""

    room: str
    name: str
    user: str
    data: Any


class MessageStream:
    """``async for publication in room.messages()``. At most ``limit`` wait; then the oldest is dropped and counted.

    It stops when the room was left, or this user taken out of it (``error``), and raises what else ended it.
    """

    def __init__(self, limit: int, closed: Callable[[MessageStream], None]) -> None:
        if limit < 1:
            raise ValueError("limit: at least 1")
        self.dropped = 0
        self.error: ClientError | None = None  # why it ended
        self._limit = limit
        self._waiting: deque[Publication] = deque()
        self._ready = asyncio.Event()
        self._closed = closed
        self._ended = False

    def __aiter__(self) -> MessageStream:
        return self

    async def __anext__(self) -> Publication:
        while not self._waiting:
            if self.error is not None and not isinstance(self.error, Removed):
                raise self.error
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()

    async def __aenter__(self) -> MessageStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the iteration after what is waiting."""
        self._end(None)
        self._closed(self)

    def _put(self, publication: Publication) -> None:
        if len(self._waiting) >= self._limit:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(publication)
        self._ready.set()

    def _end(self, error: ClientError | None) -> None:
        self._ended = True
        self.error = self.error or error
        self._ready.set()


class Room(Handle):
    """Made by ``Client.join``. Joined again by itself after a reconnect, from the position it had.

    occupancy: how many are here; of a large room that is all that is kept up to date, ``members`` are some of them.
    history: what the first join brought, and what has come until the first ``messages()`` or ``on_message``, oldest first; those go on
    where it ends. At most what the join brought and ``Options.early_messages`` more: then the oldest is dropped, whichever it is.
    history_dropped: how many that were.
    recovered: whether the last rejoin brought everything that was missed; None before the first one.
    role: owner, moderator, member or reader; ``on_role`` tells when it changes.
    error: why the room is no longer joined; None while it is. ``on_removed`` tells when this user was taken out.
    proof: what is proven of its messages (``proof.proven``: up to which position), and how often that was found wrong.
    room_class: history, latest or volatile: what this client gets when it does not keep up.
    """

    _kind = "room"

    def __init__(self, client: HandleOwner, name: str, password: str | None, history: int) -> None:
        super().__init__(client, name)
        self.room_class = "history"
        self.position = Position(0, "")
        self.occupancy = Occupancy(0, 0)
        self._said: dict[str, Any] | None = None  # one's presence here
        self.history: list[Publication] = []
        self.history_dropped = 0
        self.recovered: bool | None = None
        self.proof = Proof()
        self._password = password
        self._history_size = history
        self._early = True  # nobody has listened yet
        self._brought = 0  # publications, by the first join
        self._members: dict[str, Member] = {}
        self._streams: list[MessageStream] = []
        self._on_message: Callbacks[[Publication]] = Callbacks(client._calls)
        self._on_event: Callbacks[[CustomEvent]] = Callbacks(client._calls)
        self._on_members: Callbacks[[str, Member]] = Callbacks(client._calls)
        self._on_occupancy: Callbacks[[Occupancy]] = Callbacks(client._calls)
        self._on_gap: Callbacks[[Position, Position]] = Callbacks(client._calls)
        self._on_proof: Callbacks[[bool, Position]] = Callbacks(client._calls)
        self._joining = True
        self._joined_again = asyncio.Event()  # or the end
        self._order = Order()  # of messages
        self._sending = 0  # under way
        self._all_sent = asyncio.Event()  # or the end
        self._repairing = False  # joins from the last proven position
        self._failures = 0  # joins that failed in a row

    async def __aenter__(self) -> Room:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.error is None and self._client.state != "closed":
            await self.leave()

    # Out -------------------------------------------------------------------------------------------------------------
    async def send(self, data: Any, *, key: str | None = None, echo: bool = True, retry: bool = True) -> Position:
        """Returns when the server has it on disk and sent it to everyone. ``data``: a JSON value; what is none is refused (invalid_data).
        ``key``: in a room of the class latest, what this is the newest of; by default oneself. ``echo`` False: not to
        this client itself (but it may come with what is recovered after a lost connection).

        ``retry``: when the connection is lost it is sent again on the next one, and published once; not after the server's
        ``rooms.idempotency_seconds``: then it raises RequestError(fate_unknown). Several keep the order in which
        ``send`` was called, in callbacks too.

        Raises RequestError, RequestTimeout (it may or may not have been published; NotSent: it was not), Disconnected; without
        ``retry`` ConnectionLost (as RequestTimeout).
        """
        self._check()
        message: dict[str, Any] = {"room": self.name, "data": data}
        if key is not None:
            message["key"] = key
        if not echo:
            message["echo"] = False
        self._sending += 1
        try:
            if retry:
                message["idempotency_key"] = self._client._next_key()
            result = await self._submit(message, retry)
        finally:
            self._sending -= 1
            if not self._sending:
                self._all_sent.set()
        return Position(result["offset"], result["epoch"])

    @property
    def _is_settled(self) -> bool:
        return not self._sending

    async def settled(self) -> None:
        """Every ``send`` that is under way is answered. Raises what ended the handle."""
        while self._sending and self.error is None:
            self._all_sent.clear()
            await self._all_sent.wait()
        self._check()

    async def _submit(self, message: dict[str, Any], retry: bool) -> Any:
        connection, order, place = self._client.connection, self._order, self._order.place()
        now, first_try = connection.options.clock.monotonic, 0.0
        async with connection.turn("message:send") as turn:
            try:
                while True:
                    await order.first(place)
                    if self._failures:
                        await self._joined_again.wait()  # a join failed for a reason that passes
                    await connection.writable()  # on a new link the joins go first
                    self._check()
                    if self._failures or not (order.is_first(place) and connection.is_writable):
                        continue
                    if not turn.sent:
                        first_try = now()
                    elif now() - first_try >= connection.idempotency_seconds:
                        raise RequestError(
                            ErrorCode.FATE_UNKNOWN.value,
                            "too late to send it again: it might be published twice",
                            "message:send",
                        )
                    try:
                        gone = partial(order.gone, place)
                        return await connection.ask("message:send", message, written=gone, turn=turn)
                    except ConnectionLost:
                        if turn.sent and not retry:
                            raise
                    except RequestError as error:
                        self._was_out(error)
                        if error.code != "not_a_member" or not (retry and self._joining):
                            raise
            finally:
                order.gone(place)

    async def send_event(
        self,
        name: str,
        data: Any = None,
        *,
        users: Sequence[str] | None = None,
        connections: Sequence[str] | None = None,
    ) -> None:
        """At most once, to who is here now; with ``users`` or ``connections`` (lists of their ids) only to those of them. Lists
        that are empty raise RequestError(invalid_data): they are not for all."""
        event: dict[str, Any] = {"name": name, "data": data}
        for field, ids in (("users", users), ("connections", connections)):
            if isinstance(ids, str):
                raise TypeError(f"{field} is a list of ids, not one")
            if ids is not None:
                event.setdefault("to", {})[field] = list(ids)
        await self._request("event:custom", event)

    async def set_presence(self, status: Status, metadata: Any = None) -> None:
        """For this room; ``Client.set_presence`` is for all."""
        self._check()
        try:
            await self._client.set_presence(status, metadata, room=self.name)
        except RequestError as error:
            self._was_out(error)
            raise

    async def all_members(self) -> list[Member]:
        """Every stored member, here or not."""
        result = await self._request("room:members", {})
        return [_member(entry) for entry in result["members"]]

    async def leave(self, *, resign: bool = False, settle_seconds: float | None = None) -> int:
        """Ends the iterations of ``messages``, when every ``send`` under way is answered, at the latest after ``settle_seconds``
        (default: the option); who gives it up has left. Idempotent; called off when the room is joined again meanwhile. Returns how many
        were not answered by then: their fate is told to who awaits them.

        With ``resign`` the stored membership ends too. When that fails nothing has changed: raises RequestError (forbidden, of the
        owner; ...), RequestTimeout, ConnectionLost, ...
        """
        await self._leave(settle_seconds, resign=resign)
        return self._sending

    # In --------------------------------------------------------------------------------------------------------------
    @property
    def joined(self) -> bool:
        """Whether this client is in the room now: neither ended nor being joined again."""
        return self.error is None and not self._joining and self._client.state == "open"

    @property
    def members(self) -> Mapping[str, Member]:
        """Who is here now, by user; of a room too large for that, some of them as they were at the join."""
        return MappingProxyType(self._members)

    def messages(self, limit: int = 1000) -> MessageStream:
        """Publications from now on, one's own included, in order; those missed while away follow the reconnect."""
        self._check()
        self._early = False
        stream = MessageStream(limit, self._drop_stream)
        self._streams.append(stream)
        return stream

    def on_message(self, callback: Callable[[Publication], object]) -> Callable[[], None]:
        """Returns what takes the callback off. Callbacks run on the loop and must not block."""
        self._early = False
        return self._on_message.add(callback)

    def on_event(self, callback: Callable[[CustomEvent], object]) -> Callable[[], None]:
        return self._on_event.add(callback)

    def on_members(self, callback: Callable[[str, Member], object]) -> Callable[[], None]:
        """``callback(kind, member)``: kind is joined, left or presence."""
        return self._on_members.add(callback)

    def on_occupancy(self, callback: Callable[[Occupancy], object]) -> Callable[[], None]:
        """In large rooms, about each second while it changes."""
        return self._on_occupancy.add(callback)

    def on_gap(self, callback: Callable[[Position, Position], object]) -> Callable[[], None]:
        """``callback(had, now)``: what lies between the two positions was missed and cannot be had any more."""
        return self._on_gap.add(callback)

    def on_proof(self, callback: Callable[[bool, Position], object]) -> Callable[[], None]:
        """``callback(complete, position)``, at each comparison of digests: True when everything up to ``position`` is proven;
        False when it is not, and the room is joined again from there."""
        return self._on_proof.add(callback)

    # Called by the client --------------------------------------------------------------------------------------------
    def _join_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"room": self.name, "history": self._history_size, "digest": self.proof.state()}
        if self._password is not None:
            data["password"] = self._password
        if self.position.epoch:
            since = self.proof.floor if self._repairing else None
            data["recover"] = (since or self.position)._asdict()
        return data

    def _joined(self, result: Any) -> Room:
        try:
            position = Position(result["position"]["offset"], result["position"]["epoch"])
            received: list[Received] = result["publications"]
            publications = [entry for entry in map(self._publication, received) if entry is not None]
            members = {entry["user"]: _member(entry) for entry in result["members"]}
            role, recovered = result["role"], result["recovered"]
            listed_all = self.occupancy.users == len(self._members)
            self.occupancy = _occupancy(result.get("occupancy") or {"users": len(members), "connections": len(members)})
            self.room_class = result.get("class", "history")
        except (KeyError, TypeError) as error:
            raise ProtocolViolation(f"room:joined without {error}") from error
        if self.error is not None:  # given up meanwhile
            return self
        self._joining = False
        self._joined_again.set()
        self._failures = 0
        self._is_joined()
        self._role_is(role)
        repairing, self._repairing = self._repairing, False
        if repairing and not recovered:
            self._rejoin()  # what is proven lies too far back: from where it is
            return self
        try:
            digest = result.get("digest") if self.room_class == "history" else None  # others are not given all
            self.proof.joined(digest, position, received, bool(recovered) and not repairing)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolViolation(f"room:joined with a digest that is none: {error!r}") from error
        before, self._members = self._members, members
        if not self.position.epoch:
            self.history, self._brought = publications, len(publications)
            self.position = position
            return self
        had, self.recovered = self.position, recovered
        if not recovered:
            offset = received[0].offset - 1 if received else position.offset
            known = had.offset if had.epoch == position.epoch else 0
            self.position = Position(max(offset, known), position.epoch)
            self._on_gap.fire(had, self.position)
        for publication in publications:
            self._publish(publication)
        self.position = position
        self._say_again()
        if listed_all and self.occupancy.users == len(members):  # else they are only some of them
            self._tell_changes(before)
        return self

    def _say_again(self) -> None:
        """One's presence, when the server has forgotten it: after the grace period, or a restart."""
        said, own = self._said, self._members.get(self._client.user)
        if said is not None and (own is None or (own.status, own.metadata) != (said["status"], said["metadata"])):
            self._client.connection.post("presence:update", {"room": self.name, **said}, lambda result, error: None)

    def _tell_changes(self, before: dict[str, Member]) -> None:
        """Who came, left or changed while nothing of it could be told."""
        for user, member in before.items():
            if user not in self._members:
                self._on_members.fire("left", member)
        for user, member in self._members.items():
            if (known := before.get(user)) is None:
                self._on_members.fire("joined", member)
            elif (known.status, known.metadata) != (member.status, member.metadata):
                self._on_members.fire("presence", member)

    def _rejoin(self) -> None:
        """First thing on a new link."""
        if self.error is not None:
            return
        self._away()
        self._ask_to_join(self._join_data())
        if self.proof.row < 2:  # what two repairs did not mend is not asked about every second
            self._client._heartbeat.soon()

    @property
    def _mark(self) -> Position:
        return self.position

    def _away(self) -> None:
        self._joining = True
        self._joined_again.clear()

    def _try_later(self, error: ClientError, least: int = 1) -> None:
        self._failures += 1
        super()._try_later(error, least)

    def _rejoined(self, result: Any, error: ClientError | None) -> None:
        if self.error is not None:
            return
        if error is None:
            self._joined(result)
        elif isinstance(error, Undecodable) or (isinstance(error, RequestError) and error.code in PASSING):
            self._try_later(error)
        elif isinstance(error, RequestError):
            if error.code in SHUT:
                self._removed(error.message, error)
            else:
                self._over(error)

    def _end(self, error: ClientError) -> None:
        self.error = self.error or error
        left = isinstance(error, Closed) and self._client.state != "closed"  # by who iterates, perhaps: that just stops
        self._joined_again.set()
        self._all_sent.set()
        if self._sending:
            log.warning("room %r has ended (%s) before %d messages were acknowledged", self.name, error, self._sending)
        for stream in self._streams:
            stream._end(None if left else error)
        self._streams = []

    def _push(self, event: str, data: dict[str, Any]) -> None:
        if self._joining:
            return  # older than the answer to the join, which will hold all of it
        try:
            if event == "room:behind":
                self._renew(ClientError("this client reads too slowly"))  # what it was not sent is in the history
            elif event == "message:sent":
                self._sent(data["offset"], data["epoch"], data["hash"])
            elif event == "room:occupancy":
                self.occupancy = _occupancy(data)
                if "members" in data:  # no longer a large room: told one by one again
                    self._members = {entry["user"]: _member(entry) for entry in data["members"]}
                self._on_occupancy.fire(self.occupancy)
            elif event == "room:role":
                self._role_is(data["role"])
            elif event == "room:removed":
                self._removed("taken out of the room")
            elif event == "event:custom":
                self._on_event.fire(CustomEvent(self.name, data["name"], data["user"], data.get("data")))
            else:
                self._on_member_push(event, data)
        except (KeyError, TypeError) as error:
            raise ProtocolViolation(f"{event} without {error}") from error

    def _message(self, received: Received) -> None:
        """Exactly once and in order: what is known already is passed over; after a hole the room is joined again."""
        if self._joining:
            return  # as in _push
        offset, position = received.offset, self.position
        hole = offset > position.offset + 1 and self.room_class == "history"
        if received.epoch != position.epoch or hole:
            self._renew(ClientError(f"the message at {offset} came after {position.offset}"))
        elif offset <= position.offset:
            self.proof.duplicates += 1
        else:
            if self.proof.fold(offset, received.data):
                self._client._heartbeat.ask([self])
            publication = self._publication(received)
            if publication is not None:
                self._deliver(publication)
            else:
                self.position = Position(offset, received.epoch)

    def _sent(self, offset: int, epoch: str, hashed: int) -> None:
        """One's own message that is not sent back, in its place in the order."""
        if epoch != self.position.epoch or offset > self.position.offset + 1:
            self._renew(ClientError(f"the message at {offset} came after {self.position.offset}"))
        elif offset > self.position.offset:
            self.proof.fold_hash(offset, hashed)
            self.position = Position(offset, epoch)

    def _repair(self) -> None:
        """What came is not what was sent: from the last proven position on once more."""
        self._repairing = True
        self._on_proof.fire(False, self.proof.floor)
        self._rejoin()

    def _proven(self) -> None:
        assert self.proof.proven is not None
        self._on_proof.fire(True, self.proof.proven)

    def _on_member_push(self, event: str, data: dict[str, Any]) -> None:
        user = data["user"]
        member = self._members.get(user) or Member(user, data.get("name", ""), None, "online", None, None)
        if event == "room:user_left":
            self._members.pop(user, None)
            self.occupancy = Occupancy(len(self._members), self.occupancy.connections)
            self._on_members.fire("left", member)
            return
        kind = "joined"
        if event == "room:user_joined":  # as one who has left and come, of which a slow reader is told the second only
            member = Member(user, data.get("name", ""), member.role, "online", None, None)
        if event == "presence:update":
            kind = "presence"
            member = replace(
                member, status=data["status"], last_seen=data.get("last_seen"), metadata=data.get("metadata")
            )
        self._members[user] = member
        self.occupancy = Occupancy(len(self._members), self.occupancy.connections)
        self._on_members.fire(kind, member)

    def _publish(self, publication: Publication) -> None:
        if publication.epoch != self.position.epoch or publication.offset > self.position.offset:
            self._deliver(publication)  # else it was had already

    def _deliver(self, publication: Publication) -> None:
        self.position = publication.position
        if self._early:
            self._keep(publication)
        for stream in self._streams:
            stream._put(publication)
        self._on_message.fire(publication)

    def _keep(self, publication: Publication) -> None:
        """Who walks through the list meanwhile sees what comes, too; but for what is beyond the bound: that is another list."""
        most = self._brought + self._client.connection.options.early_messages
        if len(self.history) < most:
            self.history.append(publication)
        else:
            self.history_dropped += len(self.history) + 1 - most
            self.history = [*self.history, publication][len(self.history) + 1 - most :]

    def _publication(self, received: Received) -> Publication | None:
        """None when its payload cannot be decoded: that costs this one message, not the link."""
        try:
            data = self._client.connection.decode(received.data)
        except Undecodable as error:
            log.warning("room %s: the message at %d was passed over: %s", self.name, received.offset, error)
            return None
        sent = (received.room, received.offset, received.epoch, received.user, received.name, received.time)
        return Publication(*sent, data)

    def _drop_stream(self, stream: MessageStream) -> None:
        if stream in self._streams:
            self._streams.remove(stream)


def _occupancy(entry: dict[str, Any]) -> Occupancy:
    return Occupancy(entry["users"], entry["connections"])


def _member(entry: dict[str, Any]) -> Member:
    return Member(
        entry["user"],
        entry.get("name", ""),
        entry.get("role"),
        entry.get("status", "online"),
        entry.get("last_seen"),
        entry.get("metadata"),
    )
