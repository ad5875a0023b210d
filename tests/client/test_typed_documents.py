"""Documents of the types rich-text and json through the Python client; its state alone in random schedules."""

from __future__ import annotations

import asyncio
import copy
import random
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncline.client import BufferFull, Closed, Document, Options, RequestError, connect
from syncline.client.document_state import DocumentState
from syncline.client.document_values import Origin, Request
from syncline.core.errors import SynclineError, TooFarBehind
from syncline.core.json.json_type import JsonType
from syncline.core.types import document_type, open_document
from syncline.core.values.json_values import same_value
from syncline.server.documents.live_document import LiveDocument
from syncline.server.documents.submission import Submission
from tests.oracle.edits import random_content, random_edit
from tests.serving import serving, ws_url
from tests.waiting import until

from .links import QUICK, GateClock, Open, cut

TypeName = Literal["rich-text", "json"]
NAMES: list[TypeName] = ["rich-text", "json"]
every_type = pytest.mark.parametrize("name", NAMES)


# The state alone ----------------------------------------------------------------------------------------------------


class Desk:
    """A client's state with its lines to and from the server."""

    def __init__(self, name: str, client: str) -> None:
        self.state = DocumentState(document_type(name), client)
        self.up: list[Any] = []
        self.down: list[Any] = []
        self.shown: Any = None
        self.asked = 0  # requests

    def mirror(self, changes: list[Any]) -> None:
        """What a listener would have: the changes alone, from the last reset on."""
        kind = self.state.type
        for change in changes:
            content = kind.apply(kind.parse_content(copy.deepcopy(self.shown)), change.operation)
            self.shown = copy.deepcopy(kind.show(content))

    def edit(self, value: Any) -> None:
        self.mirror([self.state.edit(self.state.type.parse(copy.deepcopy(value)))])


class Server:
    """A document, and clients that lose and repeat what they send."""

    def __init__(self, name: str, seed: random.Random) -> None:
        self.random = seed
        self.name = name
        self.document = open_document(name, "d", "g")
        self.log: list[Any] = []
        self.desks = [Desk(name, f"c{number}") for number in range(3)]
        self.refused = self.undone = self.renamed = 0
        for desk in self.desks:
            self.join(desk)

    def join(self, desk: Desk, whole: Origin | None = None) -> None:
        desk.up.clear()
        desk.down.clear()
        state = desk.state
        state.detach()
        if not state.generation or whole:
            seq = self.document.last_seq(state.client)
            content = copy.deepcopy(self.document.content())
            if state.generation:
                desk.mirror(state.adopt(self.document.revision, content, seq, origin=whole or "rebased"))
            else:
                state.start("g", self.document.revision, content, seq)
                desk.shown = copy.deepcopy(state.content)
        else:
            missing = self.log[state.revision :]
            state.attach(self.document.last_seq(state.client), len(missing))
            for entry in missing:
                desk.mirror(self.told(desk, entry))
            if state.in_doubt:
                state.attach(self.document.last_seq(state.client), 0)
        assert desk.shown == state.content

    def told(self, desk: Desk, entry: Any) -> list[Any]:
        number, client, seq, operation, kind = entry
        return desk.state.receive(number, client, seq, desk.state.type.parse(copy.deepcopy(operation)), kind)

    def arrive(self, desk: Desk) -> None:
        seq, base, work = desk.up.pop(0)
        if self.random.random() < 0.15 and seq > self.document.last_seq(desk.state.client):
            self.refused += 1
            desk.down.append(("refused", seq))
            return
        client = desk.state.client
        if not isinstance(work, Request):
            told = copy.deepcopy(desk.state.type.describe(work))
            receipt = self.document.receive(client, "u", seq, base, told)
        else:
            try:
                receipt = self.document.undo(client, "u", seq, base, work.kind)
            except SynclineError:
                desk.down.append(("refused", seq))
                return
            self.undone += 1
        if not receipt.duplicate:
            entry = (receipt.revision, client, seq, receipt.entry.told(), receipt.entry.kind)
            self.log.append(entry)
            for one in self.desks:
                one.down.append(entry)

    def step(self) -> None:
        desk = self.random.choice(self.desks)
        state = desk.state
        what = self.random.random()
        if what < 0.07:
            desk.asked += 1
            state.request("undo" if self.random.random() < 0.6 else "redo")
        elif what < 0.4:
            value = random_edit(self.name, self.random, state.content)
            desk.edit(value)
        elif what < 0.6:
            submission = state.take()
            if submission is not None:
                desk.up.append(submission)
                if self.random.random() < 0.2:
                    desk.up.append(submission)
        elif what < 0.75 and desk.up:
            self.arrive(desk)
        elif what < 0.95 and desk.down:
            self.hear(desk)
        elif what > 0.98:
            desk.up.clear()
            if self.random.random() < 0.5:
                self.renamed += 1
                desk.state.rename(f"{desk.state.client}'")
            self.join(desk)
        assert desk.shown == state.content

    def hear(self, desk: Desk) -> None:
        entry = desk.down.pop(0)
        desk.mirror(desk.state.refuse(entry[1]) if entry[0] == "refused" else self.told(desk, entry))

    def settle(self) -> None:
        while True:
            for desk in self.desks:
                submission = desk.state.take()
                if submission is not None:
                    desk.up.append(submission)
                while desk.up:
                    self.arrive(desk)
            for desk in self.desks:
                while desk.down:
                    self.hear(desk)
            if all(desk.state.settled and not desk.up for desk in self.desks):
                return


