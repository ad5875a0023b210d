"""The scenarios that both clients pass: tests/scenarios/documents.json, which says what its steps mean."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncline.client import Client, Document
from syncline.client.code_points import TEXT
from syncline.client.document_state import UNFIT, DocumentState
from syncline.client.document_values import Change, LostWork, Request
from syncline.client.errors import Diverged
from syncline.core.types import document_type
from tests.waiting import until

from .links import GateClock, Open, cut


def expanded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"$repeat"}:
            text, times = value["$repeat"]
            return text * times
        return {key: expanded(item) for key, item in value.items()}
    return [expanded(item) for item in value] if isinstance(value, list) else value


FILE = expanded(json.loads((Path(__file__).parent.parent / "scenarios" / "documents.json").read_text()))


def each(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("scenario", [pytest.param(one, id=one["name"]) for one in FILE[kind]])


def steps_of(scenario: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    for step in scenario["steps"]:
        [name] = step.keys() - {"by", "times", "fails"}
        for _ in range(step.get("times", 1)):
            yield name, step[name], step


class Machine:
    """One method for each step."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.type = TEXT if scenario["type"] == "text" else document_type(scenario["type"])
        self.state = DocumentState(self.type, "me")
        self.state.start("g", scenario.get("revision", 0), scenario["content"])
        self.heard: list[Change] = []
        self.gone: LostWork | None = None

    def form(self, operation: Any) -> Any:
        return self.type.describe(self.type.parse(operation))

    # What happens ----------------------------------------------------------------------------------------------------
    def edit(self, operation: Any) -> None:
        self.heard.append(self.state.edit(self.type.parse(operation)))

    def undo(self, _: Any) -> None:
        self.state.request("undo")

    def redo(self, _: Any) -> None:
        self.state.request("redo")

    def restore(self, revision: int) -> None:
        self.state.request("restore", revision)

    def receives(self, entry: dict[str, Any]) -> None:
        operation = self.type.parse(entry["operation"])
        kind, count = entry.get("kind", "edit"), entry.get("count", 1)
        self.heard += self.state.receive(entry["revision"], entry["client"], entry["seq"], operation, kind, count)

    def refused(self, seq: int) -> None:
        self.heard += self.state.refuse(seq)

    def resend(self, _: Any) -> None:
        self.state.resend()

    def cut(self, _: Any) -> None:
        self.state.detach()

    def joined(self, answer: dict[str, Any]) -> None:
        self.state.attach(answer["seq"], answer["missing"])

    def loaded(self, answer: dict[str, Any]) -> None:
        generation, revision, content, seq = (
            answer.get("generation", "g"),
            answer["revision"],
            answer["content"],
            answer["seq"],
        )
        if generation == self.state.generation:
            told = answer.get("pending")
            pending = None if told is None else [self.type.parse(item) for item in told]
            self.heard += self.state.adopt(revision, content, seq, pending, answer.get("origin", "remote"))
        else:
            changes, self.gone = self.state.start(generation, revision, content, seq)
            self.heard += changes

    def renamed(self, client: str) -> None:
        self.state.rename(client)

    def hold(self, _: Any) -> None:
        self.state.hold()

    def release(self, _: Any) -> None:
        self.heard += self.state.release()

    def cursor(self, place: dict[str, Any]) -> None:
        read = self.state.type.parse_position
        self.state.place_cursor(place["client"], read(place["anchor"]), read(place["head"]))

    def limit(self, bulk: int) -> None:
        self.state.operation_limit = bulk

    # What must be true -----------------------------------------------------------------------------------------------
    def sends(self, wanted: dict[str, Any] | None) -> None:
        sent = self.state.take()
        if sent is None or wanted is None:
            assert sent is wanted
            return
        told: dict[str, Any] = {"seq": sent.seq, "revision": sent.revision}
        if isinstance(sent.work, Request):
            assert told | {"kind": sent.work.kind} == wanted
        else:
            assert told | {"operation": self.type.describe(sent.work)} == wanted | {
                "operation": self.form(wanted["operation"])
            }

    def sends_pieces(self, count: int | bool) -> None:
        pieces = 0
        while (sent := self.state.take()) is not None:
            pieces += 1
            assert not isinstance(sent.work, Request)
            again = self.type.parse(self.type.describe(sent.work))
            self.state.receive(sent.revision + 1, self.state.client, sent.seq, again)
        assert self.state.settled and (count is True or pieces == count)

    def tells(self, wanted: list[dict[str, Any]] | None) -> None:
        told = self.state.tell_pending()
        if told is None or wanted is None:
            assert told is wanted
            return
        assert [(one.seq, self.type.describe(one.operation)) for one in told] == [
            (one.get("seq"), self.form(one["operation"])) for one in wanted
        ]

    def shows(self, content: Any) -> None:
        assert self.state.content == content

    def confirmed(self, content: Any) -> None:
        assert self.state.confirmed == content

    def waits(self, count: int) -> None:
        assert (self.state.unsettled, self.state.settled) == (count, count == 0)

    def events(self, wanted: list[Any]) -> None:
        heard, self.heard = self.heard, []
        assert [change.origin for change in heard] == [event[0] for event in wanted]
        for change, (_, *operations) in zip(heard, wanted, strict=True):
            for operation in operations:
                assert self.type.describe(change.operation) == self.form(operation)

    def answered(self, wanted: list[Any]) -> None:
        finished, self.state.finished = self.state.finished, []
        assert [[request.kind, done] for request, done in finished] == wanted

    def lost(self, wanted: dict[str, Any] | None) -> None:
        gone = self.gone
        if gone is None or wanted is None:
            assert gone is wanted
            return
        assert [self.type.describe(one) for one in gone.operations] == [self.form(one) for one in wanted["operations"]]
        assert (gone.content, gone.base) == (wanted["content"], wanted["base"])

    def cursor_at(self, place: dict[str, Any]) -> None:
        read = self.state.type.parse_position
        assert self.state.cursor(place["client"]) == (read(place["anchor"]), read(place["head"]))


@each("machine")
def test_the_state_machine(scenario: dict[str, Any]) -> None:
    machine = Machine(scenario)
    for name, value, step in steps_of(scenario):
        if step.get("fails"):
            with pytest.raises((Diverged, *UNFIT)):
                getattr(machine, name)(value)
        else:
            getattr(machine, name)(value)


class Party:
    """A client of a scenario with its handle of the document."""

    def __init__(self, client: Client, clock: GateClock, document: Document) -> None:
        self.client = client
        self.clock = clock
        self.document = document
        self.origins: list[str] = []
        self.refused: list[str] = []
        document.on_change(lambda operation, origin: self.origins.append(origin))
        document.on_refused(lambda operation, code: self.refused.append(code))


@each("server")
async def test_on_a_server(open_client: Open, scenario: dict[str, Any]) -> None:
    kind: str = scenario["type"]
    parties: dict[str, Party] = {}
    for name in scenario["clients"]:
        clock = GateClock()
        client = await open_client(name=name, clock=clock)
        if not parties:
            content = {"text": scenario["content"]} if kind == "text" else {"content": scenario["content"]}
            await client.create_document("d", type=kind, **content)
        parties[name] = Party(client, clock, await client.document("d", type=kind))
    reader = await open_client(name="reader")

    async def level() -> None:
        there = [one.document for one in parties.values() if one.client.state == "open"]
        for document in there:
            await document.settled()
        head = max(document.revision for document in there)
        for document in there:
            await document.wait_for(lambda document=document: document.revision >= head)  # type: ignore[misc]

    async def fresh() -> Document:
        document = await reader.document("d", type=kind)
        await document.leave()
        return document

    for name, value, step in steps_of(scenario):
        party = parties.get(step.get("by", ""))
        if party is None:
            if name == "settle":
                await level()
            elif name == "lives":
                assert (await fresh()).revision == value
            else:
                assert name == "shows"
                there = [one.document for one in parties.values() if one.client.state == "open"]
                assert [one.content for one in (*there, await fresh())] == [value] * (len(there) + 1)
        elif name == "edit":
            party.document.apply(value)
        elif name in ("undo", "redo"):
            assert await getattr(party.document, name)()
        elif name == "cut":
            party.clock.gate.clear()
            cut(party.client)
            await until(lambda party=party: party.client.state == "waiting")  # type: ignore[misc]
        elif name == "back":
            party.clock.gate.set()
            await until(lambda party=party: party.client.state == "open")  # type: ignore[misc]
        elif name == "shows":
            assert party.document.content == value
        elif name == "refused":
            await party.document.settled()
            assert party.refused == value
            party.refused.clear()
        elif name == "events":
            assert party.origins == [origin for [origin] in value]
            party.origins.clear()
        elif name == "cursor":
            party.document.set_cursor(value["anchor"], value["head"])
        else:
            assert name == "cursor_at"
            other = parties[value["client"]].document.client_id
            place = (value["anchor"], value["head"])
            await until(lambda party=party, other=other, place=place: party.document.cursors.get(other) == place)  # type: ignore[misc]
