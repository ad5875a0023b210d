"""Handshakes to the letter of RFC 6455 and RFC 9110: the functions with made-up fields, the real server with each rule."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.utils import accept_key

from syncline.core.wire.deflate import negotiate
from syncline.server.app import App
from syncline.server.transports import handshake, heads
from syncline.server.transports.handshake import Refused
from tests.serving import Serve
from tests.waiting import PATIENCE, until

KEY = base64.b64encode(bytes(range(16))).decode()
GOOD = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
TCHAR = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
tokens = st.text(TCHAR, min_size=1, max_size=12)
spaces = st.text(" \t", max_size=3)
empties = st.lists(spaces, max_size=3).map(lambda parts: ",".join(parts) + ("," if parts else ""))
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f")).map(
    lambda text: "".join(one for one in text if not 0x7F <= ord(one) < 0x80).strip(" \t")
)


def head(*lines: str, request: str = "GET /ws HTTP/1.1") -> bytes:
    return ("\r\n".join((request, *lines)) + "\r\n\r\n").encode("latin-1")


def with_(fields: Mapping[str, str | None], *more: str) -> bytes:
    """A good handshake, with some fields replaced or left out, and more lines."""
    merged = {**GOOD, **fields}
    return head(*(f"{name}: {value}" for name, value in merged.items() if value is not None), *more)


# -- the functions -----------------------------------------------------------------------------------------------------


@given(st.lists(tokens, max_size=8), st.data())
def test_a_list_is_the_same_however_it_is_written(elements: list[str], data: st.DataObject) -> None:
    """On one line or several, with spaces and empty elements (RFC 9110, 5.3 and 5.6.1)."""
    lines, line = [], ""
    for element in elements:
        line += data.draw(empties) + data.draw(spaces) + element + data.draw(spaces)
        if data.draw(st.booleans()):
            lines.append(line)
            line = ""
        else:
            line += ","
    lines.append(line)
    _, fields = handshake.parse(head("Host: localhost", *(f"X-List: {one}" for one in lines)))
    assert heads.tokens(fields["x-list"]) == elements


@given(st.dictionaries(tokens.map(lambda name: f"x-{name.lower()}"), values, max_size=10), spaces, spaces)
def test_fields_come_out_as_they_went_in(given_fields: dict[str, str], before: str, after: str) -> None:
    lines = [f"{name.upper()}:{before}{value}{after}" for name, value in given_fields.items()]
    target, fields = handshake.parse(head("Host: localhost", *lines, request="GET /ws?a=b HTTP/1.1"))
    assert target == "/ws?a=b" and fields == {"host": "localhost", **given_fields}


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
@example(b":", 18, 18)
@example(b"\r\n \r\n", 30, 30)
def test_whatever_comes_is_read_or_refused(junk: bytes, start: int, end: int) -> None:
    """Nothing but ``Refused`` is raised, and an answer can be written to it, without what the client sent."""
    good = with_({}, "Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Extensions: a; b=c")
    try:
        _, fields = handshake.parse(good[:start] + junk + good[max(start, end) :])
        handshake.accept(fields)
        handshake.subprotocols(fields)
        negotiate(handshake.extensions(fields))
    except Refused as refused:
        answer = refused.answer()
        begin, _, body = answer.partition(b"\r\n\r\n")
        assert begin.startswith(b"HTTP/1.1 4") and body and f"Content-Length: {len(body)}".encode() in begin


@given(st.binary(max_size=40))
@example(bytes(16))
def test_a_key_is_sixteen_bytes(raw: bytes) -> None:
    key = base64.b64encode(raw).decode()
    fields = {name.lower(): value for name, value in GOOD.items()} | {"sec-websocket-key": key}
    if len(raw) == 16:
        assert handshake.accept(fields) == accept_key(key)
    else:
        with pytest.raises(Refused, match="16 bytes"):
            handshake.accept(fields)


quoted = tokens.map(lambda value: f'"{value}"')
parameters = st.tuples(tokens, st.one_of(st.none(), tokens, quoted)).map(
    lambda pair: pair[0] if pair[1] is None else f"{pair[0]}={pair[1]}"
)


@given(st.lists(st.tuples(tokens, st.lists(parameters, max_size=4)), max_size=5), st.text('",;= \\', min_size=1))
def test_extensions_are_of_their_grammar(offers: list[tuple[str, list[str]]], junk: str) -> None:
    value = ", ".join("; ".join((name, *given_parameters)) for name, given_parameters in offers)
    assert handshake.extensions({"sec-websocket-extensions": value}) == value
    if junk.strip(", ="):
        with pytest.raises(Refused):
            handshake.extensions({"sec-websocket-extensions": f"{value}, a; b={junk}"})


@given(st.text(' \t;,=a"', max_size=4000))
def test_long_ones_take_no_longer(value: str) -> None:
    """Each rule is linear: nothing here backtracks over what it has seen."""
    for text in (value, " " * 16_000 + value, "a;" * 5000 + value, "a" * 16_000 + value):
        try:
            handshake.extensions({"sec-websocket-extensions": text})
            heads.host_fault([text], required=True)
            handshake.parse(head("Host: localhost", f"X: {text}"))
        except Refused:
            pass


# -- the server --------------------------------------------------------------------------------------------------------


def ask(app: App, data: bytes) -> tuple[int, dict[str, list[str]]]:
    """The answer's status, and its header lines by name in lower case."""
    with socket.create_connection(("127.0.0.1", app.port), PATIENCE) as raw:
        raw.sendall(data)
        got = b""
        while b"\r\n\r\n" not in got:
            more = raw.recv(4096)
            assert more, got
            got += more
    first, *lines = got.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        headers.setdefault(name.lower(), []).append(value)
    return int(first.split()[1]), headers


