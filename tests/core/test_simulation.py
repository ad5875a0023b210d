"""Two to 32 clients and one server in memory, with everything that a network and a crash can do to them.

The clients are Wave's simplification of Jupiter: at most one operation in flight, everything typed meanwhile composed
into one pending operation; or one undo, redo or restore in flight, before which everything typed is sent. The server is
a Document with a window of a few operations, a store (turn bodies and a snapshot), and commits in turns. Random steps:
edit, send, ask for an undo, deliver either way, deliver a copy twice or late, commit, refuse, cut a connection with all
that is on it, come back, crash the server before or after its commit. At the end everything is delivered:

* every client's text is the server's, and that is what replaying the store with the slow oracle gives;
* what was acknowledged is in the store, once; nothing else is there twice; what was refused is not there.
"""

from __future__ import annotations

import os
import random
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

import syncline
from syncline.core.documents.text_type import TextType
from syncline.core.errors import ErrorCode, OutdatedRevision, SynclineError
from syncline.core.ot.ot import Operation, apply, compose, invert, transform
from syncline.core.storage.commits import Entry, decode_entries, encode_entries
from tests.oracle import ot as oracle
from tests.oracle.strategies import ALPHABET
from tests.scale import SEED, by_level, seeds

#: Fewer where every check is on, which is ten times slower.
CHECKED = Path(syncline.__file__).parts[-4:-2] in (("debug", "lib"), ("asan", "lib"))
SCHEDULES = int(os.environ.get("SYNCLINE_FUZZ_SCHEDULES") or (500 if CHECKED else by_level(10_000, 40_000, 300_000)))

MAX_LENGTH = 150  # in reach, so that growing is refused at times


@dataclass
class Sent:
    """A submission on its way."""

    client: str
    seq: int
    base: int
    operation: Operation | None  # None: the server makes it,
    kind: Any = "edit"  # of this kind


@dataclass
class Client:
    """A client with its connection: two queues, gone when the connection is."""

    name: str
    unit: Any
    choices: random.Random
    revision: int = 0
    confirmed: str = ""
    seq: int = 0
    in_flight: Operation | None = None
    pending: Operation | None = None
    asked: str = ""  # what is in flight instead of an operation
    sent: Sent | None = None
    connected: bool = False
    up: deque[Sent] = field(default_factory=deque)
    down: deque[Any] = field(default_factory=deque)
    acknowledged: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)

    @property
    def text(self) -> str:
        text = self.confirmed if self.in_flight is None else apply(self.confirmed, self.in_flight)
        return text if self.pending is None else apply(text, self.pending)

    def edit(self) -> None:
        text, at = self.text, 0
        components: oracle.Components = []
        for _ in range(self.choices.randint(1, 3)):
            if at < len(text):
                keep = self.choices.randint(0, len(text) - at)
                if keep:
                    components.append(oracle.length(text[at : at + keep], self.unit))
                at += keep
            parts: oracle.Components = [
                "".join(self.choices.choices(ALPHABET, k=self.choices.choice([1, 1, 2, 3]))),
                -oracle.length(text[at : at + self.choices.randint(1, 8)], self.unit),
            ]
            self.choices.shuffle(parts)
            for part in parts:
                if isinstance(part, str):
                    components.append(part)
                elif part and self.choices.random() < 0.7:
                    components.append(part)
                    deleted = Operation([part], self.unit)
                    at += len(text[at:]) - len(apply(text[at:], deleted))
        operation = Operation(components, self.unit)
        self.pending = operation if self.pending is None else compose(self.pending, operation)

    def send(self) -> None:
        """The next operation; none while one is in flight."""
        if self.connected and self.in_flight is None and not self.asked and self.pending is not None:
            self.in_flight, self.pending = self.pending, None
            self.seq += 1
            self.submit()

    def ask(self, kind: str) -> None:
        """For an undo, say; what was typed before goes first."""
        self.send()
        if self.connected and self.in_flight is None and not self.asked:
            self.asked = kind
            self.seq += 1
            self.submit()

    def submit(self) -> None:
        assert (self.in_flight is not None) != bool(self.asked)
        self.sent = Sent(self.name, self.seq, self.revision, self.in_flight, self.asked or "edit")
        self.up.append(self.sent)

    def receive(self) -> None:
        kind, *arguments = self.down.popleft()
        if kind == "entry":
            self.take(*arguments)
        elif kind == "refused":
            self.refuse(*arguments)

    def take(self, revision: int, entry: Entry) -> None:
        """The committed operation that made ``revision``."""
        if revision <= self.revision:
            return
        assert revision == self.revision + 1
        operation = entry.in_unit(self.unit)
        self.confirmed = apply(self.confirmed, operation)
        self.revision = revision
        if entry.client == self.name and entry.kind != "edit":
            # The ack, but not in one's text yet: from here on like one of others.
            assert entry.kind == self.asked and entry.seq == self.seq
            self.acknowledged.add(entry.seq)
            self.asked, self.sent = "", None
        elif entry.client == self.name:
            assert self.in_flight is not None and entry.seq == self.seq
            assert operation == self.in_flight  # what one's own entry says is already in one's text
            self.acknowledged.add(entry.seq)
            self.in_flight = self.sent = None
            return
        if self.in_flight is not None:
            self.in_flight, operation = (
                transform(self.in_flight, operation, "left"),
                transform(operation, self.in_flight, "right"),
            )
        if self.pending is not None:
            self.pending = transform(self.pending, operation, "left")

    def refuse(self, seq: int) -> None:
        """Takes the operation in flight back; the rest goes on without it."""
        if (self.in_flight is None and not self.asked) or seq != self.seq:
            return
        self.refused.add(seq)
        if self.in_flight is None:
            self.asked, self.sent = "", None
            return
        if self.pending is not None:
            self.pending = transform(self.pending, invert(self.in_flight, self.confirmed), "left")
        self.in_flight = self.sent = None

    def lose(self) -> None:
        self.connected = False
        self.up.clear()
        self.down.clear()


