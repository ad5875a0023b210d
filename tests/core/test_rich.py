"""Deltas: what is taken from outside, what is refused; values; bytes; corners that random cases miss."""

from __future__ import annotations

import gc
import math
from typing import Any

import pytest
from msgspec import msgpack

from syncline.core.errors import SynclineError
from syncline.core.rich.rich import Delta, live_deltas
from syncline.core.rich.rich_type import RichType

MOST = 2_147_483_647


def refused(value: Any) -> str:
    with pytest.raises(SynclineError) as caught:
        Delta.parse(value)
    assert caught.value.code == "operation_invalid"
    return caught.value.message


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "list of ops"),
        ("abc", "list of ops"),
        ({"ops": None}, "list of ops"),
        ({"ops": [], "more": 1}, "nothing but ops"),
        ({}, "nothing but ops"),
        ([1], "an op is an object"),
        ([{}], "one of insert, retain, delete"),
        ([{"attributes": {}}], "one of insert, retain, delete"),
        ([{"insert": "a", "delete": 1}], "one of insert, retain, delete"),
        ([{"insert": "a", "attributes": {}, "x": 1}], "one of insert, retain, delete"),
        ([{"replace": 1}], "one of insert, retain, delete"),
        ([{"insert": ""}], "must not be empty"),
        ([{"insert": "\ud83d"}], "lone surrogate"),
        ([{"insert": 1}], "an embed"),
        ([{"insert": None}], "an embed"),
        ([{"insert": {}}], "an embed"),
        ([{"insert": {"a": 1, "b": 2}}], "an embed"),
        ([{"insert": {"": 1}}], "type of an embed"),
        ([{"insert": {"toString": 1}}], "type of an embed"),
        ([{"insert": {"image": "\udc00"}}], "lone surrogate"),
        ([{"insert": {"image": b"x"}}], "must be JSON"),
        ([{"insert": {"image": {1: 2}}}], "must be strings"),
        ([{"insert": {"image": {"__proto__": 2}}}], "__proto__"),
        ([{"insert": {"image": {"\ud800": 2}}}], "lone surrogate"),
        ([{"retain": 0}], "positive"),
        ([{"retain": -1}], "positive"),
        ([{"retain": True}], "integer"),
        ([{"retain": 1.0}], "integer"),
        ([{"retain": "1"}], "integer"),
        ([{"retain": MOST + 1}], "over 2147483647"),
        ([{"retain": 1 << 70}], "over 2147483647"),
        ([{"retain": {"image": 1}}], "edited in place"),
        ([{"delete": 0}], "positive"),
        ([{"delete": None}], "integer"),
        ([{"delete": 1, "attributes": {"bold": True}}], "a delete has no attributes"),
        ([{"retain": MOST}, {"delete": 1}], "add up"),
        ([{"retain": MOST}, {"retain": 1}], "over 2147483647"),
        ([{"retain": MOST - 1}, {"insert": "ab"}], "add up"),
        ([{"retain": 1, "attributes": None}], "must be an object"),
        ([{"retain": 1, "attributes": []}], "must be an object"),
        ([{"retain": 1, "attributes": {1: 2}}], "must be strings"),
        ([{"retain": 1, "attributes": {"": 2}}], "1 to 255"),
        ([{"retain": 1, "attributes": {"n" * 256: 2}}], "1 to 255"),
        ([{"retain": 1, "attributes": {"\udfff": 2}}], "lone surrogate"),
        ([{"retain": 1, "attributes": {"constructor": 2}}], "constructor cannot"),
        ([{"retain": 1, "attributes": {"__proto__": 2}}], "__proto__ cannot"),
        ([{"retain": 1, "attributes": {"a": math.nan}}], "finite"),
        ([{"retain": 1, "attributes": {"a": [math.inf]}}], "finite"),
        ([{"retain": 1, "attributes": {"a": (1 << 53) + 1}}], "no double"),
        ([{"retain": 1, "attributes": {"a": -(1 << 70) - 1}}], "no double"),
        ([{"retain": 1, "attributes": {"a": (1, 2)}}], "must be JSON"),
        ([{"retain": 1, "attributes": {f"a{n}": 1 for n in range(65)}}], "more than 64"),
        ([{"retain": 1, "attributes": {"a": "x" * 16_384}}], "too large"),
        ([{"retain": 1, "attributes": {"a": [None] * 5_000}}], "too large"),
        ([{"insert": {"image": "x" * 1_048_576}}], "too large"),
        ([{"delete": 1}] * 100_001, "more than 100000"),
    ],
)
def test_refused(value: Any, message: str) -> None:
    assert message in refused(value)


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(15):
        value = [value]
    Delta([{"insert": "a", "attributes": {"a": value}}, {"insert": {"a": value}}])
    assert "16 deep" in refused([{"retain": 1, "attributes": {"a": [value]}}])
    for _ in range(100_000):
        value = [value]
    assert "16 deep" in refused([{"insert": {"a": value}}])


