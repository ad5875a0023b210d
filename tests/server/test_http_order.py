"""Several requests in one connection: answers in their order, whatever comes behind them and however it ends; on both event loops."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from syncline.server import app as app_module
from syncline.server.app import App
from syncline.server.transports import front
from syncline.server.transports.front import HEAD_BYTES, BoundedHttp
from tests.serving import configure, serving
from tests.waiting import PATIENCE, until

KEY = b"0123456789abcdef"
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + KEY + b"\r\n"
BODY = b'{"rooms":["r"],"data":1}'
WHOLE = POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = CHUNKED + b"5;a=b\r\n" + BODY[:5] + b"\r\n%x\r\n" % (len(BODY) - 5) + BODY[5:] + b"\r\n0\r\n"
API: dict[str, Any] = {"key": KEY.decode()}

Run = Callable[[Coroutine[Any, Any, None]], None]
both = pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])


class Raw:
    """A connection of a client."""

    def __init__(self, app: App, *, takes: int = 0) -> None:
        """``takes``: bytes that it takes before it reads."""
        self._socket = socket.socket()
        if takes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
        self._socket.setblocking(False)
        self._address = ("127.0.0.1", app.port)
        self._connected = False

    async def send(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        if not self._connected:
            await loop.sock_connect(self._socket, self._address)
            self._connected = True
        await loop.sock_sendall(self._socket, data)

    async def rest(self) -> list[int]:
        """The status of each answer until the server closes."""
        got = b""
        async with asyncio.timeout(PATIENCE):
            while more := await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                got += more
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", got)]

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        self._socket.close()


class Held:
    """The API's requests wait in it until they may go on."""

    def __init__(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.free = asyncio.Event()
        real = app.node.store.room

        async def room(name: str) -> object:
            self.begun += 1
            await self.free.wait()
            return await real(name)

        monkeypatch.setattr(app.node.store, "room", room)


@asynccontextmanager
async def connected(app: App, **options: int) -> AsyncIterator[Raw]:
    raw = Raw(app, **options)
    try:
        yield raw
    finally:
        raw.close()


def reasons(app: App) -> dict[str, int]:
    return {name: count for name, count in app.node.refusals.counts.items() if count}


def sized(size: int) -> bytes:
    """A request whose head has so many bytes; the connection ends with it."""
    begin = GET + b"Connection: close\r\nX: "
    return begin + b"y" * (size - len(begin) - 4) + b"\r\n\r\n"


BEFORE: list[tuple[bytes, list[int]]] = [
    (b"", []),
    (b"\r\n", []),
    (b"\r\n" * 1000, []),
    (GET + b"\r\n", [200]),
    (GET + b"\r\n\r\n\r\n", [200]),
    (WHOLE, [200]),
    (WHOLE + b"\r\n", [200]),
    (CHUNKS + b"\r\n", [200]),
    (CHUNKS + b"Trailer: " + b"x" * 3000 + b"\r\n\r\n", [200]),
    (CHUNKS + b"\r\n" + b"\r\n" * 600, [200]),
    ((WHOLE + CHUNKS + b"T: x\r\n\r\n" + GET + b"\r\n\r\n") * 3, [200] * 9),
]


@both
def test_a_head_has_so_many_bytes_wherever_it_begins(run: Run, tmp_path: Path) -> None:
    rng = random.Random(1)

    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            for number, (before, answers) in enumerate(BEFORE):
                for size, status in ((HEAD_BYTES, 200), (HEAD_BYTES + 1, 431)):
                    data = before + sized(size)
                    cuts = sorted(rng.sample(range(1, len(data)), 20))
                    torn = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
                    for pieces in ([data], [before, sized(size)], [data[:-1], data[-1:]], torn):
                        async with connected(app) as raw:
                            for piece in pieces:
                                await raw.send(piece)
                                await asyncio.sleep(0)
                            assert await raw.rest() == [*answers, status], (number, size, len(pieces))
            assert "internal" not in reasons(app)

    run(main())


@both
@pytest.mark.parametrize("behind", [GET[:20], WHOLE[:-3], CHUNKED + b"5\r\n{"], ids=["head", "body", "chunks"])
@pytest.mark.parametrize("whole", [1, 3])
def test_a_stop_refuses_only_what_is_not_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: bytes, whole: int
) -> None:
    async def main() -> None:
        app = await app_module.create(configure("memory", tmp_path, api=API))
        await app.start()
        held = Held(app, monkeypatch)
        async with connected(app) as raw:
            await raw.send(WHOLE * whole + behind)
            await until(lambda: held.begun)
            stop = asyncio.create_task(app.stop())
            await until(lambda: reasons(app))
            assert reasons(app) == {"stopping": 1}
            held.free.set()
            assert await raw.rest() == [200] * whole + [503]
            await stop
        assert held.begun == whole and reasons(app) == {"stopping": 1}

    run(main())


