"""Our operations beside npm ot-text-unicode (ShareDB's text type), live, on random cases in its unit: code points."""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncline.core.ot.ot import Operation, apply, compose, to_unit, transform
from tests.oracle import ot as oracle
from tests.oracle.strategies import ALPHABET
from tests.scale import SEED, by_level

from . import Peers

ROUNDS = by_level(4, 20, 100)
CASES = 1_000  # a round


def random_components(choices: random.Random, text: str) -> oracle.Components:
    result: oracle.Components = []
    at = 0
    for _ in range(choices.randint(0, 6)):
        kind = choices.choice("kdi")
        if kind == "i":
            result.append("".join(choices.choices(ALPHABET, k=choices.randint(1, 4))))
        elif at < len(text):
            count = choices.randint(1, min(5, len(text) - at))
            result.append(count if kind == "k" else -count)
            at += count
    return result


def theirs(operation: Operation) -> list[Any]:
    return [{"d": -part} if isinstance(part, int) and part < 0 else part for part in operation.components]


def ours(components: list[Any]) -> Operation:
    """A delete of theirs is {"d": length}, after an inversion {"d": the text}."""
    return Operation(
        [
            -(part["d"] if isinstance(part["d"], int) else len(part["d"])) if isinstance(part, dict) else part
            for part in components
        ],
        "unicode",
    )


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_apply_transform_and_compose_agree(peers: Peers) -> None:
    choices = random.Random(SEED)
    for number in range(ROUNDS):
        cases, calls = [], []
        for _ in range(CASES):
            text = "".join(choices.choices(ALPHABET, k=choices.randint(0, 20)))
            a, b = (Operation(random_components(choices, text), "unicode") for _ in range(2))
            c = Operation(random_components(choices, apply(text, a)), "unicode")
            cases.append((text, a, b, c))
            calls += [
                ("text.apply", text, theirs(a)),
                ("text.transform", theirs(a), theirs(b), "left"),
                ("text.transform", theirs(b), theirs(a), "right"),
                ("text.compose", theirs(a), theirs(c)),
            ]
        answers = iter(peers.batch(calls))
        for text, a, b, c in cases:
            applied, left, right, composed = (next(answers) for _ in range(4))
            where = f"seed {SEED}, round {number}: {text!r} {a} {b} {c}"
            assert apply(text, a) == applied, where
            assert transform(a, b, "left") == ours(left), where
            assert transform(b, a, "right") == ours(right), where
            assert compose(a, c) == ours(composed), where
            # And in UTF-16 units it is the same operation.
            native_a, native_b = to_unit(a, text, "utf-16"), to_unit(b, text, "utf-16")
            assert transform(native_a, native_b, "left") == to_unit(ours(left), apply(text, b), "utf-16"), where
