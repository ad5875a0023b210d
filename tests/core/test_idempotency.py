"""Idempotency keys against a list of all that ever was (tests/oracle/idempotency.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.rooms.idempotency import IdempotencyKeys, idempotency_digest
from syncline.core.rooms.room import Position
from tests.oracle.idempotency import SlowKeys

EPOCH = "00000000000000ff"
names = st.sampled_from(["", "a", "b", "ab", "é", "\ud83d", "1 1 "])
steps = st.lists(st.tuples(st.booleans(), names, names, names, st.sampled_from([0.0, 0.5, 1.0, 40.0])), max_size=400)


@given(steps, st.integers(1, 70), st.sampled_from([1.0, 10.0, 1000.0]))
def test_it_finds_what_came_lately(steps: list[tuple[bool, str, str, str, float]], most: int, seconds: float) -> None:
    keys, slow = IdempotencyKeys(most, seconds), SlowKeys(most, seconds)
    now = 0.0
    for number, (adds, room, user, key, passed) in enumerate(steps):
        now += passed
        digest = idempotency_digest(room, user, key)
        if adds:
            for one in (keys, slow):
                one.add(digest, Position(number, EPOCH), now)
        assert keys.find(digest, now) == slow.find(digest, now)
        assert len(keys) <= most


@given(st.tuples(names, names, names), st.tuples(names, names, names))
def test_what_is_another_key_has_another_digest(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (idempotency_digest(*one) == idempotency_digest(*other)) == (one == other)


def digest(number: int) -> bytes:
    return idempotency_digest("r", "u", str(number))


def test_as_many_as_there_are_places_grow_and_go() -> None:
    keys = IdempotencyKeys(5000, 1e9)
    for number in range(12_000):
        keys.add(digest(number), Position(number, f"{number:016x}"), float(number))
        if number % 977 == 0 or number > 11_990:
            for known in range(max(0, number - 4999), number + 1):
                assert keys.find(digest(known), float(number)) == (known, f"{known:016x}")
            assert keys.find(digest(number - 5000), float(number)) is None
    assert (len(keys), keys.dropped) == (5000, 7000)
    assert keys.held_bytes == 8192 * 48


def test_whose_time_is_over_goes_while_others_come() -> None:
    keys = IdempotencyKeys(1_000_000, 10.0)
    for number in range(1000):
        keys.add(digest(number), Position(1, EPOCH), 0.0)
    for number in range(501):
        keys.add(digest(-number), Position(1, EPOCH), 10.0)
    assert (len(keys), keys.dropped) == (501, 0)


def test_what_it_refuses() -> None:
    for most, seconds in ((0, 1.0), (2**30 + 1, 1.0), (1, 0.0), (1, float("nan"))):
        with pytest.raises(ValueError, match="remembered"):
            IdempotencyKeys(most, seconds)
    keys = IdempotencyKeys(1, 1.0)
    for epoch in ("", "x" * 16, "0" * 17):
        with pytest.raises(ValueError, match=r"hexadecimal|invalid literal"):
            keys.add(digest(1), Position(1, epoch), 0.0)
    for short in (b"", b"x" * 15, b"x" * 17):
        with pytest.raises(ValueError, match="16 bytes"):
            keys.find(short, 0.0)
    assert len(keys) == 0
    with pytest.raises(TypeError):
        keys.find(None, 0.0)  # type: ignore[arg-type]
