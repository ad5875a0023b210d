"""Documents of other types than text, over the real server: two raw clients, restarts, refusals, duplicates."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from syncline.core.documents.value_engine import TypedEntry
from syncline.core.json import json0
from syncline.core.json.json_type import JsonType
from syncline.core.types import DOCUMENT_TYPES, document_type
from syncline.server.app import App
from syncline.server.documents import hashes as document_hashes
from syncline.server.limits import fair_thread
from syncline.server.limits.keyed_buckets import KeyedBuckets
from syncline.server.seams.outcome import Unavailable
from syncline.server.seams.store import Turn
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial


async def submit(client: Wire, document: str, seq: int, revision: int, operation: Any) -> None:
    data = {"document": document, "seq": seq, "revision": revision, "operation": operation}
    await client.send({"event": "document:operation", "data": data})


class Shown:
    """A client's content, from the state and the pushes alone."""

    def __init__(self, state: dict[str, Any]) -> None:
        assert state["text"] is None
        self.type = document_type(state["type"])
        self.held = self.type.parse_content(state["content"])
        self.revision = state["revision"]

    def take(self, push: dict[str, Any]) -> None:
        for entry in push["operations"]:
            self.held = self.type.apply(self.held, self.type.parse(entry["operation"]))
            self.revision += 1
        assert self.revision == push["revision"]

    @property
    def content(self) -> Any:
        return self.type.show(self.held)


async def state_of(app: App, document: str, **data: Any) -> dict[str, Any]:
    async with dial(app.url, name="Reader", codec="msgpack") as client:
        return await client.call("document:join", document=document, **data)


async def test_two_edit_json_and_the_server_starts_again(serve: Serve, backend: str) -> None:
    async with serve() as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
            first = {"title": "List", "items": [1, 2, 3], "count": 0, "ratio": 0.5}
            made = await ada.call("document:create", document="d", type="json", content=first)
            assert made["revision"] == 0
            state = await ada.call("document:join", document="d", client="a", type="json")
            assert (state["type"], state["text"], state["content"], state["unit"]) == ("json", None, first, "utf-16")
            shown = Shown(state)
            await bob.call("document:join", document="d", client="b")
            # Concurrent: Ada moves an element and counts, Bob replaces that element, counts and renames.
            await submit(ada, "d", 1, 0, [{"p": ["items", 0], "lm": 2}, {"p": ["count"], "na": 1}])
            await ada.push("document:collaborator_joined")
            push = await ada.push("document:operation")
            assert push["operations"][0]["operation"] == [{"p": ["items", 0], "lm": 2}, {"p": ["count"], "na": 1}]
            shown.take(push)
            await submit(
                bob,
                "d",
                1,
                0,
                [
                    {"p": ["items", 0], "ld": "a lie", "li": "one"},
                    {"p": ["count"], "na": 2},
                    {"p": ["title", 0], "si": "My "},
                ],
            )
            push = await ada.push("document:operation")
            assert push["operations"] == [
                {
                    "client": "b",
                    "seq": 1,
                    "operation": [
                        {"p": ["items", 2], "ld": 1, "li": "one"},
                        {"p": ["count"], "na": 2},
                        {"p": ["title"], "t": "text0", "o": [{"p": 0, "i": "My "}]},
                    ],
                }
            ]
            shown.take(push)
            assert shown.content == {"title": "My List", "items": [2, 3, "one"], "count": 3, "ratio": 0.5}
            assert (await state_of(app, "d"))["content"] == shown.content
            # Sent again: the ack again, nothing committed. Another operation under the same number: no.
            data = {"document": "d", "seq": 1, "revision": 0}
            same = [{"p": ["items", 0], "lm": 2}, {"p": ["count"], "na": 1}]
            assert (await ada.call("document:operation", **data, operation=same))["revision"] == 1
            other = [{"p": ["count"], "na": 9}]
            assert await ada.error("document:operation", **data, operation=other) == "sequence_conflict"
    if backend == "memory":
        return
    async with serve() as app, dial(app.url, name="Ada") as ada:
        state = await state_of(app, "d", type="json")
        assert (state["revision"], state["content"], state["type"]) == (2, shown.content, "json")
        # Who comes back gets what it missed, as operations.
        back = await ada.call(
            "document:join", document="d", client="a2", revision=1, generation=state["generation"], pending=[]
        )
        assert back["text"] is None and "content" not in back
        assert back["hash"] == shown.type.hash(shown.held)
        assert [entry["client"] for entry in back["operations"]] == ["b"]
        await submit(ada, "d", 1, 2, [{"p": ["items", 2, 0], "si": "number "}])
        shown.take(await ada.push("document:operation"))
        assert shown.content["items"] == [2, 3, "number one"]


