"""The browser client's delivery digest, under Node, against the real server through a proxy that loses and alters frames."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from syncline.client import connect
from tests.proxy import faulty, proxied
from tests.serving import serving, ws_url
from tests.waiting import until

HERE = Path(__file__).resolve().parent
COUNT = 60
FAULTS: dict[Any, str] = {3: "lost", 25: "swapped", 33: "twice", 40: "altered", COUNT - 1: "lost"}


async def test_every_message_once_in_order_and_proven(tmp_path: Path, node: str) -> None:
    async with (
        serving(tmp_path, limits={"ping_seconds": 1.0}) as app,
        proxied(app.port) as proxy,
        await connect(ws_url(app), name="Ada", codec="msgpack") as ada,
        asyncio.timeout(60),
    ):
        room = await ada.join("team")
        # Node 20 has its WebSocket behind a flag.
        process = await asyncio.create_subprocess_exec(
            *(node, "--no-warnings", "--experimental-websocket", "proof_client.mjs", proxy.url, str(COUNT)),
            cwd=HERE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None and process.stderr is not None
        try:
            assert await process.stdout.readline() == b"joined\n", (await process.stderr.read()).decode()
            proxy.policy = faulty(dict(FAULTS))
            for number in range(COUNT):
                await room.send({"n": number, "is": "text, é and 🙂"})
                if number in (20, 30):
                    opened, group = proxy.opened, app.node.hub.rooms["team"].group
                    proxy.cut()
                    await until(lambda opened=opened, group=group: proxy.opened > opened and len(group) == 2)
            seen = json.loads(await process.stdout.readline())
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert [offset for offset, _ in seen["got"]] == list(range(1, COUNT + 1))
        assert [data["n"] for _, data in seen["got"]] == list(range(COUNT))
        assert seen["lost"] == 0 and seen["connections"] == 3
        assert seen["failures"] >= 1 and seen["duplicates"] >= 1
        counters = app.node.counters
        assert counters.deliveries_proven["history"] > 0 and counters.deliveries_unproven["history"] > 0
