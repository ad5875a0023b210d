"""The mutable content against deltas, which the oracle and quill-delta watch."""

from __future__ import annotations

import gc
import json
import pickle
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.errors import SynclineError
from syncline.core.rich.rich import Delta
from syncline.core.rich.rich_text import RichText, live_rich_texts
from syncline.core.types import document_type
from tests.oracle.content_hash import rich_hash
from tests.oracle.rich import some_attributes, some_delta, some_document
from tests.scale import seeds

randoms = st.randoms(use_true_random=False)


def check(content: RichText, document: Delta) -> None:
    assert content.document() == document
    assert str(content) == document.text
    assert len(content) == document.inserted
    assert content.size >= len(content) + document.weight


@given(randoms)
def test_it_follows(random: Random) -> None:
    document = Delta(some_document(random))
    content = RichText(document)
    check(content, document)
    for _ in range(random.randrange(6)):
        delta = Delta(some_delta(random, document.ops))
        after = delta.apply(document)
        assert content.invert(delta) == delta.invert(document)
        bound = content.size_after(delta)
        content.apply(delta)
        check(content, after)
        assert content.size <= bound
        document = after
    start = random.randrange(len(content) + 1)
    assert RichText.decode(content.encode()).document() == document
    assert content.hash() == rich_hash(document.ops)
    try:
        rest = content.slice(start, len(content))
    except SynclineError:
        assert "💃" in document.text or "𝄞" in document.text
    else:
        assert content.slice(0, start).inserted == start
        joined = content.slice(0, start).compose(Delta([{"retain": start}, *rest.ops] if start else rest.ops))
        assert joined == document


def test_an_embed_cuts_a_run_that_has_its_attributes() -> None:
    attributes = {"color": False}
    content = RichText(Delta([{"insert": "aa", "attributes": attributes}]))
    delta = Delta([{"retain": 1}, {"insert": {"image": "a.png"}, "attributes": attributes}])
    bound = content.size_after(delta)
    content.apply(delta)
    assert content.size <= bound


@pytest.mark.parametrize("seed", seeds(2, 10, 40))
def test_many_runs(seed: int) -> None:
    """Blocks are filled, cut, emptied: edits all over a document of thousands of runs."""
    random = Random(seed)
    ops = [
        {"insert": random.choice("abc") * random.randrange(1, 4), "attributes": {"n": random.randrange(5)}}
        for _ in range(3000)
    ]
    document = Delta([*ops, {"insert": {"image": 1}}])
    content = RichText(document)
    assert content.runs > 2000
    for round in range(300):
        size = document.inserted
        at = random.randrange(size)
        kind = random.randrange(4) if round % 50 else 1
        most = 2000 if round % 50 == 0 else 40
        length = min(size - at, random.randrange(1, most))
        head = [{"retain": at}] if at else []
        attributes = some_attributes(random, True)
        tail: list[dict[str, object]]
        if kind == 0:
            tail = [{"delete": length}]
        elif kind == 1:
            tail = [{"retain": length, "attributes": attributes or {"n": None}}]
        elif kind == 2:
            tail = [{"insert": {"image": round}}, {"delete": length}]
        else:
            tail = [{"insert": f"{n}", "attributes": {"n": n}} for n in range(random.randrange(1, 400))]
        delta = Delta([*head, *tail])
        after = delta.apply(document)
        inverse = content.invert(delta)
        assert inverse == delta.invert(document)
        bound = content.size_after(delta)
        content.apply(delta)
        assert content.size <= bound
        if round % 10 == 0:
            check(content, after)
            content.apply(inverse)
            check(content, document)
            content.apply(delta)
        document = after
    check(content, document)
    assert content.size < len(content) + 2 * document.weight
    content.apply(Delta([{"delete": len(content)}]))
    check(content, Delta())
    assert content.size == 0 and content.runs == 0
    content.apply(Delta([{"insert": "again"}]))
    check(content, Delta([{"insert": "again"}]))


def test_typing_makes_no_runs() -> None:
    content = RichText(Delta([{"insert": "bold", "attributes": {"bold": True}}, {"insert": "plain"}]))
    for at in range(100):
        content.apply(Delta([{"retain": 4 + at}, {"insert": "x", "attributes": {"bold": True}}]))
        content.apply(Delta([{"retain": 5 + at}, {"insert": "y"}, {"delete": 1}]))
    assert content.runs == 2
    content.apply(Delta([{"retain": 104, "attributes": {"bold": None}}]))
    assert content.runs == 1 and content.size == len(content)


