"""Positions in JSON documents: they follow what they name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core import json_position
from syncline.core.errors import SynclineError
from syncline.core.types import document_type
from tests.oracle.edits import random_content, random_edit

JSON = document_type("json")
randoms = st.integers(0, 2**32).map(Random)


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Of all values."""
    found = [path]
    if isinstance(value, dict):
        found += [place for key, item in value.items() for place in places(item, (*path, key))]
    if isinstance(value, list):
        found += [place for at, item in enumerate(value) for place in places(item, (*path, at))]
    return found


def after(content: Any, value: Any) -> tuple[Any, list[dict[str, Any]]]:
    operation = JSON.parse(copy.deepcopy(value))
    result, told = JSON.applied(copy.deepcopy(content), operation)
    return result, JSON.describe(told)


def marked(value: Any, count: Iterator[int]) -> Any:
    """Each object has a number of its own, which is none that is added to."""
    if isinstance(value, dict):
        return {key: marked(item, count) for key, item in value.items()} | {"@": next(count) + 0.5}
    return [marked(item, count) for item in value] if isinstance(value, list) else value


def marks(value: Any) -> dict[float, list[list[str | int]]]:
    found: dict[float, list[list[str | int]]] = {}
    for place in places(value):
        if isinstance(there := walk(value, place), dict) and isinstance(there.get("@"), float):
            found.setdefault(there["@"], []).append([*place])
    return found


@given(randoms)
def test_a_position_follows_what_it_names(random: Random) -> None:
    """Each object is found again by its number; a position of what is gone leads to something that is there."""
    content = random_content("json", random)
    for _ in range(3):
        content = marked(content, count())
        result, told = after(content, random_edit("json", random, content))
        there = marks(result)
        for place in places(content):
            json_position.check(result, json_position.move(told, [*place], "left"))
        for mark, [place] in marks(content).items():
            if len(there.get(mark, [])) == 1:
                assert json_position.move(told, place, "left") == there[mark][0]
        content = result


def walk(value: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("operation", "before", "moved"),
    [
        ([{"p": ["s", 2], "si": "x🙂"}], ["s", 3], ["s", 6]),
        ([{"p": ["s", 3], "si": "x"}], ["s", 3], ["s", 3]),
        ([{"p": ["s", 1], "sd": "bcd"}], ["s", 3], ["s", 1]),
        ([{"p": ["s", 1], "sd": "bcd"}], ["s"], ["s"]),
        ([{"p": ["list", 1], "li": 0}], ["list", 1, "a"], ["list", 2, "a"]),
        ([{"p": ["list", 2], "li": 0}], ["list", 1, "a"], ["list", 1, "a"]),
        ([{"p": ["list", 0], "ld": 7}], ["list", 1, "a"], ["list", 0, "a"]),
        ([{"p": ["list", 1], "ld": {"a": 1}}], ["list", 1, "a"], ["list"]),
        ([{"p": ["list", 1], "ld": {"a": 1}, "li": 2}], ["list", 1, "a"], ["list", 1]),
        ([{"p": ["list", 1], "lm": 0}], ["list", 1, "a"], ["list", 0, "a"]),
        ([{"p": ["list", 0], "lm": 2}], ["list", 1, "a"], ["list", 0, "a"]),
        ([{"p": ["list", 2], "lm": 1}], ["list", 1, "a"], ["list", 2, "a"]),
        ([{"p": ["list"], "od": []}], ["list", 1, "a"], []),
        ([{"p": ["list"], "od": [], "oi": 1}], ["list", 1, "a"], ["list"]),
        ([{"p": ["t"], "oi": 1}], ["list", 1], ["list", 1]),
        ([{"p": [], "od": None, "oi": 1}], ["list", 1], []),
        ([{"p": ["n"], "na": 1}], ["n"], ["n"]),
    ],
)
def test_where_positions_go(operation: Any, before: Any, moved: Any) -> None:
    content = {"s": "abcde", "list": [7, {"a": 1}, 8], "n": 0}
    json_position.check(content, before)
    result, told = after(content, operation)
    assert json_position.move(told, before, "left") == moved
    json_position.check(result, moved)
    author = json_position.end(told)
    assert author is not None
    json_position.check(result, author)


def test_what_is_inserted_at_ones_own_offset_pushes_it_on() -> None:
    told = JSON.describe(JSON.parse([{"p": ["s", 3], "si": "xy"}]))
    assert json_position.move(told, ["s", 3], "right") == json_position.end(told) == ["s", 5]
    assert json_position.end([]) is None


@pytest.mark.parametrize("path", [["x"], ["s", 6], ["s", 1, 1], ["list", 3], ["list", "0"], ["n", 0], [0]])
def test_what_leads_nowhere(path: Any) -> None:
    with pytest.raises(SynclineError):
        json_position.check({"s": "abcde", "list": [7, {"a": 1}, 8], "n": 0}, path)


@pytest.mark.parametrize("value", [None, 3, "s", [-1], [1.0], [None], [True], ["a"] * 66, ("a",)])
def test_what_is_no_position(value: Any) -> None:
    with pytest.raises(SynclineError):
        json_position.parse(value)
