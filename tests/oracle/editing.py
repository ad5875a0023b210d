"""What an editing history must give, slow and obvious: every operation transformed on its way to the server and to each
author, one at a time, by ``tests.oracle.ot``. The reference for ``syncline.testing.editing``, which transforms nothing.

An author's ``unseen`` are the operations of others that it has not seen, oldest first, each as it applies to what the
author sees after the ones before it (Jupiter, Nichols et al. 1995).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from syncline.testing.editing import History, Patch
from tests.oracle import ot as oracle

UNIT = "unicode"


class Submission(NamedTuple):
    """What a client sends that transforms as little as it may: ``base`` is the newest revision that it has seen or made."""

    agent: int
    base: int
    operation: oracle.Components


@dataclass
class Facts:
    """``concurrent``: operations whose authors did not know of all before. ``ties``: those that only the rule puts left of
    another. ``crossed``: those that delete where somebody wrote meanwhile, or write where somebody deleted."""

    text: str = ""
    concurrent: int = 0
    ties: int = 0
    crossed: int = 0
    committed: list[oracle.Components] = field(default_factory=list)
    submissions: list[Submission] = field(default_factory=list)


class Author:
    def __init__(self) -> None:
        self.text = ""
        self.unseen: list[tuple[int, oracle.Components]] = []  # revision, operation
        self.seen = 0
        self.own = 0  # revision of its last operation


def components(patch: Patch) -> oracle.Components:
    position, deleted, inserted = patch
    return oracle.canonical([position, inserted, -deleted] if inserted else [position, -deleted], UNIT)


def is_crossed(operation: oracle.Components, other: oracle.Components) -> bool:
    """``operation`` deletes on both sides of a place where ``other`` puts something."""
    dropped = oracle.Slots(operation, UNIT).dropped
    return any(place in dropped and place - 1 in dropped for place in oracle.Slots(other, UNIT).before)


def views(history: History) -> list[list[int]]:
    """For each transaction the revisions that its parents reach: what its author saw."""
    reached: list[set[int]] = []
    found = []
    for revision, transaction in enumerate(history.transactions, 1):
        past = set[int]().union(*(reached[parent] for parent in transaction.parents))
        found.append(sorted(past))
        reached.append(past | {revision})
    return found


def fold(history: History) -> Facts:
    """Replays a history. Raises AssertionError, oracle.Refused when it is none."""
    facts = Facts()
    authors = [Author() for _ in range(history.agents)]
    for revision, (transaction, saw) in enumerate(zip(history.transactions, views(history), strict=True), 1):
        author = authors[transaction.agent]
        while author.unseen and author.unseen[0][0] in saw:
            author.seen, operation = author.unseen.pop(0)
            author.text = oracle.apply(author.text, operation, UNIT)
        assert saw == [one for one in range(1, revision) if one not in dict(author.unseen)]
        made: oracle.Components = []
        for patch in transaction.patches:
            author.text = oracle.apply(author.text, components(patch), UNIT)
            made = oracle.compose(made, components(patch), UNIT)
        base = max(author.seen, author.own)
        submitted = made
        tied = crossed = False
        for index, (number, operation) in enumerate(author.unseen):
            moved = oracle.transform(made, operation, "left", UNIT)
            tied = tied or moved != oracle.transform(made, operation, "right", UNIT)
            crossed = crossed or is_crossed(made, operation) or is_crossed(operation, made)
            author.unseen[index] = number, oracle.transform(operation, made, "right", UNIT)
            made = moved
            if number <= base:
                submitted = made
        author.own = revision
        facts.concurrent += bool(author.unseen)
        facts.ties += tied
        facts.crossed += crossed
        facts.committed.append(made)
        facts.submissions.append(Submission(transaction.agent, base, submitted))
        facts.text = oracle.apply(facts.text, made, UNIT)
        for other in authors:
            if other is not author:
                other.unseen.append((revision, made))
    return facts
