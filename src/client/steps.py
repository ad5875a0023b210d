"""Undo, redo and restore of a document's handle: what is asked for goes out in its turn, and is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.errors import ErrorCode
from .document_values import Request, RequestKind
from .errors import ClientError, Diverged, NotSent, RequestError, RequestTimeout
from .frozen import thawed

if TYPE_CHECKING:
    from .document_state import DocumentState
    from .handle_owner import HandleOwner

# What became of an undo, redo or restore is not known yet, or it may be asked for again.
UNDECIDED = frozenset(
    {
        ErrorCode.DOCUMENT_UNAVAILABLE.value,
        ErrorCode.UNAVAILABLE.value,
        ErrorCode.INTERNAL.value,
        ErrorCode.LIMIT_EXCEEDED.value,
        ErrorCode.NOT_JOINED.value,
        ErrorCode.SEQUENCE_CONFLICT.value,
    }
)


#: Without an answer for so long, what is done goes on in steps: as core/documents/undo.pyx, where later edits are another step.
STEP_SECONDS = 1.0
#: And for so many times what the last answer took: on a slow link each answer takes long, and steps that wait for one each would pile up.
STEP_ANSWERS = 4


class Patience:
    """Whether what is in flight is not answered for long. Times are the client's clock's, in seconds."""

    __slots__ = ("_sent_at", "_took")

    def __init__(self) -> None:
        self._sent_at = 0.0
        self._took = 0.0  # the last answer

    def sent(self, now: float) -> None:
        self._sent_at = now

    def answered(self, now: float) -> None:
        self._took = now - self._sent_at

    def since(self, now: float) -> float:
        """How long it has been."""
        return now - self._sent_at

    def is_over(self, now: float) -> bool:
        return now - self._sent_at > max(STEP_SECONDS, STEP_ANSWERS * self._took)


class Steps:
    """A part of a handle, which has an ``error`` and the ways to send and to be refused."""

    error: ClientError | None
    _client: HandleOwner
    _state: DocumentState
    _check_edit: Callable[..., None]
    _schedule: Callable[[], None]
    _guarded: Callable[..., None]
    _joins: int
    _refused: Callable[[int, RequestError], None]
    _wake: Callable[[], None]
    _renew: Callable[[ClientError], None]

    def __init__(self) -> None:
        self._requests: dict[Request, asyncio.Future[bool]] = {}
        self._depths: tuple[int, int] | None = None  # what an answer said whose entry is still to come
        self._patience = Patience()
        self._watch: asyncio.TimerHandle | None = None  # looks after what is in flight
        self._limited = (0, 0)  # the submission that was refused for now, by its number, and how often in a row

    def _now(self) -> float:
        return self._client.connection.options.clock.monotonic()

    @property
    def _slow(self) -> bool:
        """What is in flight is not answered for long: composed, all that is done meanwhile would be one step of undo."""
        return self._state.in_flight is not None and self._patience.is_over(self._now())

    @property
    def can_undo(self) -> int:
        """How many steps of this client's there are, about; 0: none that is known of. What was done since the server's last answer to a
        join, undo or redo counts as one step, and as one more while some of it waits: there may be more, or fewer; and others may have
        left nothing of some."""
        return self._state.can_undo

    @property
    def can_redo(self) -> int:
        return self._state.can_redo

    async def undo(self) -> bool:
        """Takes back this client's last step, whatever others did since; what they did stays. False: there is none.

        Steps live on the server: they outlast reconnects, and a program that keeps ``client_id``. Raises RequestError
        (forbidden, ...), RequestTimeout (it may be done yet; NotSent: it will not), BufferFull, and what ended the handle.
        """
        return await self._ask_for("undo")

    async def redo(self) -> bool:
        """Takes back the last ``undo``; as that."""
        return await self._ask_for("redo")

    async def restore(self, revision: int) -> None:
        """Makes the document what it was at ``revision``, as a new operation of this client that can be undone.

        Raises RequestError: history_trimmed (older than the horizon), revision_unknown, forbidden, ...; RequestTimeout as ``undo``.
        """
        if not await self._ask_for("restore", revision):
            raise RequestError(ErrorCode.REVISION_UNKNOWN.value, "the document was created anew")

    async def initialize(self, content: Any) -> bool:
        """Gives a document that has no content yet its first one. False: it has one; of several that do this at the same time, or one
        of which was offline, the first one's stays, and nothing else changes.

        Raises SynclineError (operation_invalid), RequestError (forbidden, document_too_large, ...), RequestTimeout as ``undo``, BufferFull,
        and what ended the handle.
        """
        return await self._ask_for("initialize", content=content)

    async def _ask_for(self, kind: RequestKind, to: int = 0, content: Any = None) -> bool:
        self._check_edit(f"document:{kind}")
        request = self._state.request(kind, to, thawed(content))
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._requests[request] = future
        self._schedule()
        try:
            async with asyncio.timeout(self._client.connection.options.request_timeout):
                return await future
        except (TimeoutError, asyncio.CancelledError) as error:
            unsent = self._state.withdraw(request)
            self._wake()
            if isinstance(error, asyncio.CancelledError):
                raise
            if unsent:
                raise NotSent(f"document:{kind} was not sent in time") from None
            raise RequestTimeout(f"document:{kind} was not answered in time") from None
        finally:
            self._requests.pop(request, None)

    def _ask(self, request: Request, seq: int, data: dict[str, Any]) -> None:
        """Sends it. Raises RequestError."""
        if request.kind == "restore":
            data["to"] = request.to
        elif request.kind == "initialize":
            data["content"] = request.content
        answer = partial(self._guarded, self._answered, request, seq)
        self._client.connection.post(f"document:{request.kind}", data, answer)

    def _expect_ack(self, seconds: float | None = None) -> None:
        """What is in flight is answered within ``request_timeout``, or the document is joined again, which tells its fate. One timer."""
        if self._watch is None:
            wait = self._client.connection.options.request_timeout if seconds is None else seconds
            self._watch = asyncio.get_running_loop().call_later(wait, self._look_after)

    def _look_after(self) -> None:
        self._watch = None
        state, connection = self._state, self._client.connection
        if self.error is not None or state.in_flight is None or not state.attached:
            return  # what goes out next is looked after, too
        left = connection.options.request_timeout - self._patience.since(self._now())
        if left > 0:
            self._expect_ack(left)
        elif not connection.is_writable:
            self._expect_ack()  # it may not have left
        else:
            self._renew(RequestTimeout(f"operation {state.seq} was not answered in time"))

    def _end_requests(self, error: ClientError) -> None:
        if self._watch is not None:
            self._watch.cancel()
        for future in self._requests.values():
            if not future.done():
                future.set_exception(error)

    def _finish(self) -> None:
        """Answers those whose undo, redo or restore is over."""
        finished, self._state.finished = self._state.finished, []
        for request, done in finished:
            if done and self._depths is not None:
                self._state.undo_depth, self._state.redo_depth = self._depths
            self._depths = None
            future = self._requests.get(request)
            if future is not None and not future.done():
                future.set_result(done)

    def _answered(self, request: Request, seq: int, result: Any, error: ClientError | None) -> None:
        """The reply to an undo, redo or restore; its operation comes with the history."""
        state = self._state
        if self.error is not None or state.in_flight is not request or seq != state.seq or not state.attached:
            if error is None and self.error is None and state.attached:
                state.undo_depth, state.redo_depth = result["undo"], result["redo"]
            return
        if error is None:
            if result["revision"] <= state.revision:
                self._unnoticed(seq)
            else:
                self._depths = (result["undo"], result["redo"])
        elif isinstance(error, RequestError):
            self._refused(seq, error)

    def _send_later(self, seq: int, error: RequestError) -> None:
        """Too much was asked for: nothing of what is in flight was done, and this client's session in the document goes on. So it goes
        out again, as it is by then, unless a join tells its fate before."""
        if not self._state.attached:
            return
        if self._watch is not None:  # it is answered
            self._watch.cancel()
            self._watch = None
        times = self._limited[1] + 1 if self._limited[0] == seq else 1
        self._limited = (seq, times)
        self._client.later(partial(self._send_again, seq, self._joins), times, error)

    def _send_again(self, seq: int, joins: int) -> None:
        state = self._state
        if joins == self._joins and state.attached and state.is_in_flight(state.client, seq):
            state.resend()
            self._schedule()

    def _unnoticed(self, seq: int) -> None:
        raise Diverged(f"operation {seq} was committed unnoticed")

    def _refuse_request(self, request: Request, seq: int, error: RequestError) -> None:
        state = self._state
        future = self._requests.get(request)
        if error.code == f"nothing_to_{request.kind}":
            if request.kind == "undo":
                state.undo_depth = 0
            else:
                state.redo_depth = 0
        elif request.kind == "initialize" and error.code == ErrorCode.DOCUMENT_EXISTS:
            pass  # somebody else's is there
        elif future is not None and not future.done():
            future.set_exception(error)
        state.refuse(seq)
        self._finish()
        self._schedule()
