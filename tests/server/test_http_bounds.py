"""Requests that end where one may not see it: heads of exactly so many bytes, bodies that do not come, a server that stops meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
from pathlib import Path

import pytest

from syncline.server.transports.front import HEAD_BYTES
from tests.harness import ServerProcess
from tests.serving import serving
from tests.waiting import PATIENCE, until

KEY = "0123456789abcdef"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + KEY.encode() + b"\r\n"


def head(begin: bytes, size: int) -> bytes:
    """Of so many bytes, with its empty line."""
    return begin + b"X: " + b"y" * (size - len(begin) - 7) + b"\r\n\r\n"


def statuses(port: int, pieces: list[bytes], answers: int) -> list[int]:
    """Of what comes for pieces that are written one by one, until there are so many answers or the connection ends."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        try:
            for piece in pieces:
                raw.sendall(piece)
            while got.count(b"HTTP/1.1 ") < answers and (more := raw.recv(65536)):
                got += more
        except OSError:
            pass
        return [int(line.split(b" ")[0]) for line in got.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize(("begin", "good"), [(GET, 200), (UPGRADE, 101)])
async def test_a_head_has_so_many_bytes_and_not_one_more(tmp_path: Path, begin: bytes, good: int) -> None:
    rng = random.Random(1)
    async with serving(tmp_path) as app:
        for size, status in ((HEAD_BYTES - 1, good), (HEAD_BYTES, good), (HEAD_BYTES + 1, 431)):
            data = head(begin, size)
            cuts = sorted(rng.sample(range(1, size), 20))
            torn = [data[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True)]
            for pieces in ([data], torn, [data[:-1], data[-1:]], [data[:-3], data[-3:]]):
                assert await asyncio.to_thread(statuses, app.port, pieces, 1) == [status], (size, len(pieces))


async def test_and_so_has_that_of_a_later_request(tmp_path: Path) -> None:
    body = b'{"rooms":["r"],"data":1}'
    async with serving(tmp_path, api={"key": KEY}) as app:

        def later(first: bytes, size: int) -> list[bytes]:
            with socket.create_connection(("127.0.0.1", app.port), PATIENCE) as raw:
                answers = []
                for data in (first, head(GET, size)):
                    raw.sendall(data)
                    answer = b""
                    while b"}" not in answer:
                        answer += raw.recv(65536)
                    answers.append(answer[:12])
                return answers

        for size, status in ((HEAD_BYTES, b"200"), (HEAD_BYTES + 1, b"431")):
            for first in (GET + b"\r\n", POST + b"Content-Length: %d\r\n\r\n" % len(body) + body):
                assert await asyncio.to_thread(later, first, size) == [b"HTTP/1.1 200", b"HTTP/1.1 " + status]
        # In one write: where a body ends within a piece, the next head is measured from the next piece on.
        many = (POST + b"Content-Length: %d\r\n\r\n" % len(body) + body + head(GET, HEAD_BYTES)) * 3
        assert await asyncio.to_thread(statuses, app.port, [many], 6) == [200] * 6


async def test_whose_client_goes_is_no_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"
    begun = POST + b"Content-Length: 50\r\n\r\n{"
    async with serving(tmp_path, api={"key": KEY}) as app:

        def go(data: bytes, *, reset: bool) -> None:
            with socket.create_connection(("127.0.0.1", app.port), PATIENCE) as raw:
                raw.sendall(data)
                if reset:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

        for data in (chunked, begun):
            for reset in (False, True):
                await asyncio.to_thread(go, data, reset=reset)
        reasons = app.node.refusals.counts
        await until(lambda: reasons["gone"] == 4)
        # What is no chunk is refused, and counted as that alone.
        assert await asyncio.to_thread(statuses, app.port, [chunked + b"xyzzy" * 9], 1) == [400]
        await until(lambda: len(app.node.arrivals) == 0)
        assert reasons["gone"] == 4 and reasons["malformed"] == 1 and reasons["internal"] == 0
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_request_that_is_not_whole_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """It is told to come again; one that is whole has its answer."""
    with ServerProcess(tmp_path, {"api": {"key": KEY}}) as server:
        with (
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as body,
            socket.create_connection(("127.0.0.1", server.port), PATIENCE) as heading,
        ):
            body.sendall(POST + b"Content-Length: 50\r\n\r\n{")
            heading.sendall(GET)
            with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as whole:
                whole.sendall(GET + b"\r\n")
                assert whole.recv(4096).startswith(b"HTTP/1.1 200 ")  # the others were read before
            server.signal(signal.SIGTERM)
            for raw in (body, heading):
                assert (await asyncio.to_thread(raw.recv, 4096)).startswith(b"HTTP/1.1 503 ")
        assert await asyncio.to_thread(server.ended) == 0
        assert "Traceback" not in server.log
