"""Coming back after long, and finding out that one's text is wrong, over the real server."""

from __future__ import annotations

import logging
import threading
import time
import zlib
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import Operation, apply
from syncline.core.storage.commits import Entry, encode_entries
from syncline.core.types import document_type
from syncline.server.app import App
from syncline.server.documents import history as document_history
from syncline.server.documents import join as document_join
from syncline.server.observe.log_repeats import FEW
from syncline.server.seams.store import Turn
from tests.loglines import LogLines
from tests.serving import Serve

from .wsclient import Wire, dial, submit, text_of


async def write(client: Wire, first: int, count: int, revision: int, text: str = "x") -> int:
    """Submits ``count`` inserts at the start, one after the other; returns the revision after them."""
    for number in range(count):
        await submit(client, first + number, revision, [text])
        revision += 1
        await client.push("document:operation", revision=revision)
    return revision


async def test_many_missed_operations_come_composed(serve: Serve) -> None:
    async with serve(documents={"rejoin_operations": 5}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            state = await ada.call("document:join", document="d", client="a")
            await bob.call("document:join", document="d", client="b")
            await submit(ada, 1, 0, ["The text that was there before anything happened"])
            await bob.push("document:operation", revision=1)
            await ada.push("document:operation", revision=1)
            await write(bob, 1, 3, 1)
            await submit(ada, 2, 1, [8, "!"])  # its ack is lost
            await bob.push("document:operation", revision=5)
            await write(bob, 4, 4, 5)
            waiting = [{"operation": [8, "!"], "seq": 2}, {"operation": [9, "?"]}]
            back = await ada.call(
                "document:join",
                document="d",
                client="a",
                revision=1,
                generation=state["generation"],
                pending=waiting,
            )
            assert (back["revision"], back["seq"], back["text"]) == (9, 2, None)
            assert back["operations"] == [
                {"client": "b", "seq": 1, "operation": ["x"]},
                {"client": "b", "seq": 2, "operation": ["x"]},
                {"client": "b", "seq": 3, "operation": ["x"]},
                {"client": "a", "seq": 2, "operation": [11, "!"]},
                {"operation": ["xxxx"], "count": 4},
            ]
            text, _ = await text_of(app)
            assert back["hash"] == zlib.crc32(text.encode("utf-16-le"))
            again = await ada.call(
                "document:join", document="d", client="a", revision=1, generation=state["generation"], pending=[]
            )
            assert [one.get("count") for one in again["operations"]] == [3, None, 4]
            # Who does not know steps gets all of it.
            plain = await ada.call(
                "document:join", document="d", client="a", revision=1, generation=state["generation"]
            )
            assert len(plain["operations"]) == 8


async def test_when_the_text_is_shorter_it_comes_with_the_pending_work_moved(serve: Serve) -> None:
    async with serve(documents={"rejoin_operations": 5, "window_operations": 3}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            state = await ada.call("document:join", document="d", client="a")
            await bob.call("document:join", document="d", client="b")
            await submit(ada, 1, 0, ["0123456789"])
            await bob.push("document:operation", revision=1)
            await submit(bob, 1, 1, [3, "y" * 3000, -2])
            await bob.push("document:operation", revision=2)
            await submit(ada, 2, 1, ["A"])
            await bob.push("document:operation", revision=3)
            await submit(bob, 2, 3, [4, -3000])
            await bob.push("document:operation", revision=4)
            revision = await write(bob, 3, 6, 4, "z")
            waiting = [{"operation": ["A"], "seq": 2}, {"operation": [5, "B", 2, "C"]}]
            back = await ada.call(
                "document:join",
                document="d",
                client="a",
                revision=1,
                generation=state["generation"],
                pending=waiting,
            )
            assert back["operations"] is None
            assert (back["revision"], back["seq"]) == (revision, 2)
            assert back["text"] == "zzzzzzA01256789"
            (moved,) = back["pending"]
            assert apply(back["text"], Operation(moved)) == "zzzzzzA012B5C6789"


async def missed_by(app: App, ada: Wire, kind: str, operation: Any, count: int) -> str:
    """A document of a type with ``count`` operations; its generation."""
    made = await ada.call("document:create", document="d", type=kind)
    await ada.call("document:join", document="d", client="a")
    for seq in range(1, count + 1):
        await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=operation)
    return str(made["generation"])


TYPES: list[tuple[str, Any]] = [
    ("text", ["x" * 100]),
    ("rich-text", [{"insert": "x" * 100}]),
    ("json", [{"p": [], "od": None, "oi": "x" * 100}]),
]


@pytest.mark.parametrize(("kind", "operation"), TYPES)
async def test_what_was_missed_is_composed_beside_the_loop(
    serve: Serve, kind: str, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []
    which = type(document_type(kind))
    composing = which.composing

    def noted(self: Any, some: list[Any]) -> Generator[None, None, list[Any]]:
        if len(some) > 10:
            threads.append(threading.current_thread())
        return (yield from composing(self, some))

    monkeypatch.setattr(which, "composing", noted)
    monkeypatch.setattr(document_join, "FEW", 10)
    async with serve(documents={"rejoin_operations": 5}) as app, dial(app.url, name="Ada") as ada:
        generation = await missed_by(app, ada, kind, operation, 40)
        async with dial(app.url, name="Bob") as bob:
            state = await bob.call(
                "document:join", document="d", client="b", revision=0, generation=generation, pending=[]
            )
        assert state["revision"] == 40 and sum(one.get("count", 1) for one in state["operations"]) == 40
        assert threads and threading.main_thread() not in threads


async def test_much_history_is_decoded_beside_the_loop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = set()
    entries_between = document_history.entries_between

    def noted(*args: Any) -> list[Any]:
        threads.add(threading.current_thread())
        return entries_between(*args)

    monkeypatch.setattr(document_history, "entries_between", noted)
    monkeypatch.setattr(document_history, "AT_ONCE", 0)
    async with serve(documents={"window_operations": 5}) as app, dial(app.url, name="Ada") as ada:
        generation = await missed_by(app, ada, "text", ["x"], 20)
        state = await ada.call("document:join", document="d", client="b", revision=0, generation=generation)
        assert [one["seq"] for one in state["operations"]] == list(range(1, 21))
        await submit(ada, 1, 3, [3, "y"])  # its window is widened
        assert (await ada.push("document:operation", revision=21))["operations"][0]["operation"] == [20, "y"]
        assert threads and threading.main_thread() not in threads


@pytest.mark.parametrize(("kind", "operation"), TYPES)
async def test_when_too_much_is_composed_it_comes_one_by_one(
    serve: Serve, kind: str, operation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(documents={"rejoin_operations": 5}) as app, dial(app.url, name="Ada") as ada:
        generation = await missed_by(app, ada, kind, operation, 20)
        monkeypatch.setattr(document_join, "FEW", 10)

        async def refused(*args: Any) -> None:
            raise SynclineError(ErrorCode.RATE_LIMITED, "too much waits")

        monkeypatch.setattr(app.node.threads.moves, "work", refused)
        state = await ada.call("document:join", document="d", client="b", revision=0, generation=generation, pending=[])
        assert state["revision"] == 20 and [one["seq"] for one in state["operations"]] == list(range(1, 21))


async def test_pending_operations_are_checked(serve: Serve) -> None:
    async with serve(documents={"rejoin_operations": 1}) as app, dial(app.url, name="Ada") as ada:
        state = await ada.call("document:join", document="d", client="a")
        await write(ada, 1, 3, 0)

        async def refused(*pending: object) -> str:
            return await ada.error(
                "document:join",
                document="d",
                client="a",
                revision=0,
                generation=state["generation"],
                pending=list(pending),
            )

        assert await refused({"operation": [0]}) == "operation_invalid"
        assert await refused({"seq": 1}) == "invalid_data"
        assert await refused(*[{"operation": ["x"]}] * 17) == "invalid_data"


async def test_the_hash_of_the_text_is_told_now_and_then(serve: Serve) -> None:
    async with serve(documents={"hash_operations": 3}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        hashes = {}
        for number in range(7):
            await submit(ada, number + 1, number, ["💃"])
            pushed = await ada.push("document:operation", revision=number + 1)
            if "hash" in pushed:
                hashes[number + 1] = pushed["hash"]
        assert hashes == {count: zlib.crc32(("💃" * count).encode("utf-16-le")) for count in (3, 6)}


async def test_a_client_that_differs_is_counted_and_logged(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await write(ada, 1, 2, 0)
        with caplog.at_level(logging.WARNING, "syncline.documents"):
            state = await ada.call("document:join", document="d", client="a", diverged={"revision": 2, "hash": 0xABCD})
        assert (state["text"], state["revision"]) == ("xx", 2)
        assert app.node.counters.divergence_claims == 1
        assert "client a" in caplog.text and "0000abcd" in caplog.text
        assert app.node.counters.divergences == 0  # what the client says alone is no alarm


async def test_claims_of_clients_drive_neither_the_log_nor_alarms(serve: Serve, log_lines: LogLines) -> None:
    """2,936 lines a second."""
    async with serve() as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await write(ada, 1, 2, 0)
        loads = []
        load = app.node.store.load_document

        async def noted(*args: Any) -> Any:
            loads.append(args)
            return await load(*args)

        app.node.store.load_document = noted  # type: ignore[method-assign, assignment]
        begun = time.monotonic()
        for _ in range(300):
            await ada.call("document:join", document="d", client="a", diverged={"revision": 2, "hash": 1})
        seconds = time.monotonic() - begun
        assert app.node.counters.divergence_claims == 300 and app.node.counters.divergences == 0
        assert 1 <= len(loads) <= 8 + seconds / 10
    told = log_lines("that its content")
    assert len(told) == FEW + 1 and told[-1]["repeated"] == 300 - FEW and told[0]["address"] == "127.0.0.1"


async def test_a_document_that_is_not_what_its_log_says_is_the_alarm_and_is_loaded_anew(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        for client, name in ((ada, "a"), (bob, "b")):
            await client.call("document:join", document="d", client=name)
        await write(ada, 1, 2, 0)
        body = encode_entries([Entry("a", ada.user, number, Operation(["y"])) for number in (1, 2)])
        load = app.node.store.load_document

        async def other(*args: Any) -> Any:
            found = await load(*args)
            return None if found is None else replace(found, turns=[Turn(0, 2, body, 1.0)])

        app.node.store.load_document = other  # type: ignore[method-assign, assignment]
        await bob.call("document:join", document="d", client="b", diverged={"revision": 2, "hash": 1})
        await ada.push("document:resync", document="d")
        assert app.node.counters.divergences == 1 and "its log gives" in caplog.text
        assert (await ada.call("document:join", document="d", client="a"))["text"] == "yy"
