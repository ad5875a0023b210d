"""Agreement with ot-text-unicode (ShareDB's type): 4,000 cases that it computed, most with characters above U+FFFF.

They are computed when they are not there yet (``tests.peers.vectors``); a recorded file of such is taken in addition.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncline.core.ot.ot import Operation, apply, compose, diff, invert, to_unit, transform
from syncline.core.text.text import Text
from tests import peers, traces


def cases(path: Path) -> Iterator[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def read(components: list[Any]) -> Operation:
    """Their deletes are {"d": length} or {"d": the deleted text}."""
    result: list[int | str] = []
    for component in components:
        if isinstance(component, dict):
            deleted = component["d"]
            result.append(-(deleted if isinstance(deleted, int) else len(deleted)))
        else:
            result.append(component)
    return Operation(result, "unicode")


@pytest.mark.parametrize("unit", ["unicode", "utf-16"])
@pytest.mark.parametrize("source", ["computed", "recorded"])
def test_vectors(source: str, unit: Any) -> None:
    """Documents, and the components too: the tie rule and the order within a composite are the same."""
    path = peers.vectors() if source == "computed" else traces.recorded("ot-vectors.jsonl.gz")
    count = 0
    for case in cases(path):
        text = case["d"]
        a, b = to_unit(read(case["a"]), text, unit), to_unit(read(case["b"]), text, unit)
        c = to_unit(read(case["c"]), case["da"], unit)
        assert apply(text, a) == case["da"] and apply(text, b) == case["db"]
        assert apply(case["db"], transform(a, b, "left")) == case["m"]
        assert apply(case["da"], transform(b, a, "right")) == case["m"]
        assert apply(text, compose(a, c)) == case["dac"]
        assert transform(a, b, "left") == to_unit(read(case["ab"]), case["db"], unit)
        assert transform(b, a, "right") == to_unit(read(case["ba"]), case["da"], unit)
        assert compose(a, c) == to_unit(read(case["ac"]), text, unit)
        assert apply(case["da"], invert(a, text)) == text
        assert apply(text, diff(text, case["m"], unit)) == case["m"]
        native = Text(text)
        operation = native.to_unit(a, "utf-16")
        inverse = native.invert(operation)
        native.apply(operation)
        assert str(native) == case["da"]
        native.apply(inverse)
        assert str(native) == text
        count += 1
    assert count == 4000
