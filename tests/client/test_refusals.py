"""What is too large, too many or has no form to be sent: sent in pieces, or told, with the work at hand; nothing wedges."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from syncline.client import Options
from syncline.core.errors import ErrorCode, SynclineError
from syncline.server.app import App
from syncline.server.documents.submission import Submission
from tests.waiting import until

from .desk import SMALL, desk, every_way, on_server
from .links import QUICK, Open

PICTURE = "x" * 80_000
HUGE = "z" * 3_000_000


@every_way
async def test_pictures_that_are_too_much_for_one_message(app: App, open_client: Open, codec: str, away: bool) -> None:
    one = await desk(open_client, "rich-text", codec=codec)
    await one.go(away)
    for _ in range(14):
        one.document.apply([{"insert": {"image": PICTURE}}])
    one.document.apply([{"retain": 14}, {"insert": "typed later"}])
    await one.come()
    assert not one.refused
    assert on_server(app) == one.document.content == [*[{"insert": {"image": PICTURE}}] * 14, {"insert": "typed later"}]


@every_way
async def test_more_edits_of_one_string_than_an_operation_may_have(app: App, open_client: Open, away: bool) -> None:
    one = await desk(open_client, "json")
    await one.go(away)
    for number in range(1001):
        one.document.apply(
            [{"p": ["s", 3 * number], "si": "ab"}]
        )  # apart from each other: they stay edits of their own
    await one.come()
    assert not one.refused
    assert on_server(app) == one.document.content
    assert one.document.content["s"].startswith("ab0ab0ab0") and one.document.content["s"].count("ab") == 1001
    assert await one.document.undo()


@every_way
@pytest.mark.parametrize("kind", ["text", "rich-text"])
async def test_a_paste_of_three_megabytes_goes_in_pieces(app: App, open_client: Open, kind: str, away: bool) -> None:
    one = await desk(open_client, kind)
    await one.go(away)
    one.document.apply([HUGE] if kind == "text" else [{"insert": HUGE}])
    one.document.apply(SMALL[kind])
    await one.come()
    assert not one.refused and on_server(app) == one.document.content
    assert one.document.content in ("!" + HUGE, [{"insert": "!" + HUGE}])


@every_way
@pytest.mark.parametrize("kind", ["rich-text", "json"])
async def test_one_value_that_is_too_large_is_told(
    app: App, open_client: Open, codec: str, kind: str, away: bool
) -> None:
    """It cannot be cut. What was done before and after it gets in."""
    options = Options(backoff=QUICK, max_send_bytes=1_048_576 if kind == "json" else 40_000)
    one = await desk(open_client, kind, codec=codec, options=options)
    await one.go(away)
    operation: Any = [{"p": ["big"], "oi": HUGE}] if kind == "json" else [{"insert": {"image": PICTURE}}]
    for edit in (SMALL[kind], operation, SMALL[kind]):
        one.document.apply(edit)
    await one.come()
    assert [(told[-1], code) for told, code in one.refused] == [(operation[-1], "message_too_large")]
    assert [(told.operation, told.code) for told in one.document.refused] == one.refused
    content = on_server(app)
    assert content == one.document.content
    assert (
        (content == [{"insert": "!!"}])
        if kind == "rich-text"
        else (content["list"], "big" in content) == (["!"] * 2, False)
    )


async def test_what_was_done_within_a_refused_value_is_told_with_it(app: App, open_client: Open) -> None:
    """It goes with the value, and would be gone without a word."""
    one = await desk(open_client, "json")
    first: list[Any] = [{"p": ["big"], "oi": {"value": HUGE, "note": ""}}]
    await one.go(True)
    one.document.apply(first)
    one.document.apply([{"p": ["big", "note", 0], "si": "typed"}])
    one.document.apply(SMALL["json"])
    seen = one.document.content
    await one.come()
    assert [code for _, code in one.refused] == ["message_too_large"] * len(one.refused)
    told = [component for operation, _ in one.refused for component in operation]
    assert told[0] == first[0] and told[1:] == [{"p": ["big", "note"], "t": "text0", "o": [{"p": 0, "i": "typed"}]}]
    assert on_server(app) == one.document.content and one.document.content["list"] == ["!"]
    assert [told.content for told in one.document.refused] == [seen, seen]


async def test_what_has_no_form_in_a_message_is_told(app: App, open_client: Open, codec: str) -> None:
    """A type of somebody's own may make it; it must not wedge what is done later."""
    one = await desk(open_client, "json", codec=codec)
    kind = one.document._state.type
    describe = kind.describe
    one.document._state.type = kind_of = type(kind)()
    kind_of.describe = lambda operation: [object()] if "bad" in str(describe(operation)) else describe(operation)  # type: ignore[method-assign]
    one.document.apply([{"p": ["bad"], "oi": 1}])
    await one.document.sent()
    one.document.apply(SMALL["json"])
    await one.come()
    assert [code for _, code in one.refused] == ["invalid_data"]
    assert on_server(app) == one.document.content and "bad" not in one.document.content


