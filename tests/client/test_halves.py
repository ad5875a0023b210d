"""Half a surrogate pair in what a program says, through the Python client against the real server."""

from __future__ import annotations

import asyncio

import pytest

from syncline.client import RequestError
from tests.waiting import until

from .links import Open


async def test_messages_names_and_metadata_have_a_replacement_character(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada \udc00", codec=codec), await open_client(name="Bob")
    assert ada.name == "Ada \ufffd"
    room, other = await ada.join("team\ud83d"), await bob.join("team\ufffd")
    assert room is await ada.join("team\ufffd")
    heard, events = other.messages(), []
    other.on_event(events.append)
    # In one frame with others, which are served.
    said = [
        room.send("one"),
        room.send({"a\ud83d": ["b\ud83d", "\ud83d\ude00", 1, None]}),
        room.send("three"),
    ]
    positions = await asyncio.gather(*said)
    assert [position.offset for position in positions] == [1, 2, 3]
    got = [(await anext(heard)).data for _ in said]
    assert got == ["one", {"a\ufffd": ["b\ufffd", "😀", 1, None]}, "three"]
    await room.send_event("name\ud83d", ("x\ud83d",))
    await room.set_presence("busy", {"m": "\udc00"})
    await until(lambda: events and other.members[ada.user].metadata is not None)
    assert (events[0].name, events[0].data) == ("name\ufffd", ["x\ufffd"])
    assert other.members[ada.user].metadata == {"m": "\ufffd"}


async def test_documents_refuse_it(open_client: Open, codec: str) -> None:
    ada = await open_client(name="Ada", codec=codec)
    for content in ({"text": "a\ud83d"}, {"type": "json", "content": {"a": "\ud83d"}}):
        said = ada.create_document("d\ud83d", **content), ada.create_document("e")  # type: ignore[arg-type]
        refused, _ = await asyncio.gather(*said, return_exceptions=True)
        assert isinstance(refused, RequestError) and refused.code == "operation_invalid"
    for event in ("document:create", "document:operation", "document:join"):
        with pytest.raises(RequestError, match="operation_invalid"):
            await ada.request(event, {"document": "d", "operation": ["\ud83d"]})
    document = await ada.document("d\ud83d")
    assert document.name == "d\ufffd" and document is await ada.document("d\ufffd")
    document.insert(0, "whole")
    await document.settled()
