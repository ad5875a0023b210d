"""The generator's frames beside the server's, cut at every boundary."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.wire.frames import encode_frame
from syncline.load.frames import FrameReader, client_frame

MESSAGES = st.lists(
    st.tuples(st.sampled_from([1, 2]), st.one_of(st.binary(max_size=300), st.integers(65_530, 65_540).map(bytes))),
    max_size=6,
)


def frame(opcode: int, payload: bytes, fin: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes([(0x80 if fin else 0) | opcode, len(payload)]) + payload


def read(reader: FrameReader, parts: list[bytes]) -> list[tuple[int, bytes]]:
    return [message for part in parts for message in reader.feed(part)]


STREAM = (
    encode_frame(1, b"one")
    + encode_frame(9, b"")
    + encode_frame(2, bytes(200))
    + frame(1, b"fra", fin=False)
    + encode_frame(9, b"between")
    + frame(0, b"gmen", fin=False)
    + frame(0, b"ts")
    + encode_frame(1, b"x" * 70_000)
    + frame(8, b"\x03\xe8bye")
)
WANTED = [
    (1, b"one"),
    (9, b""),
    (2, bytes(200)),
    (9, b"between"),
    (1, b"fragments"),
    (1, b"x" * 70_000),
    (8, b"\x03\xe8bye"),
]


def test_a_stream_cut_in_two_at_every_place() -> None:
    assert read(FrameReader(), [STREAM]) == WANTED
    places = [*range(400), *range(400, len(STREAM), 997), *range(len(STREAM) - 12, len(STREAM))]
    for place in places:
        assert read(FrameReader(), [STREAM[:place], STREAM[place:]]) == WANTED, place


def test_byte_by_byte() -> None:
    short = STREAM.replace(encode_frame(1, b"x" * 70_000), b"")
    wanted = [message for message in WANTED if len(message[1]) < 70_000]
    assert read(FrameReader(), [short[i : i + 1] for i in range(len(short))]) == wanted


@given(MESSAGES, st.lists(st.integers(1, 70_000), max_size=8))
def test_any_messages_in_any_pieces(messages: list[tuple[int, bytes]], sizes: list[int]) -> None:
    stream = b"".join(encode_frame(opcode, payload) for opcode, payload in messages)
    parts = []
    for size in sizes:
        parts.append(stream[:size])
        stream = stream[size:]
    assert read(FrameReader(), [*parts, stream]) == messages


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"\xc1\x01x", "reserved bit"),
        (b"\x81\x81\x01\x02\x03\x04x", "masked"),
        (b"\x09\x00", "control frame"),
        (b"\x89\x7e\x00\x80", "control frame"),
        (b"\x80\x00", "continuation of nothing"),
        (b"\x01\x01a\x81\x01b", "inside another"),
        (b"\x83\x00", "unknown opcode"),
        (b"\x8b\x00", "unknown opcode"),
        (b"\x82\x7f\x00\x00\x01\x00\x00\x00\x00\x00", "64 MiB"),
    ],
)
def test_what_no_server_may_send(stream: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        FrameReader().feed(stream)


@given(st.sampled_from([1, 2, 8, 9, 10]), st.binary(max_size=400), st.integers(0, 2**32 - 1))
def test_client_frames_are_masked_as_rfc_6455_says(opcode: int, payload: bytes, mask: int) -> None:
    made = client_frame(opcode, payload, mask)
    key = mask.to_bytes(4, "little")
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    length = len(payload)
    head = bytes([0x80 | opcode, 0x80 | min(length, 126)]) + (length.to_bytes(2, "big") if length > 125 else b"")
    assert made == head + key + masked