def test_all_or_nothing() -> None:
    document = Delta([{"insert": "a💃b", "attributes": {"x": 1}}, {"insert": "c"}])
    content = RichText(document)
    size = content.size
    bold = {"bold": True}
    for ops, code in (
        ([{"insert": "x"}, {"retain": 2, "attributes": bold}], "operation_invalid"),
        ([{"retain": 1, "attributes": bold}, {"retain": 1}, {"insert": "x"}], "operation_invalid"),
        ([{"retain": 2}, {"retain": 1, "attributes": bold}], "operation_invalid"),
        ([{"insert": "x"}, {"delete": 2}], "operation_invalid"),
        ([{"insert": "x"}, {"delete": 6}], "operation_out_of_range"),
        ([{"retain": 1, "attributes": bold}, {"retain": 5, "attributes": {"b": 1}}], "operation_out_of_range"),
        ([{"insert": "x"}, {"retain": 6}, {"insert": "x"}], "operation_out_of_range"),
    ):
        with pytest.raises(SynclineError) as caught:
            content.apply(Delta(ops))
        assert caught.value.code == code
        if "insert" not in ops[-1]:
            with pytest.raises(SynclineError) as caught:
                content.invert(Delta(ops))
            assert caught.value.code == code
        check(content, document)
        assert content.size == size and content.runs == 2
    with pytest.raises(SynclineError):
        content.size_after(Delta([{"delete": 6}]))
    for start, end in ((-1, 1), (2, 1), (0, 6)):
        with pytest.raises(SynclineError) as caught:
            content.slice(start, end)
        assert caught.value.code == "operation_out_of_range"


def test_attributes_weigh() -> None:
    """Many small changes cannot hide a large document."""
    content = RichText(Delta([{"insert": "abcdefgh"}]))
    heavy = {"a": "x" * 10_000}
    for at in range(1, 8, 2):
        delta = Delta([{"retain": at}, {"retain": 1, "attributes": heavy}])
        assert content.size_after(delta) >= content.size + 10_000
        content.apply(delta)
    assert 40_000 < content.size < 40_200
    every = Delta([{"retain": 8, "attributes": {"b": "y" * 10_000}}])
    assert content.size_after(every) >= 120_000
    content.apply(every)
    assert 120_000 < content.size <= 121_000
    content.apply(Delta([{"retain": 8, "attributes": {"a": None, "b": None}}]))
    assert content.size == 8


def test_what_it_is_made_of() -> None:
    with pytest.raises(ValueError, match="no document"):
        RichText(Delta([{"delete": 1}]))
    content = RichText(Delta([{"insert": "abc"}]))
    with pytest.raises(TypeError, match="once"):
        content.__init__(Delta())
    twin = content.copy()
    twin.apply(Delta([{"insert": "x"}]))
    assert str(content) == "abc" and str(twin) == "xabc"
    assert str(pickle.loads(pickle.dumps(twin))) == "xabc"
    with pytest.raises(ValueError, match="damaged"):
        RichText.decode(b"nothing")
    with pytest.raises(ValueError, match="no document"):
        RichText.decode(Delta([{"delete": 1}]).encode())


def test_everything_is_freed() -> None:
    gc.collect()
    before = live_rich_texts()
    content = RichText(Delta([{"insert": "a", "attributes": {"n": n}} for n in range(2000)]))
    content.apply(Delta([{"retain": 500}, {"delete": 1000}]))
    assert live_rich_texts() == before + 1
    del content
    assert live_rich_texts() == before


def test_a_document_may_outgrow_what_one_edit_may_bring() -> None:
    """What edits made is read back: from a snapshot, and as the difference that restores it."""
    kind = document_type("rich-text")
    content = RichText()
    for _ in range(3):
        content.apply(Delta([{"insert": "a", "attributes": {"n": n % 2}} for n in range(40_000)]))
    for start in (0, 60):
        content.apply(Delta([{"retain": 1, "attributes": {f"a{start + n}": 1 for n in range(60)}}]))
    shown = kind.show(content)
    assert len(shown) > 100_000 and len(shown[0]["attributes"]) > 64
    with pytest.raises(SynclineError, match="more than"):
        Delta.parse(shown)
    with pytest.raises(SynclineError, match="more than"):
        kind.parse_content(shown)
    again = kind.load(kind.dump(content))
    assert again.document() == content.document()
    empty = kind.empty()
    empty.apply(kind.diff(empty, content))
    assert empty.document() == content.document()
    for damaged in ([{"delete": 1}], [{"insert": 1}], {"insert": "a"}):
        with pytest.raises(ValueError, match="damaged"):
            kind.load(json.dumps(damaged))
