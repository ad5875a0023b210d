"""When a document takes its next turn: a rest in proportion to its clients, which ends early when all have submitted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from syncline.server.documents.turn_scheduler import TURN_SECONDS, RunQueue, TurnScheduler
from syncline.testing import ManualClock
from tests.serving import Serve

from .wsclient import dial, submit


class Turns:
    def __init__(self, rest: int) -> None:
        self.clock = ManualClock()
        self.clock.advance(1.0)
        self.soon: list[Callable[[], object]] = []
        self.count = 0
        self.pace = TurnScheduler(self.clock, self.soon.append, rest)

    def turn(self) -> None:
        self.count += 1

    def loop(self) -> int:
        """One turn of the event loop; how many turns the document has had."""
        soon, self.soon[:] = list(self.soon), []
        for callback in soon:
            callback()
        return self.count


def test_a_turn_comes_once_and_soon() -> None:
    turns = Turns(rest=20)
    turns.pace.schedule(turns.turn)
    turns.pace.schedule(turns.turn)
    assert turns.count == 0
    assert turns.loop() == 1
    assert turns.loop() == 1


def test_after_a_turn_for_many_the_next_one_rests() -> None:
    turns = Turns(rest=20)
    turns.pace.sent(100)
    turns.pace.schedule(turns.turn)
    assert turns.loop() == 0
    turns.clock.advance(0.0019)
    assert turns.loop() == 0
    turns.clock.advance(0.0002)
    assert turns.count == 1
    # The rest counts from the turn that sent, not from the submission: who comes later waits for nothing.
    turns.pace.schedule(turns.turn)
    assert turns.loop() == 2


def test_a_rest_ends_when_everybody_has_submitted() -> None:
    turns = Turns(rest=20)
    turns.pace.sent(100)
    turns.pace.schedule(turns.turn)
    turns.pace.submitted(99, 100)
    assert turns.loop() == 0
    turns.pace.submitted(100, 100)
    turns.pace.submitted(101, 100)
    assert turns.loop() == 1
    turns.clock.advance(1.0)
    assert turns.loop() == 1  # the timer is gone


def test_few_clients_cause_no_rest_and_end_that_of_many() -> None:
    turns = Turns(rest=20)
    turns.pace.sent(49)
    turns.pace.schedule(turns.turn)
    assert turns.loop() == 1
    turns.pace.sent(1000)
    turns.pace.sent(2)
    turns.pace.schedule(turns.turn)
    assert turns.loop() == 2


async def test_what_arrives_during_a_rest_goes_into_one_frame(serve: Serve) -> None:
    async with serve(documents={"rest_microseconds": 1000}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            for name, client in (("a", ada), ("b", bob)):
                await client.call("document:join", document="d", client=name)
            await submit(ada, 1, 0, ["a"])
            await ada.push("document:operation", revision=1)
            await submit(bob, 1, 0, ["b"])
            await bob.push("document:operation", revision=2)
            # Both at once, and both are answered, whichever way they were bundled.
            await submit(ada, 2, 2, ["c"])
            await submit(bob, 2, 2, ["d"])
            last = await ada.push("document:operation", revision=4)
            assert {one["client"] for one in last["operations"]} <= {"a", "b"}


class Loop:
    """A loop of which each turn is counted, and documents whose turns last."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.soon: list[Callable[[], object]] = []
        self.queue = RunQueue(self.clock, self.soon.append)
        self.taken: list[str] = []

    def document(self, name: str, seconds: float, again: int = 0) -> Callable[[], None]:
        def turn() -> None:
            self.clock.advance(seconds)
            self.taken.append(name)
            if again:
                self.queue.add(self.document(name, seconds, again - 1))

        return turn

    def turn(self) -> list[str]:
        soon, self.soon[:], self.taken = list(self.soon), [], []
        assert len(soon) <= 1
        for callback in soon:
            callback()
        return self.taken


def test_documents_share_the_time_of_a_turn_of_the_loop() -> None:
    loop = Loop()
    for number in range(5):
        loop.queue.add(loop.document(str(number), TURN_SECONDS * 0.4))
    assert loop.turn() == ["0", "1", "2"]
    assert loop.turn() == ["3", "4"]
    assert loop.turn() == []


def test_one_that_takes_longer_has_its_turn_and_who_asks_again_comes_last() -> None:
    loop = Loop()
    loop.queue.add(loop.document("long", TURN_SECONDS * 3, again=1))
    loop.queue.add(loop.document("a", 0.0, again=1))
    assert [loop.turn() for _ in range(4)] == [["long"], ["a", "long"], ["a"], []]


def test_a_turn_that_fails_keeps_nobody_from_his() -> None:
    def fails() -> None:
        raise KeyError

    loop = Loop()
    loop.queue.add(fails)
    loop.queue.add(loop.document("a", 0.0))
    with pytest.raises(KeyError):
        loop.turn()
    assert loop.turn() == ["a"]
    assert loop.turn() == []
