"""The laws on very many random cases, without hypothesis: 10,000 in the gate, a million in `make nightly`.

SYNCLINE_FUZZ_CASES says how many. A failure names its seed and case.
"""

from __future__ import annotations

import os
import random

import pytest

from syncline.core.ot.ot import Operation, apply, compose, diff, invert, map_position, to_unit, transform
from syncline.core.text.text import Text
from tests.oracle import ot as oracle
from tests.oracle.strategies import ALPHABET
from tests.scale import SEED, by_level

CASES = int(os.environ.get("SYNCLINE_FUZZ_CASES") or by_level(10_000, 100_000, 1_000_000))
UNITS = ("utf-16", "unicode")


def random_operation(choices: random.Random, text: str, unit: str) -> Operation:
    components: oracle.Components = []
    at = 0
    for _ in range(choices.choice((0, 1, 1, 2, 3, 6))):
        kind = choices.random()
        if kind < 0.4:
            components.append("".join(choices.choices(ALPHABET, k=choices.randint(1, 3))))
        elif at < len(text):
            part = text[at : at + choices.randint(1, 4)]
            covered = oracle.length(part, unit)
            components.append(covered if kind < 0.7 else -covered)
            at += len(part)
    return Operation(components, unit)  # type: ignore[arg-type]


def check(choices: random.Random) -> None:
    text = "".join(choices.choices(ALPHABET, k=choices.choice((0, 1, 3, 8, 16))))
    unit = choices.choice(UNITS)
    a, b, x = (random_operation(choices, text, unit) for _ in range(3))
    after = apply(text, a)
    c = random_operation(choices, after, unit)
    ac, done = compose(a, c), apply(after, c)
    assert apply(text, ac) == done
    assert ac.delta == a.delta + c.delta
    d = random_operation(choices, done, unit)
    assert compose(ac, d) == compose(a, compose(c, d))
    # TP1
    left, right = transform(a, b, "left"), transform(b, a, "right")
    merged = apply(after, right)
    assert apply(apply(text, b), left) == merged
    # A composite against one operation agrees with its steps, by document.
    steps = transform(c, transform(x, a, "right"), "left")
    stepped = apply(apply(apply(text, x), transform(a, x, "left")), steps)
    assert apply(apply(text, x), transform(ac, x, "left")) == stepped
    # Inverses, units, differences.
    assert apply(after, invert(a, text)) == text
    other = "unicode" if unit == "utf-16" else "utf-16"
    converted = to_unit(a, text, other)  # type: ignore[arg-type]
    assert apply(text, converted) == after
    assert to_unit(converted, text, unit) == a  # type: ignore[arg-type]
    assert apply(text, diff(text, merged, unit)) == merged  # type: ignore[arg-type]
    # Cursors keep their order and stay in the text.
    length = oracle.length(text, unit)
    first, second = sorted(choices.randint(0, length) for _ in range(2))
    for stick in ("left", "right"):
        low, high = (map_position(position, a, stick) for position in (first, second))  # type: ignore[arg-type]
        assert 0 <= low <= high <= oracle.length(after, unit)
    # The mutable text, and no pair is ever split.
    native = Text(text)
    operation = native.to_unit(a, "utf-16") if unit == "utf-16" else converted
    native.apply(operation)
    assert str(native) == after
    after.encode("utf-16-le")
    assert operation.digest == Operation(operation.components).digest


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_the_laws_hold_in_many_cases() -> None:
    choices = random.Random()
    for number in range(CASES):
        choices.seed(f"{SEED}.{number}")
        try:
            check(choices)
        except Exception as error:
            raise AssertionError(f"case {SEED}.{number}") from error
