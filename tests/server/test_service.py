"""A node as a service: signals, reloading, sockets that outlive a process, and what systemd is told. Real processes."""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest

import syncline
from syncline.client import connect
from syncline.server.backends.jwt import JwtAuth
from syncline.server.config.docs import markdown
from syncline.server.config.keys import KEYS, Key
from syncline.server.config.load import ConfigError
from syncline.server.config.reload import plan
from syncline.server.config.schema import AuthConfig, Config, ServerConfig
from syncline.server.process.sockets import ListenError, bind
from tests.harness import ServerProcess
from tests.project import ROOT
from tests.waiting import PATIENCE, until, wait_until

from .wsclient import dial

SECRETS = ["0" * 32, "1" * 32]


def status_of(server: ServerProcess, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> int:
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        link.request(method, path, headers=headers or {}, body=b"{}" if method == "POST" else None)
        return link.getresponse().status
    finally:
        link.close()


def upgraded(server: ServerProcess) -> socket.socket:
    """A WebSocket that says nothing any more, not even goodbye."""
    silent = socket.create_connection(("127.0.0.1", server.port))
    silent.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    assert silent.recv(4096).startswith(b"HTTP/1.1 101")
    return silent


async def said(server: ServerProcess, text: str, times: int = 1) -> None:
    await until(lambda: server.log.count(text) >= times)


# Reloading ----------------------------------------------------------------------------------------------------------


async def test_hup_reads_the_configuration_again(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"limits": {"rooms": 1}, "log": {"level": "info"}}) as server:
        async with dial(server.url, name="Ada") as ada:
            await ada.call("room:join", room="a")
            assert await ada.error("room:join", room="b") == "limit_exceeded"
            assert status_of(server, "/api/messages", method="POST") == 404
            server.configure(
                {"limits": {"rooms": 2, "ping_seconds": 30}, "api": {"key": "k" * 24}, "log": {"level": "debug"}}
            )
            server.signal(signal.SIGHUP)
            await said(
                server,
                "was reloaded: from now on holds limits.rooms, log.level, api.key; needs a restart: limits.ping_seconds;",
            )
            await ada.call("room:join", room="b")  # she is still there
            assert await ada.error("room:join", room="c") == "limit_exceeded"
            assert status_of(server, "/api/messages", method="POST") == 401
            assert status_of(server, "/api/messages", {"authorization": "Bearer " + "k" * 24}, "POST") == 400
            async with dial(server.url, name="Bob"):
                pass
            await said(server, '"level": "debug"')

            server.configure({"limits": {"rooms": 3, "queue_bytes": 1024}})
            server.signal(signal.SIGHUP)
            await said(server, "the configuration was not reloaded, the old one holds")
            assert await ada.error("room:join", room="c") == "limit_exceeded"
            text = http_get(server, "/metrics")
            assert 'syncline_config_reloads_total{outcome="applied"} 1.0' in text
            assert 'syncline_config_reloads_total{outcome="refused"} 1.0' in text


def http_get(server: ServerProcess, path: str) -> str:
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        link.request("GET", path)
        return link.getresponse().read().decode()
    finally:
        link.close()


