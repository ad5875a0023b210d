"""A request of a frame that is not valid is answered by its id and costs none of its neighbours; over the real server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from syncline.server.app import App
from tests.oracle import salvage as oracle

from .wsclient import Wire, dial


def written(codec: str, *envelopes: dict[str, Any]) -> str | bytes:
    """One frame, halves of surrogate pairs as clients write them."""
    if codec == "json":
        return json.dumps(list(envelopes))
    return oracle.pack(list(envelopes))


async def answers(client: Wire, *ids: int) -> list[str]:
    """The codes of the answers to these requests, "" for a result."""
    replies = [await client.take(lambda envelope, id=id: envelope.get("id") == id) for id in ids]  # type: ignore[misc]
    return [str(reply.get("error", {}).get("code", "")) for reply in replies]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_what_is_wrong_in_a_frame_costs_none_of_its_neighbours(app: App, codec: str) -> None:
    async with dial(app.url, name="Ada", codec=codec) as ada:
        await ada.call("room:join", room="r")

        def say(id: int, text: str) -> dict[str, Any]:
            return {"event": "message:send", "id": id, "data": {"room": "r", "data": text}}

        for wrong, code in (
            ({"event": 5, "id": 12}, "malformed_frame"),
            ({"id": 12}, "malformed_frame"),
            ({"event": "x" * 65, "id": 12}, "malformed_frame"),
            ({"event": "no:such\ud800", "id": 12}, "unknown_event"),
            ({"event": "message:send", "id": 12, "data": 1}, "invalid_data"),
            (
                {"event": "room:grant", "id": 12, "data": {"room": "r", "user": "\ud800", "role": "\ud800"}},
                "invalid_data",
            ),
        ):
            await ada.raw(written(codec, say(11, "before"), wrong, say(13, "after")))
            assert await answers(ada, 11, 12, 13) == ["", code, ""], wrong
        await ada.raw(written(codec, say(11, "before"), {"event": 5}, say(13, "after")))  # whom to answer is not said
        assert await answers(ada, 11, 13) == ["", ""]
        assert (await ada.push("error"))["code"] == "malformed_frame"
        await ada.raw(written(codec, *(say(id, "much") for id in range(1, 259))))
        assert await answers(ada, 1, 256, 257, 258) == ["", "", "limit_exceeded", "limit_exceeded"]


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_halves_of_surrogate_pairs_are_replaced(app: App, codec: str) -> None:
    async with dial(app.url, codec=codec) as ada, dial(app.url, name="Bob") as bob:
        await ada.raw(
            written(
                codec,
                {"event": "auth", "id": 1, "data": {"name": "Ada\ud83d"}},
                {"event": "room:join", "id": 2, "data": {"room": "r\udfff"}},
                {"event": "ping", "id": 3},
            )
        )
        assert await answers(ada, 1, 2, 3) == ["", "", ""]
        await bob.call("room:join", room="r\ufffd")
        await ada.raw(
            written(
                codec,
                {"event": "message:send", "id": 4, "data": {"room": "r\udfff", "data": {"a\ud800": "b\ud800c"}}},
                {"event": "event:custom", "id": 5, "data": {"room": "r\udfff", "name": "n\ud800", "data": ["\ud800"]}},
                {"event": "presence:update", "id": 6, "data": {"status": "busy", "metadata": "\ud800"}},
                {"event": "ping", "id": 7},
            )
        )
        assert await answers(ada, 4, 5, 6, 7) == ["", "", "", ""]
        message = await bob.push("message:received")
        assert (message["name"], message["data"]) == ("Ada\ufffd", {"a\ufffd": "b\ufffdc"})
        event = await bob.push("event:custom")
        assert (event["name"], event["data"]) == ("n\ufffd", ["\ufffd"])
        assert (await bob.push("presence:update", status="busy"))["metadata"] == "\ufffd"


@pytest.mark.parametrize("codec", ["json", "msgpack"])
@pytest.mark.parametrize(
    ("type", "edit", "bad"),
    [
        ("text", ["x"], ["x\ud83d"]),
        ("rich-text", [{"insert": "x"}], [{"insert": "x\ud83d"}]),
        ("rich-text", [{"insert": "x"}], [{"insert": "x", "attributes": {"\udc00": 1}}]),
        ("json", [{"p": ["a"], "oi": 1}], [{"p": ["a\ud83d"], "oi": 1}]),
        ("json", [{"p": ["a"], "oi": 1}], [{"p": ["a"], "oi": "\ud83d"}]),
    ],
)
async def test_halves_of_surrogate_pairs_are_refused_in_documents(
    app: App, codec: str, type: str, edit: Any, bad: Any
) -> None:
    """Also where the name of the document has one, and where the key of the operation is written in another way."""
    content = {"content": {}} if type == "json" else {}
    name = "d\ud83d"
    async with dial(app.url, name="Ada", codec=codec) as ada, dial(app.url, name="Bob") as bob:
        await ada.raw(
            written(
                codec,
                {"event": "document:create", "id": 1, "data": {"document": name, "type": type, **content}},
                {"event": "document:join", "id": 2, "data": {"document": name, "client": "a", "type": type}},
            )
        )
        assert await answers(ada, 1, 2) == ["", ""]
        await bob.call("document:join", document="d\ufffd", client="b", type=type)

        def submission(seq: int, operation: Any) -> dict[str, Any]:
            return {"document": name, "seq": seq, "revision": seq - 1, "operation": operation}

        frame = written(
            codec,
            {"event": "document:operation", "id": 3, "data": submission(1, bad)},
            {"event": "document:operation", "data": submission(1, bad)},
            {
                "event": "document:join",
                "id": 4,
                "data": {"document": name, "client": "a", "pending": [{"operation": bad}]},
            },
            {"event": "document:create", "id": 5, "data": {"document": "e", "text": "\ud83d"}},
            {"event": "document:operation", "data": submission(1, edit)},
            {"event": "ping", "id": 6},
        )
        await ada.raw(frame.replace('"operation"', '"\\u006fperation"') if isinstance(frame, str) else frame)
        invalid = "operation_invalid"
        assert await answers(ada, 3, 4, 5, 6) == [invalid, invalid, invalid, ""]
        told = await ada.push("error")
        assert (told["code"], told["document"], told["seq"]) == (invalid, "d\ufffd", 1)
        (entry,) = (await bob.push("document:operation"))["operations"]
        assert entry["operation"] == edit
        assert not [one for one in await bob.flushed() if one["event"] == "document:operation"]
