"""The laws of operations, and that every verb does what the slow oracle does. Both units, astral characters included."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from syncline.core.errors import SynclineError
from syncline.core.ot.ot import Operation, apply, compose, diff, invert, map_position, to_unit, transform
from tests.oracle import ot as oracle
from tests.oracle.strategies import operations, sides, texts, units


def case(draw: Any, chain: int = 0, concurrent: int = 0) -> tuple[str, Any, list[Operation], list[Operation]]:
    """(text, unit, operations that follow each other, operations on the text)."""
    text, unit = draw(texts), draw(units)
    followers, at = [], text
    for _ in range(chain):
        followers.append(Operation(draw(operations(at, unit)), unit))
        at = oracle.apply(at, followers[-1].components, unit)
    return text, unit, followers, [Operation(draw(operations(text, unit)), unit) for _ in range(concurrent)]


def changed(operation: Operation) -> int:
    """Units inserted and deleted."""
    return sum(len(part) if isinstance(part, str) else max(-part, 0) for part in operation.components)


@given(st.data())
def test_apply_and_the_algebra_of_lengths(data: st.DataObject) -> None:
    text, unit, _, [a] = case(data.draw, concurrent=1)
    after = apply(text, a)
    assert after == oracle.apply(text, a.components, unit)
    assert oracle.length(after, unit) == oracle.length(text, unit) + a.delta
    assert a.base_length <= oracle.length(text, unit)
    assert a.end <= oracle.length(after, unit)
    assert a.components == oracle.canonical(a.components, unit)
    assert a.text == "".join(part for part in a.components if isinstance(part, str))


@given(st.data())
def test_compose(data: st.DataObject) -> None:
    text, unit, [a, b, c], _ = case(data.draw, chain=3)
    ab = compose(a, b)
    assert ab.components == oracle.compose(a.components, b.components, unit)
    assert apply(text, ab) == apply(apply(text, a), b)
    assert ab.delta == a.delta + b.delta
    assert compose(ab, c) == compose(a, compose(b, c))


@given(st.data())
def test_transform_converges(data: st.DataObject) -> None:
    text, unit, _, [a, b] = case(data.draw, concurrent=2)
    left, right = transform(a, b, "left"), transform(b, a, "right")
    assert left.components == oracle.transform(a.components, b.components, "left", unit)
    assert right.components == oracle.transform(b.components, a.components, "right", unit)
    assert apply(apply(text, b), left) == apply(apply(text, a), right)  # TP1
    assert compose(b, left).delta == compose(a, right).delta
    assert left.text == a.text


@given(st.data())
def test_a_composite_transforms_like_its_steps(data: st.DataObject) -> None:
    """By document; for the side that wins ties, which is the one that composes (a client's pending edits)."""
    text, unit, [a, b], _ = case(data.draw, chain=2)
    c = Operation(data.draw(operations(text, unit)), unit)
    after_c = apply(text, c)
    steps = apply(apply(after_c, transform(a, c, "left")), transform(b, transform(c, a, "right"), "left"))
    assert apply(after_c, transform(compose(a, b), c, "left")) == steps


@given(st.data())
def test_the_position_map_is_the_fold_of_transforms(data: st.DataObject) -> None:
    """Which rests on the kept order of inserts and deletes."""
    text, unit, history, [x] = case(data.draw, chain=4, concurrent=1)
    folded = oracle.PositionMap(oracle.length(text, unit), unit)
    one_by_one = x
    for operation in history:
        folded.fold(operation.components)
        one_by_one = transform(one_by_one, operation, "left")
    assert one_by_one.components == folded.transform(x.components)


@given(st.data())
def test_invert(data: st.DataObject) -> None:
    text, unit, _, [a] = case(data.draw, concurrent=1)
    inverse = invert(a, text)
    assert inverse.components == oracle.invert(a.components, text, unit)
    assert apply(apply(text, a), inverse) == text
    assert inverse.delta == -a.delta


@given(st.data(), sides)
def test_the_identity_changes_nothing(data: st.DataObject, side: Any) -> None:
    text, unit, _, [a] = case(data.draw, concurrent=1)
    nothing = Operation([], unit)
    assert apply(text, nothing) == text
    assert compose(a, nothing) == compose(nothing, a) == a == transform(a, nothing, side)
    assert transform(nothing, a, side).is_identity


@given(st.data())
def test_ties_are_decided_once(data: st.DataObject) -> None:
    """Two inserts at one place: exactly one side goes first, and both ends know which."""
    text = data.draw(texts)
    unit: Any = data.draw(units)
    at = data.draw(st.integers(0, len(text)))
    retain: Any = [oracle.length(text[:at], unit)] if at else []
    a, b = Operation([*retain, "A"], unit), Operation([*retain, "B"], unit)
    assert apply(apply(text, b), transform(a, b, "left")) == text[:at] + "AB" + text[at:]
    assert apply(apply(text, a), transform(b, a, "right")) == text[:at] + "AB" + text[at:]


@given(st.data(), sides)
def test_cursors_are_monotone(data: st.DataObject, stick: Any) -> None:
    text, unit, _, [a] = case(data.draw, concurrent=1)
    size = oracle.length(text, unit)
    moved = [map_position(at, a, stick) for at in range(size + 1)]
    assert moved == [oracle.map_position(at, a.components, stick, unit) for at in range(size + 1)]
    assert moved == sorted(moved)
    assert moved[0] >= 0 and moved[-1] <= size + a.delta


@given(st.data())
def test_units_round_trip(data: st.DataObject) -> None:
    text, unit, _, [a] = case(data.draw, concurrent=1)
    target: Any = "unicode" if unit == "utf-16" else "utf-16"
    there = to_unit(a, text, target)
    assert there.components == oracle.to_unit(a.components, text, unit, target)
    assert there.unit == target
    assert to_unit(there, text, unit) == a == to_unit(a, text, unit)
    assert apply(text, there) == apply(text, a)


@given(texts, texts, units)
@example(" aa", "a a ", "utf-16")
def test_diff(before: str, after: str, unit: Any) -> None:
    operation = diff(before, after, unit)
    assert apply(before, operation) == after
    splice = diff(before, after, unit, thorough=False)
    assert apply(before, splice) == after
    assert len(splice.components) <= 3
    assert changed(diff(before, after, "unicode")) <= changed(diff(before, after, "unicode", thorough=False))
    assert diff(after, after, unit).is_identity


@given(texts, st.lists(st.one_of(st.integers(-3, 3), st.sampled_from(["a", "💃", ""])), max_size=5), units)
def test_what_the_oracle_refuses_is_refused(text: str, components: Any, unit: Any) -> None:
    """Any small list, fitting or not: never a split pair, never past the end, never anything but SynclineError."""
    try:
        operation = Operation(components, unit)
    except SynclineError:
        assert 0 in components or "" in components
        return
    assert 0 not in components and "" not in components
    for verb, reference in (
        (lambda: apply(text, operation), lambda: oracle.apply(text, components, unit)),
        (lambda: invert(operation, text).components, lambda: checked_invert(text, components, unit)),
    ):
        try:
            expected = reference()
        except oracle.Refused:
            expected = None
        try:
            found = verb()
        except SynclineError:
            found = None
        assert found == expected


def checked_invert(text: str, components: Any, unit: str) -> Any:
    oracle.apply(text, components, unit)  # raises what an inverse would not notice
    return oracle.invert(oracle.canonical(components, unit), text, unit)


@given(st.data())
def test_equality_is_equality_of_components(data: st.DataObject) -> None:
    _, unit, _, [a, b] = case(data.draw, concurrent=2)
    assert (a == b) is (a.components == b.components)
    if a == b:
        assert hash(a) == hash(b) and a.digest == b.digest
    assert Operation(a.components, unit) == a
