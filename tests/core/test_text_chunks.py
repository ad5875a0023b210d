"""Text in chunks of many sizes against a plain str: edits, conversions, CRCs, batches; nothing leaks, nothing half done."""

from __future__ import annotations

import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.core.errors import SynclineError
from syncline.core.ot.ot import Operation
from syncline.core.text.nodes import live_chunks, missing_chunks
from syncline.core.text.text import Text, live_texts, set_limits
from tests.oracle import text as oracle
from tests.oracle.strategies import ALPHABET, texts
from tests.scale import seeds
from tests.waiting import PATIENCE

# Cells of a gap buffer, of a chunk, children of a node: chunks at once, chunks after a while, as in production.
SIZES = [(0, 8, 4), (0, 9, 5), (60, 16, 4), (0, 40, 16), (0, 64, 64), (131_072, 2_032, 64)]


@pytest.fixture(autouse=True, scope="module", params=SIZES, ids=str)
def sizes(request: pytest.FixtureRequest) -> Iterator[tuple[int, int, int]]:
    before = set_limits(*request.param)
    missing = missing_chunks()
    yield request.param
    set_limits(*before)
    assert missing_chunks() == missing, "more nodes were needed than tree_reserve's bound says"


def check(native: Text, text: str) -> None:
    native.check()
    assert str(native) == text
    assert len(native) == len(text.encode("utf-16-le")) // 2
    assert native.astral == sum(char > "\uffff" for char in text)
    assert native.hash() == zlib.crc32(text.encode("utf-16-le"))


def sequences(choices: random.Random, alphabet: str, steps: int, limit: int = 1500) -> Iterator[tuple[int, int, str]]:
    """Edits in characters (position, deleted, inserted): typing, backspacing, jumps, large pastes and cuts."""
    length = at = 0
    for _ in range(steps):
        kind = choices.choice(["type", "type", "type", "back", "jump", "paste", "cut", "replace"])
        if kind == "jump" or at > length:
            at = choices.randrange(length + 1)
        deleted = inserted = 0
        if kind == "type":
            inserted = choices.randint(1, 3)
        elif kind == "back":
            deleted = min(at, choices.choice([1, 1, 5]))
            at -= deleted
        elif kind == "paste" and length < limit:
            inserted = choices.choice([5, 40, 300])
        elif kind == "cut":
            deleted = min(length - at, choices.choice([3, 30, 400, 5000]) if length > limit // 2 else 20)
        elif kind == "replace":
            deleted, inserted = min(length - at, choices.randint(0, 9)), choices.randint(0, 9)
        yield at, deleted, "".join(choices.choices(alphabet, k=inserted))
        at += inserted
        length += inserted - deleted


@pytest.mark.parametrize("alphabet", ["ab", "aé", "a漢", ALPHABET, "💃𝄞"], ids=ascii)
@pytest.mark.parametrize("seed", seeds(3, 15, 60))
def test_a_long_life(alphabet: str, seed: int) -> None:
    choices = random.Random(seed)
    native, text = Text(), ""
    for step, (at, deleted, inserted) in enumerate(sequences(choices, alphabet, 1200)):
        start = native.offset_to(at, "unicode", "utf-16")
        native.splice(start, native.offset_to(at + deleted, "unicode", "utf-16") - start, inserted)
        text = text[:at] + inserted + text[at + deleted :]
        if step % 7 == 0:
            assert native.hash() == zlib.crc32(text.encode("utf-16-le"))
        if step % 16 == 0:
            check(native, text)
            point = choices.randrange(len(text) + 1)
            offset = len(text[:point].encode("utf-16-le")) // 2
            assert native.offset_to(point, "unicode", "utf-16") == offset
            assert native.offset_to(offset, "utf-16", "unicode") == point
            assert native.slice(offset, len(native)) == text[point:]
            assert native.slice(0, offset) == text[:point]
    check(native, text)
    native.splice(0, len(native), "")
    check(native, "")
    native.splice(0, 0, "fine")
    check(native, "fine")


splices = st.lists(
    st.tuples(
        st.integers(-1, 60),
        st.one_of(st.integers(-1, 3), st.integers(0, 60)),
        st.one_of(st.text(ALPHABET, max_size=4), st.text(ALPHABET, min_size=20, max_size=40)),
    ),
    max_size=25,
)


@given(texts, splices)
def test_splices_fitting_or_not(text: str, edits: list[tuple[int, int, str]]) -> None:
    native, plain = Text(text), oracle.Text(text)
    for position, deleted, inserted in edits:
        refused = None
        try:
            plain.splice(position, deleted, inserted)
        except oracle.Refused as error:
            refused = str(error)
        if refused is None:
            native.splice(position, deleted, inserted)
        else:
            with pytest.raises(SynclineError) as caught:
                native.splice(position, deleted, inserted)
            assert caught.value.code == refused
        check(native, plain.text)


@given(texts, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9), st.text(ALPHABET, max_size=30)), max_size=8))
def test_a_batch_is_its_splices_or_nothing(text: str, edits: list[tuple[int, int, str]]) -> None:
    native, plain = Text(text), oracle.Text(text)
    try:
        for edit in edits:
            plain.splice(*edit)
    except oracle.Refused:
        with pytest.raises(SynclineError):
            native.replay(oracle.pack(edits))
        check(native, text)
    else:
        native.replay(oracle.pack(edits))
        check(native, plain.text)


