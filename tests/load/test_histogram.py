"""The histogram beside a sorted list."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.load.histogram import Histogram, monotonic_ns

VALUES = st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**44 - 1)), min_size=1, max_size=200)


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def state(one: Histogram) -> tuple[object, ...]:
    return one.counts(), one.count, one.minimum, one.maximum, one.mean()


@given(VALUES, st.floats(0, 100))
def test_a_percentile_is_that_of_a_sorted_list_or_up_to_a_128th_more(values: list[int], percent: float) -> None:
    histogram = filled(values)
    rank = min(max(math.ceil(percent * len(values) / 100), 1), len(values))
    true = sorted(values)[rank - 1]
    assert true <= histogram.percentile(percent) <= true + true / 128
    assert histogram.percentile(100) == max(values) == histogram.maximum
    assert (histogram.minimum, histogram.count) == (min(values), len(values))
    assert histogram.mean() == pytest.approx(sum(values) / len(values))


@given(VALUES, VALUES)
def test_merging_is_as_if_all_had_been_recorded_in_one(first: list[int], second: list[int]) -> None:
    whole = filled(first + second)
    merged = filled(first)
    merged.merge(filled(second))
    assert state(merged)[:4] == state(whole)[:4]
    assert merged.mean() == pytest.approx(whole.mean())
    sent = filled(first)
    other = filled(second)
    sent.add_counts(other.counts(), other.minimum, other.maximum, float(sum(second)))
    assert state(sent)[:4] == state(whole)[:4]


def test_an_empty_one_says_zero_and_merges_without_a_trace() -> None:
    empty, one = Histogram(), filled([5, 7])
    assert (empty.percentile(99), empty.mean(), empty.count, empty.counts()) == (0, 0.0, 0, [])
    before = state(one)
    one.merge(empty)
    assert state(one) == before
    empty.merge(one)
    assert state(empty) == before
    empty.clear()
    assert state(empty) == state(Histogram())


def test_what_is_too_small_or_too_large_counts_as_the_least_or_the_most() -> None:
    histogram = filled([-5, 2**70])
    assert (histogram.minimum, histogram.maximum) == (0, 2**44 - 1)
    assert histogram.percentile(100) == 2**44 - 1


@pytest.mark.parametrize("percent", [-0.1, 100.1, math.nan])
def test_no_such_percentile(percent: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        Histogram().percentile(percent)


@pytest.mark.parametrize("counts", [[(-1, 1)], [(10**6, 1)], [(3, -1)]])
def test_no_such_bucket(counts: list[tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="no bucket"):
        Histogram().add_counts(counts, 0, 0, 0.0)


def test_a_summary_is_in_milliseconds() -> None:
    summary = filled([1_000_000, 3_000_000]).summary()
    assert (summary["count"], summary["min"], summary["max"], summary["mean"]) == (2, 1.0, 3.0, 2.0)


def test_the_clock_goes_on() -> None:
    first = monotonic_ns()
    assert monotonic_ns() >= first > 0
