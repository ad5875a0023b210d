"""Leaving and closing: what was done just before is on the server, or it is said what is not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from syncline.client import Closed, Disconnected, Document, Options, Room, TextDocument
from tests.waiting import until

from .links import GateClock, Open, cut, hold

TYPES = ["text", "rich-text", "json"]


def write(document: Document, word: str) -> None:
    if isinstance(document, TextDocument):
        document.insert(0, word)
    elif document.type == "json":
        document.apply([{"p": [], "od": None, "oi": word}])
    else:
        document.apply([{"insert": word}])


def seen(document: Document) -> Any:
    return document.text if isinstance(document, TextDocument) else document.content


WRITTEN: dict[str, Any] = {"text": "word", "json": "word", "rich-text": [{"insert": "word"}]}


@pytest.mark.parametrize("type", TYPES)
@pytest.mark.parametrize("end", ["leave", "with", "close", "client"])
async def test_an_edit_just_before_the_end_is_on_the_server(open_client: Open, type: Any, end: str) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    document = await ada.document("notes", type=type)
    write(document, "word")
    if end == "leave":
        assert await document.leave() == 0
    elif end == "with":
        async with document:
            pass
    elif end == "close":
        assert await ada.close() == 0
    else:
        async with ada:
            pass
    assert isinstance(document.error, Closed)
    assert not document.lost_work
    assert seen(await bob.document("notes", type=type)) == WRITTEN[type]


@pytest.mark.parametrize("retry", [True, False])
@pytest.mark.parametrize("end", ["leave", "with", "close"])
async def test_a_message_just_before_the_end_is_sent(open_client: Open, end: str, retry: bool) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    room = await ada.join("team")
    sends = [asyncio.create_task(room.send(number, retry=retry)) for number in range(3)]
    if end == "leave":
        assert await room.leave() == 0
    elif end == "close":
        assert await ada.close() == 0
    else:
        async with room:
            pass
    assert [position.offset for position in await asyncio.gather(*sends)] == [1, 2, 3]
    assert [publication.data for publication in (await bob.join("team", history=9)).history] == [0, 1, 2]


async def test_an_edit_waits_for_the_next_connection(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, room = await ada.document("notes"), await ada.join("team")
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    document.insert(0, "word")
    sending = asyncio.create_task(room.send("hello"))
    closing = asyncio.create_task(ada.close(settle_seconds=60))
    await until(lambda: len(document._conditions) > 0 and room._sending == 1)
    assert not closing.done()
    clock.gate.set()
    assert await closing == 0
    await sending
    assert (await bob.document("notes")).text == "word"


@pytest.mark.parametrize("type", TYPES)
async def test_what_cannot_be_sent_in_time_is_said(
    open_client: Open, type: Any, caplog: pytest.LogCaptureFixture
) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    document, room, other = (
        await ada.document("notes", type=type),
        await ada.join("team"),
        await ada.document("other", type=type),
    )
    lost: list[Any] = []
    document.on_lost_work(lost.append)
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    write(document, "word")
    write(other, "word")
    sending = asyncio.create_task(room.send("hello"))
    with caplog.at_level(logging.WARNING, "syncline.client"):
        assert await document.leave(settle_seconds=0.01) == 1
        assert await document.leave() == 1, "the same when asked again"
        assert await ada.close(settle_seconds=0.01) == 2  # the other document's edit and the message
    with pytest.raises(Closed):
        await sending
    assert lost == [*document.lost_work]
    [work] = document.lost_work
    assert seen(document) == work.content == WRITTEN[type]
    assert len(other.lost_work) == 1
    said = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("document 'notes' has ended (the document was left)") for line in said)
    assert any(line.startswith("document 'other' has ended (the client was closed)") for line in said)
    assert any(line.startswith("room 'team' has ended") and "1 messages" in line for line in said)


@pytest.mark.parametrize("type", TYPES)
async def test_a_handle_that_ends_by_itself_hands_its_edits_back(open_client: Open, type: Any) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", clock=(clock := GateClock()))
    await ada.create_document("notes", type=type, default_role=None)
    document = await ada.document("notes", type=type)
    await document.grant(bob.user, "editor")
    other = await bob.document("notes", type=type)
    clock.gate.clear()
    cut(bob)
    await until(lambda: bob.state == "waiting")
    write(other, "word")
    await document.grant(bob.user, None)
    clock.gate.set()
    await until(lambda: other.error is not None)
    assert len(other.lost_work) == 1
    assert await document.leave() == 0


async def test_opened_again_while_it_is_left_it_stays(open_client: Open) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    document, room = await ada.document("notes"), await ada.join("team")
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    document.insert(0, "word")
    sending = asyncio.create_task(room.send("hello"))
    leaving = [
        asyncio.create_task(document.leave(settle_seconds=60)),
        asyncio.create_task(room.leave(settle_seconds=60)),
    ]
    await until(lambda: len(document._conditions) > 0 and not document._users and not room._users)
    again = [asyncio.create_task(ada.document("notes")), asyncio.create_task(ada.join("team"))]
    await asyncio.sleep(0)
    clock.gate.set()
    assert await asyncio.gather(*leaving) == [0, 0]
    assert await asyncio.gather(*again) == [document, room]
    await sending
    assert document.error is None
    assert room.error is None
    document.insert(0, "another ")
    await document.settled()


async def test_a_leave_that_is_cancelled_has_left(open_client: Open) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    document = await ada.document("notes")
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    document.insert(0, "word")
    leaving = asyncio.create_task(document.leave(settle_seconds=60))
    await until(lambda: len(document._conditions) > 0)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert isinstance(document.error, Closed)
    assert len(document.lost_work) == 1
    await ada.close(settle_seconds=0)


@pytest.mark.parametrize("type", [*TYPES, "room"])
async def test_leaving_keeps_its_time_while_the_server_does_not_answer(open_client: Open, type: Any) -> None:
    """Whatever it waits for. It says how much is not acknowledged, and raises nothing; the server is told when it can be."""
    ada = await open_client(name="Ada", options=Options(request_timeout=2.0))
    for seconds, work in ((0.05, 1), (0.05, 0), (0, 0), (0, 1)):
        handle = await (ada.join("x") if type == "room" else ada.document("x", type=type))
        release = hold(ada)
        sending: asyncio.Task[Any] | None = None
        if isinstance(handle, Room) and work:
            sending = asyncio.create_task(handle.send(1))
            await until(lambda: bool(ada.connection._answers))
        elif not isinstance(handle, Room) and work:
            write(handle, "word")
        assert await handle.leave(settle_seconds=seconds) == work
        assert isinstance(handle.error, Closed)
        release()
        if sending is not None:
            await sending  # it went out before, and is answered


# After the end -------------------------------------------------------------------------------------------------------


async def call(action: Any) -> None:
    result = action()
    if asyncio.iscoroutine(result):
        await result


def calls(handle: Room | Document) -> list[Any]:
    """Everything that can be asked of a handle, or done to it, but for leaving; also what would change nothing."""
    if isinstance(handle, Room):
        return [
            lambda: handle.send(1),
            lambda: handle.send(1, retry=False),
            lambda: handle.send_event("typing"),
            lambda: handle.set_presence("busy"),
            handle.all_members,
            lambda: handle.grant("bob", "reader"),
            handle.settled,
            handle.messages,
        ]
    both: list[Any] = [
        handle.undo,
        handle.redo,
        lambda: handle.restore(0),
        lambda: handle.grant("bob", "reader"),
        handle.settled,
        lambda: handle.wait_for(lambda: True),
    ]
    if not isinstance(handle, TextDocument):
        return [
            *both,
            lambda: handle.apply([]),
            lambda: handle.apply("no"),
            lambda: handle.set_content(handle.content),
        ]
    return [
        *both,
        lambda: handle.insert(0, ""),
        lambda: handle.insert(999, "x"),
        lambda: handle.delete(0, 0),
        lambda: handle.replace(0, 0, "x"),
        lambda: handle.apply([]),
        lambda: handle.set_text(handle.text),
        handle.history,
        lambda: handle.text_at(0),
        handle.blame,
        handle.sent,
        lambda: handle.set_cursor(0),
        lambda: handle.set_cursor(None),
        lambda: handle.set_cursor(999),
    ]


@pytest.mark.parametrize("end", ["left", "closed", "disconnected"])
@pytest.mark.parametrize("kind", ["room", *TYPES])
async def test_what_has_ended_says_why_and_asks_nobody(open_client: Open, kind: Any, end: str) -> None:
    ada = await open_client(name="Ada")
    handle: Any = await (ada.join("d") if kind == "room" else ada.document("d", type=kind))
    reason: type[Exception] = Closed
    if end == "left":
        await handle.leave()
    elif end == "closed":
        await ada.close()
    else:
        reason = Disconnected
        assert ada.connection._link is not None
        ada.connection._link.abort(4502, "banned")  # as if the server had said so
        await until(lambda: ada.state == "closed")
    asked = ada.connection._next_id
    for action in calls(handle):
        with pytest.raises(reason) as caught:
            await call(action)
        assert caught.value is handle.error
    assert ada.connection._next_id == asked
    if kind == "text":
        handle.hold()  # what only concerns what is here stays possible
        handle.release()
    if end == "left":
        await ada.ping()
        return
    of_the_client: list[Any] = [
        ada.ping,
        lambda: ada.request("x"),
        lambda: ada.join("other"),
        lambda: ada.document("other"),
        lambda: ada.document("other", type="json"),
        lambda: ada.create_room("other"),
        lambda: ada.create_document("other"),
        lambda: ada.set_presence("busy"),
    ]
    for action in of_the_client:
        with pytest.raises(reason):
            await call(action)
    assert ada.connection._next_id == asked and not ada._rooms and not ada._documents


async def test_a_request_that_comes_after_the_end_says_why(open_client: Open) -> None:
    ada = await open_client(name="Ada", options=Options(max_pending=1))  # the others wait, leaving does not
    room, document = await ada.join("team"), await ada.document("notes")
    first = asyncio.create_task(ada.ping())
    await asyncio.sleep(0)
    asked = [room.all_members(), room.send_event("x"), room.set_presence("busy"), room.grant("bob", "reader")]
    late = [asyncio.create_task(one) for one in (*asked, document.grant("bob", "reader"))]
    await asyncio.sleep(0)
    leaving = [asyncio.create_task(handle.leave(settle_seconds=0)) for handle in (room, document)]
    outcomes = await asyncio.gather(*late, return_exceptions=True)
    await asyncio.gather(first, *leaving)
    assert outcomes == [room.error] * len(asked) + [document.error]
