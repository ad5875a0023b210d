"""Editing histories to measure with: recorded ones where they are there, and always those that are made up.

Edits are (position, deleted, inserted); positions and lengths count UTF-16 units, as the core does.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from syncline.testing.editing import generate

Edit = tuple[int, int, str]

DATA = Path(os.environ.get("SYNCLINE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
MADE_UP = "made up"


def recorded(name: str) -> Path:
    """The file of a recorded history of one person. Skips the benchmark when it is not there: another history would give
    other figures under the same name."""
    place = f"editing-traces/sequential_traces/{name}.json.gz"
    if not (DATA / place).is_file():
        pytest.skip(f"{place} is not here; CONTRIBUTING.md says where it is to be had (SYNCLINE_DATA)")
    return DATA / place


def read(path: Path) -> tuple[list[Edit], str]:
    """Every edit of a recorded history, and the text it ends in. Without characters above U+FFFF."""
    trace = json.loads(gzip.decompress(path.read_bytes()))
    assert not trace.get("startContent") and max(trace["endContent"]) <= "\uffff"
    return [tuple(patch) for transaction in trace["txns"] for patch in transaction["patches"]], trace["endContent"]


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def history(name: str) -> tuple[list[Edit], str]:
    """The recorded one of that name, or ``MADE_UP``: 30,000 edits."""
    if name != MADE_UP:
        return read(recorded(name))
    made = generate(1, 30_000)
    edits: list[Edit] = []
    text = ""
    for transaction in made.transactions:
        for position, deleted, inserted in transaction.patches:
            before, end = text[:position], position + deleted
            edits.append((units(before), units(text[position:end]), inserted))
            text = before + inserted + text[end:]
    assert text == made.end
    return edits, text
