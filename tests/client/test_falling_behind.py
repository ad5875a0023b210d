"""JSON writers that fall behind by hundreds of edits and come back in each way that the server has: in one thread, with the real core.

The state machine alone, without a network: what is lost, repeated or overtaken there is test_convergence.py's. What each of them has
inserted and added must be there once.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest

from syncline.client.document_state import DocumentState
from syncline.core.documents.document_type import run
from syncline.core.documents.rejoin import Composite, Missed, Pending
from syncline.core.errors import Laborious
from syncline.core.types import document_type, open_document
from tests.faults.writer import FIRST_PLANE, MARKERS, Writer
from tests.scale import seeds

JSON = document_type("json")
EMPTY = {"list": [], "text": "", "keys": {}, "number": 0}


def over_the_wire(operation: Any) -> Any:
    return JSON.parse(copy.deepcopy(JSON.describe(operation)))


class World:
    """The server: a document and all that was ever committed to it."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.composes_from = self.rng.choice([0, 5, 20, 100])  # operations that a client missed
        self.tells_contents = self.rng.choice([0.0, 0.3, 1.0])
        self.core = open_document("json", "d", "g", window_bytes=10**9, undo_depth=0)
        self.entries: list[Any] = []
        self.done: Counter[str] = Counter()
        self.submit("server", 1, 0, [{"p": [], "od": None, "oi": EMPTY}])
        self.peers = [Peer(self, number) for number in range(self.rng.choice([2, 3, 5]))]

    def submit(self, client: str, seq: int, revision: int, operation: Any) -> None:
        while True:
            try:
                receipt = self.core.receive(client, client, seq, revision, copy.deepcopy(operation))
            except Laborious as needs:
                for _ in needs.steps:
                    pass
            else:
                assert not receipt.duplicate
                self.entries.append(receipt.entry)
                return

    def content(self, revision: int) -> Any:
        content = None
        for entry in self.entries[:revision]:
            content = JSON.apply(content, entry.operation)
        return content

    def play(self, steps: int) -> None:
        for _ in range(steps):
            self.rng.choice(self.peers).act(self.rng.random())
        for peer in self.peers:
            peer.join()
        while any(peer.state.known < len(self.entries) or not peer.state.settled for peer in self.peers):
            peer = self.rng.choice(self.peers)
            peer.send()
            peer.hear(len(self.entries))
        content = self.core.content()
        for peer in self.peers:
            peer.check()
            assert peer.state.content == content
        counts = Counter(json.dumps(content, ensure_ascii=False))
        typed = [marker for peer in self.peers for marker in peer.writer.typed["json"]]
        assert not {ascii(marker): counts[marker] for marker in typed if counts[marker] != 1}
        assert content["number"] == sum(peer.writer.added for peer in self.peers)


class Edits(Writer):
    """The edits of the writers whose server is killed (tests/faults), of one peer here."""

    def __init__(self, peer: Peer, number: int) -> None:
        self._documents, self._rng = {"json": peer}, peer.world.rng
        self._marker = (FIRST_PLANE + number) << 16
        self._end = self._marker + MARKERS
        self.typed, self.added = {"json": ""}, 0

    def make(self, count: int) -> None:
        for _ in range(count):
            self._json()


