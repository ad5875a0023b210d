"""Roles that change and people who are taken out while connected: what the Python client tells, against the real server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from syncline.client import Client, Document, Removed, RequestError, TextDocument
from tests.waiting import until

from .links import Open

TYPES = ("text", "rich-text", "json")


def edit(document: Document, text: str) -> None:
    if isinstance(document, TextDocument):
        document.insert(0, text)
    elif document.type == "rich-text":
        document.apply([{"insert": text}])
    else:
        document.apply([{"p": [text], "oi": 1}])


def seen(document: Document) -> Any:
    return document.text if isinstance(document, TextDocument) else document.content


def edits(document: Document) -> list[Callable[[], Awaitable[object]]]:
    """Whatever would change it, and edits that would not."""

    def at_once(action: Callable[..., None], *args: Any) -> Callable[[], Awaitable[object]]:
        async def call() -> None:
            action(*args)

        return call

    steps: list[Callable[[], Awaitable[object]]] = [document.undo, document.redo, lambda: document.restore(0)]
    if not isinstance(document, TextDocument):
        return [
            *steps,
            at_once(edit, document, "no"),
            at_once(document.apply, []),
            at_once(document.set_content, document.content),
        ]
    return [
        *steps,
        at_once(document.insert, 0, "no"),
        at_once(document.delete, 0, 0),
        at_once(document.replace, 0, 0, "no"),
        at_once(document.apply, ["no"]),
        at_once(document.set_text, document.text),
        at_once(document.set_text, "no"),
    ]


async def documents(ada: Client, bob: Client, type: Any) -> tuple[Document, Document]:
    """Ada's, which is by invitation, and Bob's, an editor's."""
    content = {} if type == "json" else [] if type == "rich-text" else None
    await ada.create_document("d", type=type, content=content, default_role=None)
    mine: Any = await ada.document("d", type=type)
    await mine.grant(bob.user, "editor")
    return mine, await bob.document("d", type=type)


