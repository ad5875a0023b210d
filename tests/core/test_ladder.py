"""Whatever way up an operation takes, it arrives as if it had been transformed against one operation after the other."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.documents.text_type import TextType
from syncline.core.ot.ot import Operation, map_position, transform
from syncline.core.storage.commits import Entry, encode_entries
from tests.oracle import ot as oracle
from tests.scale import seeds


class History:
    """A document, and all that happened to it."""

    def __init__(self, rng: random.Random, astral: bool, **bounds: Any) -> None:
        self.rng = rng
        self.letters = "ab💃漢" if astral else "abcé"
        self.document = TextType().open("d", "g", **bounds)
        self.texts = [""]
        self.entries: list[Entry] = []
        self.seqs: dict[str, int] = {}

    def components(self, base: int, unit: Any, parts: int) -> list[int | str]:
        """Random components that apply to the text at ``base``: ``parts`` 1 is a splice in either order of its parts."""
        rng, text = self.rng, self.texts[base]
        made: list[int | str] = []
        at = 0
        for _ in range(parts):
            skip = rng.randint(0, len(text) - at)
            if parts > 1:
                skip = min(skip, rng.randint(1, 3))
            if skip:
                made.append(oracle.length(text[at : at + skip], unit))
                at += skip
            body: list[int | str] = []
            if rng.random() < 0.65:
                body.append("".join(rng.choices(self.letters, k=rng.randint(1, 3))))
            # Few and short enough for the text to grow.
            count = min(rng.choice([1, 1, 2, 4]) if rng.random() < 0.97 else 30, len(text) - at)
            if count and (not body or rng.random() < 0.4):
                body.append(-oracle.length(text[at : at + count], unit))
                at += count
            if len(body) == 2 and rng.random() < 0.5:
                body.reverse()
            made += body
        return made

    def receive(self, base: int, unit: Any, components: list[int | str]) -> Entry:
        """Compares with the slow way; the expected entry is made of the entries that were there."""
        expected = Operation(components, unit)
        for entry in self.entries[base:]:
            expected = transform(expected, entry.in_unit(unit), "left")
        client = self.rng.choice("ABCDE")
        self.seqs[client] = self.seqs.get(client, 0) + 1
        receipt = self.document.receive(client, "user", self.seqs[client], base, components, unit)
        assert receipt.entry is not None
        assert receipt.entry.in_unit(unit) == expected
        self.entries.append(receipt.entry)
        self.texts.append(oracle.apply(self.texts[-1], receipt.entry.operation.components, "utf-16"))
        return receipt.entry

    def grow(self, count: int, parts: int = 1) -> None:
        for _ in range(count):
            base = self.document.revision
            self.receive(base, "utf-16", self.components(base, "utf-16", parts))


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(6, 30, 60))
def test_every_way_up(seed: int) -> None:
    """Splices and others, both units, from every distance."""
    rng = random.Random(seed)
    history = History(rng, astral=seed % 2 == 1)
    history.receive(0, "utf-16", ["".join(rng.choices(history.letters, k=40))])
    for number in range(800):
        revision = history.document.revision
        base = max(0, revision - int(rng.expovariate(1 / rng.choice([2, 60, 400]))))
        unit = rng.choice(["utf-16", "unicode"])
        history.receive(base, unit, history.components(base, unit, 1 if rng.random() < 0.8 else rng.randint(0, 9)))
        if number % 7 == 0:
            check_cursor(history, rng.randint(0, history.document.revision), unit)
    assert history.document.content() == history.texts[-1]


def check_cursor(history: History, base: int, unit: Any) -> None:
    at = history.rng.randint(0, len(history.texts[base]))
    position = oracle.length(history.texts[base][:at], unit)
    history.document.set_cursor("reader", base, position, position, unit)
    for entry in history.entries[base:]:
        position = map_position(position, entry.in_unit(unit), "left")
    assert history.document.cursor("reader", unit) == (position, position)


@given(st.data())
def test_a_splice_over_a_splice(data: st.DataObject) -> None:
    """All positions and orders that there are, close together; twice, so that what came out goes on."""
    draw = data.draw
    document = TextType().open("d", "g")
    document.receive("a", "u", 1, 0, ["0123456789"])
    length = 10
    operations = []
    for seq in (2, 3):
        operations.append(splice(draw, length))
        document.receive("a", "u", seq, seq - 1, operations[-1])
        length += operations[-1].delta
    expected = x = splice(draw, 10)
    for operation in operations:
        expected = transform(expected, operation, "left")
    receipt = document.receive("b", "u", 1, 1, x)
    assert receipt.entry is not None and receipt.entry.operation == expected


def splice(draw: Any, length: int) -> Operation:
    """[retain] [insert] [delete] [insert]"""
    at = draw(st.integers(0, length))
    deleted = draw(st.integers(0, length - at))
    parts: list[int | str] = [at, "b" * draw(st.integers(0, 2)), -deleted, "a" * draw(st.integers(0, 2))]
    return Operation([part for part in parts if part])


class TestMaps:
    def test_a_crowd_from_one_revision_makes_a_map_once(self) -> None:
        rng = random.Random(1)
        history = History(rng, astral=False)
        history.receive(0, "utf-16", ["x" * 200])
        history.grow(1200)
        base = 100
        before = history.document.ladder_bytes
        sizes = []
        for _ in range(20):
            history.receive(base, "utf-16", history.components(base, "utf-16", 9))
            sizes.append(history.document.ladder_bytes)
        assert before < sizes[0]  # so many parts pay for it at once
        assert len(set(sizes)) <= 3  # and it is kept

    @pytest.mark.parametrize("astral", [False, True])
    def test_many_components_pay_for_a_map_at_once(self, astral: bool) -> None:
        history = History(random.Random(2), astral)
        history.receive(0, "utf-16", ["".join(history.rng.choices(history.letters, k=300))])
        history.grow(150)
        # More bases than maps are kept for; both units; the maps grow with the document.
        for turn in range(40):
            base = 1 + 7 * (turn % 9)
            unit = "utf-16" if turn % 2 else "unicode"
            history.receive(base, unit, history.components(base, unit, 60))
            history.grow(3, parts=turn % 4 + 1)
            check_cursor(history, base, unit)
        splices = 512 * 16 * (2 if astral else 1)
        assert 4 * 768 <= history.document.ladder_bytes - splices < 4 * 3 * 1024  # four maps of one to three leaves

    def test_a_map_over_its_bound_is_not_kept(self) -> None:
        history = History(random.Random(3), astral=False, window_bytes=4096)
        history.receive(0, "utf-16", ["x" * 400])
        history.grow(300, parts=3)
        for _ in range(5):
            history.receive(1, "utf-16", history.components(1, "utf-16", 90))
        assert history.document.ladder_bytes < 2048 + 64 * 400

    def test_cursors_from_far_away(self) -> None:
        history = History(random.Random(4), astral=False)
        history.receive(0, "utf-16", ["x" * 50])
        history.grow(1300)
        for _ in range(50):
            check_cursor(history, 3, "utf-16")

    def test_blocks_of_a_crowd_from_everywhere(self) -> None:
        """Short and long ways over revisions that several have passed, with operations that no block holds between."""
        history = History(random.Random(8), astral=True)
        history.receive(0, "utf-16", ["".join(history.rng.choices(history.letters, k=300))])
        for _ in range(10):
            history.grow(100)
            history.grow(history.rng.randint(0, 2), parts=30)
        for _ in range(80):
            base = history.rng.randint(0, 900)
            unit = history.rng.choice(["utf-16", "unicode"])
            history.receive(base, unit, history.components(base, unit, history.rng.choice([1, 1, 1, 2, 3])))
            check_cursor(history, base, unit)

    @pytest.mark.parametrize("other", [[500, "y"], [500, -2], [500, "y", -2], [500, -2, "y"]])
    def test_at_the_edges_of_what_a_block_changed(self, other: list[int | str]) -> None:
        """From the first revision of a block, all edits around the one place that the block's operations touched."""
        history = History(random.Random(0), astral=False)
        history.receive(0, "utf-16", ["x" * 520])
        for number in range(300):
            end = history.document.length()
            history.receive(number + 1, "utf-16", other if number == 70 else [end, "e"])
        for at in range(497, 505):
            for body in (["a"], [-1], [-2], [-3], ["b", -1], [-1, "b"], [-2, 1, "c"]):
                history.receive(64, "utf-16", [at, *body])