LARGE = "xy💃" * 3000


@given(st.lists(st.tuples(st.integers(0, 12_100), st.integers(0, 40), st.text(ALPHABET, max_size=30)), max_size=8))
@settings(max_examples=60)
def test_a_batch_on_a_large_text_is_its_splices_or_nothing(edits: list[tuple[int, int, str]]) -> None:
    """It is small beside the text: that is not copied, but what was done is taken back."""
    native, plain = Text(LARGE), oracle.Text(LARGE)
    try:
        for edit in edits:
            plain.splice(*edit)
    except oracle.Refused:
        with pytest.raises(SynclineError):
            native.replay(oracle.pack(edits))
        check(native, LARGE)
    else:
        native.replay(oracle.pack(edits))
        check(native, plain.text)


def test_a_batch_on_a_large_text_is_taken_back() -> None:
    native = Text(LARGE)
    edits = [(4, 8, "ab💃"), (8, 0, "typed"), (13, 0, "💃"), (0, 4, ""), (6000, 400, ""), (6000, 0, "x" * 900)]
    with pytest.raises(SynclineError, match="split"):
        native.replay(oracle.pack([*edits, (8000, 0, ""), (8001, 1, ""), (8000, 3, ""), (8001, 2, "")]))
    check(native, LARGE)
    plain = oracle.Text(LARGE)
    for edit in edits:
        plain.splice(*edit)
    native.replay(oracle.pack(edits))
    check(native, plain.text)


def test_a_batch_on_a_large_text_may_split_a_chunk_at_each_edit() -> None:
    native, plain = Text(LARGE), oracle.Text(LARGE)
    edits = [(at, 0, "ab") for at in range(0, 12_000, 1_200)]
    for edit in edits:
        plain.splice(*edit)
    native.replay(oracle.pack(edits))
    check(native, plain.text)


@given(texts, st.lists(st.tuples(st.floats(0, 1), st.floats(0, 0.4), st.text(ALPHABET, max_size=30)), max_size=30))
@settings(max_examples=60)
def test_a_batch_that_fits(text: str, edits: list[tuple[float, float, str]]) -> None:
    native, plain = Text(text), oracle.Text(text)
    batch = []
    for place, share, inserted in edits:
        start = int(place * len(plain.text))
        end = start + int(share * (len(plain.text) - start))
        position, stop = (len(plain.text[:point].encode("utf-16-le")) // 2 for point in (start, end))
        batch.append((position, stop - position, inserted))
        plain.splice(*batch[-1])
    native.replay(oracle.pack(batch))
    check(native, plain.text)
    native.splice(0, 0, "!")  # a copy took its place; it lives on
    check(native, "!" + plain.text)


def test_a_batch_of_a_long_life() -> None:
    choices = random.Random(11)
    plain = oracle.Text("start")
    batch: list[tuple[int, int, str]] = []
    for at, deleted, inserted in sequences(choices, ALPHABET, 400):
        position, stop = (len(plain.text[:point].encode("utf-16-le")) // 2 for point in (at, at + deleted))
        batch.append((position, stop - position, inserted))
        plain.splice(*batch[-1])
    native = Text("start")
    native.replay(oracle.pack(batch))
    check(native, plain.text)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x80",
        b"\x01",
        b"\x01\x00\x00",
        b"\x01\x00\x00\x02a",
        b"\x01\x00\x00\x01ab",
        b"\x01\x00\x00\x01\xff",
        b"\x01\x00\x00\x01\xed\xa0\x80",
        b"\x02\x00\x00\x00",
        b"\xff" * 9,
        b"\xff" * 20,
        b"\x01" + b"\xff" * 20,
    ],
)
def test_a_damaged_batch_changes_nothing(body: bytes) -> None:
    native = Text("a💃b" * 30)
    with pytest.raises(ValueError, match="damaged splices"):
        native.replay(body)
    check(native, "a💃b" * 30)


