"""Documents over the real server: submit, ack, transform, resubmission, roles, cursors, failures."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pytest

from syncline.server.app import App
from syncline.server.seams.outcome import Conflict, Unavailable
from syncline.server.seams.store import Turn
from tests.serving import Serve, leak_free
from tests.waiting import until

from .wsclient import dial, submit, text_of


async def test_two_write_at_once(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        state = await ada.call("document:join", document="d", client="a")
        assert (state["revision"], state["text"], state["role"], state["seq"], state["unit"]) == (
            0,
            "",
            "owner",
            0,
            "utf-16",
        )
        assert state["client"] == "a" and state["collaborators"] == [] and state["operations"] is None
        state = await bob.call("document:join", document="d", client="b")
        assert state["role"] == "editor" and [one["client"] for one in state["collaborators"]] == ["a"]
        told = await ada.push("document:collaborator_joined")
        assert (told["client"], told["user"], told["name"], told["role"]) == ("b", bob.user, "Bob", "editor")

        await submit(ada, 1, 0, ["Hello"])
        for client in (ada, bob):
            pushed = await client.push("document:operation")
            assert pushed == {
                "document": "d",
                "revision": 1,
                "operations": [{"client": "a", "seq": 1, "operation": ["Hello"]}],
            }
        # Concurrent, at the same place: the later to arrive goes left.
        await submit(ada, 2, 1, [5, " Ada"])
        await ada.push("document:operation", revision=2)
        await submit(bob, 1, 1, [5, " Bob"])
        assert (await ada.push("document:operation"))["operations"] == [
            {"client": "b", "seq": 1, "operation": [5, " Bob"]}
        ]
        assert await text_of(app) == ("Hello Bob Ada", 3)


async def test_single_component_form_and_reply(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        forms = [
            {"type": "insert", "position": 0, "content": "Hello world"},
            {"type": "delete", "position": 5, "length": 6},
            {"type": "replace", "position": 0, "length": 1, "content": "J"},
        ]
        for seq, form in enumerate(forms, 1):
            reply = await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=form)
            assert reply == {"document": "d", "revision": seq, "seq": seq}
        assert await text_of(app) == ("Jello", 3)


async def test_resubmission_commits_nothing_twice(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await submit(ada, 1, 0, ["x"])
        await submit(ada, 1, 0, ["x"])  # in the same turn, most likely
        await ada.push("document:operation", revision=1)
        assert await ada.push("document:ack") == {"document": "d", "seq": 1, "revision": 1}
        await submit(ada, 1, 0, ["x"])
        assert await ada.push("document:ack") == {"document": "d", "seq": 1, "revision": 1}
        assert (await ada.call("document:operation", document="d", seq=1, revision=0, operation=["x"]))["revision"] == 1
        assert (
            await ada.error("document:operation", document="d", seq=1, revision=0, operation=["y"])
            == "sequence_conflict"
        )
        assert await text_of(app) == ("x", 1)


async def test_refusals_change_nothing(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        assert await ada.error("document:operation", document="d", seq=1, revision=0, operation=["x"]) == "not_joined"
        await ada.call("document:join", document="d", client="a")
        await submit(ada, 1, 0, ["a😀b"])
        await ada.push("document:operation", revision=1)

        async def refused(operation: Any, revision: int = 1, seq: int = 2) -> str:
            return await ada.error("document:operation", document="d", seq=seq, revision=revision, operation=operation)

        assert await refused([9, "x"]) == "operation_out_of_range"
        assert await refused([2, "x"]) == "operation_invalid"  # between the halves of the face
        assert await refused([1, -1]) == "operation_invalid"
        assert await refused([0, "x"]) == "operation_invalid"
        assert await refused([1.5]) == "operation_invalid"
        assert await refused("x") == "operation_invalid"
        assert await refused({"type": "explode"}) == "operation_invalid"
        assert await refused(["x"], revision=7) == "revision_unknown"
        assert await refused(["x"], seq=0) == "invalid_data"
        await submit(ada, 2, 1, [9, "x"])
        pushed = await ada.push("error")
        assert (pushed["code"], pushed["document"], pushed["seq"]) == ("operation_out_of_range", "d", 2)
        assert await text_of(app) == ("a😀b", 1)


async def test_units(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b", unit="unicode")
        await submit(ada, 1, 0, ["😀😀"])
        await bob.push("document:operation", revision=1)
        await submit(bob, 1, 1, [1, "x"])
        assert (await ada.push("document:operation", revision=2))["operations"][0]["operation"] == [2, "x"]
        assert (await bob.push("document:operation", revision=2))["operations"][0]["operation"] == [1, "x"]
        await submit(ada, 2, 1, [4, "y"])  # concurrent with bob's
        assert (await bob.push("document:operation", revision=3))["operations"][0]["operation"] == [3, "y"]
        assert await text_of(app) == ("😀x😀y", 3)


async def test_returning_gets_what_it_missed(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        state = await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b")
        await submit(ada, 1, 0, ["one "])
        await ada.push("document:operation", revision=1)
        await ada.call("document:leave", document="d")
        assert (await bob.push("document:collaborator_left"))["client"] == "a"
        await submit(bob, 1, 1, ["two "])
        await bob.push("document:operation", revision=2)
        back = await ada.call("document:join", document="d", client="a", revision=0, generation=state["generation"])
        assert (back["revision"], back["text"], back["seq"]) == (2, None, 1)
        assert back["operations"] == [
            {"client": "a", "seq": 1, "operation": ["one "]},
            {"client": "b", "seq": 1, "operation": ["two "]},
        ]
        again = await ada.call("document:join", document="d", client="a", revision=2, generation="another")
        assert again["text"] == "two one " and again["operations"] is None
        reply = await ada.error("document:join", document="d", client="a", revision=9, generation=state["generation"])
        assert reply == "revision_unknown"


async def test_a_client_id_belongs_to_its_user(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Eve") as eve:
        await ada.call("document:join", document="d", client="a")
        assert await eve.error("document:join", document="d", client="a") == "client_taken"
        await submit(ada, 1, 0, ["x"])
        await ada.push("document:operation", revision=1)
        await ada.call("document:leave", document="d")
        assert await eve.error("document:join", document="d", client="a") == "client_taken"


async def test_a_join_that_is_refused_leaves_who_is_in_the_document_where_it_is(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Eve") as eve:
        await ada.call("document:join", document="d", client="a")
        await eve.call("document:join", document="d", client="e")
        assert await eve.error("document:join", document="d", client="a") == "client_taken"
        await submit(eve, 1, 0, ["x"])
        assert (await eve.push("document:operation", revision=1))["operations"][0]["client"] == "e"


@pytest.mark.parametrize(
    ("type_name", "content", "operation", "last"),
    [
        ("text", None, ["x" * 100_000], 1_500_000),
        ("rich-text", [], [{"insert": "x" * 100_000}], 1_500_000),
        ("json", {"k": ""}, [{"p": ["k", 0], "si": "x" * 100_000}], ("k", 1_500_000)),
    ],
)
async def test_who_is_told_that_more_follows_gets_the_cursors_when_it_has_all(
    serve: Serve, type_name: str, content: Any, operation: Any, last: Any
) -> None:
    """They stand in the text at the head: in what it has at first, they would be out of range."""
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        made = await ada.call("document:create", document="d", type=type_name, content=content)
        await ada.call("document:join", document="d", client="a")
        for seq in range(1, 16):
            await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=operation)
        await ada.send(
            {"event": "document:cursor", "data": {"document": "d", "revision": 15, "anchor": last, "head": last}}
        )
        await until(lambda: app.node.documents.live["d"].core.cursor("a") == (last, last))
        state = await bob.call("document:join", document="d", client="b", revision=0, generation=made["generation"])
        assert state["more"] and state["revision"] < 15
        [known] = state["collaborators"]
        assert (known["client"], known["anchor"], known["head"]) == ("a", None, None)
        revision = state["revision"]
        while True:
            pushed = await bob.take(lambda envelope: envelope["event"] in ("document:operation", "document:cursor"))
            if pushed["event"] == "document:cursor":
                break
            revision = pushed["data"]["revision"]
        assert revision == pushed["data"]["revision"] == 15
        shown = list(last) if isinstance(last, tuple) else last
        assert pushed["data"]["cursors"] == [{"client": "a", "anchor": shown, "head": shown}]


async def test_roles(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        created = await ada.call("document:create", document="d", text="hi", default_role="reader")
        assert created["revision"] == 0 and len(created["generation"]) == 16
        assert await bob.error("document:create", document="d") == "document_exists"
        assert (await ada.call("document:join", document="d", client="a"))["text"] == "hi"
        assert (await bob.call("document:join", document="d", client="b"))["role"] == "reader"
        assert await bob.error("document:operation", document="d", seq=1, revision=0, operation=["x"]) == "forbidden"
        assert await bob.error("document:grant", document="d", user=bob.user, role="editor") == "forbidden"
        await ada.call("document:grant", document="d", user=bob.user, role="editor")
        await bob.call("document:operation", document="d", seq=1, revision=0, operation=["x"])
        assert await ada.error("document:grant", document="d", user=ada.user, role=None) == "forbidden"
        await ada.call("document:create", document="private", default_role=None)
        assert await bob.error("document:join", document="private") == "forbidden"
        assert await text_of(app) == ("xhi", 1)


async def test_access_taken_away_at_once(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", default_role=None)
        await ada.call("document:join", document="d", client="a")
        await ada.call("document:grant", document="d", user=bob.user, role="editor")
        await bob.call("document:join", document="d", client="b")
        await ada.call("document:grant", document="d", user=bob.user, role=None)
        assert await bob.push("document:removed") == {"document": "d"}
        assert await bob.error("document:operation", document="d", seq=1, revision=0, operation=["x"]) == "not_joined"
        assert await bob.error("document:join", document="d", client="b") == "forbidden"
        assert (await ada.push("document:collaborator_left"))["client"] == "b"


async def test_documents_are_not_made_by_joins_when_configured_so(serve: Serve) -> None:
    async with serve(documents={"create_on_join": False, "idle_seconds": 0.0}) as app, dial(app.url, name="Ada") as ada:
        assert await ada.error("document:join", document="d") == "document_not_found"


async def test_cursors(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", text="0123456789")
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b", unit="unicode")
        await ada.call("document:cursor", document="d", revision=0, anchor=2, head=5)
        moved = await bob.push("document:cursor")
        assert moved == {"document": "d", "revision": 0, "cursors": [{"client": "a", "anchor": 2, "head": 5}]}
        await submit(bob, 1, 0, [3, "abc"])
        await bob.push("document:operation", revision=1)
        async with dial(app.url, name="Cy") as cy:
            state = await cy.call("document:join", document="d", client="c")
            cursors = {one["client"]: (one["anchor"], one["head"]) for one in state["collaborators"]}
            assert cursors == {"a": (2, 8), "b": (6, 6)}
        await ada.call("document:cursor", document="d", revision=0, anchor=5, head=5)  # made before bob's edit came
        assert (await bob.push("document:cursor"))["cursors"] == [{"client": "a", "anchor": 8, "head": 8}]
        await ada.call("document:cursor", document="d", revision=1, anchor=None, head=None)
        assert (await bob.push("document:cursor"))["cursors"] == [{"client": "a", "anchor": None, "head": None}]
        await ada.call("document:cursor", document="d", revision=1, anchor=999, head=0)  # nonsense is ignored
        assert not [one for one in await ada.flushed() if one["event"] == "document:cursor"]


async def test_many_in_one_turn_are_one_append(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[Turn] = []
    append = app.node.store.append

    def spy(document: str, generation: str, turn: Turn, done: Any) -> None:
        turns.append(turn)
        append(document, generation, turn, done)

    monkeypatch.setattr(app.node.store, "append", spy)
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        operations = [{"document": "d", "seq": seq, "revision": 0, "operation": [str(seq)]} for seq in range(1, 5)]
        await ada.send(*({"event": "document:operation", "data": data} for data in operations))
        pushed = await ada.push("document:operation")
        assert pushed["revision"] == 4 and [one["seq"] for one in pushed["operations"]] == [1, 2, 3, 4]
        assert [(turn.base, turn.count) for turn in turns] == [(0, 4)]
        assert await text_of(app) == ("4321", 4)


async def test_a_failed_commit_is_no_ack_and_everybody_heals(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    append = app.node.store.append
    for error in (Unavailable("disk full"), Conflict("another node")):
        document = type(error).__name__
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            state = await ada.call("document:join", document=document, client="a")
            await bob.call("document:join", document=document, client="b")
            await submit(ada, 1, 0, ["kept"], document)
            await bob.push("document:operation", revision=1)

            def broken(document: str, generation: str, turn: Turn, done: Any, error: Exception = error) -> None:
                done(None, error)

            monkeypatch.setattr(app.node.store, "append", broken)
            await submit(ada, 2, 1, ["lost? "], document)
            pushed = await ada.push("error")
            assert (pushed["code"], pushed["seq"]) == ("document_unavailable", 2)
            for client in (ada, bob):
                assert (await client.push("document:resync"))["document"] == document
            monkeypatch.setattr(app.node.store, "append", append)
            back = await ada.call(
                "document:join", document=document, client="a", revision=1, generation=state["generation"]
            )
            assert (back["revision"], back["seq"], back["operations"]) == (1, 1, [])
            await submit(ada, 2, 1, ["lost? "], document)
            await ada.push("document:operation", revision=2)
            assert await text_of(app, document) == ("lost? kept", 2)


async def test_a_failed_load_is_an_error_and_never_an_empty_text(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    async with dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await submit(ada, 1, 0, ["precious"])
        await ada.push("document:operation", revision=1)
        await ada.call("document:leave", document="d")
        await unloaded(app)
        load = app.node.store.load_document

        async def unavailable(document: str) -> None:
            raise Unavailable("no answer")

        async def damaged(document: str) -> Any:
            stored = await load(document)
            assert stored is not None
            stored.turns[:] = [Turn(turn.base, turn.count, b"\xff\x00" + turn.body) for turn in stored.turns]
            return type(stored)(stored.record, None, stored.turns or [Turn(0, 1, b"\xff")])

        monkeypatch.setattr(app.node.store, "load_document", unavailable)
        assert await ada.error("document:join", document="d") == "unavailable"
        monkeypatch.setattr(app.node.store, "load_document", damaged)
        assert await ada.error("document:join", document="d") == "document_unavailable"
        monkeypatch.undo()
        assert await text_of(app) == ("precious", 1)


async def unloaded(app: App) -> None:
    await until(lambda: not app.node.documents.live)


async def test_snapshots_bound_the_replay(serve: Serve) -> None:
    async with (
        serve(documents={"snapshot_operations": 10, "idle_seconds": 0.0}) as app,
        dial(app.url, name="Ada") as ada,
    ):
        generation = (await ada.call("document:join", document="d", client="a"))["generation"]
        for seq in range(1, 26):
            await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=[f"{seq} "])
        await ada.call("document:leave", document="d")
        await unloaded(app)
        stored = await app.node.store.load_document("d")
        assert (
            stored is not None and stored.snapshot is not None and stored.snapshot.revision == 25 and stored.turns == []
        )
        expected = "".join(f"{seq} " for seq in range(25, 0, -1))
        assert await text_of(app) == (expected, 25)
        # The log is still there: one who comes back from far behind gets every operation, and its old seq is known.
        await unloaded(app)
        back = await ada.call("document:join", document="d", client="a", revision=3, generation=generation)
        assert back["seq"] == 25 and [one["seq"] for one in back["operations"]] == list(range(4, 26))
        await submit(ada, 25, 24, ["25 "])
        assert (await ada.push("document:ack"))["revision"] == 25


async def test_a_large_text_is_not_stored_again_for_a_few_bytes(serve: Serve) -> None:
    async with (
        serve(documents={"snapshot_operations": 10}) as app,
        dial(app.url, name="Ada") as ada,
    ):
        await ada.call("document:create", document="d", text="x" * 100_000)
        await ada.call("document:join", document="d", client="a")
        stored = []
        for seq in range(1, 201):
            await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=["y"])
            stored.append(app.node.counters.snapshots)
        assert max(stored[:160]) == 1  # the first one: nothing is known of the size yet
        # 160 operations later, however few bytes they are.
        await until(lambda: app.node.counters.snapshots == 2)


async def test_an_operation_made_long_ago(serve: Serve) -> None:
    """Behind the window: the history is read from the store, and nothing is refused or applied wrongly."""
    async with serve(documents={"window_operations": 5, "idle_seconds": 0.0}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await ada.call("document:join", document="d", client="a")
            await bob.call("document:join", document="d", client="b")
            for seq in range(1, 41):
                await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=[f"{seq % 10}"])
            await submit(bob, 1, 1, [1, "END"])  # after the very first character
            await bob.push("document:operation", revision=41)
            text, _ = await text_of(app)
            assert text == "".join(str(seq % 10) for seq in range(40, 0, -1)) + "END"
            await submit(bob, 1, 1, [1, "END"])
            assert (await bob.push("document:ack"))["revision"] == 41


async def test_catching_up_over_many_frames_while_others_write(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        generation = (await ada.call("document:join", document="d", client="a"))["generation"]
        for seq in range(1, 5001):
            await submit(ada, seq, seq - 1, ["x"])
        await ada.push("document:operation", revision=5000)
        seq = 5000

        async def write() -> None:
            nonlocal seq
            while seq < 5300:
                seq += 1
                await submit(ada, seq, seq - 1, ["y"])
                await asyncio.sleep(0)

        writing = asyncio.create_task(write())
        state = await bob.call("document:join", document="d", client="b", revision=0, generation=generation)
        at = len(state["operations"])
        assert state["revision"] == at
        seqs = [one["seq"] for one in state["operations"]]
        while at < 5300:
            pushed = await bob.push("document:operation")
            seqs += [one["seq"] for one in pushed["operations"]]
            at += len(pushed["operations"])
            assert pushed["revision"] == at  # no gap, none twice
        await writing
        assert seqs == list(range(1, 5301))


async def test_everything_is_there_after_a_restart(serve: Serve, backend: str) -> None:
    if backend == "memory":
        return
    async with serve() as app, dial(app.url, name="Ada") as ada:
        token = (await ada.call("auth:refresh"))["token"]
        generation = (await ada.call("document:join", document="d", client="a"))["generation"]
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=["text"])
        position = (await ada.call("room:join", room="r"))["position"]
        await ada.call("message:send", room="r", data="said")
    async with serve() as app, dial(app.url, token=token) as ada:
        state = await ada.call("document:join", document="d", client="a", revision=0, generation=generation)
        assert (state["revision"], state["seq"], state["role"], len(state["operations"])) == (1, 1, "owner", 1)
        joined = await ada.call("room:join", room="r", recover=position)
        assert joined["recovered"] is True and [one["data"] for one in joined["publications"]] == ["said"]
        assert joined["role"] == "owner"
    await leak_free(app)


async def test_texts_larger_than_the_queue_can_be_opened(serve: Serve) -> None:
    """A state beyond limits.queue_bytes must not make its reader a slow consumer: it would come back for ever."""
    limits = {"queue_bytes": 1_100_000, "message_bytes": 1_048_576}
    async with serve(limits=limits) as app, dial(app.url, name="Ada") as ada:
        text = "0123456789abcdef" * 60_000
        for document in ("one", "two", "three"):
            await ada.call("document:create", document=document, text=text)
        requests = [
            {"event": "document:join", "data": {"document": name}, "id": 900 + at}
            for at, name in enumerate(("one", "two", "three"))
        ]
        await ada.send(*requests)
        for at in range(3):
            reply = await ada.take(lambda envelope, due=900 + at: envelope.get("id") == due)  # type: ignore[misc]
            assert reply["result"]["text"] == text
        # Grown by operations, over several of the limits.
        await ada.call("document:join", document="big", client="a")
        for seq in range(1, 5):
            await ada.call("document:operation", document="big", seq=seq, revision=seq - 1, operation=["x" * 900_000])
        assert (await text_of(app, "big"))[0] == "x" * 3_600_000


async def test_what_a_former_connection_left_waiting_cannot_meet_its_resubmission(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[Any] = []
    append = app.node.store.append

    def hold(document: str, generation: str, turn: Turn, done: Any) -> None:
        held.append((document, generation, turn, done))

    async with dial(app.url, name="Ada") as old, dial(app.url, name="Bob") as bob:
        token = (await old.call("auth:refresh"))["token"]
        generation = (await old.call("document:join", document="d", client="a"))["generation"]
        await bob.call("document:join", document="d", client="b")
        monkeypatch.setattr(app.node.store, "append", hold)
        await submit(bob, 1, 0, ["Bob"])
        await until(lambda: held)
        await submit(old, 1, 0, ["Ada"])  # waits behind the commit
        await until(lambda: app.node.documents.live["d"].pending == 1)
        async with dial(app.url, token=token) as new:
            join = {"document": "d", "client": "a", "revision": 0, "generation": generation}
            await new.send({"event": "document:join", "data": join, "id": 700})
            await until(lambda: app.node.documents.live["d"]._settled)  # the join waits for the end of the commit
            monkeypatch.setattr(app.node.store, "append", append)
            append(*held[0])
            state = (await new.take(lambda envelope: envelope.get("id") == 700))["result"]
            assert (state["revision"], state["seq"]) == (1, 0)
            await submit(new, 1, 1, [3, "Ada"])  # moved on, as the client's algorithm does
            await new.push("document:operation", revision=2)
            assert (
                await old.error("document:operation", document="d", seq=2, revision=1, operation=["x"]) == "not_joined"
            )
        assert await text_of(app) == ("BobAda", 2)


async def test_a_load_that_has_just_ended_is_not_waited_for_again(app: App) -> None:
    """The document is unloaded in the turn in which its load ends, before anything else hears of that end."""
    documents = app.node.documents.registry
    loading = asyncio.ensure_future(documents.open("d", "ada"))
    async with asyncio.timeout(10):
        while "d" not in documents.live:
            await asyncio.sleep(0)
        assert not loading.done()
        unloaded = documents.live["d"]
        documents._unload(unloaded)
        opened = await documents.open("d", "ada")
    assert opened is not unloaded and not opened.closed
    assert documents.live == {"d": opened}
    assert await loading is unloaded and documents._loading == {}


@pytest.mark.parametrize("type", ["text", "rich-text", "json"])
async def test_an_unloaded_document_is_freed_at_once(app: App, type: str) -> None:
    """By its references, not when the collector looks for cycles: that may be long after."""
    content = {"content": {"a": 1}} if type == "json" else {}
    edit = {"text": ["hello"], "rich-text": [{"insert": "hello"}], "json": [{"p": ["a"], "na": 1}]}[type]
    gc.collect()
    gc.disable()
    try:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
            await ada.call("document:create", document="d", type=type, **content)
            for client, id in ((ada, "a"), (bob, "b")):
                await client.call("document:join", document="d", client=id, type=type)
            live = weakref.ref(app.node.documents.live["d"])
            for seq in (1, 2, 3):
                await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=edit)
            await ada.call("document:undo", document="d", seq=4, revision=3)
            await ada.send(
                {"event": "document:cursor", "data": {"document": "d", "revision": 3, "anchor": 0, "head": 1}}
            )
            await ada.call("document:history", document="d")
            await ada.call(
                "document:blame" if type == "text" else "document:at",
                document="d",
                **({} if type == "text" else {"revision": 1}),
            )
            assert await bob.error("document:operation", document="d", seq=1, revision=0, operation=7) != ""
            for client in (ada, bob):
                await client.call("document:leave", document="d")
            await until(lambda: not app.node.documents.live)
            assert live() is None, gc.get_referrers(live())
    finally:
        gc.enable()
