"""What a returning client is told in few steps: it and the server end with the same text, whatever was pending."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.core.documents.document import Document
from syncline.core.documents.document_type import DocumentType, run
from syncline.core.documents.rejoin import Composite, Missed, Pending
from syncline.core.documents.text_type import TextType
from syncline.core.documents.value_engine import TypedEntry
from syncline.core.json.json_type import JsonType
from syncline.core.ot.ot import Operation, apply, transform
from syncline.core.rich.rich_type import RichType
from syncline.core.storage.commits import Entry
from tests.oracle.strategies import operations
from tests.scale import seeds

from .typed_edits import edit

START = "the quick 😀 fox"


def some(data: st.DataObject, text: str) -> Operation:
    return Operation(data.draw(operations(text, "utf-16")))


def missed(document: Document, revision: int, awaited: int | None = None, slices: int = 3) -> Missed:
    found = Missed(TextType(), "me", "utf-16", awaited)
    entries = document.since(revision)
    for at in range(0, len(entries), slices):
        run(found.add(entries[at : at + slices]))
    return found


@given(st.data())
def test_steps_and_pending_meet_at_the_head(data: st.DataObject) -> None:
    document = TextType().open("d", "g")
    document.receive("seed", "u", 1, 0, [START])
    text = document.content()
    first = some(data, text)
    middle = apply(text, first)
    second = some(data, middle)
    committed = data.draw(st.booleans())  # the first one got through, its ack did not
    when = data.draw(st.integers(0, 4))
    for number in range(5):
        if committed and number == when:
            document.receive("me", "u", 1, 1, first)
        author = data.draw(st.sampled_from(["a", "b"]))
        document.receive(author, "u", number + 1, document.revision, some(data, document.content()))

    found = missed(document, 1, 1 if committed else None, data.draw(st.integers(1, 4)))
    carried = found.carry([Pending(first, 1), Pending(second, None)])
    assert len(carried) == (1 if committed else 2)
    server = document.content()
    for operation in carried:
        server = apply(server, operation)

    # The client's side: the steps are remote operations to what it shows.
    shown, waiting = apply(middle, second), [first, second]
    revision = 1
    for step in found.steps():
        if isinstance(step, Entry) and step.client == "me":
            assert waiting.pop(0) == step.operation
            revision += 1
            continue
        revision += 1 if isinstance(step, Entry) else step.count
        theirs, moved = step.operation, []
        for mine in waiting:
            moved.append(transform(mine, theirs, "left"))
            theirs = transform(theirs, mine, "right")
        shown, waiting = apply(shown, theirs), moved
    assert revision == document.revision
    assert waiting == carried
    assert shown == server


def test_what_was_committed_unnoticed_needs_single_steps() -> None:
    """The composite of a deletion and an insert at its place is not what an operation inside was transformed over."""
    document = TextType().open("d", "g")
    document.receive("a", "u", 1, 0, ["the"])
    document.receive("a", "u", 2, 1, [-1])
    document.receive("a", "u", 3, 2, ["a"])
    document.receive("me", "u", 1, 1, [1, " "])
    document.receive("a", "u", 4, 4, [-1])
    document.receive("a", "u", 5, 5, ["b"])
    kinds = [type(step).__name__ for step in missed(document, 1, awaited=1).steps()]
    assert kinds == ["Entry", "Entry", "Entry", "Composite"]


@given(st.data())
def test_without_own_entries_it_is_one_step(data: st.DataObject) -> None:
    document = TextType().open("d", "g")
    document.receive("a", "u", 1, 0, [START])
    count = data.draw(st.integers(1, 12))
    for number in range(count):
        document.receive("a", "u", number + 2, document.revision, some(data, document.content()))
    (step,) = missed(document, 1, slices=data.draw(st.integers(1, 5))).steps()
    assert not isinstance(step, Entry)
    assert step.count == count
    assert apply(START, step.operation) == document.content()


def test_an_undo_of_ones_own_is_somebody_elses_operation() -> None:
    """Its number is taken, its content is not in the client's text."""
    found = Missed(TextType(), "me", "utf-16")
    run(found.add([Entry("me", "u", 2, Operation([-3]), kind="undo")]))
    assert found.carry([Pending(Operation([5, "x"]), 3)]) == [Operation([2, "x"])]
    assert found.carry([Pending(Operation([5, "x"]), 2)]) == [Operation([2, "x"])]


def test_nothing_missed() -> None:
    found = Missed(TextType(), "me", "utf-16")
    assert found.steps() == []
    assert found.bulk == 0
    assert found.carry([Pending(Operation(["x"]), None)]) == [Operation(["x"])]