def test_the_most_that_is_taken() -> None:
    Delta([{"retain": MOST - 1, "attributes": {f"a{n}": 1 for n in range(64)}}, {"insert": "a"}])
    Delta([{"insert": {"image": "x" * 1_000_000}, "attributes": {"n" * 255: "x" * 16_000}}])
    Delta([{"insert": "a", "attributes": {"n": (1 << 53) - 1, "m": 1 - (1 << 53), "f": 1e300, "e": 2.0**60}}])
    assert Delta([{"delete": 1}] * 100_000).ops == [{"delete": 100_000}]


def test_what_is_taken_is_a_copy() -> None:
    inner: list[Any] = [1]
    value: Any = [{"insert": "a", "attributes": {"list": inner}}, {"insert": {"image": inner}}]
    delta = Delta(value)
    inner.append(2)
    value[0]["attributes"]["list"] = 3
    given: Any = delta.ops
    assert given == [{"insert": "a", "attributes": {"list": [1]}}, {"insert": {"image": [1]}}]
    given[0]["attributes"]["list"].append(4)
    given[1]["insert"]["image"].append(4)
    assert delta.ops == delta.shown == [{"insert": "a", "attributes": {"list": [1]}}, {"insert": {"image": [1]}}]
    assert RichType().describe(delta)[0]["attributes"] is delta.shown[0]["attributes"], "who only reads needs none"


def test_it_is_immutable() -> None:
    delta = Delta([{"insert": "a"}])
    with pytest.raises(TypeError, match="immutable"):
        delta.__init__([])
    with pytest.raises(AttributeError):
        delta.text = "b"  # type: ignore[misc]


def test_numbers_are_javascripts() -> None:
    one, same = Delta([{"retain": 1, "attributes": {"a": 1}}]), Delta([{"retain": 1, "attributes": {"a": 1.0}}])
    true = Delta([{"retain": 1, "attributes": {"a": True}}])
    assert one == same and one.digest == same.digest and hash(one) == hash(same)
    assert one != true and one.digest != true.digest
    assert type(same.ops[0]["attributes"]["a"]) is int
    assert Delta([{"retain": 1, "attributes": {"a": -0.0}}]) == Delta([{"retain": 1, "attributes": {"a": 0}}])
    # Neighbours that differ in that only stay two.
    assert len(Delta([{"insert": "a", "attributes": {"n": 1}}, {"insert": "b", "attributes": {"n": True}}]).ops) == 2


def test_inserts_have_no_nulls_and_retains_keep_theirs() -> None:
    delta = Delta([{"insert": "a", "attributes": {"bold": None}}, {"retain": 2, "attributes": {"bold": None}}])
    assert delta.ops == [{"insert": "a"}, {"retain": 2, "attributes": {"bold": None}}]
    assert Delta([{"insert": "a", "attributes": {"x": {"y": None}}}]).ops[0]["attributes"] == {"x": {"y": None}}


def test_digests_stay_what_they_are() -> None:
    """They are in stores: these numbers never change."""
    assert Delta().digest == 0xEFD01F60BA992926
    assert [
        Delta(ops).digest
        for ops in (
            [{"retain": 3}, {"insert": "aé💃"}, {"delete": 2}],
            [{"insert": "a", "attributes": {"bold": True, "n": -7, "f": 2.5, "s": "x", "l": [None, {"a": 0}]}}],
            [{"insert": {"image": "a.png"}}],
            [{"retain": 1, "attributes": {"bold": None}}],
        )
    ] == [0xB9CDEE158CA2BFCD, 0xC7068ED802FB3E14, 0x904BEC1CA18325F1, 0xA4526960A143A402]


def test_a_surrogate_pair_is_not_split() -> None:
    document = Delta([{"insert": "a💃b"}])
    for ops in (
        [{"retain": 2}, {"insert": "x"}],
        [{"retain": 1}, {"delete": 1}],
        [{"retain": 2}, {"delete": 1}],
        [{"retain": 1}, {"retain": 1, "attributes": {"bold": True}}],
        [{"retain": 2}, {"retain": 1, "attributes": {"bold": True}}],
    ):
        for refuse in (Delta(ops).apply, Delta(ops).invert):
            if refuse == Delta(ops).invert and "insert" in ops[-1]:
                continue
            with pytest.raises(SynclineError) as caught:
                refuse(document)
            assert caught.value.code == "operation_invalid"
    assert Delta([{"retain": 1}, {"delete": 2}]).apply(document).ops == [{"insert": "ab"}]


