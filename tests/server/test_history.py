"""Old history over the real server: texts of old revisions, pages, blame; merging, checkpoints, pruning behind it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from syncline.core.ot.ot import Operation, apply
from syncline.core.storage.commits import decode_entries
from syncline.server.app import App
from syncline.server.seams.outcome import Unavailable
from syncline.server.seams.store import Turn
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial

#: Everything happens early: a hundred operations are a long history here.
SMALL: dict[str, Any] = {
    "idle_seconds": 3600.0,
    "snapshot_operations": 10,
    "window_operations": 20,
    "compact_operations": 30,
    "block_bytes": 400,
    "checkpoint_operations": 70,
    "checkpoint_bytes": 100_000,
    "block_time_seconds": 0.001,
}


class Author:
    """Writes at the head and remembers every text."""

    def __init__(self, app: App, client: Wire, seed: int = 1) -> None:
        self.app = app
        self.client = client
        self.rng = random.Random(seed)
        self.texts = [""]
        self.seq = 0

    async def join(self, document: str = "d", **data: Any) -> dict[str, Any]:
        state: dict[str, Any] = await self.client.call("document:join", document=document, client="a", **data)
        return state

    async def write(self, count: int) -> None:
        for _ in range(count):
            text = self.texts[-1]
            at = self.rng.randint(0, len(text))
            operation: list[Any] = [at] if at else []
            operation.append(self.rng.choice(["x", "yz", "é", "a word "]))
            if at < len(text) and self.rng.random() < 0.3:
                operation.append(-1)
            self.seq += 1
            reply = await self.client.call(
                "document:operation", document="d", seq=self.seq, revision=len(self.texts) - 1, operation=operation
            )
            self.texts.append(apply(text, Operation(operation)))
            assert reply["revision"] == len(self.texts) - 1


@pytest.fixture
async def app(serve: Serve) -> AsyncIterator[App]:
    async with serve(documents=SMALL) as running:
        yield running


async def at_rest(app: App) -> None:
    """Returns when nothing waits for compaction."""
    await until(lambda: app.node.documents.compaction._worker is None)


async def all_turns(app: App) -> list[Turn]:
    state = await app.node.store.document_state("d")
    assert state is not None
    return await app.node.store.turns("d", 0, state.revision)


async def expect_texts(app: App, client: Wire, texts: list[str], start: int = 0) -> None:
    for revision in range(start, len(texts)):
        found = await client.call("document:at", document="d", revision=revision)
        assert (found["revision"], found["text"], found["type"]) == (revision, texts[revision], "text")


async def test_a_history_is_merged_while_it_grows_and_nothing_is_lost(app: App) -> None:
    async with dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        await author.join()
        await author.write(200)
        await at_rest(app)
        state = await app.node.store.document_state("d")
        live = app.node.documents.live["d"]
        assert state is not None and 100 <= state.compacted <= live.core.floor <= 190
        turns = await all_turns(app)
        assert [turn.base for turn in turns] == [0, *(turn.base + turn.count for turn in turns[:-1])]
        blocks = [turn for turn in turns if turn.count > 1]
        assert len(blocks) > 1
        assert sum(turn.count for turn in turns if turn.base < state.compacted) == state.compacted
        assert all(turn.count == 1 for turn in turns if turn.base >= state.compacted)
        entries = [entry for turn in turns for entry in decode_entries(turn.body)]
        assert [entry.seq for entry in entries] == list(range(1, 201))
        await expect_texts(app, ada, author.texts)
        assert app.node.counters.blocks >= len(blocks) and app.node.counters.block_bytes > 0
        assert app.node.counters.history_failures == 0
        # One who comes back from far behind reads blocks, and an old number is known.
        back = await author.join(revision=3, generation=live.core.generation)
        assert [one["seq"] for one in back["operations"]] == list(range(4, 201))


async def test_an_idle_document_is_merged_to_its_end(serve: Serve) -> None:
    async with serve(documents={**SMALL, "idle_seconds": 0.0, "window_operations": 10_000}) as app:
        async with dial(app.url, name="Ada") as ada:
            author = Author(app, ada)
            await author.join()
            await author.write(90)
            await at_rest(app)
            assert all(turn.count == 1 for turn in await all_turns(app))  # the window reaches to the beginning
            await ada.call("document:leave", document="d")
            await until(lambda: not app.node.documents.live)
            await at_rest(app)
            state = await app.node.store.document_state("d")
            assert state is not None and state.compacted == state.revision == 90
            await expect_texts(app, ada, author.texts)
            assert (await author.join())["text"] == author.texts[-1]
            await author.write(3)


async def test_checkpoints_shorten_the_way_and_are_thinned(serve: Serve) -> None:
    async with serve(documents={**SMALL, "checkpoints": 3}) as app, dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        await author.join()
        await author.write(600)
        await at_rest(app)
        revisions = await app.node.store.checkpoints("d")
        assert len(revisions) == 3 and app.node.counters.checkpoints > 3
        assert revisions == sorted(revisions) and revisions[-1] > 300
        for revision in (*revisions, revisions[0] - 1, revisions[1] + 1, 0, 600):
            found = await ada.call("document:at", document="d", revision=revision)
            assert found["text"] == author.texts[revision]
        stored = await app.node.store.load_document("d", revisions[1] + 1)
        assert stored is not None and stored.snapshot is not None and stored.snapshot.revision == revisions[1]


async def test_pages_of_operations(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
        author = Author(app, ada)
        await author.join()
        await author.write(120)
        await at_rest(app)
        before = author.texts[-1]
        await bob.call("document:join", document="d", client="b", unit="unicode")
        await bob.call("document:operation", document="d", seq=7, revision=120, operation=["💃"])
        await bob.call("document:operation", document="d", seq=8, revision=121, operation=[1, "z"])
        text, since = "", 0
        page: dict[str, Any] = {}
        while since < 122:
            page = await ada.call("document:history", document="d", since=since, limit=50)
            assert (page["document"], page["revision"], page["horizon"]) == ("d", 122, 0)
            assert [one["revision"] for one in page["operations"]] == list(range(since + 1, min(since + 50, 122) + 1))
            for one in page["operations"]:
                text = apply(text, Operation(one["operation"]))
            since = page["operations"][-1]["revision"]
        assert text == "💃z" + before
        assert page["operations"][-1] == {
            "revision": 122,
            "client": "b",
            "user": bob.user,
            "time": page["operations"][-1]["time"],
            "operation": [2, "z"],
        }
        assert abs(page["operations"][-1]["time"] - app.node.clock.time()) < 60
        [last] = (await bob.call("document:history", document="d", limit=1, unit="unicode"))["operations"]
        assert (last["revision"], last["operation"]) == (122, [1, "z"])
        assert (await ada.call("document:history", document="d", since=122))["operations"] == []
        assert await ada.error("document:history", document="d", since=123) == "revision_unknown"
        assert await ada.error("document:history", document="d", limit=1001) == "invalid_data"
        at = await ada.call("document:at", document="d", revision=121)
        assert (at["text"], at["user"], at["client"]) == ("💃" + before, bob.user, "b")
        assert (await ada.call("document:at", document="d", revision=0))["user"] is None
        assert await ada.error("document:at", document="d", revision=123) == "revision_unknown"


async def test_a_page_of_long_operations_is_short(serve: Serve) -> None:
    async with serve(limits={"message_bytes": 4096}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        for seq in range(1, 6):
            operation = ["x" * 3000]
            await ada.call("document:operation", document="d", seq=seq, revision=seq - 1, operation=operation)
        page = await ada.call("document:history", document="d", since=0)
        assert [one["revision"] for one in page["operations"]] == [1]


async def test_who_wrote_what(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", text="Once 💃 ")
        await ada.call("document:join", document="d", client="a")
        await bob.call("document:join", document="d", client="b")
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=[8, "upon"])
        await bob.call("document:operation", document="d", seq=1, revision=1, operation=[12, " a time"])
        await ada.call("document:operation", document="d", seq=2, revision=2, operation=[5, "!", -2])
        text = "Once ! upon a time"
        assert (await ada.call("document:at", document="d", revision=3))["text"] == text

        def told(blame: dict[str, Any]) -> list[tuple[int, int, str | None, str | None]]:
            assert (blame["document"], blame["revision"], blame["horizon"]) == ("d", 3, 0)
            assert all((one["time"] is None) == (one["user"] is None) for one in blame["ranges"])
            return [(one["length"], one["revision"], one["user"], one["client"]) for one in blame["ranges"]]

        whole = [
            (5, 0, None, None),
            (1, 3, ada.user, "a"),
            (1, 0, None, None),
            (4, 1, ada.user, "a"),
            (7, 2, bob.user, "b"),
        ]
        assert told(await ada.call("document:blame", document="d")) == whole
        part = await bob.call("document:blame", document="d", start=5, end=9)
        assert told(part) == [(1, 3, ada.user, "a"), (1, 0, None, None), (2, 1, ada.user, "a")]
        assert told(await bob.call("document:blame", document="d", start=18)) == []
        await bob.call("document:operation", document="d", seq=2, revision=3, operation=["😀😀"])
        points = await bob.call("document:blame", document="d", unit="unicode", end=3)
        assert [(one["length"], one["user"]) for one in points["ranges"]] == [(2, bob.user), (1, None)]
        units = await bob.call("document:blame", document="d", end=5)
        assert [(one["length"], one["user"]) for one in units["ranges"]] == [(4, bob.user), (1, None)]
        for start, end in ((0, 23), (5, 4), (30, 40)):
            assert await ada.error("document:blame", document="d", start=start, end=end) == "invalid_data"
        assert await ada.error("document:blame", document="d", start=1) == "operation_invalid"  # in a pair


async def test_blame_goes_back_so_far_and_no_further(serve: Serve) -> None:
    async with serve(documents={**SMALL, "blame_operations": 1000}) as app, dial(app.url, name="Ada") as ada:
        revisions, config = app.node.documents.revisions, app.node.config
        # Below what the configuration allows.
        revisions._config = replace(config, documents=replace(config.documents, blame_operations=40))
        author = Author(app, ada)
        await author.join()
        await author.write(100)
        await at_rest(app)
        blame = await ada.call("document:blame", document="d")
        assert blame["horizon"] == 60
        assert {one["revision"] for one in blame["ranges"] if one["user"] is None} == {60}
        assert all(one["revision"] > 60 for one in blame["ranges"] if one["user"] is not None)
        assert sum(one["length"] for one in blame["ranges"]) == len(author.texts[-1])


@pytest.mark.parametrize("name", ["rich-text", "json"])
async def test_other_types_have_a_history_too(serve: Serve, name: str) -> None:
    async with serve(documents={**SMALL, "history": "checkpoints"}) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:create", document="d", type=name, content=[] if name == "rich-text" else {})
        state = await ada.call("document:join", document="d", client="a")
        contents = [state["content"]]
        operation: list[dict[str, Any]] = []
        for seq in range(1, 151):
            operation = [{"insert": f"{seq} "}] if name == "rich-text" else [{"p": [f"k{seq}"], "oi": seq}]
            data = {"document": "d", "seq": seq, "revision": seq - 1, "operation": operation}
            await ada.call("document:operation", **data)
            if name == "rich-text":
                contents.append([{"insert": "".join(f"{one} " for one in range(seq, 0, -1))}])
            else:
                contents.append({f"k{one}": one for one in range(1, seq + 1)})
        await at_rest(app)
        stored = await app.node.store.document_state("d")
        assert stored is not None and 50 < stored.horizon < 140
        assert app.node.counters.history_failures == 0 and app.node.counters.blocks > 0
        for revision in (*await app.node.store.checkpoints("d"), *range(stored.horizon, 151, 7), 150):
            at = await ada.call("document:at", document="d", revision=revision)
            assert (at["type"], at["content"], "text" in at) == (name, contents[revision], False)
        page = await ada.call("document:history", document="d", since=148)
        assert [one["revision"] for one in page["operations"]] == [149, 150]
        assert page["operations"][-1]["operation"] == operation
        assert await ada.error("document:blame", document="d") == "invalid_data"
        await ada.call("document:restore", document="d", seq=151, revision=150, to=stored.horizon)
        at = await ada.call("document:at", document="d", revision=151)
        assert at["content"] == contents[stored.horizon]
        [last] = (await ada.call("document:history", document="d", limit=1))["operations"]
        assert last["kind"] == "restore"


async def test_readers_read_and_strangers_do_not(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Eve") as eve:
        await ada.call("document:create", document="d", text="secret", default_role=None)
        await ada.call("document:join", document="d")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("document:history", {}),
            ("document:at", {"revision": 0}),
            ("document:blame", {}),
        ]
        for event, data in calls:
            assert await eve.error(event, document="d", **data) == "forbidden"
            assert await eve.error(event, document="nowhere", **data) == "document_not_found"
        await ada.call("document:grant", document="d", user=eve.user, role="reader")
        for event, data in calls:
            await eve.call(event, document="d", **data)
        assert "nowhere" not in app.node.documents.live


# Retention ------------------------------------------------------------------------------------------------------------


async def test_only_the_window_and_checkpoints_are_kept(serve: Serve) -> None:
    async with serve(documents={**SMALL, "history": "checkpoints"}) as app, dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        generation = (await author.join())["generation"]
        await author.write(400)
        await at_rest(app)
        state = await app.node.store.document_state("d")
        assert state is not None and 300 <= state.horizon <= 380
        assert app.node.counters.operations_pruned == state.horizon
        assert (await all_turns(app))[0].base == state.horizon
        checkpoints = await app.node.store.checkpoints("d")
        assert state.horizon in checkpoints and len(checkpoints) > 2
        await expect_texts(app, ada, author.texts, state.horizon)
        for revision in checkpoints:  # texts that are kept without the operations between them
            assert (await ada.call("document:at", document="d", revision=revision))["text"] == author.texts[revision]
        lost = next(revision for revision in range(1, state.horizon) if revision not in checkpoints)
        between = next(one for one in range(checkpoints[0] + 1, state.horizon) if one not in checkpoints)
        for data in ({"revision": lost}, {"revision": 0}, {"revision": between}):
            assert await ada.error("document:at", document="d", **data) == "history_trimmed"
        assert await ada.error("document:history", document="d", since=0) == "history_trimmed"
        page = await ada.call("document:history", document="d", limit=1000)
        assert page["horizon"] == state.horizon
        assert [one["revision"] for one in page["operations"]] == list(range(state.horizon + 1, 401))
        blame = await ada.call("document:blame", document="d")
        assert blame["horizon"] == state.horizon
        # Work goes on, also for one who comes from below the horizon with nothing of its own.
        await author.write(5)
        old = {"client": "b", "revision": 0, "generation": generation}
        assert await ada.error("document:join", document="d", **old) == "history_trimmed"
        assert (await author.join())["text"] == author.texts[-1]


async def test_an_operation_from_below_the_horizon_fails_alone(serve: Serve) -> None:
    """Its client joins again and moves its work; those who wrote at the same time do not notice."""
    async with serve(documents={**SMALL, "history": "checkpoints"}) as app, dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        generation = (await author.join())["generation"]
        await author.write(300)
        await at_rest(app)
        async with dial(app.url, name="Bob") as bob:
            await bob.call("document:join", document="d", client="b")
            late = {"document": "d", "seq": 1, "revision": 3, "operation": ["late"]}
            answers = await asyncio.gather(bob.ask("document:operation", **late), author.write(1))
            assert answers[0]["error"]["code"] == "document_unavailable"
            await bob.push("document:resync")
            await author.write(1)
            old = {"client": "b", "revision": 3, "generation": generation, "pending": [late]}
            state = await bob.call("document:join", document="d", **old)
            assert state["rebased"] is True and state["text"] == author.texts[-1]
            data = {"document": "d", "seq": 2, "revision": state["revision"], "operation": ["late"]}
            assert (await bob.call("document:operation", **data))["revision"] == 303


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_pruned_document_loads_again(serve: Serve) -> None:
    async with serve(documents={**SMALL, "history": "checkpoints"}) as app, dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        await author.join()
        await author.write(200)
        await at_rest(app)
    async with serve(documents={**SMALL, "history": "checkpoints"}) as app, dial(app.url, name="Bob") as bob:
        state = await app.node.store.document_state("d")
        assert state is not None and state.horizon > 0
        joined = await bob.call("document:join", document="d", client="b")
        assert (joined["text"], joined["revision"]) == (author.texts[-1], 200)
        await bob.call("document:operation", document="d", seq=1, revision=200, operation=["on and on"])


async def test_operations_of_old_days_go(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = {**SMALL, "history": "days=30", "retention_seconds": 1.0}
    async with serve(documents=documents) as app, dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        await author.join()
        now, clock = app.node.clock.time(), app.node.clock
        for days_ago, count in ((100, 60), (40, 60), (10, 60)):
            monkeypatch.setattr(clock, "time", lambda days_ago=days_ago: now - 86_400 * days_ago)
            await author.write(count)
        monkeypatch.setattr(clock, "time", lambda: now)
        await author.write(60)
        await until(lambda: app.node.counters.operations_pruned >= 110)
        await at_rest(app)
        state = await app.node.store.document_state("d")
        assert state is not None and 110 <= state.horizon <= 120
        assert min(turn.created_at for turn in await all_turns(app)) >= now - 86_400 * 41
        assert await app.node.store.checkpoints("d") == [
            one for one in await app.node.store.checkpoints("d") if one >= state.horizon
        ]
        await expect_texts(app, ada, author.texts, state.horizon)
        assert await ada.error("document:at", document="d", revision=state.horizon - 1) == "history_trimmed"


async def test_upkeep_survives_a_store_that_does_not_answer_and_a_damaged_turn(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with dial(app.url, name="Ada") as ada:
        author = Author(app, ada)
        await author.join()

        async def unavailable(*args: Any) -> Any:
            raise Unavailable("no answer")

        with monkeypatch.context() as patch:
            patch.setattr(app.node.store, "replace_turns", unavailable)
            await author.write(80)
            await at_rest(app)
        assert app.node.counters.history_failures > 0 and app.node.counters.blocks == 0
        turns = app.node.store.turns
        with monkeypatch.context() as patch:

            async def damaged(document: str, since: int, until: int) -> list[Turn]:
                return [replace(turn, count=turn.count + 1) for turn in await turns(document, since, until)]

            patch.setattr(app.node.store, "turns", damaged)
            await author.write(20)
            await at_rest(app)
        assert app.node.counters.blocks == 0
        await author.write(20)
        await at_rest(app)
        assert app.node.counters.blocks > 0
        await expect_texts(app, ada, author.texts)
