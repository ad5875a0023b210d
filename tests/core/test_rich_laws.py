"""Deltas against the slow oracle, and what must hold whatever they are."""

from __future__ import annotations

import pickle
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from syncline.core.rich.rich import Delta
from tests.oracle import rich as oracle
from tests.oracle.rich import plain, some_delta, some_document

randoms = st.randoms(use_true_random=False)


def after(document: oracle.Ops, delta: oracle.Ops) -> oracle.Ops:
    return oracle.written(oracle.apply(oracle.document(document), delta))


@given(randoms)
def test_what_is_canonical_stays_as_it_is(random: Random) -> None:
    document = some_document(random)
    delta = some_delta(random, document)
    assert plain(Delta(delta).ops) == plain(delta)
    assert Delta(document).is_document
    assert Delta(delta).text == "".join(
        op["insert"] if isinstance(op["insert"], str) else "\ufffc" for op in delta if "insert" in op
    )


@given(randoms)
def test_anything_becomes_canonical(random: Random) -> None:
    """Ops in any order, divided anyhow."""
    document = some_document(random)
    ops = [*some_delta(random, document), *some_delta(random, document), *some_delta(random, document)]
    assert plain(Delta.parse({"ops": ops}).ops) == plain(oracle.gather(oracle.atoms(ops)))


@given(randoms)
def test_apply_and_invert(random: Random) -> None:
    document = some_document(random)
    delta = some_delta(random, document)
    changed = Delta(delta).apply(Delta(document))
    assert plain(changed.ops) == plain(after(document, delta))
    inverse = Delta(delta).invert(Delta(document))
    assert plain(inverse.ops) == plain(oracle.invert(delta, oracle.document(document)))
    assert inverse.apply(changed) == Delta(document)


@given(randoms)
def test_compose(random: Random) -> None:
    document = some_document(random)
    a = some_delta(random, document)
    once = after(document, a)
    b = some_delta(random, once)
    both = Delta(a).compose(Delta(b))
    assert plain(both.ops) == plain(oracle.compose(a, b))
    assert both.apply(Delta(document)) == Delta(after(once, b))
    c = some_delta(random, after(once, b))
    left, right = both.compose(Delta(c)), Delta(a).compose(Delta(b).compose(Delta(c)))
    assert left.apply(Delta(document)) == right.apply(Delta(document))


@given(randoms, st.booleans())
def test_transform(random: Random, priority: bool) -> None:
    document = some_document(random)
    a, b = some_delta(random, document), some_delta(random, document)
    moved = Delta(a).transform(Delta(b), priority)
    assert plain(moved.ops) == plain(oracle.transform(a, b, priority))
    # TP1: whichever came first, both ways lead to the same document.
    back = Delta(b).transform(Delta(a), not priority)
    one, other = Delta(a).apply(Delta(document)), Delta(b).apply(Delta(document))
    assert moved.apply(one) == back.apply(other)


@given(randoms, st.booleans())
def test_transform_position(random: Random, priority: bool) -> None:
    document = some_document(random)
    a = some_delta(random, document)
    position = random.randrange(Delta(document).length + 3)
    assert Delta(a).transform_position(position, priority) == oracle.transform_position(a, position, priority)


@given(randoms)
def test_bytes_and_digests(random: Random) -> None:
    document = some_document(random)
    a, b = some_delta(random, document), some_delta(random, document)
    for ops in (document, a, b):
        delta = Delta(ops)
        again = Delta.decode(delta.encode())
        assert again == delta and again.digest == delta.digest and hash(again) == hash(delta)
        assert plain(again.ops) == plain(ops)
        assert pickle.loads(pickle.dumps(delta)) == delta
        turned: Any = [
            {**op, "attributes": dict(reversed(op["attributes"].items()))} if "attributes" in op else op for op in ops
        ]
        assert Delta(turned).digest == delta.digest
    assert (Delta(a) == Delta(b)) == (plain(a) == plain(b)) == (Delta(a).digest == Delta(b).digest)


@given(randoms)
def test_numbers(random: Random) -> None:
    document = some_document(random)
    ops = some_delta(random, document)
    delta = Delta(ops)
    units = oracle.document(document)
    assert delta.change == len(oracle.apply(units, ops)) - len(units)
    assert delta.inserted - delta.deleted == delta.change
    spelled = [atom[0] for atom in oracle.atoms(ops)]
    assert delta.base_length == sum(kind != "put" for kind in spelled)
    assert delta.length == len(spelled)
    assert delta.end == sum(kind != "drop" for kind in spelled)
    assert delta.is_identity == (not ops)
