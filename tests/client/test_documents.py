"""Documents through the Python client against the real server."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from syncline.client import BufferFull, Closed, LostWork, RequestError, connect
from syncline.core.errors import SynclineError
from syncline.core.ot.ot import Operation, apply
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, Open, cut
from .texts import mirror, settle


async def test_typing_together(open_client: Open, codec: str) -> None:
    rng = random.Random(11)
    clients = [await open_client(codec=codec), await open_client(codec="json"), await open_client(codec="msgpack")]
    documents = [await client.document("notes") for client in clients]
    mirrors = [mirror(document) for document in documents]
    typed = 0
    for _ in range(300):
        document = rng.choice(documents)
        length = len(document)
        if length and rng.random() < 0.3:
            start = rng.randrange(length)
            document.delete(start, min(3, length - start))
        else:
            text = rng.choice(["a", "bc", "🙂", "é🎉", "\n", '"\\'])
            document.insert(rng.randint(0, length), text)
            typed += len(text)
        if rng.random() < 0.3:
            await asyncio.sleep(0)
    text = await settle(*documents)
    assert 0 < len(text) < typed
    assert [held[0] for held in mirrors] == [text] * 3
    assert (await (await open_client()).document("notes")).text == text


async def test_an_empty_handle_and_the_same_handle(open_client: Open) -> None:
    ada = await open_client()
    document = await ada.document("notes")
    assert (document.text, len(document), document.revision, document.role) == ("", 0, 0, "owner")
    assert await ada.document("notes") is document
    await ada.create_document("ready", "start")
    with pytest.raises(RequestError) as error:
        await ada.create_document("ready")
    assert error.value.code == "document_exists"
    ready = await ada.document("ready")
    assert (ready.text, ready.slice(1, 3)) == ("start", "ta")


async def test_text_and_content_are_not_dropped_but_refused(open_client: Open) -> None:
    ada = await open_client()
    with pytest.raises(RequestError, match="content for the others"):
        await ada.create_document("mixed", content={"a": 1})
    with pytest.raises(RequestError, match="content for the others"):
        await ada.create_document("mixed", "Hello", type="json", content={"a": 1})
    await ada.create_document("mixed", type="json")


async def test_all_ways_to_edit(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    origins: list[str] = []
    document.on_change(lambda operation, origin: origins.append(origin))
    document.insert(0, "Hello 🙂 world")
    document.replace(6, 1, "dear")
    document.delete(0, 1)
    document.apply(["J"])
    document.set_text("Jello my dear world")
    document.insert(3, "")
    document.delete(3, 0)
    assert await settle(document, other) == "Jello my dear world"
    other.insert(0, ">")
    await settle(document, other)
    assert origins == ["local"] * 5 + ["remote"]


async def test_set_text_leaves_alone_what_it_does_not_change(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    document.insert(0, "first 🙂 line\nsecond line\nthird line")
    await settle(document, other)
    document.set_text("1st 🙂 line\nsecond line\n3rd line")
    other.set_text("first 🙂 line\nsecond, longer line\nthird line")
    assert await settle(document, other) == "1st 🙂 line\nsecond, longer line\n3rd line"
    other.insert(0, "> ")
    document.set_text(document.text.replace("longer", "shorter"))
    assert await settle(document, other) == "> 1st 🙂 line\nsecond, shorter line\n3rd line"


@pytest.mark.parametrize(("position", "length"), [(-1, 0), (0, -1), (4, 0), (2, 2), (0, 4)])
async def test_edits_outside_of_the_text_change_nothing(open_client: Open, position: int, length: int) -> None:
    document = await (await open_client()).document("notes")
    document.insert(0, "🙂bc")
    with pytest.raises(SynclineError) as error:
        document.replace(position, length, "x")
    assert error.value.code == "operation_out_of_range"
    with pytest.raises(SynclineError):
        document.apply([3, -1])
    assert document.text == "🙂bc"


async def test_half_a_character_is_refused_here(open_client: Open) -> None:
    document = await (await open_client()).document("notes")
    with pytest.raises(SynclineError) as error:
        document.insert(0, "\ud83d")
    assert error.value.code == "operation_invalid"
    document.insert(0, "ok")
    await document.settled()


async def test_an_edit_that_is_on_its_way_as_its_author_becomes_a_reader_is_taken_back(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    await ada.create_document("notes", "fixed", default_role="reader")
    document, other = await ada.document("notes"), await bob.document("notes")
    held = mirror(other)
    refused: list[tuple[Operation, str]] = []
    other.on_refused(lambda operation, code: refused.append((operation, code)))
    other.role = "editor"  # as before it has heard
    other.insert(5, "!")
    other.delete(0, 2)
    assert other.text == "xed!"
    document.insert(0, "pre")
    await settle(document, other)
    assert other.text == held[0] == "prefixed"
    assert [code for _, code in refused] == ["forbidden"]
    await document.grant(bob.user, "editor")
    await bob.ping()
    other.insert(0, "now ")
    assert await settle(document, other) == "now prefixed"


async def test_a_too_large_edit_is_taken_back_and_work_goes_on(tmp_path: Path) -> None:
    async with (
        serving(tmp_path, documents={"max_length": 2000}) as app,
        await connect(ws_url(app)) as ada,
        await connect(ws_url(app)) as bob,
    ):
        document, other = await ada.document("notes"), await bob.document("notes")
        document.insert(0, "beginning ")
        await settle(document, other)
        document.insert(10, "x" * 3000)
        await document.sent()
        document.insert(0, "kept ")
        document.insert(5 + 10 + 1500, "in the middle of what goes")
        other.delete(0, 5)
        text = await settle(document, other)
        # What was typed inside of the refused text stays.
        assert text == "kept ning in the middle of what goes"


async def test_a_long_text_goes_in_pieces(open_client: Open) -> None:
    """A paste larger than a message may be: in one frame it would end the connection."""
    ada, bob = await open_client(), await open_client(codec="msgpack")
    document, other = await ada.document("notes"), await bob.document("notes")
    text = "".join(chr(0x4E00 + number % 5000) for number in range(600_000))
    document.insert(0, "[]")
    document.insert(1, text)
    assert await settle(document, other) == f"[{text}]"
    assert document.revision > 5
    assert ada.reconnects == bob.reconnects == 0


async def test_pending_edits_are_bounded(open_client: Open) -> None:
    clock = GateClock()
    ada = await open_client(clock=clock)
    document = await ada.document("notes", pending_limit=100)
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    document.insert(0, "x" * 90)
    with pytest.raises(BufferFull):
        document.insert(0, "y" * 20)
    assert document.text == "x" * 90
    document.delete(0, 80)  # what is composed away counts no more
    document.insert(0, "y" * 20)
    clock.gate.set()
    await document.settled()
    assert document.text == "y" * 20 + "x" * 10


async def test_cursors_and_collaborators(open_client: Open) -> None:
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    document = await ada.document("notes")
    document.insert(0, "a🙂b and the rest")
    await document.settled()
    document.set_cursor(3, 6)
    other = await bob.document("notes")
    moved = asyncio.Event()
    other.on_cursors(moved.set)
    await until(lambda: other.cursors == {document.client_id: (3, 6)})
    assert moved.is_set() or other.cursors
    person = other.collaborators[document.client_id]
    assert (person.name, person.user, person.role, person.anchor, person.head) == ("Ada", ada.user, "owner", 3, 6)
    other.insert(0, "🎉🎉")  # at once, before the server knows
    assert other.cursors == {document.client_id: (5, 8)}
    await settle(document, other)
    assert other.cursors == {document.client_id: (5, 8)}
    # Writing moves one's cursor behind what was written.
    document.insert(2, "xyz")
    await settle(document, other)
    assert other.cursors == {document.client_id: (5, 5)}
    document.set_cursor(None)
    await until(lambda: not other.cursors)
    assert document.client_id in other.collaborators
    await document.leave()
    await until(lambda: not other.collaborators)
    with pytest.raises(SynclineError):
        other.set_cursor(1000)


async def test_edits_made_while_away(open_client: Open) -> None:
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    document.insert(0, "The fox jumps.")
    await settle(document, other)
    document.set_cursor(4)
    clock.gate.clear()
    cut(ada)
    await until(lambda: ada.state == "waiting")
    document.insert(4, "quick ")
    document.insert(10, "brown ")
    for number in range(40):
        other.insert(len(other) - 1, f" {number}")
        await other.settled()
    assert document.revision == 1
    clock.gate.set()
    text = await settle(document, other)
    assert text.startswith("The quick brown fox jumps 0 1 2 3")
    assert ada.reconnects == 1


async def test_access_is_taken_away_and_given_back(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    await ada.create_document("notes", "text", default_role=None)
    document = await ada.document("notes")
    with pytest.raises(RequestError) as error:
        await bob.document("notes")
    assert error.value.code == "forbidden"
    await document.grant(bob.user, "editor")
    other = await bob.document("notes")
    await document.grant(bob.user, None)
    with pytest.raises(RequestError) as error:
        await other.wait_for(lambda: False)
    assert error.value.code == "forbidden"
    with pytest.raises(RequestError):
        other.insert(0, "x")
    await document.grant(bob.user, "editor")
    again = await bob.document("notes")
    assert again is not other
    again.insert(0, "con")
    assert await settle(document, again) == "context"


async def test_a_document_that_was_made_anew(tmp_path: Path) -> None:
    """A server that lost its memory: the guest is forgotten, the document another one; the work is handed over."""
    clock = GateClock()
    async with serving(tmp_path) as first:
        port = first.port
        ada = await connect(ws_url(first), clock=clock, backoff=QUICK)
        document = await ada.document("notes")
        held = mirror(document)
        document.insert(0, "known to the server")
        await document.settled()
        generation = document.generation
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
        document.insert(0, "not yet ")
    lost: list[LostWork] = []
    document.on_lost_work(lost.append)
    async with serving(tmp_path, server={"port": port}) as second, await connect(ws_url(second)) as bob:
        other = await bob.document("notes")
        other.insert(0, "another text")
        await other.settled()
        clock.gate.set()
        await until(lambda: lost)
        assert document.generation == other.generation != generation
        assert document.text == held[0] == "another text"
        assert lost == list(document.lost_work)
        assert lost[0].content == "not yet known to the server"
        assert lost[0].base == "known to the server"
        assert [apply(lost[0].base, operation) for operation in lost[0].operations] == [lost[0].content]
        document.insert(0, "yet ")
        assert await settle(document, other) == "yet another text"
        await ada.close()


async def test_leaving(open_client: Open) -> None:
    ada = await open_client()
    async with await ada.document("notes") as document:
        document.insert(0, "x")
        await document.settled()
    waiting = pytest.raises(Closed)
    with waiting:
        document.insert(0, "y")
    with pytest.raises(Closed):
        await document.settled()
    await document.leave()
    assert (await ada.document("notes")).text == "x"


async def test_what_is_held_back(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")
    document.insert(0, "one three")
    await settle(document, other)
    held = mirror(document)
    document.hold()
    arrived: list[int] = []
    document.on_committed(lambda committed: arrived.append(committed.revision))
    for number, text in enumerate(("two ", "and a half "), 2):
        other.insert(len(other) - 5, text)
        await other.settled()
        await document.wait_for(lambda number=number: number in arrived)  # type: ignore[misc]
    assert (document.text, document.held) == ("one three", 2)
    document.insert(9, "!")
    await document.settled()
    assert document.text == held[0] == "one three!"
    await other.wait_for(lambda: other.revision == 4)
    assert other.text == "one two and a half three!"
    document.show(2)
    assert (document.text, document.held) == ("one two three!", 1)
    document.insert(0, "> ")
    document.release()
    assert await settle(document, other) == held[0] == "> one two and a half three!"
    assert document.hold_overflows == 0


async def test_a_full_hold_shows_the_oldest(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    document, other = await ada.document("notes", hold_limit=3), await bob.document("notes")
    document.hold()
    for number in range(5):
        other.insert(number, str(number))
        await other.settled()
    await until(lambda: document.hold_overflows == 2)
    assert (document.text, document.held) == ("01", 3)
    document.release()
    assert document.text == "01234"


async def test_listeners_may_edit(open_client: Open) -> None:
    """Each listener is told of every change in order, also of those that another listener makes meanwhile."""
    ada, bob = await open_client(), await open_client()
    document, other = await ada.document("notes"), await bob.document("notes")

    def answer(operation: Operation, origin: str) -> None:
        if origin == "remote" and "?" in document.text:
            document.set_text(document.text.replace("?", "!"))

    document.on_change(answer)
    held = mirror(document)
    for _ in range(20):
        other.insert(0, "?")
        await asyncio.sleep(0)
    await other.settled()
    await until(lambda: other.text == "!" * 20)
    assert await settle(document, other) == held[0]


async def test_what_is_written_at_a_cursor_leaves_it_where_it_is(open_client: Open) -> None:
    """By the server's rule, so that nobody has to correct it: neither who wrote, nor the server, nor who comes later."""
    ada, bob = await open_client(name="Ada"), await open_client(name="Bob")
    document = await ada.document("notes")
    document.insert(0, "both here ")
    await document.settled()
    document.set_cursor(10)
    other = await bob.document("notes")
    await until(lambda: other.cursors == {document.client_id: (10, 10)})
    other.insert(10, "Bob's")
    assert other.cursors == {document.client_id: (10, 10)}
    await settle(document, other)
    assert other.cursors == {document.client_id: (10, 10)}
    later = await (await open_client()).document("notes")
    assert later.cursors[document.client_id] == (10, 10)
    document.insert(10, "Ada's ")
    await settle(document, other)
    assert document.text == "both here Ada's Bob's"
    assert other.cursors == {document.client_id: (16, 16)}
