"""core.salvage: a frame that does not decode costs what is wrong with it, beside a slow oracle and under hostile bytes."""

from __future__ import annotations

import json
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.wire import envelopes as wire
from syncline.core.wire import salvage
from tests.oracle import salvage as oracle

Codec = Literal["json", "msgpack"]
CODECS: tuple[Codec, ...] = ("json", "msgpack")

halves = st.text(st.sampled_from('a"\\\ud83d\ude00\udc00\ud7ff\ufffd\U0001f600u'), max_size=8)
values = st.recursive(
    st.integers(-5, 2**40) | halves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(halves, inner, max_size=3),
    max_leaves=6,
)
scraps = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b",", b'"', b"\\", b":", b" ", b'"id"', b"7", b'{"event":"x"}', b"\\ud83d"]
    ),
    max_size=14,
).map(b"".join)


@given(scraps)
@example(b'[{"a":"\\')
@example(b'[{"a":"\\"],[')
def test_cut_is_the_oracles(scrap: bytes) -> None:
    for frame in (scrap, b"[" + scrap, b" [" + scrap + b"]"):
        assert salvage.cut("json", frame, 1000) == oracle.cut_json(frame)


@given(values)
def test_mended_as_the_oracle_does(value: Any) -> None:
    raw = oracle.write(value)
    mended = salvage.mend("json", raw)
    assert len(mended) == len(raw)
    assert json.loads(mended) == oracle.mended(json.loads(raw))
    packed = oracle.pack(value)
    better = salvage.mend("msgpack", packed)
    assert len(better) == len(packed)
    assert msgspec.msgpack.decode(better) == oracle.mended(value, pairs=False)
    for codec, one, whole in (("json", raw, mended), ("msgpack", packed, better)):
        other = salvage.mend(codec, one, True)
        assert (one is whole) == (other is one) == (whole == other)


@given(values)
def test_what_is_whole_is_the_same_object(value: Any) -> None:
    whole = oracle.mended(value)
    for raw in (msgspec.json.encode(whole), oracle.write(whole)):
        assert salvage.mend("json", raw) is raw
    packed = msgspec.msgpack.encode(whole)
    assert salvage.mend("msgpack", packed) is packed


def test_bytes_of_binary_and_numbers_are_no_halves() -> None:
    for value in (b"\xed\xa0\x80", 0xEDA080, [b"\xa3\xed\xa0\x80"]):
        packed = msgspec.msgpack.encode(value)
        assert salvage.mend("msgpack", packed) is packed
    assert salvage.mend("msgpack", b"\xa4a\xed\xa0\x80") == b"\xa4a\xef\xbf\xbd"
    assert salvage.mend("json", b'\\ud83d"\\\\ud83d\\ud83d"') == b'\\ud83d"\\\\ud83d\\ufffd"'


# What does not decode, of which kind ever, with an id that can be read.
BROKEN_JSON = [
    b'{"id":%d,"event":5}',
    b'{"event":"x","data":tru,"id":%d}',
    b'{"event":"x","data":{"a":[1,}},"id": %d }',
    b'{"event":"x","data":"\\x","id":%d}',
    b'{"event":"x","data":"\x01","id":%d}',
    b'{"event":"' + b"x" * 65 + b'","id":%d}',
    b'{"event":"x","id":7,"id":%d,"data":{1:2}}',
    b'{"id":%d}',
    b'{"id":%d,"event":"x","data":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"id":%d,"event":"x"',
]


def broken_packed(id: int) -> list[bytes]:
    head, number = b"\xa5event", b"\xa2id" + msgspec.msgpack.encode(id)
    return [
        b"\x82" + head + b"\x05" + number,
        b"\x82" + number + head + b"\xa1\xff",
        b"\x83" + number + head + b"\xa1x\xc1\x01",
        b"\x83" + head + b"\xa1x\x01\x02" + number,
        b"\x83\xd9\x02id\xcd\xff\xff" + number + head + b"\xd9A" + b"x" * 65,
        b"\x81" + number,
        b"\x83" + number + head + b"\xa1x\xa4data" + b"\x91" * 3000 + b"\xc0",
        b"\x84" + number + head + b"\xa1x\xa4data" + b"\x81\xc1\xd6\xff\x00\x00\x00\x01\xa1y\xc1",
    ]


CASES: list[tuple[Codec, bytes]] = [
    *(("json", one.replace(b"%d", b"41")) for one in BROKEN_JSON),
    *(("msgpack", one) for one in broken_packed(41)),
]


def frame(codec: Codec, *elements: bytes) -> bytes:
    return b"[" + b" ,".join(elements) + b"]" if codec == "json" else bytes([0x90 + len(elements)]) + b"".join(elements)


def good(codec: Codec, id: int) -> bytes:
    encode = msgspec.json.encode if codec == "json" else msgspec.msgpack.encode
    return encode({"event": "good", "id": id, "data": {"a": ']}\\",'}})


@pytest.mark.parametrize(("codec", "broken"), CASES)
def test_what_is_broken_is_refused_by_its_id_and_its_neighbours_are_served(codec: Codec, broken: bytes) -> None:
    swallows = broken.endswith(b'"x"')  # an object that never ends
    envelopes, refused = wire.decode(codec, frame(codec, good(codec, 1), broken, good(codec, 2)), 10)
    assert [one.id for one in envelopes] == ([1] if swallows else [1, 2])
    assert [one.id for one in refused] == ([41, None] if swallows else [41])
    assert {one.error.code for one in refused} == {ErrorCode.MALFORMED_FRAME}
    envelopes, refused = wire.decode(codec, broken, 10)  # alone
    assert ([*envelopes], [one.id for one in refused]) == ([], [41])