TAKEN = {
    "as it is": with_({}),
    "connection over lines": with_({"Connection": "keep-alive"}, "Connection: Upgrade"),
    "connection over lines, the other way": with_({}, "Connection: keep-alive"),
    "connection as a list": with_({"Connection": ",keep-alive ,\tUPGRADE,,"}),
    "upgrade as a list": with_({"Upgrade": "h2c, WebSocket"}),
    "upgrade over lines": with_({"Upgrade": "h2c"}, "Upgrade: websocket"),
    "subprotocols over lines": with_(
        {}, "Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: , syncline.v1.msgpack"
    ),
    "extensions over lines": with_({}, "Sec-WebSocket-Extensions: foo", "Sec-WebSocket-Extensions: permessage-deflate"),
    "host with a port": with_({"Host": "localhost:80"}),
    "host is an address": with_({"Host": "[::1]:80"}),
    "no space after a colon": with_({}).replace(b": ", b":"),
    "names in lower case": with_({}).replace(b"Host", b"hOST").replace(b"Sec-WebSocket-Key", b"sec-websocket-KEY"),
    "an empty body": with_({"Content-Length": "0"}),
}


@pytest.mark.parametrize("backend", ["memory"])
@pytest.mark.parametrize("name", TAKEN)
async def test_what_is_taken(serve: Serve, name: str) -> None:
    async with serve(server={"compression": True}) as app:
        for data in (TAKEN[name], behind(TAKEN[name])):
            status, headers = await asyncio.to_thread(ask, app, data)
            assert status == 101 and headers["sec-websocket-accept"] == [accept_key(KEY)]
            assert headers["upgrade"] == ["websocket"] and headers["connection"] == ["Upgrade"]
            if name.startswith("subprotocols"):
                assert headers["sec-websocket-protocol"] == ["syncline.v1.msgpack"]
            if name.startswith("extensions"):
                assert headers["sec-websocket-extensions"] == ["permessage-deflate"]


def behind(data: bytes) -> bytes:
    """So that uvicorn's parser finds it, not ours."""
    return b"\r\n" + data


NO_UPGRADE, VERSION, BAD = 426, 426, 400
REFUSED: dict[str, tuple[bytes, int]] = {
    "no upgrade": (with_({"Upgrade": None, "Connection": None}), NO_UPGRADE),
    "upgrade alone": (with_({"Connection": None}), NO_UPGRADE),
    "connection alone": (with_({"Upgrade": None}), NO_UPGRADE),
    "another protocol": (with_({"Upgrade": "h2c"}), NO_UPGRADE),
    "nothing but a get": (head("Host: localhost"), NO_UPGRADE),
    "no upgrades in 1.0": (with_({}).replace(b"HTTP/1.1", b"HTTP/1.0"), NO_UPGRADE),
    "version 8": (with_({"Sec-WebSocket-Version": "8"}), VERSION),
    "version 14": (with_({"Sec-WebSocket-Version": "14"}), VERSION),
    "no version": (with_({"Sec-WebSocket-Version": None}), VERSION),
    "a list of versions": (with_({"Sec-WebSocket-Version": "8, 13"}), VERSION),
    "two versions": (with_({}, "Sec-WebSocket-Version: 13"), BAD),
    "no key": (with_({"Sec-WebSocket-Key": None}), BAD),
    "an empty key": (with_({"Sec-WebSocket-Key": ""}), BAD),
    "two keys": (with_({}, f"Sec-WebSocket-Key: {KEY}"), BAD),
    "a short key": (with_({"Sec-WebSocket-Key": base64.b64encode(bytes(15)).decode()}), BAD),
    "a long key": (with_({"Sec-WebSocket-Key": base64.b64encode(bytes(17)).decode()}), BAD),
    "a key without padding": (with_({"Sec-WebSocket-Key": KEY.rstrip("=")}), BAD),
    "a key that is not base64": (with_({"Sec-WebSocket-Key": "?" * 22 + "=="}), BAD),
    "a key beyond ASCII": (with_({"Sec-WebSocket-Key": "\xe9" * 22 + "=="}), BAD),
    "no host": (with_({"Host": None}), BAD),
    "two hosts": (with_({}, "Host: localhost"), BAD),
    "not a host": (with_({"Host": "local host"}), BAD),
    "a host with a path": (with_({"Host": "localhost/"}), BAD),
    "two origins": (with_({}, "Origin: http://localhost", "Origin: http://localhost"), BAD),
    "two authorizations": (with_({}, "Authorization: Bearer a", "Authorization: Bearer b"), BAD),
    "a subprotocol twice": (with_({}, "Sec-WebSocket-Protocol: syncline.v1.json, syncline.v1.json"), BAD),
    "a subprotocol twice over lines": (with_({}, *["Sec-WebSocket-Protocol: syncline.v1.json"] * 2), BAD),
    "a subprotocol that is none": (with_({}, "Sec-WebSocket-Protocol: syncline.v1.json, a b"), BAD),
    "extensions that are none": (with_({}, "Sec-WebSocket-Extensions: permessage-deflate; =1"), BAD),
    "an extension inside a value": (with_({}, 'Sec-WebSocket-Extensions: a; b="c, permessage-deflate, d"'), BAD),
    "a body": (with_({"Content-Length": "1"}), BAD),
    "a body in chunks": (with_({"Transfer-Encoding": "chunked"}), BAD),
    "a folded line": (with_({}, "X: y", " z"), BAD),
    "a space before a colon": (with_({}, "X : y"), BAD),
    "a line without a colon": (with_({}, "X"), BAD),
    "a line without a name": (with_({}, ": y"), BAD),
    "a control character": (with_({}, "X: \x01"), BAD),
    "a bare line feed": (with_({}, "X: y\nZ: a"), BAD),
    "another path": (with_({}).replace(b"/ws", b"/wsx"), 404),
    "a post": (with_({}).replace(b"GET", b"POST"), 405),
    "a delete": (head("Host: localhost", request="DELETE /ws HTTP/1.1"), 405),
    "another version of HTTP": (with_({}).replace(b"HTTP/1.1", b"HTTP/2.0"), 505),
}


