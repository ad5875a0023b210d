"""Small, deterministic pieces of work of the core: instructions.py counts their instructions, `make bench` times them.

``prepare(count)`` makes everything that so many units of the work need and returns (run, check): ``run()`` does the
units and nothing else, ``check(its result)`` asserts that they were done right. No clock, no socket, no randomness but
seeded; what is made is the same each time.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from syncline.core.bucket import Bucket
from syncline.core.documents.text_type import TextType
from syncline.core.ot import ot
from syncline.core.ot.ot import Operation
from syncline.core.ot.position_map import PositionMap
from syncline.core.rich.rich import Delta
from syncline.core.rooms.room import HistoryRing, Publication, Room
from syncline.core.storage import commits as entries
from syncline.core.storage.replay import replay_text
from syncline.core.text.text import Text
from syncline.core.wire import document_push as wire_document
from syncline.core.wire import envelopes as wire
from syncline.core.wire.frames import TEXT, FrameReader, encode_frame
from syncline.server.sessions.connection import Connection
from syncline.server.sessions.flusher import Flusher

Prepared = tuple[Callable[[], Any], Callable[[Any], None]]


@dataclass(frozen=True)
class Workload:
    """``count``: how many units are enough to count; twice as many are run as well."""

    name: str
    count: int
    prepare: Callable[[int], Prepared]


WORKLOADS: list[Workload] = []


def workload(name: str, count: int) -> Callable[[Callable[[int], Prepared]], Callable[[int], Prepared]]:
    def add(prepare: Callable[[int], Prepared]) -> Callable[[int], Prepared]:
        WORKLOADS.append(Workload(name, count, prepare))
        return prepare

    return add


def repeated(count: int, function: Callable[..., Any], *arguments: Any, expect: Any) -> Prepared:
    """The same call again and again; ``expect``: what each gives."""

    def run() -> Any:
        result = None
        for _ in range(count):
            result = function(*arguments)
        return result

    def check(result: Any) -> None:
        assert result == expect, (result, expect)

    return run, check


# -- frames, wire -----------------------------------------------------------------------------------------------------

MESSAGE = b'{"event":"message:send","data":{"room":"team","data":{"text":"' + b"x" * 100 + b'"}},"id":7}'


@workload("frames: encode, 128 bytes", 400)
def encode_small(count: int) -> Prepared:
    return repeated(count, encode_frame, TEXT, b"x" * 128, expect=b"\x81\x7e\x00\x80" + b"x" * 128)


class Reader(FrameReader):
    """Keeps the newest message."""

    newest: tuple[int, bytes] = (0, b"")

    def message(self, opcode: int, payload: bytes) -> int:
        self.newest = (opcode, payload)
        return 0


MASK = b"\x12\x34\x56\x78"


def client_frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """Masked, as a client must (RFC 6455, section 5.3)."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big")
    masked = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
    return bytes([opcode | (0x80 if final else 0)]) + length + MASK + masked


def _feed(count: int, data: bytes, message: bytes) -> Prepared:
    reader = Reader(1 << 20)
    run, _ = repeated(count, reader.feed, data, expect=None)

    def check(used: int) -> None:
        assert (used, reader.newest) == (len(data), (TEXT, message))

    return run, check


@workload("frames: read a message of 100 characters", 400)
def read_small(count: int) -> Prepared:
    return _feed(count, client_frame(TEXT, b"x" * 100), b"x" * 100)


@workload("frames: read 4 KiB of mixed text in four fragments", 40)
def read_fragments(count: int) -> Prepared:
    whole = ("Größe 長さ 🎈 plain text. " * 200).encode()[:4096].decode("utf-8", "ignore").encode()
    parts = [whole[at : at + 1024] for at in range(0, len(whole), 1024)]
    frames = [client_frame(0 if index else TEXT, part, index == 3) for index, part in enumerate(parts)]
    return _feed(count, b"".join(frames), whole)


@workload("wire: decode a request, JSON", 400)
def decode_json(count: int) -> Prepared:
    run, _ = repeated(count, wire.decode, wire.JSON, MESSAGE, 1, expect=None)
    return run, lambda result: _is_request(result, MESSAGE.partition(b'"data":')[2].removesuffix(b',"id":7}'))


@workload("wire: decode a request, MessagePack", 400)
def decode_msgpack(count: int) -> Prepared:
    message = msgspec.msgpack.encode(msgspec.json.decode(MESSAGE))
    data = msgspec.msgpack.encode(msgspec.json.decode(MESSAGE)["data"])
    run, _ = repeated(count, wire.decode, wire.MSGPACK, message, 1, expect=None)
    return run, lambda result: _is_request(result, data)


