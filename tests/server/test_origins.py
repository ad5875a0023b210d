"""Whose pages may connect, and by which names: as browsers and proxies ask, alone and over the real server."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import httpx
import pytest
import websockets

from syncline.server.app import App
from syncline.server.config.schema import ServerConfig
from syncline.server.net.origins import Origins, is_host, is_origin
from tests.serving import Serve

from .wsclient import dial


def origins(
    *, guests: bool = True, host: str = "127.0.0.1", allowed: tuple[str, ...] = (), hosts: tuple[str, ...] = ()
) -> Origins:
    server = ServerConfig(host=host, allowed_origins=list(allowed), allowed_hosts=list(hosts))
    return Origins(server, guests=guests)


def asked(host: str, origin: str | None, **more: str) -> Mapping[str, str]:
    headers = {"host": host, **{name.replace("_", "-"): value for name, value in more.items()}}
    return headers if origin is None else {**headers, "origin": origin}


@pytest.mark.parametrize(
    "headers",
    [
        asked("127.0.0.1:8000", "http://127.0.0.1:8000"),
        asked("localhost:8000", "http://LocalHost:8000"),
        asked("[::1]:8000", "http://[::1]:8000"),
        asked("localhost", "http://localhost"),
        asked("localhost:80", "http://localhost"),
        asked("localhost", "http://localhost:80"),
        asked("app.localhost:8000", "http://app.localhost:8000"),
        asked("192.168.1.7:8000", "http://192.168.1.7:8000"),
        asked(f"{socket.gethostname()}:8000", f"http://{socket.gethostname().lower()}:8000"),
        # A proxy that ends TLS, and passes the name on or tells it.
        asked("app.example.org", "https://app.example.org", x_forwarded_for="203.0.113.7"),
        asked("127.0.0.1:8000", "https://app.example.org", x_forwarded_host="app.example.org"),
        asked("app.example.org:8443", "https://app.example.org:8443", via="1.1 Caddy"),
        # What is no browser.
        asked("evil.example", None),
        asked("", None),
    ],
)
def test_guests_of_its_own_pages(headers: Mapping[str, str]) -> None:
    assert origins().refused(headers, "127.0.0.1") == ""


@pytest.mark.parametrize(
    ("headers", "setting"),
    [
        (asked("127.0.0.1:8000", "https://evil.example"), "allowed_origins"),
        (asked("192.168.1.7:8000", "http://127.0.0.1:3000"), "allowed_origins"),
        (asked("192.168.1.7:8000", "http://192.168.1.7:3000"), "allowed_origins"),
        (asked("127.0.0.1:8000", "http://localhost:3000", x_forwarded_for="203.0.113.7"), "allowed_origins"),
        (asked("", "http://localhost:3000"), "allowed_origins"),
        (asked("127.0.0.1:8000", "http://127.0.0.1:8000.evil.example"), "allowed_origins"),
        (asked("127.0.0.1:8000", "http://localhost.evil.example"), "allowed_origins"),
        (asked("127.0.0.1:8000", "chrome-extension://localhost"), "allowed_origins"),
        (asked("127.0.0.1:8000", "null"), "allowed_origins"),
        (asked("127.0.0.1:8000", ""), "allowed_origins"),
        (asked("127.0.0.1:8000", "file://"), "allowed_origins"),
        (asked("127.0.0.1:8000", "http://[::1"), "allowed_origins"),
        (asked("127.0.0.1:8000", "http://localhost:99999"), "allowed_origins"),
        (asked("", "http://evil.example"), "allowed_origins"),
        # The same origin by a name that is somebody else's.
        (asked("evil.example:8000", "http://evil.example:8000"), "allowed_hosts"),
        (asked("localhost.evil.example", "http://localhost.evil.example"), "allowed_hosts"),
        (asked("evil.example", "http://evil.example:80"), "allowed_hosts"),
    ],
)
def test_pages_of_others(headers: Mapping[str, str], setting: str) -> None:
    assert f"server.{setting} does not have" in origins().refused(headers, "127.0.0.1")
    assert origins(guests=False).refused(headers, "127.0.0.1") == "", "with tokens a page's origin tells nothing"


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000", "[::1]:8000"])
@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:9000", "https://app.localhost"]
)
def test_pages_of_other_ports_of_the_same_machine(host: str, origin: str) -> None:
    """So that one's own first page works: it is served by something else."""
    for peer in ("127.0.0.1", "127.0.0.2", "::1"):
        assert origins().refused(asked(host, origin), peer) == ""
    for peer in ("192.168.1.8", ""):  # a browser elsewhere, whose own machine that is; a Unix socket: a proxy's
        assert "allowed_origins" in origins().refused(asked(host, origin), peer)
    assert "allowed_origins" in origins(allowed=("https://a.example",)).refused(asked(host, origin), "127.0.0.1")


