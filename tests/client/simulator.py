"""A document server of any type and a bad network in one thread, for the client's document handles. The core is the real one.

What a network may do it does when told: delay, lose everything on a connection, let what was sent on a lost connection
arrive late (after the client has come back), repeat pushes. What a server may do: refuse, be unavailable, drop the
document's session, take the client's name away; answer a join with the missing operations, part of them, composites,
a text with the pending edits, a text alone because the history is gone. Undo here is a plain list of inverses: what it
should give is the server's business, that everybody gets the same is the client's.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

from syncline.client.backoff import Backoff
from syncline.client.callbacks import AsyncCalls
from syncline.client.code_points import TEXT
from syncline.client.documents import Document
from syncline.client.errors import ClientError, ConnectionLost, RequestError
from syncline.client.text_document import TextDocument
from syncline.core.errors import SynclineError
from syncline.core.types import document_type, open_document

Answer = Callable[[Any, ClientError | None], None]


class Step(NamedTuple):
    """What an undo or redo has to do, as it applied to the text of ``revision``."""

    revision: int
    operation: Any


class Server:
    """One document. ``entries`` is its whole history."""

    def __init__(self, rng: random.Random, name: str = "text") -> None:
        self.rng = rng
        self.name = name
        self.kind = TEXT if name == "text" else document_type(name)
        self.core = open_document(name, "doc", "g1")
        self.entries: list[Any] = []
        self.sessions: list[Link] = []
        self.refuse = 0.0
        self.unavailable = 0.0
        self.slow_commits = False  # accepted operations wait for ``commit``; refusals are told at once
        self.announced = 0
        self.contents = [self.content()]  # at each revision
        self.kinds: list[str] = []  # of each entry
        self.steps: dict[str, dict[str, list[Step]]] = {}
        self.gone: set[str] = set()  # taken out by an undo, redo or restore
        self.composites = self.whole_texts = self.pruned = 0.0  # how often a join is answered so
        self.answers: list[str] = []  # to joins of returning clients
        self.requests: list[str] = []  # undo, redo, restore that were done
        self.reports: list[dict[str, Any]] = []  # of clients whose text was another one
        self.conflicts = 0  # resubmissions that were other than what had arrived
        self.ghosts: deque[tuple[Link, str, dict[str, Any]]] = deque()

    @property
    def revision(self) -> int:
        return len(self.entries)

    def content(self) -> Any:
        return copy.deepcopy(self.core.content())

    def op(self, entry: Any) -> Any:
        """Its operation, as clients here count."""
        return entry.in_unit("unicode") if self.name == "text" else entry.operation

    def hash_of(self, content: Any) -> int:
        return self.kind.hash(self.kind.parse_content(content))

    def recreate(self, text: str) -> None:
        """Somebody deleted the document and made it anew."""
        self.core = open_document(self.name, "doc", self.core.generation + "'")
        self.entries, self.contents, self.kinds, self.steps = [], [self.content()], [], {}
        self.announced = 0
        if text:
            self.submit("creator", "creator", 1, 0, [text])
        for link in self.sessions:
            link.joined = None
            link.push("document:resync", {"document": "doc", "reason": "made anew"})

    def submit(self, client: str, user: str, seq: int, revision: int, operation: object, kind: str = "edit") -> bool:
        receipt = self.core.receive(client, user, seq, revision, copy.deepcopy(operation), self.kind.units[0])
        if receipt.entry is None:
            return False
        self.entries.append(receipt.entry)
        self.kinds.append(kind)
        before, after = self.contents[-1], self.content()
        self.contents.append(after)
        inverse = Step(self.revision, self.kind.invert(self.op(receipt.entry), self.kind.parse_content(before)))
        steps = self.steps.setdefault(client, {"undo": [], "redo": []})
        steps["redo" if kind == "undo" else "undo"].append(inverse)
        if kind in ("edit", "restore"):
            steps["redo"] = []
        if kind != "edit":
            if self.name == "text":
                self.gone |= set(before) - set(after)
            self.requests.append(kind)
        if not self.slow_commits:
            self.commit()
        return True

    def request(self, link: Link, kind: str, data: dict[str, Any], answer: Answer | None) -> None:
        """An undo, redo or restore."""
        try:
            client, seq = self.check(link), data["seq"]
            done = [
                number for number, entry in enumerate(self.entries, 1) if (entry.client, entry.seq) == (client, seq)
            ]
            if not done:
                self.submit(
                    client, link.user, seq, self.revision, self.kind.describe(self.made(client, kind, data)), kind
                )
                done = [self.revision]
            steps = self.steps.get(client, {"undo": [], "redo": []})
            depths = {which: len(found) for which, found in steps.items()}
            result, error = {"document": "doc", "revision": done[0], "seq": seq, **depths}, None
        except SynclineError as fault:
            result, error = {}, RequestError(fault.code.value)
        except RequestError as fault:
            result, error = {}, fault
        if answer is not None:
            link.reply(answer, result or None, error)

    def made(self, client: str, kind: str, data: dict[str, Any]) -> Any:
        if kind == "restore":
            before, after = (self.kind.parse_content(self.contents[at]) for at in (-1, data["to"]))
            return self.kind.diff(before, after)
        steps = self.steps.get(client, {}).get(kind, [])
        if not steps:
            raise RequestError(f"nothing_to_{kind}")
        revision, operation = steps.pop()
        for entry in self.entries[revision:]:
            operation = self.kind.transform(operation, self.op(entry), "left")
        return operation

    def check(self, link: Link) -> str:
        """Which client it is; raises RequestError for a trouble."""
        if link.joined is None:
            raise RequestError("not_joined")
        if self.rng.random() < self.refuse:
            raise RequestError("document_too_large")
        if self.rng.random() < self.unavailable:
            raise RequestError("document_unavailable")
        return link.joined

    def commit(self) -> None:
        """What was accepted is on disk: everybody hears of it."""
        since, self.announced = self.announced, self.revision
        if since < self.revision:
            for link in self.sessions:
                if link.joined is not None:
                    link.push("document:operation", self.operations(since, self.revision))

    def operations(self, since: int, until: int) -> dict[str, Any]:
        described = []
        for entry, kind in zip(self.entries[since:until], self.kinds[since:until], strict=True):
            one = {"client": entry.client, "seq": entry.seq, "operation": self.described(entry)}
            described.append(one if kind == "edit" else one | {"kind": kind})
        frame = {"document": "doc", "revision": until, "operations": described}
        return frame | {"hash": self.hash_of(self.contents[until])} if self.rng.random() < 0.4 else frame

    def described(self, entry: Any) -> Any:
        return copy.deepcopy(self.kind.describe(self.op(entry)))

    def composed(self, since: int, until: int, client: str) -> list[dict[str, Any]]:
        """Runs of the others' operations as one."""
        described: list[dict[str, Any]] = []
        for number in range(since, until):
            entry = self.entries[number]
            if entry.client == client:
                described += self.operations(number, number + 1)["operations"]
            elif described and "count" in described[-1]:
                run = self.kind.parse(described[-1]["operation"])
                described[-1]["operation"] = self.kind.describe(self.kind.compose(run, self.op(entry)))
                described[-1]["count"] += 1
            else:
                described.append({"operation": self.described(entry), "count": 1})
        return described

    def carried(self, since: int, client: str, pending: list[dict[str, Any]]) -> list[Any]:
        """The pending edits as they apply at the head, without what is committed."""
        waiting = [(item.get("seq"), self.kind.parse(copy.deepcopy(item["operation"]))) for item in pending]
        for entry in self.entries[since:]:
            if waiting and (entry.client, entry.seq) == (client, waiting[0][0]):
                del waiting[0]
                continue
            other = self.op(entry)
            moved = []
            for seq, operation in waiting:
                moved.append((seq, self.kind.transform(operation, other, "left")))
                other = self.kind.transform(other, operation, "right")
            waiting = moved
        return [self.kind.describe(operation) for _, operation in waiting]

    def handle(self, link: Link, event: str, data: dict[str, Any], answer: Answer | None) -> None:
        if event == "document:join":
            self.join(link, data, answer)
        elif event == "document:operation":
            self.operation(link, data)
        else:
            self.request(link, event.removeprefix("document:"), data, answer)

    def join(self, link: Link, data: dict[str, Any], answer: Answer | None) -> None:
        assert answer is not None
        self.commit()  # a join waits for the end of the commit that is under way
        if self.rng.random() < self.unavailable:
            link.reply(answer, None, RequestError("document_unavailable"))
            return
        client = data["client"]
        if self.core.client_user(client) not in (None, link.user):
            link.reply(answer, None, RequestError("client_taken"))
            return
        returning = data.get("generation") == self.core.generation and data.get("revision") is not None
        if returning and data["revision"] > self.revision:
            link.reply(answer, None, RequestError("revision_unknown"))
            return
        link.joined = client
        if link.cuts:
            self.forget_ghosts(client)
        if "diverged" in data:
            self.reports.append(data["diverged"])
        result: dict[str, Any] = {
            "document": "doc",
            "generation": self.core.generation,
            "revision": self.revision,
            "role": "editor",
            "unit": self.kind.units[0],
            "client": client,
            "seq": self.core.last_seq(client),
            "text": None,
            "operations": None,
            "collaborators": [],
        }
        result |= {which: len(found) for which, found in self.steps.get(client, {}).items()}
        if not returning:
            result |= self.core.state()
            self.forget_ghosts(client)
        elif self.rng.random() < self.pruned and "pending" not in data:
            link.reply(answer, None, RequestError("history_trimmed"))
            return
        elif self.rng.random() < self.pruned:
            result |= {**self.core.state(), "rebased": True}
            self.forget_ghosts(client)
            self.answers.append("rebased")
        elif self.rng.random() < self.whole_texts and data.get("pending"):
            result |= {**self.core.state(), "pending": self.carried(data["revision"], client, data["pending"])}
            self.forget_ghosts(client)
            self.answers.append("text")
        else:
            self.missing(link, data, result, answer)
            return
        link.reply(answer, result, None)

    def missing(self, link: Link, data: dict[str, Any], result: dict[str, Any], answer: Answer) -> None:
        """The operations since; a long list is cut, the rest follows as pushes."""
        since = data["revision"]
        first = self.rng.randint(1, 3) if self.rng.random() < 0.3 else 1000
        at = min(since + first, self.revision)
        if self.rng.random() < self.composites and "pending" in data:
            result["operations"] = self.composed(since, at, data["client"])
            if any(entry.get("count", 1) > 1 for entry in result["operations"]):
                self.answers.append("composites")
        else:
            result["operations"] = self.operations(since, at)["operations"]
        result |= {"revision": at, "hash": self.hash_of(self.contents[at])} | (
            {"more": True} if at < self.revision else {}
        )
        link.reply(answer, result, None)
        if at < self.revision:
            link.push("document:operation", self.operations(at, self.revision))

    def forget_ghosts(self, client: str) -> None:
        """Joining replaces the session of another connection: what that one still sends is refused. (For a client that
        goes on under the same number it would not matter, which is what the late arrivals here are for.)"""
        self.ghosts = deque(ghost for ghost in self.ghosts if ghost[0].joined != client)

    def operation(self, link: Link, data: dict[str, Any]) -> None:
        code = ""
        try:
            client = self.check(link)
            if not self.submit(client, link.user, data["seq"], data["revision"], data["operation"]):
                link.push("document:ack", {"document": "doc", "seq": data["seq"], "revision": self.revision})
        except RequestError as error:
            code = error.code
        except SynclineError as error:
            code = error.code.value
            self.conflicts += code == "sequence_conflict"
        if code:
            refusal = {"code": code, "message": "", "event": "document:operation"}
            link.push("error", {**refusal, "document": "doc", "seq": data["seq"]})


