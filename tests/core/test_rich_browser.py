"""The browser's twin of Delta (richText of syncline.js) against the core and quill-delta, live: the same ops."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from syncline.core.errors import SynclineError
from syncline.core.rich.rich import Delta
from tests.oracle.content_hash import rich_hash
from tests.oracle.rich import plain, some_delta, some_document
from tests.peers import Peers
from tests.scale import seeds

CASES = 600


@pytest.mark.parametrize("seed", seeds(2, 10, 40))
def test_it_comes_to_the_same_ops(peers: Peers, seed: int) -> None:
    random = Random(100 + seed)
    calls: list[tuple[Any, ...]] = []
    quills: list[tuple[Any, ...]] = []
    ours: list[Any] = []
    for _ in range(CASES):
        base = some_document(random, 8)
        a, b = some_delta(random, base, 8), some_delta(random, base, 8)
        document, first, second = Delta(base), Delta(a), Delta(b)
        changed = first.apply(document)
        c = some_delta(random, changed.ops, 8)
        right = random.random() < 0.5
        side = "right" if right else "left"
        position = random.randrange(document.length + 2)
        calls += [
            ("rich.apply", base, a),
            ("rich.compose", a, c),
            ("rich.transform", b, a, side),
            ("rich.invert", a, base),
            ("rich.mapPosition", position, a, "left" if right else "right"),
            ("rich.parse", [*a, *b, *c]),
            ("rich.baseLength", a),
            ("rich.plain", base),
            ("rich.hash", base),
        ]
        quills += [
            ("quill.compose", base, a),
            ("quill.compose", a, c),
            ("quill.transform", a, b, right),
            ("quill.invert", a, base),
            ("quill.transformPosition", a, position, right),
            ("quill.push", [*a, *b, *c]),
        ]
        ours += [
            changed.ops,
            first.compose(Delta(c)).ops,
            first.transform(second, right).ops,
            first.invert(document).ops,
            first.transform_position(position, right),
            Delta([*a, *b, *c]).ops,
            first.base_length,
            document.text,
            rich_hash(base),
        ]
    answers = peers.batch(calls)
    for call, got, expected in zip(calls, answers, ours, strict=True):
        assert plain(got) == plain(expected), call
    theirs = [
        got
        for call, got in zip(calls, answers, strict=True)
        if call[0] not in ("rich.baseLength", "rich.plain", "rich.hash")
    ]
    for call, got, expected in zip(quills, theirs, peers.batch(quills), strict=True):
        assert plain(got) == plain(expected), call


def test_a_diff_leads_from_one_document_to_the_other(peers: Peers) -> None:
    random = Random(7)
    pairs = []
    for _ in range(CASES):
        before = some_document(random, 8)
        edited = Delta(some_delta(random, before, 3)).apply(Delta(before)).ops
        pairs.append((before, random.choice((edited, some_document(random, 8)))))
    diffs = peers.batch([("rich.diff", before, after) for before, after in pairs])
    for (before, after), operation in zip(pairs, diffs, strict=True):
        assert Delta(operation).apply(Delta(before)) == Delta(after), (before, after, operation)


def test_a_diff_is_small(peers: Peers) -> None:
    before = [{"insert": "one two"}, {"insert": {"image": "a"}}, {"insert": "three💃\n"}]
    cases = [
        (before, []),
        (
            [*before[:2], {"insert": "three💃\n", "attributes": {"bold": True}}],
            [{"retain": 8}, {"retain": 8, "attributes": {"bold": True}}],
        ),
        (
            [before[0], {"insert": {"image": "b"}}, before[2]],
            [{"retain": 7}, {"insert": {"image": "b"}}, {"delete": 1}],
        ),
        ([*before[:2], {"insert": "three💄\n"}], [{"retain": 13}, {"insert": "💄"}, {"delete": 2}]),
        ([{"insert": "one 2 two"}, *before[1:]], [{"retain": 4}, {"insert": "2 "}]),
    ]
    assert peers.batch([("rich.diff", before, after) for after, _ in cases]) == [expected for _, expected in cases]


DEEP: Any = {"a": 1}
for _ in range(20):
    DEEP = {"a": DEEP}

REFUSED: tuple[Any, ...] = (
    *(
        1,
        None,
        "x",
        {"ops": 1},
        {},
        [1],
        [[]],
        [{}],
        [{"insert": ""}],
        [{"insert": 1}],
        [{"insert": None}],
        [{"keep": 1}],
    ),
    *([{"insert": {}}], [{"insert": {"a": 1, "b": 2}}], [{"insert": []}], [{"insert": DEEP}], [{"insert": {"": 1}}]),
    *([{"insert": "\ud83d"}], [{"insert": {"a": "\udc00"}}], [{"insert": "a", "attributes": {"\ud83d": 1}}]),
    *([{"retain": 0}], [{"retain": -1}], [{"retain": 1.5}], [{"retain": 2**31}], [{"retain": "1"}], [{"retain": True}]),
    *([{"retain": {"a": 1}}], [{"delete": 1, "attributes": {"a": 1}}], [{"insert": "a", "delete": 1}]),
    *([{"retain": 1, "attributes": []}], [{"retain": 1, "attributes": {"": 1}}], [{"retain": 1, "attributes": DEEP}]),
    *([{"retain": 1, "attributes": {"toString": 1}}], [{"retain": 1, "attributes": {"constructor": None}}]),
    [{"retain": 1, "attributes": {"a": {"__proto__": 1}}}],
    *(
        [{"retain": 1, "attributes": {"a": "x" * 17_000}}],
        [{"retain": 1, "attributes": {str(n): 1 for n in range(65)}}],
    ),
)


def test_both_refuse_the_same(peers: Peers) -> None:
    answers = peers.answers([("rich.parse", value) for value in REFUSED])
    for value, answer in zip(REFUSED, answers, strict=True):
        assert "error" in answer, value
        with pytest.raises(SynclineError):
            Delta(value)


def test_both_take_the_numbers_of_browsers(peers: Peers) -> None:
    """As of JSON documents: whole numbers beyond 2^53 are doubles, in whatever way they are written."""
    numbers = [2**53 - 1, 2**53, 10**17, 9223372036854776000, 123456789012345680000, 1e21, -(2.0**60), 0.5]
    operations = [[{"insert": {"n": number}, "attributes": {"a": number}}, {"retain": 2}] for number in numbers]
    for operation, told in zip(operations, peers.batch([("rich.parse", one) for one in operations]), strict=True):
        ours = Delta(operation)
        assert Delta(told) == ours and Delta.decode(ours.encode()) == ours
        number = ours.ops[0]["attributes"]["a"]
        assert float(number) == float(operation[0]["attributes"]["a"])
        assert (type(number) is int) == (abs(number) < 2**53 and number != 0.5)
    for odd in (2**53 + 1, 10**400, float("inf"), float("nan")):
        with pytest.raises(SynclineError):
            Delta([{"retain": 1, "attributes": {"a": odd}}])


def test_both_refuse_what_does_not_apply(peers: Peers) -> None:
    document = [{"insert": "a💃"}]
    for operation in (
        [{"delete": 4}],
        [{"retain": 2}, {"insert": "x"}],
        [{"delete": 2}],
        [{"retain": 2, "attributes": {"b": 1}}],
    ):
        for answer in peers.answers([("rich.apply", document, operation), ("rich.invert", operation, document)]):
            assert "error" in answer, operation
        with pytest.raises(SynclineError):
            Delta(operation).apply(Delta(document))
