"""Autobahn's cases against the real server, which echoes here; run by kosoku, Autobahn's case files on Python 3.

In the suite without the slow sections; `make autobahn` runs all 517: 9 (speed of large messages), 12 and 13 (compression).
"""

from __future__ import annotations

import re
from pathlib import Path

import kosoku
import pytest

from syncline.core.frames import encode_frame
from syncline.server import app as app_module
from syncline.server.transports import ws
from tests import scale
from tests.serving import configure

FULL = scale.LEVEL != "gate"
#: 1 to 7 and 10 take seconds. Of compression one case of each group.
QUICK = [
    *(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 10)),
    *(f"12.{group}.1" for group in range(1, 6)),
    *(f"13.{group}.1" for group in range(1, 8)),
]

#: Informational by Autobahn's own verdict: what the standard leaves open.
GOOD = {"OK", "INFORMATIONAL"}


class Echo(ws.WebSocket):
    """Every message goes back as it came."""

    def message(self, opcode: int, payload: bytes) -> int:
        self.connection.reply(encode_frame(opcode, payload))
        return 0


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kosoku leaves its data files open
async def test_every_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws, "WebSocket", Echo)
    config = configure(
        "memory",
        tmp_path,
        server={"compression": True, "compression_bytes": 0},
        limits={"message_bytes": 67_108_864, "queue_bytes": 1_073_741_824},
        auth={"timeout_seconds": 300.0},
    )
    async with app_module.running(config) as app:
        url = re.sub("^http", "ws", app.url) + "/ws"
        try:
            results = await kosoku.run_fuzzingclient(url, None if FULL else QUICK)
        except kosoku.FailureError as failure:
            results = failure.results
    verdicts = {result.case_id: (result.behavior.value, result.behavior_close.value) for result in results}
    others = {case: both for case, both in verdicts.items() if not GOOD.issuperset(both)}
    assert others == {}
    assert len(results) == 517 if FULL else len(results) > 240