async def test_who_is_taken_out_of_a_room_is_told(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", codec=codec)
    await ada.create_room("club", default_role=None)
    room = await ada.join("club")
    await room.grant(bob.user, "member")
    other = await bob.join("club")
    assert other.joined and other.writable and other.role == "member"
    told: list[Removed] = []
    other.on_removed(told.append)
    stream = other.messages()
    await room.send("one")
    reading = asyncio.get_running_loop().create_task(until(lambda: other.error))
    await room.grant(bob.user, None)
    assert [publication.data async for publication in stream] == ["one"], "what came before is still read"
    await reading
    assert told == [other.error] and stream.error is other.error
    assert isinstance(other.error, Removed) and other.error.code == "forbidden"
    assert not other.joined and not other.writable
    for call in (
        other.send(1),
        other.send(1, retry=False),
        other.send_event("x"),
        other.set_presence("busy"),
        other.all_members(),
    ):
        with pytest.raises(Removed):
            await call
    with pytest.raises(Removed):
        other.messages()
    with pytest.raises(RequestError, match="forbidden"):
        await bob.join("club")
    await other.leave()
    await room.grant(bob.user, "reader")
    again = await bob.join("club")
    assert again is not other and again.joined and again.role == "reader" and not again.writable
    messages = again.messages()
    await room.send("two")
    assert (await anext(messages)).data == "two"


async def test_what_is_being_sent_meanwhile_fails_with_the_reason(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    await ada.create_room("club", default_role=None)
    room = await ada.join("club")
    await room.grant(bob.user, "member")
    other = await bob.join("club")
    bob.on_push(lambda event, data: None)
    loop = asyncio.get_running_loop()
    # On its way before Bob knows: they are written in the turn in which the server takes him out.
    taken = loop.create_task(room.grant(bob.user, None))
    sent: list[asyncio.Task[Any]] = []
    while other.error is None:
        sent += [loop.create_task(other.send(len(sent))), loop.create_task(other.send(len(sent), retry=False))]
        sent.append(loop.create_task(other.send_event("x")))
        await asyncio.sleep(0)
    await taken
    outcomes = await asyncio.gather(*sent, return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert failed and all(isinstance(outcome, Removed) for outcome in failed)


async def test_a_role_in_a_room_changes(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", codec=codec)
    room, other = await ada.join("team"), await bob.join("team")
    told: list[str] = []
    other.on_role(told.append)
    for role, writable in (("reader", False), ("moderator", True), ("member", True)):
        await room.grant(bob.user, role)
        await until(lambda role=role: told[-1:] == [role])  # type: ignore[misc]
        assert (other.role, other.writable, other.joined) == (role, writable, True)
    await room.grant(bob.user, "member")
    await bob.ping()
    assert told == ["reader", "moderator", "member"], "the same again is no change"


async def test_a_role_that_changed_while_away_is_told(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    room, other = await ada.join("team"), await bob.join("team")
    told: list[str] = []
    other.on_role(told.append)
    link = bob.connection._link
    assert link is not None
    granting = asyncio.get_running_loop().create_task(room.grant(bob.user, "reader"))
    link.abort()
    await granting
    await until(lambda: told == ["reader"])
    assert not other.writable


@pytest.mark.parametrize("type", TYPES)
async def test_a_role_in_a_document_is_taken_and_given(open_client: Open, codec: str, type: str) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", codec=codec)
    mine, other = await documents(ada, bob, type)
    assert other.role == "editor" and other.writable
    told: list[str] = []
    refused: list[str] = []
    other.on_role(told.append)
    other.on_refused(lambda operation, code: refused.append(code))
    await mine.grant(bob.user, "reader")
    await until(lambda: told == ["reader"])
    assert other.role == "reader" and not other.writable and other.error is None
    before, asked = seen(other), bob.connection._next_id
    for action in edits(other):
        with pytest.raises(RequestError) as caught:
            await action()
        assert caught.value.code == "forbidden"
    asks = (other.undo, "undo"), (other.redo, "redo"), (partial(other.restore, 0), "restore")
    for ask, kind in asks:
        with pytest.raises(RequestError) as caught:
            await ask()
        assert (caught.value.code, caught.value.event) == ("forbidden", f"document:{kind}")
    assert (seen(other), refused, bob.connection._next_id, other._is_settled) == (before, [], asked, True)
    other.role = "editor"  # as before it has heard: on its way meanwhile
    edit(other, "no")
    await other.settled()
    assert refused == ["forbidden"]
    other.role = "reader"
    await mine.grant(bob.user, "editor")
    await until(lambda: told == ["reader", "editor"])
    assert other.writable
    edit(other, "yes")
    await other.settled()
    assert refused == ["forbidden"]


async def test_the_others_see_the_role(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    mine, other = await documents(ada, bob, "text")
    assert isinstance(mine, TextDocument)
    await until(lambda: other.client_id in mine.collaborators)
    await mine.grant(bob.user, "reader")
    await until(lambda: mine.collaborators[other.client_id].role == "reader")


@pytest.mark.parametrize("type", TYPES)
async def test_access_to_a_document_is_taken_away(open_client: Open, codec: str, type: str) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob", codec=codec)
    mine, other = await documents(ada, bob, type)
    told: list[Removed] = []
    other.on_removed(told.append)
    waiting = [asyncio.get_running_loop().create_task(call) for call in (other.wait_for(lambda: False), other.undo())]
    await waiting[1]
    edit(other, "a")
    await mine.grant(bob.user, None)
    await until(lambda: told)
    assert told == [other.error] and told[0].code == "forbidden" and not other.writable
    with pytest.raises(Removed):
        await waiting[0]
    for call in (other.settled, other.undo):
        with pytest.raises(Removed):
            await call()
    with pytest.raises(Removed):
        edit(other, "b")
    with pytest.raises(RequestError, match="forbidden"):
        await bob.document("d", type=type)  # type: ignore[call-overload]
    await mine.grant(bob.user, "editor")
    again = await bob.document("d", type=type)  # type: ignore[call-overload]
    assert again is not other and again.writable
    edit(again, "c")
    await again.settled()
