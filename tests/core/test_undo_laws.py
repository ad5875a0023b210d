"""Undo on random schedules of several clients, against characters that live and die (tests/oracle/undo.py)."""

from __future__ import annotations

import random
from typing import Any

import pytest

from syncline.core.documents.steps import Steps
from syncline.core.documents.undo import Undo
from syncline.core.ot.ot import Operation, apply, invert
from tests.oracle import ot as oracle
from tests.oracle.undo import Flips
from tests.scale import seeds


class Letters:
    """A new character each time, every fifth of them above U+FFFF: so a character is known by its looks."""

    def __init__(self) -> None:
        self.count = 0

    def take(self, number: int) -> str:
        result = ""
        for _ in range(number):
            self.count += 1
            result += chr(0x4E00 + self.count if self.count % 5 else 0x20000 + self.count)
        return result


class Schedule:
    """One document: the text, the stacks, and the oracle beside them."""

    def __init__(self, choices: random.Random, **bounds: Any) -> None:
        self.choices = choices
        self.bounds = bounds
        self.undo = Undo(Steps(), **bounds)
        self.flips = Flips(bounds.get("groups", 100))
        self.letters = Letters()
        self.text = ""
        self.time = 0.0
        self.entries: list[Any] = []
        self.carets: dict[str, int] = {}
        self.done: dict[str, int] = {"undo": 0, "redo": 0, "nothing": 0, "joined": 0}

    def commit(self, client: str, kind: Any, operation: Operation) -> None:
        arguments = client, "user of " + client, kind, operation, invert(operation, self.text), self.time
        self.undo.record(*arguments)
        self.entries.append(arguments)
        self.text = apply(self.text, operation)

    def edit(self, client: str, components: oracle.Components) -> None:
        operation = Operation(components)
        before = self.undo.depth(client)[0]
        groups = len(self.flips.groups(client, "undo"))
        self.commit(client, "edit", operation)
        # Joined: not one group more, and none dropped either (only typing joins).
        joins = (
            self.undo.depth(client)[0] == before == groups
            and not operation.is_identity
            and (before < self.bounds.get("groups", 100) or self.joined_at_the_bound(client))
        )
        self.done["joined"] += joins
        self.flips.edit(client, operation.components, joins)

    def joined_at_the_bound(self, client: str) -> bool:
        """At the bound one goes when one comes: a copy with more room tells."""
        roomy = Undo(Steps(), **{**self.bounds, "groups": 10_000})
        for arguments in self.entries[:-1]:
            roomy.record(*arguments)
        before = roomy.depth(client)[0]
        roomy.record(*self.entries[-1])
        return roomy.depth(client)[0] == before

    def flip(self, client: str, kind: Any) -> None:
        operation = self.undo.operation(client, "user of " + client, kind)
        if operation is None:
            assert self.flips.expected(client, kind)[1:] == (set(), [])
            self.done["nothing"] += 1
            return
        assert not operation.is_identity
        self.done[kind] += 1
        self.commit(client, kind, operation)
        self.flips.flip(client, kind, operation.components)

    def random_edit(self) -> oracle.Components:
        choices, text, at = self.choices, self.text, 0
        components: oracle.Components = []
        for _ in range(choices.choice([1, 1, 1, 2, 3])):
            keep = choices.randint(0, len(text) - at)
            components.append(oracle.length(text[at : at + keep], "utf-16"))
            at += keep
            drop = choices.randint(0, min(4, len(text) - at)) if choices.random() < 0.5 else 0
            parts: oracle.Components = [-oracle.length(text[at : at + drop], "utf-16")]
            if choices.random() < 0.6:
                parts.append(self.letters.take(choices.choice([1, 1, 2, 5])))
            choices.shuffle(parts)
            components += parts
            at += drop
        return [part for part in components if part != 0]

    def type_on(self, client: str) -> oracle.Components:
        """At the end of what the client did last, or a little before: typing and deleting that makes groups."""
        at = min(self.carets.get(client, 0), len(self.text))
        before = oracle.length(self.text[:at], "utf-16")
        match self.choices.choice("iiibd"):
            case "b" if at:
                size = oracle.length(self.text[at - 1], "utf-16")
                result: oracle.Components = [before - size, -size]
                self.carets[client] = at - 1
            case "d" if at < len(self.text):
                result = [before, -oracle.length(self.text[at], "utf-16")]
            case _:
                result = [before, self.letters.take(1)]
                self.carets[client] = at + 1
        return [part for part in result if part != 0]

    def step(self, clients: str) -> None:
        choices = self.choices
        client = choices.choice(clients)
        self.time += choices.choice([0.1, 0.1, 0.1, 0.4, 3.0])
        match choices.choices(["edit", "type", "undo", "redo", "reload"], [4, 6, 6, 3, 0.3])[0]:
            case "edit":
                self.edit(client, self.random_edit())
            case "type":
                self.edit(client, self.type_on(client))
            case "undo" | "redo" as kind:
                for _ in range(choices.choice([1, 1, 2, 4])):
                    self.flip(client, kind)
            case "reload":
                body = self.undo.snapshot()
                self.undo = Undo(Steps(), **self.bounds)
                self.undo.restore(len(self.entries), body)
                assert self.undo.snapshot() == body
        assert self.flips.text == self.text


