"""core.payload: what is let in can be decoded by every client, beside an oracle, msgspec and JavaScript."""

from __future__ import annotations

import json
import struct
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.wire import envelopes as wire
from syncline.core.wire.payload import MAX_DEPTH, MAX_NUMBER, check_payload, deliverable
from tests.oracle import payload as oracle

Codec = Literal["json", "msgpack"]
CODECS: tuple[Codec, ...] = ("json", "msgpack")

JSON_GOOD = [
    b"null",
    b" \t\r\n[ ] ",
    b"{ }",
    b'{"":{"a":[1,{"b":[]}]},"":0}',
    b"-0",
    b'["__proto__",{"__proto_":"__proto__","\\u005f_proto_":1}]',
    b"0.0",
    b"1E+5",
    b"1e-400",
    b"18446744073709551615",
    b"-9223372036854775808",
    b"1.7976931348623157e308",
    b"1" * 309 + b".0e-1",
    b"9" * 300 + b"." + b"9" * 20,
    b"0." + b"0" * 1000 + b"1",
    b"1" * 400 + b"e-390",
    b'"\x7f\xc2\x80\xf0\x9f\x98\x80"',
    b'"\\ud83d\\ude00 \\u0000\\/\\b\\f\\n\\r\\t\\"\\\\"',
    b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
]
JSON_BAD = [
    b"",
    b" ",
    b"1 2",
    b"nul",
    b"nulL",
    b"True",
    b"NaN",
    b"-Infinity",
    b"01",
    b"-",
    b"-01",
    b"+1",
    b".5",
    b"1.",
    b"1.e1",
    b"1e",
    b"1e+",
    b"0x10",
    b"1_0",
    b"1e400",
    b"-1e400",
    b"1" * 400 + b".5",
    b"1" + b"0" * 308 + b"e1",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"9" * 5000,
    b"0." + b"0" * MAX_NUMBER,
    b'"',
    b'"\\',
    b'"\\"',
    b'"a\x1f"',
    b'"\x00"',
    b'"\\q"',
    b'"\\u12g4"',
    b'"\\u12',
    b'"\\ud800"',
    b'"\\ud800\\',
    b'"\\ud800\\u',
    b'"\\ud800\\u0041"',
    b'"\\ud800\\ud800\\udc00"',
    b'"\\udc00"',
    b'{"\\udfff":1}',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    b'"\xc0\x80"',
    b"\xef\xbb\xbf1",
    b'{"__proto__":1}',
    b'{"a":{"\\u005f_proto__" :1}}',
    b'{"' + b"".join(b"\\u%04x" % byte for byte in b"__proto__") + b'":1}',
    b"[1,]",
    b"[,1]",
    b"[1 2]",
    b"[1",
    b"]",
    b'{"a"}',
    b'{"a":}',
    b'{"a":1,}',
    b'{"a":1 "b":2}',
    b"{1:2}",
    b"{,}",
    b'{"a":1',
    b"[}",
    b"{]",
    b"[1}",
    b"// no\n1",
    b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
    b"[" * 200_000,
]
MSGPACK_GOOD = [
    b"\xc0",
    b"\x80",
    b"\x90",
    b"\xdc\x00\x00",
    b"\x82\xa1a\xc2\x05\x91\xc3",
    b"\x81\xcf" + b"\xff" * 8 + b"\xd3" + b"\x80" + b"\x00" * 7,
    b"\x81\xd9\x01a\x01",
    b"\xcb\x7f\xef" + b"\xff" * 6,
    b"\xca\xff\x7f\xff\xff",
    b"\xc4\x02\x00\xff",
    b"\xde\x00\x01\x01\xdd\x00\x00\x00\x01\x90",
    b"\x91" * (MAX_DEPTH - 1) + b"\x90",
]
MSGPACK_BAD = [
    b"",
    b"\xc1",
    b"\x81\xa9__proto__\xc0",
    b"\x81\xda\x00\x09__proto__\xc0",
    b"\xc0\xc0",
    b"\x91",
    b"\x81\xa1a",
    b"\xdd\xff\xff\xff\xff\xc0",
    b"\xdf\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xffa",
    b"\xc6\xff\xff\xff\xff",
    b"\xa1\xff",
    b"\xa3\xed\xa0\x80",
    b"\xd9",
    b"\xcb\x7f\xf0" + b"\x00" * 6,
    b"\xcb\xff\xf8" + b"\x00" * 6,
    b"\xca\x7f\x80\x00\x00",
    b"\xca\x7f\xc0",
    b"\xd6\xff\x00\x00\x00\x01",
    b"\xc7\x01\x05x",
    b"\xd4\x01\x01",
    *(
        b"\x81" + key + b"\x01"
        for key in (b"\xc0", b"\xc3", b"\xca\x00\x00\x00\x00", b"\xc4\x01a", b"\x90", b"\x80", b"\xc1")
    ),
    b"\x91" * MAX_DEPTH + b"\x90",
    b"\x91" * 200_000,
]
GOOD: list[tuple[Codec, bytes]] = [*(("json", raw) for raw in JSON_GOOD), *(("msgpack", raw) for raw in MSGPACK_GOOD)]
BAD: list[tuple[Codec, bytes]] = [*(("json", raw) for raw in JSON_BAD), *(("msgpack", raw) for raw in MSGPACK_BAD)]


