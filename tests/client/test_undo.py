"""Undo, history, healing and long absences through the Python client against the real server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from syncline.client import RequestError, connect
from syncline.client.code_points import CodePoints
from syncline.core.ot.ot import Operation
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, Open, cut
from .texts import mirror, settle


async def test_undo_and_redo_leave_others_alone(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(codec=codec), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    held = mirror(document)
    origins: list[str] = []
    document.on_change(lambda operation, origin: origins.append(origin))
    assert (document.can_undo, await document.undo(), await document.redo()) == (0, False, False)
    document.insert(0, "🙂 from Ada, a long enough paste")
    await settle(document, other)
    other.insert(2, "Bob's ")
    await settle(document, other)
    assert document.can_undo == 1
    assert await document.undo()
    assert await settle(document, other) == "Bob's " == held[0]
    assert (document.can_undo, document.can_redo) == (0, 1)
    assert await document.redo()
    assert await settle(document, other) == "🙂 Bob's from Ada, a long enough paste" == held[0]
    assert origins == ["local", "remote", "undo", "redo"]


async def test_an_undo_waits_for_what_was_typed_before_it(open_client: Open) -> None:
    document = await (await open_client()).document("notes")
    document.insert(0, "a paste that is a step of its own.")
    undone = asyncio.create_task(document.undo())
    await asyncio.sleep(0)  # it stands in the queue
    document.insert(len(document), " And after.")
    assert await undone
    await document.settled()
    assert document.text == " And after."


async def test_an_undo_that_loses_its_connection(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    document.insert(0, "a paste that is a step of its own")
    await settle(document, other)
    clock.gate.clear()
    undone = asyncio.create_task(document.undo())
    await asyncio.sleep(0)
    cut(ada)
    await until(lambda: ada.state == "waiting")
    other.insert(0, "Bob's. ")
    clock.gate.set()
    assert await undone
    assert await settle(document, other) == "Bob's. "


async def test_a_client_id_that_is_kept_keeps_its_steps(open_client: Open) -> None:
    ada = await open_client()
    document = await ada.document("notes")
    document.insert(0, "a paste that is a step of its own")
    await document.settled()
    await document.leave()
    again = await ada.document("notes", client=document.client_id)
    assert again.can_undo == 1
    assert await again.undo()
    assert again.text == ""
    again.insert(0, "on it goes")
    await again.settled()
    stranger = await (await open_client()).document("notes")
    assert not await stranger.undo()


async def test_history_and_restore(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    document.insert(0, "🙂 one")
    await settle(document, other)
    other.delete(0, 2)
    await settle(document, other)
    other.insert(3, " two")
    await settle(document, other)
    history = await document.history(since=0)
    assert (history.revision, history.horizon) == (3, 0)
    assert [(entry.revision, entry.user, entry.kind) for entry in history.operations] == [
        (1, ada.user, "edit"),
        (2, bob.user, "edit"),
        (3, bob.user, "edit"),
    ]
    assert history.operations[1].operation == Operation([-2], "unicode")
    version = await document.text_at(1)
    assert (version.text, version.user, version.client) == ("🙂 one", ada.user, document.client_id)
    assert (await document.text_at(0)).user is None
    blame = await document.blame()
    assert [(one.length, one.user) for one in blame.ranges] == [(3, ada.user), (4, bob.user)]
    with pytest.raises(RequestError) as error:
        await document.restore(99)
    assert error.value.code == "revision_unknown"
    await document.restore(1)
    assert await settle(document, other) == "🙂 one"
    assert (await document.history(since=3)).operations[0].kind == "restore"
    assert await document.undo()
    assert await settle(document, other) == "one two"


async def test_a_reader_restores_nothing(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    await ada.create_document("notes", "fixed", default_role="reader")
    other = await bob.document("notes")
    with pytest.raises(RequestError) as error:
        await other.restore(0)
    assert error.value.code == "forbidden"
    with pytest.raises(RequestError):
        await other.undo()
    assert (await other.text_at(0)).text == "fixed"
    await other.settled()


async def test_a_damaged_text_is_healed_while_typing_goes_on(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, documents={"hash_operations": 2}) as app,
        await connect(ws_url(app), backoff=QUICK) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        document, other = await ada.document("notes"), await bob.document("notes")
        document.insert(0, "what everybody has")
        await settle(document, other)
        origins: list[str] = []
        other._state.view = CodePoints("what n?body has")
        held = mirror(other)

        def healed(operation: Operation, origin: str) -> None:
            origins.append(origin)

        other.on_change(healed)
        for number in range(4):
            document.insert(len(document), str(number))
            await document.settled()
        await until(lambda: other.healed == 1)
        other.insert(0, "typed: ")
        assert await settle(document, other) == "typed: what everybody has0123" == held[0]
        assert "healed" in origins
        assert app.node.counters.divergence_claims == 1
        assert document.healed == 0


@pytest.mark.parametrize("also_what_waits", [False, True])
async def test_a_damaged_text_is_healed_when_what_was_held_is_let_in(tmp_path: Path, also_what_waits: bool) -> None:
    """The application's ``release`` never raises for it."""
    async with (
        serving(tmp_path) as app,
        await connect(ws_url(app), backoff=QUICK) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        document, other = await ada.document("notes"), await bob.document("notes")
        document.insert(0, "what everybody has")
        await settle(document, other)
        other.hold()
        document.insert(len(document), "!")
        await until(lambda: other.held == 1)
        other._state.view = CodePoints("what n?body")
        if also_what_waits:
            other._state._confirmed = CodePoints("nothing")
        held = mirror(other)
        other.release()
        await until(lambda: other.healed == 1)
        assert await settle(document, other) == "what everybody has!" == held[0]
        await until(lambda: app.node.counters.divergence_claims == 1)


@pytest.mark.parametrize("length", [3, 30_000])
async def test_a_long_absence(tmp_path: Path, length: int) -> None:
    """Composites for a long text, the text itself for a short one; what was typed meanwhile is there once."""
    clock = GateClock()
    async with (
        serving(tmp_path, documents={"rejoin_operations": 10}) as app,
        await connect(ws_url(app), backoff=QUICK, clock=clock) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        document, other = await ada.document("notes"), await bob.document("notes")
        spans: list[int] = []
        document.on_committed(lambda committed: spans.append(committed.span))
        held = mirror(document)
        document.insert(0, "x" * length + "[]")
        await settle(document, other)
        clock.gate.clear()
        document.insert(length + 1, "mine")
        cut(ada)
        await until(lambda: ada.state == "waiting")
        document.insert(0, "first ")
        for number in range(40):
            other.insert(len(other), f"{number:04}")
            other.delete(0, 1)
            other.insert(0, "y")
            await other.settled()
        clock.gate.set()
        text = await settle(document, other)
        assert held[0] == text
        assert text.startswith("first y")
        assert text.count("first") == text.count("[mine]") == 1
        assert max(spans) > 1 if length > 1000 else document.error is None
        assert not document.lost_work