class TestTheWindowMoves:
    def test_trimmed_widened_and_trimmed(self) -> None:
        rng = random.Random(5)
        history = History(rng, astral=True, window_operations=50)
        history.receive(0, "utf-16", ["".join(rng.choices(history.letters, k=30))])
        document = history.document
        for turn in range(30):
            history.grow(rng.randint(1, 80))
            if rng.random() < 0.7:
                document.trim()
            if rng.random() < 0.5:
                floor = document.floor
                first = max(1, floor - rng.randint(0, 60))
                document.prepend(first, history.entries[first - 1 : floor])
            for _ in range(4):
                base = rng.randint(document.floor, document.revision)
                unit = rng.choice(["utf-16", "unicode"])
                history.receive(base, unit, history.components(base, unit, rng.choice([1, 1, 30])))
                check_cursor(history, rng.randint(document.floor, document.revision), unit)
            if turn % 10 == 9:
                document.trim()
                assert document.revision - document.floor == 50

    def test_another_history_in_the_same_document(self) -> None:
        """A snapshot that is taken over leaves nothing of what was before."""
        first, second = History(random.Random(6), False), History(random.Random(7), True)
        for history in (first, second):
            history.receive(0, "utf-16", ["".join(history.rng.choices(history.letters, k=30))])
            history.grow(200)
        first.receive(10, "utf-16", first.components(10, "utf-16", 90))
        first.receive(20, "utf-16", first.components(20, "utf-16", 1))
        taken = TextType().open("d", "g")
        taken.replay(0, second.entries[:5])
        snapshot = taken.snapshot()
        document = first.document
        document.restore(5, snapshot)
        document.replay(5, second.entries[5:])
        assert encode_entries(document.since(5)) == encode_entries(second.entries[5:])
        second.document = document
        second.receive(10, "utf-16", second.components(10, "utf-16", 90))
        second.receive(10, "unicode", second.components(10, "unicode", 1))
        second.receive(20, "utf-16", second.components(20, "utf-16", 1))
