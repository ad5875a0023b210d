"""permessage-deflate: what is agreed, what goes out, what comes in, and how large it may become."""

from __future__ import annotations

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core import errors
from syncline.core.wire.deflate import Agreement, Deflater, Inflater, negotiate
from syncline.core.wire.frames import BINARY, TEXT, FrameError, FrameReader, encode_frame
from tests.oracle.frames import client_frame


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("", None),
        ("x-webkit-deflate-frame", None),
        ("permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits", "permessage-deflate"),
        ("permessage-deflate; client_max_window_bits=10", "permessage-deflate"),
        ("Permessage-Deflate ; server_no_context_takeover", "permessage-deflate; server_no_context_takeover"),
        ("permessage-deflate; client_no_context_takeover", "permessage-deflate; client_no_context_takeover"),
        ('permessage-deflate; server_max_window_bits="9"', "permessage-deflate; server_max_window_bits=9"),
        ("permessage-deflate; server_max_window_bits=8", None),
        ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "permessage-deflate"),
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=09", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; novelty", None),
        ("permessage-deflate; =", None),
        ("a, b; c=d, permessage-deflate", "permessage-deflate"),
    ],
)
def test_the_first_offer_that_can_be_met(offer: str, answer: str | None) -> None:
    agreed = negotiate(offer)
    assert (agreed and agreed.header()) == answer


def test_the_window_of_an_agreement() -> None:
    assert negotiate("permessage-deflate; server_max_window_bits=12") == Agreement(12)


def plain(frame: bytes, inflate: zlib._Decompress) -> bytes:
    payload = frame[2 if frame[1] < 126 else 4 if frame[1] == 126 else 10 :]
    return inflate.decompress(payload + b"\0\0\xff\xff") if frame[0] & 0x40 else payload


@given(st.lists(st.one_of(st.binary(max_size=300), st.text("abab", max_size=400).map(str.encode))), st.integers(9, 15))
def test_frames_stand_alone(payloads: list[bytes], bits: int) -> None:
    """Read by one who remembers, and by one who forgets after each."""
    deflater = Deflater(bits, 6, 0)
    remembering = zlib.decompressobj(-bits)
    for payload in payloads:
        frame = deflater.frame(encode_frame(BINARY, payload))
        assert frame[0] == 0x80 | 0x40 | BINARY
        assert plain(frame, remembering) == payload
        assert plain(frame, zlib.decompressobj(-bits)) == payload


def test_a_frame_is_compressed_once_and_only_when_that_pays() -> None:
    deflater = Deflater(15, 1, 100)
    long = encode_frame(TEXT, b"a" * 70_000)
    small = deflater.frame(long)
    assert len(small) < 1000
    assert deflater.frame(bytes(bytearray(long))) is small
    noise = encode_frame(BINARY, os.urandom(1000))
    assert deflater.frame(noise) is noise
    short = encode_frame(TEXT, b"a" * 90)
    assert deflater.frame(short) is short
    ping = encode_frame(9, b"a" * 120)
    assert deflater.frame(ping) is ping
    for number in range(100):  # what is remembered is bounded
        deflater.frame(encode_frame(TEXT, b"%d" % number + b"a" * 70_000))
    assert sum(len(key) for key in deflater._shared) <= 1_048_576


def compressed(data: bytes, deflate: zlib._Compress, flush: int = zlib.Z_SYNC_FLUSH) -> bytes:
    return (deflate.compress(data) + deflate.flush(flush)).removesuffix(b"\0\0\xff\xff")