class Peer:
    """A client, whose link is there or not (``online``), and may lose all that the server says (``deaf``)."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.name = world, f"peer {number}"
        self.state = DocumentState(JSON, self.name)
        self.state.start("g", len(world.entries), copy.deepcopy(world.core.content()))
        self.writer = Edits(self, number)
        self.online, self.deaf = True, False

    @property
    def content(self) -> Any:
        return self.state.content

    def apply(self, operation: Any) -> None:
        self.state.edit(JSON.parse(operation))

    def act(self, chance: float) -> None:
        rng = self.world.rng
        if chance < 0.5:
            self.writer.make(rng.choice([1, 1, 3, 10]))
        elif chance < 0.65:
            self.send()
        elif chance < 0.85:
            self.hear(rng.randint(self.state.known, len(self.world.entries)))
        elif chance < 0.9:
            self.deaf = True
        elif chance < 0.95:
            self.online = False
            self.state.detach()
        elif self.deaf or not self.online:
            self.join()

    def send(self) -> None:
        if self.online and (submission := self.state.take()) is not None:
            operation: Any = submission.work
            self.world.submit(self.name, submission.seq, submission.revision, JSON.describe(operation))

    def hear(self, revision: int) -> None:
        if self.online and not self.deaf:
            for entry in self.world.entries[self.state.known : revision]:
                self.take(entry)

    def take(self, entry: Any) -> None:
        self.state.receive(self.state.known + 1, entry.client, entry.seq, over_the_wire(entry.operation), entry.kind)

    def join(self) -> None:
        """As join.py answers it; edits are made before and while that is under way."""
        state, world, rng = self.state, self.world, self.world.rng
        self.online, self.deaf = True, False
        state.detach()
        self.writer.make(rng.choice([0, 0, 5, 40]))
        told, missed = state.tell_pending(), world.entries[state.known :]
        self.writer.make(rng.choice([0, 0, 3, 20]))
        seq = world.core.last_seq(self.name)
        if told is None or len(missed) <= world.composes_from:
            world.done["one by one"] += 1
            state.attach(seq, len(missed))
            self.hear(len(world.entries))
        else:
            pending = [Pending(over_the_wire(one.operation), one.seq) for one in told]
            sent = pending[0].seq if pending else None
            steps = Missed(JSON, self.name, "utf-16", sent if sent is not None and sent <= seq else None)
            cut = rng.randint(0, len(missed))
            for part in (missed[:cut], missed[cut:]):
                run(steps.add(part))
            if rng.random() < world.tells_contents and state.is_untold:  # then it joins again, and tells nothing
                world.done["exact"] += 1
                state.attach(seq, len(missed))
                self.hear(len(world.entries))
            elif rng.random() < world.tells_contents:
                world.done["content"] += 1
                carried = [over_the_wire(operation) for operation in steps.carry(pending)]
                state.adopt(len(world.entries), copy.deepcopy(world.core.content()), seq, carried)
            else:
                world.done["composed"] += 1
                state.attach(seq, len(steps.steps()))
                for step in steps.steps():
                    if isinstance(step, Composite):
                        state.receive(
                            state.known + step.count, "", 0, over_the_wire(step.operation), "edit", step.count
                        )
                    else:
                        self.take(step)
        self.check()

    def check(self) -> None:
        """What is seen is what the server has, and what waits on it."""
        state = self.state
        assert state.confirmed == self.world.content(state.revision)
        waiting = state.unsent()
        assert state.content == (
            state.confirmed if waiting is None else JSON.apply(copy.deepcopy(state.confirmed), waiting)
        )


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds(6, 60, 1000))
def test_all_is_there_once(seed: int) -> None:
    World(seed).play(200)


def test_each_way_to_come_back_is_tried() -> None:
    done: Counter[str] = Counter()
    for seed in range(16):
        world = World(seed)
        world.play(200)
        done += world.done
    assert min(done[way] for way in ("one by one", "content", "composed", "exact")) > 1, done


def test_work_is_carried_over_any_number_of_changes() -> None:
    """By a content alone, as an answer to who has too much to tell."""
    state = DocumentState(JSON, "me")
    state.start("g", 1, {"keys": {}, "list": [], "n": 0})
    for operation in ([{"p": ["keys", "mine"], "oi": 1}], [{"p": ["list", 0], "li": "mine"}], [{"p": ["n"], "na": 3}]):
        state.edit(JSON.parse(operation))
    state.detach()
    state.tell_pending()
    others = {"keys": {f"k{number}": 1 for number in range(1500)}, "list": ["x"] * 1500, "n": 7}
    state.adopt(5000, others, 0)
    content = state.content
    assert content["keys"] == {**others["keys"], "mine": 1}  # type: ignore[dict-item]
    assert sorted(content["list"]) == ["mine", *others["list"]]  # type: ignore[misc]
    assert content["n"] == 10
