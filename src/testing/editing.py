"""Editing histories made up by a seeded generator: one author, or several who see each other late.

``generate(seed)`` gives the same history on every machine and every Python from 3.11 on: all chance comes from
``random.Random(seed).random()``, whose sequence Python promises to keep. People type in bursts, with typos and backspace;
delete words and blocks, some of them with what another is typing inside; replace a selection; paste long texts; move
paragraphs; pause; and like to write where somebody else is writing. The text has characters above U+FFFF, combining
characters and line ends.

A ``History`` has the form of the recorded ones of the editing-traces collection by Joseph Gentle
(https://github.com/josephg/editing-traces), so that whoever reads those reads these:

- one author: ``{startContent, endContent, txns: [{patches}]}``;
- several: ``{kind: "concurrent", ties: true, endContent, numAgents, txns: [{parents, agent, patches}]}``. Transactions
  stand in the order in which the server commits them; ``parents`` are indexes of earlier ones, and what they reach is what
  the author saw: all of its own, and all of the others' up to one of them.

Patches are ``[position, deleted, inserted]``, counted in code points; in a transaction they apply one after the other.

``ties``: unlike in the recorded histories, several people put characters at one place without knowing of each other. Then
it matters what one operation is: a transaction is one, with all its patches. ``endContent`` comes from ``syncline.testing.cells``,
which knows no transformation.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from .cells import Cell, View

T = TypeVar("T")
Patch = tuple[int, int, str]  # position, deleted, inserted

WORDS = (
    *("the", "of", "and", "to", "a", "in", "that", "is", "was", "it", "for", "on", "with", "as", "not", "be", "at"),
    *("by", "this", "are", "or", "from", "one", "had", "but", "what", "all", "were", "when", "we", "there", "can"),
    *("an", "your", "which", "their", "said", "if", "will", "each", "about", "how", "up", "out", "them", "then"),
    *("server", "document", "revision", "cursor", "together", "yesterday", "concurrent", "paragraph", "letter"),
    *("naïve", "façade", "Straße", "Ωμέγα", "привет", "漢字", "かな", "שלום", "don't", "e.g."),
)
# Above U+FFFF, combining, joined, of two halves: what counts differently in UTF-16, in code points and on the screen.
SPECIAL = (
    *("🙂", "🎉", "👍🏽", "👩‍👩‍👧", "🇪🇺", "𝄞", "𝔘𝔫𝔦", "𠮷", "🧵🪡", "\u200d🦊"),
    *("e\u0301", "a\u0308\u0323", "क्षि", "\u1112\u1161\u11ab"),
)
ENDS = (". ", ". ", ", ", "? ", ".\n", ".\n\n", ";\n\t")
LETTERS = "etaoinshrdlucmfw"
BREAKS = " \n\t.,;?"

# How often what is done, in hundred; in a document that has room, and in one that is full.
USUAL = {"erase": 8, "words": 7, "replace": 14, "block": 4, "move": 4, "pause": 3, "paste": 4, "type": 56}
FULL = {"erase": 14, "words": 12, "replace": 14, "block": 35, "move": 14, "pause": 5, "paste": 6, "type": 0}


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one author did between two looks at the network. ``parents``: indexes of earlier transactions."""

    agent: int
    parents: tuple[int, ...]
    patches: tuple[Patch, ...]


@dataclass(frozen=True, slots=True)
class History:
    """``end`` is the text that a replay must give; it begins empty."""

    name: str
    agents: int
    end: str
    transactions: tuple[Transaction, ...]

    @property
    def edits(self) -> int:
        return sum(len(transaction.patches) for transaction in self.transactions)

    def as_trace(self) -> dict[str, Any]:
        """In the form of the recorded ones, as JSON."""
        if self.agents == 1:
            patches = [{"patches": [list(patch) for patch in one.patches]} for one in self.transactions]
            return {"startContent": "", "endContent": self.end, "txns": patches}
        return {
            "kind": "concurrent",
            "ties": True,
            "endContent": self.end,
            "numAgents": self.agents,
            "txns": [
                {"parents": list(one.parents), "agent": one.agent, "patches": [list(patch) for patch in one.patches]}
                for one in self.transactions
            ],
        }

    def write(self, path: Path) -> None:
        """As a file of that collection; compressed when ``path`` ends in .gz. The same history gives the same bytes."""
        content = json.dumps(self.as_trace(), ensure_ascii=False, separators=(",", ":")).encode()
        path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def generate(seed: int, edits: int = 10_000, authors: int = 1) -> History:
    """``edits`` patches of ``authors`` people. Takes about 0.1 ms for each patch, more in a large document."""
    if edits < 1 or authors < 1:
        raise ValueError("at least one edit and one author")
    dice = Dice(seed)
    room = min(200 + 2 * edits, 24_000)
    people = [Author(number, dice, room) for number in range(authors)]
    for author in people:
        author.others = [other for other in people if other is not author]
    history: list[Transaction] = []
    order = Order(authors)
    left = edits
    author = people[0]
    while left:
        author = next_author(dice, people, author)
        author.look(len(history))
        parents = order.parents(author.number, author.view.revision)
        patches = author.write(min(left, dice.length(author.keys)))
        if not patches:
            continue
        left -= len(patches)
        steps = author.view.commit(len(history) + 1)
        for other in author.others:
            other.view.receive(steps)
        order.add(author.number, parents)
        history.append(Transaction(author.number, parents, tuple(patches)))
    name = f"generated-{seed}-{edits}-{authors}"
    return History(name, authors, people[0].view.committed(), tuple(history))