class Server:
    def __init__(self, choices: random.Random) -> None:
        self.choices = choices
        self.store: list[bytes] = []  # one turn each
        self.revisions: list[int] = [0]  # after each turn
        self.snapshot: tuple[int, bytes] | None = None
        self.clients: dict[str, Client] = {}
        self.duplicates = self.widened = 0
        self.time = 0.0
        self.waiting: list[Sent] = []
        self.accepted: list[Entry] = []
        self.start()

    def start(self) -> None:
        self.waiting, self.accepted = [], []
        self.document = TextType().open(
            "notes", "g1", window_operations=self.choices.randint(0, 6), max_length=MAX_LENGTH, max_clients=2
        )
        if self.snapshot is not None:
            self.document.restore(*self.snapshot)
        for base, body in zip(self.revisions, self.store, strict=False):
            self.document.replay(base, decode_entries(body))
        assert self.document.revision == self.revisions[-1]

    def crash(self) -> None:
        """What was not committed is gone, and so are the connections."""
        for client in self.clients.values():
            client.lose()
        self.start()

    def turn(self) -> None:
        """Receives what has arrived."""
        for sent in self.waiting:
            client = self.clients[sent.client]
            try:
                if self.choices.random() < 0.04 and not self.knows(sent):
                    raise SynclineError(ErrorCode.FORBIDDEN)
                receipt = self.receive(sent, client)
            except SynclineError as error:
                if client.connected:
                    client.down.append(("refused", sent.seq))
                assert error.code in {
                    ErrorCode.FORBIDDEN,
                    ErrorCode.DOCUMENT_TOO_LARGE,
                    ErrorCode.SEQUENCE_CONFLICT,
                    ErrorCode.NOTHING_TO_UNDO,
                    ErrorCode.NOTHING_TO_REDO,
                }, error
                continue
            if receipt.entry is not None:
                self.accepted.append(receipt.entry)
                continue
            self.duplicates += 1
            if client.connected:
                client.down.append(("ack", sent.seq))
        self.waiting = []

    def receive(self, sent: Sent, client: Client) -> Any:
        while True:
            who = sent.client, "user of " + sent.client, sent.seq, sent.base
            try:
                if sent.operation is not None:
                    return self.document.receive(*who, sent.operation.components, client.unit, self.now())
                if sent.kind == "restore":
                    return self.document.restore_content(*who, 0, "", self.now())
                return self.document.undo(*who, sent.kind, self.now())
            except OutdatedRevision as error:
                self.widened += 1
                self.document.prepend(error.base + 1, self.stored()[error.base : error.floor])

    def now(self) -> float:
        self.time += self.choices.choice([0.1, 0.1, 5.0])
        return self.time

    def commit(self, *, crash: bool = False) -> None:
        if self.accepted:
            self.store.append(encode_entries(self.accepted))
            self.revisions.append(self.document.revision)
        if crash:  # between commit and ack
            self.crash()
            return
        base = self.document.revision - len(self.accepted)
        for client in self.clients.values():
            if client.connected:
                client.down.extend(("entry", base + at + 1, entry) for at, entry in enumerate(self.accepted))
        self.accepted = []
        self.document.trim()
        if self.choices.random() < 0.1:
            self.snapshot = (self.document.revision, self.document.snapshot())

    def knows(self, sent: Sent) -> bool:
        """Whether it was accepted."""
        return any(
            (done.client, done.seq, done.kind) == (sent.client, sent.seq, sent.kind)
            and (sent.operation is None or done.digest == sent.operation.digest)
            for done in self.stored() + self.accepted
        )

    def stored(self) -> list[Entry]:
        return [entry for body in self.store for entry in decode_entries(body)]

    def join(self, client: Client) -> None:
        """Between turns, so what the document has is in the store."""
        self.turn()
        self.commit()
        client.connected = True
        for at, entry in enumerate(self.stored()[client.revision :]):
            client.down.append(("entry", client.revision + at + 1, entry))
        while client.down:
            client.receive()
        if client.in_flight is not None or client.asked:
            # Not committed: again, either as it was or as it is now.
            assert self.document.last_seq(client.name) < client.seq
            if client.sent is not None and self.choices.random() < 0.5:
                client.up.append(client.sent)
            else:
                client.submit()