def run(seed: int, steps: int = 60, **bounds: Any) -> Schedule:
    choices = random.Random(seed)
    schedule = Schedule(choices, groups=choices.choice([3, 100]), **bounds)
    clients = "abcd"[: choices.randint(1, 4)]
    schedule.edit(clients[-1], [schedule.letters.take(choices.randint(1, 8))])
    for _ in range(steps):
        schedule.step(clients)
    return schedule


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(120, 600))
def test_an_undo_flips_what_the_client_did(seed: int) -> None:
    schedule = run(seed)
    # The stacks are a fold over the commits: wherever a snapshot was taken, the whole log gives the same.
    replayed = Undo(Steps(), **schedule.bounds)
    for arguments in schedule.entries:
        replayed.record(*arguments)
    assert replayed.snapshot() == schedule.undo.snapshot()
    assert replayed.bytes == schedule.undo.bytes


def test_the_schedules_are_not_idle() -> None:
    done = [run(1000 + seed, steps=120).done for seed in range(10)]
    for what, least in (("undo", 100), ("redo", 30), ("nothing", 10), ("joined", 30)):
        assert sum(one[what] for one in done) > least, (what, done)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(40, 200))
def test_a_snapshot_anywhere_with_every_bound_at_work(seed: int) -> None:
    """Bounds so tight that they drop something all the time: a snapshot and the rest of the log give the same stacks,
    byte for byte, as the whole log."""
    choices = random.Random(seed)
    bounds: dict[str, Any] = {
        "groups": choices.choice([2, 5, 100]),
        "max_bytes": choices.choice([1500, 6000, 10**6]),
        "history": choices.choice([20, 300, 10**6]),
    }
    schedule = Schedule(choices, **bounds)
    reloaded = Undo(Steps(), **bounds)
    for _ in range(700):
        client = choices.choice("abc")
        schedule.time += choices.choice([0.1, 0.1, 2.0])
        kind: Any = choices.choice(["edit", "edit", "edit", "undo", "redo"])
        operation = None if kind == "edit" else schedule.undo.operation(client, "user of " + client, kind)
        if operation is None:
            kind, operation = "edit", Operation(schedule.type_on(client))
        schedule.commit(client, kind, operation)
        reloaded.record(*schedule.entries[-1])
        if choices.random() < 0.1:
            body = reloaded.snapshot()
            reloaded = Undo(Steps(), **bounds)
            reloaded.restore(len(schedule.entries), body)
        assert reloaded.bytes == schedule.undo.bytes <= bounds["max_bytes"]
    assert reloaded.snapshot() == schedule.undo.snapshot()
    if bounds["max_bytes"] == 1500 or bounds["groups"] == 2:
        assert schedule.undo.dropped > 5


@pytest.mark.parametrize("seed", seeds(30, 150))
def test_alone(seed: int) -> None:
    """Without others: n groups and n undos give the start, n redos all of it again; undo and redo is nothing."""
    choices = random.Random(seed)
    schedule = Schedule(choices)
    texts = [""]
    for _ in range(30):
        schedule.time += 10
        components = schedule.random_edit()
        schedule.edit("a", components)
        if not Operation(components).is_identity:
            texts.append(schedule.text)
        if choices.random() < 0.3 and len(texts) > 1:
            schedule.flip("a", "undo")
            assert schedule.text == texts[-2]
            schedule.flip("a", "redo")
            assert schedule.text == texts[-1]
    for text in reversed(texts[:-1]):
        schedule.flip("a", "undo")
        assert schedule.text == text
    for text in texts[1:]:
        schedule.flip("a", "redo")
        assert schedule.text == text
    assert schedule.undo.operation("a", "user of a", "redo") is None


@pytest.mark.parametrize("seed", seeds(30, 150))
def test_only_the_others_text_remains(seed: int) -> None:
    """Everything of a undone: what is left is what the others wrote and what a had deleted of theirs."""
    choices = random.Random(seed)
    schedule = Schedule(choices)
    mine: set[str] = set()
    for _ in range(40):
        client = choices.choice("aab")
        schedule.time += choices.choice([0.1, 2.0])
        before = schedule.letters.count
        schedule.edit(client, schedule.random_edit() if choices.random() < 0.5 else schedule.type_on(client))
        if client == "a":
            fresh = Letters()
            fresh.count = before
            mine |= set(fresh.take(schedule.letters.count - before))
    while schedule.undo.operation("a", "user of a", "undo") is not None:
        schedule.flip("a", "undo")
    assert not mine & set(schedule.text)
