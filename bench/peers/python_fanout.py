"""A peer's server in Python for bench/fanout.py, as its documentation shows it, on uvloop: prints the port it listens on.

    python python_fanout.py websockets | python-socketio [PORT]

`websockets` speaks the plain protocol of fanout.mjs: the first message names the room and is answered by "joined", each
later one is published to the room as it is (by the library's own ``broadcast``). Neither compresses.
"""

from __future__ import annotations

import asyncio
import importlib
import socket
import sys
from typing import Any

import uvloop


def listening(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(2048)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    return listener


async def with_websockets(port: int) -> None:
    server: Any = importlib.import_module("websockets.asyncio.server")
    closed: Any = importlib.import_module("websockets.exceptions").ConnectionClosed
    rooms: dict[Any, set[Any]] = {}

    async def serve(member: Any) -> None:
        room: set[Any] | None = None
        try:
            room = rooms.setdefault(await member.recv(), set())
            room.add(member)
            await member.send("joined")
            async for message in member:
                server.broadcast(room, message)
        except closed:
            pass
        finally:
            if room is not None:
                room.discard(member)

    async with server.serve(serve, sock=listening(port), compression=None) as running:
        await running.serve_forever()


async def with_socketio(port: int) -> None:
    socketio: Any = importlib.import_module("socketio")
    uvicorn: Any = importlib.import_module("uvicorn")
    server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])
    rooms: dict[str, str] = {}

    async def join(client: str, room: str) -> None:
        rooms[client] = room
        await server.enter_room(client, room)
        await server.emit("joined", to=client)

    async def message(client: str, data: Any) -> None:
        await server.emit("message", data, room=rooms[client])

    def disconnect(client: str, *_: Any) -> None:
        rooms.pop(client, None)

    for name, handler in (("join", join), ("message", message), ("disconnect", disconnect)):
        server.on(name, handler)
    settings = uvicorn.Config(
        socketio.ASGIApp(server),
        log_level="error",
        lifespan="off",
        ws="websockets-sansio",
        ws_per_message_deflate=False,
    )
    await uvicorn.Server(settings).serve([listening(port)])


if __name__ == "__main__":
    serving = {"websockets": with_websockets, "python-socketio": with_socketio}[sys.argv[1]]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving(int(sys.argv[2]) if len(sys.argv) > 2 else 0))
