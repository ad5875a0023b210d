"""Deltas against npm's quill-delta, live: the same ops, not just the same documents."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from syncline.core.rich.rich import Delta
from tests.oracle import rich as oracle
from tests.oracle.rich import plain, some_delta, some_document
from tests.peers import Peers
from tests.scale import seeds

pytestmark = pytest.mark.fuzz
CASES = 2_000


@pytest.mark.parametrize("seed", seeds(3, 15, 60))
def test_agrees_with_quill_delta(peers: Peers, seed: int) -> None:
    random = Random(seed)
    calls: list[tuple[Any, ...]] = []
    ours: list[Any] = []
    for _ in range(CASES):
        base = some_document(random, 8)
        a, b = some_delta(random, base, 8), some_delta(random, base, 8)
        document, first, second = Delta(base), Delta(a), Delta(b)
        changed = first.apply(document)
        c = some_delta(random, changed.ops, 8)
        priority = random.random() < 0.5
        position = random.randrange(document.length + 2)
        calls += [
            ("quill.compose", base, a),
            ("quill.compose", a, c),
            ("quill.transform", a, b, priority),
            ("quill.transform", b, a, priority),
            ("quill.invert", a, base),
            ("quill.transformPosition", a, position, priority),
            ("quill.push", [*a, *b, *c]),
        ]
        ours += [
            changed.ops,
            first.compose(Delta(c)).ops,
            first.transform(second, priority).ops,
            second.transform(first, priority).ops,
            first.invert(document).ops,
            first.transform_position(position, priority),
            Delta([*a, *b, *c]).ops,
        ]
    for call, expected, got in zip(calls, peers.batch(calls), ours, strict=True):
        assert plain(got) == plain(expected), call


def test_the_oracle_agrees_too(peers: Peers) -> None:
    """Who watches the oracle: a small round, so that a mistake in both it and the core is none in all three."""
    random = Random(11)
    calls: list[tuple[Any, ...]] = []
    theirs: list[Any] = []
    for _ in range(500):
        base = some_document(random)
        a, b = some_delta(random, base), some_delta(random, base)
        c = some_delta(random, oracle.written(oracle.apply(oracle.document(base), a)))
        calls += [
            ("quill.compose", a, c),
            ("quill.transform", a, b, True),
            ("quill.transform", a, b, False),
            ("quill.invert", a, base),
            ("quill.transformPosition", a, 3, True),
        ]
        theirs += [
            oracle.compose(a, c),
            oracle.transform(a, b, True),
            oracle.transform(a, b, False),
            oracle.invert(a, oracle.document(base)),
            oracle.transform_position(a, 3, True),
        ]
    for call, expected, got in zip(calls, peers.batch(calls), theirs, strict=True):
        assert plain(got) == plain(expected), call