def _is_request(result: Any, data: bytes) -> None:
    (envelope,), refused = result
    assert not refused
    assert (envelope.event, envelope.id, bytes(envelope.data)) == ("message:send", 7, data), envelope


def _reply(codec: wire.Codec, count: int) -> Prepared:
    result = {"offset": 42, "epoch": "e" * 16, "time": 1700000000.25}
    answer = {"event": "message:send", "id": 7, "result": result}
    encoded = msgspec.json.encode(answer) if codec == "json" else msgspec.msgpack.encode(answer)
    run, _ = repeated(count, wire.reply_frame, codec, 7, "message:send", result, expect=None)
    decode = msgspec.json.decode if codec == "json" else msgspec.msgpack.decode

    def check(frame: bytes) -> None:
        assert decode(frame[2 if len(encoded) < 126 else 4 :]) == answer

    return run, check


@workload("wire: a reply, JSON", 400)
def reply_json(count: int) -> Prepared:
    return _reply(wire.JSON, count)


@workload("wire: a reply, MessagePack", 400)
def reply_msgpack(count: int) -> Prepared:
    return _reply(wire.MSGPACK, count)


# -- rooms ------------------------------------------------------------------------------------------------------------


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


PAYLOAD = b'"' + b"x" * 126 + b'"'


def publication(offset: int, codec: str = "json") -> Publication:
    return Publication("bench", "ada", "Ada", 1700000000.0, codec, PAYLOAD, offset, "epoch")


def fan_out(members: int) -> tuple[Room, Flusher, list[NullSocket]]:
    """A room of connections to nowhere."""
    flusher = Flusher(lambda flush: None)
    sockets = [NullSocket() for _ in range(members)]
    room = Room("bench", HistoryRing("epoch"))
    for number, socket in enumerate(sockets):
        room.add(Connection(str(number), "json", socket, flusher, 1 << 20, lambda: None))
    return room, flusher, sockets


@workload("room: publish to 1,000 connections, flush", 2)
def publish(count: int) -> Prepared:
    room, flusher, sockets = fan_out(1000)
    frame = publication(1).frame("json")
    publications = [publication(offset) for offset in range(1, count + 1)]

    def run() -> int:
        taken = 0
        for one in publications:
            taken += room.publish(one)
            flusher.flush()
        return taken

    def check(taken: int) -> None:
        assert taken == 1000 * count
        assert all(socket.received >= count * len(frame) for socket in sockets)

    return run, check


@workload("room: 20 publications in one turn to 100 connections, flush", 3)
def publish_turn(count: int) -> Prepared:
    room, flusher, _ = fan_out(100)
    turns = [[publication(turn * 20 + index + 1) for index in range(20)] for turn in range(count)]

    def run() -> int:
        taken = 0
        for turn in turns:
            for one in turn:
                taken += room.publish(one)
            flusher.flush()
        return taken

    def check(taken: int) -> None:
        assert taken == 2000 * count

    return run, check


@workload("room: a publication into a history that is full", 400)
def append(count: int) -> Prepared:
    ring = HistoryRing("epoch", 0, 100)
    for offset in range(1, 101):
        ring.append(publication(offset))
    more = [publication(offset) for offset in range(101, 101 + count)]

    def run() -> None:
        add = ring.append
        for one in more:
            add(one)

    def check(_: None) -> None:
        assert (len(ring), ring.offset) == (100, 100 + count)

    return run, check


@workload("room: the last 100 of 1,000 publications", 40)
def since(count: int) -> Prepared:
    ring = HistoryRing("epoch", 0, 1000)
    for offset in range(1, 1001):
        ring.append(publication(offset))
    run, _ = repeated(count, ring.since, 900, "epoch", expect=None)

    def check(found: Any) -> None:
        assert [one.offset for one in found] == list(range(901, 1001))

    return run, check


# -- operations -------------------------------------------------------------------------------------------------------

FIRST = Operation([10, "abc", 30, -4])
SECOND = Operation([12, -5, 40, "xyz"])
TEXT_100 = "0123456789" * 10


@workload("ot: parse an operation", 400)
def parse(count: int) -> Prepared:
    return repeated(count, Operation.parse, [10, "abc", 30, -4], "utf-16", expect=FIRST)


@workload("ot: apply to 100 characters", 400)
def apply(count: int) -> Prepared:
    expect = TEXT_100[:10] + "abc" + TEXT_100[10:40] + TEXT_100[44:]
    return repeated(count, ot.apply, TEXT_100, FIRST, expect=expect)


