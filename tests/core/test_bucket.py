"""The token bucket against what it stands for: never more than burst + rate * time, but for the part of one large cost that is owed."""

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


def test_what_is_larger_than_the_bucket_passes_when_that_is_half_full_and_is_owed() -> None:
    bucket = Bucket(1, 6, 0.0)
    assert bucket.take(0.0, 4) == 0.0
    assert bucket.take(0.0, 1000) == pytest.approx(1.0)  # 2 of 6 are left
    assert bucket.take(0.5, 1000) == pytest.approx(0.5)
    assert bucket.take(1.0, 1000) == 0.0  # -997
    assert bucket.take(1.0, 1) == pytest.approx(998.0)
    assert bucket.take(1.0, 1000) == pytest.approx(1000.0)
    assert bucket.full_at() == pytest.approx(1004.0)
    assert bucket.take(999.0, 1) == 0.0


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
    bucket.give_back(3)
    bucket.take(0.0, 10)
    bucket.give_back(10)  # all of it, not only what was there
    assert bucket.take(0.0, 3) == 0.0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_limits_are_positive(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        Bucket(rate, burst, 0.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.1, 40)), max_size=40), st.floats(0.5, 20), st.floats(4, 20))
def test_never_more_than_the_limit(asked: list[tuple[float, float]], rate: float, burst: float) -> None:
    """``owed``: what of the largest cost was not there when it was taken."""
    bucket, now, taken, owed = Bucket(rate, burst, 0.0), 0.0, 0.0, 0.0
    for pause, cost in asked:
        now += pause
        wait = bucket.take(now, cost)
        if wait:
            now += wait * 1.001 + 1e-9
            assert bucket.take(now, cost) == 0.0  # as promised
        taken += cost
        if cost > burst:
            owed = max(owed, cost - burst / 2)
        assert taken <= burst + rate * now + owed + 1e-6
    now = max(now, bucket.full_at() + 1e-9)
    assert taken <= rate * now + burst + 1e-6  # in the end it has all been there
