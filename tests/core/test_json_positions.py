"""Where a cursor in a JSON document goes: beside marks that the operations themselves carry along."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from syncline.core.errors import SynclineError
from syncline.core.json import positions as json_positions
from syncline.core.json.json_type import JsonType
from tests.scale import seeds

TYPE = JsonType()


def moved(operation: Any, place: tuple[str | int, ...]) -> tuple[str | int, ...]:
    return json_positions.move(TYPE.parse(operation), place)


@pytest.mark.parametrize(
    ("operation", "before", "after"),
    [
        ([{"p": ["l", 0], "li": "x"}], ("l", 0), ("l", 1)),
        ([{"p": ["l", 2], "li": "x"}], ("l", 1, "k"), ("l", 1, "k")),
        ([{"p": ["l", 1], "ld": 0}], ("l", 1, "k", 3), ("l", 1)),
        ([{"p": ["l", 1], "ld": 0, "li": 1}], ("l", 1, "k"), ("l", 1)),
        ([{"p": ["l", 0], "lm": 2}], ("l", 0, "k"), ("l", 2, "k")),
        ([{"p": ["l", 0], "lm": 2}], ("l", 1), ("l", 0)),
        ([{"p": ["l", 2], "lm": 0}], ("l", 1), ("l", 2)),
        ([{"p": ["a"], "od": 1}], ("a", 4, "b"), ()),
        ([{"p": ["a", "b"], "od": 1}], ("a", "b"), ("a",)),
        ([{"p": ["a"], "od": 1, "oi": 2}], ("a", 4), ("a",)),
        ([{"p": ["b"], "od": 1, "oi": 2}], ("a", 4), ("a", 4)),
        ([{"p": [], "od": 1, "oi": 2}], ("a", 4), ()),
        ([{"p": ["n"], "na": 2}], ("n",), ("n",)),
        ([{"p": ["s", 1], "si": "ab"}], ("s", 1), ("s", 1)),
        ([{"p": ["s", 0], "si": "🤟"}], ("s", 1), ("s", 3)),
        ([{"p": ["s", 0], "sd": "abc"}], ("s", 2), ("s", 0)),
        ([{"p": ["s", 0], "sd": "a"}], ("t", 2), ("t", 2)),
        ([{"p": ["l", 0], "li": 1}, {"p": ["l", 1, 0], "si": "x"}], ("l", 0, 4), ("l", 1, 5)),
    ],
)
def test_examples(operation: Any, before: tuple[str | int, ...], after: tuple[str | int, ...]) -> None:
    assert moved(operation, before) == after


@pytest.mark.parametrize("value", ["x", 1, None, ["__proto__"], [-1], [1.5], [True], [["a"]], [0] * 200, ["k" * 1025]])
def test_what_is_no_place(value: Any) -> None:
    with pytest.raises(SynclineError) as caught:
        json_positions.read(value)
    assert caught.value.code == "invalid_data"


def test_a_place_has_to_be_there() -> None:
    content = {"l": ["ab", {"k": None}]}
    for place in ((), ("l",), ("l", 0), ("l", 0, 2), ("l", 2), ("l", 1, "k")):
        json_positions.check(content, place)
    for place in (("x",), ("l", 3), ("l", 0, 3), ("l", 1, "k", 0), ("l", "k"), (0,), ("l", 2, 0), ("l", 0, 1, 1)):
        with pytest.raises(SynclineError):
            json_positions.check(content, place)


@pytest.mark.parametrize("seed", seeds(60, 2000))
def test_a_mark_in_the_content_is_where_the_place_goes(seed: int) -> None:
    """The oracle: the element that a place points at is a list of its own, found again by its identity."""
    dice = random.Random(seed)
    content: Any = [[[name, row] for name in range(dice.randint(1, 4))] for row in range(3)]
    for _ in range(30):
        rows = [row for row in range(len(content)) if content[row]]
        if not rows:
            break
        row = dice.choice(rows)
        at = dice.randrange(len(content[row]))
        mark = content[row][at]
        length, kind = len(content[row]), dice.randint(0, 5)
        operation: Any = {
            0: [{"p": [dice.randint(0, len(content))], "li": [["new"]]}],
            1: [{"p": [row, dice.randint(0, length)], "li": ["new", dice.random()]}],
            2: [{"p": [row, dice.randrange(length)], "ld": None}],
            3: [{"p": [row, dice.randrange(length)], "lm": dice.randrange(length)}],
            4: [{"p": [dice.randrange(len(content))], "lm": dice.randrange(len(content))}],
            5: [{"p": [dice.randrange(len(content))], "ld": None}],
        }[kind]
        after = TYPE.apply(content, TYPE.parse(copy.deepcopy(operation)))
        place = moved(operation, (row, at))
        json_positions.check(after, place)
        found = [(r, c) for r, items in enumerate(after) for c, item in enumerate(items) if item is mark]
        if found:
            assert place == found[0], (operation, row, at)
        content = after
