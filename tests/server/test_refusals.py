"""Whatever the server refuses of a client is counted by its reason and told in the log, with the client's address and no secret."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import websockets

from syncline.core.errors import Disconnect
from syncline.server.app import App
from syncline.server.limits.arrivals import ALWAYS
from syncline.server.limits.refusals import LONGEST, Reason
from syncline.server.observe.log_repeats import FEW
from syncline.server.transports import front
from tests.harness import ServerProcess
from tests.loglines import LogLines
from tests.serving import samples, serving
from tests.waiting import PATIENCE, until, wait_until

from .rawclient import RawClient, frame
from .wsclient import dial

KEY, WRONG_KEY, TOKEN = "the-right-api-key", "a-wrong-api-key-of-somebody", "opaque-token-of-somebody"
HOST = b"Host: localhost\r\nConnection: close\r\n"
GET = b"GET /health HTTP/1.1\r\n" + HOST
UPGRADE = (
    b"Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
SHAKE = b"GET /ws HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Version: 13\r\n"
API = b"POST /api/messages HTTP/1.1\r\n" + HOST + b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b"

#: reason, configuration, what is sent in one connection each (the last of them is refused), a field of its line
CASES: list[tuple[Reason, dict[str, dict[str, Any]], list[bytes], dict[str, object]]] = [
    (Reason.SILENT, {"auth": {"timeout_seconds": 0.1}}, [b"GET /ws HTT"], {}),
    (
        Reason.PROXY_HEADER,
        {"server": {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": True}},
        [SHAKE + b"\r\n"],
        {"detail": "not a header of the PROXY protocol"},
    ),
    (
        Reason.HANDSHAKE,
        {},
        [b"GET /ws?access_token=" + TOKEN.encode() + b" HTTP/1.1\r\n" + UPGRADE + b"Sec-WebSocket-Version: 12\r\n\r\n"],
        {"detail": "this server speaks version 13 of WebSocket"},
    ),
    (Reason.HANDSHAKE, {}, [SHAKE + b"Authorization: Bearer " + TOKEN.encode() + b"\x01\r\n\r\n"], {}),
    (Reason.PATH, {}, [SHAKE.replace(b"/ws", b"/wsx?access_token=" + TOKEN.encode()) + b"\r\n"], {"path": "/wsx"}),
    (Reason.SUBPROTOCOL, {}, [SHAKE + b"Sec-WebSocket-Protocol: chat\r\n\r\n"], {"detail": "1 offered"}),
    (
        Reason.HANDSHAKE_RATE,
        {"limits": {"handshakes_per_second": 0.001, "handshakes_burst": 1}},
        [SHAKE + b"Sec-WebSocket-Protocol: chat\r\n\r\n", SHAKE + b"\r\n"],
        {},
    ),
    (Reason.ORIGIN, {}, [SHAKE + b"Origin: https://evil.example\r\n\r\n"], {}),
    (
        Reason.TOKEN,
        {},
        [SHAKE + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"],
        {"detail": "the token is not a signed JWT"},
    ),
    (
        Reason.TOKEN,
        {},
        [SHAKE.replace(b"/ws", b"/ws?access_token=" + TOKEN.encode()) + b"\r\n"],
        {"detail": "the token is not a signed JWT"},
    ),
    (Reason.MALFORMED, {}, [b"\x16\x03\x01\x02\x00" + bytes(100)], {"detail": "not HTTP/1.1"}),
    (Reason.TOO_LARGE, {}, [GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n"], {}),
    (Reason.TOO_LARGE, {}, [b"GET /" + b"a" * 20_000], {"detail": "a URL has at most 8192 bytes"}),
    (
        Reason.TOO_LARGE,
        {"api": {"key": KEY, "body_bytes": 1024}},
        [API % (KEY.encode(), 2000, b"x" * 2000)],
        {"path": "/api/messages"},
    ),
    (Reason.PIPELINED, {}, [(GET.replace(b"close", b"keep-alive") + b"\r\n") * 3000], {}),
    (Reason.LATE, {}, [b"GET /hea"], {"detail": "the request did not come in time"}),
    (Reason.HOST, {}, [GET.replace(b"/health", b"/").replace(b"localhost", b"evil.example") + b"\r\n"], {"path": "/"}),
    (Reason.API_KEY, {"api": {"key": KEY}}, [API % (WRONG_KEY.encode(), 2, b"{}")], {"path": "/api/messages"}),
    (Reason.BODY, {"api": {"key": KEY}}, [API % (KEY.encode(), 2, b"{}")], {"method": "POST"}),
    (Reason.NOT_FOUND, {}, [GET.replace(b"/health", b"/" + b"x" * 999) + b"\r\n"], {"path": "/" + "x" * (LONGEST - 1)}),
    (Reason.METHOD, {}, [GET.replace(b"GET", b"PUT") + b"\r\n"], {"method": "PUT"}),
    (Reason.UPGRADE_REQUIRED, {}, [GET.replace(b"/health", b"/ws") + b"\r\n"], {"path": "/ws"}),
]
#: Those with a test of their own below.
OTHERS = {
    Reason.GONE,
    Reason.STOPPING,
    Reason.DESCRIPTORS,
    Reason.NO_PLACE,
    Reason.ADDRESS_UNIDENTIFIED,
    Reason.DRAINING,
    Reason.CONNECTIONS,
    Reason.ADDRESS_CONNECTIONS,
    Reason.UNTAKEN,
    Reason.INTERNAL,
}


def send(app: App, data: bytes, source: str = "127.0.0.1") -> bytes:
    """What comes back until the server closes."""
    answer = b""
    with socket.create_connection(("127.0.0.1", app.port), PATIENCE, (source, 0)) as raw, suppress(OSError):
        raw.sendall(data)
        while piece := raw.recv(65536):
            answer += piece
    return answer


async def told(app: App, log_lines: LogLines, reason: Reason, count: int = 1) -> dict[str, Any]:
    """The line of the only kind of refusal that there was; none of it shows a secret."""
    await until(lambda: app.node.refusals.counts[reason] >= count)
    assert {name: n for name, n in app.node.refusals.counts.items() if n} == {reason.value: count}
    assert samples(app.node)[f'syncline_refused_total{{reason="{reason.value}"}}'] == count
    assert not [line for secret in (KEY, WRONG_KEY, TOKEN) for line in log_lines(secret)]
    line, *more = log_lines("syncline.refused")
    assert len(more) == min(count, FEW + 1) - 1
    assert line["reason"] == reason.value and line["address"] == "127.0.0.1"
    return line


async def test_every_reason_is_there_from_the_first_scrape(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        found = samples(app.node)
    names = {f'syncline_refused_total{{reason="{reason.value}"}}' for reason in Reason}
    assert {name: n for name, n in found.items() if name.startswith("syncline_refused")} == dict.fromkeys(names, 0)
    assert found["syncline_descriptors_missing_total"] == 0


def test_every_reason_has_a_test() -> None:
    assert {reason for reason, *_ in CASES} | OTHERS == set(Reason)


def test_the_documentation_lists_every_reason_and_no_other() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text("utf-8")
    table = text.partition("| reason | what was refused |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines() if row for name in re.findall(r"\*?`(\w+)`\*?", row.split("|")[1])]
    assert sorted(listed) == sorted(reason.value for reason in Reason)


@pytest.mark.parametrize(
    ("reason", "config", "sent", "fields"), CASES, ids=[f"{n}-{case[0].value}" for n, case in enumerate(CASES)]
)
async def test_it_is_counted_and_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
    reason: Reason,
    config: dict[str, dict[str, Any]],
    sent: list[bytes],
    fields: dict[str, object],
) -> None:
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.3 if reason is Reason.LATE else PATIENCE)
    async with serving(tmp_path, **config) as app:
        for data in sent[:-1]:
            await asyncio.to_thread(send, app, data)
        app.node.refusals.counts.update(dict.fromkeys(app.node.refusals.counts, 0))
        log_lines()  # what was logged so far is written now, and not later
        log_lines.stream.truncate(0)
        log_lines.stream.seek(0)
        await asyncio.to_thread(send, app, sent[-1])
        line = await told(app, log_lines, reason)
        assert {name: line.get(name) for name in fields} == fields


async def test_the_last_descriptors_are_not_for_connections(tmp_path: Path, log_lines: LogLines) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with serving(tmp_path) as app:
        with socket.socket() as raw:
            resource.setrlimit(resource.RLIMIT_NOFILE, (raw.fileno() + 10, usual[1]))
            try:
                raw.setblocking(False)
                raw.connect_ex(("127.0.0.1", app.port))
                await until(lambda: app.node.refusals.counts["descriptors"])
                app.node.descriptors.look()
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        await told(app, log_lines, Reason.DESCRIPTORS)
        assert len(app.node.arrivals) == 0 and app.node.descriptors.missing == 0


def test_descriptors_that_run_out(tmp_path: Path) -> None:
    """In a real server: while there are few, who is refused is told; when there is none, that is."""
    with ServerProcess(tmp_path, {"server": {"demo": False}}) as server:
        open_files = len(os.listdir(f"/proc/{server.pid}/fd"))
        usual = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)

        def knock() -> bytes:
            try:
                with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as raw:
                    raw.sendall(b"GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return b"".join(iter(lambda: raw.recv(65536), b""))
            except OSError:
                return b""

        try:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (open_files + 8, usual[1]))
            assert knock() == b""
            wait_until(lambda: '"reason": "descriptors"' in server.log)
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, usual[1]))
            wait_until(lambda: "no descriptor is free" in server.log)
        finally:
            resource.prlimit(server.pid, resource.RLIMIT_NOFILE, usual)
        assert b'syncline_refused_total{reason="descriptors"} 1.0' in knock()
        assert b"syncline_descriptors_missing_total 0.0" not in knock()
        assert '"address": "127.0.0.1"' in server.log


@pytest.mark.parametrize(
    ("reason", "limits", "count"),
    [
        (Reason.NO_PLACE, {"connections": 1}, ALWAYS + 1),
        (Reason.ADDRESS_UNIDENTIFIED, {"address_unidentified": 2}, 3),
    ],
)
async def test_who_makes_room(
    tmp_path: Path, log_lines: LogLines, reason: Reason, limits: dict[str, int], count: int
) -> None:
    async with serving(tmp_path, limits=limits) as app:
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(socket.create_connection(("127.0.0.1", app.port), PATIENCE))
            line = await told(app, log_lines, reason)
            assert line["unidentified"] == count - 1


@pytest.mark.parametrize("reason", [Reason.DRAINING, Reason.CONNECTIONS, Reason.ADDRESS_CONNECTIONS])
async def test_handshakes_that_find_no_place(tmp_path: Path, log_lines: LogLines, reason: Reason) -> None:
    limit = {} if reason is Reason.DRAINING else {reason.value: 1}
    async with serving(tmp_path, limits=limit) as app, dial(app.url, name="Ada"):
        app.node.draining = reason is Reason.DRAINING
        answer = await asyncio.to_thread(send, app, SHAKE + b"\r\n")
        assert answer.startswith((b"HTTP/1.1 503 ", b"HTTP/1.1 429 "))
        await told(app, log_lines, reason)


async def test_an_answer_that_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(front, "ANSWER_SECONDS", 0.3)
    async with serving(tmp_path) as app:

        def takes_nothing() -> None:
            with socket.socket() as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.settimeout(PATIENCE)
                raw.connect(("127.0.0.1", app.port))
                raw.sendall(b"GET /syncline.js.map HTTP/1.1\r\nHost: localhost\r\n\r\n" * 12)
                wait_until(lambda: app.node.refusals.counts["untaken"])

        await asyncio.to_thread(takes_nothing)
        await told(app, log_lines, Reason.UNTAKEN)


async def test_a_fault_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines) -> None:
    def broken(*_: object) -> bytes:
        raise RuntimeError("inside")

    async with serving(tmp_path) as app:
        with monkeypatch.context() as patch:
            patch.setattr(app.node.metrics, "render", broken)
            assert b" 500 " in await asyncio.to_thread(send, app, GET.replace(b"/health", b"/metrics") + b"\r\n")
        assert (await told(app, log_lines, Reason.INTERNAL))["path"] == "/metrics"
        with monkeypatch.context() as patch:
            patch.setattr(app.node.arrivals, "full_for", broken)
            assert await asyncio.to_thread(send, app, SHAKE + b"\r\n") == b""
        await told(app, log_lines, Reason.INTERNAL, 2)
        [fault] = log_lines("a handshake failed")
        assert fault["address"] == "127.0.0.1" and "RuntimeError: inside" in fault["exception"]


PROXIED = [GET.replace(b"/health", b"/x"), SHAKE + b"Sec-WebSocket-Protocol: chat\r\n", GET + b"X: y\r\n" * 101]


@pytest.mark.parametrize("request_head", PROXIED)
@pytest.mark.parametrize("protocol", [False, True])
async def test_the_address_is_the_clients_behind_a_proxy(
    tmp_path: Path, log_lines: LogLines, protocol: bool, request_head: bytes
) -> None:
    config = {"trusted_proxies": ["127.0.0.1"], "proxy_protocol": protocol}
    header = b"PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\n" if protocol else b""
    line, rest = request_head.split(b"\r\n", 1)
    data = header + line + b"\r\nX-Forwarded-For: 203.0.113.7\r\n" + rest + b"\r\n"
    async with serving(tmp_path, server=config) as app:
        await asyncio.to_thread(send, app, data)
        await until(lambda: sum(app.node.refusals.counts.values()) == 1)
    [line_told] = log_lines("syncline.refused")
    assert line_told["address"] == ("203.0.113.9" if protocol else "203.0.113.7")


async def test_a_proxy_that_names_nobody(tmp_path: Path, log_lines: LogLines) -> None:
    async with serving(tmp_path, server={"trusted_proxies": ["127.0.0.1"]}) as app:
        await asyncio.to_thread(send, app, GET.replace(b"/health", b"/x") + b"\r\n")
    assert [line["address"] for line in log_lines("syncline.refused")] == ["unknown"]


async def test_a_hostile_client_drives_neither_the_log_nor_hides_others(tmp_path: Path, log_lines: LogLines) -> None:
    """200 wrong keys, 70 connections beyond the limit, 350 tokens: all are counted, a few are told, and so is everybody else."""
    wrong = API % (WRONG_KEY.encode(), 2, b"{}")
    async with serving(tmp_path, api={"key": KEY}, limits={"address_connections": 1}) as app:
        async with dial(app.url, name="Ada"):
            for count, data in ((200, wrong), (70, SHAKE + b"\r\n")):
                for _ in range(count):
                    await asyncio.to_thread(send, app, data)
        await until(lambda: not app.node.sessions.connections)
        for _ in range(350):
            await asyncio.to_thread(send, app, SHAKE + b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n")
        await asyncio.to_thread(send, app, wrong, "127.0.0.2")
        counts = {name: count for name, count in app.node.refusals.counts.items() if count}
        assert counts == {"api_key": 201, "address_connections": 70, "token": 350}
        assert app.node.counters.auth_failures == 350 and app.node.counters.address_refused == 70
    lines = log_lines("syncline.refused")
    written = [line for line in lines if "repeated" not in line]
    assert sum(line.get("repeated", 1) for line in lines) == 621
    assert len(written) == 3 * FEW + 1 and len(lines) == len(written) + 3
    assert [line["reason"] for line in written if line["address"] == "127.0.0.2"] == ["api_key"]
    assert not log_lines(TOKEN) and not log_lines(WRONG_KEY)


# -- requests on a connection, and connections that end ----------------------------------------------------------------


async def test_requests_that_are_refused(tmp_path: Path, log_lines: LogLines) -> None:
    async with serving(tmp_path, limits={"rooms": 1, "bad_requests_per_minute": 100}) as app:
        async with dial(app.url) as stranger, dial(app.url, name="Ada") as ada:
            assert await stranger.error("room:join", room="r") == "unauthenticated"
            assert await stranger.error("auth", token=TOKEN) == "token_invalid"
            assert await stranger.error("nonsense") == "unknown_event"
            assert await ada.error("auth:refresh", token=TOKEN) == "token_invalid"
            await ada.call("room:join", room="r")
            assert await ada.error("room:join", room="s") == "limit_exceeded"
            assert await ada.error("room:join", rom="s") == "invalid_data"
            assert await ada.error("message:send", room="s", data="what Ada says") == "not_a_member"
            assert app.node.counters.auth_failures == 2
        by_reason = {line["reason"]: line for line in log_lines("request refused")}
        assert by_reason.keys() == {
            "unauthenticated",
            "token_invalid",
            "unknown_event",
            "limit_exceeded",
            "invalid_data",
        }
        assert all(line["address"] == "127.0.0.1" and line["connection"] for line in by_reason.values())
        assert by_reason["unknown_event"]["detail"] == "no event 'nonsense'"
        limited = by_reason["limit_exceeded"]
        assert (limited["user"], limited["request"], limited["room"]) == (ada.user, "room:join", "s")
        assert "user" not in by_reason["unauthenticated"]
        assert not log_lines(TOKEN) and not log_lines("Ada says")


async def test_what_an_application_does_is_told_at_debug(tmp_path: Path, log_lines: LogLines) -> None:
    log_lines.all_of("debug")
    async with serving(tmp_path) as app, dial(app.url, name="Ada") as ada:
        assert await ada.error("message:send", room="s", data=1) == "not_a_member"
    [line] = log_lines("request refused")
    assert (line["level"], line["reason"], line["room"]) == ("debug", "not_a_member", "s")
    await until(lambda: not app.node.sessions.connections)
    [gone] = log_lines("is gone")
    assert gone["address"] == "127.0.0.1"
    assert [line["reason"] for line in log_lines("connection ended")] in ([], ["drain"])


def _overflow(app: App) -> None:
    for session in list(app.node.sessions.connections.values()):
        session.connection.give_up()


ENDS: dict[str, Callable[[App, RawClient], object]] = {
    "misbehaving": lambda app, raw: [raw.send("nonsense") for _ in range(4)],
    "authentication_timeout": lambda app, raw: None,
    "protocol_error": lambda app, raw: raw.socket.sendall(b"\xff\xff\xff\xff"),
    "invalid_utf8": lambda app, raw: raw.socket.sendall(frame(1, b"\xff")),
    "message_too_large": lambda app, raw: raw.socket.sendall(frame(1, b"x" * 5000)),
    "slow_consumer": lambda app, raw: app.node.loop.call_soon_threadsafe(_overflow, app),
}


@pytest.mark.parametrize("reason", ENDS)
async def test_connections_that_the_server_ends(tmp_path: Path, log_lines: LogLines, reason: str) -> None:
    timeout = 0.3 if reason == "authentication_timeout" else PATIENCE
    limits = {"bad_requests_per_minute": 3, "message_bytes": 4096}
    async with serving(tmp_path, limits=limits, auth={"timeout_seconds": timeout}) as app:

        def provoke() -> None:
            with RawClient(app.port) as raw:
                raw.handshake()
                ENDS[reason](app, raw)
                wait_until(lambda: app.node.counters.disconnects[reason])

        await asyncio.to_thread(provoke)
        await until(lambda: not app.node.sessions.connections)
    [line] = log_lines("connection ended")
    assert (line["reason"], line["address"], line["level"]) == (reason, "127.0.0.1", "warning")


async def test_wrong_tokens_on_one_connection(tmp_path: Path, log_lines: LogLines) -> None:
    async with serving(tmp_path, limits={"bad_requests_per_minute": 1000}) as app, dial(app.url) as eve:
        for _ in range(350):
            assert await eve.error("auth", token=TOKEN) == "token_invalid"
        assert app.node.counters.auth_failures == 350
    lines = log_lines("request refused: token_invalid")
    assert len(lines) == FEW + 1 and lines[-1]["repeated"] == 350 - FEW
    assert lines[-1]["most_of"] == lines[0]["address"] == "127.0.0.1"


async def test_messages_of_the_api_that_are_not_taken_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    body = b'{"rooms": ["r"], "data": 1}'
    async with serving(tmp_path, api={"key": KEY}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        monkeypatch.setattr(app.node.broker, "publish", lambda publication, done, once="": done(None, OSError("full")))
        assert b"fate_unknown" in await asyncio.to_thread(send, app, API % (KEY.encode(), len(body), body))
        assert app.node.counters.publish_failures == 1
    assert len(log_lines("publish to")) == 1


def test_disconnects_are_named() -> None:
    from syncline.core import errors

    ends = [value for value in vars(errors).values() if isinstance(value, Disconnect)]
    assert len({one.reason or str(one.code) for one in ends}) == len(ends), "each is a kind of line of its own"


async def test_a_refused_handshake_says_no_more_than_before(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with dial(app.url, additional_headers={"Authorization": f"Bearer {TOKEN}"}):
                pass
        assert refused.value.response.status_code == 401
