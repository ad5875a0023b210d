"""`document:initialize`: a first content, of which the first one stays; and cursors by path; over the real server."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.server.app import App
from tests.serving import Serve

from .wsclient import dial

FIRST: dict[str, tuple[Any, Any]] = {
    "text": ("template", "another"),
    "rich-text": ([{"insert": "template"}], [{"insert": "another"}]),
    "json": ({"items": []}, {"items": [], "title": ""}),
}


async def joined(app: App, document: str) -> dict[str, Any]:
    async with dial(app.url, name="Reader", codec="msgpack") as client:
        return await client.call("document:join", document=document)


@pytest.mark.parametrize("type", FIRST)
async def test_of_two_first_contents_the_first_one_stays(serve: Serve, backend: str, type: str) -> None:
    one, other = FIRST[type]
    shown = "text" if type == "text" else "content"
    async with serve() as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob", codec="msgpack") as bob:
            for client, name in ((ada, "a"), (bob, "b")):
                await client.call("document:join", document="d", type=type, client=name)
            data = {"document": "d", "seq": 1, "revision": 0}
            assert (await ada.call("document:initialize", **data, content=one))["revision"] == 1
            push = await bob.push("document:operation", revision=1)
            assert push["operations"][0]["kind"] == "restore" and push["operations"][0]["client"] == "a"
            assert await bob.error("document:initialize", **data, content=other) == "document_exists"
            assert (await ada.call("document:initialize", **data, content=one))["revision"] == 1, "the same again"
            assert await ada.error("document:initialize", **data, content=other) == "sequence_conflict"
            assert (await joined(app, "d"))[shown] == one
    if backend == "sqlite":
        async with serve() as app, dial(app.url, name="Ada") as ada:
            assert (await ada.call("document:join", document="d", client="c", type=type))[shown] == one


async def test_a_first_content_is_checked(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="d", type="json", default_role="reader")
        await ada.call("document:create", document="t", default_role="reader")
        for document in "dt":
            await ada.call("document:join", document=document, client="a")
        await bob.call("document:join", document="d", client="b")
        data = {"document": "d", "seq": 1, "revision": 0}
        assert await bob.error("document:initialize", **data, content={}) == "forbidden"
        assert await ada.error("document:initialize", **data, content={"__proto__": 1}) == "operation_invalid"
        assert await ada.error("document:initialize", **data) == "invalid_data"
        assert (
            await ada.error("document:initialize", document="t", seq=1, revision=0, content=[1]) == "operation_invalid"
        )
        assert await ada.error("document:initialize", document="x", seq=1, revision=0, content="") == "not_joined"
        await ada.call("document:initialize", **data | {"seq": 2}, content={"n": [1.5, "x"]})
        assert await ada.error("document:undo", document="d", seq=3, revision=1) == "nothing_to_undo"
        assert (await joined(app, "d"))["content"] == {"n": [1.5, "x"]}


async def test_cursors_in_json_are_paths(app: App) -> None:
    async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("document:create", document="h", type="json", content="text")
        for client in (ada, bob):
            await client.call("document:join", document="h")
        await ada.call("document:cursor", document="h", revision=0, anchor=[0], head=[])
        push = await bob.push("document:cursor")
        assert [(one["anchor"], one["head"]) for one in push["cursors"]] == [([0], [])]
