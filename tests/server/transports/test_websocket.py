"""server.transports: the way from the first byte to the session, and how a WebSocket ends, over real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import socket
import struct
import sys
import weakref
import zlib
from collections import Counter
from collections.abc import AsyncIterator

import msgspec
import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from syncline.core.wire.frames import CLOSE, PING, PONG, TEXT
from syncline.server.app import App
from syncline.server.protocol.native import NativeSession
from syncline.server.transports import websocket, ws
from syncline.server.transports.websocket import READ_BYTES, WebSocket
from tests.oracle.frames import client_frame
from tests.serving import Serve, leak_free
from tests.waiting import PATIENCE, until

KEY = base64.b64encode(bytes(16)).decode()
HEAD = (
    "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
).encode()


class Raw:
    """A socket that sends bytes and reads server frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def head(self) -> bytes:
        return await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)

    async def frame(self) -> tuple[int, bytes]:
        async with asyncio.timeout(PATIENCE):
            first, size = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80 and size < 127
            if size == 126:
                (size,) = struct.unpack(">H", await self.reader.readexactly(2))
            return first & 15, await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        with contextlib.suppress(ConnectionResetError):
            return await asyncio.wait_for(self.reader.read(), 10)
        return b""


@contextlib.asynccontextmanager
async def plain(app: App) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection("127.0.0.1", app.port)
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def upgraded(app: App) -> AsyncIterator[Raw]:
    async with plain(app) as raw:
        raw.send(HEAD)
        assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
        yield raw


def request(event: str, **data: object) -> bytes:
    return client_frame(TEXT, msgspec.json.encode({"event": event, "data": data, "id": 1}))


@pytest.fixture
def backend() -> str:
    return "memory"


async def test_the_head_in_any_pieces(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    data_received = ws._Front.data_received

    def noted(self: ws._Front, data: bytes) -> None:
        sizes.append(len(data))
        data_received(self, data)

    monkeypatch.setattr(ws._Front, "data_received", noted)
    for cut in (*range(1, 12), 30, len(HEAD) - 3, len(HEAD) - 1):
        sizes.clear()
        async with plain(app) as raw:
            raw.send(HEAD[:cut])
            await until(lambda cut=cut: sum(sizes) == cut)  # type: ignore[misc]
            raw.send(HEAD[cut:])
            head = await raw.head()
            assert (
                head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n" in head
            )
            raw.send(request("ping"))
            assert b'"time"' in (await raw.frame())[1]


async def test_other_requests_are_uvicorns(app: App) -> None:
    """Also a plain GET of our own path, an upgrade later on a connection, and what is no HTTP at all."""
    async with plain(app) as raw:
        raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.head()).startswith(b"HTTP/1.1 200 ")
        body = await raw.reader.readuntil(b"}")
        assert b"ok" in body
        raw.send(HEAD)
        assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
        raw.send(request("ping"))
        assert b'"time"' in (await raw.frame())[1]
        raw.send(request("ping"))
        assert b'"time"' in (await raw.frame())[1]
    for head, status in (
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 426"),
        (b"GET /wsx HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 404"),
        (HEAD.replace(b"/ws", b"/other"), b"HTTP/1.1 404"),
        (HEAD.replace(b"GET", b"POST"), b"HTTP/1.1 4"),
        (HEAD.replace(b"n: 13", b"n: 12"), b"HTTP/1.1 426"),
        (HEAD.replace(KEY.encode(), b"short"), b"HTTP/1.1 400"),
        (HEAD.replace(b"e: websocket", b"e: gopher"), b"HTTP/1.1 426"),
        (b"GET /ws\xff\x00 what\r\n\r\n", b"HTTP/1.1 400"),
    ):
        async with plain(app) as raw:
            raw.send(head)
            assert (await raw.head()).startswith(status), head
    await leak_free(app)


async def test_a_connection_that_asks_for_nothing_is_closed(serve: Serve) -> None:
    async with serve(auth={"timeout_seconds": 0.1}) as app:
        for begun in (b"", b"GET /w", HEAD[:-2]):
            async with plain(app) as raw:
                raw.send(begun)
                assert await raw.rest() == b""


async def test_byte_by_byte(app: App) -> None:
    async with upgraded(app) as raw:
        for byte in request("auth", name="Ada") + client_frame(PING, b"?") + request("ping"):
            raw.send(bytes((byte,)))
            await raw.writer.drain()
            await asyncio.sleep(0)
        replies = [await raw.frame() for _ in range(3)]
        assert [opcode for opcode, _ in replies] == [TEXT, PONG, TEXT] or [opcode for opcode, _ in replies] == [
            PONG,
            TEXT,
            TEXT,
        ]
        assert (PONG, b"?") in replies


