"""core.frames: RFC 6455 sections 5.2, 5.4, 5.5.1, 8.1."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core import errors
from syncline.core.wire.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    close_code,
    encode_close,
    encode_frame,
    is_utf8,
)
from tests.oracle import frames as oracle
from tests.oracle.frames import MASK, Event, client_frame


class Recorder(FrameReader):
    """Writes down what it is called with."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(max_bytes)
        self.events: list[Event] = []

    def message(self, opcode: int, payload: bytes) -> int:
        self.events.append(("message", opcode, payload))
        return 0

    def control(self, opcode: int, payload: bytes) -> int:
        self.events.append(("control", opcode, payload))
        return 0


def outcome(pieces: Iterable[bytes], max_bytes: int = 1000) -> tuple[list[Event], errors.Disconnect | None]:
    reader = Recorder(max_bytes)
    for piece in pieces:
        try:
            assert reader.feed(piece) == len(piece)
        except FrameError as error:
            return reader.events, error.disconnect
    return reader.events, None


def test_a_message() -> None:
    assert outcome([client_frame(TEXT, b"hello")]) == ([("message", TEXT, b"hello")], None)


def test_fragments_with_a_ping_between() -> None:
    data = client_frame(BINARY, b"ab", fin=False) + client_frame(PING, b"?") + client_frame(0, b"", fin=False)
    data += client_frame(0, b"cd")
    assert outcome([data + data]) == ([("control", PING, b"?"), ("message", BINARY, b"abcd")] * 2, None)


@pytest.mark.parametrize(
    "data",
    [
        client_frame(TEXT, b"x", mask=None),
        client_frame(3, b""),
        client_frame(11, b""),
        client_frame(0, b"x"),
        client_frame(TEXT, b"x", fin=False) + client_frame(TEXT, b"y"),
        client_frame(PING, b"", fin=False),
        client_frame(PING, b"x" * 126),
        client_frame(PING, b"x", length=126),
        *(client_frame(opcode, b"", reserved=bits) for opcode in (TEXT, PING) for bits in range(1, 8)),
        b"\x82\xff" + b"\xff" * 8 + MASK,
    ],
)
def test_what_the_standard_forbids(data: bytes) -> None:
    assert outcome([data])[1] == errors.PROTOCOL_ERROR


def test_size_counts_all_fragments_and_is_refused_with_the_header() -> None:
    assert outcome([client_frame(BINARY, b"1234")], 4) == ([("message", BINARY, b"1234")], None)
    too_large = (None, errors.MESSAGE_TOO_LARGE)
    assert (None, outcome([client_frame(BINARY, b"12345")[:6]], 4)[1]) == too_large
    assert (None, outcome([client_frame(BINARY, b"123", fin=False) + client_frame(0, b"45")], 4)[1]) == too_large
    assert (None, outcome([b"\x82\xff" + (2**62).to_bytes(8, "big") + MASK])[1]) == too_large


def test_text_fails_as_soon_as_it_is_bad() -> None:
    """Inside a fragment, and before its end has come (section 8.1)."""
    face = "😀".encode()
    first = client_frame(TEXT, b"ok" + face[:1], fin=False)
    assert outcome([first, client_frame(0, face[1:3], fin=False), client_frame(0, face[3:])])[1] is None
    assert outcome([first, client_frame(0, b"\xff", fin=False)])[1] == errors.INVALID_TEXT
    assert outcome([client_frame(TEXT, b"a\xff" + b"b" * 50)[:-40]])[1] == errors.INVALID_TEXT
    cut_off = client_frame(TEXT, face[:3])
    assert outcome([cut_off])[1] == outcome(cut_off[at : at + 1] for at in range(9))[1] == errors.INVALID_TEXT
    assert outcome([first, client_frame(0, face[1:3])])[1] == errors.INVALID_TEXT
    assert outcome([client_frame(BINARY, b"\xff")])[1] is None


def test_halted_stops_after_the_frame_and_goes_on() -> None:
    class Once(Recorder):
        def message(self, opcode: int, payload: bytes) -> int:
            self.halted = True
            return super().message(opcode, payload)

    frames = [client_frame(TEXT, b"%d" % number) for number in range(5)]
    reader, data = Once(100), b"".join(frames)
    for number in range(5):
        used = reader.feed(data)
        assert used == len(frames[number]) and len(reader.events) == number + 1
        assert reader.feed(data[used:]) == 0
        reader.halted, data = False, data[used:]
    # In the middle of a header that came in two pieces.
    reader = Once(100)
    assert reader.feed(frames[0][:3]) == 3
    assert reader.feed(frames[0][3:] + frames[1]) == len(frames[0]) - 3


def test_what_a_callback_raises_comes_out_and_the_reader_goes_on() -> None:
    class Sour(Recorder):
        def message(self, opcode: int, payload: bytes) -> int:
            super().message(opcode, payload)
            raise LookupError

    reader = Sour(100)
    for number in range(3):
        with pytest.raises(LookupError):
            reader.feed(client_frame(TEXT, b"x"))
        assert len(reader.events) == number + 1


frames = st.builds(
    client_frame,
    st.sampled_from([0, 0, TEXT, TEXT, BINARY, CLOSE, PING, PONG, 3]),
    st.binary(max_size=20)
    | st.text(max_size=20).map(str.encode)
    | st.just("é".encode()[:1])
    | st.binary(min_size=110, max_size=300),
    fin=st.sampled_from([True, True, False]),
    reserved=st.sampled_from([0] * 20 + [4]),
    mask=st.binary(min_size=4, max_size=4),
    length=st.sampled_from([0, 0, 0, 126, 127]),
)


