"""Requests that offer another protocol: only WebSocket is taken, everything else is plain HTTP with its body (RFC 9110, section 7.8)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import shutil
import socket
from pathlib import Path

import pytest
import websockets

from tests.serving import serving
from tests.waiting import PATIENCE

from .programs import nginx
from .rawclient import RawClient
from .wsclient import dial

KEY = "0123456789abcdef"
#: As Java's HttpClient and curl send it.
H2C = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n"
HOST = b" HTTP/1.1\r\nHost: localhost\r\n"
BODY = b'{"rooms":["none"],"data":1}'
API = b"POST /api/messages" + HOST + b"Authorization: Bearer " + KEY.encode() + b"\r\n"
REQUESTS = {
    "get": b"GET /health" + HOST + H2C + b"\r\n",
    "post": API + H2C + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": API + H2C + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nT: x\r\n\r\n",
    "other": b"GET /health" + HOST + b"Connection: upgrade\r\nUpgrade: TLS/1.0, IRC/6.9\r\n\r\n",
    "lines": b"GET /health" + HOST + b"Connection: x\r\nConnection: upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n",
    "websocket post": API
    + b"Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    + BODY,
    "without": b"GET /health" + HOST + b"\r\n",
}


def answers(port: int, data: bytes, count: int, step: int = 65536) -> list[int]:
    """Their statuses, as many as are due; what comes after them is looked at too, in so far as it is there."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as raw:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), step):
            raw.sendall(data[start : start + step])
        got = b""
        while len(re.findall(rb'"\}[\]\}]*', got)) < count and (more := raw.recv(65536)):
            got += more
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+)", got)]


@pytest.mark.parametrize("name", REQUESTS)
async def test_other_protocols_are_passed_over(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path, api={"key": KEY}) as app:
        for step in (1, 7, 65536):
            assert await asyncio.to_thread(answers, app.port, REQUESTS[name] * 3, 3, step) == [200] * 3, step
        reasons = app.node.refusals.counts
        assert not reasons["malformed"] and not reasons["body"]


async def test_they_may_be_mixed(tmp_path: Path) -> None:
    rng = random.Random(1)
    async with serving(tmp_path, api={"key": KEY}) as app:
        for _ in range(20):
            data = b"".join(rng.choices(list(REQUESTS.values()), k=12))
            assert await asyncio.to_thread(answers, app.port, data, 12, rng.randint(1, 400)) == [200] * 12


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + H2C, 426),
        (b"POST /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 405),
        (b"GET /ws HTTP/1.0\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", 426),
        (b"PUT /health" + HOST + H2C, 405),
        # It cannot be told where this one ends, upgrade or not.
        (API + H2C + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
        (API + H2C + b"Transfer-Encoding: gzip\r\n", 400),
    ],
)
async def test_what_is_refused_is_refused_all_the_same(tmp_path: Path, sent: bytes, status: int) -> None:
    async with serving(tmp_path, api={"key": KEY}) as app:
        assert await asyncio.to_thread(answers, app.port, sent + b"\r\n", 1) == [status]
        assert not app.node.refusals.counts["internal"]


async def test_a_websocket_comes_after_them(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:

        def upgrade() -> int:
            with RawClient(app.port) as client:
                client.socket.sendall(REQUESTS["get"])
                got = b""
                while b'"}' not in got:
                    got += client.socket.recv(4096)
                client.handshake()
                return client.status

        assert await asyncio.to_thread(upgrade) == 101


async def run(*command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return out.decode()


JAVA = """
import java.net.URI;
import java.net.http.*;
public class Ask {
    public static void main(String[] args) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        for (int i = 0; i < 2; i++) {
            System.out.print(client.send(HttpRequest.newBuilder(URI.create(args[0] + "/health")).build(),
                HttpResponse.BodyHandlers.ofString()).statusCode() + " ");
            HttpRequest.Builder post = HttpRequest.newBuilder(URI.create(args[0] + "/api/messages"))
                .header("Authorization", "Bearer " + args[1]).POST(HttpRequest.BodyPublishers.ofString(args[2]));
            System.out.print(client.send(post.build(), HttpResponse.BodyHandlers.ofString()).body() + " ");
        }
    }
}
"""


@pytest.mark.parametrize("client", ["curl", "java"])
@pytest.mark.parametrize("proxied", [False, True])
async def test_real_clients(tmp_path: Path, client: str, proxied: bool) -> None:
    if shutil.which(client) is None:
        pytest.skip(f"there is no {client}")
    async with serving(tmp_path, api={"key": KEY}, server={"trusted_proxies": ["127.0.0.1"]}) as app:
        async with dial(app.url, name="Ada") as ada:
            await ada.call("room:join", room="r")
        if proxied:
            with nginx(tmp_path, app) as url:
                await ask(tmp_path, client, url)
        else:
            await ask(tmp_path, client, app.url)


async def ask(folder: Path, client: str, url: str) -> None:
    body = json.dumps({"rooms": ["r"], "data": "x" * 3000})
    if client == "java":
        (folder / "Ask.java").write_text(JAVA)
        got = await run("java", str(folder / "Ask.java"), url, KEY, body)
        statuses = got.count("200 ")
    else:
        both = ["--http2", "-s", "--noproxy", "*", f"{url}/health"]
        post = ["-H", f"Authorization: Bearer {KEY}", "-d", body, f"{url}/api/messages"]
        got = await run("curl", *both, f"{url}/health", "--next", "--http2", "-s", "--noproxy", "*", *post, post[-1])
        statuses = got.count('"status":"ok"')
    assert statuses == 2 and len(re.findall(r'"room": ?"r"', got)) == 2, got
    async with websockets.connect(url.replace("http", "ws") + "/ws", proxy=None):
        pass