@pytest.mark.parametrize(
    ("codec", "element"),
    [
        *(
            ("json", b'{"event":5,"id":%b}' % id)
            for id in (b"-1", b"1.5", b"01", b'"1"', b"9007199254740992", b"1e3", b"null", b"")
        ),
        ("json", b'{"event":5,"data":{"id":1}}'),
        ("json", b'[{"id":1}]'),
        *(
            ("msgpack", b"\x82\xa5event\x05\xa2id" + id)
            for id in (
                b"\xff",
                b"\xd0\x80",
                b"\xcf\x00\x20\x00\x00\x00\x00\x00\x00",
                b"\xa11",
                b"\xcb" + bytes(8),
                b"\xc4\x01\x01",
                b"\xcd\x01",
            )
        ),
    ],
)
def test_what_is_no_id_is_none(codec: Codec, element: bytes) -> None:
    assert salvage.request_id(codec, element) is None


@pytest.mark.parametrize("packed", [b"\x2a", b"\xcc\x2a", b"\xcd\x00\x2a", b"\xd0\x2a", b"\xd3" + bytes(7) + b"\x2a"])
def test_ids_of_any_width(packed: bytes) -> None:
    assert salvage.request_id("msgpack", b"\x81\xa2id" + packed) == 42


@given(st.data())
def test_any_mixture(data: st.DataObject) -> None:
    """Every neighbour is served, in order, whatever stands between."""
    codec: Codec = data.draw(st.sampled_from(CODECS))
    broken = [one for kind, one in CASES if kind == codec and not one.endswith(b'"x"')]
    kinds = data.draw(st.lists(st.integers(-1, len(broken) - 1), min_size=1, max_size=15))
    elements = [good(codec, at) if kind < 0 else broken[kind] for at, kind in enumerate(kinds)]
    envelopes, refused = wire.decode(codec, frame(codec, *elements), 100)
    assert [one.id for one in envelopes] == [at for at, kind in enumerate(kinds) if kind < 0]
    assert [one.id for one in refused] == [41 for kind in kinds if kind >= 0]


@pytest.mark.parametrize("codec", CODECS)
def test_every_beginning_of_a_frame_serves_what_is_whole_in_it(codec: Codec) -> None:
    """No byte beyond the end is looked at, wherever the end is (make asan sees it)."""
    elements = [good(codec, 1), *(one for kind, one in CASES if kind == codec and len(one) < 200), good(codec, 2)]
    whole = frame(codec, *elements)
    first = whole.index(elements[0]) + len(elements[0])
    for end in range(len(whole)):
        envelopes, refused = wire.decode(codec, whole[:end], 100)
        assert [one.id for one in envelopes] == ([1] if end >= first else [])
        assert refused
        for part in (whole[:end], whole[end:]):
            salvage.request_id(codec, part)
            salvage.cut(codec, part, 100)
            assert len(salvage.mend(codec, part)) == len(part)


@given(st.sampled_from(CODECS), st.binary(max_size=60))
def test_any_bytes(codec: Codec, raw: bytes) -> None:
    elements, _ = salvage.cut(codec, raw, 5)
    assert len(elements) <= 5 and sum(map(len, elements)) <= len(raw)
    assert len(salvage.mend(codec, raw)) == len(raw)
    number = salvage.request_id(codec, raw)
    assert number is None or 0 <= number < 2**53


def test_deep_and_wide_ones_end() -> None:
    for element in (b"[" * 500_000, b"," * 500_000, b'"' * 500_001, b'{"id":' * 100_000, b'["\\ud800' * 100_000):
        salvage.cut("json", element, 600_000)
        salvage.request_id("json", element)
        salvage.mend("json", element)
        wire.decode("json", b"[" + element, 256)
    for element in (
        b"\x91" * 500_000,
        b"\xdf\xff\xff\xff\xff" * 100_000,
        b"\xdd\xff\xff\xff\xff" + b"\xc0" * 500_000,
        b"\x81\xa2id" * 100_000,
    ):
        salvage.cut("msgpack", element, 600_000)
        salvage.request_id("msgpack", element)
        salvage.mend("msgpack", element)
        wire.decode("msgpack", element, 256)


def test_payloads_are_mended_or_refused() -> None:
    assert salvage.admissible("json", b'{"a":"\\ud800"}') == b'{"a":"\\ufffd"}'
    assert salvage.admissible("msgpack", b"\xa3\xed\xbf\xbf") == b"\xa3\xef\xbf\xbd"
    payload = b"[1]"
    assert salvage.admissible("json", payload) is payload
    for codec, bad in (("json", b'["\\ud800"'), ("json", b"[1e999]"), ("msgpack", b"\x92\xa3\xed\xa0\x80\xc1")):
        with pytest.raises(SynclineError, match="invalid_data"):
            salvage.admissible(codec, bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", CODECS)
def test_which_fields_were_mended(codec: Codec) -> None:
    write = oracle.write if codec == "json" else oracle.pack
    for fields, expected in (
        ({"document": "\ud800", "operation": ["\ufffd"]}, False),
        ({"document": "d", "operation": ["\ud800"]}, True),
        ({"document": "d", "oper\ud800": ["\ud800"]}, False),
        ({"document": "d", "operation": [{"\udfff": 1}]}, True),
    ):
        raw = write({"event": "x", "data": fields})
        if codec == "json":
            ((envelope,), refused) = wire.decode(codec, raw, 5)
            assert not refused
        else:
            plain = wire.decode(codec, raw, 5)[0][0]
            found = wire.mended(codec, plain)
            assert found is not None
            envelope = found
        assert isinstance(envelope, wire.Mended)
        assert wire.was_mended(codec, envelope, ("operation", "text")) is expected
        assert wire.mended(codec, envelope) is None