@every_type
@given(st.integers(0, 2**32).map(random.Random))
def test_schedules_converge(name: str, seed: random.Random) -> None:
    server = Server(name, seed)
    for _ in range(40):
        server.step()
    server.settle()
    for desk in server.desks:
        assert desk.state.content == server.document.content() == desk.shown
        assert desk.state.revision == server.document.revision
        assert len(desk.state.finished) == desk.asked  # each request is answered once


@every_type
def test_schedules_undo(name: str) -> None:
    server = Server(name, random.Random(2))
    for _ in range(1500):
        server.step()
    server.settle()
    assert server.undone > 10 and server.renamed > 5


@every_type
@given(st.integers(0, 2**32).map(random.Random))
def test_a_lost_history_costs_no_edit(name: str, seed: random.Random) -> None:
    """One client gets the whole content instead of what it missed; its edits are carried over and arrive."""
    server = Server(name, seed)
    away = server.desks.pop()
    for _ in range(3):
        away.edit(random_edit(name, seed, away.state.content))
    for _ in range(20):
        server.step()
    server.settle()
    before = copy.deepcopy(server.document.content())
    edited = away.state.content
    server.desks.append(away)
    server.join(away, "rebased")
    assert away.state.revision == server.document.revision
    if not server.document.revision:
        assert away.state.content == edited
    server.settle()
    assert all(desk.state.content == server.document.content() for desk in server.desks)
    if away.state.seq == 0:  # nothing of its own was left to do
        assert server.document.content() == before


@every_type
@given(st.integers(0, 2**32).map(random.Random))
def test_a_content_that_is_not_the_servers_is_healed(name: str, seed: random.Random) -> None:
    """A fault of the client, or of the memory it runs in: what its user sees is another content. What is done on it before the
    server's has come is carried over."""
    server = Server(name, seed)
    for _ in range(20):
        server.step()
    server.settle()
    kind, document = document_type(name), server.document
    desk = seed.choice(server.desks)
    state = desk.state
    edits = seed.randrange(3)
    before = seed.random() < 0.5
    for _ in range(edits if before else 0):
        desk.edit(random_edit(name, seed, state.content))
    state.view = kind.parse_content(random_content(name, seed))
    desk.shown = copy.deepcopy(state.content)
    if state.settled:
        assert state.same(document.revision, document.hash()) == same_value(state.content, document.content())
    assert state.same(document.revision + 1, 0) is None
    told = state.diverged()
    assert told["revision"] == document.revision
    assert told["hash"] == (kind.hash(state.view) if state.settled else document.hash())
    state.detach()
    server.desks.remove(desk)
    for _ in range(0 if before else edits):
        desk.edit(random_edit(name, seed, state.content))
        assert state.settled or state.same(document.revision, 0) is None  # that cannot be told now
    for _ in range(seed.randrange(10)):
        server.step()
    server.settle()
    server.desks.append(desk)
    server.join(desk, "healed")
    server.settle()
    for one in server.desks:
        assert one.state.content == document.content() == one.shown
        assert one.state.same(document.revision, document.hash())


