"""Leaving and closing: what was done just before is on the server, or it is said what is not."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from syncline.client import Closed, Document, TypedDocument
from tests.waiting import until

from .links import GateClock, Open, cut

TYPES = ["text", "rich-text", "json"]


def write(document: Document | TypedDocument, word: str) -> None:
    if isinstance(document, Document):
        document.insert(0, word)
    elif document.type == "json":
        document.submit([{"p": [], "od": None, "oi": word}])
    else:
        document.submit([{"insert": word}])


def seen(document: Document | TypedDocument) -> Any:
    return document.text if isinstance(document, Document) else document.content


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
    await until(lambda: bool(document._waiters) and room._sending == 1)
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
    assert seen(document) == (work.text if type == "text" else work.content) == WRITTEN[type]
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
    await until(lambda: bool(document._waiters) and not document._users and not room._users)
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
    await until(lambda: bool(document._waiters))
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert isinstance(document.error, Closed)
    assert len(document.lost_work) == 1
    await ada.close(settle_seconds=0)