class Link:
    """One connection of one client: two queues, each in order."""

    def __init__(self, server: Server, user: str) -> None:
        self.user = user
        self.joined: str | None = None
        self.up: deque[tuple[str, dict[str, Any], Answer | None]] = deque()
        self.down: deque[Callable[[Peer], None]] = deque()
        self.gone = False
        self.cuts = False  # what is in flight may be cut, and is another operation of the same number then
        server.sessions.append(self)

    def push(self, event: str, data: dict[str, Any]) -> None:
        if not self.gone:
            self.down.append(lambda peer: peer.handle._push(event, data))

    def reply(self, answer: Answer, result: Any, error: ClientError | None) -> None:
        if not self.gone:
            self.down.append(lambda _: answer(result, error))


class Ticks:
    """The clock of a client to whom answers come slowly now and then: it moves as it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 0.3
        return self.now


class Peer:
    """A client with one document handle; stands where ``Client`` and its ``Connection`` stand."""

    def __init__(self, server: Server, user: str) -> None:
        self.server = server
        self.user = user
        self.state = "open"
        self.connection = self
        self._calls = AsyncCalls(1000)
        self.options = SimpleNamespace(clock=Ticks(), request_timeout=30.0, backoff=Backoff())
        self.is_writable = True
        self.message_bytes = 1_048_576
        self.link: Link | None = Link(server, user)
        self.delayed: list[Callable[[], object]] = []
        limits = {
            "hold_limit": 10_000,
            "pending_limit": 4_194_304,
            "operation_limit": 6 if server.name == "text" else 150,
        }
        self.handle: Any = (
            TextDocument(self, "doc", **limits)  # type: ignore[arg-type]
            if server.name == "text"
            else Document(self, "doc", server.kind, **limits)  # type: ignore[arg-type]
        )
        self.mirror: Any = self.handle.content  # kept by the changes alone
        self.gone_tokens: set[str] = set()  # taken out again by a refusal or a reset
        self.refused: set[str] = set()  # what the handle said was refused
        self.handle.on_change(self._mirror)
        self.handle.on_refused(self._refused)
        self.handle._rejoin()

    def _refused(self, operation: Any, code: str) -> None:
        if self.server.name == "text":
            self.refused.update(*(part for part in operation.components if isinstance(part, str)))

    def _mirror(self, operation: Any, origin: str) -> None:
        if self.server.name != "text":
            kind = self.server.kind
            content = kind.parse_content(copy.deepcopy(self.mirror))
            self.mirror = copy.deepcopy(kind.show(kind.apply(content, kind.parse(operation))))
            return
        rest, out = self.mirror, ""
        for part in operation.components:
            if isinstance(part, str):
                out += part
            elif part > 0:
                out, rest = out + rest[:part], rest[part:]
            else:
                if origin in ("refused", "reset"):
                    self.gone_tokens |= set(rest[:-part])
                rest = rest[-part:]
        self.mirror = out + rest

    # As Connection and Client ------------------------------------------------------------------------------------------
    def post(self, event: str, data: Any = None, answer: Answer | None = None) -> bool:
        if self.link is not None:
            self.link.up.append((event, data, answer))
        return self.link is not None

    def later(self, action: Callable[[], object], attempt: int = 1, error: ClientError | None = None) -> None:
        self.delayed.append(action)

    def _forget(self, handle: Document) -> None:
        raise AssertionError(f"the handle gave up: {handle.error!r}")

    # What the network does -----------------------------------------------------------------------------------------------
    def step_up(self) -> bool:
        if self.link is None or not self.link.up:
            return False
        self.server.handle(self.link, *self.link.up.popleft())
        return True

    def step_down(self, twice: bool = False) -> bool:
        if self.link is None or not self.link.down:
            return False
        message = self.link.down.popleft()
        message(self)
        return True

    def lose(self) -> None:
        """The connection breaks. Operations on their way may still arrive, later than the next join."""
        link, self.link = self.link, None
        if link is None:
            return
        link.gone = True
        self.server.sessions.remove(link)
        for event, data, answer in link.up:
            if event in ("document:operation", "document:undo", "document:redo", "document:restore"):
                self.server.ghosts.append((link, event, data))
            if answer is not None:
                answer(None, ConnectionLost("lost"))
        self.delayed.clear()
        self.handle._state.detach()

    def come_back(self, user: str | None = None) -> None:
        if self.link is None:
            self.user = user or self.user
            self.link = Link(self.server, self.user)
            self.message_bytes = self.server.rng.choice((16, 32, 1_048_576))  # it may take less than it did
            self.link.cuts = self.message_bytes < 1_048_576
            self.handle._rejoin()

    def run_delayed(self) -> None:
        actions, self.delayed = self.delayed, []
        for action in actions:
            action()
