"""core.wire: envelopes in both encodings, raw payloads, hostile input."""

from __future__ import annotations

import json
import tracemalloc

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode
from syncline.core.wire import envelopes as wire

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


def payload(frame: bytes) -> bytes:
    """The payload of a server frame."""
    return frame[2 if frame[1] < 126 else 4 if frame[1] == 126 else 10 :]


def refused(codec: wire.Codec, message: bytes, batch: int = 10) -> ErrorCode:
    envelopes, refused = wire.decode(codec, message, batch)
    assert not envelopes
    assert [one.id for one in refused] == [None] * len(refused)
    (code,) = {one.error.code for one in refused}
    return code


def decoded(codec: wire.Codec, message: bytes, batch: int = 10) -> list[wire.Envelope]:
    """All of a frame in which nothing is wrong."""
    envelopes, refused = wire.decode(codec, message, batch)
    assert not refused
    return envelopes


@given(values)
def test_data_stays_raw(value: object) -> None:
    raw = json.dumps(value, indent=1).encode()  # white space that a re-encoder would drop
    (envelope,) = decoded("json", b'{"id": 7, "event": "message:send", "data": ' + raw + b"}")
    assert (envelope.event, envelope.id, bytes(envelope.data)) == ("message:send", 7, raw)
    packed = msgspec.msgpack.encode(value)
    (envelope,) = decoded("msgpack", msgspec.msgpack.encode({"event": "x", "data": msgspec.Raw(packed)}))
    assert (envelope.id, bytes(envelope.data)) == (None, packed)


@pytest.mark.parametrize("half", ["", "\\ud83d"])
@pytest.mark.parametrize("codec", ["json", "msgpack"])
def test_what_is_detached_does_not_keep_its_message(codec: wire.Codec, half: str) -> None:
    """Raw data is a view: two bytes of it hold a megabyte of what was sent beside them."""
    kept = []
    tracemalloc.start()
    try:
        for id in range(20):
            message = json.dumps({"event": "message:send", "id": id, "pad": "A" * 1_000_000, "data": {"x": "HALF"}})
            text = message.replace("HALF", half).encode()
            if codec == "msgpack":
                text = msgspec.msgpack.encode(json.loads(text), enc_hook=str) if not half else text
            (envelope,) = decoded("json" if half else codec, text)
            wire.detach(envelope)
            kept.append(envelope)
            del message, text
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()
    assert [one.id for one in kept] == list(range(20)) and all(b"x" in bytes(one.data) for one in kept)


def test_batches() -> None:
    both = decoded("json", b'\n [{"event": "a"}, {"event": "b", "id": 0}]', 2)
    assert [(one.event, one.id) for one in both] == [("a", None), ("b", 0)]
    packed = msgspec.msgpack.encode([{"event": "a"}, {"event": "b"}])
    assert [one.event for one in decoded("msgpack", packed, 2)] == ["a", "b"]
    for codec, empty in ("json", b" [ ] "), ("msgpack", b"\x90"):
        envelopes, refused = wire.decode(codec, empty, 2)
        assert ([*envelopes], [one.error.code for one in refused]) == ([], [ErrorCode.MALFORMED_FRAME])


@pytest.mark.parametrize("fault", [b"", b',{"event":5}'])
def test_what_is_too_much_for_a_frame_is_refused_and_the_rest_served(fault: bytes) -> None:
    envelopes, refused = wire.decode(
        "json", b'[{"event":"a"},{"event":"b","id":5},{"event":"c","id":6}' + fault + b"]", 2
    )
    assert [one.event for one in envelopes] == ["a", "b"]
    assert {one.error.code for one in refused} == {ErrorCode.LIMIT_EXCEEDED}
    assert [one.id for one in refused] == ([None] if fault else [6])  # those of a broken frame are not read so far


@pytest.mark.parametrize("count", [2, 3, 4, 5, 1000])
@pytest.mark.parametrize("whole", [True, False])
def test_what_a_frame_costs_in_answers_is_bounded(count: int, whole: bool) -> None:
    message = json.dumps([{"event": "a", "id": number} for number in range(count)]).encode()
    envelopes, refused = wire.decode("json", message if whole else message[:-1], 2)
    assert len(envelopes) == 2 and len(refused) <= 3
    if whole:
        assert [one.id for one in refused] == [*range(2, min(count, 4)), *([None] if count > 4 else [])]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b" ",
        b"null",
        b"{",
        b"{}",
        b'"x"',
        b"[1]",
        b'{"event": 1}',
        b'{"event": "x", "id": -1}',
        b'{"event": "x", "id": 9007199254740992}',
        b'{"event": "x", "id": 1.5}',
        b'{"event": "x", "id": "1"}',
        b'{"event": "' + b"x" * 65 + b'"}',
        b'{"event": "x"} trailing',
        b"[" * 100_000,
        b'{"event":"x","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "\ufeff{}".encode(),
    ],
)
def test_malformed_json(message: bytes) -> None:
    assert refused("json", message) is ErrorCode.MALFORMED_FRAME


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xc1",
        b"\xc0",
        b"\x80",
        b"\x81\xa5event\x01",
        b"\xdf\xff\xff\xff\xff",
        b"\x91" * 100_000,
        b"\x81\xa5event\xa1\xff",
    ],
)
def test_malformed_msgpack(message: bytes) -> None:
    assert refused("msgpack", message) is ErrorCode.MALFORMED_FRAME


