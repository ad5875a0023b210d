"""Errors that nobody has foreseen, in the middle of a turn: one submission costs no other, and no document stays behind."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.core.documents.document import Document
from syncline.core.rich.rich_type import RichType
from syncline.server.app import App
from syncline.server.documents import history as document_history
from syncline.server.documents import live_document
from tests.loglines import LogLines
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial

FAULTY = "poison"


class Bug(Exception):
    """What no code expects."""


def insert(text: str) -> Any:
    return [{"insert": text}]


async def join(wire: Wire, **data: Any) -> dict[str, Any]:
    return await wire.call("document:join", document="d", type="rich-text", **data)


def entry(seq: int, revision: int, operation: Any, **more: Any) -> dict[str, Any]:
    return {
        "event": "document:operation",
        "data": {"document": "d", "seq": seq, "revision": revision, "operation": operation},
        **more,
    }


async def answer(client: Wire, id: int) -> dict[str, Any]:
    return await client.take(lambda envelope: envelope.get("id") == id)


async def content(app: App) -> Any:
    async with dial(app.url, name="Reader") as reader:
        state = await join(reader)
        return state["content"], state["revision"]


@pytest.mark.parametrize("method", ["parse", "digest"])
async def test_one_that_fails_before_it_is_applied_costs_itself(
    app: App, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines, method: str
) -> None:
    kept = getattr(RichType, method)

    def faulty(self: RichType, value: Any) -> Any:
        if FAULTY in repr(value):
            raise Bug
        return kept(self, value)

    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await join(ada, client="a")
        await join(bob, client="b")
        monkeypatch.setattr(RichType, method, faulty)
        await ada.send(entry(1, 0, insert("one ")), entry(2, 0, insert(FAULTY), id=7), entry(3, 0, insert("two ")))
        assert (await answer(ada, 7))["error"]["code"] == "operation_invalid"
        push = await bob.push("document:operation")
        while push["revision"] < 2:
            push = await bob.push("document:operation")
        assert await content(app) == (insert("two one "), 2)
        assert log_lines("Bug")


async def test_one_that_fails_while_it_is_applied_has_the_document_loaded_anew(
    app: App, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    kept = RichType.commit

    def faulty(self: RichType, held: Any, size: int, operation: Any, limit: int) -> Any:
        result = kept(self, held, size, operation, limit)  # it is in the content already
        if FAULTY in repr(operation):
            raise Bug
        return result

    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        state = await join(ada, client="a")
        await join(bob, client="b")
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=insert("kept "))
        monkeypatch.setattr(RichType, "commit", faulty)
        await ada.send(
            entry(2, 1, insert("again "), id=6), entry(3, 1, insert(FAULTY), id=7), entry(4, 1, insert("later "), id=8)
        )
        assert (await answer(ada, 7))["error"]["code"] == "operation_invalid"
        for id in (6, 8):
            assert (await answer(ada, id))["error"]["code"] == "document_unavailable"
        for client in (ada, bob):
            await client.push("document:resync")
        back = await join(ada, client="a", revision=1, generation=state["generation"])
        assert (back["revision"], back["seq"]) == (1, 1)
        await ada.call("document:operation", document="d", seq=2, revision=1, operation=insert("again "))
        assert await content(app) == (insert("again kept "), 2)
        assert log_lines("Bug")


@pytest.mark.parametrize("stage", ["broadcast", "encode_entries", "due"])
async def test_a_turn_that_fails_is_taken_again_by_a_document_loaded_anew(
    app: App, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines, stage: str
) -> None:
    def bug(*args: Any) -> Any:
        raise Bug

    async with dial(app.url, name="Ada") as ada:
        state = await join(ada, client="a")
        with monkeypatch.context() as patch:
            where: Any = {"broadcast": live_document, "encode_entries": RichType, "due": live_document.Hashes}[stage]
            patch.setattr(where, stage, bug)
            await ada.send(entry(1, 0, insert("typed")))
            await ada.push("document:resync")
        back = await join(ada, client="a", revision=0, generation=state["generation"])
        stored = back["seq"] == 1
        assert stored is (stage != "encode_entries")
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=insert("typed"))
        assert await content(app) == (insert("typed"), 1)
        assert log_lines("Bug")


@pytest.mark.parametrize(
    "position", [2**31, 2**53, 2**63 - 1, 2**63, 10**400], ids=lambda position: f"2^{position.bit_length()}"
)
@pytest.mark.parametrize("kind", ["text", "rich-text"])
async def test_no_position_is_too_large_to_be_refused(app: App, kind: str, position: int) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:join", document=kind, type=kind, client="a")
        await bob.call("document:join", document=kind, client="b")
        for anchor, head in ((position, 0), (0, position)):
            cursor = {"document": kind, "revision": 0, "anchor": anchor, "head": head}
            await ada.send({"event": "document:cursor", "id": 5, "data": cursor})
            assert (await answer(ada, 5))["error"]["code"] == "invalid_data"
        operation = ["x"] if kind == "text" else insert("x")
        await ada.call("document:operation", document=kind, seq=1, revision=0, operation=operation)
        async with dial(app.url, name="Cleo") as cleo:
            state = await cleo.call("document:join", document=kind)
            told = {one["client"]: one["anchor"] for one in state["collaborators"]}
            assert told["a"] == 1


async def test_a_turn_ends_when_it_has_lasted_or_has_made_much(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    taken = live_document.LiveDocument._receive

    def counted(self: live_document.LiveDocument, end: float) -> bool:
        before = self.core.revision
        whole = taken(self, end)
        received.append(self.core.revision - before)
        return whole

    monkeypatch.setattr(live_document.LiveDocument, "_receive", counted)
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        for bounds, most in (({"TURN_BULK": 1000}, 3), ({"TURN_SECONDS": -1.0}, 1)):
            core: Document = app.node.documents.live["d"].core
            received.clear()
            revision = core.revision
            with monkeypatch.context() as patch:
                for name, value in bounds.items():
                    patch.setattr(live_document, name, value)
                await ada.send(*(entry(revision + at, revision, ["x" * 400]) for at in range(1, 9)))
                await until(lambda revision=revision, core=core: core.revision == revision + 8)  # type: ignore[misc]
            assert max(received) == most and sum(received) == 8


async def test_history_that_cannot_be_read_sends_back_and_refuses_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    """The operation is sound: whoever sent it joins again, and brings it once more."""

    async def unreadable(*args: Any) -> Any:
        raise ValueError("a damaged body")

    async with serve(documents={"window_operations": 3}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await join(ada, client="a")
            await join(bob, client="b")
            for seq in range(1, 21):
                await bob.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=insert("x"))
            with monkeypatch.context() as patch:
                patch.setattr(document_history, "_decoded", unreadable)
                await ada.send(entry(1, 2, insert("mine "), id=7))
                assert (await answer(ada, 7))["error"]["code"] == "document_unavailable"
                await ada.push("document:resync")
            state = await join(ada, client="a")
            assert (state["revision"], state["seq"]) == (20, 0)
            assert app.node.counters.operations_refused == 0
            assert log_lines("a damaged body")


async def test_cursors_are_set_some_at_a_time(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made long ago is moved on through all that came since: in one turn there is not time for all of them."""
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob, dial(app.url, name="Cleo") as cleo:
        for client, wire in zip("abc", (ada, bob, cleo), strict=True):
            await join(wire, client=client)
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=insert("some text"))
        live = app.node.documents.live["d"]
        monkeypatch.setattr(live_document, "TURN_SECONDS", -1.0)
        for client, at in (("a", 2), ("b", 3)):
            live.move_cursor(live.collaborators[client], 1, at, at)
        told = [await cleo.push("document:cursor") for _ in range(2)]
        assert [[(one["client"], one["anchor"]) for one in push["cursors"]] for push in told] == [
            [("a", 2)],
            [("b", 3)],
        ]