@pytest.mark.parametrize(
    ("edits", "code"),
    [
        ([(0, 0, "x"), (5, 0, "y"), (1000, 0, "z")], "operation_out_of_range"),
        ([(0, 0, "x"), (0, 10**9, "")], "operation_out_of_range"),
        ([(0, 0, "x"), (2**33, 0, "")], "operation_out_of_range"),
        ([(0, 0, "x"), (0, 2**40, "")], "operation_out_of_range"),
        ([(0, 0, "x"), (3, 0, "y")], "operation_invalid"),
        ([(0, 0, "x"), (2, 1, "")], "operation_invalid"),
    ],
)
def test_a_batch_that_does_not_fit_changes_nothing(edits: Any, code: str) -> None:
    native = Text("a💃b" * 30)
    with pytest.raises(SynclineError) as caught:
        native.replay(oracle.pack(edits))
    assert caught.value.code == code
    check(native, "a💃b" * 30)


def test_a_batch_cannot_insert_half_a_pair() -> None:
    """Its halves would be put together by the text that all edits share."""
    native = Text("ab")
    body = oracle.varint(2) + bytes([0, 0, 1]) + bytes([0, 0, 1]) + "💃".encode()
    with pytest.raises(SynclineError, match="half a surrogate pair"):
        native.replay(body)
    check(native, "ab")


@given(st.binary(max_size=40))
def test_any_bytes(body: bytes) -> None:
    native = Text("a💃b")
    try:
        native.replay(body)
    except (ValueError, SynclineError):
        check(native, "a💃b")
    else:
        native.check()


@pytest.mark.parametrize("length", [*range(12), 500, *range(510, 522), 4095, 4096, 4097, 100_003])
def test_the_hash_at_any_length(length: int) -> None:
    choices = random.Random(length)
    text = "".join(choices.choices(ALPHABET + "\uffff\u00ff\u8000", k=length))
    native = Text(text)
    assert native.hash() == zlib.crc32(text.encode("utf-16-le"))
    assert Text("x" * length).hash() == zlib.crc32(b"x\0" * length)
    native.splice(0, 0, "ab")  # the rest does not lie at even addresses any more
    assert native.hash() == zlib.crc32(("ab" + text).encode("utf-16-le"))


@pytest.mark.parametrize("alphabet", ["ab", "a💃"], ids=ascii)
def test_a_large_text(alphabet: str) -> None:
    """More than a gap buffer holds in production: it goes into chunks, and shrinks again."""
    choices = random.Random(3)
    text = "".join(choices.choices(alphabet, k=140_000))
    native = Text(text[:90_000])
    native.splice(len(native), 0, text[90_000:])
    check(native, text)
    assert native.chunked
    for _ in range(150):
        at = choices.randrange(len(text))
        deleted = min(choices.choice([0, 1, 2, 2500]), len(text) - at)
        inserted = "".join(choices.choices(alphabet, k=choices.choice([0, 1, 1, 3000])))
        start = native.offset_to(at, "unicode", "utf-16")
        assert native.offset_to(start, "utf-16", "unicode") == at
        native.splice(start, native.offset_to(at + deleted, "unicode", "utf-16") - start, inserted)
        text = text[:at] + inserted + text[at + deleted :]
        assert native.hash() == zlib.crc32(text.encode("utf-16-le"))
    check(native, text)
    native.splice(0, native.offset_to(len(text) - 9, "unicode", "utf-16"), "")
    check(native, text[-9:])


def test_operations_of_many_inserts() -> None:
    choices = random.Random(5)
    native, text = Text(), ""
    for _ in range(25):
        components: list[int | str] = []
        parts, at = [], 0
        while at < len(text):
            step = min(choices.randint(1, 60), len(text) - at)
            kind = choices.choice(["keep", "keep", "drop"])
            covered = len(text[at : at + step].encode("utf-16-le")) // 2
            components.append(covered if kind == "keep" else -covered)
            parts += [text[at : at + step]] if kind == "keep" else []
            at += step
            parts.append("".join(choices.choices(ALPHABET, k=choices.choice([1, 2, 30]))))
            components.append(parts[-1])
        components.append("end💃")
        operation = Operation(components)
        inverse = native.invert(operation)
        native.apply(operation)
        after = "".join(parts) + "end💃"
        check(native, after)
        assert native.to_unit(native.to_unit(inverse, "unicode"), "utf-16") == inverse
        native.apply(inverse)
        check(native, text)
        native.apply(operation)
        text = after if len(after) < 3000 else ""
        if not text:
            native = Text()


