"""Autobahn's cases against the real server, which echoes here; run by kosoku, Autobahn's case files on Python 3.

In the suite without the slow sections; `make autobahn` runs all 517: 9 (speed of large messages), 12 and 13 (compression).
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import kosoku
import pytest

from syncline.core.frames import encode_frame
from syncline.server import app as app_module
from syncline.server.transports import ws
from tests.server.conftest import configure

FULL = os.environ.get("SYNCLINE_AUTOBAHN") == "full"
#: 1 to 7 and 10 take seconds. Of compression one case of each group.
QUICK = [
    *(f"{section}.*" for section in (1, 2, 3, 4, 5, 6, 7, 10)),
    *(f"12.{group}.1" for group in range(1, 6)),
    *(f"13.{group}.1" for group in range(1, 8)),
]

#: Informational by Autobahn's own verdict: what the standard leaves open.
GOOD = {"OK", "INFORMATIONAL"}

_AHEAD = "picows parses one frame ahead: it has seen the bad frame, and sent its close frame, before we get the good one before"
_WHOLE = "picows hands over whole frames: bad UTF-8 is found at the end of a frame, not inside"
#: case -> (verdict, reason). Whether they do better depends on how the bytes happen to arrive.
KNOWN = {
    "4.1.3": ("NON-STRICT", _AHEAD),
    "4.1.4": ("NON-STRICT", _AHEAD),
    "4.1.5": ("NON-STRICT", _AHEAD),
    "4.2.3": ("NON-STRICT", _AHEAD),
    "4.2.4": ("NON-STRICT", _AHEAD),
    "4.2.5": ("NON-STRICT", _AHEAD),
    "6.4.3": ("NON-STRICT", _WHOLE),
    "6.4.4": ("NON-STRICT", _WHOLE),
    "7.1.2": ("FAILED", _AHEAD + ": here a second close frame, which should be ignored"),
}


def echo(listener: ws.Listener, opcode: int, message: bytes) -> None:
    listener.session.connection.reply(encode_frame(opcode, message))


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # kosoku leaves its data files open
async def test_every_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ws.Listener, "on_message", echo)
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
    assert {case: both for case, both in others.items() if KNOWN.get(case, ("", ""))[0] != both[0]} == {}
    assert len(results) == 517 if FULL else len(results) > 240