@given(st.sampled_from(["json", "msgpack"]), st.binary(max_size=200))
def test_any_bytes_give_envelopes_or_a_protocol_error(codec: wire.Codec, message: bytes) -> None:
    reasonable(codec, message)


def reasonable(codec: wire.Codec, message: bytes) -> None:
    envelopes, refused = wire.decode(codec, message, 4)
    assert len(envelopes) <= 4 and all(isinstance(one, wire.Envelope) for one in envelopes)
    assert {one.error.code for one in refused} <= {ErrorCode.MALFORMED_FRAME, ErrorCode.LIMIT_EXCEEDED}


@given(st.data())
def test_mutated_frames_give_envelopes_or_a_protocol_error(data: st.DataObject) -> None:
    codec: wire.Codec = data.draw(st.sampled_from(["json", "msgpack"]))
    value = [{"event": "document:operation", "id": 3, "data": {"document": "d", "operation": [5, "é😀", -3]}}]
    encode = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
    message = bytearray(encode(value))
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        if not message:
            break
    reasonable(codec, bytes(message))


def test_replies_and_errors() -> None:
    assert json.loads(payload(wire.reply_frame("json", 3, "room:joined", {"a": 1}))) == {
        "id": 3,
        "event": "room:joined",
        "result": {"a": 1},
    }
    error = {"code": "forbidden", "message": "no"}
    assert json.loads(payload(wire.error_frame("json", 3, "forbidden", "no", {"retry_after": 1.5}))) == {
        "id": 3,
        "event": "error",
        "error": {**error, "retry_after": 1.5},
    }
    push = msgspec.msgpack.decode(payload(wire.error_frame("msgpack", None, "forbidden", "no", {"room": "r"})))
    assert push == {"event": "error", "data": {**error, "room": "r"}}
    assert wire.push_frame("json", "e", {})[0] == 0x81 and wire.push_frame("msgpack", "e", {})[0] == 0x82


@given(values)
def test_push_is_the_same_in_both_encodings(value: object) -> None:
    push = wire.Push("e", {"room": "r", "data": value})
    assert json.loads(payload(push.frame("json"))) == {"event": "e", "data": {"room": "r", "data": value}}
    assert msgspec.msgpack.decode(payload(push.frame("msgpack"))) == {
        "event": "e",
        "data": {"room": "r", "data": value},
    }
    assert push.frame("json") is push.frame("json")  # built once, shared


@given(values, st.sampled_from(["json", "msgpack"]), st.text(max_size=20))
def test_push_travels_between_nodes(value: object, codec: wire.Codec, skip: str) -> None:
    push = wire.Push("e", {"data": value}, codec, skip)
    back = wire.Push.unpack("e", push.pack())
    assert (back.skip, back.frame("json"), back.frame("msgpack")) == (skip, push.frame("json"), push.frame("msgpack"))


def test_unpack_refuses_what_is_no_push() -> None:
    for bad in (b"", b"x", b"q\x00{}"):
        with pytest.raises(ValueError):
            wire.Push.unpack("e", bad)


def test_transcode_of_what_one_side_cannot_hold() -> None:
    assert (
        msgspec.msgpack.decode(wire.transcode(b"123456789012345678901234567890", "json", "msgpack"))
        == 1.2345678901234568e29
    )
    assert msgspec.msgpack.decode(wire.transcode(b'{"a":["\\ud83d"]}', "json", "msgpack")) == {"a": ["\ufffd"]}
    assert msgspec.msgpack.decode(wire.transcode(b"1e999", "json", "msgpack")) == float("inf")
    assert wire.transcode(msgspec.msgpack.encode(b"\x00\xff"), "msgpack", "json") == b'"AP8="'
    for raw in (b"\xc7\x01\x05x", b"\x81\xc0\x01", b"\xa1\xff", b"\xc1"):
        with pytest.raises(ValueError):
            wire.transcode(raw, "msgpack", "json")