def simulate(seed: int, steps: int = 800, most_clients: int = 8) -> Server:
    choices = random.Random(seed)
    server = Server(choices)
    for number in range(choices.randint(2, most_clients)):
        name = f"client{number}"
        server.clients[name] = Client(name, choices.choice(["utf-16", "unicode"]), choices)
    clients = list(server.clients.values())
    for client in clients:
        server.join(client)
    copies: list[Sent] = []
    for _ in range(steps):
        client = choices.choice(clients)
        can_redo = server.document.undo_depth(client.name)[1] > 0
        match choices.choices(
            [
                "edit",
                "send",
                "ask",
                "up",
                "down",
                "turn",
                "commit",
                "copy",
                "lose",
                "join",
                "crash",
                "crash after commit",
            ],
            [5, 10, 4, 14, 20, 6, 6, 1.5, 0.4, 4, 0.1, 0.1],
        )[0]:
            case "edit" if not can_redo or choices.random() < 0.2:  # an edit ends what could be done again
                client.edit()
            case "send":
                client.send()
            case "ask":
                client.ask(choices.choices(["undo", "redo", "restore"], [6, 10 if can_redo else 1, 0.3])[0])
            case "up" if client.up:
                copies.append(client.up[0])
                server.waiting.append(client.up.popleft())
            case "down" if client.down:
                client.receive()
            case "turn":
                server.turn()
            case "commit":
                server.turn()
                server.commit()
            case "copy" if copies:
                # What was accepted comes once more, at once or long after. (What was refused does not: a connection
                # delivers once, and a client's operations count on its newest connection only.)
                sent = choices.choice(copies[-10:])
                if server.knows(sent):
                    server.waiting.append(sent)
            case "lose":
                client.lose()
            case "join" if not client.connected:
                server.join(client)
            case "crash":
                server.crash()
            case "crash after commit":
                server.turn()
                server.commit(crash=True)
    settle(server, clients)
    check(server, clients)
    return server


def settle(server: Server, clients: list[Client]) -> None:
    """Until nothing is under way."""
    while any(
        not client.connected or client.in_flight or client.asked or client.pending or client.up or client.down
        for client in clients
    ):
        for client in clients:
            if not client.connected:
                server.join(client)
            client.send()
            server.waiting.extend(client.up)
            client.up.clear()
        server.turn()
        server.commit()
        for client in clients:
            while client.down:
                client.receive()


def check(server: Server, clients: list[Client]) -> None:
    text = ""
    entries = server.stored()
    for entry in entries:
        points = oracle.apply(text, entry.in_unit("unicode").components, "unicode")
        text = oracle.apply(text, entry.operation.components, "utf-16")
        assert text == points
    assert server.document.content() == text
    for client in clients:
        assert client.text == client.confirmed == text
        committed = [entry.seq for entry in entries if entry.client == client.name]
        assert committed == sorted(client.acknowledged)
        assert not client.refused & set(committed)
    depths = [server.document.undo_depth(client.name) for client in clients]
    server.start()
    assert server.document.content() == text
    assert [server.document.undo_depth(client.name) for client in clients] == depths


@pytest.mark.parametrize("seed", seeds(60, 200))
def test_everybody_converges(seed: int) -> None:
    simulate(seed)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_ten_thousand_short_schedules() -> None:
    """Each tenth with up to 32 clients. SYNCLINE_FUZZ_SCHEDULES says how many; `make test-all` does more, from elsewhere."""
    start = SEED + 10_000
    for seed in range(start, start + SCHEDULES):
        many = seed % 10 == 0
        try:
            simulate(seed, 200 if many else 70, 32 if many else 5)
        except Exception as error:
            raise AssertionError(f"schedule {seed}") from error


def test_the_simulation_is_not_idle() -> None:
    """What it claims to do does happen: commits, refusals, duplicates, widening, forgetting, several units."""
    servers = [simulate(1000 + seed, steps=1500) for seed in range(10)]
    entries = [entry for server in servers for entry in server.stored()]
    assert len(entries) > 300
    kinds = [entry.kind for entry in entries]
    assert kinds.count("undo") > 30 and kinds.count("redo") > 5 and "restore" in kinds
    assert sum(len(client.refused) for server in servers for client in server.clients.values()) > 10
    assert sum(server.duplicates for server in servers) > 10
    assert sum(server.widened for server in servers) > 10
    assert any(entry.unicode_operation is not None for entry in entries)
    assert any(server.document.has_forgotten for server in servers)
    assert any(server.snapshot is not None for server in servers)
