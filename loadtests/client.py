"""What scenarios need of a protocol, and Syncline's own. A Socket.IO client is to be another subclass of ``Client``.

A client belongs to one user of locust. ``open`` and ``ask`` wait, in that user's greenlet; what arrives is handled in the
pump's greenlet by callbacks, which must not wait.
"""

from __future__ import annotations

import itertools
import os
import secrets
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

import msgspec
from gevent.event import AsyncResult

from . import frames, measure, pump

Answer = Callable[[Any, "Failure | None", float], None]
Push = Callable[[dict[str, Any], float], None]
HANDSHAKE_BYTES = 16_384
CodecName = Literal["json", "msgpack"]


class Failure(Exception):
    """A request that failed, or a connection. ``code``: of the protocol, or a word of ours; errors are grouped by it."""

    def __init__(self, code: str, message: str = "", retry_after: float | None = None) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Target:
    """Where and how to connect. ``sources``: local addresses, taken in turn."""

    url: str
    codec: CodecName = "json"
    sources: tuple[str, ...] = ()
    timeout: float = 10.0
    verify: bool = True
    headers: Mapping[str, str] = field(default_factory=dict)


class Client(ABC):
    """Callbacks are set before ``open``: ``on_push`` by event, ``on_lost`` for a connection that ended by itself."""

    def __init__(self, target: Target, name: str, token: str | None = None) -> None:
        self.target = target
        self.name = name
        self.token = token  # a guest's is kept for the next connection
        self.up = False
        self.user = ""
        self.waiting = 0  # requests without an answer
        self.on_push: dict[str, Push] = {}
        self.on_lost: Callable[[Failure], None] | None = None

    @abstractmethod
    def open(self, on_connected: Callable[[], None] | None = None) -> None:
        """Connects and authenticates; ``on_connected`` is called between the two. Raises Failure."""

    @abstractmethod
    def post(self, event: str, data: Mapping[str, Any], answer: Answer | None = None) -> None:
        """Sends at once and does not wait. ``answer(result, failure, now)`` comes once, also when the connection is lost."""

    @abstractmethod
    def pause(self, paused: bool) -> None:
        """A reader that does not read."""

    @abstractmethod
    def close(self) -> None:
        """Says goodbye. ``on_lost`` is not called. Idempotent."""

    @abstractmethod
    def drop(self) -> None:
        """As ``close``, but as a network does it: without a word."""

    def ask(self, event: str, data: Mapping[str, Any], then: Callable[[Any, float], None] | None = None) -> Any:
        """The result of a request. ``then(result, now)`` is called when it arrives, before anything that came behind it.

        Raises Failure, also when there is no answer within ``target.timeout``.
        """
        waiting: AsyncResult[Any] = AsyncResult()

        def answer(result: Any, failure: Failure | None, now: float) -> None:
            if failure is not None:
                waiting.set_exception(failure)
                return
            if then is not None:
                then(result, now)
            waiting.set(result)

        self.post(event, data, answer)
        waiting.wait(self.target.timeout)
        if not waiting.ready():
            raise Failure("timeout", event)
        return waiting.get()


class Codec(NamedTuple):
    subprotocol: str
    opcode: int
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


CODECS: dict[str, Codec] = {
    "json": Codec("syncline.v1.json", frames.TEXT, msgspec.json.Encoder().encode, msgspec.json.Decoder().decode),
    "msgpack": Codec(
        "syncline.v1.msgpack", frames.BINARY, msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
    ),
}


