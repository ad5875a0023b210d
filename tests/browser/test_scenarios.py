"""The scenarios that both clients pass, with handles of the browser client, under Node, on a real server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.serving import serving, ws_url

HERE = Path(__file__).resolve().parent
SCENARIOS: list[dict[str, Any]] = json.loads((HERE.parent / "scenarios" / "documents.json").read_text())["server"]


@pytest.mark.parametrize("name", [one["name"] for one in SCENARIOS])
async def test_on_a_server(name: str, tmp_path: Path, node: str) -> None:
    async with serving(tmp_path) as app, asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            *(node, "--no-warnings", "--experimental-websocket", "scenarios_client.mjs", ws_url(app), name),
            cwd=HERE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert told.decode().endswith("passed\n") and process.returncode == 0, told.decode()
