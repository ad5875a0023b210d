"""What a program may say wrong is refused where it is said, and changes nothing; through the Python client against the real server."""

from __future__ import annotations

import dataclasses
import math
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from syncline.client import RequestError
from syncline.core.errors import SynclineError

from .links import Open


@dataclasses.dataclass
class Reading:
    value: float


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        {"x": [-math.inf, None]},
        [1.5, {"a": (math.inf,)}],
        Reading(math.nan),
        {"half": "\ud83d", "x": math.nan},
    ],
)
async def test_numbers_that_are_not_finite(open_client: Open, codec: str, value: Any) -> None:
    """JSON has none: msgspec writes null, which nobody said."""
    ada = await open_client(name="Ada", codec=codec)
    room = await ada.join("r")
    sends = (
        lambda: room.send(value),
        lambda: room.send_event("e", value),
        lambda: room.set_presence("busy", value),
        lambda: ada.create_document("d", type="json", content=value),
    )
    for send in sends:
        with pytest.raises(RequestError) as caught:
            await send()
        assert caught.value.code in ("invalid_data", "operation_invalid")
    assert (await room.send([None, "null", 0.5])).offset == 1


@pytest.mark.parametrize(
    "value",
    [
        {1},
        frozenset(),
        Decimal(1),
        UUID(int=1),
        date(2026, 1, 1),
        Reading(1.0),
        object(),
        range(2),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_what_json_does_not_have_is_refused(open_client: Open, codec: str, value: Any) -> None:
    """Written, it would be another value: a list, base64, a text."""
    ada = await open_client(name="Ada", codec=codec)
    room, document = await ada.join("r"), await ada.document("d", type="json")
    for data in value, {"a": [value]}, ["\ud83d", value]:
        sends = (
            lambda data=data: room.send(data),
            lambda data=data: room.send_event("e", data),
            lambda data=data: room.set_presence("busy", data),
            lambda data=data: ada.create_document("other", type="json", content=data),
        )
        for send in sends:
            with pytest.raises(RequestError, match="invalid_data"):
                await send()
        with pytest.raises(SynclineError):
            document.set_content(data)
    assert (await room.send((1, {"a": (2, None)}))).offset == 1


async def test_bytes_are_messagepacks(open_client: Open, codec: str) -> None:
    """As docs/protocol.md has it: others get them as they are, or as base64 in JSON."""
    ada = await open_client(name="Ada", codec=codec)
    room, document = await ada.join("r"), await ada.document("d", type="json")
    others = [await (await open_client(name="Bob", codec=kind)).join("r") for kind in ("msgpack", "json")]
    streams = [other.messages() for other in others]
    for value in {"x": b"\x00\xff"}, [bytearray(b"\x00\xff")], {1: 2}:
        with pytest.raises(SynclineError):
            document.set_content(value)
        if codec == "json":
            with pytest.raises(RequestError, match="invalid_data"):
                await room.send(value)
    if codec == "msgpack":
        await room.send({"x": b"\x00\xff", 1: 2})
        got = [(await anext(stream)).data for stream in streams]
        assert got == [{"x": b"\x00\xff", 1: 2}, {"x": "AP8=", "1": 2}]


async def test_what_is_nested_too_deep_or_holds_itself_is_refused(open_client: Open, codec: str) -> None:
    ada = await open_client(name="Ada", codec=codec)
    room = await ada.join("r")
    value: list[Any] = []
    for _ in range(127):
        value = [value]
    assert (await room.send(value)).offset == 1
    with pytest.raises(RequestError, match="nested more than 128 levels"):
        await room.send([value])
    value.append(value)
    with pytest.raises(RequestError, match="nested more than 128 levels"):
        await room.send(value)


async def test_an_error_names_the_request(open_client: Open, codec: str) -> None:
    ada, bob = await open_client(name="Ada", codec=codec), await open_client(name="Bob")
    await ada.create_room("vault", password="secret")
    room = await ada.join("vault", password="secret")
    for ask, event in (
        (lambda: bob.join("vault"), "room:join"),
        (lambda: bob.create_room("vault"), "room:create"),
        (lambda: ada.request("nothing"), "nothing"),
        (lambda: room.grant(ada.user, "member"), "room:grant"),
        (lambda: room.send("x" * 2_000_000), "message:send"),
    ):
        with pytest.raises(RequestError) as caught:
            await ask()
        assert caught.value.event == event and str(caught.value).endswith(f" ({event})")


async def test_a_text_is_a_text(open_client: Open) -> None:
    """A number would be kept, or deleted."""
    ada = await open_client(name="Ada")
    document = await ada.document("d")
    document.insert(0, "hello world")
    for text in (-6, 5, None, ["x"], b"x"):
        for edit in (
            lambda text=text: document.insert(0, text),
            lambda text=text: document.replace(0, 2, text),
            lambda text=text: document.set_text(text),
        ):
            with pytest.raises(TypeError, match="the text is a str, not"):
                edit()
    await document.settled()
    assert (document.text, document.revision) == ("hello world", 1)


async def test_a_name_is_a_text(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    for name in (5, None, b"r"):
        for ask in (ada.join, ada.document, ada.create_document):
            with pytest.raises(TypeError, match="a name is a str, not"):
                await ask(name)  # type: ignore[operator]


async def test_no_content_is_dropped(open_client: Open) -> None:
    ada = await open_client(name="Ada")
    for content in ({"content": {"a": 1}}, {"text": "x", "type": "json"}, {"text": "x", "type": "rich-text"}):
        with pytest.raises(RequestError, match="text is for documents of type text"):
            await ada.create_document("d", **content)  # type: ignore[arg-type]
    for name, content in (("a", {}), ("b", {"type": "json"}), ("c", {"type": "rich-text"}), ("e", {"text": ""})):
        await ada.create_document(name, **content)  # type: ignore[arg-type]