@workload("ot: transform a pair", 400)
def transform(count: int) -> Prepared:
    left = ot.transform(FIRST, SECOND, "left")
    right = ot.transform(SECOND, FIRST, "right")
    assert ot.apply(ot.apply(TEXT_100, SECOND), left) == ot.apply(ot.apply(TEXT_100, FIRST), right)
    return repeated(count, ot.transform, FIRST, SECOND, "left", expect=left)


@workload("ot: compose a pair", 400)
def compose(count: int) -> Prepared:
    both = ot.compose(FIRST, SECOND)
    assert ot.apply(TEXT_100, both) == ot.apply(ot.apply(TEXT_100, FIRST), SECOND)
    return repeated(count, ot.compose, FIRST, SECOND, expect=both)


def edits(count: int, length: int, seed: int = 7) -> list[tuple[int, int, str]]:
    """Typing: mostly on from the last place, some deletions, at times somewhere else."""
    chance = random.Random(seed)
    done: list[tuple[int, int, str]] = []
    at = length // 2
    for _ in range(count):
        if chance.random() < 0.05:
            at = chance.randrange(length + 1)
        if at and chance.random() < 0.15:
            at -= 1
            length -= 1
            done.append((at, 1, ""))
        else:
            done.append((at, 0, "x"))
            at += 1
            length += 1
    return done


def typed(text: str, work: list[tuple[int, int, str]]) -> str:
    """The slow and obvious way; ASCII only."""
    result = bytearray(text, "ascii")
    for at, deleted, inserted in work:
        result[at : at + deleted] = inserted.encode("ascii")
    return result.decode("ascii")


def as_operation(edit: tuple[int, int, str]) -> Operation:
    at, deleted, inserted = edit
    return Operation([part for part in (at, inserted, -deleted) if part])


@workload("ot: an operation against 1,000 at once (PositionMap)", 40)
def position_map(count: int) -> Prepared:
    history = [as_operation(edit) for edit in edits(1000, 2000)]
    folded = PositionMap(history)
    late = Operation([700, "late", -3])
    expect = late
    for one in history:
        expect = ot.transform(expect, one, "left")
    return repeated(count, folded.transform, late, expect=expect)


# -- text, documents --------------------------------------------------------------------------------------------------


