"""What rooms and documents share: one first join, however many wait for it, and leaving. What is given up is undone."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..core.errors import ErrorCode
from .access import Access
from .errors import ClientError, Closed, Removed, RequestError, RequestTimeout

if TYPE_CHECKING:
    from .client import Client

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
    """``_users``: who wants it. Each that waits for its first join, and HOLDER once somebody has got it; nobody: it is left, or will be."""

    _kind: ClassVar[Literal["room", "document"]]
    _client: Client

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client._calls)
        self.name = name
        self._client = client
        self._users: set[object] = set()
        self._opening: asyncio.Task[Any] | None = None  # the first join

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
            self._users.add(HOLDER)
        except RequestError as error:
            self._over(error)
            raise
        except ClientError as error:  # it may have been done
            self._quit(error)
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
                        return await connection.attempt(turn, event, self._join_data(), self._joined)
                    except RequestError as error:
                        if error.code != ErrorCode.RATE_LIMITED:
                            raise
                        refused, attempts = error, attempts + 1
                        turn.sent = False  # nothing of it was done
                    await self._client._pause(attempts, refused)
        except RequestTimeout as error:
            raise refused or error from None  # nothing of what was refused was done

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