def test_past_the_end() -> None:
    document = Delta([{"insert": "abc"}])
    for ops in ([{"delete": 4}], [{"retain": 4}, {"insert": "x"}], [{"retain": 4, "attributes": {"a": 1}}]):
        for refuse in (Delta(ops).apply, Delta(ops).invert):
            with pytest.raises(SynclineError) as caught:
                refuse(document)
            assert caught.value.code == "operation_out_of_range"
    assert Delta([{"retain": 3}, {"insert": "d"}]).apply(document).text == "abcd"


def test_a_delta_is_no_document() -> None:
    with pytest.raises(ValueError, match="no document"):
        Delta([{"insert": "a"}]).apply(Delta([{"retain": 1, "attributes": {"a": 1}}]))
    with pytest.raises(ValueError, match="no document"):
        Delta().invert(Delta([{"delete": 1}]))


def test_lengths_that_overflow() -> None:
    far = Delta([{"retain": MOST - 1}, {"insert": "a"}])
    with pytest.raises(SynclineError, match="2147483647"):
        Delta([{"insert": "abc"}]).transform(far)
    deletion = Delta([{"delete": MOST}])
    with pytest.raises(SynclineError, match="2147483647"):
        deletion.compose(deletion)
    assert far.end == MOST


def test_positions() -> None:
    delta = Delta([{"retain": 2}, {"insert": "ab"}, {"delete": 3}])
    assert [delta.transform_position(at) for at in range(8)] == [0, 1, 4, 4, 4, 4, 5, 6]
    assert [delta.transform_position(at, True) for at in range(8)] == [0, 1, 2, 4, 4, 4, 5, 6]
    with pytest.raises(ValueError, match="negative"):
        delta.transform_position(-1)


def test_types_are_checked() -> None:
    delta: Any = Delta()
    for call in (delta.compose, delta.transform, delta.invert, delta.apply, delta.decode):
        with pytest.raises(TypeError):
            call(None)
        with pytest.raises(TypeError):
            call([])
    assert delta != [] and delta is not None


DAMAGE = Delta(
    [
        {"retain": 300, "attributes": {"bold": None, "list": [1, {"a": "é"}]}},
        {"insert": "a💃"},
        {"insert": {"image": "x"}, "attributes": {"bold": True}},
        {"delete": 2},
    ]
).encode()


def test_no_damage_does_harm() -> None:
    """Every byte of a body changed, cut anywhere: ValueError, or a delta that holds the invariants."""
    bodies = [DAMAGE[:at] for at in range(len(DAMAGE))]
    bodies += [msgpack.encode(parts) for parts in ((None, "", [], []), ([], None, [], []), ([], "", None, []))]
    bodies += [msgpack.encode(([14], "\ufffc", [], None)), msgpack.encode(([14], None, [], [{"a": 1}])), b"\xc0", b""]
    bodies += [
        bytes([*DAMAGE[:at], value, *DAMAGE[at + 1 :]]) for at in range(len(DAMAGE)) for value in range(0, 256, 3)
    ]
    good = 0
    for body in bodies:
        try:
            delta = Delta.decode(body)
        except ValueError:
            continue
        good += 1
        assert len(delta.text.encode("utf-16-le")) == 2 * delta.inserted
        assert Delta.decode(delta.encode()) == delta
        assert delta.compose(Delta()) == delta
    assert 0 < good < len(bodies)


def test_what_the_bounds_let_add_up_can_be_stored() -> None:
    """A document may come to have more attributes than one op may set."""
    document = Delta([{"insert": "a"}])
    for part in range(4):
        document = document.compose(Delta([{"retain": 1, "attributes": {f"{part}.{n}": n for n in range(60)}}]))
    assert len(document.ops[0]["attributes"]) == 240
    assert Delta.decode(document.encode()) == document


def test_weight_counts_attributes_and_embeds() -> None:
    assert Delta([{"insert": "a" * 1000}, {"delete": 3}]).weight == 0
    assert 1000 < Delta([{"insert": {"image": "x" * 1000}}]).weight < 1030
    assert 1000 < Delta([{"retain": 1, "attributes": {"y": ["x" * 990, None, 5]}}]).weight < 1050
    assert Delta([{"insert": {"image": "x" * 1000}}]).footprint > 1000


def test_everything_is_freed() -> None:
    gc.collect()
    before = live_deltas()
    document = Delta([{"insert": "abc", "attributes": {"a": [1]}}, {"insert": {"image": 1}}] * 5)
    changes = [Delta([{"retain": at, "attributes": {"b": 1}}, {"insert": "x"}, {"delete": 2}]) for at in range(1, 8)]
    for change in changes:
        change.invert(document)
        document = change.apply(document)
        changes[0].transform(change).compose(change)
        with pytest.raises(SynclineError):
            Delta([{"insert": "a"}, {"insert": {"image": [1, set()]}}])
    del document, changes, change
    gc.collect()
    assert live_deltas() == before