async def test_two_edit_rich_text_and_the_server_starts_again(serve: Serve, backend: str) -> None:
    async with serve(documents={"hash_operations": 2}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            state = await ada.call("document:join", document="d", client="a", type="rich-text")
            assert (state["type"], state["content"], state["role"]) == ("rich-text", [], "owner")
            shown = Shown(state)
            await bob.call("document:join", document="d", client="b", type="rich-text")
            await submit(ada, "d", 1, 0, [{"insert": "Hello"}, {"insert": {"image": "x.png"}}])
            shown.take(await ada.push("document:operation"))
            await bob.push("document:operation", revision=1)
            await bob.call("document:cursor", document="d", revision=1, anchor=5, head=6)
            cursor = await ada.push("document:cursor")
            assert cursor["cursors"] == [{"client": "b", "anchor": 5, "head": 6}]
            await submit(ada, "d", 2, 1, [{"retain": 5, "attributes": {"bold": True}}])
            push = await ada.push("document:operation", revision=2)
            shown.take(push)
            assert push["hash"] == shown.type.hash(shown.held)
            # Later at the same place, and formatting what was formatted: the one that arrives wins.
            edit = [{"insert": "Oh "}, {"retain": 5, "attributes": {"bold": None, "italic": True}}, {"delete": 1}]
            await submit(bob, "d", 1, 1, edit)
            shown.take(await ada.push("document:operation", revision=3))
            assert shown.content == [
                {"insert": "Oh "},
                {"insert": "Hello", "attributes": {"italic": True}},
            ]
            state = await state_of(app, "d")
            assert state["content"] == shown.content
            assert [one["anchor"] for one in state["collaborators"] if one["client"] == "b"] == [9 - 1]
    if backend == "memory":
        return
    async with serve() as app, dial(app.url, name="Ada") as ada:
        state = await ada.call("document:join", document="d", client="c")
        assert (state["revision"], state["content"]) == (3, shown.content)
        await submit(ada, "d", 1, 3, [{"retain": 8}, {"insert": "!"}])
        shown.take(await ada.push("document:operation"))
        assert shown.content[-1] == {"insert": "!"}


@pytest.mark.parametrize("name", ["json", "rich-text"])
async def test_hashes_are_told_now_and_then(serve: Serve, name: str) -> None:
    edits = {
        "json": [[{"p": [], "od": None, "oi": {"n": 0.5}}], *[[{"p": ["n"], "od": 0, "oi": at}] for at in range(4)]],
        "rich-text": [[{"insert": "x"}], *[[{"retain": 1, "attributes": {"size": at}}] for at in range(4)]],
    }[name]
    async with serve(documents={"hash_operations": 2}) as app, dial(app.url, name="Ada") as ada:
        shown = Shown(await ada.call("document:join", document="d", client="a", type=name))
        hashes = {}
        for revision, edit in enumerate(edits):
            await submit(ada, "d", revision + 1, revision, edit)
            push = await ada.push("document:operation", revision=revision + 1)
            shown.take(push)
            if "hash" in push:
                hashes[revision + 1] = push["hash"]
                assert push["hash"] == shown.type.hash(shown.held)
        assert [*hashes] == [2, 4] and len({*hashes.values()}) == 2
    async with serve(documents={"hash_operations": 0}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="e", client="a", type=name)
        await submit(ada, "e", 1, 0, edits[0])
        assert "hash" not in await ada.push("document:operation")


async def test_the_larger_the_content_the_rarer_the_hash(serve: Serve) -> None:
    async with serve(documents={"hash_operations": 1}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="d", type="json", content={"n": 0, "s": "x" * 5000})
        await ada.call("document:join", document="d", client="a")
        told = []
        for revision in range(60):
            await submit(ada, "d", revision + 1, revision, [{"p": ["n"], "na": 1}])
            if "hash" in await ada.push("document:operation", revision=revision + 1):
                told.append(revision + 1)
        assert told == [25, 50]  # 5,000 characters are about 50 us


class Held(JsonType):
    """Its hash takes until somebody says so."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.began = threading.Event()

    def hash_labour(self, content: Any, size: int) -> int:
        return 10_000

    def hashing(self, content: Any) -> Generator[None, None, int]:
        self.began.set()
        while not self.go.wait(0.01):
            yield
        return self.hash(content)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    kind = Held()
    monkeypatch.setitem(DOCUMENT_TYPES, "json", kind)
    monkeypatch.setattr(document_hashes, "SHARE", 100_000)
    return kind


async def test_a_long_hash_is_taken_beside_the_loop_while_its_document_waits(serve: Serve, held: Held) -> None:
    async with serve(documents={"hash_operations": 1}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
            shown = Shown(await ada.call("document:join", document="d", client="a", type="json"))
            await bob.call("document:join", document="d", client="b")
            await submit(ada, "d", 1, 0, [{"p": [], "od": None, "oi": {"n": 0}}])
            push = await ada.push("document:operation")
            assert "hash" not in push
            shown.take(push)
            await until(held.began.is_set)
            await submit(ada, "d", 2, 1, [{"p": ["n"], "na": 1}])
            await ada.call("document:cursor", document="d", revision=1, anchor=None, head=None)
            # The node goes on, also for who joins this document.
            state = await state_of(app, "d")
            assert (state["revision"], state["content"]) == (1, {"n": 0}) and "hash" not in state
            held.go.set()
            for client in (ada, bob):
                if client is bob:
                    await client.push("document:operation", revision=1)
                told = await client.push("document:operation")
                assert told == {"document": "d", "revision": 1, "operations": [], "hash": held.hash({"n": 0})}
                assert (await client.push("document:operation"))["revision"] == 2


async def test_a_document_that_is_dropped_while_its_hash_is_taken(serve: Serve, held: Held) -> None:
    async with serve(documents={"hash_operations": 1}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a", type="json")
        await submit(ada, "d", 1, 0, [{"p": [], "od": None, "oi": 1}])
        await until(held.began.is_set)
        [live] = app.node.documents.live.values()
        asked = asyncio.ensure_future(live.hashes.get(live))
        app.node.documents.registry.drop(live, "for a test")
        await ada.push("document:resync")
        with pytest.raises(Unavailable):
            await asked
        with pytest.raises(Unavailable):
            await live.hashes.get(live)
        held.go.set()
        assert (await state_of(app, "d"))["content"] == 1


async def test_who_waits_for_a_hash_is_told_when_the_document_closes(serve: Serve, held: Held) -> None:
    async with serve(documents={"hash_operations": 1}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a", type="json")
        await submit(ada, "d", 1, 0, [{"p": [], "od": None, "oi": 1}])
        await until(held.began.is_set)
        [live] = app.node.documents.live.values()
        asked = asyncio.ensure_future(live.hashes.get(live))
        await asyncio.sleep(0)
        app.node.documents.registry._unload(live)  # as the node does when it stops
        with pytest.raises(Unavailable):
            await asked
        held.go.set()


@pytest.mark.parametrize("name", ["json", "rich-text"])
async def test_a_content_that_is_not_what_its_log_says_is_the_alarm(serve: Serve, name: str) -> None:
    kind = document_type(name)
    first, other = {
        "json": ([{"p": [], "od": None, "oi": [1.5]}], [{"p": [], "od": None, "oi": [1]}]),
        "rich-text": ([{"insert": "x"}], [{"insert": "x", "attributes": {"bold": True}}]),
    }[name]
    async with serve() as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a", type=name)
        await submit(ada, "d", 1, 0, first)
        await ada.push("document:operation")
        load = app.node.store.load_document
        body = kind.encode_entries([TypedEntry(kind, "a", ada.user, 1, kind.parse(other))])
        loads = 0

        async def logged(*args: Any) -> Any:
            nonlocal loads
            loads += 1
            found = await load(*args)
            return found if found is None or loads < 2 else replace(found, turns=[Turn(0, 1, body, 1.0)])

        app.node.store.load_document = logged  # type: ignore[method-assign, assignment]
        await ada.call("document:join", document="d", client="a", diverged={"revision": 1, "hash": 1})
        await until(lambda: loads == 1 and not app.node.documents.divergences._looking)
        assert app.node.counters.divergences == 0
        await ada.call("document:join", document="d", client="a", diverged={"revision": 1, "hash": 1})
        await ada.push("document:resync", document="d")
        assert app.node.counters.divergences == 1
        assert (await state_of(app, "d"))["content"] == kind.show(kind.apply(kind.empty(), kind.parse(other)))


REFUSED: list[tuple[Any, str]] = [
    ("x", "operation_invalid"),
    (5, "operation_invalid"),
    (None, "operation_invalid"),
    (["x"], "operation_invalid"),
    ([{"p": ["gone"], "od": 1}], "operation_invalid"),
    ([{"p": ["list", 9], "li": 1}], "operation_out_of_range"),
    ([{"p": ["list"], "oi": 1}], "operation_invalid"),
    ([{"p": ["k"], "oi": 2**53 + 1}], "operation_invalid"),
    ([{"p": ["k"], "oi": "x" * 400}], "document_too_large"),
    ([{"p": ["list", 0], "na": 1}, {"p": ["k"], "od": 0}], "operation_invalid"),
]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_refusals_change_nothing(serve: Serve, codec: str) -> None:
    async with serve(documents={"max_length": 400}) as app, dial(app.url, name="Ada", codec=codec) as ada:
        await ada.call("document:create", document="d", type="json", content={"list": [1]})
        await ada.call("document:join", document="d", client="a")
        for seq, (operation, code) in enumerate(REFUSED, 1):
            got = await ada.error("document:operation", document="d", seq=seq, revision=0, operation=operation)
            assert got == code, operation
        await submit(ada, "d", 20, 0, "x")
        told = await ada.push("error")
        assert (told["code"], told["document"], told["seq"]) == ("operation_invalid", "d", 20)
        state = await state_of(app, "d")
        assert (state["revision"], state["content"]) == (0, {"list": [1]})
        await submit(ada, "d", 21, 0, [{"p": ["list", 0], "na": 1}])
        assert (await ada.push("document:operation"))["revision"] == 1


async def test_values_that_only_msgpack_has(app: App) -> None:
    async with dial(app.url, name="Ada", codec="msgpack") as ada:
        await ada.call("document:join", document="d", client="a", type="json")

        async def refused(value: Any) -> str:
            operation = [{"p": [], "od": None, "oi": value}]
            return await ada.error("document:operation", document="d", seq=1, revision=0, operation=operation)

        for value in (float("nan"), float("inf"), b"bytes", {1: 2}, {"a": [b""]}):
            assert await refused(value) == "operation_invalid", value
        for revision, value in ((0, 2.0), (1, 2**60)):
            operation = [{"p": [], "od": 0, "oi": value}]
            assert await ada.call(
                "document:operation", document="d", seq=revision + 1, revision=revision, operation=operation
            )
        async with dial(app.url, name="Bob", codec="json") as bob:
            assert (await bob.call("document:join", document="d"))["content"] == 2**60


async def test_numbers_that_browsers_write_are_kept_and_can_be_removed(app: App) -> None:
    """JSON.stringify(2 ** 63) is no double by itself; what a client says is there may be anything."""
    written = 9223372036854776000
    async with dial(app.url, name="Ada", codec="json") as ada:
        await ada.call("document:create", document="d", type="json", content={"first": {"n": written}})
        assert (await ada.call("document:join", document="d", client="a"))["content"] == {"first": {"n": 2.0**63}}
        await submit(ada, "d", 1, 0, [{"p": ["second"], "oi": {"n": written}}])
        [entry] = (await ada.push("document:operation"))["operations"]
        assert entry["operation"] == [{"p": ["second"], "oi": {"n": 2.0**63}}]
        await submit(ada, "d", 2, 1, [{"p": ["first"], "od": {"n": written}}, {"p": ["second"], "od": 2**53 + 1}])
        [entry] = (await ada.push("document:operation"))["operations"]
        assert entry["operation"] == [{"p": [key], "od": {"n": 2.0**63}} for key in ("first", "second")]


async def test_nesting_is_an_error_and_not_the_end(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a", type="json")
        deep = "[" * 5000 + "]" * 5000
        await ada.raw(
            '{"event": "document:operation", "id": 90, "data": {"document": "d", "seq": 1, "revision": 0,'
            ' "operation": [{"p": [], "od": null, "oi": ' + deep + "}]}}"
        )
        reply = await ada.take(lambda envelope: envelope["event"] == "error")
        # Who refuses it depends on how deep the interpreter lets the decoder go: the decoder, or the type's own bound.
        refusals = ("invalid_data", "malformed_frame", "operation_invalid")
        assert (reply.get("error") or reply["data"])["code"] in refusals
        assert (await state_of(app, "d"))["content"] is None


async def test_types_and_units_at_the_door(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="j", type="json")
        await ada.call("document:create", document="t", text="x")
        await ada.call("document:create", document="r", type="rich-text", content=[{"insert": "x"}])
        assert await ada.error("document:join", document="j", type="text") == "invalid_data"
        assert await ada.error("document:join", document="t", type="json") == "invalid_data"
        assert await ada.error("document:join", document="j", type="spreadsheet") == "invalid_data"
        assert await ada.error("document:join", document="new", type="spreadsheet") == "invalid_data"
        assert await ada.error("document:join", document="j", unit="unicode") == "invalid_data"
        assert await ada.error("document:create", document="n", type="spreadsheet") == "invalid_data"
        assert await ada.error("document:create", document="n", type="json", text="x") == "invalid_data"
        assert await ada.error("document:create", document="n", content="x") == "invalid_data"
        assert await ada.error("document:create", document="n", type="rich-text", content="x") == "operation_invalid"
        refused = [{"delete": 1}]
        assert (
            await ada.error("document:create", document="n", type="rich-text", content=refused) == "operation_invalid"
        )
        assert await ada.error("document:create", document="j", type="json", content=1) == "document_exists"
        assert (await ada.call("document:join", document="t", type="text"))["type"] == "text"
        assert (await ada.call("document:join", document="t"))["text"] == "x"
        assert (await ada.call("document:join", document="r"))["content"] == [{"insert": "x"}]
        for document, empty in (("e", False), ("f", 0), ("g", []), ("h", "")):
            await ada.call("document:create", document=document, type="json", content=empty)
            assert (await ada.call("document:join", document=document))["content"] == empty
        assert await ada.error("document:cursor", document="j", revision=0, anchor=0, head=0) == "not_joined"
        await ada.call("document:join", document="j")
        assert await ada.error("document:cursor", document="j", revision=0, anchor=0, head=0) == "invalid_data"
        await ada.call("document:cursor", document="j", revision=0, anchor=["x"], head=["x"])  # not there: ignored
        assert not [one for one in await ada.flushed() if one["event"] == "document:cursor"]


async def test_one_far_behind_is_transformed_over_history_from_the_store(serve: Serve) -> None:
    async with serve(documents={"window_operations": 4, "rejoin_operations": 3}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await ada.call("document:create", document="d", type="json", content=[])
            state = await ada.call("document:join", document="d", client="a")
            generation = state["generation"]
            await bob.call("document:join", document="d", client="b")
            for seq in range(1, 13):
                await ada.call(
                    "document:operation", document="d", seq=seq, revision=seq - 1, operation=[{"p": [0], "li": seq}]
                )
            await submit(bob, "d", 1, 0, [{"p": [0], "li": "mine"}])
            # What was inserted at the same place meanwhile lies behind it: the one that arrives is left.
            assert (await bob.push("document:operation", revision=13))["operations"][0]["operation"] == [
                {"p": [0], "li": "mine"}
            ]
            assert (await state_of(app, "d"))["content"] == ["mine", *range(12, 0, -1)]
            back = await bob.call(
                "document:join", document="d", client="b2", revision=2, generation=generation, pending=[]
            )
            content: Any = [2, 1]
            for entry in back["operations"]:
                content = json0.apply(content, json0.parse(entry["operation"]))
            assert content == ["mine", *range(12, 0, -1)]


async def test_history_and_restoring_know_the_type(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="d", type="json", content={"n": 0, "items": ["a"]})
        await ada.call("document:join", document="d", client="a")
        for seq in range(1, 4):
            await ada.call(
                "document:operation", document="d", seq=seq, revision=seq - 1, operation=[{"p": ["n"], "na": 1}]
            )
        page = await ada.call("document:history", document="d")
        assert [entry["operation"] for entry in page["operations"]] == [[{"p": ["n"], "na": 1}]] * 3
        past = await ada.call("document:at", document="d", revision=1)
        assert (past["type"], past["content"]) == ("json", {"n": 1, "items": ["a"]}) and "text" not in past
        assert await ada.error("document:blame", document="d") == "invalid_data"
        restored = await ada.call("document:restore", document="d", seq=4, revision=3, to=1)
        assert (restored["revision"], restored["seq"]) == (4, 4)
        push = await ada.push("document:operation", revision=4)
        assert push["operations"] == [
            {"client": "a", "seq": 4, "operation": [{"p": ["n"], "od": 3, "oi": 1}], "kind": "restore"}
        ]
        again = await ada.call("document:restore", document="d", seq=4, revision=3, to=1)
        assert again["revision"] == 4
        assert (await state_of(app, "d"))["content"] == past["content"]
        undone = await ada.call("document:undo", document="d", seq=5, revision=4)
        assert (undone["revision"], undone["undo"], undone["redo"]) == (5, 3, 1)
        assert (await state_of(app, "d"))["content"] == {"n": 3, "items": ["a"]}


UNDONE: dict[str, tuple[Any, list[Any], Any, list[Any]]] = {
    # what there is, what Ada does, what Bob does, and what there is as Ada undoes it
    "rich-text": (
        [{"insert": "Hello world"}],
        [[{"retain": 6}, {"delete": 5}], [{"retain": 5, "attributes": {"bold": True}}]],
        [{"insert": "Oh! "}],
        [
            [{"insert": "Oh! Hello "}],
            [{"insert": "Oh! Hello world"}],
        ],
    ),
    "json": (
        {"items": [1, 2], "n": 0},
        [[{"p": ["items", 0], "ld": 1}], [{"p": ["n"], "na": 5}]],
        [{"p": ["items", 0], "li": 0}],
        [{"items": [0, 2], "n": 0}, {"items": [1, 0, 2], "n": 0}],
    ),
}


@pytest.mark.parametrize("type", UNDONE)
async def test_undo_after_a_restart(serve: Serve, backend: str, type: str) -> None:
    """The stacks come from the snapshot and the log behind it."""
    if backend == "memory":
        return
    content, edits, other, undone = UNDONE[type]
    config = {"snapshot_operations": 2}
    async with serve(documents=config) as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        token = (await ada.call("auth:refresh"))["token"]
        await ada.call("document:create", document="d", type=type, content=content)
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b")
        for seq, operation in enumerate(edits, 1):
            await submit(ada, "d", seq, seq - 1, operation)
            await ada.push("document:operation", revision=seq)
        await submit(bob, "d", 1, 2, other)
        await ada.push("document:operation", revision=3)
    async with serve(documents=config) as app, dial(app.url, token=token) as ada:
        state = await ada.call("document:join", document="d", client="a")
        assert (state["undo"], state["redo"]) == (2, 0)
        for seq, expected in enumerate(undone, 3):
            await ada.call("document:undo", document="d", seq=seq, revision=seq)
            assert (await state_of(app, "d"))["content"] == expected
        await ada.call("document:redo", document="d", seq=5, revision=5)
        assert (await state_of(app, "d"))["content"] == undone[0]
        entry = (await ada.push("document:operation", revision=6))["operations"][0]
        assert (entry["client"], entry["seq"], entry["kind"]) == ("a", 5, "redo")


# What costs much -----------------------------------------------------------------------------------------------------


async def behind(ada: Wire, bob: Wire, count: int, components: int = 1) -> None:
    """A JSON list to which Ada has added one by one, or so many at once, and which Bob has joined."""
    await ada.call("document:create", document="d", type="json", content=[0])
    for client, name in ((ada, "a"), (bob, "b")):
        await client.call("document:join", document="d", client=name, type="json")
    for seq in range(1, count + 1):
        await ada.call(
            "document:operation",
            document="d",
            seq=seq,
            revision=seq - 1,
            operation=[{"p": [0], "li": seq}] * components,
        )


async def test_what_would_cost_too_much_is_sent_back_before_any_work(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 components against 1,000, 200 revisions behind: a third of a second of standstill for everybody, as often as it was sent."""
    async with serve(limits={"bad_requests_per_minute": 5}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await behind(ada, bob, 200, 5)
            calls = 0
            crossing = JsonType.crossing

            def counted(*args: Any) -> Any:
                nonlocal calls
                calls += 1
                return crossing(*args)

            monkeypatch.setattr(JsonType, "crossing", counted)
            heavy = [{"p": [0], "li": "x" * 10} for _ in range(1000)]
            for seq in range(1, 8):
                await submit(bob, "d", seq, 0, heavy)
                if seq < 7:  # he joins again, and does not move what he made before
                    await bob.push("document:resync", document="d")
                    await bob.call("document:join", document="d", client="b")
            assert await bob.closed() == (4502, "misbehaving")
            assert calls == 0 and app.node.counters.operations_refused == 0
            # Nobody else was held up or sent out.
            await ada.call("document:operation", document="d", seq=201, revision=200, operation=[{"p": [0], "na": 0}])


async def test_a_client_that_is_overtaken_each_time_is_not_sent_out(serve: Serve) -> None:
    """It does all that it is told: joins again, and submits at the revision that it was told; others are quicker, again and again."""
    async with serve(limits={"bad_requests_per_minute": 3}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await behind(ada, bob, 0)
            generation = (await state_of(app, "d"))["generation"]
            theirs, own = ([{"p": [0], "li": name} for _ in range(1000)] for name in "ab")
            for revision in range(6):
                data = {"seq": revision + 1, "revision": revision, "operation": theirs}
                await ada.call("document:operation", document="d", **data)
                await submit(bob, "d", 1, revision, own)
                await bob.push("document:resync", document="d")
                known = {"revision": revision, "generation": generation}
                assert (await bob.call("document:join", document="d", client="b", **known))["revision"] == revision + 1
            await submit(bob, "d", 1, 6, own)
            await bob.push("document:operation", revision=7)


async def test_what_costs_much_is_done_beside_the_loop(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await behind(ada, bob, 50)
            threads = set()
            go, begun = threading.Event(), threading.Event()
            crossing = JsonType.crossing

            def held(*args: Any) -> Any:
                threads.add(threading.current_thread().name)
                begun.set()
                assert go.wait(30)
                return crossing(*args)

            monkeypatch.setattr(JsonType, "crossing", held)
            await submit(bob, "d", 1, 0, [{"p": [0], "li": number} for number in range(500)])
            await submit(bob, "d", 2, 0, [{"p": [0], "li": "behind it"}])
            await asyncio.to_thread(begun.wait, 30)
            # The node goes on; the document waits, in order.
            await ada.call("room:join", room="r")
            await submit(ada, "d", 51, 50, [{"p": [0], "li": "after"}])
            await ada.call("ping")
            go.set()
            await ada.push("document:operation", revision=53)
            state = await state_of(app, "d")
            assert state["revision"] == 53 and len(state["content"]) == 553
            assert state["content"][0] == "after" and "behind it" in state["content"]
            assert any(name.startswith("syncline-moves") for name in threads)


async def test_a_client_that_goes_while_its_operation_is_moved(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes back and sends it again: neither lost nor doubled, and what it had sent behind is not taken before it."""
    async with serve() as app:
        async with dial(app.url, name="Ada") as ada:
            token = None
            async with dial(app.url) as bob:
                token = (await bob.call("auth", name="Bob"))["token"]
                await behind(ada, bob, 50)
                go, begun = threading.Event(), threading.Event()
                crossing = JsonType.crossing

                def held(*args: Any) -> Any:
                    begun.set()
                    assert go.wait(30)
                    return crossing(*args)

                monkeypatch.setattr(JsonType, "crossing", held)
                monkeypatch.setattr(
                    fair_thread, "SLICE_SECONDS", 0.0
                )  # after each step it is asked whether he is there
                await submit(bob, "d", 1, 0, [{"p": [0], "li": number} for number in range(500)])
                await submit(bob, "d", 2, 0, [{"p": [0], "li": "second"}])
                await asyncio.to_thread(begun.wait, 30)
            await until(lambda: len(app.node.sessions.connections) == 1)
            go.set()
            async with dial(app.url, token=token) as bob:
                state = await bob.call("document:join", document="d", client="b")
                assert state["seq"] == 0 and state["revision"] == 50
                await submit(bob, "d", 1, 50, [{"p": [0], "li": "first"}])
                await submit(bob, "d", 2, 51, [{"p": [0], "li": "second"}])
                await bob.push("document:operation", revision=52)
            assert (await state_of(app, "d"))["content"][:2] == ["second", "first"]


async def test_a_window_is_not_widened_without_bound(serve: Serve) -> None:
    async with serve(documents={"window_operations": 5}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            for client, name in ((ada, "a"), (bob, "b")):
                await client.call("document:join", document="d", client=name)
            operations = [
                {
                    "event": "document:operation",
                    "data": {"document": "d", "seq": seq, "revision": seq - 1, "operation": ["x"]},
                }
                for seq in range(1, 4101)
            ]
            for start in range(0, len(operations), 100):
                await ada.send(*operations[start : start + 100])
            await ada.push("document:operation", revision=4100)
            await submit(bob, "d", 1, 0, ["far"])
            await bob.push("document:resync", document="d")
            assert app.node.documents.live["d"].core.floor > 0
            await bob.call("document:join", document="d", client="b")
            await submit(bob, "d", 2, 200, ["near enough"])
            await bob.push("document:operation", revision=4101)


async def test_work_that_ends_in_a_refusal_is_not_free_and_is_limited(serve: Serve) -> None:
    """An operation that is moved and then refused could be sent for ever, and everybody waited behind it."""
    async with serve(limits={"bad_requests_per_minute": 4}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await behind(ada, bob, 60)
            heavy = [{"p": [0], "li": 1} for _ in range(500)] + [{"p": [100_000], "ld": 1}]
            for seq in range(1, 12):
                await submit(bob, "d", seq, 0, heavy)
            assert await bob.closed() == (4502, "misbehaving")
            await ada.call("document:operation", document="d", seq=61, revision=60, operation=[{"p": [0], "na": 1}])


async def test_who_asks_for_much_work_does_it_himself(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await behind(ada, bob, 60)
        app.node.documents.context.labours = KeyedBuckets(1.0, 1_000_000.0, 10, app.node.clock.monotonic)
        app.node.documents.context.labours.take(bob.user, 1_000_000.0)
        await submit(bob, "d", 1, 0, [{"p": [0], "li": 1} for _ in range(500)])
        await bob.push("document:resync", document="d")
        generation = (await state_of(app, "d"))["generation"]
        state = await bob.call("document:join", document="d", client="b", revision=0, generation=generation)
        assert len(state["operations"]) == 60 and "more" not in state


async def test_a_document_whose_last_client_leaves_while_it_works_is_unloaded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve(documents={"idle_seconds": 0.0}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await behind(ada, bob, 50)
            go, begun = threading.Event(), threading.Event()

            def held(*args: Any) -> Any:
                begun.set()
                assert go.wait(30)
                raise RuntimeError("a bug of a type")

            monkeypatch.setattr(JsonType, "crossing", held)
            await submit(bob, "d", 1, 0, [{"p": [0], "li": number} for number in range(500)])
            await asyncio.to_thread(begun.wait, 30)
        await until(lambda: not app.node.sessions.connections)
        go.set()
        await until(lambda: not app.node.documents.live)


async def test_a_fault_while_an_operation_is_moved_is_told_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await behind(ada, bob, 50)

        def fault(*args: Any) -> Any:
            raise RuntimeError("a bug of a type")

        with monkeypatch.context() as patch:
            patch.setattr(JsonType, "crossing", fault)
            operation = [{"p": [0], "li": number} for number in range(500)]
            code = await bob.error("document:operation", document="d", seq=1, revision=0, operation=operation)
        assert code == "operation_invalid"
        for number, who in enumerate((ada, bob)):
            data = {"document": "d", "seq": 51, "revision": 50 + number, "operation": [{"p": [0], "na": 1}]}
            assert (await who.call("document:operation", **data))["revision"] == 51 + number
        assert app.node.counters.errors["internal"] == 0


async def test_who_joins_again_is_told_what_was_not_taken(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await behind(ada, bob, 50)
        go, begun = threading.Event(), threading.Event()
        crossing = JsonType.crossing

        def held(*args: Any) -> Any:
            begun.set()
            assert go.wait(30)
            return crossing(*args)

        monkeypatch.setattr(JsonType, "crossing", held)
        data = {"document": "d", "seq": 1, "revision": 0, "operation": [{"p": [0], "li": 1}] * 500}
        await bob.send({"event": "document:operation", "id": 900, "data": data})
        await asyncio.to_thread(begun.wait, 30)
        await bob.call("document:join", document="d", client="b")
        reply = await bob.take(lambda envelope: envelope.get("id") == 900)
        assert reply["error"]["code"] == "document_unavailable"
        go.set()
        await submit(bob, "d", 1, 50, [{"p": [0], "li": "again"}])
        await bob.push("document:operation", revision=51)


async def test_a_long_list_of_large_operations_comes_in_parts(serve: Serve) -> None:
    """By their size, not only by their number."""
    async with serve(documents={"window_operations": 5}) as app, dial(app.url, name="Ada") as ada:
        made = await ada.call("document:create", document="d", type="json", content={})
        await ada.call("document:join", document="d", client="a", type="json")
        for seq in range(1, 41):
            operation = [{"p": [f"k{seq}"], "oi": "x" * 100_000}]
            await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=operation)
        async with dial(app.url, name="Bob") as bob:
            state = await bob.call("document:join", document="d", client="b", revision=0, generation=made["generation"])
            assert state["more"] and 1 <= len(state["operations"]) == state["revision"] <= 12
            revision = state["revision"]
            while revision < 40:
                push = await bob.push("document:operation")
                revision += len(push["operations"])
                assert push["revision"] == revision


async def test_a_restoration_that_is_too_much_work_may_be_tried_again(serve: Serve) -> None:
    """Joining again does not help it: it is refused with a time, and nobody is sent out or blamed."""
    async with serve(limits={"bad_requests_per_minute": 1}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="d", type="json", content=["x" * 100] * 1000)
        await ada.call("document:join", document="d", client="a", type="json")
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=[{"p": [0], "ld": 0}])
        app.node.documents.context.labours.take(ada.user, 1_000_000.0)
        for _ in range(5):
            reply = await ada.ask("document:restore", document="d", seq=2, revision=1, to=0)
            assert reply["error"]["code"] == "rate_limited" and reply["error"]["retry_after"] > 0
        app.node.documents.context.labours.give_back(ada.user, 1_000_000.0)
        await ada.call("document:restore", document="d", seq=2, revision=1, to=0)