class NativeClient(Client):
    """docs/protocol.md over WebSocket, JSON or MessagePack."""

    _sources = itertools.count(os.getpid())  # workers begin at different addresses

    def __init__(self, target: Target, name: str, token: str | None = None, receive_bytes: int = 0) -> None:
        super().__init__(target, name, token)
        self._codec = CODECS[target.codec]
        self._opcode = self._codec.opcode
        self._receive_bytes = receive_bytes
        self._link: pump.Link | None = None
        self._parser = frames.Parser()
        self._answers: dict[int, Answer] = {}
        self._ids = itertools.count(1)
        self._closed: Failure | None = None

    # Opening ---------------------------------------------------------------------------------------------------------
    def open(self, on_connected: Callable[[], None] | None = None) -> None:
        target = self.target
        url = urlsplit(target.url)
        secure = url.scheme in ("wss", "https")
        host, port = url.hostname or "127.0.0.1", url.port or (443 if secure else 80)
        source = target.sources[next(self._sources) % len(target.sources)] if target.sources else None
        context = pump.tls_context(target.verify) if secure else None
        try:
            connected = pump.connect(
                host, port, tls=context, source=source, timeout=target.timeout, receive_bytes=self._receive_bytes
            )
        except OSError as error:
            raise Failure("connect_failed", _reason(error)) from error
        try:
            rest = self._upgrade(connected, url.netloc, (url.path or "/") + (f"?{url.query}" if url.query else ""))
        except frames.Refused as refused:
            connected.close()
            raise Failure(f"http_{refused.status}", retry_after=refused.retry_after) from refused
        except (OSError, frames.Broken) as error:
            connected.close()
            raise Failure("handshake_failed", _reason(error)) from error
        self._parser = frames.Parser()
        self._closed = None
        self._link = pump.Link(pump.Pump.get(), pump.plain(connected), self)
        self.up = True
        if rest:
            self.on_data(rest, measure.now())
        if on_connected is not None:
            on_connected()
        try:
            accepted = self.ask("auth", {"token": self.token} if self.token else {"name": self.name})
        except BaseException:
            self.drop()
            raise
        self.user = accepted["user"]
        self.token = accepted.get("token") or self.token

    def _upgrade(self, connected: Any, host: str, path: str) -> bytes:
        """Returns what came behind the answer's head."""
        key = b64encode(secrets.token_bytes(16)).decode()
        connected.sendall(frames.upgrade(host, path, key, self._codec.subprotocol, self.target.headers))
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            data = connected.recv(4096)
            if not data or len(received) > HANDSHAKE_BYTES:
                raise frames.Broken("no answer to the handshake")
            received += data
        frames.read_upgraded(bytes(received[:end]), key, self._codec.subprotocol)
        return bytes(received[end + 4 :])

    # Out -------------------------------------------------------------------------------------------------------------
    def post(self, event: str, data: Mapping[str, Any], answer: Answer | None = None) -> None:
        if self._link is None or not self.up:
            if answer is not None:
                answer(None, Failure("not_connected"), measure.now())
            return
        envelope: dict[str, Any] = {"event": event, "data": data}
        if answer is not None:
            number = envelope["id"] = next(self._ids)
            self._answers[number] = answer
            self.waiting = len(self._answers)
        self._link.send(frames.frame(self._opcode, self._codec.encode(envelope)))

    def pause(self, paused: bool) -> None:
        if self._link is not None and self.up:
            if paused:
                self._link.pause()
            else:
                self._link.resume()

    def close(self) -> None:
        if self._link is not None and self.up:
            self._link.send(frames.frame(frames.CLOSE, (1000).to_bytes(2, "big")))
            self._link.close()
        self._down(Failure("closed"))

    def drop(self) -> None:
        if self._link is not None:
            self._link.reset()
        self._down(Failure("closed"))

    def _down(self, failure: Failure) -> None:
        self.up = False
        answers, self._answers = self._answers, {}
        self.waiting = 0
        now = measure.now()
        for answer in answers.values():
            answer(None, failure, now)

    # In: by the pump -------------------------------------------------------------------------------------------------
    def on_data(self, data: bytes, now: float) -> None:
        try:
            for opcode, payload in self._parser.feed(data):
                if opcode == self._opcode:
                    value = self._codec.decode(payload)
                    for envelope in value if isinstance(value, list) else (value,):
                        self._take(envelope, now)
                elif opcode == frames.PING:
                    assert self._link is not None
                    self._link.send(frames.frame(frames.PONG, payload))
                elif opcode == frames.CLOSE:
                    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
                    self._closed = Failure(f"close_{code}", payload[2:].decode("utf-8", "replace"))
                elif opcode != frames.PONG:
                    raise frames.Broken(f"opcode {opcode}")
                if not self.up:
                    return
        except (frames.Broken, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._closed = Failure("protocol_violation", str(error))
            assert self._link is not None
            self._link.close()
            self.on_gone()
            return
        if self._closed is not None and self._link is not None:
            self._link.send(frames.frame(frames.CLOSE, b""))
            self._link.close()
            self.on_gone()

    def _take(self, envelope: dict[str, Any], now: float) -> None:
        number = envelope.get("id")
        if number is not None:
            answer = self._answers.pop(number, None)
            self.waiting = len(self._answers)
            if answer is not None:
                error = envelope.get("error")
                if error is None:
                    answer(envelope.get("result"), None, now)
                else:
                    answer(None, Failure(error["code"], retry_after=error.get("retry_after")), now)
            return
        push = self.on_push.get(envelope["event"])
        if push is not None:
            push(envelope["data"], now)

    def on_gone(self) -> None:
        failure = self._closed or Failure("connection_lost")
        self._down(failure)
        if self.on_lost is not None:
            self.on_lost(failure)


def _reason(error: Exception) -> str:
    """Short and without addresses, so that a thousand of them are one line of the report."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


SlowReader = partial(NativeClient, receive_bytes=4096)