def started(revision: int, value: Any, **limits: int) -> tuple[DocumentState, Any]:
    """Of a JSON document; and what makes an operation of its components."""
    state = DocumentState(document_type("json"), "me", **limits)
    state.start("g", revision, value)
    return state, state.type.parse


def test_what_a_state_refuses() -> None:
    state, op = started(0, None, pending_limit=40)
    with pytest.raises(SynclineError):
        state.edit(op([{"p": ["k"], "oi": 1}]))
    with pytest.raises(BufferFull):
        state.edit(op([{"p": [], "od": None, "oi": "x" * 100}]))
    assert state.settled and state.content is None
    state.edit(op([{"p": [], "od": None, "oi": "x"}]))
    with pytest.raises(BufferFull):
        state.edit(op([{"p": [0], "si": "yyyyyyyyyyyyyyyyyyyyyyyyyy"}]))
    changes, lost = state.start("another", 0, None, 0)
    assert lost is not None and (lost.content, lost.base, len(lost.operations)) == ("x", None, 1)
    assert state.content is None and [change.origin for change in changes] == ["reset"]


@pytest.mark.parametrize("got_in", [False, True])
def test_under_another_name_it_is_sent_only_when_it_did_not_get_in(got_in: bool) -> None:
    state, op = started(1, {"n": 0})
    add = op([{"p": ["n"], "na": 1}])
    state.edit(add)
    state.take()
    undo = state.request("undo")
    state.detach()
    state.rename("me2")
    state.attach(0, 1)
    assert state.in_doubt and state.take() is None
    state.receive(2, "me" if got_in else "other", 1, add)
    if not got_in:
        assert state.in_doubt and state.take() is None
        state.attach(0, 0)
        assert state.take() == (1, 2, add)
        state.receive(3, "me2", 1, add)
    assert state.content == {"n": 1 if got_in else 2}
    assert state.take() == (1 if got_in else 2, 2 if got_in else 3, undo)
    state.detach()
    state.rename("me3")  # what was to be undone belongs to the old name
    assert state.settled and state.finished == [(undo, False)] and state.seq == 0


def test_under_another_name_its_work_is_carried_over_to_a_content() -> None:
    state, op = started(1, {"n": 0, "m": 0})
    state.edit(op([{"p": ["n"], "na": 1}]))
    state.take()
    state.detach()
    state.rename("me2")
    state.adopt(9, {"n": 0, "m": 5}, 0)
    assert state.content == {"n": 1, "m": 5}
    assert state.take() == (1, 9, op([{"p": ["n"], "na": 1}]))


# Through the server -------------------------------------------------------------------------------------------------


async def settle(*documents: Document) -> Any:
    for document in documents:
        await document.settled()
    head = max(document.revision for document in documents)
    for document in documents:
        await document.wait_for(lambda document=document: document.revision >= head)  # type: ignore[misc]
    assert all(document.content == documents[0].content for document in documents)
    return documents[0].content


@every_type
async def test_editing_together(open_client: Open, codec: str, name: TypeName) -> None:
    rng = random.Random(5)
    clients = [await open_client(codec=codec), await open_client(codec="json"), await open_client(codec="msgpack")]
    documents = [await client.document("d", type=name) for client in clients]
    for _ in range(60):
        document = rng.choice(documents)
        document.apply(random_edit(name, rng, document.content))
        if rng.random() < 0.2:
            await asyncio.sleep(0)
    assert await settle(*documents) == documents[0].content
    assert documents[0].type == name and documents[0].role == "owner" and len(documents[0].collaborators) == 2
    assert await clients[0].document("d", type=name) is documents[0]
    with pytest.raises(RequestError):
        await clients[0].document("d")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("away", [False, True])
