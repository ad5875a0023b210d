"""The core alone, without sockets: `make bench`. Each benchmark asserts its result before the clock runs.

Numbers mean something beside others of the same run on the same machine; say machine, commit and percentile with them.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from histories import MADE_UP, history

from syncline.core.documents.document import Document
from syncline.core.documents.text_type import TextType
from syncline.core.json import json0
from syncline.core.ot import ot
from syncline.core.ot.ot import Operation
from syncline.core.rooms.room import HistoryRing, Publication, Room
from syncline.core.text.text import Text
from syncline.core.wire import envelopes as wire
from syncline.server.sessions.connection import Connection
from syncline.server.sessions.flusher import Flusher


@pytest.mark.parametrize("name", ["automerge-paper", "rustcode", MADE_UP])
def test_replay_a_history_one_call_an_edit(benchmark: Any, name: str) -> None:
    edits, end = history(name)

    def replay() -> Text:
        text = Text()
        splice = text.splice
        for position, deleted, inserted in edits:
            splice(position, deleted, inserted)
        return text

    assert str(replay()) == end
    benchmark.extra_info["edits"] = len(edits)
    benchmark.pedantic(replay, rounds=5)


@pytest.mark.parametrize("behind", [1, 100, 1000])
def test_receive_an_operation_that_is_behind(benchmark: Any, behind: int) -> None:
    """One operation, transformed against ``behind`` others, applied and appended."""

    def prepare() -> tuple[tuple[Document], dict[str, Any]]:
        document = TextType().open("bench", "1")
        document.receive("other", "eve", 1, 0, ["x" * 1000], "utf-16", 0.0)
        for seq in range(2, behind + 2):
            document.receive("other", "eve", seq, seq - 1, [seq % 900 + 1, "y"], "utf-16", 0.0)
        return (document,), {}

    def receive(document: Document) -> int:
        return document.receive("mine", "ada", 1, 1, [500, "hello", -5], "utf-16", 0.0).revision

    (document,), _ = prepare()
    assert receive(document) == behind + 2
    assert len(document.content()) == 1000 + behind
    benchmark.pedantic(receive, setup=prepare, rounds=200)


def test_transform_a_pair(benchmark: Any) -> None:
    first = Operation([10, "abc", 30, -4])
    second = Operation([12, -5, 40, "xyz"])
    text = "0123456789" * 10
    left = ot.transform(first, second, "left")
    right = ot.transform(second, first, "right")
    assert ot.apply(ot.apply(text, second), left) == ot.apply(ot.apply(text, first), right)
    benchmark(ot.transform, first, second, "left")


#: For 500 components each: what they do, and the content that they are made on.
JSON_PAIRS: dict[str, tuple[Any, Any, Any]] = {
    "one list": (
        [{"p": ["items", n % 7], "li": n} for n in range(500)],
        [{"p": ["items", n % 5], "li": -n} for n in range(500)],
        {"items": [0] * 10},
    ),
    "apart": (
        [{"p": [f"mine {n}", 3], "li": n} for n in range(500)],
        [{"p": [f"theirs {n}", 3], "li": -n} for n in range(500)],
        {f"{whose} {n}": [0] * 5 for n in range(500) for whose in ("mine", "theirs")},
    ),
    "one string": (
        [{"p": ["text"], "t": "text0", "o": [{"p": 3 * n, "i": "x"} for n in range(500)]}],
        [{"p": ["text"], "t": "text0", "o": [{"p": 7 * n % 900, "i": "yz"} for n in range(500)]}],
        {"text": "é" * 2000},
    ),
}


@pytest.mark.parametrize("name", JSON_PAIRS)
def test_transform_json_500_by_500(benchmark: Any, name: str) -> None:
    first, second, content = JSON_PAIRS[name]
    mine, theirs = json0.parse(first), json0.parse(second)
    moved, back = json0.transform(mine, theirs, "left"), json0.transform(theirs, mine, "right")
    assert json0.apply(json0.apply(content, theirs), moved) == json0.apply(json0.apply(content, mine), back)
    benchmark(json0.transform, mine, theirs, "left")


class NullSocket:
    """``seams.Transport`` that counts; the kernel's part is not measured here."""

    def __init__(self) -> None:
        self.received = 0

    def write(self, data: bytes) -> None:
        self.received += len(data)

    def buffered(self) -> int:
        return 0

    def unread(self) -> tuple[int, float]:
        return 0, 0.0

    def close(self, code: int, reason: str) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


@pytest.mark.parametrize("asleep", [0, 500])
def test_fan_out_to_1000_members(benchmark: Any, asleep: int) -> None:
    """Ten messages of 128 bytes in one turn, encoded once each, one write a member; some of them read nothing."""
    flusher = Flusher(lambda flush: None, max_messages=64)
    sockets = [NullSocket() for _ in range(1000)]
    room = Room("bench", HistoryRing("epoch"))
    for number, socket in enumerate(sockets):
        connection = Connection(str(number), "json", socket, flusher, 1 << 20, lambda: None)
        room.add(connection)
        if number < asleep:
            connection.paused()
    payload = b'"' + b"x" * 126 + b'"'
    offset = 0

    def turn() -> int:
        nonlocal offset
        delivered = 0
        for _ in range(10):
            offset += 1
            delivered += room.publish(Publication("bench", "ada", "Ada", 0.0, "json", payload, offset, "epoch"))
        flusher.flush()
        return delivered

    assert turn() == 10_000
    assert all(socket.received > 10 * len(payload) for socket in sockets[asleep:])
    for _ in range(6):
        turn()  # who sleeps is left out by now
    assert turn() == (1000 - asleep) * 10 and flusher.behind == asleep
    benchmark.extra_info["deliveries"] = (1000 - asleep) * 10
    benchmark(turn)


@pytest.mark.parametrize("codec", [wire.JSON, wire.MSGPACK])
def test_decode_a_request(benchmark: Any, codec: wire.Codec) -> None:
    request = {"event": "message:send", "data": {"room": "team", "data": {"text": "x" * 100}}, "id": 7}
    message = msgspec.json.encode(request) if codec == "json" else msgspec.msgpack.encode(request)
    assert wire.decode(codec, message, 1)[0][0].event == "message:send"
    benchmark(wire.decode, codec, message, 1)
