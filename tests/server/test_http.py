"""The HTTP routes, called as an ASGI application."""

from __future__ import annotations

import gzip
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from syncline.server.config.schema import Config, MetricsConfig, ServerConfig
from syncline.server.limits.refusals import Refusals
from syncline.server.net.addresses import Addresses
from syncline.server.net.origins import Origins
from syncline.server.web import http


class Node:
    """What HTTP sees of a node."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self.origins = Origins(self.config.server, guests=self.config.auth.mode == "guest")
        self.failing: dict[str, str] = {}
        self.broken = False
        self.addresses = Addresses(())
        self.refusals = Refusals()

    async def ready(self) -> dict[str, str]:
        if self.broken:
            raise RuntimeError("the secret is hunter2")
        return self.failing

    async def scrape(self) -> bytes:
        return b"syncline_draining 0.0\n"


def client_of(node: Node) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(http.create(node), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost")


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package folder whose pages are known, so that the tests need no bundle."""
    for folder in ("server/web/pages", "client/browser"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "server/web/pages/index.html").write_text("<!doctype html><p>demo</p>" + "<br>" * 100)
    (tmp_path / "server/web/pages/codemirror.js").write_text("export const editor = 1\n" * 50)
    (tmp_path / "server/web/pages/__init__.py").write_text("secret = 1")
    (tmp_path / "client/browser/syncline.js").write_text("export const version = 1")
    (tmp_path / "client/browser/syncline.d.ts").write_text("export const version: number")
    monkeypatch.setattr("importlib.resources.files", lambda package: tmp_path)
    return tmp_path


@pytest.fixture
def node() -> Node:
    return Node()