@pytest.mark.parametrize("type", [RichType(), JsonType()], ids=lambda type: type.name)
@pytest.mark.parametrize("seed", seeds(40, 400))
def test_documents_of_every_type_meet_at_the_head(type: DocumentType[Any, Any], seed: int) -> None:
    """As above, with what their tests do at random."""
    dice = random.Random(seed)
    document, mine = type.open("d", "g"), type.open("d", "g")
    for number in range(3):
        document.receive("seed", "u", number + 1, number, edit(document, dice))
    mine.replay(0, document.since(0))
    made = []
    for number in range(dice.randint(1, 3)):  # what the client does meanwhile, on its own
        receipt = mine.receive("me", "u", number + 1, mine.revision, edit(mine, dice))
        made.append(receipt.entry.operation)
    committed, when = dice.random() < 0.5, dice.randint(0, 4)  # the first one got through, its ack did not
    for number in range(5):
        if committed and number == when:
            document.receive("me", "u", 1, 3, type.describe(made[0]))
        document.receive(dice.choice("ab"), "u", number + 1, document.revision, edit(document, dice))

    found = Missed(type, "me", "utf-16", 1 if committed else None)
    entries = document.since(3)
    for at in range(0, len(entries), 2):
        run(found.add(entries[at : at + 2]))
    pending = [Pending(operation, number + 1) for number, operation in enumerate(made)]
    carried = found.carry(pending)
    assert len(carried) == len(made) - committed

    shown, waiting, revision = type.parse_content(mine.content(), trusted=True), list(made), 3
    for step in found.steps():
        theirs = step.operation
        revision += step.count if isinstance(step, Composite) else 1
        if not isinstance(step, Composite) and step.client == "me":
            del waiting[0]
            continue
        moved = []
        for own in waiting:
            moved.append(type.transform(own, theirs, "left"))
            theirs = type.transform(theirs, own, "right")
        shown, waiting = type.apply(shown, theirs), moved
    assert revision == document.revision
    for operation in carried:
        document.receive("me", "u", 9 + revision, document.revision, type.describe(operation))
        revision += 1
    assert type.show(shown) == document.content()
    if not committed:
        assert len(found.steps()) == 1, "one run of others is one step here"


def test_composites_stay_small_enough_to_be_taken() -> None:
    type = JsonType()
    document = type.open("d", "g")
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": []}])
    for number in range(2500):
        document.receive("a", "u", number + 2, number + 1, [{"p": [number], "li": number}])
    found = Missed(type, "me", "utf-16")
    run(found.add(document.since(1)))
    steps = found.steps()
    assert 2 < len(steps) < 10 and sum(step.count for step in steps) == 2500
    content = type.parse_content([])
    for step in steps:
        content = type.apply(content, type.parse(type.describe(step.operation)))
    assert content == document.content()


LARGE: dict[str, Any] = {
    "text": ["x" * 20_000],
    "rich-text": [{"insert": "x" * 20_000}],
    "json": [{"p": [0], "li": number} for number in range(300)],
}


@pytest.mark.parametrize("type_class", [TextType, RichType, JsonType])
def test_composing_rests_and_makes_nothing_that_it_cannot_use(
    type_class: type[DocumentType[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two compositions others may run, and what is too much for one operation is known before it is made."""
    kind = type_class()
    operation = kind.parse(LARGE[kind.name])
    made: list[Any] = []
    compose = type_class.compose

    def counted(self: Any, first: Any, second: Any) -> Any:
        made.append(compose(self, first, second))
        return made[-1]

    monkeypatch.setattr(type_class, "compose", counted)

    def entries(some: list[Any]) -> list[Any]:
        body = kind.encode_entries([entry_of(kind, number + 1, one) for number, one in enumerate(some)])
        return kind.decode_entries(body)

    found, most, rests = Missed(kind, "me", "utf-16"), 0, 0
    for _ in found.add(entries([operation] * 200)):
        most, rests = max(most, len(made)), rests + 1
        made.clear()
    steps = found.steps()
    assert most <= 1 and rests > 10 and 10 < len(steps) <= 100 and sum(step.count for step in steps) == 200
    run(Missed(kind, "me", "utf-16").add(entries([step.operation for step in steps])))
    assert not made
    pieces = Missed(kind, "me", "utf-16")
    for _ in range(40):
        run(pieces.add(entries([operation] * 5)))
    for each in (found, pieces):
        assert each.bulk == sum(kind.bulk(step.operation) + 16 for step in each.steps())
    assert len(pieces.steps()) < 2 * len(steps)


def entry_of(kind: DocumentType[Any, Any], number: int, operation: Any) -> Any:
    return Entry("a", "u", number, operation) if kind.name == "text" else TypedEntry(kind, "a", "u", number, operation)


def test_what_pending_work_removes_is_not_followed() -> None:
    """The client applies it where it says what is there: large values that a client only claims cost nothing here."""
    document = JsonType().open("d", "g")
    document.receive("a", "u", 1, 0, [{"p": [], "od": None, "oi": [{"n": 1}, 5]}])
    document.receive("a", "u", 2, 1, [{"p": [0, "n"], "na": 1}])
    document.receive("a", "u", 3, 2, [{"p": [0], "li": 0}])
    found = Missed(JsonType(), "me", "utf-16")
    run(found.add(document.since(1)))
    pending = JsonType().parse([{"p": [0], "ld": {"n": 1}}])
    [carried] = found.carry([Pending(pending, 1)])
    assert JsonType().describe(carried) == [{"p": [1], "ld": {"n": 1}}]
    document.receive("me", "u", 1, 3, JsonType().describe(carried))
    assert document.content() == [0, 5]