async def test_the_newest_file_holds_however_often_it_is_asked_for(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        for number in range(30):
            server.configure({"limits": {"rooms": 2 + number % 7}})
            server.signal(signal.SIGHUP)
        server.configure({"limits": {"rooms": 1}})
        server.signal(signal.SIGHUP)
        async with dial(server.url, name="Ada") as ada, asyncio.timeout(PATIENCE):
            await ada.call("room:join", room="a")
            while "error" not in await ada.ask("room:join", room="b"):
                await ada.call("room:leave", room="b")


async def test_a_new_secret_holds_at_once_and_sends_nobody_away(tmp_path: Path) -> None:
    old, new = (JwtAuth(AuthConfig(mode="jwt", secret=secret)).issue("ada", "", ttl=600) for secret in SECRETS)
    with ServerProcess(tmp_path, {"auth": {"mode": "jwt", "secret": SECRETS[0]}}) as server:
        async with await connect(server.ws_url, token=old) as ada:
            server.configure({"auth": {"secret": SECRETS[1]}})
            server.signal(signal.SIGHUP)
            await said(server, "was reloaded: from now on holds auth.secret;")
            assert SECRETS[0] not in server.log and SECRETS[1] not in server.log
            async with await connect(server.ws_url, token=new) as other:
                assert other.user == ada.user
            with pytest.raises(Exception, match="signature"):
                await connect(server.ws_url, token=old)
            assert ada.state == "open"


async def test_rates_of_users_hold_for_those_who_are_there(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        async with await connect(server.ws_url, name="Ada") as ada, dial(server.url, token=ada.token) as before:
            server.configure({"limits": {"user_requests_per_second": 0.01, "user_requests_burst": 3}})
            server.signal(signal.SIGHUP)
            await said(server, "was reloaded: from now on holds limits.user_requests_per_second")
            async with dial(server.url, token=ada.token) as after:
                answers = [await one.ask("ping") for one in (before, after, before, after, before)]
            assert ["error" in answer for answer in answers] == [False, False, False, True, True]


async def test_more_connections_are_more_descriptors(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"limits": {"connections": 10}, "server": {"backlog": 16}}, files=4096) as server:
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (256, hard))
        server.configure({"limits": {"connections": 1000}})
        server.signal(signal.SIGHUP)
        await said(server, "was reloaded: from now on holds limits.connections;")
        assert "syncline_connections_limit 1000.0" in http_get(server, "/metrics")
        server.configure({"limits": {"connections": 100_000}})
        server.signal(signal.SIGHUP)
        await said(server, "limits.connections is 100000, but this process may open 4096 files")


async def test_what_cannot_be_read_again_changes_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, {"limits": {"rooms": 1}}) as server:

        async def refused(why: str) -> None:
            server.signal(signal.SIGHUP)
            await said(server, f"the old one holds: the configuration has an error:\\n  {server.config_path}: {why}")

        os.rename(server.config_path, tmp_path / "old")
        await refused("cannot be read: No such file or directory")
        os.mkfifo(server.config_path)  # nobody writes into it
        await refused("is no file that can be read again")
        os.remove(server.config_path)
        os.mkdir(server.config_path)
        await refused("cannot be read: Is a directory")
        os.rmdir(server.config_path)
        server.config_path.write_text("# = nothing yet\n[limits]\n")
        await refused("has no setting at all; if the defaults are meant, restart")
        server.config_path.write_text("#" * 2**20 + "\n")
        await refused("has more than 1048576 bytes: that is no configuration")
        async with dial(server.url, name="Ada") as ada:
            await ada.call("room:join", room="a")
            assert await ada.error("room:join", room="b") == "limit_exceeded"


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.path)
def test_each_key_holds_at_once_or_waits(key: Key) -> None:
    running, read = Config(), Config()
    value: object = {"str": "x" * 40, "bool": not key.default, "list[str]": ["example.org"]}.get(key.type)
    if key.choices:
        value = next(choice for choice in key.choices if choice != key.default)
    elif key.low is not None and key.high is not None:
        value = type(key.default)(key.low if key.low != key.default else key.high)
    section = getattr(running, key.section)
    read.swap(replace(read, **{key.section: replace(getattr(read, key.section), **{key.name: value})}))
    try:
        reload = plan(running, read)
    except ConfigError:
        assert getattr(section, key.name) == key.default  # alone it contradicts others
        return
    assert (reload.changed, reload.waiting) == (((), (key,)) if key.restart else ((key,), ()))
    running.swap(reload.config)
    assert getattr(section, key.name) == key.default, "who has read a section has what it was"
    assert getattr(getattr(running, key.section), key.name) == (key.default if key.restart else value)


def test_nobody_keeps_a_section() -> None:
    """It would be the one of before after a reload. What is made anew then may (backends/jwt.py), and so may what runs once."""
    kept = re.compile(
        rf"self\.\w+(?:: \w+)? = (?:\w+\.)*\w*config\.(?:{'|'.join({key.section for key in KEYS.values()})})$",
        re.MULTILINE,
    )
    assert kept.search("x\n    self._limits = context.config.limits\n") and kept.search("self.a: B = self._config.auth")
    folder = ROOT / "src" / "server"
    found = [path.name for path in folder.rglob("*.py") if kept.search(path.read_text("utf-8"))]
    assert not found