@both
def test_a_stop_without_half_requests_answers_what_is_whole(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        app = await app_module.create(configure("memory", tmp_path, api=API))
        await app.start()
        held = Held(app, monkeypatch)
        async with connected(app) as raw, connected(app) as answered:
            await raw.send(WHOLE * 2)
            await answered.send(b"POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1")
            await until(lambda: held.begun and app.node.refusals.counts["method"])
            stop = asyncio.create_task(app.stop())
            assert await answered.rest() == [405]  # though its body never came
            held.free.set()
            assert await raw.rest() == [200, 200]
            await stop
        assert reasons(app) == {"method": 1}

    run(main())


@both
@pytest.mark.parametrize("count", [1, 12])
def test_an_answer_that_nobody_takes_does_not_hold_up_the_end(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    async def main() -> None:
        app = await app_module.create(configure("memory", tmp_path))
        await app.start()
        async with connected(app, takes=2048) as raw:
            await raw.send(b"GET /codemirror.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * count)
            # Nothing tells from outside that the socket takes no more.
            await until(lambda: any(one.transport.get_write_buffer_size() for one in connections(app)))
            await app.stop()
            assert reasons(app) == {"untaken": 1}

    run(main())
    assert "graceful shutdown exceeded" not in caplog.text


def connections(app: App) -> list[BoundedHttp]:
    return [one for one in app._server.server_state.connections if isinstance(one, BoundedHttp)]


@both
def test_clients_that_reset_are_no_fault_of_ours(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            tasks = len(asyncio.all_tasks())
            for number, data in enumerate((WHOLE, WHOLE * 5, WHOLE * 2 + GET, CHUNKED, GET[:9]), 1):
                with monkeypatch.context() as patch:
                    held = Held(app, patch)
                    raw = Raw(app)
                    await raw.send(data)
                    await until(lambda: len(app.node.arrivals) and (held.begun or connections(app)))  # noqa: B023
                    raw.reset()
                    await until(lambda: not len(app.node.arrivals))
                    held.free.set()
                    await until(lambda: len(asyncio.all_tasks()) <= tasks)
                assert reasons(app) == {"gone": number}
            # Also those that go while they are answered.
            for _ in range(10):
                raw = Raw(app)
                await raw.send(b"GET /syncline.js.map HTTP/1.1\r\nHost: localhost\r\n\r\n" * 9)
                raw.reset()
            await until(lambda: not len(app.node.arrivals) and len(asyncio.all_tasks()) <= tasks)
            assert set(reasons(app)) == {"gone"}

    run(main())
    assert not [record for record in caplog.records if record.exc_info]


MALFORMED = [
    b"GARBAGE\r\n\r\n",
    GET + b"no header\r\n\r\n",
    CHUNKED + b"xyzzy\r\n",
    CHUNKED.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1) + b"xyzzy\r\n",
    GET + b"X: " + b"y" * 40_000,
    WHOLE.replace(b"Content-Length:", b"Content-Length: 1\r\nContent-Length:"),
]


@both
@pytest.mark.parametrize("whole", [0, 1, 4])
def test_what_is_malformed_is_answered_in_its_turn(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, whole: int
) -> None:
    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            for number, data in enumerate(MALFORMED):
                before = sum(app.node.counters.http_refused.values())
                async with connected(app) as raw:
                    with monkeypatch.context() as patch:
                        held = Held(app, patch)
                        await raw.send(WHOLE * whole + data + WHOLE)
                        await until(lambda: sum(app.node.counters.http_refused.values()) > before)  # noqa: B023
                        held.free.set()
                        expected = 431 if len(data) > HEAD_BYTES else 400
                        assert await raw.rest() == [200] * whole + [expected], (number, data[:200])
                        assert held.begun == whole
            assert set(reasons(app)) == {"malformed", "too_large"}

    run(main())
    assert not [record for record in caplog.records if record.exc_info]


@both
def test_a_request_that_has_its_answer_gets_no_other(run: Run, tmp_path: Path) -> None:
    """The rest of its body is malformed."""

    async def main() -> None:
        async with serving(tmp_path, api=API) as app, connected(app) as raw:
            await raw.send(CHUNKED.replace(b"/api/messages", b"/health"))
            await until(lambda: app.node.refusals.counts["method"])
            await raw.send(b"xyzzy\r\n")
            assert await raw.rest() == [405]
            assert reasons(app) == {"method": 1, "malformed": 1}

    run(main())


@both
def test_a_fault_of_ours_in_reading(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("inside")

    async def main() -> None:
        for name, data in (("on_url", GET), ("on_body", WHOLE), ("on_message_complete", GET + b"\r\n")):
            async with serving(tmp_path, api=API) as app, connected(app) as raw:
                with monkeypatch.context() as patch:
                    patch.setattr(BoundedHttp, name, broken)
                    await raw.send(data)
                    assert await raw.rest() == [500]
                assert reasons(app) == {"internal": 1} and app.node.counters.http_refused[500] == 1
                assert "inside" in str(caplog.records[-1].exc_info or caplog.records[-2].exc_info)

    run(main())


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://localhost/health HTTP/1.1", 200),
        (b"GET http://localhost HTTP/1.1", 200),
        (b"GET http://localhost?a=b HTTP/1.1", 200),
        (b"GET /health HTTP/1.0", 200),
        (b"GET //health HTTP/1.1", 404),
        (b"OPTIONS * HTTP/1.1", 404),
        (b"GET /health", 505),
        (b"GET /health HTTP/2.0", 505),
        (b"GET /health HTTP/1.9", 400),
        (b"GET http:// HTTP/1.1", 400),
        (b"GET /h\xc3\xa9 HTTP/1.1", 400),
        (b"GET /h%C3%A9 HTTP/1.1", 404),
        (b"CONNECT localhost:80 HTTP/1.1", 501),
    ],
)
async def test_request_lines(tmp_path: Path, line: bytes, status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as app, connected(app) as raw:
        await raw.send(line + b"\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert await raw.rest() == [status]
        assert "internal" not in reasons(app)
    assert not [record for record in caplog.records if record.exc_info]


@both
@pytest.mark.parametrize("count", [1, 3])
def test_who_says_no_more_has_its_answers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """A half-closed connection, as of `nc -N`; what was not whole is dropped."""

    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            for behind, gone in ((b"", 0), (GET[:9], 1), (CHUNKED + b"5\r\n{", 2)):
                async with connected(app) as raw:
                    with monkeypatch.context() as patch:
                        held = Held(app, patch)
                        await raw.send(WHOLE * count + behind)
                        await until(lambda: held.begun)  # noqa: B023
                        raw.half_close()
                        one = connections(app)[0]
                        await until(lambda: one._deaf)  # noqa: B023
                        held.free.set()
                        assert await raw.rest() == [200] * count
                assert app.node.refusals.counts["gone"] == gone
            await until(lambda: not len(app.node.arrivals))

    run(main())


@both
def test_nothing_comes_after_the_last_request(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9112, 9.6: what follows `Connection: close`, or a request of HTTP/1.0, is not read."""

    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            for last in (
                WHOLE.replace(b"\r\n", b"\r\nConnection: close\r\n", 1),
                WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
            ):
                async with connected(app) as raw:
                    with monkeypatch.context() as patch:
                        held = Held(app, patch)
                        await raw.send(WHOLE + last + WHOLE + b"GARBAGE\r\n\r\n")
                        await until(lambda: held.begun)  # noqa: B023
                        held.free.set()
                        assert await raw.rest() == [200, 200]
                        assert held.begun == 2
            await until(lambda: not len(app.node.arrivals))
            assert reasons(app) == {}

    run(main())


@both
def test_a_head_behind_an_answer_has_its_time(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(front, "ANSWER_SECONDS", 2 * PATIENCE)

    async def main() -> None:
        async with serving(tmp_path, api=API) as app:
            for behind, whole in ((GET[:9], 1), (WHOLE[:-3], 1), (GET + b"\r\n" + GET[:9], 2)):
                async with connected(app) as raw:
                    with monkeypatch.context() as patch:
                        held = Held(app, patch)
                        await raw.send(WHOLE + behind)
                        await until(lambda: held.begun)  # noqa: B023
                        held.free.set()
                        assert await raw.rest() == [200] * whole + [408]

    run(main())
