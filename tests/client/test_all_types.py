"""What a handle of a document of any type can, through a real server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Committed, Document, Rebased, RequestError, connect, documents
from syncline.core.errors import ErrorCode, SynclineError
from syncline.core.ot.ot import Operation
from syncline.server.documents import catching_up
from syncline.server.documents import join as document_join
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, Open, cut

#: Of each type: a content, an edit of it, what that gives, an edit at its end, the two as the server undoes them.
FIRST: dict[str, Any] = {"text": "ab", "rich-text": [{"insert": "ab"}], "json": {"s": "ab"}}
EDIT: dict[str, Any] = {"text": ["x"], "rich-text": [{"insert": "x"}], "json": [{"p": ["s", 0], "si": "x"}]}
EDITED: dict[str, Any] = {"text": "xab", "rich-text": [{"insert": "xab"}], "json": {"s": "xab"}}
every_type = pytest.mark.parametrize("kind", [*FIRST])


async def two(open_client: Open, kind: str, **options: Any) -> tuple[Document, Document]:
    ada, bob = await open_client(**options), await open_client()
    await ada.create_document("d", type=kind, **{"text" if kind == "text" else "content": FIRST[kind]})  # type: ignore[arg-type]
    return await ada.document("d", type=kind), await bob.document("d", type=kind)


def plain(operation: Any) -> Any:
    return operation.components if isinstance(operation, Operation) else operation


@every_type
async def test_history_and_contents_of_then(open_client: Open, codec: str, kind: str) -> None:
    mine, theirs = await two(open_client, kind, codec=codec)
    mine.apply(EDIT[kind])
    await mine.settled()
    assert await mine.undo()
    history = await theirs.history(since=0)
    assert [(entry.revision, entry.client, entry.kind) for entry in history.operations] == [
        (1, mine.client_id, "edit"),
        (2, mine.client_id, "undo"),
    ]
    kind_of = mine._state.type
    assert plain(history.operations[0].operation) == kind_of.describe(kind_of.parse(EDIT[kind]))
    assert (history.revision, history.horizon) == (2, 0)
    then = [await theirs.content_at(revision) for revision in (0, 1, 2)]
    assert [version.content for version in then] == [FIRST[kind], EDITED[kind], FIRST[kind]]
    assert then[1].client == mine.client_id and then[0].user is None
    with pytest.raises(RequestError) as error:
        await mine.content_at(9)
    assert error.value.code == "revision_unknown"


@every_type
async def test_what_is_committed_is_told_and_what_is_sent_can_be_awaited(open_client: Open, kind: str) -> None:
    mine, theirs = await two(open_client, kind)
    told: list[Committed] = []
    theirs.on_committed(told.append)
    mine.apply(EDIT[kind])
    await mine.sent()
    mine.apply(EDIT[kind])  # another operation
    await mine.settled()
    theirs.apply(EDIT[kind])
    await theirs.settled()
    assert [(one.revision, one.own, one.seq) for one in told] == [(1, False, 1), (2, False, 2), (3, True, 1)]


@every_type
async def test_who_was_away_too_long_is_told_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    clock = GateClock()
    async with serving(tmp_path) as app, await connect(ws_url(app), backoff=QUICK, clock=clock) as ada:
        await ada.create_document("d", type=kind, **{"text" if kind == "text" else "content": FIRST[kind]})  # type: ignore[arg-type]
        document = await ada.document("d", type=kind)
        told: list[Rebased] = []
        origins: list[str] = []
        document.on_rebased(told.append)
        document.on_change(lambda operation, origin: origins.append(origin))
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
        document.apply(EDIT[kind])
        async with await connect(ws_url(app), backoff=QUICK) as bob:
            other = await bob.document("d", type=kind)
            other.apply(EDIT[kind])
            await other.settled()
            read = document_join.history

            async def gone(*args: Any) -> Any:
                raise SynclineError(ErrorCode.HISTORY_TRIMMED, "for the test")

            for place in (document_join, catching_up):
                monkeypatch.setattr(place, "history", gone)
            clock.gate.set()
            await document.settled()
            for place in (document_join, catching_up):
                monkeypatch.setattr(place, "history", read)
            await other.wait_for(lambda: other.revision == document.revision)
            assert other.content == document.content and str(document.content).count("x") == 2
        assert len(told) == 1 and told[0].before == EDITED[kind] and str(told[0].content).count("x") == 2
        assert plain(told[0].operation) == document._state.type.describe(document._state.type.parse(EDIT[kind]))
        assert origins == ["local", "rebased"] and not document.lost_work


async def test_cursors_in_a_rich_text(open_client: Open) -> None:
    mine, theirs = await two(open_client, "rich-text")
    assert {one.name for one in mine.collaborators.values()} == {theirs._client.name}
    assert not mine.cursors
    theirs.set_cursor(1, 2)
    await until(lambda: mine.cursors.get(theirs.client_id) == (1, 2))
    mine.apply([{"insert": {"image": "x"}}])
    assert mine.cursors[theirs.client_id] == (2, 3)
    await mine.settled()
    await theirs.wait_for(lambda: theirs.revision == 1)
    theirs.apply([{"retain": 2}, {"insert": "!"}])
    await theirs.settled()
    await until(lambda: mine.cursors.get(theirs.client_id) == (3, 3))  # behind what it did
    assert mine.collaborators[theirs.client_id].anchor == 3
    with pytest.raises(SynclineError):
        theirs.set_cursor(99)
    for wrong in (-1, "1", [1], 1.0):
        with pytest.raises(SynclineError):
            theirs.set_cursor(wrong)
    theirs.set_cursor(None)
    await until(lambda: not mine.cursors)
    await theirs.leave()
    await until(lambda: not mine.collaborators)


async def test_what_is_typed_in_a_string_without_a_connection_is_undone_by_words(open_client: Open) -> None:
    clock = GateClock()
    mine, theirs = await two(open_client, "json", clock=clock)
    clock.gate.clear()
    cut(mine._client)
    await until(lambda: mine._client.state == "waiting")
    for at, letter in enumerate(" one two"):
        mine.apply([{"p": ["s", 2 + at], "si": letter}])
    for _ in range(2):
        mine.apply([{"p": ["s", len(mine.content["s"]) - 1], "sd": mine.content["s"][-1]}])
    mine.apply([{"p": ["n"], "oi": 1}])
    clock.gate.set()
    await mine.settled()
    seen = []
    for _ in range(5):
        assert await mine.undo()
        seen.append(mine.content)
    assert seen == [{"s": "ab one t"}, {"s": "ab one two"}, {"s": "ab one "}, {"s": "ab "}, {"s": "ab"}]
    await until(lambda: theirs.content == FIRST["json"])


@every_type
async def test_what_arrives_can_be_held_back(open_client: Open, kind: str) -> None:
    mine, theirs = await two(open_client, kind)
    mine.hold()
    theirs.apply(EDIT[kind])
    await theirs.settled()
    await until(lambda: mine.held == 1)
    assert mine.content == FIRST[kind]
    mine.release()
    assert mine.content == EDITED[kind]
    await asyncio.gather(mine.settled(), theirs.settled())


class SlowClock(GateClock):
    """A second passes whenever somebody looks: whatever is done in slices is done in the smallest."""

    def monotonic(self) -> float:
        self.ahead += 1.0
        return super().monotonic()


@every_type
@pytest.mark.parametrize("most", [1000, 0])
async def test_a_long_absence_is_taken_in_while_others_run(
    open_client: Open, monkeypatch: pytest.MonkeyPatch, kind: str, most: int
) -> None:
    """In slices, in order, also with what comes meanwhile, and with callbacks that edit; unless too much waits behind it."""
    monkeypatch.setattr(documents, "MOST_IN_LINE", most)
    clock = SlowClock()
    mine, theirs = await two(open_client, kind, clock=clock)
    clock.gate.clear()
    cut(mine._client)
    await until(lambda: mine._client.state == "waiting")
    mine.apply(EDIT[kind])
    for _ in range(40):
        theirs.apply(EDIT[kind])
        await theirs.settled()
    turns, done, seen, told = 0, False, list[int](), list[int]()

    async def another() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    def heard(operation: Any, origin: str) -> None:
        seen.append(turns)
        if len(seen) == 5:
            mine.apply(EDIT[kind])
            theirs.apply(EDIT[kind])

    mine.on_change(heard)
    mine.on_committed(lambda one: told.append(one.revision))
    task = asyncio.create_task(another())
    clock.gate.set()
    await mine.settled()
    await theirs.settled()
    head = max(mine.revision, theirs.revision)
    for document in (mine, theirs):
        await document.wait_for(lambda document=document: document.revision >= head)  # type: ignore[misc]
    done = True
    await task
    assert mine.content == theirs.content and str(mine.content).count("x") == 43
    assert told == [*range(1, head + 1)] and len(seen) == 42
    assert len({*seen}) >= 40 if most else len({*seen}) <= 5