def _splices(count: int, length: int, chunked: bool) -> Prepared:
    start = ("0123456789" * (length // 10 + 1))[:length]
    text = Text(start)
    work = edits(count, length)
    if not chunked:
        # The gap is where the typing begins.
        text.splice(work[0][0], 0, "")

    def run() -> None:
        splice = text.splice
        for at, deleted, inserted in work:
            splice(at, deleted, inserted)

    def check(_: None) -> None:
        assert str(text) == typed(start, work)
        assert text.chunked is chunked

    return run, check


@workload("text: an edit in 2,000 characters (gap buffer)", 1000)
def splice_flat(count: int) -> Prepared:
    return _splices(count, 2000, False)


@workload("text: an edit in 1,000,000 characters (chunks)", 1000)
def splice_chunked(count: int) -> Prepared:
    return _splices(count, 1_000_000, True)


def _receive(count: int, behind: int) -> Prepared:
    """Each unit: one operation, ``behind`` revisions late, transformed, applied, kept."""
    document = TextType().open("bench", "1")
    document.receive("eve", "eve", 1, 0, ["x" * 1000], "utf-16", 0.0)
    for seq in range(2, behind + 2):
        document.receive("eve", "eve", seq, seq - 1, [seq % 900 + 1, "y"], "utf-16", 0.0)
    # As many clients as make each one's operations further apart than it is behind.
    clients = behind + 1
    revision = document.revision
    work = [
        (f"c{index % clients}", index // clients + 1, revision + index - behind, [(index * 37) % 900 + 1, "z"])
        for index in range(count)
    ]

    def run() -> int:
        result = 0
        for client, seq, base, components in work:
            result = document.receive(client, "ada", seq, base, components, "utf-16", 1.0).revision
        return result

    def check(result: int) -> None:
        assert result == document.revision == revision + count
        assert document.content().count("z") == count

    return run, check


@workload("document: receive at the head", 200)
def receive_near(count: int) -> Prepared:
    return _receive(count, 0)


@workload("document: receive, 10 behind", 100)
def receive_behind(count: int) -> Prepared:
    return _receive(count, 10)


@workload("document: receive, 1,000 behind", 100)
def receive_far(count: int) -> Prepared:
    return _receive(count, 1000)


@workload("document: the first that is 1,000 behind", 2)
def receive_first_far(count: int) -> Prepared:
    """What takes it to the head is made for it."""
    documents = []
    for _ in range(count):
        document = TextType().open("bench", "1")
        document.receive("eve", "eve", 1, 0, ["x" * 1000], "utf-16", 0.0)
        for seq in range(2, 1002):
            document.receive("eve", "eve", seq, seq - 1, [seq % 900 + 1, "y"], "utf-16", 0.0)
        documents.append(document)

    def run() -> None:
        for document in documents:
            document.receive("ada", "ada", 1, 1, [500, "hello", -5], "utf-16", 1.0)

    def check(_: None) -> None:
        assert all(one.revision == 1002 and "hello" in one.content() for one in documents)

    return run, check


@workload("document: undo and redo one edit", 20)
def undo(count: int) -> Prepared:
    document = TextType().open("bench", "1")
    document.receive("ada", "ada", 1, 0, ["x" * 100], "utf-16", 0.0)
    for seq in range(2, 12):
        document.receive("ada", "ada", seq, seq - 1, [seq * 7, "word"], "utf-16", seq * 10.0)
    text, revision = document.content(), document.revision

    def run() -> None:
        seq = 12
        for _ in range(count):
            document.undo("ada", "ada", seq, document.revision, "undo", 1000.0)
            document.undo("ada", "ada", seq + 1, document.revision, "redo", 1000.0)
            seq += 2

    def check(_: None) -> None:
        assert (document.content(), document.revision) == (text, revision + 2 * count)

    return run, check


def committed(count: int) -> tuple[list[entries.Entry], str, str]:
    """Entries of one who types, the text before and after them."""
    start = TEXT_100 * 10
    document = TextType().open("bench", "1")
    document.restore(0, entries.new_text_snapshot(start))
    made = []
    for index, edit in enumerate(edits(count, len(start)), 1):
        made.append(document.receive("ada", "ada", index, index - 1, as_operation(edit), "utf-16", index * 0.1).entry)
    return made, start, document.content()


@workload("log: write a body of 100 operations", 4)
def encode_body(count: int) -> Prepared:
    turn, _, _ = committed(100)
    return repeated(count, entries.encode_entries, turn, expect=entries.encode_entries(turn))


@workload("log: read a body of 100 operations", 4)
def decode_body(count: int) -> Prepared:
    turn, _, _ = committed(100)
    run, _ = repeated(count, entries.decode_entries, entries.encode_entries(turn), expect=None)

    def check(found: list[entries.Entry]) -> None:
        assert [(one.seq, one.operation, one.digest) for one in found] == [
            (one.seq, one.operation, one.digest) for one in turn
        ]

    return run, check


@workload("log: replay a body of 1,000 operations into a text", 4)
def replay_body(count: int) -> Prepared:
    turn, start, end = committed(1000)
    body = entries.encode_entries(turn)
    texts = [Text(start) for _ in range(count)]

    def run() -> None:
        for text in texts:
            replay_text(text, body)

    def check(_: None) -> None:
        assert all(str(text) == end for text in texts)

    return run, check


@workload("wire: a turn of 20 operations as one frame, JSON", 20)
def turn_frame(count: int) -> Prepared:
    turn, _, _ = committed(20)
    run, _ = repeated(count, wire_document.operations_frame, "json", "bench", 20, turn, expect=None)

    def check(frame: bytes) -> None:
        data = msgspec.json.decode(frame[4:])["data"]
        assert data["revision"] == 20
        assert [one["operation"] for one in data["operations"]] == [one.told() for one in turn]

    return run, check


# -- rich text, rates -------------------------------------------------------------------------------------------------

BOLD = Delta([{"retain": 5}, {"retain": 10, "attributes": {"bold": True}}, {"insert": "abc"}, {"delete": 3}])
RED = Delta([{"retain": 8}, {"retain": 4, "attributes": {"color": "red"}}, {"insert": "xyz", "attributes": {"a": 1}}])


@workload("rich text: transform a pair", 200)
def rich_transform(count: int) -> Prepared:
    document = Delta([{"insert": TEXT_100}])
    mine, theirs = BOLD.transform(RED, True), RED.transform(BOLD, False)
    assert BOLD.apply(document).compose(mine) == RED.apply(document).compose(theirs)
    return repeated(count, BOLD.transform, RED, True, expect=mine)


@workload("rich text: compose a pair", 200)
def rich_compose(count: int) -> Prepared:
    document = Delta([{"insert": TEXT_100}])
    both = BOLD.compose(RED)
    assert both.apply(document) == RED.apply(BOLD.apply(document))
    return repeated(count, BOLD.compose, RED, expect=both)


@workload("rates: take from a bucket", 1000)
def take(count: int) -> Prepared:
    bucket = Bucket(1.0, 1e9, 0.0)
    return repeated(count, bucket.take, 1.0, 1.0, expect=0.0)
