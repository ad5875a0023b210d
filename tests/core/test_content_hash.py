"""The hash of a content beside the words of the protocol, in parts and whole, and what it must not miss."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncline.core.rich.rich import Delta
from syncline.core.rich.rich_text import RichText
from syncline.core.types import document_type
from syncline.core.values.content_hash import ContentHasher, content_hash, live_hashers
from syncline.core.values.json_values import same_value
from tests.oracle.content_hash import rich_hash, value_hash
from tests.oracle.edits import random_content, random_edit
from tests.oracle.json0 import random_value
from tests.oracle.rich import some_delta, some_document
from tests.project import ROOT
from tests.scale import seeds

PROTOCOL = (ROOT / "docs" / "protocol.md").read_text()
#: As docs/protocol.md has them.
VECTORS: list[tuple[Any, int]] = [
    (None, 1364076727),
    (True, 2247144487),
    (-0.5, 2651622101),
    (2**53, 3938038988),
    ("héllo 🙂", 493548557),
    ([], 1558924552),
    ([1, [2]], 1778671740),
    ({"b": [1, "x"], "a": None}, 698438849),
]

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text("ab é日😀"), inner), max_leaves=30
)


@given(values)
@example("é" * 5000)
@example("日" * 5000)
@example("😀" + "x" * 2046 + "😀" * 1023 + "é" * 2048)
@example("x" * (1 << 16) + "é")
@example([[], [[]], [[], []], {}, {"": {}}, -0.0, 0, 2**53, -1.5e300, 5e-324])
def test_it_is_what_the_protocol_says(value: Any) -> None:
    assert content_hash(value) == value_hash(value)


@given(values, st.integers(1, 5))
def test_in_parts_it_is_the_same(value: Any, part: int) -> None:
    hasher = ContentHasher(value)
    while not hasher.work(part):
        assert not hasher.done
    assert hasher.done and hasher.value == content_hash(value)
    assert hasher.work(1)


RICH: list[Any] = [{"insert": "Hello ", "attributes": {"bold": True}}, {"insert": {"image": "x.png"}}, {"insert": "\n"}]


@pytest.mark.parametrize(("value", "hashed"), VECTORS)
def test_vectors(value: Any, hashed: int) -> None:
    assert content_hash(value) == hashed
    assert f"| {hashed} |" in PROTOCOL


def test_the_vector_of_a_rich_text() -> None:
    assert RichText(Delta(RICH)).hash() == 2172338191 and "`2172338191`" in PROTOCOL


def test_what_is_the_same_has_the_same() -> None:
    assert content_hash({"a": 1, "b": [2.0, -0.0]}) == content_hash({"b": [2, 0], "a": 1})


@pytest.mark.parametrize("seed", [531143585, *seeds(20, 100, 1000)])  # the first one: 0 beside 0.0
def test_no_change_of_one_place_is_missed(seed: int) -> None:
    random = Random(seed)
    value = {"a": random_value(random, 5), "b": [random_value(random, 4) for _ in range(4)]}
    hashed = content_hash(value)
    for changed in changes(value):
        assert content_hash(changed) != hashed, changed


def changes(value: Any) -> list[Any]:
    """The value with something else in one place, for each place; with two values exchanged that differ."""
    found: list[Any] = [[value], "other"]
    if isinstance(value, list):
        found += [[*value, None], [None, *value]]
        for at, inner in enumerate(value):
            head, tail = value[:at], value[at + 1 :]
            found.append([*head, *tail])
            found += [[*head, one, *tail] for one in changes(inner)]
            found += [[*head, tail[0], inner, *tail[1:]]] if tail else []
    elif isinstance(value, dict):
        found += [value | {"new": None}, {key + "'": inner for key, inner in value.items()} or {"k": None}]
        found += [value | {key: one} for key, inner in value.items() for one in changes(inner)]
        found += [value | {one: value[two], two: value[one]} for one in value for two in value]
    elif isinstance(value, bool) or value is None:
        found += [not value, 0, "", [], {}]
    elif isinstance(value, int | float):
        found += [value + 1, -value, str(value), value / 3]
    else:
        found += [value + "x", value[1:], value.swapcase()]
    return [one for one in found if not same_value(doubles(one), doubles(value))]


def doubles(value: Any) -> Any:
    """As JSON has them: 0 and 0.0 are one number."""
    if isinstance(value, list):
        return [doubles(one) for one in value]
    if isinstance(value, dict):
        return {key: doubles(one) for key, one in value.items()}
    return float(value) if type(value) is int else value


def test_what_is_no_json_is_refused() -> None:
    for value in (object(), b"", (), [1, {"a": set()}], {1: 2}):
        with pytest.raises(TypeError):
            content_hash(value)
    deep: Any = None
    for _ in range(81):
        deep = [deep]
    with pytest.raises(ValueError):
        content_hash(deep)
    assert content_hash(deep[0]) == value_hash(deep[0])
    for value in (object(), [[object()]], {"a": {1: 2}}):
        with pytest.raises(TypeError):
            ContentHasher(value).work(10)
    with pytest.raises(ValueError):
        ContentHasher(deep).work(1000)
    with pytest.raises(TypeError):
        ContentHasher.__new__(ContentHasher)


def test_one_that_is_given_up_leaks_nothing() -> None:
    before = live_hashers()
    inner: list[Any] = [1, 2]
    value = {"a": [inner, inner]}
    hasher = ContentHasher(value)
    assert not hasher.work(3)
    value["a"].clear()  # it must not; then the hash means nothing, and that is all
    assert live_hashers() == before + 1
    while not hasher.work(1):
        pass
    half = ContentHasher([[[inner]]])
    half.work(2)
    del hasher, half
    assert live_hashers() == before


def test_a_part_is_as_much_as_was_asked_for() -> None:
    """Long strings count for what they take."""
    hasher, parts = ContentHasher(["x" * 800] * 2000 + [{"k" * 1000: "y" * 64_000}] * 100), 0
    while not hasher.work(1000):
        parts += 1
    assert parts > 100
    steps = RichText(Delta.parse([{"insert": {"image": "x" * 50_000}}] * 100, trusted=True)).hashing()
    assert len(list(steps)) > 40


# Rich text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", seeds(300, 3000, 30_000))
def test_of_a_rich_text_however_it_came_to_be(seed: int) -> None:
    random = Random(seed)
    content = RichText(Delta(some_document(random)))
    for _ in range(5):
        content.apply(Delta(some_delta(random, content.document().ops)))
        ops = content.document().ops
        assert content.hash() == rich_hash(ops) == content.copy().hash()


def test_attributes_whose_hash_is_nothing_special() -> None:
    for value, hashed in ((1.000000602794184, 0),):
        assert content_hash({"size": value}) == hashed
        for ops in ([{"insert": "x"}], [{"insert": "yx"}], [{"insert": {"image": 1}}]):
            dressed = [op | {"attributes": {"size": value}} for op in ops]
            for document in (dressed, [*dressed, {"insert": "\n"}], [{"insert": "a"}, *dressed]):
                assert RichText(Delta(document)).hash() == rich_hash(document)


def test_runs_that_blocks_divide_count_as_one() -> None:
    bold, red = {"bold": True}, {"color": "red"}
    content = RichText(
        Delta.parse([{"insert": "ab", "attributes": red if at % 2 else bold} for at in range(2000)], trusted=True)
    )
    content.apply(Delta([{"retain": 4000, "attributes": {"color": None, "bold": True}}]))
    assert content.hash() == rich_hash([{"insert": "ab" * 2000, "attributes": bold}])


@pytest.mark.parametrize("name", ["json", "rich-text"])
@pytest.mark.parametrize("seed", seeds(100, 1000, 10_000))
def test_two_contents_have_one_hash_only_when_they_are_one(name: str, seed: int) -> None:
    random = Random(seed)
    kind = document_type(name)
    before = kind.show(kind.parse_content(random_content(name, random)))
    content = kind.parse_content(copy.deepcopy(before))
    hashed = kind.hash(content)
    after = kind.apply(content, kind.parse(random_edit(name, random, before)))
    assert (kind.hash(after) == hashed) == (kind.show(after) == before and repr(kind.show(after)) == repr(before))
    steps = kind.hashing(after)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        assert end.value == kind.hash(after)


def test_what_only_a_format_or_an_embed_tells_apart() -> None:
    plain: list[Any] = [{"insert": "a\ufffcb"}]
    contents: list[list[Any]] = [
        plain,
        [{"insert": "a"}, {"insert": {"image": "x"}}, {"insert": "b"}],
        [{"insert": "a"}, {"insert": {"image": "y"}}, {"insert": "b"}],
        [{"insert": "a"}, {"insert": {"image": "x"}, "attributes": {"width": 1}}, {"insert": "b"}],
        [{"insert": "a\ufffcb", "attributes": {"bold": True}}],
        [{"insert": "a", "attributes": {"bold": True}}, {"insert": "\ufffcb"}],
        [{"insert": "a\ufffc"}, {"insert": "b", "attributes": {"bold": True}}],
        [{"insert": "a\ufffc"}, {"insert": "b", "attributes": {"bold": 1}}],
    ]
    assert len({RichText(Delta(ops)).hash() for ops in contents}) == len(contents)
