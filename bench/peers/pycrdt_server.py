"""pycrdt-websocket in memory behind uvicorn, as its documentation shows it: prints the port it listens on."""

from __future__ import annotations

import asyncio
import importlib
import socket
from typing import Any

import uvicorn

peer: Any = importlib.import_module("pycrdt.websocket")


async def main() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    websockets = peer.WebsocketServer(auto_clean_rooms=False)
    application = peer.ASGIServer(websockets)
    server = uvicorn.Server(uvicorn.Config(application, log_level="error", lifespan="off"))
    async with websockets:
        listener.listen(1024)
        print(listener.getsockname()[1], flush=True)
        await server.serve([listener])


if __name__ == "__main__":
    asyncio.run(main())
