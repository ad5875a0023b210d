"""How much is tried, and from which seed.

Three levels, chosen by SYNCLINE_TEST_LEVEL: ``gate`` repeats itself exactly, so that what fails is what was changed; ``full``
(`make test-all`) and ``nightly`` (`make nightly`) try more and begin elsewhere each time, at SYNCLINE_TEST_SEED. The seed is in
pytest's first lines; with the same one the same is tried again.
"""

from __future__ import annotations

import os
import random
import secrets
from typing import TypeVar

Size = TypeVar("Size")

LEVELS = ("gate", "full", "nightly")
LEVEL = os.environ.get("SYNCLINE_TEST_LEVEL") or "gate"
if LEVEL not in LEVELS:
    raise ValueError(f"SYNCLINE_TEST_LEVEL={LEVEL}: one of {', '.join(LEVELS)}")


def _seed() -> int:
    if LEVEL == "gate":
        return 0
    if "SYNCLINE_TEST_SEED" not in os.environ:  # and the workers of this run have the same
        os.environ["SYNCLINE_TEST_SEED"] = str(secrets.randbelow(2**31))
    return int(os.environ["SYNCLINE_TEST_SEED"])


SEED = _seed()


def by_level(gate: Size, full: Size, nightly: Size) -> Size:
    """What this level takes of the three."""
    return (gate, full, nightly)[LEVELS.index(LEVEL)]


def seeds(gate: int, full: int, nightly: int | None = None) -> list[int]:
    """So many seeds: the first ones in the gate, others in each longer run."""
    count = by_level(gate, full, full if nightly is None else nightly)
    return list(range(SEED, SEED + count))


def dice(name: str) -> random.Random:
    """Random numbers of one test: the same in every run of the gate, others in each longer run."""
    return random.Random(f"{SEED} {name}")