async def test_frames_are_answered_in_order_and_nothing_after_the_close_frame(app: App) -> None:
    """In one packet: good requests, a bad frame; the answers come, then the reason, then the end."""
    async with upgraded(app) as raw:
        raw.send(request("ping") * 3 + client_frame(PING, b"p") + client_frame(3, b"") + request("ping"))
        frames = [await raw.frame() for _ in range(5)]
        assert [opcode for opcode, _ in frames] == [TEXT, TEXT, TEXT, PONG, CLOSE]
        assert frames[-1][1][:2] == b"\x03\xea"
        assert await raw.rest() == b""
    async with upgraded(app) as raw:
        raw.send(
            request("ping") + client_frame(CLOSE, b"\x03\xe8") + request("ping") + client_frame(CLOSE, b"\x03\xe9")
        )
        assert [(await raw.frame())[0], await raw.frame()] == [TEXT, (CLOSE, b"\x03\xe8")]
        assert await raw.rest() == b""
    await leak_free(app)


@pytest.mark.parametrize(("payload", "answer"), [(b"", b""), (b"\x0f\xa1why", b"\x0f\xa1"), (b"\x03\xed", b"\x03\xea")])
async def test_close_codes(app: App, payload: bytes, answer: bytes) -> None:
    async with upgraded(app) as raw:
        raw.send(client_frame(CLOSE, payload))
        opcode, said = await raw.frame()
        assert (opcode, said[:2]) == (CLOSE, answer)
        assert await raw.rest() == b""