async def test_edits_that_fit_are_not_made_one_that_does_not(open_client: Open, name: TypeName, away: bool) -> None:
    """It would be refused, and all of them be taken back."""
    clock = GateClock()
    ada, bob = (
        await open_client(options=Options(clock=clock, backoff=QUICK, max_send_bytes=40_000)),
        await open_client(),
    )
    if name == "json":
        await ada.create_document("d", type="json", content=[])
    document = await ada.document("d", type=name)
    refused: list[Any] = []
    document.on_refused(lambda operation, code: refused.append(code))
    if away:
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
    for number in range(9):
        text = str(number) * 10_000
        document.apply([{"insert": text}] if name == "rich-text" else [{"p": [0], "li": text}])
    clock.gate.set()
    await document.settled()
    assert not refused
    other = await bob.document("d", type=name)
    await until(lambda: other.revision == document.revision)
    assert other.content == document.content and str(document.content).count("8" * 10_000) == 1


@pytest.mark.parametrize("away", [False, True])
async def test_many_edits_of_one_string_that_wait_together_all_arrive(open_client: Open, away: bool) -> None:
    """More than one request may hold: they were refused, and all taken back."""
    clock = GateClock()
    ada, bob = await open_client(options=Options(clock=clock, backoff=QUICK)), await open_client()
    await ada.create_document("d", type="json", content={"text": "-" * 1500})
    document = await ada.document("d", type="json")
    refused: list[Any] = []
    document.on_refused(lambda operation, code: refused.append(code))
    if away:
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
    for number in range(1500):
        document.apply([{"p": ["text", 2 * number], "si": "x"}])
    assert document.content["text"] == "x-" * 1500
    clock.gate.set()
    await document.settled()
    assert not refused and document.content["text"] == "x-" * 1500
    other = await bob.document("d", type="json")
    await until(lambda: other.revision == document.revision)
    assert other.content == {"text": "x-" * 1500}


@pytest.mark.parametrize("name", ["text", *NAMES])
async def test_a_guest_that_is_another_one_now_goes_on(tmp_path: Path, name: TypeName) -> None:
    """A server with another secret: its documents are there, its guests are not."""
    clock = GateClock()
    edits: dict[str, Any] = {"rich-text": [{"insert": "x"}], "json": [{"p": [0], "li": "x"}], "text": ["x"]}

    def edit(document: Any) -> None:
        document.apply(copy.deepcopy(edits[name]))

    before, after = ({"secret": letter * 64} for letter in "ab")
    async with serving(tmp_path, "sqlite", auth=before) as first:
        port = first.port
        ada = await connect(ws_url(first), clock=clock, backoff=QUICK)
        if name == "json":
            await ada.create_document("d", type="json", content=[])
        document: Any = await ada.document("d", type=name)
        user, client = ada.user, document.client_id
        edit(document)
        await document.settled()
        clock.gate.clear()
        cut(ada)
        await until(lambda: ada.state == "waiting")
        edit(document)
        undone = asyncio.ensure_future(document.undo())
        await asyncio.sleep(0)
        edit(document)
    async with serving(tmp_path, "sqlite", auth=after, server={"port": port}) as second:
        bob = await connect(ws_url(second))
        other: Any = await bob.document("d", type=name)
        edit(other)
        await other.settled()
        clock.gate.set()
        assert await undone  # what it did itself, under whichever name
        await document.settled()
        assert (document.error, document.lost_work) == (None, type(document.lost_work)())
        assert ada.user != user and document.client_id != client
        edit(document)
        await document.settled()
        await other.wait_for(lambda: other.revision == document.revision)
        if name == "text":
            assert other.text == document.text == "xxxx"
        else:
            assert other.content == document.content == (["x"] * 4 if name == "json" else [{"insert": "xxxx"}])
        await ada.close()
        await bob.close()