def test_what_needs_a_restart_is_said_in_the_documentation() -> None:
    waiting = {key.path for key in KEYS.values() if key.restart}
    assert {"server.port", "store.path", "broker.backend", "log.format"} < waiting
    assert not {"limits.rooms", "auth.secret", "server.allowed_origins", "log.level", "documents.max_length"} & waiting
    assert markdown().count("Needs a restart.") == len(waiting)


def test_what_contradicts_what_waits_is_refused_whole() -> None:
    running = Config()
    read = replace(running, server=replace(running.server, proxy_protocol=True, trusted_proxies=["10.0.0.0/8"]))
    assert [key.path for key in plan(running, read).waiting] == ["server.proxy_protocol"]
    running.swap(read)
    with pytest.raises(ConfigError, match="proxy_protocol"):
        plan(running, Config())
    assert running.server.trusted_proxies == ["10.0.0.0/8"]


# The garbage collector ------------------------------------------------------------------------------------------------


async def test_a_large_content_is_made_without_looking_for_garbage_all_the_time(tmp_path: Path) -> None:
    def collections() -> float:
        page = http_get(server, "/metrics")
        return float(page.split('python_gc_collections_total{generation="0"} ')[1].split()[0])

    with ServerProcess(tmp_path) as server:
        async with await connect(server.ws_url, name="ada") as client:
            rows = [{"insert": f"row {number} ", "attributes": {"row": number}} for number in range(20_000)]
            await client.create_document("large", type="rich-text", content=rows)
            before = await asyncio.to_thread(collections)
            document = await client.document("large", type="rich-text")
            assert len(document.content) == len(rows)
            assert (
                await asyncio.to_thread(collections) - before < 20
            )  # the interpreter's thresholds: two for each thousand rows


# Signals ------------------------------------------------------------------------------------------------------------


async def test_no_signal_but_those_to_end_it_ends_it(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.signal(signal.SIGUSR1)
        await said(server, "0 connections, 0 users, 0 rooms, 0 documents")
        server.signal(signal.SIGHUP)
        await said(server, "was reloaded: from now on holds nothing new; needs a restart: nothing new;")
        server.signal(signal.SIGTERM)
        await said(server, "stopping")
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2):
            if server.running:
                server.signal(number)
        assert server.ended() == 0


async def test_no_signal_ends_it_while_it_starts_again(tmp_path: Path) -> None:
    """Also while there is no event loop, and no interpreter yet."""
    with ServerProcess(tmp_path) as server:
        server.signal(signal.SIGUSR2)
        while server.log.count("listening on") < 4 and server.running:
            for number in (signal.SIGHUP, signal.SIGUSR1):
                server.signal(number)
            await asyncio.sleep(0.002)
        assert server.running, server.ended()
        assert status_of(server, "/health") == 200


async def test_what_is_asked_for_while_it_starts_is_done(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path)
    server.start([signal.SIGHUP, signal.SIGUSR1])
    try:
        await said(server, "was reloaded: from now on holds nothing new")
        await said(server, "0 connections, 0 users")
    finally:
        server.stop()