@pytest.mark.parametrize("kind", ["text", "rich-text", "json"])
async def test_what_a_server_never_takes_is_told_in_the_end(
    app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """With a code of which this client knows nothing: it was sent again for ever."""
    one = await desk(open_client, kind)
    receive, tries = Submission.receive, 0

    def never(submission: Submission, core: Any, time: float) -> Any:
        nonlocal tries
        if submission.seq == 1:
            tries += 1
            raise SynclineError(ErrorCode.REVISION_UNKNOWN, "for the test")
        return receive(submission, core, time)

    monkeypatch.setattr(Submission, "receive", never)
    one.document.apply(SMALL[kind])
    await one.document.sent()
    one.document.apply(SMALL[kind])
    await one.come()
    assert [code for _, code in one.refused] == ["revision_unknown"] and tries == 2
    assert on_server(app) == one.document.content


@pytest.mark.parametrize(
    ("type", "one", "other"),
    [
        ("text", "one", "two"),
        ("rich-text", [{"insert": "one"}], [{"insert": "two"}]),
        ("json", {"items": []}, {"items": [], "title": ""}),
    ],
)
async def test_of_two_first_contents_the_first_one_stays(open_client: Open, type: str, one: Any, other: Any) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    mine, theirs = await ada.document("d", type=type), await bob.document("d", type=type)
    done = await asyncio.gather(mine.initialize(one), theirs.initialize(other))
    assert sorted(done) == [False, True]
    await until(lambda: mine.content == theirs.content and mine.content in (one, other))
    assert await mine.initialize(one) is False
    again = await bob.document("d", type=type, content=other)
    assert again is theirs and theirs.content == (one if done[0] else other)
    assert (await bob.document("new", type=type, content=other)).content == other
    if type != "text":
        with pytest.raises(SynclineError, match="operation_invalid"):
            await mine.initialize({1: 2})
    assert mine.error is None and theirs.error is None


FULL: dict[str, Any] = {"text": "kept", "rich-text": [{"insert": "kept"}], "json": {"list": ["kept"]}}
REMOVING: dict[str, Any] = {"text": [-4], "rich-text": [{"delete": 4}], "json": [{"p": ["list", 0], "ld": "kept"}]}


@pytest.mark.parametrize("later", [False, True], ids=["alone", "with what was done since"])
@pytest.mark.parametrize("kind", ["text", "rich-text", "json"])
async def test_what_is_refused_and_cannot_be_taken_back_is_told(
    app: App, open_client: Open, monkeypatch: pytest.MonkeyPatch, kind: str, later: bool
) -> None:
    """The content here is another one by then: its inverse does not fit. The edit was gone without a word."""
    one = await desk(open_client, kind)
    document, state = one.document, one.document._state
    await document.initialize(FULL[kind]) if kind != "json" else document.set_content(FULL[kind])
    await document.settled()

    def refuse(submission: Submission, core: Any, time: float) -> Any:
        raise SynclineError(ErrorCode.FORBIDDEN, "for the test")

    with monkeypatch.context() as patch:
        patch.setattr(Submission, "receive", refuse)
        document.apply(REMOVING[kind])
        seen = document.content
        await document.sent()
        if later:
            document.apply(SMALL[kind])
            seen = document.content
        state._confirmed = state.type.empty()  # damaged
        await until(lambda: one.refused)
    await until(lambda: document.joined)
    await one.come()
    assert one.refused[0][1] == "forbidden" and document.refused[0].content == seen
    told = one.refused[0][0]
    expected = (
        [{"p": ["list", 0], "ld": None}] if kind == "json" else REMOVING[kind]
    )  # what was there is not known any more
    assert (list(told.components) if kind == "text" else told) == expected
    assert document.healed and document.content == on_server(app)