class Dice:
    """Chance of a seed. Only ``random()`` is used: its sequence is the same in every version of Python."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed).random

    def below(self, limit: int) -> int:
        return int(self.random() * limit)

    def between(self, least: int, most: int) -> int:
        return least + self.below(most - least + 1)

    def chance(self, share: float) -> bool:
        return self.random() < share

    def pick(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]

    def weighted(self, weights: Mapping[str, int]) -> str:
        """One of the names; the weights are in hundred."""
        number = self.below(100)
        for name, weight in weights.items():
            number -= weight
            if number < 0:
                return name
        raise ValueError("the weights are less than hundred")

    def length(self, mean: int) -> int:
        """At least 1, ``mean`` in the middle of things, now and then much more."""
        length = 1
        while self.random() * mean > 1 and length < 8 * mean:
            length += 1
        return length


class Order:
    """Who saw what, as ``parents`` say it."""

    def __init__(self, authors: int) -> None:
        self._agents: list[int] = []  # of each transaction
        self._numbers: list[int] = []  # of each transaction among those of its author, from 1
        self._pasts: list[list[int]] = []  # after each transaction: how many of each author's it builds on
        self._newest: list[list[int]] = [[-1] * authors for _ in range(authors)]  # that an author sees, by author
        self._seen = [0] * authors

    def parents(self, author: int, revision: int) -> tuple[int, ...]:
        """Of what ``author`` does next, who sees its own and the first ``revision`` transactions: the fewest that reach
        all of them."""
        newest = self._newest[author]
        for index in range(self._seen[author], revision):
            newest[self._agents[index]] = max(newest[self._agents[index]], index)
        self._seen[author] = max(self._seen[author], revision)
        reached = sorted({index for index in newest if index >= 0})
        return tuple(
            index
            for index in reached
            if not any(
                other != index and self._pasts[other][self._agents[index]] >= self._numbers[index] for other in reached
            )
        )

    def add(self, author: int, parents: tuple[int, ...]) -> None:
        """The next transaction of the history."""
        index = len(self._agents)
        past = [0] * len(self._newest)
        for parent in parents:
            past = [max(pair) for pair in zip(past, self._pasts[parent], strict=True)]
        past[author] += 1
        self._agents.append(author)
        self._numbers.append(past[author])
        self._pasts.append(past)
        self._newest[author][author] = index


def next_author(dice: Dice, people: list[Author], last: Author) -> Author:
    """Who writes next: often the same, never one that rests."""
    for author in people:
        author.rest = max(author.rest - 1, 0)
    awake = [author for author in people if not author.rest]
    if not awake:
        awake = [min(people, key=lambda author: author.rest)]
    return last if last in awake and dice.chance(0.6) else dice.pick(awake)


class Author:
    """A person with a caret. What it does is a generator: one key, one ``yield``; what others do comes between."""

    def __init__(self, number: int, dice: Dice, room: int) -> None:
        self.number = number
        self.view = View()
        self.others: list[Author] = []
        self.caret = 0
        self.rest = 0  # so many transactions of others it pauses
        self.keys = dice.between(2, 6)  # in one transaction, about
        self.touched: Cell | None = None  # the last character that it has written
        self._dice = dice
        self._room = room  # what is longer is shortened
        self._late = dice.pick((2, 4, 8, 16, 30))  # so many transactions behind
        self._patches: list[Patch] = []
        self._doing: Iterator[None] = iter(())

    def look(self, revision: int) -> None:
        """What the network brings, in gusts."""
        if self.others and self._dice.chance(0.5):
            late = 0 if self._dice.chance(0.05) else self._dice.length(self._late)
            if revision - late > self.view.revision:
                self.caret = self.view.show(revision - late, self.caret)

    def write(self, keys: int) -> list[Patch]:
        """Up to ``keys`` patches; fewer before a pause."""
        self._patches = []
        while len(self._patches) < keys and not self.rest:
            if next(self._doing, "done") == "done":
                self._doing = self._something()
        return self._patches

    def _edit(self, position: int, deleted: int, inserted: str) -> None:
        put = self.view.edit(position, deleted, inserted)
        self.touched = put or self.touched
        self.caret = position + len(inserted)
        self._patches.append((position, deleted, inserted))

    # What there is to do ---------------------------------------------------------------------------------------------

    def _something(self) -> Iterator[None]:
        self._go()
        if self.view.length < 20:
            return self._type()
        match self._dice.weighted(FULL if self.view.length > self._room else USUAL):
            case "erase":
                return self._backspace(self._dice.between(1, 12))
            case "words":
                return self._delete_words()
            case "replace":
                return self._replace()
            case "block":
                return self._delete_block()
            case "move":
                return self._move()
            case "pause":
                return self._pause()
            case "paste":
                return self._paste()
        return self._type()

    def _go(self) -> None:
        """Where to write next: here, on this line, where somebody else writes, anywhere, at the end."""
        choice = self._dice.below(100)
        length = self.view.length
        if choice < 40:
            return
        if choice < 50:
            self.caret = min(max(self.caret + self._dice.between(-40, 40), 0), length)
        elif choice < 82 and self.others:
            other = self._dice.pick(self.others).touched
            place = None if other is None else self.view.position(other)
            if place is not None:
                self.caret = place
        elif choice < 95:
            self.caret = self._dice.below(length + 1)
        else:
            self.caret = length

    def _type(self) -> Iterator[None]:
        for _ in range(self._dice.length(6)):
            for key in [self._dice.pick(SPECIAL)] if self._dice.chance(0.06) else self._dice.pick(WORDS):
                if self._dice.chance(0.03):
                    yield from self._mistype()
                self._edit(self.caret, 0, key)
                yield
            for key in self._dice.pick(ENDS) if self._dice.chance(0.12) else " ":
                self._edit(self.caret, 0, key)
                yield

    def _mistype(self) -> Iterator[None]:
        count = self._dice.length(2)
        for _ in range(count):
            self._edit(self.caret, 0, self._dice.pick(LETTERS))
            yield
        yield from self._backspace(count)

    def _backspace(self, count: int) -> Iterator[None]:
        for _ in range(count):
            if self.caret:
                self._edit(self.caret - 1, 1, "")
                yield

    def _delete_words(self) -> Iterator[None]:
        for _ in range(self._dice.length(2)):
            before = self.view.text(max(self.caret - 40, 0), self.caret)
            kept = len(before.rstrip(BREAKS))
            while kept and before[kept - 1] not in BREAKS:
                kept -= 1
            if kept < len(before):
                self._edit(self.caret - (len(before) - kept), len(before) - kept, "")
                yield

    def _select(self, most: int) -> tuple[int, int]:
        """Start and length, around the caret."""
        length = min(self._dice.between(2, most), self.view.length)
        start = min(max(self.caret - self._dice.below(length + 1), 0), self.view.length - length)
        return start, length

    def _replace(self) -> Iterator[None]:
        start, length = self._select(40)
        self._edit(start, length, self._dice.pick(self._dice.pick(WORDS)))
        yield
        yield from self._type()

    def _delete_block(self) -> Iterator[None]:
        start, length = self._select(min(400, self.view.length // 4))
        self._edit(start, length, "")
        yield

    def _move(self) -> Iterator[None]:
        """A paragraph: cut here, pasted elsewhere, and others may write between."""
        around = max(self.caret - 300, 0)
        text = self.view.text(around, self.caret + 300)
        middle = self.caret - around
        start = text.rfind("\n", 0, middle) + 1
        end = text.find("\n", middle) + 1 or len(text)
        cut = text[start:end]
        if not cut or len(cut) > self.view.length // 2:
            return
        self._edit(around + start, len(cut), "")
        yield
        if self._dice.chance(0.3):
            yield from self._pause()
        self.caret = self._dice.below(self.view.length + 1)
        self._edit(self.caret, 0, cut)
        yield

    def _paste(self) -> Iterator[None]:
        pieces: list[str] = []
        for _ in range(self._dice.between(5, max(min(200, self._room // 60), 6))):
            pieces.append(self._dice.pick(SPECIAL if self._dice.chance(0.15) else WORDS))
            pieces.append(self._dice.pick(ENDS) if self._dice.chance(0.1) else " ")
        self._edit(self.caret, 0, "".join(pieces))
        yield

    def _pause(self) -> Iterator[None]:
        self.rest = self._dice.length(30)
        yield
