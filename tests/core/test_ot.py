"""Operations: what is accepted, what is refused, and the small things that the laws (test_ot_laws.py) do not say."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import (
    Operation,
    apply,
    compose,
    diff,
    invert,
    live_operations,
    map_position,
    to_unit,
    transform,
)


def refused(code: ErrorCode) -> Any:
    return pytest.raises(SynclineError, check=lambda error: error.code is code)


class TestParsing:
    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ([], []),
            ([5], []),
            ([5, "abc", -3], [5, "abc", -3]),
            ([5, -3, "abc"], [5, -3, "abc"]),
            ([1, 1, "a", "b", -1, -1, 4, 4], [2, "ab", -2]),
            (["a", -1, "b"], ["a", -1, "b"]),
            ((1, "a"), [1, "a"]),
            (["a💃", 2, "𝄞"], ["a💃", 2, "𝄞"]),
            ([2**31 - 2, -1], [2**31 - 2, -1]),
            ({"type": "insert", "position": 5, "content": "abc"}, [5, "abc"]),
            ({"type": "insert", "position": 0, "content": "abc", "more": None}, ["abc"]),
            ({"type": "delete", "position": 5, "length": 3}, [5, -3]),
            ({"type": "replace", "position": 5, "length": 3, "content": "abc"}, [5, "abc", -3]),
        ],
    )
    @pytest.mark.parametrize("unit", ["utf-16", "unicode"])
    def test_canonical_form(self, given: Any, kept: list[int | str], unit: Any) -> None:
        operation = Operation.parse(given, unit)
        assert operation.components == kept
        assert operation.unit == unit
        assert operation == Operation(list(kept), unit)
        assert hash(operation) == hash(Operation(list(kept), unit))
        assert operation.is_identity is (kept == [])

    @pytest.mark.parametrize(
        "bad",
        [
            None,
            "abc",
            b"abc",
            7,
            {},
            {1, 2},
            [0],
            [""],
            [True],
            [False, "a"],
            [1.0],
            [float("nan")],
            [None],
            [[1]],
            [{"d": 1}],
            [b"a"],
            [2**31],
            [-(2**31)],
            [10**30],
            [-(10**30)],
            [2**31 - 1, 1],
            [2**31 - 1, -1],
            [-(2**30), 5, -(2**30)],
            [2**31 - 1, "a"],
            ["\ud800"],
            ["a\udfff"],
            ["💃\ud83d"],
            ["\ud83d\udc83"],
            [1] * 100_001,
            {"type": "move", "position": 1},
            {"type": ["insert"], "position": 1, "content": "a"},
            {"type": "insert", "position": -1, "content": "a"},
            {"type": "insert", "position": True, "content": "a"},
            {"type": "insert", "position": 1.0, "content": "a"},
            {"type": "insert", "position": 2**31, "content": "a"},
            {"type": "insert", "content": "a"},
            {"type": "insert", "position": 0},
            {"type": "insert", "position": 0, "content": ""},
            {"type": "insert", "position": 0, "content": ["a"]},
            {"type": "insert", "position": 0, "content": "\ud800"},
            {"type": "delete", "position": 0},
            {"type": "delete", "position": 0, "length": 0},
            {"type": "delete", "position": 0, "length": -1},
            {"type": "delete", "position": 0, "length": True},
            {"type": "replace", "position": 0, "length": 0, "content": "a"},
            {"type": "replace", "position": 0, "length": 1, "content": ""},
        ],
        ids=lambda bad: repr(bad)[:40],
    )
    def test_bad_operations_are_refused(self, bad: Any) -> None:
        for unit in ("utf-16", "unicode"):
            with refused(ErrorCode.OPERATION_INVALID):
                Operation.parse(bad, unit)

    def test_the_longest_allowed(self) -> None:
        components: list[int | str] = [*([1, -1] * 49_999), 1, "a"]
        assert Operation(components).components == components

    def test_unknown_units_and_sides_are_a_programming_error(self) -> None:
        unit: Any = "utf-8"
        with pytest.raises(ValueError, match="unit"):
            Operation([1], unit)
        with pytest.raises(ValueError, match="side"):
            transform(Operation(["a"]), Operation(["b"]), unit)

    @pytest.mark.parametrize("verb", [compose, lambda a, b: transform(a, b, "left")])
    def test_mixed_units_are_a_programming_error(self, verb: Any) -> None:
        with pytest.raises(ValueError, match="units"):
            verb(Operation(["a"], "utf-16"), Operation(["b"], "unicode"))

    def test_none_is_not_an_operation(self) -> None:
        nothing: Any = None
        for call in (
            lambda: apply("", nothing),
            lambda: apply(nothing, Operation([])),
            lambda: compose(nothing, Operation([])),
            lambda: transform(Operation([]), nothing, "left"),
            lambda: invert(nothing, ""),
            lambda: diff(nothing, ""),
            lambda: to_unit(nothing, "", "unicode"),
        ):
            with pytest.raises(TypeError):
                call()


class TestProperties:
    def test_immutable(self) -> None:
        operation: Any = Operation([1, "a"])
        with pytest.raises(TypeError, match="immutable"):
            operation.__init__([2, "b"])
        with pytest.raises(AttributeError):
            operation.unit = "unicode"
        operation.components.append("x")
        assert operation.components == [1, "a"]

    def test_lengths_count_the_unit(self) -> None:
        utf16, points = Operation([3, "a💃", -2]), Operation([3, "a💃", -2], "unicode")
        assert (utf16.base_length, utf16.delta, utf16.end) == (5, 1, 6)
        assert (points.base_length, points.delta, points.end) == (5, 0, 5)
        assert utf16.has_astral and utf16 != points
        assert not Operation([1, "漢"]).has_astral
        assert (Operation([]).base_length, Operation([]).delta, Operation([]).end) == (0, 0, 0)

    def test_digest_is_the_same_for_ever(self) -> None:
        """It is stored with documents: a change of the function would turn resubmissions into conflicts."""
        assert Operation([5, "abc", -3]).digest == 0xE414C7621EBF235B
        assert Operation(["漢💃"], "unicode").digest == 0x630F375C79C93C6B
        assert Operation([]).digest == 0xEFD01F60BA992926

    def test_copies(self) -> None:
        for operation in (Operation([5, "a💃", -3]), Operation([1, "b"], "unicode"), Operation([])):
            assert pickle.loads(pickle.dumps(operation)) == operation
            assert copy.deepcopy(operation) == operation
        assert Operation([1, "a"]) != [1, "a"]
        assert repr(Operation([1, "a"])) == "Operation([1, 'a'], 'utf-16')"

    def test_none_is_left_behind(self) -> None:
        before = live_operations()
        kept = [compose(Operation([n + 1, "a"]), Operation(["b", -1] * 20)) for n in range(100)]
        assert live_operations() == before + 100
        kept.clear()
        for _ in range(100):
            with refused(ErrorCode.OPERATION_INVALID):
                Operation([1, "a", 0])
        assert live_operations() == before


class TestVerbs:
    def test_ties_go_to_the_left(self) -> None:
        mine, theirs = Operation([2, "mine"]), Operation([2, "theirs"])
        assert transform(mine, theirs, "left").components == [2, "mine"]
        assert transform(theirs, mine, "right").components == [6, "theirs"]

    def test_the_order_of_inserts_and_deletes_is_kept(self) -> None:
        other = Operation([9, "!"])
        for components in (["a", -2], [-2, "a"], [-1, "a", -1]):
            assert transform(Operation(components), other, "right").components == components  # type: ignore[arg-type]
        assert compose(Operation([-1]), Operation(["a"])).components == ["a", -1]

    def test_composing_a_history_is_not_the_same_as_one_by_one(self) -> None:
        """T(T(x, a), b) = T(x, a.b) is not a law. On "c": a deletes it, b inserts where it
        was, x inserts after it. One by one x stands at b's place and wins; against both at once it comes after b."""
        x, a, b = Operation([1, "x"]), Operation([-1]), Operation(["b"])
        one_by_one = transform(transform(x, a, "left"), b, "left")
        at_once = transform(x, compose(a, b), "left")
        assert one_by_one.components == ["x"]
        assert at_once.components == [1, "x"]
        assert apply("b", one_by_one) != apply("b", at_once)

    @pytest.mark.parametrize(
        ("text", "components", "unit", "code"),
        [
            ("abc", [4, "x"], "utf-16", ErrorCode.OPERATION_OUT_OF_RANGE),
            ("abc", [2, -2], "unicode", ErrorCode.OPERATION_OUT_OF_RANGE),
            ("", [-1], "utf-16", ErrorCode.OPERATION_OUT_OF_RANGE),
            ("a💃", [3, "x"], "unicode", ErrorCode.OPERATION_OUT_OF_RANGE),
            ("a💃", [3, -1], "utf-16", ErrorCode.OPERATION_OUT_OF_RANGE),
            ("a💃", [2, "x"], "utf-16", ErrorCode.OPERATION_INVALID),
            ("a💃", [1, -1], "utf-16", ErrorCode.OPERATION_INVALID),
            ("a💃", [2, -1], "utf-16", ErrorCode.OPERATION_INVALID),
            ("💃", [-1, "x", -1], "utf-16", ErrorCode.OPERATION_INVALID),
            ("💃💃", [1, -2], "utf-16", ErrorCode.OPERATION_INVALID),
        ],
    )
    def test_what_does_not_fit_is_refused(self, text: str, components: Any, unit: Any, code: ErrorCode) -> None:
        operation = Operation(components, unit)
        with refused(code):
            apply(text, operation)
        with refused(code):
            invert(operation, text)
        with refused(code):
            to_unit(operation, text, "unicode" if unit == "utf-16" else "utf-16")

    def test_composing_may_not_split_a_pair(self) -> None:
        with refused(ErrorCode.OPERATION_INVALID):
            compose(Operation(["💃"]), Operation([1, "x"]))
        with refused(ErrorCode.OPERATION_INVALID):
            compose(Operation(["💃"]), Operation([-1]))
        assert compose(Operation(["💃"], "unicode"), Operation([-1], "unicode")).is_identity

    def test_results_that_grow_too_long_are_refused(self) -> None:
        huge = 2**31 - 2
        with refused(ErrorCode.OPERATION_INVALID):
            transform(Operation([huge, -1]), Operation(["abc"]), "left")
        with refused(ErrorCode.OPERATION_INVALID):
            compose(Operation([-huge]), Operation([-huge]))

    def test_cursor(self) -> None:
        operation = Operation([2, "ab", -3])
        assert [map_position(at, operation) for at in range(8)] == [0, 1, 4, 4, 4, 4, 5, 6]
        assert [map_position(at, operation, "left") for at in range(8)] == [0, 1, 2, 4, 4, 4, 5, 6]
        for bad in (-1, 2**31, True, 1.5):
            with pytest.raises(ValueError, match="position"):
                map_position(bad, operation)  # type: ignore[arg-type]

    def test_diff_keeps_what_is_the_same(self) -> None:
        assert diff("abcd", "abxd").components == [2, "x", -1]
        assert diff("aa", "aaa").components == [2, "a"]
        assert diff("x💃y", "x🤟y").components == [1, "🤟", -2]
        assert diff("x💃y", "x🤟y", "unicode").components == [1, "🤟", -1]
        assert diff("abc", "abc").is_identity
        with refused(ErrorCode.OPERATION_INVALID):
            diff("a", "a\ud800")