async def test_set_content_moves_what_another_edits(open_client: Open) -> None:
    """By ``id`` and without: the edit is on the element that it was made on, and not on that which has its index now."""
    ada, bob = await open_client(), await open_client()
    before = {"tasks": [{"id": n, "title": f"task {n}"} for n in range(4)], "names": ["anna", "bert", "carl"]}
    await ada.create_document("d", type="json", content=before)
    mine, theirs = await ada.document("d", type="json"), await bob.document("d", type="json")
    tasks = before["tasks"]
    mine.set_content({"tasks": [tasks[3], tasks[0], tasks[2]], "names": ["carl", "anna", "bert"]})
    theirs.apply([{"p": ["tasks", 3, "title", 0], "si": "EDITED "}, {"p": ["names", 2, 0], "si": "EDITED "}])
    await settle(mine, theirs)
    edited = {"id": 3, "title": "EDITED task 3"}
    expected = {"tasks": [edited, tasks[0], tasks[2]], "names": ["EDITED carl", "anna", "bert"]}
    assert mine.content == theirs.content == expected
    # And within texts, by set_content of both.
    mine.set_content({"text": "one two three four"})
    await settle(mine, theirs)
    mine.set_content({"text": "1 two three 4"})
    theirs.set_content({"text": "one two, three four"})
    await settle(mine, theirs)
    assert mine.content == {"text": "1 two, three 4"}


async def test_what_has_more_components_than_may_be_is_refused_and_told(
    open_client: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that has fallen apart on its way past others: it was taken back, and nobody was told."""
    monkeypatch.setattr(JsonType, "split", lambda self, operation, limit=0: [operation])
    ada = await open_client()
    await ada.create_document("d", type="json", content={"text": "-" * 1500})
    document = await ada.document("d", type="json")
    refused: list[Any] = []
    document.on_refused(lambda operation, code: refused.append((len(operation[0]["o"]), code)))
    for number in range(1500):
        document.apply([{"p": ["text", 2 * number], "si": "x"}])
    await document.settled()
    await until(lambda: refused)
    assert refused == [(1500, "operation_invalid")] and document.content == {"text": "-" * 1500}
    assert not document.healed and not document.lost_work


async def test_callbacks_and_refusals(open_client: Open) -> None:
    ada, bob = await open_client(), await open_client()
    await ada.create_document("list", type="json", content={"items": [], "n": 0})
    mine, theirs = await ada.document("list", type="json"), await bob.document("list", type="json")
    seen: list[Any] = []
    theirs.on_change(lambda operation, origin: seen.append((operation, origin)))
    mine.apply([{"p": ["items", 0], "li": "a"}, {"p": ["n"], "na": 1}])
    assert await settle(mine, theirs) == {"items": ["a"], "n": 1}
    assert seen == [([{"p": ["items", 0], "li": "a"}, {"p": ["n"], "na": 1}], "remote")]
    mine.set_content({"items": ["a", "b"], "n": 1})
    assert await settle(mine, theirs) == {"items": ["a", "b"], "n": 1}
    with pytest.raises(SynclineError):
        mine.apply([{"p": ["items", 9], "li": 1}])
    await ada.request("document:grant", {"document": "list", "user": bob.user, "role": "reader"})
    refused: list[Any] = []
    theirs.on_refused(lambda operation, code: refused.append((operation, code)))
    theirs.role = "editor"  # as before it has heard
    theirs.apply([{"p": ["n"], "na": 5}])
    await theirs.settled()
    assert refused == [([{"p": ["n"], "na": 5}], "forbidden")] and theirs.content["n"] == 1
    assert seen[-1] == ([{"p": ["n"], "na": -5}], "refused")
    await theirs.leave()
    with pytest.raises(Closed):
        theirs.apply([{"p": ["n"], "na": 5}])
    with pytest.raises(RequestError) as error:
        await bob.document("list")
    assert error.value.code == "invalid_data"
    with pytest.raises(RequestError):
        await bob.document("list", type="rich-text")


#: type -> what is there, what it becomes here by a fault, what the other one does until the next hash
DAMAGES: dict[TypeName, tuple[Any, Any, list[Any]]] = {
    "json": (
        {"items": ["a", {"b": 1}], "n": 0},
        {"items": ["a", {"b": 1.5}], "n": 0},
        [[{"p": ["n"], "na": 1}], [{"p": ["items", 0, 1], "si": "!"}]],
    ),
    "rich-text": (
        [{"insert": "Hello"}, {"insert": {"image": "x"}}],
        [{"insert": "Hello", "attributes": {"bold": True}}, {"insert": {"image": "x"}}],
        [[{"retain": 6}, {"insert": "!"}], [{"retain": 5, "attributes": {"color": "red"}}]],
    ),
}


@every_type
@pytest.mark.parametrize("edits", [False, True])
async def test_a_damaged_content_is_healed(tmp_path: Path, name: TypeName, edits: bool) -> None:
    start, damaged, operations = DAMAGES[name]
    async with (
        serving(tmp_path, documents={"hash_operations": 2}) as app,
        await connect(ws_url(app), backoff=QUICK) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        await ada.create_document("d", type=name, content=start)
        mine, theirs = await ada.document("d", type=name), await bob.document("d", type=name)
        kind = theirs._state.type
        theirs._state.view = kind.parse_content(copy.deepcopy(damaged))
        shown = copy.deepcopy(damaged)
        origins: list[str] = []

        def mirror(operation: Any, origin: str) -> None:
            nonlocal shown
            origins.append(origin)
            content = kind.apply(kind.parse_content(copy.deepcopy(shown)), kind.parse(operation))
            shown = copy.deepcopy(kind.show(content))

        theirs.on_change(mirror)
        for operation in operations:
            mine.apply(operation)
            await mine.settled()
        if edits:  # while it is being healed
            await until(lambda: theirs._whole == "healed" or theirs.healed == 1)
            theirs.apply(operations[0])
        await until(lambda: theirs.healed == 1)
        content = await settle(mine, theirs)
        assert shown == content
        assert origins.count("healed") == 1 and "reset" not in origins
        assert mine.healed == 0 and app.node.counters.divergence_claims == 1
        assert not theirs.lost_work
        if not edits:
            assert origins == ["remote", "remote", "healed"]


@every_type
async def test_a_hash_that_is_wrong_itself_is_believed_ever_less(tmp_path: Path, name: TypeName) -> None:
    """Also where others go on editing, so that each content that comes is another one."""
    async with (
        serving(tmp_path, documents={"hash_operations": 1}) as app,
        await connect(ws_url(app), backoff=QUICK) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        await ada.create_document("d", type=name, content=DAMAGES[name][0])
        document, other = await ada.document("d", type=name), await bob.document("d", type=name)
        document._state.type = WrongHash(document._state.type)
        for _ in range(20):
            other.apply(DAMAGES[name][2][0])
            await other.settled()
        await settle(document, other)
        assert 2 <= app.node.counters.divergence_claims <= 5  # of 20: the first, second, fourth, eighth, sixteenth


@pytest.mark.parametrize("damage", [(3, 4), float("nan"), "\ud800", {"__proto__": 1}, {1: 2}, {1, 2}], ids=repr)
async def test_a_content_that_is_none_any_more_is_healed(tmp_path: Path, damage: Any) -> None:
    """An application's slip: it changed what it was only to look at."""
    async with (
        serving(tmp_path, documents={"hash_operations": 2}) as app,
        await connect(ws_url(app), backoff=QUICK) as ada,
        await connect(ws_url(app), backoff=QUICK) as bob,
    ):
        await ada.create_document("d", type="json", content={"n": 0, "size": [1]})
        mine, theirs = await ada.document("d", type="json"), await bob.document("d", type="json")
        theirs._state.content["size"] = damage
        for _ in range(2):
            mine.apply([{"p": ["n"], "na": 1}])
            await mine.settled()
        await until(lambda: theirs.healed == 1)
        theirs.apply([{"p": ["size", 0], "na": 1}])
        assert await settle(mine, theirs) == {"n": 2, "size": [2]}
        assert bob.state == "open" and app.node.counters.divergence_claims == 1


class WrongHash:
    """A type with another hash than the server's."""

    def __init__(self, kind: Any) -> None:
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, name)

    def hash(self, content: Any) -> int:
        return int(self._kind.hash(content)) ^ 1


@every_type
async def test_edits_made_without_a_connection(tmp_path: Path, name: TypeName) -> None:
    rng = random.Random(3)
    async with serving(tmp_path, "sqlite") as app:
        clock = GateClock()
        async with await connect(ws_url(app), backoff=QUICK, clock=clock) as ada:
            async with await connect(ws_url(app), backoff=QUICK) as bob:
                mine, theirs = await ada.document("d", type=name), await bob.document("d", type=name)
                mine.apply(random_edit(name, rng, mine.content))
                await settle(mine, theirs)
                clock.gate.clear()
                cut(ada)
                await until(lambda: ada.state != "open")
                for _ in range(10):
                    mine.apply(random_edit(name, rng, mine.content))
                    theirs.apply(random_edit(name, rng, theirs.content))
                await theirs.settled()
                clock.gate.set()
                await until(lambda: ada.reconnects == 1)
                await settle(mine, theirs)


@every_type
async def test_an_edit_that_the_server_sends_back_is_not_lost(
    tmp_path: Path, name: TypeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too much was committed since its revision: the client joins again and moves it to the head itself."""
    rng = random.Random(7)
    async with serving(tmp_path) as app:
        async with await connect(ws_url(app), backoff=QUICK) as ada, await connect(ws_url(app), backoff=QUICK) as bob:
            mine, theirs = await ada.document("d", type=name), await bob.document("d", type=name)
            mine.apply(random_edit(name, rng, mine.content))
            await settle(mine, theirs)
            receive, sent_back = Submission.receive, 0

            def far(submission: Submission, core: Any, time: float) -> Any:
                nonlocal sent_back
                if submission.collaborator.session.user == ada.user and sent_back < 3:
                    sent_back += 1
                    raise TooFarBehind("for the test")
                return receive(submission, core, time)

            monkeypatch.setattr(Submission, "receive", far)
            for _ in range(10):
                mine.apply(random_edit(name, rng, mine.content))
                theirs.apply(random_edit(name, rng, theirs.content))
            await settle(mine, theirs)
            assert sent_back == 3 and not mine.lost_work


@pytest.mark.parametrize("name", ["text", "rich-text", "json"])
async def test_what_is_sent_back_is_joined_for_once(
    tmp_path: Path, name: Literal["text", "rich-text", "json"], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal asks for a join after a wait, the push that comes with it for one at once. A second one, after the first, would take the
    place of this client's own former self, and what that had sent would be refused once more."""
    clock = GateClock()
    async with serving(tmp_path) as app, await connect(ws_url(app), backoff=QUICK, clock=clock) as ada:
        document = await ada.document("d", type=name)  # type: ignore[call-overload]
        adding, receive = LiveDocument.add, Submission.receive
        joins: list[str] = []
        reasons = [TooFarBehind("for the test")]

        def add(live: LiveDocument, collaborator: Any) -> None:
            joins.append(collaborator.client)
            adding(live, collaborator)

        def far(submission: Submission, core: Any, time: float) -> Any:
            if reasons:
                raise reasons.pop()
            return receive(submission, core, time)

        monkeypatch.setattr(LiveDocument, "add", add)
        monkeypatch.setattr(Submission, "receive", far)
        clock.gate.clear()
        if name == "text":
            document.insert(0, "text")
        else:
            document.apply([{"insert": "text"}] if name == "rich-text" else [{"p": [], "od": None, "oi": 1}])
        await document.settled()
        clock.gate.set()
        await until(lambda: not ada._timers)
        await document.leave()  # the server has answered all that came before
        assert joins == [document.client_id]


@every_type
async def test_undo_and_redo_leave_others_alone(open_client: Open, codec: str, name: TypeName) -> None:
    ada, bob = await open_client(codec=codec), await open_client()
    first: Any = [{"insert": "Hello, world"}] if name == "rich-text" else {"items": [1, 2], "n": 0}
    await ada.create_document("d", type=name, content=first)
    document, other = await ada.document("d", type=name), await bob.document("d", type=name)
    origins: list[str] = []
    document.on_change(lambda operation, origin: origins.append(origin))
    assert (document.can_undo, await document.undo(), await document.redo()) == (0, False, False)
    if name == "rich-text":
        document.apply([{"retain": 5, "attributes": {"bold": True}}])
        undone: Any = [{"insert": "Oh! Hello, world"}]
        redone: Any = [{"insert": "Oh! "}, {"insert": "Hello", "attributes": {"bold": True}}, {"insert": ", world"}]
    else:
        document.apply([{"p": ["items", 0], "ld": 1}])
        undone, redone = {"items": [1, 2], "n": 7}, {"items": [2], "n": 7}
    await settle(document, other)
    other.apply([{"insert": "Oh! "}] if name == "rich-text" else [{"p": ["n"], "na": 7}])
    await settle(document, other)
    assert document.can_undo == 1
    assert await document.undo()
    assert await settle(document, other) == undone
    assert (document.can_undo, document.can_redo) == (0, 1)
    assert await document.redo()
    assert await settle(document, other) == redone
    assert origins == ["local", "remote", "undo", "redo"]
    await document.restore(0)
    assert await settle(document, other) == first
    assert origins[-1] == "restore"


async def test_an_undo_waits_for_what_was_done_before_it(open_client: Open) -> None:
    document = await (await open_client()).document("d", type="json")
    document.apply([{"p": [], "od": None, "oi": [1]}])
    undone = asyncio.create_task(document.undo())
    await asyncio.sleep(0)  # it stands in the queue
    document.apply([{"p": [0], "ld": 1}])
    assert await undone
    await document.settled()
    assert document.content is None


@every_type
async def test_an_undo_that_loses_its_connection(open_client: Open, name: TypeName) -> None:
    clock = GateClock()
    ada, bob = await open_client(clock=clock), await open_client()
    document, other = await ada.document("d", type=name), await bob.document("d", type=name)
    mine: Any = [{"insert": "mine"}] if name == "rich-text" else [{"p": [], "od": None, "oi": ["mine"]}]
    theirs: Any = [{"insert": "theirs"}] if name == "rich-text" else [{"p": [0], "li": "theirs"}]
    document.apply(mine)
    await settle(document, other)
    clock.gate.clear()
    undone = asyncio.create_task(document.undo())
    await asyncio.sleep(0)
    cut(ada)
    await until(lambda: ada.state == "waiting")
    other.apply(theirs)
    await other.settled()
    clock.gate.set()
    assert await undone
    await settle(document, other)
    assert (document.can_undo, document.can_redo) == (0, 1)


def test_a_committed_edit_is_not_carried_over() -> None:
    """Its ack was lost, and so was the history behind it: the whole content, which holds it, must not get it twice."""
    state, op = started(0, [])
    state.edit(op([{"p": [0], "li": "mine"}]))
    submission = state.take()
    assert submission is not None and submission.seq == 1
    state.edit(op([{"p": [1], "li": "later"}]))
    state.detach()
    state.adopt(7, ["theirs", "mine"], 1)
    assert state.content == ["theirs", "mine", "later"] and len(state.queue) == 1
    request = state.request("undo")
    state.take()
    state.receive(8, "me", 2, state.in_flight)
    state.take()
    assert state.in_flight is request
    state.detach()
    state.adopt(9, ["theirs", "mine"], 3)
    assert state.finished == [(request, True)] and state.settled
