"""A collaborative document of any type as one client sees it: edits at once, everything else by itself. Shell of document_state."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from ..core.documents.document_type import DocumentType
from ..core.errors import ErrorCode
from .access import SHUT
from .callbacks import Callbacks
from .conditions import Conditions
from .cursors import Cursors
from .document_state import UNFIT, DocumentState
from .document_values import Change, Committed, LostWork, Operation, Origin, Request
from .errors import ClientError, Diverged, RequestError, Undecodable
from .frozen import frozen, thawed
from .handles import PASSING, Handle
from .history import History, Version, read_history, read_version
from .steps import UNDECIDED, Steps

if TYPE_CHECKING:
    from .handle_owner import HandleOwner

log = logging.getLogger("syncline.client")

# The operation will never be accepted: it is taken back.
REFUSALS = frozenset(
    {
        ErrorCode.OPERATION_INVALID.value,
        ErrorCode.OPERATION_OUT_OF_RANGE.value,
        ErrorCode.DOCUMENT_TOO_LARGE.value,
        ErrorCode.MESSAGE_TOO_LARGE.value,
        ErrorCode.INVALID_DATA.value,
        ErrorCode.FORBIDDEN.value,
    }
)
# The way from what is here to what is there is not known: edits are carried over by comparing the contents.
LOST_HISTORY = frozenset({ErrorCode.REVISION_UNKNOWN.value, ErrorCode.HISTORY_TRIMMED.value})
#: What the server says is taken in for so many seconds at a time; then others of the loop have their turn.
SLICE_SECONDS = 0.005
#: Pushes that wait behind what is being taken in; with more of them all is taken in at once.
MOST_IN_LINE = 1000
#: What reading something raises that is not what it has to be.
UNREADABLE = (*UNFIT, AttributeError)
#: What an encoder raises for what has no form in it.
UNSENDABLE = (TypeError, ValueError, OverflowError, RecursionError)
#: Of a message for each unit of an operation that it may hold: as JSON a character may take six.
BYTES_A_UNIT = 8
#: So often in a row what is here is found not to be the server's; then it is taken anew after waits that grow.
MOST_ALARMS = 3


def worth_healing(before: int) -> bool:
    """Whether to act on a hash that differs, after ``before`` alarms in a row: on the first, second, fourth, eighth, ... So a content that
    is another one is always healed in the end, and hashes that are wrong themselves cost ever less."""
    return not before & (before + 1)


class Rebased(NamedTuple):
    """The history between what this client had and ``content`` was gone: its edits were carried over by difference.

    ``before`` is what the user saw; ``operation`` is what the server does not have yet, as it applies to its content.
    """

    before: Any
    content: Any
    operation: Operation | None


class Refused(NamedTuple):
    """An edit that the server will not have; it was taken back. ``code``: why. ``content`` is what the user saw until then, where more had
    been done since, which may have been within it, or where it could not be taken back by itself; None: neither."""

    operation: Any
    code: str
    content: Any


class Document(Handle, Cursors, Steps):
    """Made by ``Client.document(name, type="json")``. Operations, contents and positions are JSON values, as docs/types.md has them for
    the type; positions in strings count UTF-16 units.

    Edits change ``content`` at once and are sent, transformed, acknowledged and, after a reconnect, resubmitted by
    themselves. ``error`` is None while that goes on; ``lost_work`` keeps the last edits that could not be carried over, ``refused`` the
    last that the server will not have.
    """

    _kind = "document"

    def __init__(
        self, client: HandleOwner, name: str, kind: DocumentType[Any, Any], client_id: str | None = None, **limits: int
    ) -> None:
        Handle.__init__(self, client, name)
        self.lost_work: deque[LostWork] = deque(maxlen=16)
        self.refused: deque[Refused] = deque(maxlen=16)
        self.healed = 0  # how often the content here turned out to be another one than the server's
        self._state = DocumentState(kind, client_id or secrets.token_hex(8), **limits)
        self._operation_limit = self._state.operation_limit
        Cursors.__init__(self)
        Steps.__init__(self)
        self._flushing = False
        #: What the server said, to be taken in, in order.
        self._line: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._taking_in = False
        self._until = 0.0  # when the slice that is under way is over
        self._slice_is_due = False
        self._catching_up = False  # what a join has told is not taken in yet
        self._whole: Origin | None = None  # a join has to ask for the content; this is why
        self._alarms = 0  # times in a row that the content was not the server's
        self._doubted_seq = 0  # of the operation that has met sequence_conflict once
        self._exact = False  # the next join has to be told all operations: what waits could be lost over a content
        self._small = False  # the join that is under way tells of no edits
        self._seen: Any = None  # the state's content when ``content`` was asked for
        self._shown: Any = None  # what that gave
        self._conditions = Conditions()
        self._on_change: Callbacks[[Any, Origin]] = Callbacks(client._calls)
        self._on_committed: Callbacks[[Committed]] = Callbacks(client._calls)
        self._on_refused: Callbacks[[Any, str]] = Callbacks(client._calls)
        self._on_lost_work: Callbacks[[LostWork]] = Callbacks(client._calls)
        self._on_rebased: Callbacks[[Rebased]] = Callbacks(client._calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.error is None and self._client.state != "closed":
            await self.leave()

    def _told(self, operation: Operation) -> Any:
        """As listeners get it: a value of their own."""
        return None if operation is None else thawed(self._state.type.describe(operation))

    # What one can see ------------------------------------------------------------------------------------------------
    @property
    def type(self) -> str:
        return self._state.type.name

    @property
    def content(self) -> Any:
        """As it is here, own edits included; a JSON value that cannot be changed (lists and dicts that raise TypeError). It stays
        as it is when the document changes. For JSON O(what has changed since the last one), for the others O(content)."""
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
        """Committed operations that this handle has taken in."""
        return self._state.revision

    @property
    def generation(self) -> str:
        return self._state.generation

    @property
    def client_id(self) -> str:
        """Of this handle in this document; with ``last_seq`` it names an operation."""
        return self._state.client

    @property
    def last_seq(self) -> int:
        """Sequence number of the newest operation that was sent; 0: none."""
        return self._state.seq

    # Edits -----------------------------------------------------------------------------------------------------------
    def apply(self, operation: Any) -> None:
        """An operation on the content as it is here.

        Raises SynclineError (operation_invalid, operation_out_of_range), RequestError (forbidden: of a reader), BufferFull, and what ended
        the handle; changes nothing then.
        """
        self._check_edit()
        self._edit(self._state.type.parse(thawed(operation)))

    def set_content(self, value: Any) -> None:
        """The smallest operation that is easily found which gives ``value``. Raises as ``apply``."""
        self._check_edit()
        kind = self._state.type
        operation = kind.diff(self._state.view, kind.parse_content(thawed(value)))
        if not kind.is_identity(operation):
            self._edit(operation)

    def _edit(self, operation: Operation) -> None:
        self._check_edit()
        self._changed([self._state.edit(operation, self._slow)])
        self._schedule()

    # History ---------------------------------------------------------------------------------------------------------
    async def history(self, since: int | None = None, limit: int = 100) -> History:
        """Up to ``limit`` operations (1,000 at most) after revision ``since`` (default: the last), oldest first.

        Raises RequestError: history_trimmed, revision_unknown, ...
        """
        data: dict[str, Any] = {"limit": limit, "unit": self._unit}
        if since is not None:
            data["since"] = since
        parse = self._state.type.parse
        return read_history(
            await self._request("document:history", data), lambda operation: self._told(parse(operation))
        )

    async def content_at(self, revision: int) -> Version:
        """The content as it was, with author and time. Raises RequestError: history_trimmed, revision_unknown, ..."""
        return read_version(await self._request("document:at", {"revision": revision, "unit": self._unit}))

    @property
    def _unit(self) -> str:
        return self._state.type.units[0]

    def _hurry(self) -> None:
        self._state.hurry()

    # Waiting ---------------------------------------------------------------------------------------------------------
    async def settled(self) -> None:
        """Every local edit is acknowledged: committed by the server and on its disk; every undo is answered. Raises
        what ended the handle."""
        await self.wait_for(lambda: self._state.settled)

    async def sent(self) -> None:
        """Every local edit is acknowledged or on its way: what is typed next becomes another operation."""
        await self.wait_for(lambda: not self._state.queue)

    @property
    def _is_settled(self) -> bool:
        return self._state.settled

    async def wait_for(self, condition: Callable[[], bool]) -> None:
        """Until ``condition()``, looked at after everything that happens to this document."""
        self._check()
        await self._conditions.wait_for(condition)

    def _wake(self) -> None:
        self._conditions.look()

    # Listening -------------------------------------------------------------------------------------------------------
    def on_change(self, callback: Callable[[Any, Origin], object]) -> Callable[[], None]:
        """``callback(operation, origin)`` for each change of the content, in order. ``origin``: "local", "remote", "undo",
        "redo", "restore" (asked for here), "refused" (an own edit taken back), "rebased" (as ``on_rebased``), "healed"
        (the content was not the server's) or "reset" (it is another document). Returns what takes it off."""
        return self._on_change.add(callback)

    def on_committed(self, callback: Callable[[Committed], object]) -> Callable[[], None]:
        """Each operation of the document's history as it arrives, acks and held ones included."""
        return self._on_committed.add(callback)

    def on_refused(self, callback: Callable[[Any, str], object]) -> Callable[[], None]:
        """``callback(operation, code)``: the server will not have this edit, or it cannot be sent (message_too_large, invalid_data); it was
        taken back, as was what had been done within it since, which is told after it. Also in ``refused``."""
        return self._on_refused.add(callback)

    def on_lost_work(self, callback: Callable[[LostWork], object]) -> Callable[[], None]:
        """The document was created anew, or the handle has ended: these edits have nowhere to go. Also in ``lost_work``."""
        return self._on_lost_work.add(callback)

    def on_rebased(self, callback: Callable[[Rebased], object]) -> Callable[[], None]:
        """This client was away for longer than the history reaches back. Its edits are kept, but where they belong was
        found out by comparing contents: somebody may want to look."""
        return self._on_rebased.add(callback)

    # Holding back ----------------------------------------------------------------------------------------------------
    @property
    def held(self) -> int:
        """How many operations have arrived and are not shown."""
        return len(self._state.held) + len(self._state.arrived)

    @property
    def hold_overflows(self) -> int:
        """Operations shown although held, because ``hold_limit`` was reached."""
        return self._state.overflows

    def hold(self) -> None:
        """From now on the content changes by local edits only, until ``show`` or ``release``; the session goes on."""
        self._state.hold()

    def show(self, revision: int) -> None:
        """Lets in what is held up to ``revision``, and goes on holding."""
        self._let_in(partial(self._state.show, revision))

    def release(self) -> None:
        """Lets in everything and holds no more."""
        self._let_in(self._state.release)
        self._schedule()

    def _let_in(self, reveal: Callable[[], list[Change]]) -> None:
        try:
            changes = reveal()
        except Diverged as error:
            self._diverged(error)
        else:
            self._changed(changes)
            self._tell_healed(changes)

    # Life ------------------------------------------------------------------------------------------------------------
    async def leave(self, *, settle_seconds: float | None = None) -> int:
        """Ends the handle when every edit is acknowledged, at the latest after ``settle_seconds`` (default: the option); who gives it up
        has left. Idempotent; called off when the document is opened again meanwhile.

        Returns how many operations were not acknowledged by then. They may be lost; they are in ``lost_work``.
        """
        await self._leave(settle_seconds)
        return self._state.unsettled

    def _end(self, error: ClientError) -> None:
        if self.error is not None:
            return
        self.error = error
        self._line.clear()
        self._state.detach()
        self._conditions.end(self.error)
        self._end_requests(self.error)
        lost = self._state.lost_work()
        if lost is not None:
            self._lose(lost, f"has ended ({error})")

    # Called by the client --------------------------------------------------------------------------------------------
    def _join_data(self) -> dict[str, Any]:
        state = self._state
        data: dict[str, Any] = {"document": self.name, "type": self.type, "unit": self._unit, "client": state.client}
        if not state.generation:
            return data
        if self._whole is None:
            data |= {"revision": state.known, "generation": state.generation}
            told = state.tell_pending()
            if told is not None and not self._exact:
                describe = state.type.describe
                data["pending"] = [
                    {"operation": describe(item.operation)} | ({} if item.seq is None else {"seq": item.seq})
                    for item in told
                ]
        elif self._whole == "healed":
            data["diverged"] = state.diverged()
        return data

    def _rejoin(self, *, small: bool = False) -> None:
        """First thing on a new link, and when the server's session of this document is gone. ``small``: with its edits it was larger than
        may be sent; then they are carried over here, or past all that the server tells."""
        if self.error is not None:
            return
        self._away()
        data = self._join_data()
        self._small = small or not data.get("pending")
        if small and self._state.type.drifts:
            data["pending"] = []
        elif small:
            data.pop("pending", None)
        try:
            self._ask_to_join(data)
        except (RequestError, *UNSENDABLE) as error:
            if not self._small:
                self._rejoin(small=True)
            else:
                why = RequestError(ErrorCode.INVALID_DATA.value, f"{error!r}, not sent", "document:join")
                self._over(error if isinstance(error, RequestError) else why)

    @property
    def _mark(self) -> object:
        return self._state.generation, self._state.known

    def _away(self) -> None:
        self._state.detach()
        self._catching_up = False

    def _rejoined(self, result: Any, error: ClientError | None) -> None:
        if error is None:
            self._guarded(self._joined, result, self._joins)
        elif isinstance(error, Undecodable):
            self._try_later(error)
        elif not isinstance(error, RequestError):
            return  # the link is gone: the next one joins again
        elif error.code == ErrorCode.MESSAGE_TOO_LARGE and not self._small:
            self._rejoin(small=True)
        elif error.code in PASSING:
            self._try_later(error)
        elif error.code in LOST_HISTORY and self._whole is None:
            self._whole = "rebased"
            self._rejoin()
        elif error.code == ErrorCode.CLIENT_TAKEN:
            # Another user now, for example a guest that the server has forgotten.
            self._state.rename(secrets.token_hex(8))
            self._finish()
            self._renew(error)
        elif error.code in SHUT:
            self._removed(error.message, error)
        else:
            self._over(error)

    def _first_joined(self, result: Any) -> Self:
        try:
            return self._joined(result)
        except UNREADABLE as error:
            raise Undecodable(f"document {self.name!r} cannot be read: {error!r}") from error

    def _joined(self, result: Any, number: int = 0) -> Self:
        state = self._state
        if self.error is not None or number != self._joins:  # given up, or overtaken, meanwhile
            return self
        self._people = {entry["client"]: entry for entry in result["collaborators"]}
        self._people.pop(state.client, None)
        self._role_is(result["role"])
        if result["operations"] is None:
            if not self._load(result):
                return self
            self._is_joined()
            self._caught_up(result)
        else:
            state.attach(result["seq"], len(result["operations"]) + bool(result.get("more")))
            self._exact = False
            self._is_joined()
            self._catching_up = True
            self._line.appendleft((self._caught_up, (result,)))
            self._line.appendleft((self._receive, (result["revision"], result["operations"], result.get("hash"))))
        return self

    def _caught_up(self, result: Any) -> None:
        """All that the answer to a join has told is here."""
        state = self._state
        self._catching_up = False
        if not state.attached:
            return  # a difference was found: another join is under way
        if state.in_doubt and result.get("more"):
            self._renew(ClientError("it is not known yet what became of the operation that was under way"))
            return
        if state.in_doubt:
            state.attach(result["seq"], 0)
        if state.is_in_flight(state.client, state.seq) and state.seq <= result["seq"] and not result.get("more"):
            self._unnoticed(state.seq)
        state.undo_depth, state.redo_depth = result.get("undo", 0), result.get("redo", 0)
        state.carets.clear()
        for entry in self._people.values():
            self._cursor_at(result["revision"], entry["client"], entry.get("anchor"), entry.get("head"))
        self._cursor_changed = self._own_cursor is not None
        self._on_cursors.fire()
        if state.in_flight is not None:
            self._expect_ack()  # what was told to follow has to come
        self._schedule()

    def _load(self, result: dict[str, Any]) -> bool:
        """A content: of this history, then everything that waits is carried over; or of another document. False: it is joined again."""
        state = self._state
        revision, seq = result["revision"], result["seq"]
        content = result["content"] if result["text"] is None else result["text"]
        whole = self._whole
        if state.generation and result["generation"] == state.generation:
            told = result.get("pending")
            if told is not None and state.is_untold:  # done meanwhile
                self._exact = True
                self._renew(ClientError("more was done than the join had told"))
                return False
            self._exact = False
            pending = None if told is None else [state.type.parse(item) for item in told]
            origin = "rebased" if result.get("rebased") else whole or ("rebased" if told is None else "remote")
            before = self.content if self._on_rebased else None
            try:
                changes = state.adopt(revision, content, seq, pending, origin)
            except Diverged as error:
                log.error("document %r: %s", self.name, error)
            else:
                self._whole = None
                self._finish()
                if any(change.origin == "healed" for change in changes):
                    self._count_healed()
                self._changed(changes)
                if origin == "rebased":
                    log.warning("document %r: the history since the last visit is gone; edits were rebased", self.name)
                    self._on_rebased.fire(Rebased(before, self.content, self._told(state.unsent())))
                return True
        changes, lost = state.start(result["generation"], revision, content, seq)
        self._whole = None
        self._finish()
        self._changed(changes)
        if lost is not None:
            self._lose(lost, "was loaded anew")
        return True

    def _count_healed(self) -> None:
        self.healed += 1
        log.error("document %r was another content than the server's; it was healed", self.name)

    def _lose(self, lost: LostWork, why: str) -> None:
        lost = LostWork(thawed(lost.content), thawed(lost.base), [self._told(one) for one in lost.operations])
        self.lost_work.append(lost)
        log.warning("document %r %s; unacknowledged edits are in lost_work", self.name, why)
        self._on_lost_work.fire(lost)

    def _push(self, event: str, data: dict[str, Any]) -> None:
        self._guarded(self._take_push, event, data)

    def _guarded(self, action: Callable[..., object], *args: Any) -> None:
        """Done when all that came before it has been taken in."""
        self._line.append((action, args))
        if not self._taking_in and (not self._slice_is_due or len(self._line) > MOST_IN_LINE):
            self._take_in(SLICE_SECONDS if len(self._line) <= MOST_IN_LINE else float("inf"))

    def _take_in(self, seconds: float) -> None:
        self._taking_in, self._until = True, self._now() + seconds
        try:
            while self._line:
                action, args = self._line.popleft()
                try:
                    action(*args)
                except Diverged as error:
                    self._diverged(error)
                except UNREADABLE as error:
                    self._unreadable(error)
                if self._line and self._now() > self._until:
                    break
        finally:
            self._taking_in = False
            if self._line and not self._slice_is_due:
                self._slice_is_due = True
                asyncio.get_running_loop().call_soon(self._next_slice)
        self._wake()

    def _next_slice(self) -> None:
        self._slice_is_due = False
        self._take_in(SLICE_SECONDS)

    def _unreadable(self, error: Exception) -> None:
        """What the server said of it is not the protocol, or no content of its type: that costs this document, not the link."""
        log.error("document %r cannot be read: %r", self.name, error)
        self._try_later(Undecodable(f"document {self.name!r} cannot be read: {error!r}"))

    def _take_push(self, event: str, data: dict[str, Any]) -> None:
        state = self._state
        if not state.generation:
            pass  # of a place that the first join, which is under way, replaces
        elif event == "error":
            self._refused(data["seq"], RequestError.read(data, "document:operation"))
        elif not state.attached:
            pass  # older than the answer to the join, which will hold all of it
        elif event == "document:resync":
            self._renew(ClientError(f"the server began anew with it: {data.get('reason')}"))
        elif event == "document:operation":
            self._receive(data["revision"], data["operations"], data.get("hash"))
        elif event == "document:ack":
            # Its entry has come or will come with the history; if it is below the revision it was missed: never.
            if data["revision"] <= state.revision and state.is_in_flight(state.client, data["seq"]):
                self._unnoticed(data["seq"])
        elif event == "document:cursor":
            for cursor in data["cursors"]:
                self._cursor_at(data["revision"], cursor["client"], cursor["anchor"], cursor["head"])
            self._on_cursors.fire()
        elif event == "document:role":
            self._role_changed(data)
        elif event == "document:removed":
            self._removed("your access was taken away")
        elif event == "document:collaborator_joined":
            if data["client"] != state.client:
                self._people[data["client"]] = data
                self._cursor_at(state.known, data["client"], data.get("anchor"), data.get("head"))
                self._on_cursors.fire()
        elif event == "document:collaborator_left":
            self._forget_cursor(data["client"])
            self._on_cursors.fire()

    def _role_changed(self, data: dict[str, Any]) -> None:
        """Of this client, or of another one here."""
        if data["client"] == self._state.client:
            self._role_is(data["role"])
        elif data["client"] in self._people:
            self._people[data["client"]] = {**self._people[data["client"]], "role": data["role"]}

    def _receive(self, revision: int, entries: list[dict[str, Any]], hash: int | None = None, done: int = 0) -> None:
        """Entry by entry, each with its changes told before the next, so that a callback may edit. ``done``: taken in already."""
        state = self._state
        number = revision - sum(entry.get("count", 1) for entry in entries[done:])
        if number > state.known:
            self._renew(ClientError(f"what follows revision {state.known} did not come"))
            return
        for at in range(done, len(entries)):
            if not state.attached:
                return
            if at > done and self._now() > self._until:
                self._line.appendleft((self._receive, (revision, entries, hash, at)))
                return
            entry = entries[at]
            client, seq, span = entry.get("client", ""), entry.get("seq", 0), entry.get("count", 1)
            number += span
            if number <= state.known:
                continue
            own = state.is_in_flight(client, seq)
            if own:
                self._patience.answered(self._now())
            kind = entry.get("kind", "edit")
            try:
                operation = state.type.parse(entry["operation"])
            except UNFIT as error:
                raise Diverged(f"revision {number} is no operation: {error}") from error
            changes = state.receive(number, client, seq, operation, kind, span)
            self._changed(changes)
            self._finish()
            self._on_committed.fire(Committed(number, client, seq, own, kind, span))
            self._tell_healed(changes)
        same = None if hash is None else state.same(revision, hash)
        if same:
            self._alarms = 0
        elif same is False and worth_healing(self._alarms):
            log.error("document %r: the content of revision %d is not the server's", self.name, revision)
            self._heal(Diverged(f"the content of revision {revision} is not the server's"))
        elif same is False:
            self._alarms += 1
        self._schedule()

    def _diverged(self, error: Diverged) -> None:
        log.error("document %r is loaded anew: %s", self.name, error)
        self._heal(error)

    def _tell_healed(self, changes: list[Change]) -> None:
        """Where the view was not what it had to be: the server is told."""
        if any(change.origin == "healed" for change in changes):
            self._count_healed()
            self._heal(Diverged("the content was not what it had to be"))

    def _heal(self, error: ClientError) -> None:
        self._whole = "healed"
        self._alarms += 1
        if self._alarms > MOST_ALARMS:  # it does not help: no faster than the server can bear
            self._try_later(error, self._alarms - MOST_ALARMS)
        else:
            self._rejoin()

    def _refused(self, seq: int, error: RequestError) -> None:
        state, code = self._state, error.code
        if not state.is_in_flight(state.client, seq):
            return
        if code == ErrorCode.RATE_LIMITED:
            self._send_later(seq, error)
            return
        work = state.in_flight
        doubtful = code not in PASSING and code != ErrorCode.NOT_JOINED
        again = doubtful and self._doubted_seq == seq  # a join in between has not helped
        if isinstance(work, Request):
            if code not in UNDECIDED or again:
                self._refuse_request(work, seq, error)
                return
        elif code in REFUSALS or again:
            log.warning("document %r: operation %d was refused: %s %s", self.name, seq, code, error.message)
            self._take_back(seq, code)
            return
        # Its fate is open. sequence_conflict: an earlier sending of it was overtaken by the reconnect and got in after
        # all; the answer to a join tells. The others: not joined, not stored, not now.
        if doubtful:
            self._doubted_seq = seq
        if code in PASSING and code != ErrorCode.DOCUMENT_UNAVAILABLE:
            self._try_later(error)
        else:
            self._renew(error)

    def _take_back(self, seq: int, code: str) -> None:
        state, content = self._state, self.content
        later, misfit = bool(state.queue), None
        changes: list[Change] = []
        try:
            changes = state.refuse(seq)
        except Diverged as error:  # it cannot be taken back: what is here is another content
            misfit = error
        taken_back, state.taken_back = state.taken_back, []
        self._changed(changes)
        for one in taken_back:
            self.refused.append(Refused(self._told(one), code, content if later or misfit else None))
            self._on_refused.fire(self._told(one), code)
        if misfit is not None:
            self._diverged(misfit)
            return
        self._tell_healed(changes)
        self._schedule()

    # Out -------------------------------------------------------------------------------------------------------------
    def _schedule(self) -> None:
        """Sends at the end of this turn of the loop, so that what is typed in one turn is one operation."""
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self.error is not None or self._catching_up:
            return
        state, connection = self._state, self._client.connection
        state.operation_limit = min(self._operation_limit, connection.message_bytes // BYTES_A_UNIT)
        submission = state.take()
        if submission is not None:
            self._patience.sent(self._now())
            self._expect_ack()
            seq, revision, work = submission
            data: dict[str, Any] = {"document": self.name, "seq": seq, "revision": revision}
            try:
                if isinstance(work, Request):
                    self._ask(work, seq, data)
                else:
                    data["operation"] = state.type.describe(work)
                    connection.post("document:operation", data)
            except RequestError as error:  # larger than may be sent
                self._guarded(self._refused, seq, error)
            except UNSENDABLE as error:
                why = RequestError(ErrorCode.INVALID_DATA.value, f"{error!r}, not sent", "document:operation")
                self._guarded(self._refused, seq, why)
        elif self._cursor_changed and state.attached and state.settled and not state.held:
            self._send_cursor()
        self._wake()

    def _changed(self, changes: list[Change]) -> None:
        """Tells the listeners, in order also when one of them edits."""
        if not changes:
            return
        self._move_own_cursor(changes)
        if self._on_change:
            for change in changes:
                self._on_change.fire_in_order(self._told(change.operation), change.origin)
