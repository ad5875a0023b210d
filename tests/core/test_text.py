"""Document text against a Python str: random edits in both units, refusals that change nothing, conversions, sizes."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import Operation, apply
from syncline.core.text.text import Text, live_texts
from tests.oracle import ot as oracle
from tests.oracle.strategies import ALPHABET, inserts, operations, texts, units


def refused(code: ErrorCode) -> Any:
    return pytest.raises(SynclineError, check=lambda error: error.code is code)


def check(native: Text, text: str) -> None:
    """Everything that can be asked agrees with the str."""
    assert str(native) == text
    assert len(native) == native.length("utf-16") == oracle.length(text, "utf-16")
    assert native.length("unicode") == len(text)
    assert native.astral == sum(char > "\uffff" for char in text)


@pytest.mark.parametrize(
    "text",
    ["", "a", "abc" * 1000, "é" * 65, "漢字" * 100, "a💃b", "💃" * 500, "\u007f\u0080\u00ff\u0100\uffff\U00010000"],
)
def test_round_trip(text: str) -> None:
    native = Text(text)
    check(native, text)
    check(pickle.loads(pickle.dumps(native)), text)
    check(copy.copy(native), text)
    middle = len(native) // 2
    if not oracle.is_boundary(oracle.split(text, "utf-16"), middle):
        middle += 1
    native.splice(middle, 0, "!")  # the gap stands in the middle now
    native.splice(middle, 1, "")
    check(native, text)
    assert str(native).isascii() == text.isascii()


@given(st.data(), texts)
@settings(max_examples=60)
def test_random_operations(data: st.DataObject, text: str) -> None:
    native = Text(text)
    for _ in range(data.draw(st.integers(1, 6))):
        unit: Any = data.draw(units)
        operation = Operation(data.draw(operations(text, unit)), unit)
        converted = native.to_unit(operation, "utf-16")
        assert native.to_unit(converted, unit) == operation
        inverse = native.invert(converted)
        native.apply(converted)
        after = apply(text, operation)
        check(native, after)
        native.apply(inverse)
        check(native, text)
        native.apply(converted)
        text = after


@given(texts, st.lists(st.tuples(st.integers(-1, 20), st.integers(-1, 9), st.one_of(inserts, st.just(""))), max_size=8))
def test_random_splices(text: str, splices: list[tuple[int, int, str]]) -> None:
    """Fitting or not: those that do not fit are refused and change nothing."""
    native = Text(text)
    for position, deleted, inserted in splices:
        source = oracle.split(text, "utf-16")
        fits = 0 <= position <= position + deleted <= len(source) and deleted >= 0
        if fits and oracle.is_boundary(source, position) and oracle.is_boundary(source, position + deleted):
            native.splice(position, deleted, inserted)
            text = oracle.join(source[:position]) + inserted + oracle.join(source[position + deleted :])
        else:
            with refused(ErrorCode.OPERATION_INVALID if fits else ErrorCode.OPERATION_OUT_OF_RANGE):
                native.splice(position, deleted, inserted)
        check(native, text)


@given(texts, inserts, st.data())
def test_slices_and_offsets(text: str, inserted: str, data: st.DataObject) -> None:
    native = Text(text)
    at = data.draw(st.integers(0, len(text)))
    native.splice(oracle.length(text[:at], "utf-16"), 0, inserted)
    text = text[:at] + inserted + text[at:]
    offsets = [oracle.length(text[:point], "utf-16") for point in range(len(text) + 1)]
    for point, offset in enumerate(offsets):
        assert native.offset_to(point, "unicode", "utf-16") == offset
        assert native.offset_to(offset, "utf-16", "unicode") == point
        assert native.offset_to(offset, "utf-16", "utf-16") == offset
        assert native.slice(offset, offsets[-1]) == text[point:]
        assert native.slice(0, offset) == text[:point]
    for inside in set(range(len(native))) - set(offsets):
        with refused(ErrorCode.OPERATION_INVALID):
            native.offset_to(inside, "utf-16", "unicode")
        with refused(ErrorCode.OPERATION_INVALID):
            native.slice(inside, len(native))
    for position in (-1, len(native) + 1):
        with refused(ErrorCode.OPERATION_OUT_OF_RANGE):
            native.offset_to(position, "utf-16", "unicode")
        with refused(ErrorCode.OPERATION_OUT_OF_RANGE):
            native.offset_to(position, "unicode", "utf-16")
        with refused(ErrorCode.OPERATION_OUT_OF_RANGE):
            native.slice(0, position)


@pytest.mark.parametrize(
    ("components", "code"),
    [
        (["x", 3, -9], ErrorCode.OPERATION_OUT_OF_RANGE),
        (["x", -1, 1, "y"], ErrorCode.OPERATION_INVALID),
        (["x", 2, -1], ErrorCode.OPERATION_INVALID),
        (["x", -2], ErrorCode.OPERATION_INVALID),
    ],
)
def test_all_or_nothing(components: Any, code: ErrorCode) -> None:
    native = Text("a💃b")
    for call in (native.apply, native.invert, lambda operation: native.to_unit(operation, "unicode")):
        with refused(code):
            call(Operation(components))
        check(native, "a💃b")


def test_wrong_arguments() -> None:
    native = Text("a💃b")
    with pytest.raises(ValueError, match="utf-16"):
        native.apply(Operation(["x"], "unicode"))
    nothing: Any = None
    for call in (lambda: native.apply(nothing), lambda: native.splice(0, 0, nothing), lambda: Text(nothing)):
        with pytest.raises(TypeError):
            call()
    for text in ("\ud800", "💃\ude00", "a\udfff"):
        with refused(ErrorCode.OPERATION_INVALID):
            Text(text)
        with refused(ErrorCode.OPERATION_INVALID):
            native.splice(0, 0, text)
    check(native, "a💃b")


def test_a_long_life() -> None:
    """Growth, shrinking and distant edits of a large text."""
    choices = random.Random(7)
    text = "".join(choices.choices(ALPHABET, k=5000))
    native = Text(text)
    for _ in range(1500):
        at = choices.randrange(len(text) + 1)
        deleted = min(choices.choice([0, 0, 1, 3, 400]), len(text) - at)
        inserted = "".join(choices.choices(ALPHABET, k=choices.choice([0, 1, 2, 400])))
        start = native.offset_to(at, "unicode", "utf-16")
        native.splice(start, native.offset_to(at + deleted, "unicode", "utf-16") - start, inserted)
        text = text[:at] + inserted + text[at + deleted :]
    check(native, text)
    native.splice(0, len(native), "")
    check(native, "")
    native.splice(0, 0, "fine")
    check(native, "fine")


def test_none_is_left_behind() -> None:
    before = live_texts()
    kept = [Text("x" * n) for n in range(100)]
    assert live_texts() == before + 100
    kept.clear()
    assert live_texts() == before