def orderly(pieces: list[tuple[bytes, bool, bytes]]) -> bytes:
    """A stream that a good client may send: each message cut into fragments, with pings between."""
    data, opcode = b"", TEXT
    for payload, fin, ping in pieces:
        data += client_frame(opcode, payload, fin=fin)
        opcode = TEXT if fin else 0
        if ping:
            data += client_frame(PING, ping)
    return data


streams = st.lists(frames, max_size=6).map(b"".join) | st.lists(
    st.tuples(st.text(max_size=30).map(str.encode) | st.just(b"x" * 200), st.booleans(), st.binary(max_size=5)),
    max_size=8,
).map(orderly)


@given(streams, st.lists(st.integers(0, 400), max_size=6), st.integers(0, 20))
def test_however_it_is_split_it_is_what_the_obvious_reader_says(data: bytes, cuts: list[int], drop: int) -> None:
    data = data[: len(data) - drop] if drop else data
    expected = oracle.read(data, 350)
    assert outcome([data], 350) == expected
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert outcome((data[start:end] for start, end in pairwise(edges)), 350) == expected
    assert outcome((data[at : at + 1] for at in range(len(data))), 350) == expected


@given(st.binary(max_size=60), st.integers(0, 60))
def test_any_bytes(data: bytes, cut: int) -> None:
    expected = oracle.read(data, 100)
    assert outcome([data], 100) == expected
    assert outcome([data[:cut], data[cut:]], 100) == expected


def test_every_cut_of_one_stream() -> None:
    data = (
        client_frame(TEXT, "é😀".encode() * 9, fin=False)
        + client_frame(PING, b"p" * 125)
        + client_frame(0, b"x" * 70_000)
    )
    data += client_frame(BINARY, b"y" * 130) + client_frame(CLOSE, b"\x03\xe8")
    expected = outcome([data], 100_000)
    assert [event[0] for event in expected[0]] == ["control", "message", "message", "control"] and expected[1] is None
    for cut in (*range(400), *range(len(data) - 300, len(data))):
        assert outcome([data[:cut], data[cut:]], 100_000) == expected


def test_an_incomplete_message_takes_the_memory_of_what_has_come() -> None:
    """A header alone must not make its receiver allocate what it announces."""
    tracemalloc.start()
    try:
        readers = [Recorder(100_000_000) for _ in range(20)]
        for reader in readers:
            reader.feed(client_frame(BINARY, b"", length=127)[:2] + (90_000_000).to_bytes(8, "big") + MASK + b"x" * 100)
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_muted_reader_keeps_nothing_and_hears_what_controls(cut: int) -> None:
    stream = (
        client_frame(TEXT, b"whole")
        + client_frame(TEXT, b"first", fin=False)
        + client_frame(PING, b"?")
        + client_frame(0, b"")
        + client_frame(BINARY, b"x" * 200)
        + client_frame(CLOSE, b"\x03\xe8")
    )
    for start in (10, 18):  # amid a message, amid a frame
        reader = Muting(1000)
        assert reader.feed(client_frame(TEXT, b"y" * 20, fin=False)[:start]) == start
        assert reader.incomplete
        reader.quiet()
        assert reader.incomplete == 0
        rest = client_frame(TEXT, b"y" * 20, fin=False)[start:] + client_frame(0, b"end") + stream
        for piece in (rest[:cut], rest[cut:]):
            if piece:
                assert reader.feed(piece) == len(piece)
            assert reader.incomplete == 0
        assert reader.events == [("control", PING, b"?"), ("control", CLOSE, b"\x03\xe8")]


class Muting(Recorder):
    """As a WebSocket is told: by a subclass."""

    def quiet(self) -> None:
        self.mute()


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", 0),
        (b"\x03\xe8", 1000),
        (b"\x03\xe8bye", 1000),
        (b"\x0f\xa0", 4000),
        (b"\x03\xf6", 1014),
        (b"\x0b\xb8", 3000),
    ],
)
def test_close_codes(payload: bytes, code: int) -> None:
    assert close_code(payload) == code


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_close_codes_that_are_not_sent(code: int) -> None:
    with pytest.raises(FrameError) as caught:
        close_code(code.to_bytes(2, "big"))
    assert caught.value.disconnect == errors.PROTOCOL_ERROR


def test_close_payloads_that_are_bad() -> None:
    for payload, disconnect in ((b"\x03", errors.PROTOCOL_ERROR), (b"\x03\xe8\xff", errors.INVALID_TEXT)):
        with pytest.raises(FrameError) as caught:
            close_code(payload)
        assert caught.value.disconnect == disconnect


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


@pytest.mark.parametrize("call", [lambda: FrameReader(0), lambda: encode_frame(16, b""), lambda: encode_frame(-1, b"")])
def test_bad_arguments(call: object) -> None:
    with pytest.raises(ValueError):
        call()  # type: ignore[operator]


def test_none_is_refused() -> None:
    for call in (lambda: encode_frame(1, None), lambda: is_utf8(None), lambda: FrameReader(9).feed(None)):
        with pytest.raises(TypeError):
            call()  # type: ignore[no-untyped-call]