@pytest.mark.parametrize("seed", seeds(6, 40, 400))
def test_what_many_insertions_reserve_is_enough(seed: int, sizes: tuple[int, int, int]) -> None:
    """Full chunks that are all split; erasures that join them, and what is put in again; runs between two chunks."""
    choices = random.Random(seed)
    cells = sizes[1]
    text = "x" * (cells * choices.choice([3, 40, 200]) if cells < 100 else 150_000)
    native = Text(text[: len(text) // 2])
    while len(native) < len(text):  # typed at the end: chunks are full
        step = min(len(text) - len(native), choices.choice([1, cells // 5 + 1, cells // 4]))
        native.splice(len(native), 0, text[:step])
    for _ in range(6):
        insert = choices.choice([1, 1, cells // 8 + 1, cells // 4, cells // 4 + 1, cells // 3, 3 * cells])
        keep = choices.choice([1, cells // 8 + 1, cells // 2, cells, 2 * cells])
        drop = choices.choice([0, 0, 1, cells // 2, cells - 1, 3 * cells])
        components: list[int | str] = []
        parts, at = [], 0
        while at < len(text) and len(components) < 60_000:
            kept = min(choices.choice([keep, keep, 1 + keep // 2]), len(text) - at)
            parts.append(text[at : at + kept])
            components.append(kept)
            at += kept
            gone = min(drop, len(text) - at)
            at += gone
            parts.append("y" * insert)
            components += [-gone, parts[-1]] if gone else [parts[-1]]
        text = "".join(parts) + text[at:]
        native.apply(Operation(components))
        check(native, text)
        if (len(text) > 400 * cells and cells < 100) or len(text) > 2_000_000:
            native.splice(cells, len(native) - 2 * cells, "")
            text = text[:cells] + text[-cells:]


def test_text_put_in_at_one_place_again_and_again(sizes: tuple[int, int, int]) -> None:
    """As when somebody types with the caret left before what was typed: chunks fill all the same."""
    cells = sizes[1]
    native = Text("x" * (150_000 if cells > 100 else 40 * cells))
    for place in (len(native) // 2, cells - cells // 8, 0):
        before, length = live_chunks(), len(native)
        for _ in range(20 * cells if cells < 100 else 6000):
            native.splice(place, 0, "y")
        assert live_chunks() - before < 5 * (len(native) - length) // cells + 20
    native.check()


MANY_INSERTS = """
import resource
from syncline.core.ot.ot import Operation
from syncline.core.text.text import Text
native = Text("x" * 200_000)
operation = Operation([1, "y"] * 50_000)
held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + 16_000_000, held + 16_000_000))
native.apply(operation)
assert len(native) == 250_000
"""


@pytest.mark.limited
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits its memory by what Linux tells")
def test_many_insertions_take_little_memory(sizes: tuple[int, int, int]) -> None:
    """A list of single characters once reserved 11 kB for each: half a gigabyte for an operation of 400 kB."""
    if sizes[1] > 100:  # once: it is a process with production's sizes
        done = subprocess.run(
            [sys.executable, "-c", MANY_INSERTS], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr


def test_none_is_left_behind() -> None:
    texts_before, chunks_before = live_texts(), live_chunks()
    kept = [Text("💃ab" * n) for n in range(0, 200, 7)]
    for native in kept:
        native.splice(0, 0, "x" * 500)
        native.splice(10, 480, "")
        native.replay(oracle.pack([(0, 0, "abc"), (1, 1, "d" * 700)]))
        with pytest.raises(SynclineError):
            native.replay(oracle.pack([(0, 0, "💃"), (1, 0, "d")]))
        native.__init__("again" * 100)  # type: ignore[misc]
        check(native, "again" * 100)
    assert live_texts() == texts_before + len(kept)
    del native
    kept.clear()
    assert live_texts() == texts_before
    assert live_chunks() == chunks_before


LACK_OF_MEMORY = """
import resource, sys, zlib
from syncline.core.ot.ot import Operation
from syncline.core.text.text import Text, set_limits
from tests.oracle import text as oracle

set_limits(*map(int, sys.argv[1:]))
start = "a\\U0001f483" * 1000
native = Text(start)
large = "b" * 20_000_000
operation = Operation([3, large, 6, large])
batch = oracle.pack([(0, 0, "c"), (1, 3, "d"), (2, 0, large), (3, 0, large)])
failed = 0
for call in (lambda: native.splice(3, 3, large), lambda: native.apply(operation), lambda: native.replay(batch)):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, resource.RLIM_INFINITY))
    try:
        call()
    except MemoryError:
        failed += 1
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    native.check()
    assert str(native) == start and native.hash() == zlib.crc32(start.encode("utf-16-le"))
native.splice(3, 3, "fine")
assert str(native) == start[:2] + "fine" + start[4:]
print(failed)
"""


@pytest.mark.limited
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="limits its memory by what Linux tells")
def test_want_of_memory_changes_nothing(sizes: tuple[int, int, int]) -> None:
    flat = max(sizes[0], 2_000_000_000) if sizes[0] else 0
    command = [sys.executable, "-c", LACK_OF_MEMORY, str(flat), *map(str, sizes[1:])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr
