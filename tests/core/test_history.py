"""A folded history transforms as its operations one by one; a tree of composites is the left fold of them.

Hypothesis draws small, tight cases with characters of every width, against the slow oracle. Random runs, with histories
long enough to grow the tree of spans by several levels, compare with the loop over `transform`. `make nightly` looks at
hundreds of thousands of them.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import Operation, compose, map_position, transform
from syncline.core.ot.position_map import PositionMap, compose_all, live_maps
from tests.oracle import ot as oracle
from tests.oracle.strategies import operations, texts, units
from tests.scale import seeds


def chain(draw: Any, text: str, unit: Any, count: int) -> list[Operation]:
    made = []
    for _ in range(count):
        made.append(Operation(draw(operations(text, unit)), unit))
        text = oracle.apply(text, made[-1].components, unit)
    return made


def one_by_one(operation: Operation, history: list[Operation]) -> Operation:
    for other in history:
        operation = transform(operation, other, "left")
    return operation


@given(st.data(), texts, units, st.integers(0, 5), st.integers(0, 5))
def test_a_map_is_the_fold_of_transforms(data: st.DataObject, text: str, unit: Any, count: int, cut: int) -> None:
    history = chain(data.draw, text, unit, count)
    folded = PositionMap(history[:cut], unit)
    folded.extend(history[cut:])
    slow = oracle.PositionMap(oracle.length(text, unit), unit)
    for operation in history:
        slow.fold(operation.components)
    x = Operation(data.draw(operations(text, unit)), unit)
    assert folded.transform(x).components == slow.transform(x.components)
    assert folded.transform(x) == one_by_one(x, history)
    assert folded.operations == len(history)
    for position in range(oracle.length(text, unit) + 1):
        expected = position
        for operation in history:
            expected = map_position(expected, operation, "left")
        assert folded.map_position(position) == expected


@given(st.data(), texts, units, st.integers(0, 6))
def test_composing_all_is_the_left_fold(data: st.DataObject, text: str, unit: Any, count: int) -> None:
    history = chain(data.draw, text, unit, count)
    expected: oracle.Components = []
    folded = Operation([], unit)
    for operation in history:
        expected = oracle.compose(expected, operation.components, unit)
        folded = compose(folded, operation)
    assert compose_all(history, unit).components == expected
    assert compose_all(iter(history), unit) == folded


class Author:
    """Makes operations that follow each other, most of them typing, as random as ``rng``."""

    def __init__(self, rng: random.Random, length: int) -> None:
        self.rng = rng
        self.length = length
        self.at = 0

    def splice(self) -> list[int | str]:
        """A keystroke near the last one; now and then a jump, a longer delete, a replace in either order."""
        rng = self.rng
        if rng.random() < 0.1:
            self.at = rng.randint(0, self.length)
        self.at = min(self.at, self.length)
        kind = rng.random()
        deleted = rng.randint(1, 3 if rng.random() < 0.9 else 60)
        if kind < 0.3:
            deleted = min(deleted, self.at)
            self.at -= deleted
        else:
            deleted = min(deleted, self.length - self.at)
        inserted = "x" * rng.randint(1, 3) if kind > 0.25 else ""
        if kind > 0.4:
            deleted = 0
        body: list[int | str] = [part for part in (inserted, -deleted) if part]
        if kind < 0.35:
            body.reverse()
        made = [self.at, *body] if self.at and body else body
        self.at += len(inserted)
        self.length += len(inserted) - deleted
        return made

    def many(self, parts: int) -> list[int | str]:
        """Components in any order."""
        rng = self.rng
        made: list[int | str] = []
        at = delta = 0
        for _ in range(rng.randint(0, parts)):
            count = rng.randint(1, 4 if rng.random() < 0.9 else 40)
            if rng.random() < 0.4:
                made.append("y" * count)
                delta += count
            elif count <= self.length - at:
                made.append(count if rng.random() < 0.6 else -count)
                delta -= count if made[-1] == -count else 0
                at += count
        self.length += delta
        return made

    def next(self) -> Operation:
        return Operation(self.splice() if self.rng.random() < 0.8 else self.many(8))


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(2, 20, 50))
def test_random_histories(seed: int) -> None:
    """In a long run 50 x 1,000 histories with 5 operations each: a quarter of a million cases."""
    rng = random.Random(seed)
    for number in range(1000):
        start = rng.randint(0, 80)
        author = Author(rng, start)
        history = [author.next() for _ in range(rng.randint(0, 30 if number % 20 else 400))]
        cut = rng.randint(0, len(history))
        folded = PositionMap(history[:cut])
        folded.extend(history[cut:])
        for _ in range(5):
            x = Operation(Author(rng, start).many(6))
            assert folded.transform(x) == one_by_one(x, history), (seed, number)
        composite = Operation([])
        for operation in history:
            composite = compose(composite, operation)
        assert compose_all(history) == composite, (seed, number)


@pytest.mark.parametrize(("seed", "spread"), [(1, "typing"), (2, "everywhere"), (3, "delete it all")])
def test_a_long_history(seed: int, spread: str) -> None:
    """Three levels of nodes; looked at while it grows."""
    rng = random.Random(seed)
    start = 20_000
    author = Author(rng, start)
    folded = PositionMap()
    history: list[Operation] = []
    for _ in range(4):
        fresh = []
        for _ in range(2000):
            if spread != "typing":
                author.at = rng.randint(0, author.length)
            fresh.append(author.next())
        if spread == "delete it all" and len(history) > 3000:
            at = rng.randint(1, 50)
            fresh.append(Operation([at, 1 - author.length + at]))
            author.length = at + 1
        folded.extend(fresh)
        history += fresh
        for operation in (
            *(Operation(Author(rng, start).many(6)) for _ in range(3)),
            Operation([rng.randint(1, start), "q"]),
            Operation([rng.randint(1, 999), -rng.randint(1, 9000), "q"]),
            Operation([part for _ in range(300) for part in (rng.randint(1, 60), "z", -1)]),
            Operation([-start, "new"]),
            Operation([start, "end"]),
        ):
            assert folded.transform(operation) == one_by_one(operation, history)
        for position in rng.sample(range(start), 20):
            expected = position
            for operation in history:
                expected = map_position(expected, operation, "left")
            assert folded.map_position(position) == expected
    assert folded.operations == len(history)
    assert folded.bytes > 40_000 or spread == "typing"  # more than one inner node


class TestTies:
    def test_inserts_of_the_history_stand_before_the_next_visible_cell(self) -> None:
        folded = PositionMap([Operation([2, -2]), Operation([2, "new"])])
        # Tombstones stay to the left of what was put later: what arrives inside them comes before it.
        assert folded.transform(Operation([3, "mine"])).components == [2, "mine"]
        assert folded.transform(Operation([4, "mine"])).components == [2, "mine"]
        assert folded.transform(Operation([4, 1, "mine"])).components == [6, "mine"]

    def test_the_order_of_insert_and_delete_counts(self) -> None:
        x = Operation([4, "mine"])
        assert PositionMap([Operation([2, "new", -2])]).transform(x).components == [5, "mine"]
        assert PositionMap([Operation([2, -2, "new"])]).transform(x).components == [2, "mine"]

    def test_a_map_is_no_composite(self) -> None:
        """T(x, a.b) differs from T(T(x, a), b): why a history is never composed to transform against it."""
        a, b, x = Operation([1, -1]), Operation([1, "B"]), Operation([2, "x"])
        assert one_by_one(x, [a, b]) == PositionMap([a, b]).transform(x) != transform(x, compose(a, b), "left")

    def test_what_is_put_and_deleted_again_leaves_no_trace(self) -> None:
        folded = PositionMap([Operation([3, "abc"]), Operation([3, -3])] * 1000)
        assert folded.bytes == PositionMap().bytes
        assert folded.transform(Operation([3, -1, "x"])).components == [3, -1, "x"]


class TestEdges:
    def test_nothing(self) -> None:
        x = Operation([2, "a"])
        assert PositionMap().transform(x) == PositionMap([Operation([])]).transform(x) == x
        assert PositionMap([Operation(["b"])]).transform(Operation([])).is_identity
        assert compose_all([]).is_identity
        assert compose_all([], "unicode").unit == "unicode"
        assert compose_all([x]) == x
        assert PositionMap().map_position(7) == 7

    def test_lengths_at_their_limit(self) -> None:
        most = 2_147_483_647
        folded = PositionMap([Operation([most - 1, "a"])])
        assert folded.transform(Operation([most - 2, -1])).components == [most - 2, -1]
        with pytest.raises(SynclineError) as caught:
            folded.extend([Operation([-5]), Operation([-(most - 2)])])
        assert caught.value.code == ErrorCode.OPERATION_OUT_OF_RANGE
        # What it refused left no trace.
        assert folded.operations == 2
        assert folded.transform(Operation([5, "x"])).components == ["x"]

    def test_units_do_not_mix(self) -> None:
        points = Operation([1, "a"], "unicode")
        for refuse in (
            lambda: PositionMap([points]),
            lambda: PositionMap().transform(points),
            lambda: compose_all([points]),
            lambda: compose_all([points, Operation(["a"])], "unicode"),
            lambda: PositionMap(unit="bytes"),  # type: ignore[arg-type]
            lambda: PositionMap().map_position(-1),
        ):
            with pytest.raises(ValueError, match=r"unit|position"):
                refuse()
        for item in (None, [1, "a"]):
            with pytest.raises(TypeError):
                PositionMap([item])  # type: ignore[list-item]
            with pytest.raises(TypeError):
                compose_all([Operation(["a"]), item])  # type: ignore[list-item]

    def test_a_composite_may_not_split_a_pair(self) -> None:
        for at in range(1, 40):
            steps = [Operation([n, "💃"] if n else ["💃"]) for n in range(0, 2 * at, 2)]
            with pytest.raises(SynclineError) as caught:
                compose_all([*steps, Operation([1, "a"]), Operation(["b"])])
            assert caught.value.code == ErrorCode.OPERATION_INVALID

    def test_its_memory_is_bounded(self) -> None:
        folded = PositionMap(max_bytes=4096)
        with pytest.raises(OverflowError, match="bytes"):
            folded.extend(Operation([2 * n + 1, "a"]) for n in range(10_000))
        assert folded.bytes <= 4096
        for use in (
            lambda: folded.transform(Operation(["a"])),
            lambda: folded.extend([Operation(["a"])]),
            lambda: folded.map_position(1),
        ):
            with pytest.raises(ValueError, match="failed"):
                use()

    def test_none_is_left_behind(self) -> None:
        before = live_maps()
        maps = [PositionMap([Operation([n, "a"]) for n in range(1, 300)]) for _ in range(10)]
        assert live_maps() == before + 10
        with pytest.raises(TypeError):
            copy.copy(maps[0])
        with pytest.raises(TypeError):
            maps[0].__init__()  # type: ignore[misc]
        maps.clear()
        assert live_maps() == before
