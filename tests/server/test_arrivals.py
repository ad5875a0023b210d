"""Who comes in when there is no place, and HTTP within bounds: the registry alone, and the real server."""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.server.app import App
from syncline.server.limits.arrivals import ALWAYS, Arrivals, places
from syncline.server.limits.refusals import Refusals
from syncline.server.observe.log_repeats import FEW
from syncline.server.transports import front
from tests.harness import ServerProcess
from tests.loglines import LogLines
from tests.serving import Serve, serving
from tests.waiting import PATIENCE, until, wait_until

from .rawclient import RawClient
from .wsclient import dial


class Room:
    """An ``Arrivals`` and who was sent away from it."""

    def __init__(self, places: int) -> None:
        self.gone: list[int] = []
        self.refusals = Refusals()
        self.arrivals = Arrivals(places, self.refusals)

    def enter(self, *numbers: int, address: str = "") -> None:
        for number in numbers:
            self.arrivals.enter(number, lambda number=number: self.gone.append(number), address)  # type: ignore[misc]


def test_the_oldest_stranger_makes_room() -> None:
    room = Room(40)
    room.enter(*range(50))
    assert room.gone == list(range(10)) and len(room.arrivals) == 40
    for number in range(10, 40):
        room.arrivals.identified(number)
    room.enter(50)
    assert room.gone[10:] == [] and len(room.arrivals) == 41, "so many strangers there always may be"
    room.enter(*range(51, 60))
    assert room.gone[10:] == [40, 41, 42, 43] and room.arrivals.strangers == ALWAYS
    room.arrivals.heard(44)
    room.enter(60, 61)
    assert room.gone[14:] == [45, 46] and not room.arrivals.full
    for number in (44, *range(47, 56)):
        room.arrivals.identified(number)
    assert room.arrivals.full and room.arrivals.known == 40
    for number in range(10, 40):
        room.arrivals.left(number, identified=True)
    room.arrivals.left(46)  # was sent away, and its end is told later
    room.arrivals.left(61)
    assert (room.arrivals.known, len(room.arrivals), room.arrivals.dropped) == (10, 15, 16)


def test_the_address_that_has_most_makes_room() -> None:
    room = Room(40)
    room.enter(*range(5), address="a")
    room.enter(*range(100, 130), address="b")
    room.enter(*range(5, 10), address="a")
    assert room.gone == []
    room.enter(10, 11, address="a")
    assert room.gone == [100, 101]
    room.enter(*range(12, 27), address="a")
    # Both have 20 or so now: whichever reached it first, and never one that has fewer.
    assert len(room.gone) == 17 and sum(number < 100 for number in room.gone) in (5, 6, 7, 8)
    room.enter(200, address="c")
    assert 200 not in room.gone
    for number in [*range(27), *range(100, 130), 200]:
        room.arrivals.left(number)
    assert (len(room.arrivals), room.arrivals._groups, room.arrivals._levels) == (0, {}, [{}])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.sampled_from("abc")), max_size=200))
def test_the_groups_agree_whatever_happens(steps: list[tuple[int, int, str]]) -> None:
    room = Room(20)
    here: dict[int, str] = {}
    for kind, number, address in steps:
        if kind == 0 and number not in here:
            room.enter(number, address=address)
            here[number] = address
        elif kind == 1 and number in here:
            room.arrivals.heard(number)
        elif kind == 2 and number in here:
            room.arrivals.left(number)
            del here[number]
        for gone in room.gone:
            here.pop(gone, None)
        room.gone.clear()
        counts = Counter(here.values())
        assert {name: list(group) for name, group in room.arrivals._groups.items()}.keys() == counts.keys()
        assert {name: len(group) for name, group in room.arrivals._groups.items()} == counts
        levels = {name: level for level, names in enumerate(room.arrivals._levels) for name in names}
        assert levels == counts and len(room.arrivals._levels) == max(counts.values(), default=0) + 1
        assert room.arrivals.strangers == len(here) <= 20


def test_sent_away_while_it_says_who_it_is() -> None:
    room = Room(16)
    room.enter(*range(17))
    assert room.gone == [0]
    room.arrivals.identified(0)  # the store has just answered
    room.arrivals.left(0, identified=True)
    assert (room.arrivals.known, len(room.arrivals)) == (0, 16)