async def test_who_is_to_end_while_it_starts_ends_in_order(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with pytest.raises(RuntimeError, match=r"did not start \(exit code 0\)"):
            ServerProcess(tmp_path).start([number])


async def test_who_is_to_end_while_it_drains_to_start_again_ends(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        silent = upgraded(server)
        server.signal(signal.SIGUSR2)
        await said(server, "draining 1 connections")
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.ended) == 0
        silent.close()


async def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    """Also when the store does not answer."""
    server = ServerProcess(tmp_path)
    server.start()
    async with dial(server.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await ada.send(
            {"event": "document:operation", "data": {"document": "d", "seq": 1, "revision": 0, "operation": ["x"]}}
        )
        await ada.push("document:operation")
        with sqlite3.connect(tmp_path / "syncline.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            server.signal(signal.SIGTERM)
            await said(server, "stopping")
            server.signal(signal.SIGTERM)
            assert await asyncio.to_thread(server.ended) == -signal.SIGTERM
        other.close()
    assert "a second signal: ending at once" in server.log
    with server:
        async with dial(server.url, name="Ada") as ada:
            assert (await ada.call("document:join", document="d", client="b"))["text"] == "x"


async def test_a_node_without_others_spreads_nobody(tmp_path: Path) -> None:
    """There is nowhere else to go: an hour to leave is not taken."""
    with ServerProcess(tmp_path, {"server": {"drain_seconds": 3600}}) as server:
        async with dial(server.url, name="Ada") as ada, dial(server.url, name="Bob"):
            server.signal(signal.SIGTERM)
            assert (await ada.closed())[0] == 4000
            assert await asyncio.to_thread(server.ended) == 0


async def test_ready_says_no_before_the_port_is_closed(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        # One that does not say goodbye: the node waits a second for it.
        silent = upgraded(server)
        assert status_of(server, "/ready") == 200
        server.signal(signal.SIGTERM)
        await said(server, "draining 1 connections")
        assert status_of(server, "/ready") == 503
        assert status_of(server, "/health") == 200
        silent.close()
        assert await asyncio.to_thread(server.ended) == 0


# Sockets that outlive a process -------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(128)
        yield one


async def test_who_comes_while_no_process_is_there_waits(tmp_path: Path, listener: socket.socket) -> None:
    server = ServerProcess(tmp_path, listener=listener)
    with server:
        assert server.port == listener.getsockname()[1] and status_of(server, "/health") == 200
        assert server.stop() == 0
        asked = asyncio.ensure_future(asyncio.to_thread(status_of, server, "/health"))
        await asyncio.sleep(0)
        server.start()
        assert await asked == 200


def test_what_was_handed_over_must_be_a_socket_that_listens(tmp_path: Path) -> None:
    with socket.socket() as one, socket.socket(socket.AF_UNIX) as local:
        one.bind(("127.0.0.1", 0))
        local.bind(str(tmp_path / "s"))
        local.listen()
        for given, why in ((one, "no TCP socket that listens"), (local, "no TCP socket that listens")):
            with pytest.raises(RuntimeError, match=f"descriptor 3 of LISTEN_FDS is {why}"):
                ServerProcess(tmp_path, listener=given).start()


async def test_usr2_starts_again_and_refuses_nobody(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        pid = server.pid
        over, refused, answers = threading.Event(), [], 0

        def ask() -> None:
            nonlocal answers
            while not over.is_set():
                try:
                    answers += status_of(server, "/health") == 200
                except OSError as error:
                    refused.append(error)

        asking = [threading.Thread(target=ask) for _ in range(3)]
        async with await connect(server.ws_url, name="Ada") as ada:
            room = await ada.join("team")
            for one in asking:
                one.start()
            for times in (2, 3):
                server.configure({"limits": {"ping_seconds": 20 + times}})  # what needs a restart
                before = answers
                server.signal(signal.SIGUSR2)
                await said(server, "listening on", 2 * times)  # in the log, and on standard output
                await until(lambda before=before: answers > before + 10)  # type: ignore[misc]
                await room.send(times)
            over.set()
            for one in asking:
                await asyncio.to_thread(one.join)
            assert not refused
            assert server.running and server.pid == pid
            server.config_path.write_text("[nonsense]\n")
            server.signal(signal.SIGUSR2)
            await said(server, "not starting again")
            await room.send("still here")
        assert status_of(server, "/health") == 200


async def test_usr2_goes_to_another_address(tmp_path: Path, listener: socket.socket) -> None:
    with ServerProcess(tmp_path) as server:
        old, taken = server.port, listener.getsockname()[1]
        async with await connect(server.ws_url, name="Ada") as ada:
            server.configure({"server": {"port": taken}})
            server.signal(signal.SIGUSR2)
            await said(server, f"not starting again: cannot listen on 127.0.0.1:{taken}: Address already in use")
            assert ada.state == "open"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        server.configure({"server": {"port": port}})
        server.signal(signal.SIGUSR2)
        await until(lambda: server.port == port)
        assert status_of(server, "/health") == 200
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", old))
        server.signal(signal.SIGHUP)
        await said(server, "was reloaded: from now on holds nothing new; needs a restart: nothing new;")


async def test_sockets_that_were_given_stay_whatever_the_configuration_says(
    tmp_path: Path, listener: socket.socket
) -> None:
    with ServerProcess(tmp_path, listener=listener) as server:
        await said(server, "server.host and server.port have no say")
        server.configure({"server": {"port": 1}})
        server.signal(signal.SIGUSR2)
        await said(server, "server.host and server.port have no say", 2)
        assert status_of(server, "/health") == 200
        assert server.stop() == 0
    with socket.create_connection(listener.getsockname()):
        pass  # who started the server has it still


async def test_its_own_sockets_are_its_own_in_its_next_life(tmp_path: Path) -> None:
    """Nobody else has them: the port stays open, and says 503, until the clients have gone."""
    with ServerProcess(tmp_path) as server:
        server.signal(signal.SIGUSR2)
        await said(server, "listening on", 4)
        silent = upgraded(server)
        server.signal(signal.SIGTERM)
        await said(server, "draining 1 connections")
        assert status_of(server, "/ready") == 503
        silent.close()
        assert await asyncio.to_thread(server.ended) == 0


async def test_what_would_not_start_is_not_begun(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        server = stack.enter_context(ServerProcess(tmp_path))
        ada = await stack.enter_async_context(await connect(server.ws_url, name="Ada"))
        (tmp_path / "key").write_text("no key")
        with closing(sqlite3.connect(tmp_path / "syncline.db")) as other, other:
            other.execute("INSERT INTO schema_version VALUES (99, 0)")
        server.signal(signal.SIGUSR2)
        await said(server, "not starting again: syncline: store: ")
        await said(server, "was written by a newer Syncline")
        with closing(sqlite3.connect(tmp_path / "syncline.db")) as other, other:
            other.execute("DELETE FROM schema_version WHERE version = 99")
        # Another version was put in its place, and is not whole.
        (tmp_path / "msgspec.py").write_text("raise ImportError('half a version')")
        server.signal(signal.SIGUSR2)
        await said(server, "not starting again: ImportError: half a version")
        assert ada.state == "open"
        (tmp_path / "msgspec.py").unlink()
        server.signal(signal.SIGUSR2)
        await said(server, "listening on", 4)


async def test_what_needs_a_pause_is_not_begun(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        server.restart()  # with the port that it has, said
        before = server.config_path.read_text("utf-8")
        for new, text in (
            ({"store": {"path": str(tmp_path / "other.db")}}, "another store.path is another server"),
            (
                {"server": {"host": "0.0.0.0"}},
                f"cannot listen on 0.0.0.0:{server.port}: Address already in use; if this one has it, stop it",
            ),
        ):
            server.configure(new)
            server.signal(signal.SIGUSR2)
            await said(server, f"not starting again: {text}")
            server.config_path.write_text(before, "utf-8")
            server.configure({"store": {"path": str(tmp_path / "syncline.db")}})
        assert not (tmp_path / "other.db").exists() and status_of(server, "/ready") == 200


@pytest.mark.parametrize("host", ["a..b", "x" * 300, "\u0661.1"])
def test_a_host_that_is_none_is_one_line(host: str) -> None:
    with pytest.raises(ListenError, match="cannot listen on ") as raised:
        bind(ServerConfig(host=host))
    assert "\n" not in str(raised.value)


async def test_a_store_that_does_not_work_any_more_is_not_begun_with(tmp_path: Path) -> None:
    with ServerProcess(tmp_path) as server:
        assert status_of(server, "/ready") == 200  # what it is told a moment ago does not count
        (tmp_path / "syncline.db").rename(tmp_path / "away.db")
        server.signal(signal.SIGUSR2)
        await said(server, "not starting again: store: no answer")
        (tmp_path / "away.db").rename(tmp_path / "syncline.db")
        server.signal(signal.SIGUSR2)
        await said(server, "listening on", 4)


def test_a_look_changes_nothing(tmp_path: Path) -> None:
    with ServerProcess(tmp_path):
        pass
    arguments = [sys.executable, "-m", "syncline", "serve", "--check"]
    environ = os.environ | {"PYTHONPATH": str(Path(syncline.__file__).parent.parent)}
    for path in (tmp_path / "syncline.db", tmp_path / "none.db", tmp_path / "pipe", tmp_path / "circle"):
        if path.name == "pipe":
            os.mkfifo(path)
        elif path.name == "circle":
            path.symlink_to(path)
        before = {one: (one.lstat().st_mtime_ns, one.lstat().st_size) for one in tmp_path.iterdir()}
        environ["SYNCLINE_STORE__PATH"] = str(path)
        done = subprocess.run(
            arguments, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        good = path.name in ("syncline.db", "none.db")
        assert done.returncode == (0 if good else 1), done.stderr
        assert len(done.stderr.splitlines()) == (0 if good else 1), done.stderr
        assert {one: (one.lstat().st_mtime_ns, one.lstat().st_size) for one in tmp_path.iterdir()} == before


# systemd ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_how_it_is(tmp_path: Path, abstract: bool) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        address = f"@syncline-{os.getpid()}" if abstract else str(tmp_path / "notify")
        systemd.bind(address.replace("@", "\0") if abstract else address)
        systemd.settimeout(60)
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "300000"}

        def told(what: str) -> str:
            while what not in (text := systemd.recv(4096).decode()):
                assert text in ("WATCHDOG=1", "EXTEND_TIMEOUT_USEC=20000000")
            return text

        with ServerProcess(tmp_path, environ=environ) as server:
            assert told("READY=1") == f"READY=1\nSTATUS=listening on {server.url}"
            for _ in range(3):
                assert systemd.recv(4096) == b"WATCHDOG=1"
            server.signal(signal.SIGHUP)
            assert "MONOTONIC_USEC=" in told("RELOADING=1")
            told("READY=1")
            server.signal(signal.SIGUSR2)
            told("RELOADING=1")
            told("READY=1")
            wait_until(lambda: server.running)
            server.signal(signal.SIGTERM)
            told("STOPPING=1")
            assert server.ended() == 0


def test_a_start_that_takes_long_is_no_hang(tmp_path: Path) -> None:
    """Another program has the database; or it is migrated, or a large log is read."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        server = ServerProcess(tmp_path, environ=environ)
        with server:
            pass
        while systemd.recv(4096) != b"STOPPING=1\nSTATUS=handing the clients over":
            pass
        with closing(sqlite3.connect(tmp_path / "syncline.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            starting = threading.Thread(target=server.start)
            starting.start()
            told = [systemd.recv(4096) for _ in range(6)]
            assert set(told) == {b"WATCHDOG=1", b"EXTEND_TIMEOUT_USEC=20000000"}
        starting.join()
        server.stop()


def test_without_a_systemd_that_listens_it_serves_all_the_same(tmp_path: Path) -> None:
    environ = {
        "NOTIFY_SOCKET": str(tmp_path / "nobody"),
        "WATCHDOG_USEC": "100000",
        "LISTEN_PID": "1",
        "LISTEN_FDS": "9",
    }
    with ServerProcess(tmp_path, environ=environ) as server:
        assert status_of(server, "/health") == 200


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")
def test_the_units_are_right_and_give_the_process_little(tmp_path: Path) -> None:
    units = ROOT / "examples" / "systemd"
    service = (units / "syncline.service").read_text()
    binary = tmp_path / "syncline"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    # systemd looks whether what it would start is there.
    (tmp_path / "syncline.service").write_text(service.replace("/opt/syncline/bin/syncline", str(binary)))
    shutil.copy(units / "syncline.socket", tmp_path)
    for arguments in (
        ["verify", str(tmp_path / "syncline.service"), str(tmp_path / "syncline.socket")],
        ["security", "--offline=true", "--threshold=15", str(tmp_path / "syncline.service")],
    ):
        done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ignoring" not in done.stderr
