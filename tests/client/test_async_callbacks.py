"""`async def` callbacks: awaited one call after another, behind a bound; their faults are logged."""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import Any

import pytest

from syncline.client import Document, Options, TextDocument
from tests.waiting import until

from .links import GateClock, Open, cut


async def test_every_kind_of_callback_may_be_a_coroutine(open_client: Open) -> None:
    """All events of clients, rooms, documents and typed documents."""
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", clock=(clock := GateClock()))
    heard: list[tuple[str, int]] = []

    def listener(name: str) -> Any:
        async def callback(*args: Any) -> None:
            await asyncio.sleep(0)
            heard.append((name, len(args)))

        return callback

    def names() -> set[str]:
        return {name for name, _ in heard}

    for name in ("on_state", "on_event", "on_push"):
        getattr(bob, name)(listener(f"client.{name}"))
    room, theirs = await ada.join("team"), await bob.join("team")
    for name in ("on_message", "on_event", "on_members", "on_proof"):
        getattr(theirs, name)(listener(f"room.{name}"))
    document, other = await ada.document("notes"), await bob.document("notes")
    for name in ("on_change", "on_committed", "on_cursors", "on_refused"):
        getattr(other, name)(listener(f"document.{name}"))
    board, same = await ada.document("board", type="json"), await bob.document("board", type="json")
    for name in ("on_change", "on_refused"):
        getattr(same, name)(listener(f"typed.{name}"))

    await room.send("hello")
    await room.send_event("wave")
    await room.set_presence("busy")
    document.insert(0, "text")
    board.apply([{"p": [], "od": None, "oi": {"a": 1}}])
    await document.settled()
    document.set_cursor(2)
    await board.settled()
    await until(lambda: other.text == "text" and same.content == {"a": 1})
    await document.grant(bob.user, "reader")
    await board.grant(bob.user, "reader")
    other.role = same.role = "editor"  # as before it has heard
    other.insert(0, "x")
    same.apply([{"p": ["a"], "na": 1}])
    clock.gate.clear()
    cut(bob)
    await until(lambda: bob.state == "waiting")
    clock.gate.set()
    wanted = {"client.on_state", "client.on_push", "room.on_message", "room.on_event", "room.on_members"}
    wanted |= {"document.on_change", "document.on_committed", "document.on_cursors", "document.on_refused"}
    wanted |= {"typed.on_change", "typed.on_refused"}
    await until(lambda: wanted <= names())
    assert {count for name, count in heard if name == "room.on_members"} == {2}


@pytest.mark.parametrize("kind", ["function", "partial", "lambda", "object"])
async def test_calls_are_awaited_in_order(open_client: Open, kind: str) -> None:
    ada = await open_client(name="Ada")
    room = await ada.join("team")
    heard: list[Any] = []
    running = 0

    async def callback(publication: Any) -> None:
        nonlocal running
        running += 1
        assert running == 1, "one at a time"
        for _ in range(3 - publication.data % 3):  # the later ones would overtake
            await asyncio.sleep(0)
        heard.append(publication.data)
        running -= 1

    class Listener:
        async def __call__(self, publication: Any) -> None:
            await callback(publication)

    ways: dict[str, Any] = {
        "function": callback,
        "partial": functools.partial(callback),
        "lambda": lambda publication, way=callback: way(publication),
        "object": Listener(),
    }
    remove = room.on_message(ways[kind])
    for number in range(30):
        await room.send(number)
    await until(lambda: len(heard) == 30)
    assert heard == [*range(30)]
    remove()
    remove()
    await room.send(30)
    assert len(heard) == 30