def test_it_is_said_and_counted(log_lines: LogLines) -> None:
    room = Room(16)
    room.enter(*range(100), address="192.0.2.1")
    told = log_lines("no place left")
    assert len(told) == FEW + 1 and told[-1]["repeated"] == 84 - FEW and told[-1]["most_of"] == "192.0.2.1"
    assert (told[0]["address"], told[0]["connections"], told[0]["unidentified"]) == ("192.0.2.1", 16, 16)
    assert room.arrivals.dropped == 84 == room.refusals.counts["no_place"]


def test_places_within_the_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, expected in {
        resource.RLIM_INFINITY: (19_000, 2048),
        65_536: (19_000, 2048),
        20_000: (19_000, 920),
        256: (144, 32),
        64: (1, 8),
    }.items():
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: (limit, limit))
        assert places(19_000, 2048) == expected
        assert limit == resource.RLIM_INFINITY or limit < 128 or sum(expected) + 80 <= limit


def request(app: App, data: bytes, *more: bytes, seconds: float = PATIENCE) -> bytes:
    """What comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", app.port), seconds) as raw:
        try:
            for piece in (data, *more):
                raw.sendall(piece)
        except OSError:
            pass  # it has closed already
        answer = b""
        try:
            while piece := raw.recv(65536):
                answer += piece
        except OSError:
            pass
        return answer


HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
KEY = b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"


REQUESTS = [
    (HEAD + b"X: " + b"a" * 15_000 + b"\r\n\r\n", 200),
    (HEAD + b"X: y\r\n" * 97 + b"\r\n", 200),
    (HEAD + b"\r\n", 200),
    (b"GET /health?" + b"a" * 8000 + HEAD[11:] + b"\r\n", 200),
    (HEAD + b"X: " + b"a" * 40_000_000, 431),
    (HEAD + b"X: " + b"a" * 17_500 + b"\r\n\r\n", 431),
    (HEAD + b"X: y\r\n" * 101 + b"\r\n", 431),
    (HEAD + b"X-" + b"a" * 1_000_000 + b": y\r\n\r\n", 431),
    (b"GET /" + b"a" * 40_000_000, 414),
    (b"GET /health?" + b"a" * 9000 + HEAD[11:] + b"\r\n", 414),
    (b"GET /ws?" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"\r\n", 414),
    (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"X: y\r\n" * 101 + b"\r\n", 431),
    (b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"X: " + b"a" * 40_000_000, 431),
    (b"\r\n" * 1_000_000, 431),
    (b"\x16\x03\x01\x02\x00" + b"\x00" * 100, 400),
    (b"GET / SPAM\r\n\r\n", 400),
    # Trailers and chunk extensions are not counted by the size of a body.
    (HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 1_000_000, 431),
    (HEAD.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n0\r\nT: " + b"e" * 1_000_000, 431),
    ((HEAD.replace(b"Connection: close", b"X: y") + b"\r\n") * 3000, 429),
]


async def test_what_a_request_may_be(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        for number, (data, status) in enumerate(REQUESTS):
            before = dict(app.node.counters.http_refused)
            answer = await asyncio.to_thread(request, app, data)
            found = [int(one) for one in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]
            assert found and found[-1] == status, (number, data[:80], answer[:300])
            expected = before if status == 200 else {**before, status: before[status] + 1}
            assert app.node.counters.http_refused == expected, (number, data[:80])
            assert status == 200 or b'{"error": {"code": ' in answer
            await until(lambda: len(app.node.arrivals) == 0)
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            assert (await client.get("/health")).status_code == 200


async def test_what_is_slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that does not end, lines without a request, a body that stands still, an answer that nobody takes."""
    monkeypatch.setattr(front, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(front, "ANSWER_SECONDS", 0.5)
    post = b"POST /api/messages HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer 0123456789abcdef\r\nContent-Length: 2000\r\n\r\n{"
    async with serving(tmp_path, api={"key": "0123456789abcdef"}) as app:
        for data in (b"GET /hea", HEAD, b"\r\n", HEAD + b"X: y", post, post + b" " * 100):
            answer = await asyncio.to_thread(request, app, data)
            assert answer.startswith(b"HTTP/1.1 408 "), (data, answer)

        # Little by little, but at its rate: taken.
        def steady() -> bytes:
            with socket.create_connection(("127.0.0.1", app.port), PATIENCE) as raw:
                body = b'{"rooms":["r"],"data":"' + b"x" * 3000 + b'"}'
                raw.sendall(
                    post[:-1].replace(b"2000", str(len(body)).encode()).replace(b"Host", b"Connection: close\r\nHost")
                )
                for start in range(0, len(body), 100):
                    raw.sendall(body[start : start + 100])
                    time.sleep(0.02)
                answer = b""
                while piece := raw.recv(65536):
                    answer += piece
                return answer

        assert (await asyncio.to_thread(steady)).startswith(b"HTTP/1.1 200 ")

        def takes_nothing() -> None:
            with socket.socket() as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.settimeout(PATIENCE)
                raw.connect(("127.0.0.1", app.port))
                raw.sendall(b"GET /codemirror.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 12)
                wait_until(lambda: len(app.node.arrivals))
                wait_until(lambda: not len(app.node.arrivals))

        async with asyncio.timeout(PATIENCE):
            await asyncio.to_thread(takes_nothing)
        assert len(app.node.arrivals) == 0


async def test_strangers_do_not_keep_clients_out(serve: Serve) -> None:
    """Half requests, silent connections, half handshakes and unauthenticated clients beyond all places."""
    async with serve(limits={"connections": 30}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("room:join", room="r")
        with ExitStack() as stack:
            for number in range(120):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", app.port), PATIENCE))
                raw.sendall(
                    (
                        b"",
                        b"GET /hea",
                        b"GET /ws HTTP/1.1\r\nHost",
                        b"GET /ws HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"\r\n",
                    )[number % 4]
                )
                await until(lambda due=number + 1: app.node.arrivals.dropped + app.node.arrivals.strangers == due)  # type: ignore[misc]
            assert len(app.node.arrivals) <= 30 and app.node.arrivals.dropped == 91
            async with dial(app.url, name="Bob") as bob:
                await bob.call("room:join", room="r")
                await ada.call("message:send", room="r", data=1)
                assert (await bob.push("message:received"))["data"] == 1
                assert app.node.arrivals.known == 2
                async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
                    text = (await client.get("/metrics")).text
                assert (
                    "syncline_connections_dropped_total 9" in text
                    and 'syncline_connections{codec="none",transport="http"}' in text
                )
        await until(lambda: len(app.node.arrivals) == 1)


async def test_all_places_are_clients(serve: Serve) -> None:
    async with serve(limits={"connections": 2}) as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob"):

        def knock() -> int:
            with RawClient(app.port) as client:
                client.handshake()
                return client.status

        assert await asyncio.to_thread(knock) == 503
        async with httpx.AsyncClient(base_url=app.url, trust_env=False) as client:
            assert (await client.get("/health")).status_code == 200
        assert await ada.call("ping") is not None
        await ada.socket.close()
        await until(lambda: not app.node.arrivals.full)
        async with dial(app.url, name="Cy") as cy:
            assert await cy.call("ping") is not None


async def test_few_files(tmp_path: Path) -> None:
    """More half requests at once than the process may open files: clients come in, and the operator is told why it is close."""
    server = ServerProcess(tmp_path, files=256)
    await asyncio.to_thread(server.start)
    try:
        with ExitStack() as stack:

            def half(count: int) -> None:
                for _ in range(count):
                    raw = stack.enter_context(socket.socket())
                    raw.setblocking(False)
                    raw.connect_ex(("127.0.0.1", server.port))
                    with suppress(OSError):
                        raw.send(b"GET /hea")

            for _ in range(3):
                await asyncio.to_thread(half, 400)
                async with dial(server.url, name="Ada") as ada:
                    await ada.call("room:join", room="r")
                    await asyncio.to_thread(half, 400)
                    assert (await ada.call("message:send", room="r", data=1))["offset"] >= 1
            async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
                text = (await client.get("/metrics")).text
            assert "syncline_connections_limit 144" in text
        assert "144 are taken" in server.log and "no place left" in server.log
    finally:
        assert await asyncio.to_thread(server.stop) == 0


async def test_a_refusal_is_not_written_into_an_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:

        def ask() -> bytes:
            with socket.socket() as raw:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                raw.settimeout(PATIENCE)
                raw.connect(("127.0.0.1", app.port))
                raw.sendall(b"GET /syncline.js.map HTTP/1.1\r\nHost: localhost\r\n\r\n" * 8)
                answer = raw.recv(100)
                with suppress(OSError):
                    raw.sendall(HEAD + b"X: " + b"a" * 20_000)
                with suppress(OSError):
                    while piece := raw.recv(65536):
                        answer += piece
                return answer

        answer = await asyncio.to_thread(ask)
        statuses = []
        while answer:
            head, _, rest = answer.partition(b"\r\n\r\n")
            statuses.append(head.split()[1])
            answer = rest[int(head.lower().split(b"content-length: ")[1].split()[0]) :]
        assert statuses == [b"200"] * (len(statuses) - 1) + [b"431"] and len(statuses) > 1
        await until(lambda: len(app.node.arrivals) == 0)


UPGRADE = b"GET %b HTTP/1.1\r\nHost: localhost\r\n" + KEY + b"\r\n"


def untaken(app: App, asked: bytes, then: bytes = b"") -> bytes:
    """Asks, sends ``then`` when the answer has begun, and takes nothing until the server has closed; then what there is."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", app.port))
        raw.sendall(asked)
        assert raw.recv(1, socket.MSG_PEEK)
        with suppress(OSError):
            raw.sendall(then)
        wait_until(lambda: not app.node.arrivals.strangers)
        answer = b""
        with suppress(OSError):
            while piece := raw.recv(65536):
                answer += piece
        return answer


@pytest.mark.parametrize("path", [b"/ws", b"/wsx"])
async def test_an_upgrade_waits_for_the_answers_before_it(
    tmp_path: Path, path: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an answer ends up in the WebSocket, or a writer waits for ever on a connection that nothing counts."""
    monkeypatch.setattr(front, "ANSWER_SECONDS", 0.2)
    async with serving(tmp_path) as app:
        await asyncio.to_thread(request, app, HEAD + b"\r\n")
        tasks = len(asyncio.all_tasks())
        for count in (1, 4):
            asked = b"GET /syncline.js.map HTTP/1.1\r\nHost: localhost\r\n\r\n" * count
            assert b"101 Switching" not in await asyncio.to_thread(untaken, app, asked, UPGRADE % path)
            assert app.node.sessions.connections == {}
        at_once = await asyncio.to_thread(
            request, app, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + UPGRADE % path
        )
        assert re.findall(rb"HTTP/1\.1 (\d+)", at_once) == [b"200", b"400"]
        await until(lambda: len(app.node.arrivals) == 0 and len(asyncio.all_tasks()) <= tasks)
        assert app.node.counters.connections["http", "none"] == 0


@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
async def test_an_answer_that_is_not_taken(tmp_path: Path, more: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all of it was handed to the transport."""
    monkeypatch.setattr(front, "ANSWER_SECONDS", 0.3)
    async with serving(tmp_path) as app:
        asked = b"GET /syncline.js.map HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n"
        assert (await asyncio.to_thread(untaken, app, asked)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "head",
    [
        UPGRADE.replace(b"Version: 13", b"Version: \xff") % b"/ws",
        UPGRADE.replace(b"Version: 13", b"Version: \xff") % b"/wsx",
        UPGRADE % b"//[",
    ],
)
async def test_handshakes_that_once_failed(tmp_path: Path, head: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(tmp_path) as app:
        answer = await asyncio.to_thread(request, app, head)
        assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ", b"HTTP/1.1 426 ")), answer
        await until(lambda: len(app.node.arrivals) == 0)
        assert app.node.counters.connections["http", "none"] == 0
    assert not [record for record in caplog.records if record.levelname == "ERROR"], caplog.text