def test_what_is_configured() -> None:
    some = origins(allowed=("https://App.example.org", "https://*.example.com:443", "capacitor://localhost", "null"))
    for origin in (
        "https://app.example.org",
        "https://app.example.org:443",
        "https://a.example.com",
        "https://a.b.EXAMPLE.com",
        "capacitor://localhost",
        "null",
    ):
        assert some.refused(asked("127.0.0.1", origin), "127.0.0.1") == ""
    for origin in (
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://example.com",
        "https://a.example.com.evil.example",
        "https://evilexample.com",
        "http://127.0.0.1",
    ):
        assert "allowed_origins" in some.refused(asked("127.0.0.1", origin), "127.0.0.1")
    assert some.refused(asked("app.example.org", "https://app.example.org"), "127.0.0.1") == "", (
        "a page's own host is one of ours"
    )
    assert origins(allowed=("*",)).refused(asked("127.0.0.1", "https://evil.example"), "127.0.0.1") == ""
    assert "allowed_hosts" in origins(allowed=("*",)).refused(
        asked("evil.example", "https://evil.example"), "127.0.0.1"
    )
    named = origins(hosts=("rt.example.org", "*.example.net"))
    assert (
        named.misdirected({"host": "RT.example.org.:8443"}, "127.0.0.1")
        == named.misdirected({"host": "a.example.net"}, "127.0.0.1")
        == ""
    )
    for host in ("example.net", "evil.example"):
        assert "allowed_hosts" in named.misdirected({"host": host, "x-forwarded-for": "203.0.113.7"}, "127.0.0.1")
    told = asked("127.0.0.1:8000", "http://evil.example", x_forwarded_host="evil.example")
    assert "allowed_hosts" in named.refused(told, "127.0.0.1"), "not by what a proxy passes on either"
    assert origins(host="rt.local").misdirected({"host": "rt.local:8000"}, "127.0.0.1") == ""
    assert origins(hosts=("*",)).misdirected({"host": "evil.example"}, "127.0.0.1") == ""


def test_what_cannot_be_configured() -> None:
    for text in (
        "*",
        "null",
        "https://a.example",
        "HTTPS://*.a.example:8443",
        "capacitor://localhost",
        "http://[::1]:8000",
    ):
        assert is_origin(text), text
    for text in (
        "",
        "a.example",
        "https://a.example/",
        "https://*",
        "https://a.*.example",
        "https://*a.example",
        "https://u@a.example",
        "https://a.example:x",
        "https://a.example:99999",
        "https://a.example:*",
        "https://a b",
        "wss://a.example",
        "https://b\u00fccher.example",
        "https://a.example.",
    ):
        assert not is_origin(text), text
    for text in ("*", "a.example", "*.a.example", "[::1]", "127.0.0.1"):
        assert is_host(text), text
    for text in (
        "b\u00fccher.example",
        "a.example.",
        "",
        "a.example:8000",
        "https://a.example",
        "a.example/",
        "*.",
        "a.*",
    ):
        assert not is_host(text), text


async def test_over_the_server(app: App) -> None:
    here = {"host": "127.0.0.1", "port": app.port}  # whatever the URL says
    async with dial(app.url, origin=app.url), dial("http://localhost:8000", origin="http://localhost:8000", **here):
        pass
    for url, origin, told in (
        (app.url, "https://evil.example", "server.allowed_origins"),
        ("http://evil.example", "http://evil.example", "server.allowed_hosts"),
    ):
        with pytest.raises(websockets.InvalidStatus) as caught:
            async with dial(url, origin=origin, **here):
                pass
        body = caught.value.response.body
        assert caught.value.response.status_code == 403 and body is not None and told in body.decode()
    async with dial("http://evil.example", **here):  # no browser
        pass
    async with httpx.AsyncClient(base_url=app.url, trust_env=False, headers={"host": "evil.example"}) as client:
        for path, status in (("/", 421), ("/metrics", 421), ("/nothing", 421), ("/health", 200), ("/ready", 200)):
            answer = await client.get(path)
            assert answer.status_code == status, path
        assert answer.headers["x-content-type-options"] == "nosniff"
        refused = (await client.get("/metrics")).json()["error"]
        assert refused["code"] == "misdirected_request" and "server.allowed_hosts" in refused["message"]
        assert (await client.get("/metrics", headers={"x-forwarded-for": "203.0.113.7"})).status_code == 200


async def test_all_where_tokens_say_who_it_is(serve: Serve) -> None:
    secret = "0123456789abcdef0123456789abcdef"
    async with serve(auth={"mode": "jwt", "secret": secret}) as app:
        async with dial("http://rt.example.org", origin="https://app.example.org", host="127.0.0.1", port=app.port):
            pass
