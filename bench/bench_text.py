"""Document text alone: batches, distant edits in large texts, CRCs and conversions. ``make bench`` runs this too.

Each benchmark asserts its result before the clock runs. The histories: one that is made up, and the automerge-paper editing
trace where it is there.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from histories import MADE_UP, history

from syncline.core.text.text import Text, set_limits
from tests.oracle.text import pack

FLAT, LEAF, CHILDREN = 131_072, 2_032, 64


@pytest.fixture(params=["gap buffer", "chunks"])
def storage(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set_limits(FLAT if request.param == "gap buffer" else 0, LEAF, CHILDREN)
    yield
    set_limits(*before)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("name", ["automerge-paper", MADE_UP])
def test_replay_a_history_in_one_batch(benchmark: Any, name: str) -> None:
    edits, end = history(name)
    body = pack(edits)

    def replay() -> Text:
        text = Text()
        text.replay(body)
        return text

    assert str(replay()) == end
    benchmark.extra_info["edits"] = len(edits)
    benchmark.pedantic(replay, rounds=10)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("name", ["automerge-paper", MADE_UP])
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


@pytest.mark.parametrize("length", [10_000, 100_000, 1_000_000, 10_000_000])
def test_a_thousand_edits_anywhere(benchmark: Any, length: int) -> None:
    choices = random.Random(1)
    text = Text("abcdefgh" * (length // 8))
    places = [choices.randrange(length) for _ in range(1000)]

    def edit() -> None:
        splice = text.splice
        for place in places:
            splice(place, 0, "x")
            splice(place, 1, "")

    edit()
    assert str(text) == "abcdefgh" * (length // 8)
    benchmark.pedantic(edit, rounds=10)


@pytest.mark.parametrize("length", [100_000, 1_000_000, 10_000_000])
def test_the_hash_after_an_edit(benchmark: Any, length: int) -> None:
    plain = "abcdefgh" * (length // 8)
    text = Text(plain)
    assert text.hash() == zlib.crc32(plain.encode("utf-16-le"))

    def touch() -> tuple[tuple[()], dict[str, Any]]:
        text.splice(length // 3, 1, "?")
        return (), {}

    benchmark.pedantic(text.hash, setup=touch, rounds=50)


@pytest.mark.parametrize("length", [10_000, 1_000_000, 10_000_000])
def test_a_thousand_offsets_beside_astral_characters(benchmark: Any, length: int) -> None:
    choices = random.Random(2)
    text = Text("abcdefg💃" * (length // 8))
    text.splice(0, 0, "")
    places = [choices.randrange(length // 8) for _ in range(1000)]
    assert all(text.offset_to(8 * place, "unicode", "utf-16") == 9 * place for place in places)

    def convert() -> None:
        to = text.offset_to
        for place in places:
            to(8 * place, "unicode", "utf-16")
            to(9 * place, "utf-16", "unicode")

    benchmark.pedantic(convert, rounds=10)


@pytest.mark.parametrize("sample", ["abcdefgh", "abc漢é 字\n", "abcdefg💃"], ids=ascii)
def test_a_text_of_a_million_characters_in_and_out(benchmark: Any, sample: str) -> None:
    plain = sample * (1_000_000 // len(sample))
    assert str(Text(plain)) == plain
    benchmark.pedantic(lambda: str(Text(plain)), rounds=10)
