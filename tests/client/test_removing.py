"""What is removed from a JSON document is not sent: what has got in can be taken away, however large, and comes back by undo."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from syncline.client.link import Link
from syncline.core.errors import ErrorCode, SynclineError
from syncline.server.app import App
from syncline.server.documents.submission import Submission
from tests.serving import serving
from tests.waiting import until

from .desk import SMALL, desk, every_way, on_server
from .links import Open


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[App]:
    """Its memory of what can be undone holds what is removed here."""
    async with serving(tmp_path, documents={"undo_bytes": 67_108_864}) as running:
        yield running


LARGE = "v" * 900_000
VALUES: dict[str, Any] = {"string": LARGE, "object": {"deep": [LARGE]}}
#: Ways to take away what is at ``value``, and at ``list[0]``.
AWAY: dict[str, Any] = {
    "key": [{"p": ["value"], "od": "?"}],
    "replaced": [{"p": ["value"], "od": "?", "oi": 1}],
    "element": [{"p": ["list", 0], "ld": "?"}],
    "element replaced": [{"p": ["list", 0], "ld": "?", "li": 1}],
    "root": [{"p": [], "od": "?", "oi": 1}],
}


@every_way
@pytest.mark.parametrize("what", AWAY)
async def test_what_is_removed_is_not_sent_and_comes_back_by_undo(
    app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch, codec: str, what: str, away: bool
) -> None:
    one = await desk(open_client, "json", codec=codec)
    bob = await (await open_client(name="Bob", codec=codec)).document("d", type="json")
    whole = one.document.content
    for path, value in ((["value"], VALUES["object"]), (["list", 0], LARGE)):
        one.document.apply([{"p": path, "oi" if path == ["value"] else "li": value}])
        await one.document.settled()
    full = one.document.content
    assert full != whole
    told: list[Any] = []
    one.document.on_change(lambda operation, origin: told.append(operation))
    sent = count_sent(monkeypatch)
    await one.go(away)
    one.document.apply(AWAY[what])
    without = one.document.content
    await one.come()
    assert sum(sent) < 5_000 and not one.refused
    assert len(str(told[0])) > len(LARGE), "listeners here are told what is gone"
    await until(lambda: bob.content == without == on_server(app))
    assert await one.document.undo()
    await until(lambda: one.document.content == bob.content == on_server(app) == full)


def count_sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each frame that clients send from now on, on new links too."""
    sent: list[int] = []
    send = Link.send

    def counted(link: Link, message: bytes) -> None:
        sent.append(len(message))
        send(link, message)

    monkeypatch.setattr(Link, "send", counted)
    return sent


@every_way
async def test_a_value_that_no_message_holds_can_be_removed(app: App, open_client: Open, away: bool) -> None:
    """It has grown in pieces: more than waits at a time, and than any one message."""
    one = await desk(open_client, "json")
    one.document._state._pending_limit = 2_000_000
    for _ in range(3):
        one.document.apply([{"p": ["s", 0], "si": LARGE}])
        await one.document.settled()
    full = one.document.content
    await one.go(away)
    one.document.apply([{"p": ["s"], "od": one.document.content["s"]}])
    one.document.apply(SMALL["json"])
    await one.come()
    assert not one.refused and on_server(app) == one.document.content == {"list": ["!"]}
    assert await one.document.undo()
    if one.document.content != full:  # away, each was a step
        assert await one.document.undo()
    assert one.document.content == on_server(app) == full


async def test_what_is_removed_is_told_where_the_edit_is(app: App, open_client: Open, monkeypatch: Any) -> None:
    """In what is refused, in lost work, with the values that were there."""
    one = await desk(open_client, "json")
    one.document.apply([{"p": ["a"], "oi": {"b": 1}}])
    await one.document.settled()

    def refuse(submission: Submission, core: Any, time: float) -> Any:
        raise SynclineError(ErrorCode.FORBIDDEN, "for the test")

    with monkeypatch.context() as patch:
        patch.setattr(Submission, "receive", refuse)
        one.document.apply([{"p": ["a"], "od": None}])
        await one.come()
    assert one.refused == [([{"p": ["a"], "od": {"b": 1}}], "forbidden")]
    await one.go(True)
    one.document.apply([{"p": ["a", "b"], "od": None, "oi": 2}])
    one.document.apply([{"p": ["a"], "od": None}])
    await one.document.leave(settle_seconds=0)
    [lost] = one.document.lost_work
    assert [part["od"] for operation in lost.operations for part in operation] == [1, {"b": 2}]