@pytest.fixture
async def client(node: Node, pages: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(node) as client:
        yield client


async def test_health_says_only_that_the_process_lives(node: Node, client: httpx.AsyncClient) -> None:
    node.failing = {"store": "no answer"}
    answer = await client.get("/health")
    assert answer.status_code == 200
    assert answer.json()["status"] == "ok"
    assert answer.headers["cache-control"] == "no-store"


async def test_ready_names_what_fails(node: Node, client: httpx.AsyncClient) -> None:
    assert (await client.get("/ready")).status_code == 200
    node.failing = {"store": "no answer", "node": "draining"}
    answer = await client.get("/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "failing": node.failing}


async def test_metrics(client: httpx.AsyncClient, pages: Path) -> None:
    answer = await client.get("/metrics")
    assert answer.text == "syncline_draining 0.0\n"
    assert answer.headers["content-type"].startswith("text/plain; version=")
    async with client_of(Node(Config(metrics=MetricsConfig(enabled=False)))) as without:
        assert (await without.get("/metrics")).status_code == 404


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/codemirror.js", "text/javascript; charset=utf-8"),
        ("/syncline.js", "text/javascript; charset=utf-8"),
        ("/syncline.d.ts", "text/plain; charset=utf-8"),
    ],
)
async def test_files_have_their_types(client: httpx.AsyncClient, path: str, media_type: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == media_type
    assert answer.headers["cache-control"] == "no-cache"


async def test_other_pages_may_import_the_client_but_not_the_demo(client: httpx.AsyncClient) -> None:
    assert (await client.get("/syncline.js")).headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in (await client.get("/")).headers


async def test_the_client_is_served_bundled_or_else_as_it_is(node: Node, pages: Path) -> None:
    (pages / "client/browser/syncline-base.js").write_text("export const base = 1")
    async with client_of(node) as client:
        assert (await client.get("/syncline.js")).text == "export const version = 1"
        assert (await client.get("/syncline-base.js")).headers["access-control-allow-origin"] == "*"
    (pages / "server/web/pages/syncline.js").write_text("bundled")
    (pages / "server/web/pages/syncline.js.map").write_text("{}")
    for demo in (True, False):
        async with client_of(Node(Config(server=ServerConfig(demo=demo)))) as client:
            answer = await client.get("/syncline.js")
            assert answer.text == "bundled" and answer.headers["access-control-allow-origin"] == "*"
            assert (await client.get("/syncline.js.map")).headers["content-type"] == "application/json"
            assert (await client.get("/syncline-base.js")).status_code == 404
            assert (await client.get("/syncline.d.ts")).status_code == 200


@pytest.mark.parametrize("path", ["/__init__.py", "/../config.py", "/%2e%2e/config.py", "/nothing", "/health/"])
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def test_an_unchanged_file_is_not_sent_again(client: httpx.AsyncClient) -> None:
    first = await client.get("/codemirror.js")
    for condition in (first.headers["etag"], 'W/"other", ' + first.headers["etag"], "*"):
        again = await client.get("/codemirror.js", headers={"if-none-match": condition})
        assert again.status_code == 304
        assert again.content == b""
        assert again.headers["etag"] == first.headers["etag"]
    assert (await client.get("/codemirror.js", headers={"if-none-match": '"other"'})).status_code == 200


async def test_files_are_compressed_for_who_takes_it(client: httpx.AsyncClient, pages: Path) -> None:
    expected = (pages / "server/web/pages/codemirror.js").read_bytes()
    request = client.build_request("GET", "/codemirror.js", headers={"accept-encoding": "br, gzip;q=0.5"})
    answer = await client.send(request, stream=True)
    raw = b"".join([part async for part in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw) < len(expected)
    assert gzip.decompress(raw) == expected
    for refusing in ("identity", "br", "gzip;q=0", "gzip; q=0.0"):
        plain = await client.get("/codemirror.js", headers={"accept-encoding": refusing})
        assert "content-encoding" not in plain.headers
        assert plain.content == expected
        assert plain.headers["vary"] == "accept-encoding"
        assert plain.headers["etag"] != answer.headers["etag"]


@pytest.mark.parametrize("path", ["/", "/syncline.js", "/health", "/ready", "/metrics"])
async def test_head_is_get_without_the_body(client: httpx.AsyncClient, path: str) -> None:
    get, head = await client.get(path), await client.head(path)
    assert head.status_code == get.status_code == 200
    assert head.content == b""
    assert get.content
    assert head.headers == get.headers


async def test_wrong_methods_are_refused(client: httpx.AsyncClient) -> None:
    for path in ("/", "/health", "/metrics", "/syncline.js"):
        answer = await client.post(path, content=b"x")
        assert answer.status_code == 405
        assert answer.json()["error"]["code"] == "method_not_allowed"
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_the_websocket_endpoint_asks_for_an_upgrade(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ws")
    assert answer.status_code == 426
    assert answer.headers["upgrade"] == "websocket"


async def test_a_fault_is_answered_without_its_text(node: Node, client: httpx.AsyncClient) -> None:
    node.broken = True
    answer = await client.get("/ready")
    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_server_error"
    assert "hunter2" not in answer.text


async def test_every_answer_has_the_security_headers(node: Node, client: httpx.AsyncClient) -> None:
    node.broken = True
    for path, status in (("/", 200), ("/health", 200), ("/nothing", 404), ("/ready", 500)):
        answer = await client.get(path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'self'"
        assert policy["connect-src"] == "'self' ws: wss:"
        assert "script-src" not in policy
        assert policy["frame-ancestors"] == "'self'"


async def test_a_demo_that_was_not_built_says_so(pages: Path, caplog: pytest.LogCaptureFixture) -> None:
    (pages / "server/web/pages/codemirror.js").unlink()
    with caplog.at_level(logging.WARNING):
        client = client_of(Node())
    assert "not built" in caplog.text
    async with client:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert "make setup" in answer.text
        assert (await client.get("/syncline.js")).status_code == 200


async def test_without_the_demo_only_the_client_is_served(pages: Path) -> None:
    config = replace(Config(), server=ServerConfig(demo=False))
    async with client_of(Node(config)) as client:
        assert (await client.get("/")).status_code == 404
        assert (await client.get("/codemirror.js")).status_code == 404
        assert (await client.get("/syncline.js")).status_code == 200


async def test_the_installed_pages() -> None:
    """With the real package: whatever was built, / answers."""
    async with client_of(Node()) as client:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