async def test_a_slow_callback_holds_up_nobody_and_is_bounded(
    open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await open_client(name="Ada", options=Options(callback_limit=3))
    room = await ada.join("team")
    heard: list[Any] = []
    quick: list[Any] = []
    gate = asyncio.Event()

    async def slow(publication: Any) -> None:
        await gate.wait()
        heard.append(publication.data)

    async def fast(publication: Any) -> None:
        quick.append(publication.data)

    room.on_message(slow)
    room.on_message(fast)
    with caplog.at_level(logging.WARNING, "syncline.client"):
        for number in range(8):
            await room.send(number)
            await until(lambda number=number: number in quick)
    assert ada.callbacks_dropped == 4
    gate.set()
    await until(lambda: len(heard) == 4)
    assert heard == [0, 5, 6, 7], "the oldest that waited are gone"
    [line] = [record.getMessage() for record in caplog.records if "does not keep up" in record.getMessage()]
    assert "slow" in line


async def test_a_fault_is_logged_with_the_name_and_the_next_call_runs(
    open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await open_client(name="Ada")
    document = await ada.document("notes")
    heard: list[str] = []

    async def faulty(operation: Any, origin: str) -> None:
        await asyncio.sleep(0)
        heard.append(origin)
        if len(heard) == 1:
            raise ValueError("no")
        if len(heard) == 2:
            raise asyncio.CancelledError

    def faulty_too(operation: Any, origin: str) -> None:
        raise ValueError("no")

    document.on_change(faulty)
    document.on_change(faulty_too)
    for _ in range(3):
        document.insert(0, "x")
        await document.settled()
    await until(lambda: len(heard) == 3)
    said = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("the callback ") and ".faulty failed" in line for line in said) == 1
    assert sum(".faulty was cancelled" in line for line in said) == 1
    assert sum(".faulty_too failed" in line for line in said) == 3


async def test_what_a_callback_does_is_done_before_the_client_is_closed(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    room, other = await ada.join("team"), await bob.join("team")
    document = await ada.document("notes")
    states: list[str] = []

    async def note(publication: Any) -> None:
        for _ in range(10):  # it is not done when the client is closed
            await asyncio.sleep(0)
        document.insert(len(document), publication.data)

    async def state(name: str) -> None:
        states.append(name)

    room.on_message(note)
    ada.on_state(state)
    await other.send("one ")
    await other.send("two ")
    await until(lambda: room.position.offset == 2)
    assert await ada.close() == 0
    assert states == ["closed"]
    assert (await bob.document("notes")).text == "one two "


async def test_a_callback_may_leave_and_close(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    document: Document = await ada.document("notes")
    closed = asyncio.Event()

    async def last(operation: Any, origin: str) -> None:
        assert await document.leave() == 0
        assert await ada.close() == 0
        closed.set()

    document.on_change(last)
    document.insert(0, "x")
    await closed.wait()
    assert ada.state == "closed"


async def test_a_callback_that_never_ends_is_stopped(open_client: Open, caplog: pytest.LogCaptureFixture) -> None:
    ada = await open_client(name="Ada", options=Options(settle_seconds=0.01, close_timeout=0.01))
    room = await ada.join("team")
    stopped = asyncio.Event()

    async def endless(publication: Any) -> None:
        begun.append(publication.data)
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    begun: list[int] = []
    orderly: list[int] = []

    async def other(publication: Any) -> None:
        orderly.append(publication.data)

    room.on_message(endless)
    room.on_message(other)  # has a line of its own
    for number in range(3):
        await room.send(number)
    await ada.close()
    await stopped.wait()
    await until(lambda: ada.callbacks_dropped == 2)
    assert begun == [0], "what waited behind it is not begun"
    assert orderly == [0, 1, 2]
    assert any("endless was stopped" in record.getMessage() for record in caplog.records)


async def test_a_callback_that_raises_what_cancels_tasks_harms_nobody(
    open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    """It looked at a future that was cancelled. The connection, and who else listens, go on."""
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    room, theirs = await ada.join("team"), await bob.join("team")
    document = await bob.document("notes")
    heard: list[Any] = []
    bob.on_state(lambda state: cancelled.result())
    theirs.on_message(lambda publication: cancelled.result())
    theirs.on_message(lambda publication: heard.append(publication.data))
    document.on_change(lambda operation, origin: cancelled.result())
    for number in range(3):
        await room.send(number)
    await until(lambda: heard == [0, 1, 2])
    assert bob.reconnects == 0
    cut(bob)
    document.insert(0, "typed")
    await document.settled()
    await room.send(3)
    await until(lambda: heard == [0, 1, 2, 3])
    assert bob.reconnects == 1 and sum("failed" in record.getMessage() for record in caplog.records) >= 7


@pytest.mark.parametrize("type", ["text", "json"])
async def test_a_condition_that_raises_is_told_to_who_waits_for_it(open_client: Open, type: Any) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    document, other = await ada.document("d", type=type), await bob.document("d", type=type)
    loop = asyncio.get_running_loop()
    wrong = loop.create_task(document.wait_for(lambda: document.revision and 1 / 0 > 0))
    right = loop.create_task(document.wait_for(lambda: document.revision == 1))
    empty = loop.create_task(document.wait_for(lambda: document.revision and next(iter([]))))
    await asyncio.sleep(0)
    other.insert(0, "x") if isinstance(other, TextDocument) else other.set_content([1])
    with pytest.raises(ZeroDivisionError):
        await wrong
    await right
    with pytest.raises(RuntimeError, match="StopIteration"):
        await empty
    with pytest.raises(ZeroDivisionError):
        await document.wait_for(lambda: 1 / 0 > 0)
    assert ada.reconnects == 0 and document.error is None


@pytest.mark.parametrize("type", ["text", "json"])
async def test_who_listens_from_a_callback_on_hears_what_happens_from_then_on(open_client: Open, type: Any) -> None:
    ada = await open_client(name="Ada")
    document = await ada.document("d", type=type)
    if not isinstance(document, TextDocument):
        document.set_content([])
    heard: list[int] = []

    def size() -> int:
        return len(document) if isinstance(document, TextDocument) else len(document.content)

    def write() -> None:
        document.insert(0, "x") if isinstance(document, TextDocument) else document.apply([{"p": [0], "li": 1}])

    def edits(operation: Any, origin: str) -> None:
        if size() == 1:
            write()

    def begins(operation: Any, origin: str) -> None:
        if not heard:
            heard.append(size())
            document.on_change(lambda operation, origin: heard.append(size()))

    document.on_change(edits)
    document.on_change(begins)
    write()
    assert (size(), heard) == (2, [2])
    write()
    assert heard == [2, 3]


async def test_callbacks_that_never_agree_do_not_stop_the_program(
    open_client: Open, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await open_client(name="Ada")
    document = await ada.document("d")
    document.insert(0, "a")
    document.on_change(lambda operation, origin: document.set_text("b" if document.text == "a" else "a"))
    document.set_text("b")
    assert sum("ever more" in record.getMessage() for record in caplog.records) == 1
    await ada.ping()
