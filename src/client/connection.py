"""The client's connection: opened, authenticated, watched, and made again. Requests in, replies and pushes out.

One ``Connection`` lives as long as its client and goes through many links (link.py):

    connecting -> open -> waiting -> connecting -> ... -> closed

What a link's end means for whom:

* a request that was sent and not answered: ConnectionLost, because its fate is unknown;
* a request that was not sent yet: it waits for the next link (up to its timeout);
* rooms and documents: their owner (client.py) writes their joins first thing on the new link, before anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

from msgspec import Raw

from ..core.errors import Disconnect, ErrorCode, SynclineError
from ..core.limits import LEAST_BATCH_SIZE, LEAST_MESSAGE_BYTES
from .backoff import Backoff, Clock, SystemClock
from .codec import Codec, CodecName, Incoming, Received
from .errors import (
    ClientError,
    Closed,
    ConnectFailed,
    ConnectionLost,
    Disconnected,
    NoToken,
    NotSent,
    ProtocolViolation,
    RequestError,
    RequestTimeout,
    Undecodable,
)
from .link import Link, open_link, with_token
from .pace import Pace

log = logging.getLogger("syncline.client")

State = Literal["connecting", "open", "waiting", "closed"]
GetToken = Callable[[], Awaitable[str]]
Answer = Callable[[Any, ClientError | None], None]
REFUSED_TOKEN = frozenset({ErrorCode.TOKEN_INVALID.value, ErrorCode.TOKEN_EXPIRED.value})
#: Connections in a row whose token may be refused where ``get_token`` gives it: it may have a better one the next time.
MOST_REFUSALS = 3
TOKEN_EXPIRED_CODE = 4006
#: Seconds between two refreshes of a token, however often the server says that it ends.
REFRESH_SECONDS = 1.0
#: Bytes of an array around envelopes, and of each separator in it: JSON's; MessagePack's are fewer.
FRAME_BYTES = 5
#: What holds the content of documents: the server takes it as it is, or not at all.
CONTENT = frozenset({"document:create", "document:initialize", "document:join", "document:operation"})
#: What documents have checked already.
CHECKED = frozenset({"document:initialize", "document:join", "document:operation"})
#: Of these only the newest of a document has to go out.
NEWEST = frozenset({"document:cursor"})
#: After so many ping_seconds of silence the server is asked whether it is there: later than a ping of its own would come.
ASK = 1.2


@dataclass(frozen=True, slots=True)
class Options:
    """Times in seconds, sizes in bytes."""

    codec: CodecName = "json"
    backoff: Backoff = field(default_factory=Backoff)
    clock: Clock = field(default_factory=SystemClock)
    open_timeout: float = 10.0  # get_token, handshake and authentication, each
    request_timeout: float = 30.0  # from the call to the answer, the wait for a connection included
    close_timeout: float = 2.0  # for the server to answer a close
    callback_limit: int = 1000  # calls that wait for one `async def` callback; then the oldest are dropped
    early_messages: int = 256  # of a room, kept in ``Room.history`` until somebody listens; then the oldest are dropped
    settle_seconds: float = 5.0  # that leaving a room or document, and closing, wait for what is not acknowledged
    max_message_bytes: int = 67_108_864  # a larger message from the server ends the link
    # Those of the server bound these three; it tells them when it has accepted the user.
    max_send_bytes: int = 1_048_576  # a larger request is refused here: the server would end the connection (1009)
    batch_size: int = 64  # envelopes written in one frame
    batch_bytes: int = 262_144  # of one such frame
    max_pending: int = 1024  # requests without an answer; more wait
    ping_seconds: float = 25.0  # until the server has said its own
    headers: Mapping[str, str] = field(default_factory=dict)
    ssl_context: ssl.SSLContext | None = None


@dataclass(slots=True)
class Turn:
    """A place among the requests under way. ``sent``: a try of it has left, so that the server may have done what it asks for."""

    sent: bool = False


class Asked(NamedTuple):
    """A request without an answer."""

    event: str
    answer: Answer
    turn: Turn | None


class Owner(Protocol):
    """Who a connection works for."""

    def on_authenticating(self) -> None:
        """`auth` is on its way on a new link: what is posted now goes out in the same frame. Once more when a token was refused."""

    def on_open(self, identity: dict[str, Any]) -> None:
        """Authenticated; what was posted is being answered."""

    def on_push_received(self, event: str, data: dict[str, Any]) -> None: ...

    def on_message_received(self, received: Received) -> None:
        """`message:received`, the payload raw: it dies with the call."""

    def on_down(self) -> None:
        """The link is gone; another one follows unless ``on_end`` does."""

    def on_state_changed(self, state: State) -> None: ...

    def on_end(self, error: ClientError) -> None:
        """Closed for good."""


def _too_large(event: str) -> RequestError:
    text = "over max_send_bytes, or the server's limits.message_bytes: not sent"
    return RequestError(ErrorCode.MESSAGE_TOO_LARGE.value, text, event)


def _heard(result: Any, error: ClientError | None) -> None:
    """An answer that is only awaited for its coming."""


class Connection:
    """See above. All methods are for the loop's thread."""

    def __init__(
        self, url: str, owner: Owner, options: Options, token: str | None, name: str | None, get_token: GetToken | None
    ) -> None:
        self.url = url
        self.options = options
        self.state: State = "connecting"
        self.identity: dict[str, Any] = {}
        self.attempts = 0  # failures in a row
        self._owner = owner
        self.token = token
        self._name = name
        self._get_token = get_token
        self._codec = Codec(options.codec)
        self._link: Link | None = None
        self._ended: ClientError | None = None
        self._opened = asyncio.Event()  # set while open, and for good when closed
        self._lost: asyncio.Future[Disconnect] | None = None
        self._next_id = 0
        self._answers: dict[int, Asked] = {}
        self._slots = asyncio.Semaphore(options.max_pending)
        self._outbox: list[tuple[int, bytes, str]] = []  # id (0: none), envelope, and the document of one of NEWEST
        self._pace = Pace(options.clock.monotonic)  # of this link
        self._paced: asyncio.Task[None] | None = None  # until the outbox may go on
        self._flowing = asyncio.Event()  # unless it waits for that
        self._flowing.set()
        self._message_bytes = options.max_send_bytes  # of one request, as far as it is known what the server takes
        self._refusals = 0  # of tokens in a row
        self._refreshing: asyncio.Task[None] | None = None
        self._refreshed_at = -REFRESH_SECONDS
        self._joinable = False  # on this link: at least `auth` is on its way
        self._authenticated = False  # on this link
        self._auth_id = 0  # of the request under way
        self._runner: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # Life ------------------------------------------------------------------------------------------------------------
    async def start(self, retry: bool) -> None:
        """Returns when open. Without ``retry`` the first failure is raised: ConnectFailed, RequestError."""
        if not retry:
            await self._open()
        self._runner = asyncio.get_running_loop().create_task(self._run(), name="syncline-client")
        await self._until_open()

    async def close(self) -> None:
        """Says goodbye. Requests without an answer raise Closed. Idempotent."""
        link = self._link
        self._end(Closed("the client was closed"))
        for task in [self._runner, *self._tasks]:
            if task is not None and task is not asyncio.current_task():
                task.cancel()
                await asyncio.wait([task])
        if link is not None:
            link.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.options.close_timeout):
                    await link.gone.wait()
            link.abort()

    def _end(self, error: ClientError) -> None:
        if self._ended is not None:
            return
        self._ended = error
        self._set_state("closed")
        self._opened.set()
        self._fail_waiting(error)
        self._owner.on_end(error)

    @property
    def message_bytes(self) -> int:
        """A larger request is refused here."""
        return self._message_bytes

    def _set_state(self, state: State) -> None:
        if self.state != state:
            self.state = state
            self._owner.on_state_changed(state)

    async def _run(self) -> None:
        """Keeps a link open until ``_end``."""
        try:
            while self._ended is None:
                if self._link is None and not await self._reopen():
                    continue
                await self._live()
        except asyncio.CancelledError:
            raise
        except Exception as error:  # a fault of this package must not leave callers waiting for ever
            log.exception("the client stopped")
            self._end(Disconnected(1006, f"a fault in the client: {error!r}"))

    async def _reopen(self) -> bool:
        self._set_state("connecting")
        try:
            await self._open()
            return True
        except Disconnected as error:
            self._end(error)
        except RequestError as error:
            # Only auth is asked while opening. A refused token does not get better by itself.
            refused = error.code in REFUSED_TOKEN
            if refused and self._get_token is not None and self._refusals + 1 < MOST_REFUSALS:
                self._refusals += 1
                self.token = None
                await self._wait_before_next(error)
            elif refused or error.code == ErrorCode.INVALID_DATA:
                self._end(error)
            else:
                await self._wait_before_next(error)
        except ClientError as error:
            await self._wait_before_next(error)
        return False

    def _refused(self) -> Disconnected | None:
        """While opening: the server's close code when it says not to come back."""
        if self._lost is None or not self._lost.done() or self._lost.result().reconnect:
            return None
        return Disconnected(*self._lost.result())

    async def _wait_before_next(self, error: ClientError) -> None:
        if self._ended is not None:
            return
        backoff = self.options.backoff
        attempt, self.attempts = self.attempts, self.attempts + 1
        if backoff.attempts and self.attempts >= backoff.attempts:
            self._end(Disconnected(1006, f"{self.attempts} attempts failed: {error}"))
            return
        log.debug("no connection, attempt %d: %s", self.attempts, error)
        self._set_state("waiting")
        delay = backoff.delay(attempt)
        if isinstance(error, ConnectFailed) and error.retry_after is not None:
            # Said in whole seconds to all who were sent away: a part of one spreads those with the same number.
            delay = error.retry_after + backoff.random()
        elif isinstance(error, RequestError) and error.code in REFUSED_TOKEN:
            delay += REFRESH_SECONDS * self._refusals  # what ``get_token`` remembers may have ended by then
        await self.options.clock.sleep(delay)

    async def _live(self) -> None:
        """From open to lost; then decides whether to come back."""
        assert self._lost is not None and self._link is not None
        opened_at = self.options.clock.monotonic()
        watchdog = asyncio.get_running_loop().create_task(self._watch(self._link))
        try:
            reason = await asyncio.shield(self._lost)
        finally:
            watchdog.cancel()
        self._link = None
        if self._ended is not None:
            return
        if reason.code == TOKEN_EXPIRED_CODE and self._get_token is not None:
            self.token = None  # asks for a fresh one
        if not reason.reconnect:
            self._end(Disconnected(reason.code, reason.reason))
            return
        if self.options.clock.monotonic() - opened_at >= self.options.backoff.stable_seconds:
            self.attempts = 0
        await self._wait_before_next(ConnectionLost(f"{reason.code} {reason.reason}".strip()))

    async def _open(self) -> None:
        """A link that is authenticated. Raises ConnectFailed (NoToken), RequestError (of auth), RequestTimeout, ..."""
        self._lost = asyncio.get_running_loop().create_future()
        self._joinable = self._authenticated = False
        asked = self.token is None and self._get_token is not None
        if asked:
            self.token = await self._fresh_token()
        url, headers = self.url, self.options.headers
        if self._get_token is not None and self.token is not None:
            url, headers = with_token(url, headers, self.token)
        self._link = await open_link(
            url,
            self._codec.subprotocol,
            self,
            binary=self._codec.binary,
            max_bytes=self.options.max_message_bytes,
            timeout=self.options.open_timeout,
            monotonic=self.options.clock.monotonic,
            headers=headers,
            ssl_context=self.options.ssl_context,
        )
        try:
            if self._link.lost:
                raise ConnectionLost("the connection ended before it began")
            await self._authenticate(asked)
            if self._link.lost:
                raise ConnectionLost("the connection ended as it began")
        except BaseException as error:
            refused = self._refused()
            link, self._link = self._link, None
            link.abort()
            self._fail_waiting(ConnectionLost("the connection did not come about"))
            self._owner.on_down()
            if refused is not None and isinstance(error, ConnectionLost):
                raise refused from error
            raise
        self._opened.set()  # first: what waited goes before what is asked for when this is told
        self._set_state("open")
        self._owner.on_open(self.identity)

    async def _fresh_token(self) -> str:
        """Raises NoToken."""
        assert self._get_token is not None
        bound = asyncio.timeout(self.options.open_timeout)
        try:
            async with bound:
                coming: Any = self._get_token()
                if not isinstance(coming, Awaitable):
                    raise NoToken("get_token is no async function")
                token: Any = await coming
        except NoToken:
            raise
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise
            why = f"took longer than {self.options.open_timeout:g} s" if bound.expired() else f"failed: {error!r}"
            raise NoToken(f"get_token {why}") from error
        if not isinstance(token, str) or not token:
            raise NoToken(f"get_token returned {'an empty string' if token == '' else type(token).__name__}")
        return token

    async def _authenticate(self, asked: bool) -> None:
        """``asked``: whether get_token was, for this link. It is once: what else it has is for the next one."""
        try:
            return await self._auth_request()
        except RequestError as error:
            if error.code not in REFUSED_TOKEN or asked:
                raise
            if self._get_token is not None:
                self.token = await self._fresh_token()
            elif self.identity.get("guest") and self.token is not None:
                # The guest is forgotten (a server with a new secret): better another guest than none.
                log.warning("the server no longer knows this guest; coming back as a new one")
                self.token = None
            else:
                raise
            self._fail_waiting(ConnectionLost("not authenticated"))  # what was posted is posted again
            return await self._auth_request()

    async def _auth_request(self) -> None:
        """One round trip: the joins are in the same frame, and what is lost with an old connection is taken over."""
        known = (("token", self.token), ("name", self._name), ("resume", self.identity.get("connection")))
        data = {key: value for key, value in known if value is not None}
        self._auth_id = self._next_id + 1
        try:
            async with asyncio.timeout(self.options.open_timeout):
                asking = asyncio.ensure_future(self.ask("auth", data, self._accepted))
                try:
                    await asyncio.sleep(0)  # it is written now, and sent at the end of this turn
                    self._joinable = True
                    self._owner.on_authenticating()
                    await asking
                finally:
                    asking.cancel()
        except TimeoutError as error:
            raise RequestTimeout("auth was not answered in time") from error

    def _accepted(self, result: Any) -> None:
        if not isinstance(result, dict):
            raise ProtocolViolation("auth:accepted without a result")
        self.identity = result
        self._authenticated = True
        self._refusals = 0
        self._message_bytes = min(self.options.max_send_bytes, self._told("message_bytes", self.options.max_send_bytes))
        self._pace.told(self._limits)
        self._flush()
        if result.get("token"):
            self.token = result["token"]  # a guest's: whoever comes back with it is the same guest

    def _told(self, limit: str, otherwise: int) -> int:
        """What the server has said of one of its limits."""
        told = self._limit(limit)
        return otherwise if told is None else int(told) or otherwise

    @property
    def _limits(self) -> dict[str, Any]:
        limits = self.identity.get("limits")
        return limits if isinstance(limits, dict) else {}

    def _limit(self, name: str) -> float | None:
        told = self._limits.get(name)
        return told if isinstance(told, int | float) and told >= 0 else None

    @property
    def idempotency_seconds(self) -> float:
        """So long the server knows a message again that is sent twice."""
        told = self._limit("idempotency_seconds")
        return math.inf if told is None else told

    async def _watch(self, link: Link) -> None:
        """Silence for twice ping_seconds means dead, to the moment; before that the server is asked for a sign of life.

        Its own pings count: they come each ping_seconds, and an eighth of a second. The question has an id, else there is no answer.
        """
        period = float(self.identity.get("ping_seconds") or self.options.ping_seconds)
        clock = self.options.clock
        asked = -1.0  # when it had been heard of last, as it was asked
        while not link.lost:
            heard = link.last_heard
            left = heard + (2.0 if heard == asked else ASK) * period - clock.monotonic()
            if left > 0:
                await clock.sleep(left)
            elif heard == asked:
                link.abort(1006, "the server fell silent")
                return
            else:
                asked = heard
                self.post("ping", None, _heard)

    async def _until_open(self) -> None:
        while self._ended is None and self.state != "open":
            self._opened.clear()
            await self._opened.wait()
        if self._ended is not None:
            raise self._ended

    def decode(self, raw: Raw) -> Any:
        """The value of a raw payload. Raises Undecodable."""
        return self._codec.value(raw)

    # Requests --------------------------------------------------------------------------------------------------------
    async def request(self, event: str, data: Any = None, accept: Callable[[Any], Any] | None = None) -> Any:
        """The result of one request. Waits for a connection and for its turn, up to ``request_timeout`` altogether.

        ``accept`` is called with the result before anything that came after it is looked at; what it returns is
        returned. Raises RequestError (with the code), ConnectionLost, RequestTimeout (NotSent), Disconnected, Closed, and
        ValueError or TypeError for data that cannot be sent.
        """
        async with self.turn(event) as turn:
            return await self.attempt(turn, event, data, accept)

    @contextlib.asynccontextmanager
    async def turn(self, event: str) -> AsyncIterator[Turn]:
        """A place among the ``max_pending`` requests under way, in order of arrival. Raises RequestTimeout, NotSent.

        Who tries again keeps it over all ``attempt``s: else who came later would go before.
        """
        turn = Turn()
        try:
            async with asyncio.timeout(self.options.request_timeout), self._slots:
                yield turn
        except TimeoutError as error:
            if turn.sent:
                raise RequestTimeout(f"{event} was not answered in time") from error
            if self.state != "open":
                why = "there was no connection"
            elif self._paced is not None:
                why = "held back by the rate limit"
            else:
                why = "too much waits before it"
            raise NotSent(f"{event} was not sent in time: {why}") from error

    async def attempt(
        self, turn: Turn, event: str, data: Any = None, accept: Callable[[Any], Any] | None = None
    ) -> Any:
        """One try of a ``request``, within its ``turn``. What had not left when the connection ended goes out on the next one."""
        while True:
            await self.writable()
            try:
                return await self.ask(event, data, accept, turn=turn)
            except ConnectionLost:
                if turn.sent:
                    raise

    async def writable(self) -> None:
        """Returns while there is a link that takes more. Raises what ended the connection."""
        while not self.is_writable:
            await self._until_open()
            link = self._link
            if link is None or link.lost:
                await asyncio.sleep(0)
            else:
                await link.writable.wait()
                await self._flowing.wait()

    @property
    def is_writable(self) -> bool:
        link = self._link
        return (
            self.state == "open"
            and link is not None
            and not link.lost
            and link.writable.is_set()
            and self._flowing.is_set()
        )

    def post(self, event: str, data: Any = None, answer: Answer | None = None) -> bool:
        """Writes at once or, without a link on which `auth` is on its way, not at all. For what heals by itself after a reconnect. Whether
        it was written.

        With ``answer`` the request has an id, and ``answer(result, error)`` is called exactly once, synchronously.
        """
        link = self._link
        if link is None or link.lost or not self._joinable:
            return False
        self._write(event, data, answer)
        return True

    async def ask(
        self,
        event: str,
        data: Any,
        accept: Callable[[Any], Any] | None = None,
        written: Callable[[], object] | None = None,
        turn: Turn | None = None,
    ) -> Any:
        """Writes at once, whatever waits elsewhere, and calls ``written`` then; the result. Raises ConnectionLost, RequestError."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def answer(result: Any, error: ClientError | None) -> None:
            if future.done():  # the caller is gone; whoever accepts must still see the result
                if error is None and accept is not None:
                    accept(result)
            elif error is not None:
                future.set_exception(error)
            else:
                try:
                    future.set_result(result if accept is None else accept(result))
                except Exception as fault:
                    future.set_exception(fault)

        if self._link is None or self._link.lost:  # since the caller looked: who fails what waits has been here already
            raise ConnectionLost("the connection ended before it was asked")
        id = self._write(event, data, answer, turn)
        if written is not None:
            written()
        try:
            return await future
        except asyncio.CancelledError:
            if accept is None:
                self._answers.pop(id, None)
            raise

    def _write(self, event: str, data: Any, answer: Answer | None, turn: Turn | None = None) -> int:
        envelope: dict[str, Any] = {"event": event}
        if data is not None:
            envelope["data"] = data
        if answer is not None:
            self._next_id += 1
            envelope["id"] = self._next_id
        try:
            encoded = self._encoded(envelope)
        except SynclineError as error:
            raise RequestError(error.code.value, f"{error.message}, not sent", event) from error
        if len(encoded) > self._message_bytes:
            raise _too_large(event)
        if answer is not None:
            self._answers[self._next_id] = Asked(event, answer, turn)
        newest = data["document"] if event in NEWEST and answer is None else ""
        if newest:
            self._outbox = [one for one in self._outbox if one[2] != newest]
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outbox.append((0 if answer is None else self._next_id, encoded, newest))
        return self._next_id

    def _encoded(self, envelope: dict[str, Any]) -> bytes:
        """Raises SynclineError(invalid_data), RequestError(operation_invalid), TypeError."""
        event: str = envelope["event"]
        if event not in CHECKED:
            self._codec.require_expressible(envelope)
        try:
            return self._codec.encode(envelope)
        except UnicodeEncodeError as error:
            if event in CONTENT:
                text = "half a surrogate pair, not sent"
                raise RequestError(ErrorCode.OPERATION_INVALID.value, text, event) from error
            return self._codec.encode_well_formed(envelope)

    def _flush(self) -> None:
        """Everything of this turn of the loop in as few frames as the limits allow. Until the server has told its own they are what any
        server takes: from the first larger request on, all waits. What may not go yet waits, in order, until it may."""
        if self._paced is not None:
            return
        outbox, self._outbox = self._outbox, []
        link = self._link
        if link is None or link.lost:
            return
        most = min(
            self.options.batch_size,
            self._told("batch_size", LEAST_BATCH_SIZE) if self._authenticated else LEAST_BATCH_SIZE,
        )
        bound = self._message_bytes if self._authenticated else LEAST_MESSAGE_BYTES
        room = min(self.options.batch_bytes, bound)
        batch: list[bytes] = []
        size = FRAME_BYTES
        for place, (id, encoded, _) in enumerate(outbox):
            if id and id not in self._answers:
                continue  # given up while it waited
            if len(encoded) > bound and id != self._auth_id:
                if not self._authenticated:
                    self._outbox = outbox[place:]
                    break
                if asked := self._answers.pop(id, None):  # the server takes less than the one before it did
                    asked.answer(None, _too_large(asked.event))
                continue
            if wait := self._pace.take(len(encoded)):
                self._outbox = outbox[place:] + self._outbox
                self._flowing.clear()
                self._paced = self._spawn(self._go_on(wait))
                break
            if batch and (len(batch) >= most or size + len(encoded) + 1 > room):
                link.send(self._codec.join(batch))
                batch, size = [], FRAME_BYTES
            if id and (turn := self._answers[id].turn) is not None:
                turn.sent = True
            batch.append(encoded)
            size += len(encoded) + 1
        if batch:
            link.send(self._codec.join(batch))

    async def _go_on(self, wait: float) -> None:
        await self.options.clock.sleep(wait)
        self._go_at_once()

    def _go_at_once(self) -> None:
        self._paced = None
        self._flush()
        if self._paced is None:
            self._flowing.set()

    def _fail_waiting(self, error: ClientError) -> None:
        answers, self._answers = self._answers, {}
        self._outbox = []
        self._pace = Pace(self.options.clock.monotonic)
        if self._paced is not None:
            self._paced.cancel()
            self._paced = None
        self._flowing.set()
        for asked in answers.values():
            asked.answer(None, error)

    # What the link hears ---------------------------------------------------------------------------------------------
    def on_message(self, link: Link, message: bytes | memoryview) -> None:
        if link is not self._link:
            return
        for envelope in self._codec.decode(message):
            if envelope.id is None:
                self._on_push(envelope)
                continue
            asked = self._answers.pop(envelope.id, None)
            if asked is None:
                continue  # timed out or cancelled
            answer = asked.answer
            try:
                error = self._codec.value(envelope.error)
                result = self._codec.result(envelope) if error is None else None
            except ClientError as undecodable:
                answer(None, undecodable)
                if not isinstance(undecodable, Undecodable):
                    raise
                continue
            if error is None:
                answer(result, None)
            elif not self._authenticated and envelope.id != self._auth_id:
                # As auth was refused: it is asked for again, or the end.
                answer(None, ConnectionLost("not authenticated"))
            elif isinstance(error, dict):
                answer(None, RequestError.read(error, asked.event))
            else:
                raise ProtocolViolation("an error that is not an object")

    def _on_push(self, envelope: Incoming) -> None:
        event = envelope.event
        if event == "message:received":
            if self._authenticated:
                self._owner.on_message_received(self._codec.received(envelope.data))
            return
        try:
            data = self._codec.value(envelope.data)
        except Undecodable as error:
            log.warning("%s was passed over: %s", event, error)
            return
        if not event or not isinstance(data, dict):
            raise ProtocolViolation("a push without event or data")
        if event == "auth:limits":
            self._on_limits(data.get("limits"))
        if event == "auth:expiring":
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = self._spawn(self._refresh(self._link))
        elif self._authenticated:
            self._owner.on_push_received(event, data)

    def _on_limits(self, limits: Any) -> None:
        """Those of this connection are others, or what is left of them is: what waits for its turn is looked at again."""
        if not isinstance(limits, dict) or not self._authenticated:
            return
        kept = {name: told for name, told in self._limits.items() if name == "message_bytes"}
        self.identity = {**self.identity, "limits": kept | limits}
        self._pace.told(limits)
        if self._paced is not None:
            self._paced.cancel()
            self._go_at_once()

    def on_lost(self, link: Link, code: int, reason: str) -> None:
        if link is not self._link:
            return
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(Disconnect(code, reason))
        if self._ended is None:
            self._opened.clear()
            self._fail_waiting(ConnectionLost(f"the connection ended: {code} {reason}".strip()))
        if self.state == "open":
            self._set_state("waiting")
            self._owner.on_down()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _refresh(self, link: Link | None) -> None:
        """A new token for the same user, before the old one ends. Failing is not the end: 4006 follows, then _open."""
        clock = self.options.clock
        if (wait := self._refreshed_at + REFRESH_SECONDS - clock.monotonic()) > 0:
            await clock.sleep(wait)
        if link is not self._link:
            return
        self._refreshed_at = clock.monotonic()
        try:
            data: dict[str, Any] = {}
            if self._get_token is not None:
                before, self.token = self.token, await self._fresh_token()
                if self.token == before:
                    log.warning("get_token gave the token again that is about to end")
                    return
                data = {"token": self.token}
            elif not self.identity.get("guest"):
                return
            result = await self.request("auth:refresh", data)
            if isinstance(result, dict) and result.get("token"):
                self.token = result["token"]
        except ClientError as error:
            log.warning("the token could not be refreshed: %s", error)
