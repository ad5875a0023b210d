"""core.frames: RFC 6455 sections 5.2, 5.4, 5.5.1, 8.1."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core import errors
from syncline.core.frames import BINARY, PING, TEXT, Assembler, FrameError, encode_close, encode_frame, is_utf8

CONTINUATION = 0


def test_unfragmented_message_is_not_copied() -> None:
    payload = b'{"event":"ping"}'
    result = Assembler(1024).feed(TEXT, True, False, payload)
    assert result == (TEXT, payload)
    assert result is not None and result[1] is payload


def test_fragments_are_joined_and_the_assembler_is_reusable() -> None:
    assembler = Assembler(1024)
    for _ in range(2):
        assert assembler.feed(BINARY, False, False, b"ab") is None
        assert assembler.feed(CONTINUATION, False, False, b"") is None
        assert assembler.feed(CONTINUATION, True, False, b"cd") == (BINARY, b"abcd")


def refused(assembler: Assembler, opcode: int, fin: bool, payload: bytes, reserved: bool = False) -> errors.Disconnect:
    with pytest.raises(FrameError) as caught:
        assembler.feed(opcode, fin, reserved, payload)
    return caught.value.disconnect


def test_order_of_fragments() -> None:
    assert refused(Assembler(10), CONTINUATION, True, b"x") == errors.PROTOCOL_ERROR
    assembler = Assembler(10)
    assembler.feed(TEXT, False, False, b"x")
    assert refused(assembler, TEXT, True, b"y") == errors.PROTOCOL_ERROR
    assert refused(Assembler(10), 3, True, b"") == errors.PROTOCOL_ERROR
    assert refused(Assembler(10), TEXT, True, b"", reserved=True) == errors.PROTOCOL_ERROR


def test_size_counts_all_fragments() -> None:
    assert Assembler(4).feed(BINARY, True, False, b"1234") == (BINARY, b"1234")
    assert refused(Assembler(4), BINARY, True, b"12345") == errors.MESSAGE_TOO_LARGE
    assembler = Assembler(4)
    assembler.feed(BINARY, False, False, b"123")
    assert refused(assembler, CONTINUATION, True, b"45") == errors.MESSAGE_TOO_LARGE


def test_utf8_is_checked_across_fragments_and_fails_early() -> None:
    face = "😀".encode()
    assembler = Assembler(64)
    assert assembler.feed(TEXT, False, False, face[:1]) is None
    assert assembler.feed(CONTINUATION, False, False, face[1:3]) is None
    assert assembler.feed(CONTINUATION, True, False, face[3:]) == (TEXT, face)
    assembler = Assembler(64)
    assembler.feed(TEXT, False, False, b"ok")
    assert refused(assembler, CONTINUATION, False, b"\xff") == errors.INVALID_TEXT  # not only at the end
    assembler = Assembler(64)
    assert refused(assembler, TEXT, True, face[:3]) == errors.INVALID_TEXT  # cut off
    assert Assembler(64).feed(BINARY, True, False, b"\xff") == (BINARY, b"\xff")


@given(st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_utf8_agrees_with_python(data: bytes) -> None:
    try:
        data.decode("utf-8")
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert is_utf8(data) is valid


def test_utf8_of_every_two_bytes_after_ascii() -> None:
    """Every pair, at every place relative to the eight-byte stride, with every possible rest."""
    for first in range(0x80, 0x100):
        for second in range(0x70, 0xC8):
            for rest in (b"", b"\x80", b"\x80\x80", b"\xbf\xbf\xbf"):
                data = b"a" * (first % 9) + bytes((first, second)) + rest
                try:
                    data.decode("utf-8")
                    valid = True
                except UnicodeDecodeError:
                    valid = False
                assert is_utf8(data) is valid, data


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_header_lengths(size: int) -> None:
    frame = encode_frame(BINARY, b"x" * size)
    assert frame[0] == 0x82
    length, at = frame[1], 2
    if length == 126:
        (length,), at = struct.unpack_from(">H", frame, 2), 4
        assert length >= 126
    elif length == 127:
        (length,), at = struct.unpack_from(">Q", frame, 2), 10
        assert length >= 65536
    assert (length, frame[at:]) == (size, b"x" * size)


def test_control_frames() -> None:
    assert encode_frame(PING, b"") == b"\x89\x00"
    assert encode_close(4000, "drain") == b"\x88\x07\x0f\xa0drain"
    long = encode_close(4000, "é" * 200)
    assert len(long) <= 127 and long[4:].decode("utf-8") == "é" * 61
    with pytest.raises(ValueError):
        encode_close(999, "")


@pytest.mark.parametrize("call", [lambda: Assembler(0), lambda: encode_frame(16, b""), lambda: encode_frame(-1, b"")])
def test_bad_arguments(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


def test_none_is_refused() -> None:
    for call in (lambda: encode_frame(1, None), lambda: is_utf8(None), lambda: Assembler(9).feed(1, True, False, None)):
        with pytest.raises(TypeError):
            call()  # type: ignore[no-untyped-call]
