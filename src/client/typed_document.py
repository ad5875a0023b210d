"""A document of type rich-text or json as one client sees it: edits at once, the rest by itself. Shell of typed_state."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import ErrorCode, SynclineError
from ..core.types import document_type
from .access import SHUT
from .callbacks import Callbacks
from .conditions import Conditions
from .document_state import Request
from .documents import BYTES_A_UNIT, LOST_HISTORY, MOST_ALARMS, REFUSALS, worth_healing
from .errors import ClientError, Diverged, ProtocolViolation, RequestError, Undecodable
from .frozen import frozen, thawed
from .handles import PASSING, Handle
from .steps import UNDECIDED, Steps
from .typed_state import LostContent, TypedChange, TypedOrigin, TypedState, Whole

if TYPE_CHECKING:
    from .client import Client

log = logging.getLogger("syncline.client")

#: A server that tells at least so many missed operations in a join may go on with pushes.
ENTRIES_IN_STATE = 1000


class TypedDocument(Handle, Steps):
    """Made by ``Client.document(name, type="json")``. Operations and content are JSON values, as docs/types.md has them;
    positions in strings count UTF-16 units.

    ``submit`` changes ``content`` at once; what was done is sent, transformed, acknowledged and, after a reconnect,
    resubmitted by itself. ``error`` is None while that goes on.
    """

    _kind = "document"

    def __init__(self, client: Client, name: str, type: str, client_id: str | None = None) -> None:
        Handle.__init__(self, client, name)
        self.lost_work: deque[LostContent] = deque(maxlen=16)
        self.healed = 0  # how often the content here turned out to be another one than the server's
        self._state = TypedState(document_type(type), client_id or secrets.token_hex(8))
        Steps.__init__(self, self._state)
        self._people: dict[str, dict[str, Any]] = {}
        self._whole: Whole | None = None  # a join has to ask for the content; this is why
        self._alarms = 0  # times in a row that the content was not the server's
        self._seen: Any = None  # the state's content when ``content`` was asked for
        self._shown: Any = None  # what that gave
        self._flushing = False
        self._failures = 0
        self._joins = 0
        self._doubted_seq = 0
        self._conditions = Conditions()
        self._on_change: Callbacks[[Any, TypedOrigin]] = Callbacks(client._calls)
        self._on_refused: Callbacks[[Any, str]] = Callbacks(client._calls)
        self._on_lost_work: Callbacks[[LostContent]] = Callbacks(client._calls)

    async def __aenter__(self) -> TypedDocument:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.error is None and self._client.state != "closed":
            await self.leave()

    # What one can see ------------------------------------------------------------------------------------------------
    @property
    def type(self) -> str:
        return self._state.type.name

    @property
    def content(self) -> Any:
        """As it is here, own edits included; a JSON value that cannot be changed (lists and dicts that raise TypeError). It stays
        as it is when the document changes. For JSON O(what has changed since the last one), for rich text O(content)."""
        content = self._state.content
        if content is not self._seen or self._shown is None:
            self._seen, self._shown = content, frozen(content, self._seen, self._shown)
        return self._shown

    @property
    def joined(self) -> bool:
        """Whether this client is in the document now: neither ended nor being joined again."""
        return self.error is None and self._state.attached

    @property
    def revision(self) -> int:
        return self._state.revision

    @property
    def generation(self) -> str:
        return self._state.generation

    @property
    def client_id(self) -> str:
        return self._state.client

    @property
    def collaborators(self) -> list[dict[str, Any]]:
        """The other clients here, as `document:state` describes them; their cursors are those of then."""
        return [dict(person) for person in self._people.values()]

    def on_change(self, callback: Callable[[Any, TypedOrigin], object]) -> Callable[[], None]:
        """``callback(operation, origin)`` for each change, in order. ``origin``: "local", "remote", "undo", "redo",
        "restore" (asked for here), "refused" (an own edit taken back), "rebased", "healed" (the content was not the server's), or
        "reset", where ``operation`` is None.
        Returns what takes it off."""
        return self._on_change.add(callback)

    def on_refused(self, callback: Callable[[Any, str], object]) -> Callable[[], None]:
        """``callback(operation, code)``: the server will not have this edit; it was taken back."""
        return self._on_refused.add(callback)

    def on_lost_work(self, callback: Callable[[LostContent], object]) -> Callable[[], None]:
        """The document was created anew, or the handle has ended: these edits have nowhere to go. Also in ``lost_work``."""
        return self._on_lost_work.add(callback)

    # What one can do -------------------------------------------------------------------------------------------------
    def submit(self, operation: Any) -> None:
        """An operation on the content as it is here.

        Raises SynclineError (operation_invalid, operation_out_of_range), RequestError (forbidden: of a reader), BufferFull, and what ended
        the handle; changes nothing then.
        """
        self._check_edit()
        self._state.operation_bytes = self._client.connection.message_bytes // BYTES_A_UNIT
        self._changed([self._state.edit(thawed(operation), self._slow)])
        self._schedule()

    def set_content(self, value: Any) -> None:
        """The smallest operation that is easily found which gives ``value``. Raises as ``submit``."""
        self._check_edit()
        kind = self._state.type
        before = kind.parse_content(self._state.content, trusted=True)
        operation = kind.diff(before, kind.parse_content(thawed(value)))
        if not kind.is_identity(operation):
            self.submit(kind.describe(operation))

    def _hurry(self) -> None:
        self._state.hurry()

    async def settled(self) -> None:
        """Every local edit is acknowledged: committed by the server and on its disk; every undo is answered. Raises
        what ended the handle."""
        await self.wait_for(lambda: self._state.settled)

    @property
    def _is_settled(self) -> bool:
        return self._state.settled

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until ``condition()``, looked at after everything that happens to this document."""
        self._check()
        await self._conditions.wait_for(condition)

    async def leave(self, *, settle_seconds: float | None = None) -> int:
        """Ends the handle when every edit is acknowledged, at the latest after ``settle_seconds`` (default: the option); who gives it up
        has left. Idempotent; called off when the document is opened again meanwhile.

        Returns how many operations were not acknowledged by then. They may be lost; they are in ``lost_work``.
        """
        await self._leave(settle_seconds)
        return self._state.unsettled

    # Called by the client --------------------------------------------------------------------------------------------
    def _wake(self) -> None:
        if self._state.finished:
            self._finish()
        self._conditions.look()

    def _end(self, error: ClientError) -> None:
        if self.error is not None:
            return
        self.error = error
        self._state.detach()
        self._conditions.end(self.error)
        self._end_requests(self.error)
        lost = self._state.lost_work()
        if lost is not None:
            self._lose(lost, f"has ended ({error})")

    def _lose(self, lost: LostContent, why: str) -> None:
        self.lost_work.append(lost)
        log.warning("document %r %s; unacknowledged edits are in lost_work", self.name, why)
        self._on_lost_work.fire(lost)

    def _join_data(self) -> dict[str, Any]:
        state = self._state
        data: dict[str, Any] = {"document": self.name, "type": self.type, "client": state.client}
        if not state.generation:
            return data
        if self._whole is None:
            data |= {"revision": state.revision, "generation": state.generation}
        elif self._whole == "healed":
            data["diverged"] = state.diverged()
        return data

    def _rejoin(self) -> None:
        if self.error is not None:
            return
        self._state.detach()
        self._joins += 1
        self._client.connection.post("document:join", self._join_data(), partial(self._rejoined, self._joins))

    def _rejoined(self, number: int, result: Any, error: ClientError | None) -> None:
        if self.error is not None or number != self._joins:
            return  # only the newest join counts
        if error is None:
            self._failures = 0
            self._guarded(self._joined, result)
        elif isinstance(error, Undecodable):
            self._failures += 1
            self._rejoin_later(self._failures)
        elif not isinstance(error, RequestError):
            return  # the link is gone: the next one joins again
        elif error.code in PASSING:
            self._failures += 1
            self._rejoin_later(self._failures, error)
        elif error.code in LOST_HISTORY and self._whole is None:
            self._whole = "rebased"
            self._rejoin()
        elif error.code == ErrorCode.CLIENT_TAKEN:
            # Another user now, for example a guest that the server has forgotten.
            self._state.rename(secrets.token_hex(8))
            self._finish()
            self._rejoin()
        elif error.code in SHUT:
            self._removed(error.message, error)
        else:
            self._over(error)

    def _joined(self, result: Any) -> TypedDocument:
        state = self._state
        if self.error is not None:  # given up meanwhile
            return self
        self._people = {entry["client"]: entry for entry in result["collaborators"]}
        self._people.pop(state.client, None)
        self._role_is(result["role"])
        if result["operations"] is None:
            whole, self._whole = self._whole or "rebased", None
            again = result["generation"] == state.generation
            changes, lost = state.start(
                result["generation"], result["revision"], result["content"], result["seq"], whole
            )
            if again and whole == "healed" and changes:
                self.healed += 1
                log.error("document %r was another content than the server's; it was healed", self.name)
            self._changed(changes)
            if lost is not None:
                self._lose(lost, "was loaded anew")
        else:
            state.attach(len(result["operations"]))
            self._receive(result["revision"], result["operations"], result.get("hash"))
            more = result.get("more", len(result["operations"]) >= ENTRIES_IN_STATE)
            if state.attached and state.in_doubt and more:
                self._rejoin()
                return self
            if state.attached and state.in_doubt:
                state.attach(0)  # all of it is here now
            if state.attached and state.in_flight is not None and state.seq <= result["seq"]:
                # It is committed. A long list of what was missed goes on in pushes: then it is among those.
                if not more:
                    raise Diverged(f"operation {state.seq} was committed unnoticed")
                state.await_answer()
        state.undo_depth, state.redo_depth = result.get("undo", 0), result.get("redo", 0)
        self._schedule()
        return self

    def _push(self, event: str, data: dict[str, Any]) -> None:
        self._guarded(self._take_push, event, data)

    def _guarded(self, action: Callable[..., object], *args: Any) -> None:
        try:
            action(*args)
        except Diverged as error:
            log.error("document %r is loaded anew: %s", self.name, error)
            self._heal()
        except (KeyError, TypeError, SynclineError) as error:
            raise ProtocolViolation(f"document {self.name!r}: {error!r}") from error
        self._wake()

    def _take_push(self, event: str, data: dict[str, Any]) -> None:
        state = self._state
        if event == "document:resync":
            self._rejoin()
        elif event == "error":
            self._refused(data["seq"], RequestError.read(data, "document:operation"))
        elif not state.attached:
            pass  # older than the answer to the join, which will hold all of it
        elif event == "document:operation":
            self._receive(data["revision"], data["operations"], data.get("hash"))
            self._schedule()
        elif event == "document:ack":
            if data["revision"] <= state.revision and state.is_in_flight(state.client, data["seq"]):
                raise Diverged(f"operation {data['seq']} was committed unnoticed")
        elif event == "document:role":
            self._role_changed(data)
        elif event == "document:removed":
            self._removed("your access was taken away")
        elif event == "document:collaborator_joined":
            if data["client"] != state.client:
                self._people[data["client"]] = data
        elif event == "document:collaborator_left":
            self._people.pop(data["client"], None)

    def _heal(self) -> None:
        self._whole = "healed"
        self._alarms += 1
        if self._alarms > MOST_ALARMS:  # it does not help: no faster than the server can bear
            self._state.detach()
            self._rejoin_later(self._alarms - MOST_ALARMS)
        else:
            self._rejoin()

    def _role_changed(self, data: dict[str, Any]) -> None:
        """Of this client, or of another one here."""
        if data["client"] == self._state.client:
            self._role_is(data["role"])
        elif data["client"] in self._people:
            self._people[data["client"]] = {**self._people[data["client"]], "role": data["role"]}

    def _receive(self, revision: int, entries: list[dict[str, Any]], hash: int | None = None) -> None:
        number = revision - len(entries)
        for entry in entries:
            number += 1
            if not self._state.attached:
                return
            if self._state.is_in_flight(entry["client"], entry["seq"]):
                self._patience.answered(self._now())
            kind = entry.get("kind", "edit")
            self._changed(self._state.receive(number, entry["client"], entry["seq"], entry["operation"], kind))
        same = None if hash is None else self._state.same(revision, hash)
        if same:
            self._alarms = 0
        elif same is False and worth_healing(self._alarms):
            log.error("document %r: the content of revision %d is not the server's", self.name, revision)
            self._heal()
        elif same is False:
            self._alarms += 1

    def _refused(self, seq: int, error: RequestError) -> None:
        state, code = self._state, error.code
        if not state.is_in_flight(state.client, seq):
            return
        if code == ErrorCode.RATE_LIMITED:
            self._send_later(seq, error)
            return
        work = state.in_flight
        again = code == ErrorCode.SEQUENCE_CONFLICT and self._doubted_seq == seq
        if isinstance(work, Request):
            if code not in UNDECIDED or again:
                self._refuse_request(work, seq, error)
                return
        elif code in REFUSALS or again:
            log.warning("document %r: operation %d was refused: %s %s", self.name, seq, code, error.message)
            operation = thawed(state.type.describe(work))
            self._changed(state.refuse(seq))
            self._on_refused.fire(operation, code)
            self._schedule()
            return
        # Its fate is open: the answer to a join tells.
        if code == ErrorCode.SEQUENCE_CONFLICT:
            self._doubted_seq = seq
        state.detach()
        if code in PASSING:
            self._failures += 1
            self._rejoin_later(self._failures, error)
        else:
            self._rejoin()

    # Out -------------------------------------------------------------------------------------------------------------
    def _schedule(self) -> None:
        """Sends at the end of this turn of the loop, so that what is done in one turn is one operation."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.error is not None:
            return
        submission = self._state.take()
        if submission is not None:
            self._patience.sent(self._now())
            seq, revision, work = submission
            data: dict[str, Any] = {"document": self.name, "seq": seq, "revision": revision}
            try:
                if isinstance(work, Request):
                    self._ask(work, seq, data)
                else:
                    self._client.connection.post("document:operation", data | {"operation": work})
            except RequestError as error:  # larger than may be sent
                self._refused(seq, error)
        self._wake()

    def _changed(self, changes: list[TypedChange]) -> None:
        """Tells the listeners, in order also when one of them edits."""
        for change in changes:  # copies: the changes' own wait to be sent
            self._on_change.fire_in_order(thawed(change.operation), change.origin)