async def test_who_does_not_answer_a_close_frame_is_cut(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CLOSE_SECONDS", 0.05)
    async with upgraded(app) as raw:
        await until(lambda: app.node.sessions.connections)
        for session in list(app.node.sessions.connections.values()):
            session.connection.close(4000, "drain")
        assert await raw.frame() == (CLOSE, b"\x0f\xa0drain")
        assert await raw.rest() == b""
    await leak_free(app)


async def test_one_read_of_many_requests_does_not_pass_the_bound(serve: Serve) -> None:
    """A request waits; those behind it wait in the inbox up to the bound, the rest as bytes of one read, the rest in the kernel."""
    async with serve(limits={"pending_requests": 4}) as app:
        release = asyncio.Event()
        record = app.node.users.record

        async def slow(credentials: object, *, known: bool) -> None:
            await release.wait()
            await record(credentials, known=known)  # type: ignore[arg-type]

        app.node.users.record = slow  # type: ignore[method-assign, assignment]
        async with upgraded(app) as raw:
            pings = 3 * READ_BYTES // len(request("ping"))
            raw.send(request("auth", name="Ada") + request("ping") * pings)
            await until(lambda: app.node.sessions.connections)
            (session,) = app.node.sessions.connections.values()
            await until(lambda: session.pending == 4)
            release.set()
            for _ in range(pings + 1):
                opcode, payload = await raw.frame()
                assert opcode == TEXT and b"error" not in payload
                assert session.pending <= 4


async def test_one_read_of_compressed_messages_leaves_others_their_turn(serve: Serve) -> None:
    """Sixty kilobytes may be sixty messages of a megabyte."""
    async with serve(server={"port": 0, "compression": True, "compression_bytes": 65_536}) as app:
        deflate = zlib.compressobj(9, wbits=-15)
        large = msgspec.json.encode({"event": "ping", "pad": "A" * 1_000_000})
        packed = deflate.compress(large) + deflate.flush(zlib.Z_FULL_FLUSH)
        flood = client_frame(TEXT, packed[:-4], reserved=4) * 40
        assert len(flood) < READ_BYTES
        async with plain(app) as loud, upgraded(app) as quiet:
            loud.send(HEAD.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"))
            assert b"permessage-deflate" in await loud.head()
            for one in (loud, quiet):
                one.send(request("auth", name="Ada"))
                assert (await one.frame())[0] == TEXT
            order: list[NativeSession] = []
            receive = NativeSession.receive

            def noted(session: NativeSession, message: bytes, arrived: float) -> None:
                order.append(session)
                receive(session, message, arrived)

            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(NativeSession, "receive", noted)
                loud.send(flood)
                quiet.send(request("ping"))
                await until(lambda: len(order) == 41)
            (turn,) = [number for number, session in enumerate(order) if order.count(session) == 1]
            assert turn <= 3


async def test_who_is_not_read_is_not_dead(serve: Serve) -> None:
    """Its requests wait for the store, reading is paused, and so its pongs are not seen."""
    async with serve(limits={"pending_requests": 2, "ping_seconds": 1.0, "pong_timeout_seconds": 1.0}) as app:
        release = asyncio.Event()
        record = app.node.users.record

        async def slow(credentials: object, *, known: bool) -> None:
            await release.wait()
            await record(credentials, known=known)  # type: ignore[arg-type]

        app.node.users.record = slow  # type: ignore[method-assign, assignment]
        async with upgraded(app) as raw:
            raw.send(request("auth", name="Ada") + request("ping") * 5)
            assert await raw.frame() == (PING, b"")
            raw.send(client_frame(PONG, b""))
            pings = app.node.pings
            turn, slots = pings.now, len(pings._slots)
            # A whole round of the wheel, and so the end of the time for a pong.
            await until(lambda: pings.now - turn > 2 * slots)
            release.set()
            answers = 0
            while answers < 6:
                opcode, payload = await raw.frame()
                assert opcode in (TEXT, PING) and b"error" not in payload
                answers += opcode == TEXT
        assert app.node.counters.disconnects["ping_timeout"] == 0


async def test_silent_connections_are_pinged_and_dead_ones_closed(serve: Serve) -> None:
    async with serve(limits={"ping_seconds": 1.0, "pong_timeout_seconds": 1.0}) as app:
        async with upgraded(app) as lively, upgraded(app) as dead:
            for raw in (lively, dead):
                raw.send(request("auth", name="Ada"))
                assert (await raw.frame())[0] == TEXT
            opcode, payload = await lively.frame()
            assert opcode == PING
            lively.send(client_frame(PONG, payload))
            assert (await dead.frame())[0] == PING
            assert await dead.frame() == (CLOSE, b"\x0f\xa2ping_timeout")
            lively.send(request("ping"))
            while (await lively.frame())[0] != TEXT:
                pass
        assert app.node.pings.sent >= 2


async def test_nothing_is_left_of_a_connection_without_the_garbage_collector(serve: Serve) -> None:
    """Uvicorn's objects go with the handshake, ours with the socket: no cycle, no timer, no set keeps them."""

    def alive(*kinds: type) -> int:
        return sum(isinstance(thing, kinds) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        async with serve(limits={"ping_seconds": 1.0, "pong_timeout_seconds": 1.0}) as app:
            async with upgraded(app) as raw:
                raw.send(request("auth", name="Ada"))
                await raw.frame()
                raw.send(request("room:join", room="r"))
                await raw.frame()
                connection = weakref.ref(next(iter(app.node.sessions.connections.values())).connection)
                assert alive(HttpToolsProtocol, ws._Front) == 0
                assert alive(WebSocket) == alive(NativeSession) == 1
            await leak_free(app)
            # The ping wheel lets go of the socket when its turn comes.
            await until(lambda: connection() is None and not alive(WebSocket, NativeSession))
    finally:
        gc.enable()


async def test_an_idle_connection_is_few_objects(app: App) -> None:
    """Nothing of the handshake stays, no timer, no task, no queue: what one more connection adds to the heap is counted."""
    loop = asyncio.get_running_loop()
    sockets: list[socket.socket] = []

    async def add(count: int) -> Counter[str]:
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", app.port))
            client.setblocking(False)
            sockets.append(client)
            await loop.sock_sendall(client, HEAD)
            await loop.sock_recv(client, 1000)
            await loop.sock_sendall(client, request("auth", name="Ada"))
            await loop.sock_recv(client, 1000)
        gc.collect()
        things = gc.get_objects()
        # asyncio keeps timers that were cancelled, with their contexts, until their turn comes: those of the handshakes.
        timers = [thing for thing in things if isinstance(thing, asyncio.TimerHandle) and thing.cancelled()]
        gone = {id(timer) for timer in timers} | {id(getattr(timer, "_context", None)) for timer in timers}
        return Counter(type(thing).__name__ for thing in things if id(thing) not in gone)

    await add(10)
    before = await add(10)
    more = await add(50) - before
    per_connection = {kind: count / 50 for kind, count in more.items() if count >= 25}
    for kind in ("WebSocket", "Connection", "NativeSession"):
        assert per_connection[kind] == 1
    most = 18
    if per_connection.get("_SelectorSocketTransport") and sys.version_info >= (3, 12):
        # asyncio's own transport has more to it since then, its buffer among it. What serves is uvloop.
        assert per_connection.pop("deque", 0) <= 1
        most = 22
    assert not {"deque", "TimerHandle", "Task", "coroutine", "Request", "function", "cell"} & per_connection.keys()
    assert sum(per_connection.values()) <= most, per_connection
    for client in sockets:
        client.close()
    await leak_free(app)