class Reader(FrameReader):
    """Keeps the messages that came."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.messages: list[tuple[int, bytes]] = []

    def message(self, opcode: int, payload: bytes) -> int:
        self.messages.append((opcode, payload))
        return 0


def fed(reader: Reader, payload: bytes, cuts: list[int]) -> bytes:
    """The message that a compressed payload in these fragments makes; each half of a frame comes by itself."""
    at, opcode, reserved = 0, TEXT, 4
    data = b""
    for cut in sorted(min(cut, len(payload)) for cut in cuts):
        data += client_frame(opcode, payload[at:cut], fin=False, reserved=reserved)
        at, opcode, reserved = cut, 0, 0
    data += client_frame(opcode, payload[at:], reserved=reserved)
    reader.feed(data[: len(data) // 2])
    reader.feed(data[len(data) // 2 :])
    code, message = reader.messages.pop()
    assert code == TEXT and not reader.messages
    return message


@given(st.lists(st.tuples(st.text(max_size=50), st.lists(st.integers(0, 60), max_size=3))), st.booleans())
def test_messages_in_fragments(messages: list[tuple[str, list[int]]], takeover: bool) -> None:
    reader = Reader(1000)
    reader.inflater = Inflater(takeover=takeover)
    deflate = zlib.compressobj(wbits=-15)
    for text, cuts in messages:
        if not takeover:
            deflate = zlib.compressobj(wbits=-15)
        assert fed(reader, compressed(text.encode(), deflate), cuts) == text.encode()


def refusal(reader: Reader, payload: bytes, reserved: int = 4, opcode: int = TEXT) -> errors.Disconnect:
    with pytest.raises(FrameError) as caught:
        reader.feed(client_frame(opcode, payload, reserved=reserved))
    return caught.value.disconnect


def inflating(limit: int = 1000) -> Reader:
    reader = Reader(limit)
    reader.inflater = Inflater(takeover=True)
    return reader


def test_a_bomb_is_refused_before_it_grows() -> None:
    bomb = compressed(b"\0" * 50_000_000, zlib.compressobj(9, wbits=-15))
    assert len(bomb) < 60_000
    assert refusal(inflating(1_000_000), bomb) == errors.MESSAGE_TOO_LARGE
    exact = compressed(b"a" * 1000, zlib.compressobj(wbits=-15))
    assert fed(inflating(1000), exact, []) == b"a" * 1000
    assert refusal(inflating(999), exact) == errors.MESSAGE_TOO_LARGE
    # Also in fragments that are each small enough.
    reader = inflating(999)
    with pytest.raises(FrameError) as caught:
        fed(reader, exact, [1, 2, 3])
    assert caught.value.disconnect == errors.MESSAGE_TOO_LARGE


def test_a_final_block_does_not_end_the_connection() -> None:
    """RFC 7692 section 7.2.3.5."""
    reader = inflating()
    final = compressed(b"one", zlib.compressobj(wbits=-15), zlib.Z_FINISH)
    assert fed(reader, final + b"\0", []) == b"one"
    assert fed(reader, compressed(b"two", zlib.compressobj(wbits=-15)), []) == b"two"


def test_many_final_blocks_are_refused() -> None:
    """Two bytes each, and each costs a copy of all that follow."""
    assert fed(inflating(), b"\x03\x00" * 8, []) == b""
    assert refusal(inflating(2_000_000), b"\x03\x00" * 500_000) == errors.PROTOCOL_ERROR


def test_what_is_not_whole_waits_as_it_came() -> None:
    """Else a kilobyte makes its receiver hold a megabyte for as long as the sender likes."""
    reader = inflating(1_048_576)
    bomb = compressed(bytes(1_000_000), zlib.compressobj(9, wbits=-15))
    reader.feed(client_frame(BINARY, bomb[:500], fin=False, reserved=4))
    reader.feed(client_frame(0, bomb[500:], fin=False))
    assert reader.incomplete <= 2 * len(bomb) < 3000
    reader.feed(client_frame(0, b""))
    assert reader.messages == [(BINARY, bytes(1_000_000))]
    assert reader.incomplete == 0


@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_FIXED])
@pytest.mark.parametrize("memory", [1, 9])
def test_what_cannot_be_compressed_may_be_as_large_as_any(memory: int, strategy: int) -> None:
    noise = bytes(byte | 0x90 for byte in os.urandom(65_536))  # of the longer ones of the fixed codes
    payload = compressed(noise, zlib.compressobj(1, wbits=-9, memLevel=memory, strategy=strategy))
    if len(payload) <= len(noise):
        noise = os.urandom(65_536)
        payload = compressed(noise, zlib.compressobj(1, wbits=-9, memLevel=memory, strategy=strategy))
    assert len(payload) > len(noise)
    for cut in ([], [1000, 40_000]):
        reader = inflating(len(noise))
        at = 0
        for end in cut:
            reader.feed(client_frame(BINARY if at == 0 else 0, payload[at:end], fin=False, reserved=0 if at else 4))
            at = end
        reader.feed(client_frame(0 if at else BINARY, payload[at:], reserved=0 if at else 4))
        assert reader.messages == [(BINARY, noise)]


def test_what_is_not_compressed_data_is_refused() -> None:
    assert refusal(inflating(), b"\xff\xff\xff") == errors.PROTOCOL_ERROR
    bad_text = compressed(b"\xc3\x28", zlib.compressobj(wbits=-15))
    assert refusal(inflating(), bad_text) == errors.INVALID_TEXT
    for reserved in (1, 2, 3, 5, 6, 7):
        assert refusal(inflating(), b"", reserved) == errors.PROTOCOL_ERROR
    reader = inflating()
    reader.feed(client_frame(TEXT, b"", fin=False, reserved=4))
    assert refusal(reader, b"", 4, opcode=0) == errors.PROTOCOL_ERROR  # only the first frame says so
    assert refusal(Reader(10), b"", 4) == errors.PROTOCOL_ERROR  # not agreed


def test_plain_messages_pass_between_compressed_ones() -> None:
    reader = inflating()
    deflate = zlib.compressobj(wbits=-15)
    assert fed(reader, compressed(b"again and again", deflate), []) == b"again and again"
    reader.feed(client_frame(TEXT, b"plain"))
    assert reader.messages.pop() == (TEXT, b"plain")
    assert fed(reader, compressed(b"again and again", deflate), [2]) == b"again and again"
