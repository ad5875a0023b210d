"""Undo, redo and restore over the real server: the frames, exactly once, over restarts and kill -9."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import websockets

from syncline.core.ot.ot import Operation, apply
from syncline.server.app import App
from tests.harness import ServerProcess
from tests.serving import Serve, samples

from .wsclient import Wire, dial, text_of


async def edit(client: Wire, seq: int, revision: int, operation: Any) -> dict[str, Any]:
    return await client.call("document:operation", document="d", seq=seq, revision=revision, operation=operation)


async def ask(client: Wire, what: str, seq: int, revision: int, **more: Any) -> dict[str, Any]:
    return await client.call("document:" + what, document="d", seq=seq, revision=revision, **more)


async def test_an_undo_arrives_like_any_operation(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        state = await ada.call("document:join", document="d", client="a")
        assert (state["undo"], state["redo"]) == (0, 0)
        await bob.call("document:join", document="d", client="b", unit="unicode")
        await edit(ada, 1, 0, ["Hello 💃 world"])
        await edit(bob, 1, 1, [7, "big "])
        reply = await ask(ada, "undo", 2, 2)
        assert reply == {"document": "d", "revision": 3, "seq": 2, "undo": 0, "redo": 1}
        assert (await ada.push("document:operation", revision=3))["operations"] == [
            {"client": "a", "seq": 2, "kind": "undo", "operation": [-8, 4, -6]}
        ]
        assert (await bob.push("document:operation", revision=3))["operations"] == [
            {"client": "a", "seq": 2, "kind": "undo", "operation": [-7, 4, -6]}
        ]
        assert await text_of(app) == ("big ", 3)
        # Without id: the entry is the answer.
        await ada.send({"event": "document:redo", "data": {"document": "d", "seq": 3, "revision": 3}})
        entry = (await ada.push("document:operation", revision=4))["operations"][0]
        assert (entry["seq"], entry["kind"]) == (3, "redo")
        assert await text_of(app) == ("Hello 💃big  world", 4)
        state = await ada.call("document:join", document="d", client="a")
        assert (state["seq"], state["undo"], state["redo"]) == (3, 1, 0)
        state = await ada.call("document:join", document="d", client="a", revision=1, generation=state["generation"])
        assert [one.get("kind") for one in state["operations"]] == [None, "undo", "redo"]


async def test_refusals(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        assert await ada.error("document:undo", document="d", seq=1, revision=0) == "not_joined"
        await ada.call("document:join", document="d", client="a")
        assert await ada.error("document:undo", document="d", seq=1, revision=0) == "nothing_to_undo"
        assert await ada.error("document:redo", document="d", seq=2, revision=0) == "nothing_to_redo"
        await edit(ada, 3, 0, ["x"])
        assert await ada.error("document:undo", document="d", seq=3, revision=1) == "sequence_conflict"
        assert await ada.error("document:undo", document="d", seq=4, revision=2) == "revision_unknown"
        assert await ada.error("document:undo", document="d", seq=0, revision=1) == "invalid_data"
        assert await ada.error("document:undo", document="d", revision=1) == "invalid_data"
        assert await ada.error("document:restore", document="d", seq=4, revision=1, to=2) == "revision_unknown"
        assert await ada.error("document:restore", document="d", seq=4, revision=1) == "invalid_data"
        await bob.call("document:join", document="d", client="b")
        assert await bob.error("document:undo", document="d", seq=1, revision=1) == "nothing_to_undo"  # not ada's
        await ada.call("document:grant", document="d", user=bob.user, role="reader")
        for event, more in (("undo", {}), ("redo", {}), ("restore", {"to": 0})):
            assert await bob.error("document:" + event, document="d", seq=2, revision=1, **more) == "forbidden"
        # Without id the error says what it is about.
        await ada.send({"event": "document:redo", "data": {"document": "d", "seq": 5, "revision": 1}})
        told = await ada.push("error")
        assert (told["code"], told["event"], told["document"], told["seq"]) == (
            "nothing_to_redo",
            "document:redo",
            "d",
            5,
        )
        assert await text_of(app) == ("x", 1)


async def test_a_resent_undo_is_answered_with_the_old_ack(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await edit(ada, 1, 0, ["one"])
        await edit(ada, 2, 1, [3, "a paste of some length"])
        request = {"event": "document:undo", "data": {"document": "d", "seq": 3, "revision": 2}}
        await ada.send(request, request)  # in one turn
        await ada.push("document:operation", revision=3)
        assert await ada.push("document:ack") == {"document": "d", "revision": 3, "seq": 3, "undo": 1, "redo": 1}
        assert await ask(ada, "undo", 3, 2) == {"document": "d", "revision": 3, "seq": 3, "undo": 1, "redo": 1}
        assert await ada.error("document:redo", document="d", seq=3, revision=2) == "sequence_conflict"
        assert await text_of(app) == ("one", 3)


async def test_edits_and_undos_of_one_turn_keep_their_order(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        data = {"document": "d", "revision": 0}
        await ada.send(
            {"event": "document:operation", "data": {**data, "seq": 1, "operation": ["a first long piece of text"]}},
            {"event": "document:operation", "data": {**data, "seq": 2, "operation": ["a second long piece of text"]}},
            {"event": "document:undo", "data": {**data, "seq": 3}},
            {"event": "document:undo", "data": {**data, "seq": 4}},
            {"event": "document:redo", "data": {**data, "seq": 5}},
        )
        pushed: list[Any] = []
        while len(pushed) < 5:
            pushed += (await ada.push("document:operation"))["operations"]
        assert [one["seq"] for one in pushed] == [1, 2, 3, 4, 5]
        assert await text_of(app) == ("a first long piece of text", 5)


async def test_restoring_a_revision(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", text="made with it")
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b")
        for number in range(1, 5):
            await edit(ada, number, number - 1, [f"{number} "])
        reply = await ask(bob, "restore", 1, 4, to=2)
        assert reply == {"document": "d", "revision": 5, "seq": 1, "undo": 1, "redo": 0}
        pushed = (await ada.push("document:operation", revision=5))["operations"]
        assert pushed == [{"client": "b", "seq": 1, "kind": "restore", "operation": [-4]}]
        assert (await text_of(app))[0] == "2 1 made with it"
        await ask(ada, "restore", 5, 5, to=0)
        assert (await text_of(app))[0] == "made with it"
        assert await ask(bob, "restore", 1, 4, to=2) == {**reply, "redo": 0}  # again: the old ack
        assert await bob.error("document:restore", document="d", seq=1, revision=4, to=3) == "sequence_conflict"
        await ask(ada, "undo", 6, 6)
        await ask(bob, "undo", 2, 7)
        assert await text_of(app) == ("4 3 2 1 made with it", 8)


async def test_what_is_dropped_is_counted(serve: Serve) -> None:
    async with serve(documents={"undo_depth": 2, "undo_group_ms": 0}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        for number in range(5):
            await edit(ada, number + 1, number, ["x"])
        found = samples(app.node)
        assert found["syncline_document_undo_dropped_total"] == 3 and found["syncline_document_undo_bytes"] > 300
        assert (await ada.call("document:join", document="d", client="a"))["undo"] == 2


async def test_undo_of_long_ago_after_a_restart(serve: Serve, backend: str) -> None:
    """The stacks come from the snapshot and the log behind it; what is older than the window is no obstacle."""
    if backend == "memory":
        return
    settings = {"snapshot_operations": 7, "window_operations": 3}
    async with (
        serve(documents=settings) as app,
        dial(app.url, name="Ada") as ada,
        dial(app.url, name="Bob") as bob,
    ):
        tokens = [(await one.call("auth:refresh"))["token"] for one in (ada, bob)]
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b")
        await edit(ada, 1, 0, ["Ada was here, long ago"])
        for number in range(40):
            await edit(bob, number + 1, number + 1, [number % 20, "b"] if number % 20 else ["b"])
    async with serve(documents=settings) as app, dial(app.url, token=tokens[0]) as ada:
        state = await ada.call("document:join", document="d", client="a")
        assert (state["seq"], state["undo"], state["redo"]) == (1, 1, 0)
        await ask(ada, "undo", 2, state["revision"])
        assert await text_of(app) == ("b" * 40, 42)
        await ask(ada, "redo", 3, 42)
        assert (await text_of(app))[0] == state["text"]


class Author:
    """Keeps the text by what the server pushes, and one request until it is answered, over kills of the server.

    It writes its own letter only and deletes that only: so undoing everything of everybody must leave nothing.
    """

    def __init__(self, letter: str, choices: random.Random, answered: Callable[[], None]) -> None:
        self.letter = letter
        self.choices = choices
        self.answered = answered
        self.token: str | None = None
        self.text = ""
        self.revision = 0
        self.generation: str | None = None
        self.seq = 0
        self.request: tuple[str, dict[str, Any]] | None = None

    async def work(self, server: ServerProcess, steps: int, what: str | None = None) -> None:
        """So many requests, one after the other; or ``what`` until there is nothing more to do."""
        done = 0
        while done < steps:
            try:
                named: dict[str, Any] = {"token": self.token} if self.token else {"name": self.letter}
                async with dial(server.url, **named) as wire:
                    self.token = (await wire.call("auth:refresh"))["token"]
                    await self.come_back(wire)
                    while done < steps:
                        if not await self.step(wire, what):
                            return
                        done += 1
                        self.answered()
            except (OSError, TimeoutError, websockets.WebSocketException):
                await asyncio.sleep(0.02)  # until it listens again

    async def come_back(self, wire: Wire) -> None:
        known = {} if self.generation is None else {"revision": self.revision, "generation": self.generation}
        state = await wire.call("document:join", document="d", client=self.letter, **known)
        self.generation = state["generation"]
        if state["text"] is not None:
            self.text, self.revision = state["text"], state["revision"]
        else:
            self.take(state)
        if self.request is not None and self.request[1]["seq"] <= state["seq"]:
            self.request = None  # it was committed, only the answer was lost

    async def step(self, wire: Wire, what: str | None) -> bool:
        """False: nothing to do."""
        if self.request is None:
            self.seq += 1
            self.request = self.invent(what or self.choice())
        event, data = self.request
        reply = await wire.ask("document:" + event, document="d", **data)
        self.request = None
        if "error" in reply:
            assert reply["error"]["code"] in {"nothing_to_undo", "nothing_to_redo"}, reply
            return what is None
        while self.revision < reply["result"]["revision"]:
            self.take(await wire.push("document:operation", revision=self.next_revision(wire)))
        return True

    def next_revision(self, wire: Wire) -> int:
        """Of the next push in the inbox: they come in order, and before the reply."""
        for envelope in wire.inbox:
            if envelope["event"] == "document:operation":
                return int(envelope["data"]["revision"])
        raise AssertionError("the reply came before the operation")

    def take(self, told: dict[str, Any]) -> None:
        if told["revision"] <= self.revision:
            return
        assert told["revision"] - len(told["operations"]) == self.revision
        for entry in told["operations"]:
            self.text = apply(self.text, Operation(entry["operation"]))
        self.revision = told["revision"]

    def choice(self) -> str:
        return self.choices.choice(["operation", "operation", "operation", "undo", "undo", "redo"])

    def invent(self, what: str) -> tuple[str, dict[str, Any]]:
        data: dict[str, Any] = {"seq": self.seq, "revision": self.revision}
        if what == "operation":
            mine = [at for at, letter in enumerate(self.text) if letter == self.letter]
            if mine and self.choices.random() < 0.4:
                at = self.choices.choice(mine)
                operation: list[Any] = [at, -1]
            else:
                at = self.choices.randint(0, len(self.text))
                operation = [at, self.letter * self.choices.choice([1, 1, 3, 20])]
            data["operation"] = [part for part in operation if part]
        return what, data


async def test_killed_again_and_again(own_server: ServerProcess) -> None:
    """kill -9 in the middle of work: no undo is lost or done twice, the stacks are the same, and in the end everybody
    takes back everything, and nothing is left."""
    answers = kills = 0
    starting: asyncio.Task[None] | None = None

    def answered() -> None:
        nonlocal answers, kills, starting
        answers += 1
        if answers % 25 == 0 and (starting is None or starting.done()):
            kills += 1
            own_server.kill()
            starting = asyncio.get_running_loop().create_task(asyncio.to_thread(own_server.start))

    authors = [Author(letter, random.Random(letter), answered) for letter in "abc"]
    async with asyncio.timeout(110):
        while kills < 2:  # how often there is time for it depends on how long a start takes
            await asyncio.gather(*(author.work(own_server, 25) for author in authors))
            if starting is not None:
                await starting
        await asyncio.gather(*(author.work(own_server, 0) for author in authors))
        texts = []
        for author in authors:
            if author.letter not in author.text:  # it happens to have undone everything
                await author.work(own_server, 1, "operation")
            assert author.letter in author.text
            await author.work(own_server, 200, "undo")
            assert author.letter not in author.text
            texts.append(author.text)
        if starting is not None:
            await starting
    assert own_server.starts == kills + 1
    assert texts[-1] == ""
