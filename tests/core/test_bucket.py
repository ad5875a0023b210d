"""The token bucket against what it stands for: never more than burst + rate * time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.bucket import Bucket


def test_it_begins_full_and_refills() -> None:
    bucket = Bucket(8, 5, 100.0)
    assert [bucket.take(100.0, 1) for _ in range(5)] == [0.0] * 5
    assert bucket.take(100.0, 1) == 0.125
    assert bucket.take(100.0625, 1) == 0.0625
    assert bucket.take(100.125, 1) == 0.0
    assert bucket.full_at() == 100.75
    assert bucket.take(200.0, 5) == 0.0  # not more than burst, however long ago
    assert bucket.take(200.0, 1) > 0


def test_what_is_larger_than_the_bucket_passes_when_it_is_full() -> None:
    bucket = Bucket(1, 5, 0.0)
    assert bucket.take(0.0, 1000) == 0.0
    assert bucket.take(4.0, 1000) == pytest.approx(1.0)
    assert bucket.take(5.0, 1000) == 0.0


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(1, 1, 10.0)
    assert bucket.take(10.0, 1) == 0.0
    assert bucket.take(5.0, 1) == 1.0
    assert bucket.take(10.5, 1) == pytest.approx(0.5)


def test_given_back() -> None:
    bucket = Bucket(1, 3, 0.0)
    bucket.take(0.0, 2)
    bucket.give_back(2)
    bucket.give_back(2)
    assert bucket.take(0.0, 3) == 0.0
    assert bucket.take(0.0, 0.5) == pytest.approx(0.5)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_limits_are_positive(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Bucket(rate, burst, 0.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 4)), max_size=40), st.floats(0.5, 20), st.floats(4, 20))
def test_never_more_than_the_limit(asked: list[tuple[float, float]], rate: float, burst: float) -> None:
    bucket, now, taken = Bucket(rate, burst, 0.0), 0.0, 0.0
    for pause, cost in asked:
        now += pause
        wait = bucket.take(now, cost)
        if wait == 0.0:
            taken += cost
        else:
            assert bucket.take(now + wait * 1.001 + 1e-9, cost) == 0.0  # as promised
            now += wait * 1.001 + 1e-9
            taken += cost
        assert taken <= burst + rate * now + 1e-6
