"""What is said on a connection, and Socket.IO's part of it against a small server that speaks the same."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from syncline.load import dialects
from syncline.load.dialects import DIALECTS, Client
from syncline.load.ledger import Ledger
from syncline.load.work import Work, run

CLIENT = Client("team", "ada", "a token")


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("size", [35, 128, 200, 70_000])
def test_a_frame_is_what_stands_around_its_payload(name: str, size: int) -> None:
    dialect = DIALECTS[name]
    payload = Ledger(1, 1, 1, size).message(0, 0)
    before, after = dialect.frame("team", payload)
    lead, trail = dialect.around(size)
    whole = before + payload + after
    assert before.endswith(lead) and after.startswith(trail)
    if name == "syncline-msgpack":
        assert msgspec.msgpack.decode(whole)["data"] == {"room": "team", "data": payload.decode()}
    elif name in {"syncline-json", "envelope"}:
        assert json.loads(whole) == {"event": "message:send", "data": {"room": "team", "data": payload.decode()}}
    elif name == "plain":
        assert whole == payload
    else:
        assert whole == b"42" + json.dumps(["message", payload.decode()], separators=(",", ":")).encode()


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize("offset", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**50])
def test_a_position_is_read_from_a_message(codec: str, offset: int) -> None:
    dialect = DIALECTS[f"syncline-{codec}"]
    decode: Any = msgspec.json.decode if codec == "json" else msgspec.msgpack.decode
    encode: Any = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
    assert dialect.recovery is not None
    recovery = dialect.recovery()
    assert recovery.greeting(3, CLIENT, b"") is None
    joined = {"event": "room:joined", "result": {"position": {"offset": 7, "epoch": "e1"}}}
    recovery.heard(3, encode([{"event": "auth:accepted", "result": {}}, joined]), b"")
    message = encode({"event": "message:received", "data": {"room": "team", "offset": offset, "epoch": "e1"}})
    position = message.partition(dialect.position_key)[2][:40]
    for seen, wanted in ((position, offset), (b"", 7)):
        greeting = recovery.greeting(3, CLIENT, seen)
        assert greeting is not None
        auth, join = decode(greeting[0][1])
        assert auth["data"] == {"token": "a token"}
        assert join["data"] == {"room": "team", "recover": {"offset": wanted, "epoch": "e1"}}
    # A join in another epoch counts, not what was read before it.
    joined["result"] = {"position": {"offset": 1, "epoch": "e2"}}
    recovery.heard(3, encode(joined), position)
    greeting = recovery.greeting(3, CLIENT, position)
    assert greeting is not None
    assert decode(greeting[0][1])[1]["data"]["recover"] == {"offset": 1, "epoch": "e2"}


def test_a_session_of_socket_io_is_taken_up() -> None:
    recovery = dialects._Sessions()
    assert recovery.greeting(0, CLIENT, b'7"]') is None
    recovery.heard(0, b'40{"sid":"a","pid":"secret"}', b"")
    assert recovery.greeting(0, CLIENT, b"") is None
    greeting = recovery.greeting(0, CLIENT, b'x7"]')
    assert greeting is not None
    assert greeting[0] == (b'0{"', b'40{"pid":"secret","offset":"x7"}')
    assert greeting[1:] == dialects.SOCKETIO.greeting(CLIENT, False)[1:]


class SocketIo:
    """Engine.IO 4 and Socket.IO 5, as much as the generator uses; it insists on pongs."""

    def __init__(self) -> None:
        self.members: list[ServerConnection] = []
        self.pongs = 0

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert connection.request.path == "/socket.io/?EIO=4&transport=websocket"
        await connection.send('0{"sid":"s","pingInterval":100}')
        assert await connection.recv() == "40"
        await connection.send('40{"sid":"t"}')
        assert json.loads(str(await connection.recv())[2:]) == ["join", "bench-0"]
        await connection.send('42["joined"]')
        self.members.append(connection)
        await connection.send("2")
        try:
            async for message in connection:
                if message == "3":
                    self.pongs += 1
                    continue
                assert json.loads(str(message)[2:])[0] == "message"
                for member in self.members:
                    await member.send(message)
        except ConnectionClosed:
            pass


async def test_socket_io() -> None:
    server = SocketIo()
    async with serve(server, "127.0.0.1", 0, compression=None) as listening:
        url = f"ws://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        work = Work("rounds", url, "socketio", members=3, seconds=0.3, warmup=0, timeout=10)
        report = await asyncio.to_thread(run, work)
    assert not any(report["verified"].values()), report
    assert report["measured"]["published"] > 1
    assert server.pongs == 3