def allowed(codec: Codec, raw: bytes) -> bool:
    try:
        assert check_payload(codec, raw) == 0
    except SynclineError as error:
        assert error.code is ErrorCode.INVALID_DATA and error.message.startswith(("payload: ", "the payload "))
        return False
    return True


def decoded(codec: Codec, raw: bytes) -> Any:
    return (msgspec.json if codec == "json" else msgspec.msgpack).decode(raw)


def everywhere(codec: Codec, raw: bytes) -> None:
    """Every decoder here takes it, in both encodings."""
    decoded(codec, raw)
    for target in CODECS:
        decoded(target, wire.transcode(raw, codec, target))
    json.loads(wire.transcode(raw, codec, "json"))


@pytest.mark.parametrize(("codec", "raw"), GOOD)
def test_let_in(codec: Codec, raw: bytes) -> None:
    assert oracle.allowed(codec, raw)
    assert allowed(codec, raw)
    everywhere(codec, raw)
    assert deliverable(codec, raw) is raw


@pytest.mark.parametrize(("codec", "raw"), BAD)
def test_refused(codec: Codec, raw: bytes) -> None:
    assert not oracle.allowed(codec, raw)
    assert not allowed(codec, raw)
    assert decoded(codec, deliverable(codec, raw)) is None


@pytest.mark.parametrize(("codec", "raw"), GOOD)
def test_every_beginning_of_it(codec: Codec, raw: bytes) -> None:
    """No byte beyond the end is looked at, wherever the end is (make asan sees it)."""
    for end in range(min(len(raw), 400)):
        assert allowed(codec, raw[:end]) == oracle.allowed(codec, raw[:end])


keys = st.text().filter(lambda key: key != "__proto__")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
odd = st.recursive(
    st.none() | st.integers(-(2**70), 2**70) | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=8,
)


@given(values, st.sampled_from(CODECS), st.booleans())
def test_all_values_are_let_in(value: object, codec: Codec, plain: bool) -> None:
    if codec == "msgpack":
        raw = msgspec.msgpack.encode(value)
    else:
        raw = json.dumps(value, indent=1).encode() if plain else msgspec.json.encode(value)
    assert allowed(codec, raw)
    everywhere(codec, raw)


@given(odd)
def test_what_only_python_takes(value: object) -> None:
    raw = json.dumps(value).encode()
    assert allowed("json", raw) == oracle.allowed("json", raw)


@given(values, st.sampled_from(CODECS), st.data())
def test_changed_bytes_beside_the_oracle(value: object, codec: Codec, data: st.DataObject) -> None:
    raw = bytearray(msgspec.json.encode(value) if codec == "json" else msgspec.msgpack.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw)))
        piece = data.draw(
            st.binary(max_size=3) | st.sampled_from([b'"', b"\\u", b"d8", b"e99", b"9" * 20, b",", b"}", b"\x81"])
        )
        raw[at : at + data.draw(st.integers(0, 3))] = piece
    changed = bytes(raw)
    assert allowed(codec, changed) == oracle.allowed(codec, changed)
    if allowed(codec, changed):
        everywhere(codec, changed)


@given(st.binary(max_size=64), st.sampled_from(CODECS))
def test_any_bytes_beside_the_oracle(raw: bytes, codec: Codec) -> None:
    assert allowed(codec, raw) == oracle.allowed(codec, raw)


@given(st.floats(allow_nan=False), st.booleans())
def test_floats_of_both_sizes(value: float, small: bool) -> None:
    raw = struct.pack(">Bd", 0xCB, value)
    if small and abs(value) < 3e38:
        raw = struct.pack(">Bf", 0xCA, value)
    assert allowed("msgpack", raw) == oracle.allowed("msgpack", raw) == (value not in (float("inf"), float("-inf")))


def test_wrong_calls() -> None:
    with pytest.raises(ValueError):
        check_payload("xml", b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        check_payload("json", None)  # type: ignore[arg-type]
