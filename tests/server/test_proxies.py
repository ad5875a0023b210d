"""Behind real proxies: whose a connection is, in the ways docs/operations.md tells to set them up."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path

import httpx
import pytest
import websockets

from syncline.server.app import App
from tests.serving import serving
from tests.waiting import PATIENCE, until

from .programs import haproxy, nginx
from .wsclient import dial

TRUSTED = {"trusted_proxies": ["127.0.0.1"]}


async def addresses(app: App, count: int) -> set[str]:
    await until(lambda: sum(1 for one in app.node.sessions.connections.values() if one.user) == count)
    return {session.address for session in app.node.sessions.connections.values()}


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
                sessions = {one.name: one for one in app.node.sessions.connections.values()}
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
                assert {one.name: one for one in app.node.sessions.connections.values()} == sessions


@pytest.mark.parametrize("proxy", IDLE)
async def test_who_is_idle_is_cut_off_by_one_that_does_not(tmp_path: Path, proxy: str) -> None:
    """That the timeouts of the test above are in force."""
    async with serving(tmp_path, server=TRUSTED, limits={"ping_seconds": 60.0}) as app:
        with impatient(proxy, 1, tmp_path, app) as url:
            async with dial(url, name="Ada", ping_interval=None) as ada:
                assert (await ada.closed())[0] == 1006
            await until(lambda: not app.node.sessions.connections)
