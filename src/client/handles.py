"""What rooms and documents share: one first join, however many wait for it, and leaving. What is given up is undone."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..core.errors import ErrorCode
from .access import Access
from .errors import ClientError, Closed, Removed, RequestError, RequestTimeout

if TYPE_CHECKING:
    from .handle_owner import HandleOwner

log = logging.getLogger("syncline.client")

#: Joining (again), or leaving, failed for a reason that passes.
PASSING = frozenset(
    {
        ErrorCode.DOCUMENT_UNAVAILABLE.value,
        ErrorCode.UNAVAILABLE.value,
        ErrorCode.RATE_LIMITED.value,
        ErrorCode.INTERNAL.value,
        ErrorCode.LIMIT_EXCEEDED.value,
    }
)
#: What a request is answered that came after the end of its handle.
OUT = frozenset({ErrorCode.NOT_A_MEMBER.value, ErrorCode.NOT_JOINED.value})
#: Among a handle's users: whoever has got it.
HOLDER = "holder"


class Handle(Access):
    """``_users``: who wants it. Each that waits for its first join, and HOLDER once somebody has got it; nobody: it is left, or will be.

    trouble: why it could not be joined again the last time; None while it is joined.
    """

    _kind: ClassVar[Literal["room", "document"]]
    _client: HandleOwner
    name: str
    _joins: int

    def __init__(self, client: HandleOwner, name: str) -> None:
        super().__init__(client._calls)
        self.name = name
        self._client = client
        self._users: set[object] = set()
        self._opening: asyncio.Task[Any] | None = None  # the first join
        self.trouble: ClientError | None = None
        self._joins = 0  # sent after the first one
        self._awaited = 0  # the number of the one that is not answered
        self._joined_at = math.inf  # by the client's clock
        self._tries = 0  # to join again in a row of which nothing came
        self._reached: object = None  # ``_mark`` at the last of them

    @property
    @abstractmethod
    def _is_settled(self) -> bool: ...
    def _hurry(self) -> None:
        """What waits is to be sent in as few round trips as it can be."""

    @abstractmethod
    async def settled(self) -> None: ...
    @abstractmethod
    def _join_data(self) -> dict[str, Any]: ...
    @abstractmethod
    def _joined(self, result: Any) -> Any: ...
    @abstractmethod
    def _rejoin(self) -> None: ...
    @abstractmethod
    def _rejoined(self, result: Any, error: ClientError | None) -> None:
        """What the newest join was answered."""

    @property
    @abstractmethod
    def _mark(self) -> object:
        """What is another one when something of it has arrived."""

    @abstractmethod
    def _away(self) -> None:
        """Not joined now; it will be joined again."""

    @abstractmethod
    def _end(self, error: ClientError) -> None: ...

    async def _open(self) -> None:
        """Until it has been joined; to leave it is called off. When all who wait for it have given it up it is undone.

        Raises RequestError, RequestTimeout, ...: then the handle has ended.
        """
        waiter = object()
        self._users.add(waiter)
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._first_join())
            self._opening.add_done_callback(_seen)
        try:
            await asyncio.shield(self._opening)
            self._check()  # it may have been left meanwhile
            self._users.add(HOLDER)
        except RequestError as error:
            self._over(error)
            raise
        except ClientError as error:  # it may have been done
            self._quit(error)
            raise
        except Exception as error:  # what cannot be sent
            self._quit(Closed(f"the {self._kind} could not be asked for: {error!r}"))
            raise
        finally:
            if waiter in self._users:
                self._users.remove(waiter)
                if not self._users:
                    self._opening.cancel()
                    self._quit(Closed(f"the {self._kind} was given up"))

    async def _first_join(self) -> Any:
        """What is refused for now is asked for again as the server says, up to ``request_timeout`` altogether. Raises RequestError, ..."""
        connection, event = self._client.connection, f"{self._kind}:join"
        refused: RequestError | None = None
        attempts = 0
        try:
            async with connection.turn(event) as turn:
                while True:
                    try:
                        refused = None
                        return await connection.attempt(turn, event, self._join_data(), self._first_joined)
                    except RequestError as error:
                        if error.code != ErrorCode.RATE_LIMITED:
                            raise
                        refused, attempts = error, attempts + 1
                        turn.sent = False  # nothing of it was done
                    await self._client._pause(attempts, refused)
        except RequestTimeout as error:
            raise refused or error from None  # nothing of what was refused was done

    def _first_joined(self, result: Any) -> Any:
        """Raises ClientError."""
        return self._joined(result)

    # Joining again ---------------------------------------------------------------------------------------------------
    def _ask_to_join(self, data: dict[str, Any]) -> None:
        """Only what the newest join is answered counts. Raises RequestError, TypeError, ..., of what cannot be sent."""
        self._joins += 1
        self._awaited = 0
        answer = partial(self._join_answered, self._joins)
        if self._client.connection.post(f"{self._kind}:join", data, answer):
            self._awaited = self._joins
            self._expect(self._joins)

    def _join_answered(self, number: int, result: Any, error: ClientError | None) -> None:
        if self.error is None and number == self._joins:
            self._awaited = 0
            self._rejoined(result, error)

    def _expect(self, number: int) -> None:
        """The answer of that join, within ``request_timeout``."""
        seconds = self._client.connection.options.request_timeout
        asyncio.get_running_loop().call_later(seconds, self._too_late, number)

    def _too_late(self, number: int) -> None:
        """It is undone, whatever became of it, and asked for again."""
        if self.error is not None or number != self._awaited:
            return
        if not self._client.connection.is_writable:  # it may not have left
            self._expect(number)
            return
        self._awaited = 0
        self._joins += 1
        self._say_left()
        self._try_later(RequestTimeout(f"{self._kind}:join was not answered in time"))

    def _is_joined(self) -> None:
        self.trouble = None
        self._joined_at = self._client.connection.options.clock.monotonic()

    def _renew(self, error: ClientError) -> None:
        """What is here is not what the server has: it is joined again, at once when something came of the last time or it lasted for
        ``stable_seconds``, otherwise after a wait that grows."""
        options = self._client.connection.options
        lasted = self.trouble is None and options.clock.monotonic() - self._joined_at >= options.backoff.stable_seconds
        if self._mark != self._reached or lasted:
            self._tries, self._reached = 1, self._mark
            self._joined_at = math.inf
            self._rejoin()
        else:
            self._try_later(error)

    def _try_later(self, error: ClientError, least: int = 1) -> None:
        """It is joined again after a wait that grows while nothing comes of it, as that of try ``least`` at least; ``Backoff.attempts``
        in a row end it."""
        if self._mark != self._reached:
            self._tries, self._reached = 0, self._mark
        self.trouble = error
        self._tries = max(self._tries + 1, least)
        if 0 < self._client.connection.options.backoff.attempts <= self._tries:
            self._quit(error)
            return
        log.warning("%s %r is joined again later, try %d: %s", self._kind, self.name, self._tries, error)
        self._away()
        self._client.later(partial(self._rejoin_after, self._joins), self._tries, error)

    def _rejoin_after(self, joins: int) -> None:
        """Unless it was joined since: a second join would throw away what went out after the first."""
        if joins == self._joins:
            self._rejoin()

    # Leaving ---------------------------------------------------------------------------------------------------------
    async def _leave(self, settle_seconds: float | None, *, resign: bool = False) -> None:
        """Leaves when it is settled, unless somebody wants it again by then; the server's answer is waited for as long as is left then.
        Who gives this up has left. Raises of ``resign`` any ClientError: then nothing has changed."""
        if resign and not isinstance(self.error, Removed):
            self._check()  # a membership is not ended by a room that was left already
        if self.error is not None:
            return
        self._users.clear()
        loop = asyncio.get_running_loop()
        seconds = self._client.connection.options.settle_seconds if settle_seconds is None else settle_seconds
        until = loop.time() + seconds
        try:
            await self._client._settle([self], seconds)
            if self._users or self.error is not None:
                return
            if resign:
                await self._client.request(f"{self._kind}:leave", {self._kind: self.name, "resign": True})
        except ClientError:
            self._users.add(HOLDER)
            raise
        except BaseException:
            if not self._users:
                self._quit(Closed(f"the {self._kind} was left"))
            raise
        if resign and self._users:
            self._rejoin()  # wanted again since it was asked
        elif resign:
            self._over(Closed(f"the {self._kind} was left"))
        else:
            told = asyncio.Event()
            if self._quit(Closed(f"the {self._kind} was left"), told):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(until):
                        await told.wait()

    async def _request(self, event: str, data: dict[str, Any]) -> Any:
        """What is asked of this room or document. Raises what ended it, also when that was meanwhile."""
        self._check()
        try:
            return await self._client.request(event, {self._kind: self.name, **data})
        except RequestError as error:
            self._was_out(error)
            raise

    def _was_out(self, error: RequestError) -> None:
        """Raises why, when a request came too late."""
        if error.code in OUT:
            self._check()

    async def grant(self, user: str, role: str | None) -> None:
        """Sets a user's role; None removes the user. Owners only; in rooms also moderators, within what they are."""
        await self._request(f"{self._kind}:grant", {"user": user, "role": role})

    def _over(self, error: ClientError) -> None:
        """Ended here."""
        if self.error is None:
            self._client._forget(self)
            self._end(error)

    def _quit(self, error: ClientError, told: asyncio.Event | None = None) -> bool:
        """Ended here, and said so; ``told`` is set with the answer. Whether there is a link: without one there is nothing to leave."""
        if self.error is not None:
            return False
        self._over(error)
        return self._say_left(told)

    def _say_left(self, told: asyncio.Event | None = None, attempt: int = 1) -> bool:
        """Written at once, before whatever waits for its turn; again while the server cannot, unless somebody here joins again."""
        client = self._client

        def answered(result: Any, error: ClientError | None) -> None:
            if isinstance(error, RequestError) and error.code in PASSING:
                client.later(
                    lambda: client._knows(self._kind, self.name) or self._say_left(None, attempt + 1), attempt, error
                )
            if told is not None:
                told.set()

        return client.connection.post(f"{self._kind}:leave", {self._kind: self.name}, answered)


def _seen(task: asyncio.Task[Any]) -> None:
    """Nobody may be left to whom its error could be told."""
    if not task.cancelled():
        task.exception()
