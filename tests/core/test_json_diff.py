"""What leads from one JSON value, or one text, to another: the laws, what stays, what moves, and that it comes to an end."""

from __future__ import annotations

import copy
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.json import diff as json_diff
from syncline.core.json import json0
from syncline.core.ot import ot
from syncline.core.ot.differences import common, splices
from syncline.core.values.json_values import same_value as same
from tests.oracle.json0 import random_operation, random_value

randoms = st.integers(0, 2**32).map(Random)
letters = st.text(st.sampled_from("ab💃"), max_size=14)


# --------------------------------------------------------------------------------------------------------------- texts


def spliced(text: str, changes: list[tuple[int, int, str]]) -> str:
    for start, deleted, inserted in reversed(changes):
        text = text[:start] + inserted + text[start + deleted :]
    return text


def longest(one: Any, two: Any) -> int:
    """Of a common subsequence, as every textbook has it."""
    row = [0] * (len(two) + 1)
    for item in one:
        above, row = row, [0]
        for at, other in enumerate(two):
            row.append(above[at] + 1 if item == other else max(row[at], above[at + 1]))
    return row[-1]


@given(letters, letters)
def test_splices_lead_there(before: str, after: str) -> None:
    changes = splices(before, after)
    assert spliced(before, changes) == after
    assert all(one[0] + one[1] < two[0] for one, two in pairwise(changes))
    assert (changes == []) == (before == after)
    assert ot.apply(before, ot.diff(before, after)) == after


@given(st.lists(st.integers(0, 3), max_size=14), st.lists(st.integers(0, 3), max_size=14))
def test_a_longest_common_subsequence(one: list[int], two: list[int]) -> None:
    pairs = common(one, two)
    assert pairs is not None and len(pairs) == longest(one, two)
    assert all(one[a] == two[b] for a, b in pairs)
    assert all(a < c and b < d for (a, b), (c, d) in pairwise(pairs))


def test_small_changes_far_apart_are_several() -> None:
    assert splices("The quick fox jumps", "A quick brown fox leaps") == [(0, 3, "A"), (10, 0, "brown "), (14, 3, "lea")]
    assert splices("an old text", "a new text") == [(1, 5, " new")], "what words share by chance is not kept"
    assert ot.diff("one 💃 two 💃 three", "1 💃 two 💃 3").components == ["1", -3, 11, "3", -5]
    text = " ".join(str(number) for number in range(30_000))
    other = text.replace("11111", "eleven").replace("22222 ", "")
    assert len(splices(text, other)) == 2


def test_a_search_is_given_up() -> None:
    """Two texts that have nothing to do with each other are one splice; and a text has no more than a hundred."""
    dice = Random(1)
    noise = ["".join(dice.choice("ab") for _ in range(20_000)) for _ in range(2)]
    assert len(splices(*noise)) == 1 and common(*([ord(one) for one in text] for text in noise)) is None
    assert splices("abXcd" * 9, "abYcd" * 9, [10]) == [(2, 41, "Ycdab" * 8 + "Y")]
    many = "".join("5" + "-" * gap for gap in range(10, 200))
    changes = splices(many, many.replace("5", "X"))
    assert 50 < len(changes) <= 100 and spliced(many, changes) == many.replace("5", "X")


# ---------------------------------------------------------------------------------------------------------------- JSON


@given(randoms)
def test_diff(random: Random) -> None:
    before = random_value(random)
    after = random.choice([random_value(random), random_operation(random, before, 3)[1]])
    operation = json0.diff(before, after)
    assert same(json0.apply(before, operation), after)
    assert json0.parse(operation.components) == operation
    assert json0.resolve(before, operation)[1] == operation
    assert (len(operation) == 0) == same(before, after)
    drift = json0.drift(before, after)
    assert same(json0.apply(before, drift), after)
    assert json0.parse(drift.components, trusted=True) == drift


def test_a_drift_adds_to_integers() -> None:
    before = {"n": 5, "list": [1, "x", True], "f": 0.5, "big": -(2**53) + 1}
    after = {"n": 9, "list": [-1, "x", False], "f": 1, "big": 2**53 - 1}
    found = sorted(json0.drift(before, after).components, key=repr)
    assert found == [
        {"p": ["big"], "od": -(2**53) + 1, "oi": 2**53 - 1},
        {"p": ["f"], "od": 0.5, "oi": 1},
        {"p": ["list", 0], "na": -2},
        {"p": ["list", 2], "ld": True, "li": False},
        {"p": ["n"], "na": 4},
    ]
    assert json0.drift(3, 5).components == [{"p": [], "na": 2}]


def test_a_diff_keeps_what_is_equal() -> None:
    before = {"title": "an old text", "items": [1, {"a": True}, 3], "gone": None}
    after = {"title": "a new text", "items": [1, {"a": 1}, 2, 3]}
    assert json0.diff(before, after).components == [
        {"p": ["title"], "t": "text0", "o": [{"p": 1, "d": "n old"}, {"p": 1, "i": " new"}]},
        {"p": ["items", 1, "a"], "od": True, "oi": 1},
        {"p": ["items", 2], "li": 2},
        {"p": ["gone"], "od": None},
    ]


def item(random: Random) -> Any:
    kind = random.randrange(5)
    if kind == 0:
        return random.randrange(3)
    if kind == 1:
        return {"id": random.choice([0, 1, 2, "1", "x"]), "x": random.randrange(2), "list": [random.randrange(2)]}
    if kind == 2:
        return {"x": random.randrange(2)}
    return random.choice(["ab", "abc", None, True, {"id": True}, {"id": 1.5}, [0], [[1]]])


