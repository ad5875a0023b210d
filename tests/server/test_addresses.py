"""Whose a connection is: trusted proxies' X-Forwarded-For and PROXY protocol; limits of one address."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from syncline.server.app import App
from syncline.server.net.addresses import HOPS, Addresses, parse, subscriber
from syncline.server.transports.proxy_protocol import HEADER_BYTES, SIGNATURE, Header, read
from tests.loglines import LogLines
from tests.serving import serving
from tests.waiting import PATIENCE, until

from .wsclient import dial


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1:8080 ", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unknown", None),
        ("_hidden", None),
        ("", None),
        ("1.2.3", None),
        ("1.2.3.4.5", None),
    ],
)
def test_addresses_are_written_in_one_way(given: str, expected: str | None) -> None:
    assert parse(given) == expected


def test_a_subscriber_is_an_address_or_a_network_of_64_bits() -> None:
    assert subscriber("192.0.2.1") == "192.0.2.1" and subscriber("") == ""
    assert subscriber("2001:db8:1:2:3::4") == subscriber("2001:db8:1:2::") == "2001:db8:1:2::/64"
    assert subscriber("2001:db8:1:3::") != subscriber("2001:db8:1:2::")


TRUSTED = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("198.51.100.1", [], "198.51.100.1"),
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),  # nobody's word
        ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("2001:db8::7", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),  # what the client itself wrote comes first
        ("10.1.2.3", ["6.6.6.6", "203.0.113.9 , 192.0.2.7"], "203.0.113.9"),
        ("10.1.2.3", ["10.9.9.9, 10.8.8.8"], "10.9.9.9"),  # a client among the proxies
        ("10.1.2.3", [], ""),
        ("10.1.2.3", [""], ""),
        ("10.1.2.3", ["unknown"], ""),
        ("10.1.2.3", ["6.6.6.6, unknown, 192.0.2.7"], "192.0.2.7"),
        ("10.1.2.3", ["6.6.6.6, " + "10.0.0.1, " * HOPS + "10.0.0.2"], "10.0.0.1"),
        ("", ["203.0.113.9"], ""),
    ],
)
def test_the_client_is_the_last_one_that_is_no_trusted_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert Addresses(TRUSTED).client(peer, forwarded) == client


def test_nobody_is_trusted_by_default() -> None:
    assert Addresses([]).client("127.0.0.1", ["6.6.6.6"]) == "127.0.0.1"
    assert not Addresses([], proxy_protocol=True).announces("127.0.0.1")


# -- the PROXY protocol ------------------------------------------------------------------------------------------------


def binary(source: str, target: str = "", *, command: int = 1, more: bytes = b"") -> bytes:
    address = ipaddress.ip_address(source)
    body = address.packed + ipaddress.ip_address(target or source).packed + struct.pack(">HH", 5000, 80) + more
    return (
        SIGNATURE
        + bytes([0x20 | command, 0x11 if address.version == 4 else 0x21])
        + struct.pack(">H", len(body))
        + body
    )


@given(st.ip_addresses(), st.binary(max_size=64), st.binary(max_size=8))
def test_version_2_as_it_is_cut(address: Any, more: bytes, behind: bytes) -> None:
    whole = binary(str(address), more=more)
    for cut in range(len(whole)):
        assert read(whole[:cut]) is None
    assert read(whole + behind) == Header(str(address), len(whole))
    assert read(binary(str(address), command=0, more=more)) == Header("", len(whole))


@given(st.ip_addresses(), st.integers(0, 65_535), st.binary(max_size=8))
def test_version_1_as_it_is_cut(address: Any, port: int, behind: bytes) -> None:
    whole = f"PROXY TCP{4 if address.version == 4 else 6} {address} {address} {port} 80\r\n".encode()
    for cut in range(len(whole)):
        assert read(whole[:cut]) is None
    assert read(whole + behind) == Header(str(address), len(whole))


def test_what_names_no_address_is_unknown() -> None:
    for line in (b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"):
        assert read(line + b"x") == Header("", len(line))
    unix = SIGNATURE + b"\x21\x31" + struct.pack(">H", 216) + bytes(216)
    assert read(unix) == Header("", len(unix))


@pytest.mark.parametrize(
    "wrong",
    [
        b"GET / HTTP/1.1\r\n",
        b"P" * 200,
        b"PROXY TCP4 1.2.3.4 5.6.7.8 1" + b"0" * 100,
        b"PROXY TCP4 1.2.3.4\r\n",
        b"PROXY\r\n",
        b"PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 2\r\n",
        b"PROXY TCP4 \xff 5.6.7.8 1 2\r\n",
        SIGNATURE + b"\x11\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x22\x11\0\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\0\x0b" + bytes(12),
        SIGNATURE + b"\x21\x11" + struct.pack(">H", HEADER_BYTES) + bytes(12),
    ],
)
def test_anything_else_is_refused(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="PROXY protocol"):
        read(wrong)


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_header_not_yet_one_or_refused(data: bytes) -> None:
    for start in (b"", b"PROXY ", SIGNATURE, SIGNATURE + b"\x21\x11"):
        try:
            found = read(start + data)
        except ValueError:
            continue
        assert found is None or (found.size <= len(start + data) and (not found.source or parse(found.source)))


# -- the server --------------------------------------------------------------------------------------------------------


async def seen(app: App) -> list[str]:
    await until(
        lambda: (
            len(app.node.sessions.connections) > 0 and all(one.user for one in app.node.sessions.connections.values())
        )
    )
    return [session.address for session in app.node.sessions.connections.values()]


async def test_the_peer_is_the_client_without_trusted_proxies(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        async with dial(app.url, name="Ada", additional_headers={"X-Forwarded-For": "203.0.113.9"}):
            assert await seen(app) == ["127.0.0.1"]


async def test_a_trusted_proxy_tells_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path, server={"trusted_proxies": ["127.0.0.0/8"]}) as app:
        async with dial(app.url, name="Ada", additional_headers={"X-Forwarded-For": "6.6.6.6, 203.0.113.9"}):
            assert await seen(app) == ["203.0.113.9"]
        await until(lambda: not app.node.sessions.connections)
        async with dial(app.url, name="Ada"):
            assert await seen(app) == [""]


def proxied(app: App, header: bytes, pieces: int = 1) -> Callable[[], socket.socket]:
    """A socket on which a proxy has begun."""

    def connect() -> socket.socket:
        raw = socket.create_connection(("127.0.0.1", app.port), PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(header), max(1, len(header) // pieces)):
            raw.sendall(header[start : start + max(1, len(header) // pieces)])
        return raw

    return connect


def read_to(raw: socket.socket, end: bytes) -> bytes:
    answer = b""
    while not answer.endswith(end):
        piece = raw.recv(1)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize("pieces", [1, 7])
@pytest.mark.parametrize(
    ("header", "address"),
    [
        (b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n", "203.0.113.9"),
        (binary("2001:db8::1"), "2001:db8::1"),
        (b"PROXY UNKNOWN\r\n", ""),
    ],
)
async def test_the_proxy_protocol_names_the_client(tmp_path: Path, header: bytes, address: str, pieces: int) -> None:
    config = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with serving(tmp_path, server=config) as app:
        raw = await asyncio.to_thread(proxied(app, header, pieces))
        # What the client adds itself counts for nothing: the protocol has named it.
        headers = {"X-Forwarded-For": "6.6.6.6"}
        async with dial(app.url, name="Ada", sock=raw, additional_headers=headers):
            assert await seen(app) == [address]
        raw = await asyncio.to_thread(proxied(app, header, pieces))
        with raw:  # HTTP, and an upgrade that comes later on its connection
            await asyncio.to_thread(raw.sendall, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await asyncio.to_thread(read_to, raw, b"}")).startswith(b"HTTP/1.1 200 ")
            head = (
                b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            await asyncio.to_thread(raw.sendall, head)
            assert (await asyncio.to_thread(read_to, raw, b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            await until(lambda: len(app.node.sessions.connections) == 1)
            assert [session.address for session in app.node.sessions.connections.values()] == [address]
        await until(lambda: len(app.node.arrivals) == 0)


async def test_a_trusted_proxy_that_says_nothing_is_refused(tmp_path: Path, log_lines: LogLines) -> None:
    config = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    async with serving(tmp_path, server=config) as app:
        with pytest.raises((OSError, websockets.InvalidMessage)):
            async with dial(app.url):
                pass
        await until(lambda: len(app.node.arrivals) == 0)
        assert app.node.refusals.counts["proxy_header"] == 1
    [told] = log_lines("a trusted proxy did not say")
    assert (told["address"], told["detail"]) == ("127.0.0.1", "not a header of the PROXY protocol")


async def test_connections_of_one_address(tmp_path: Path) -> None:
    """Of whom the proxy says nothing there is no limit."""
    config: dict[str, Any] = {"server": {"trusted_proxies": ["127.0.0.1"]}, "limits": {"address_connections": 2}}

    def of(address: str) -> dict[str, Any]:
        return {"name": "Ada", "additional_headers": {"X-Forwarded-For": address}}

    async with serving(tmp_path, **config) as app:
        async with (
            dial(app.url, **of("2001:db8::1")),
            dial(app.url, **of("192.0.2.1")),
            dial(app.url, **of("192.0.2.1")),
        ):
            with pytest.raises(websockets.InvalidStatus) as refused:
                async with dial(app.url, **of("192.0.2.1")):
                    pass
            assert refused.value.response.status_code == 429
            assert app.node.counters.address_refused == 1
            async with dial(app.url, **of("2001:db8::2")):
                with pytest.raises(websockets.InvalidStatus):
                    async with dial(app.url, **of("2001:db8::3")):  # one subscriber
                        pass
            async with dial(app.url, name="A"), dial(app.url, name="B"), dial(app.url, name="C"):
                pass
        await until(lambda: len(app.node.arrivals) == 0)
        async with dial(app.url, **of("192.0.2.1")), dial(app.url, **of("192.0.2.1")):
            pass


async def test_strangers_of_one_address(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"address_unidentified": 3}) as app:
        raws = [socket.create_connection(("127.0.0.1", app.port), PATIENCE) for _ in range(5)]
        try:
            await until(lambda: app.node.arrivals.dropped == 2)
            assert app.node.arrivals.strangers == 3
            gone = [await asyncio.to_thread(raw.recv, 1) for raw in raws[:1]]
            assert gone == [b""]
            async with dial(app.url, name="Ada"):  # one more of them goes
                assert app.node.arrivals.dropped == 3
        finally:
            for raw in raws:
                raw.close()


async def test_who_says_late_who_he_is_counts_too(tmp_path: Path) -> None:
    """The limit was asked at the handshake alone: many of them, and then all say who they are."""
    async with serving(tmp_path, limits={"address_connections": 2}) as app:
        async with dial(app.url) as one, dial(app.url) as two, dial(app.url) as three:
            for client in (one, two):
                await client.call("auth")
            assert await three.error("auth") == "rate_limited"
            assert app.node.counters.address_refused == 1
            await one.socket.close()
            await until(lambda: app.node.arrivals.known == 1)
            await three.call("auth")


async def test_silent_connections_of_one_client_behind_the_proxy_protocol(tmp_path: Path) -> None:
    config = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}
    header = b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n"
    async with serving(tmp_path, server=config, limits={"address_unidentified": 2}) as app:
        raws = [await asyncio.to_thread(proxied(app, header)) for _ in range(4)]
        try:
            await until(lambda: app.node.arrivals.dropped == 2)
        finally:
            for raw in raws:
                raw.close()
