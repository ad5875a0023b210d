"""Behind real proxies: whose a connection is, in the ways docs/operations.md tells to set them up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import websockets

from syncline.server.app import App
from tests.serving import serving
from tests.waiting import PATIENCE, until, wait_until

from .wsclient import dial

OPERATIONS = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
#: Debian keeps them where only root looks.
SEARCH = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin"
TRUSTED = {"trusted_proxies": ["127.0.0.1"]}


def program(name: str) -> str:
    found = shutil.which(name, path=SEARCH)
    if found is None:
        pytest.skip(f"there is no {name}")
    return found


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(port: int, *command: str) -> Iterator[str]:
    """A proxy, until the end of the block; its URL."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    try:
        wait_until(lambda: accepts(port) or process.poll() is not None)
        if process.poll() is not None:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read().decode())
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextlib.contextmanager
def nginx(folder: Path, app: App, read_timeout: str = "") -> Iterator[str]:
    """With what docs/operations.md says; ``read_timeout``: another one."""
    found = re.search(r"```nginx\n(.*?)```", OPERATIONS.read_text("utf-8"), re.DOTALL)
    assert found is not None and "http://127.0.0.1:8000;" in found[1]
    port = free_port()
    locations = found[1].replace("127.0.0.1:8000", f"127.0.0.1:{app.port}")
    if read_timeout:
        assert "proxy_read_timeout 120s;" in locations
        locations = locations.replace("120s", read_timeout)
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; pid {folder}/nginx.pid; error_log stderr; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
  server {{ listen 127.0.0.1:{port}; {locations} }}
}}"""
    )
    with running(port, program("nginx"), "-c", str(config), "-p", str(folder)) as url:
        yield url


@contextlib.contextmanager
def haproxy(folder: Path, app: App, option: str, tunnel: str = "1h", idle: str = "1m") -> Iterator[str]:
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        f"""defaults
  mode {"http" if option == "forwardfor" else "tcp"}
  timeout connect 5s
  timeout client {idle}
  timeout server {idle}
  {f"timeout tunnel {tunnel}" if tunnel else ""}
  {"option forwardfor" if option == "forwardfor" else ""}
frontend in
  bind 127.0.0.1:{port}
  default_backend syncline
backend syncline
  server node 127.0.0.1:{app.port} {"" if option == "forwardfor" else option}
"""
    )
    with running(port, program("haproxy"), "-f", str(config), "-db") as url:
        yield url


async def addresses(app: App, count: int) -> set[str]:
    await until(lambda: sum(1 for one in app.node.hub.sessions.values() if one.user) == count)
    return {session.address for session in app.node.hub.sessions.values()}


def source(address: str, url: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])), PATIENCE, (address, 0))


@pytest.mark.parametrize("proxy", ["nginx", "forwardfor", "send-proxy", "send-proxy-v2"])
async def test_clients_are_told_apart_behind(tmp_path: Path, proxy: str) -> None:
    config = {**TRUSTED, "proxy_protocol": proxy.startswith("send")}
    async with serving(tmp_path, server=config, limits={"address_connections": 1}) as app:
        with nginx(tmp_path, app) if proxy == "nginx" else haproxy(tmp_path, app, proxy) as url:
            async with (
                dial(url, name="Ada", sock=source("127.0.0.2", url)) as ada,
                dial(url, name="Bob", sock=source("127.0.0.3", url)) as bob,
            ):
                assert await addresses(app, 2) == {"127.0.0.2", "127.0.0.3"}
                for client in (ada, bob):
                    await client.call("room:join", room="r")
                await ada.call("message:send", room="r", data="hello")
                assert (await bob.push("message:received"))["data"] == "hello"
                with pytest.raises(websockets.InvalidStatus) as refused:
                    async with dial(url, sock=source("127.0.0.3", url)):
                        pass
                assert refused.value.response.status_code == 429
                async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                    assert (await client.get("/health")).status_code == 200
        await until(lambda: len(app.node.arrivals) == 0)


async def test_a_proxy_that_is_not_trusted_is_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as app:
        with nginx(tmp_path, app) as url:
            async with dial(url, name="Ada", sock=source("127.0.0.2", url)):
                assert await addresses(app, 1) == {"127.0.0.1"}


# -- what is idle ------------------------------------------------------------------------------------------------------

#: Each with a timeout of so many seconds for connections on which nothing goes: in both directions, or in either.
IDLE = ["nginx", "haproxy", "haproxy, each direction"]


def impatient(proxy: str, seconds: int, folder: Path, app: App) -> contextlib.AbstractContextManager[str]:
    if proxy == "nginx":
        return nginx(folder, app, read_timeout=f"{seconds}s")
    if proxy == "haproxy":
        return haproxy(folder, app, "forwardfor", tunnel=f"{seconds}s")
    return haproxy(folder, app, "forwardfor", tunnel="", idle=f"{seconds}s\n  option independent-streams")


@pytest.mark.parametrize("proxy", IDLE)
async def test_who_is_idle_is_kept_by_a_proxy_that_waits_longer_than_ping_seconds(tmp_path: Path, proxy: str) -> None:
    """However long a pong may take; also one that only says things, or is only told them."""
    limits = {"ping_seconds": 1.0, "pong_timeout_seconds": 60.0}
    async with serving(tmp_path, server=TRUSTED, limits=limits) as app:
        with impatient(proxy, 3, tmp_path, app) as url:
            async with (
                dial(url, name="Silent", ping_interval=None) as silent,
                dial(url, name="Says", ping_interval=None) as says,
                dial(url, name="Told", ping_interval=None) as told,
            ):
                sessions = {one.name: one for one in app.node.hub.sessions.values()}
                began, sent = app.node.clock.monotonic(), app.node.pings.sent
                while (
                    app.node.clock.monotonic() < began + 5.5
                ):  # a ping, and more than the patience of the proxy after it
                    await says.send({"event": "ping"})  # without an id: there is no answer
                    sessions["Told"].push("event:custom", {"name": "n", "data": 1})
                    await asyncio.sleep(0.2)
                assert app.node.pings.sent > sent
                for one in (silent, says, told):
                    assert (await one.call("ping"))["time"] > 0
                assert {one.name: one for one in app.node.hub.sessions.values()} == sessions


@pytest.mark.parametrize("proxy", IDLE)
async def test_who_is_idle_is_cut_off_by_one_that_does_not(tmp_path: Path, proxy: str) -> None:
    """That the timeouts of the test above are in force."""
    async with serving(tmp_path, server=TRUSTED, limits={"ping_seconds": 60.0}) as app:
        with impatient(proxy, 1, tmp_path, app) as url:
            async with dial(url, name="Ada", ping_interval=None) as ada:
                assert (await ada.closed())[0] == 1006
            await until(lambda: not app.node.hub.sessions)