@given(randoms)
def test_lists_of_things(random: Random) -> None:
    before = [item(random) for _ in range(random.randrange(9))]
    after = [item(random) for _ in range(random.randrange(9))]
    if random.random() < 0.6:
        after = copy.deepcopy(before)
        random.shuffle(after)
        after = after[: random.randrange(len(after) + 1)] + [item(random) for _ in range(random.randrange(2))]
    for one, two in ((before, after), ({"in": [before, 1]}, {"in": [after, 2]})):
        operation = json0.diff(one, two)
        result, told = json0.resolve(one, operation)
        assert same(result, two) and told == operation
        assert (len(operation) == 0) == same(one, two)


def tasks(*ids: int) -> list[Any]:
    return [{"id": number, "title": f"task {number}"} for number in ids]


def test_elements_are_known_by_their_id() -> None:
    before = tasks(1, 2, 3, 4)
    after = [{"id": 4, "title": "task four"}, *tasks(1, 5, 3)]
    assert json0.diff(before, after).components == [
        {"p": [3, "title"], "t": "text0", "o": [{"p": 5, "d": "4"}, {"p": 5, "i": "four"}]},
        {"p": [1], "ld": before[1]},
        {"p": [2], "lm": 0},
        {"p": [2], "li": after[2]},
    ]
    # Another id is another thing, whatever else is the same; an id that two have is none.
    assert json0.diff([{"id": 1, "a": 1}], [{"id": "1", "a": 1}]).components == [
        {"p": [0], "ld": {"id": 1, "a": 1}},
        {"p": [0], "li": {"id": "1", "a": 1}},
    ]
    twice = [{"id": 1, "a": 1}, {"id": 1, "a": 2}]
    assert json0.diff(twice, twice[::-1]).components == [{"p": [0], "lm": 1}]


def test_the_fewest_elements_move() -> None:
    def moves(before: list[Any], after: list[Any]) -> list[Any]:
        return [(one["p"], one["lm"]) for one in json0.diff(before, after).components]

    assert moves([1, 2, 3, 4], [2, 3, 4, 1]) == [([0], 3)]
    assert moves([1, 2, 3, 4], [4, 1, 2, 3]) == [([3], 0)]
    assert moves(["a", "b", "a", "c"], ["b", "a", "c", "a"]) == [([0], 3)]
    assert len(moves(list(range(500)), list(range(250, 500)) + list(range(250)))) == 250
    many = list(range(2000))
    assert json0.diff(many, [*many[1:1500], 0, *many[1500:]]).components == [{"p": [0], "lm": 1499}]


@pytest.mark.parametrize("keyed", [True, False])
@given(st.data())
def test_an_edit_lands_on_what_it_was_made_on(keyed: bool, data: st.DataObject) -> None:
    """One gives the list another order, as a page does that is dragged about on, and removes and adds; another edits an element."""
    count = data.draw(st.integers(2, 8))
    before: list[Any] = [{"id": n, "text": f"item {n}"} if keyed else {"text": f"item {n}"} for n in range(count)]
    order = data.draw(st.permutations(range(count)))
    edited = data.draw(st.integers(0, count - 1))
    gone = data.draw(st.integers(0, count))
    after = [before[n] for n in order if n != gone or n == edited]
    after.insert(data.draw(st.integers(0, len(after))), {"id": 99, "text": "new"})
    arranged = json0.diff(before, after)
    edit = json0.parse([{"p": [edited, "text", 0], "si": "EDITED "}])
    with_edit = json0.apply(before, edit)
    expected = [one | {"text": "EDITED " + one["text"]} if one == before[edited] else one for one in after]
    assert json0.apply(with_edit, json0.transform(arranged, edit, "left")) == expected
    assert json0.apply(after, json0.transform(edit, arranged, "right")) == expected


def test_many_changes_are_few_or_one() -> None:
    """More components than may be: first without a search within each text, then as a whole, as far down as that is enough."""
    texts = {f"k{number}": "some words in a row" for number in range(300)}
    others = {key: text.replace("some", "other").replace("row", "line") for key, text in texts.items()}
    operation = json0.diff({"texts": texts, "n": 1}, {"texts": others, "n": 2})
    assert json0.apply({"texts": texts, "n": 1}, operation) == {"texts": others, "n": 2}
    assert operation.count <= json0.MAX_COMPONENTS and len(operation) == 301
    many = json0.diff({"list": [0] * 2000, "n": 1}, {"list": [1] * 2000, "n": 2})
    assert [component["p"] for component in many.components] == [["list"], ["n"]]


def test_large_lists_come_to_an_end() -> None:
    dice = Random(2)
    numbers = [dice.randrange(1000) for _ in range(5000)]
    shuffled = numbers[:]
    dice.shuffle(shuffled)
    assert json0.apply(numbers, json0.diff(numbers, shuffled)) == shuffled


N = 20_000


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (list(range(N)), list(range(N))[::-1]),
        ([[number] for number in range(N)], [[number, 0] for number in range(N)]),
        ({str(number): 0 for number in range(N)}, {str(number): 1 for number in range(N)}),
        ([{"id": number, "a": 0} for number in range(N)], [{"id": number, "a": 1} for number in range(N)]),
    ],
    ids=["reversed", "elements", "keys", "things"],
)
def test_what_is_too_much_is_not_made_to_its_end(before: Any, after: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: Counter[str] = Counter()

    def count(name: str) -> None:
        real = getattr(json_diff, name)

        def counted(*args: Any) -> Any:
            calls[name] += 1
            return real(*args)

        monkeypatch.setattr(json_diff, name, counted)

    count("changes")
    count("insort")
    [whole] = json0.diff(before, after).components
    assert whole == {"p": [], "od": before, "oi": after}
    assert calls.total() < 10 * json0.MAX_COMPONENTS, calls