@pytest.mark.parametrize("backend", ["memory"])
@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_refused(serve: Serve, name: str) -> None:
    data, expected = REFUSED[name]
    async with serve() as app:
        for asked in (data, behind(data)):
            status, headers = await asyncio.to_thread(ask, app, asked)
            assert status == expected, headers
            if status == 426:
                assert headers["upgrade"] == ["websocket"] and headers["sec-websocket-version"] == ["13"]
                assert "upgrade" in headers["connection"][0].lower()
            if status == 405:
                assert headers["allow"][0].replace(" ", "").split(",") in (["GET", "HEAD"], ["HEAD", "GET"])
        await until(lambda: len(app.node.arrivals) == 0)
        assert app.node.sessions.connections == {} and not app.node.refusals.counts["internal"]


@pytest.mark.parametrize("backend", ["memory"])
async def test_a_bad_token_is_told_the_scheme(serve: Serve) -> None:
    async with serve() as app:
        status, headers = await asyncio.to_thread(ask, app, with_({"Authorization": "Bearer nonsense"}))
        assert status == 401 and headers["www-authenticate"] == ["Bearer"]


@pytest.mark.parametrize("backend", ["memory"])
async def test_the_addresses_on_all_lines_are_one_list(serve: Serve) -> None:
    """RFC 9110, 5.3: the last line has the nearest proxies."""
    async with serve(server={"trusted_proxies": ["127.0.0.1", "10.0.0.0/8"]}) as app:
        for lines in (
            ["X-Forwarded-For: 192.0.2.7, 10.0.0.1"],
            ["X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 10.0.0.1"],
            ["X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 192.0.2.7, 10.0.0.2", "X-Forwarded-For: 10.0.0.1"],
        ):
            for data in (with_({}, *lines), behind(with_({}, *lines))):
                with socket.create_connection(("127.0.0.1", app.port), PATIENCE) as raw:
                    await asyncio.to_thread(raw.sendall, data)
                    await until(lambda: app.node.sessions.connections)
                    assert {one.address for one in app.node.sessions.connections.values()} == {"192.0.2.7"}
                await until(lambda: not app.node.sessions.connections)


@pytest.mark.parametrize("backend", ["memory"])
@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Host: localhost", 200),
        ("Host: ", 200),
        ("Host: a_b.example:8000", 200),
        ("X: y", 400),
        ("Host: localhost\r\nHost: localhost", 400),
        ("Host: a b", 400),
        ("Host: a/b", 400),
        ("Host: user@a", 400),
    ],
)
async def test_every_request_has_one_host(serve: Serve, line: str, status: int) -> None:
    async with serve() as app:
        assert (await asyncio.to_thread(ask, app, head(line, request="GET /health HTTP/1.1")))[0] == status
        old = 200 if line == "X: y" else status  # HTTP/1.0 needs none
        assert (await asyncio.to_thread(ask, app, head(line, request="GET /health HTTP/1.0")))[0] == old
