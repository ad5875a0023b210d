"""A document server and a bad network in one thread, for the client's document handles. The core is the real one.

What a network may do it does when told: delay, lose everything on a connection, let what was sent on a lost connection
arrive late (after the client has come back), repeat pushes. What a server may do: refuse, be unavailable, drop the
document's session, cut the list of missing operations, take the client's name away.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import Any

from syncline.client.documents import Document as Handle
from syncline.client.errors import ClientError, ConnectionLost, RequestError
from syncline.core.document import Document, Entry
from syncline.core.errors import SynclineError

Answer = Callable[[Any, ClientError | None], None]


class Server:
    """One document. ``entries`` is its whole history."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.core = Document("doc", "g1")
        self.entries: list[Entry] = []
        self.sessions: list[Link] = []
        self.refuse = 0.0
        self.unavailable = 0.0
        self.slow_commits = False  # accepted operations wait for ``commit``; refusals are told at once
        self.announced = 0
        self.conflicts = 0  # resubmissions that were other than what had arrived
        self.ghosts: deque[tuple[Link, str, dict[str, Any]]] = deque()

    @property
    def revision(self) -> int:
        return len(self.entries)

    def recreate(self, text: str) -> None:
        """Somebody deleted the document and made it anew."""
        self.core = Document("doc", self.core.generation + "'")
        self.entries = []
        self.announced = 0
        if text:
            self.submit("creator", "creator", 1, 0, [text])
        for link in self.sessions:
            link.joined = None
            link.push("document:resync", {"document": "doc", "reason": "made anew"})

    def submit(self, client: str, user: str, seq: int, revision: int, operation: object) -> bool:
        receipt = self.core.receive(client, user, seq, revision, operation, "unicode")
        if receipt.entry is None:
            return False
        self.entries.append(receipt.entry)
        if not self.slow_commits:
            self.commit()
        return True

    def commit(self) -> None:
        """What was accepted is on disk: everybody hears of it."""
        since, self.announced = self.announced, self.revision
        if since < self.revision:
            for link in self.sessions:
                if link.joined is not None:
                    link.push("document:operation", self.operations(since, self.revision))

    def operations(self, since: int, until: int) -> dict[str, Any]:
        described = [
            {"client": entry.client, "seq": entry.seq, "operation": entry.in_unit("unicode").components}
            for entry in self.entries[since:until]
        ]
        return {"document": "doc", "revision": until, "operations": described}

    def handle(self, link: Link, event: str, data: dict[str, Any], answer: Answer | None) -> None:
        if event == "document:join":
            self.join(link, data, answer)
        elif event == "document:operation":
            self.operation(link, data)

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
        # A long list is cut: the rest follows as pushes.
        first = self.rng.randint(1, 3) if self.rng.random() < 0.3 else 1000
        at = min(data["revision"] + first, self.revision) if returning else self.revision
        link.joined = client
        result = {
            "document": "doc",
            "generation": self.core.generation,
            "revision": at,
            "role": "editor",
            "unit": "unicode",
            "client": client,
            "seq": self.core.last_seq(client),
            "text": None if returning else self.core.text(),
            "operations": self.operations(data["revision"], at)["operations"] if returning else None,
            "collaborators": [],
        }
        link.reply(answer, result, None)
        if at < self.revision:
            link.push("document:operation", self.operations(at, self.revision))

    def operation(self, link: Link, data: dict[str, Any]) -> None:
        code = ""
        if link.joined is None:
            code = "not_joined"
        elif self.rng.random() < self.refuse:
            code = "document_too_large"
        elif self.rng.random() < self.unavailable:
            code = "document_unavailable"
        else:
            try:
                if not self.submit(link.joined, link.user, data["seq"], data["revision"], data["operation"]):
                    ack = {"document": "doc", "seq": data["seq"], "revision": self.revision}
                    link.push("document:ack", ack)
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
        server.sessions.append(self)

    def push(self, event: str, data: dict[str, Any]) -> None:
        if not self.gone:
            self.down.append(lambda peer: peer.handle._push(event, data))

    def reply(self, answer: Answer, result: Any, error: ClientError | None) -> None:
        if not self.gone:
            self.down.append(lambda _: answer(result, error))


class Peer:
    """A client with one document handle; stands where ``Client`` and its ``Connection`` stand."""

    def __init__(self, server: Server, user: str) -> None:
        self.server = server
        self.user = user
        self.state = "open"
        self.connection = self
        self.link: Link | None = Link(server, user)
        self.delayed: list[Callable[[], object]] = []
        self.handle = Handle(self, "doc", hold_limit=10_000, pending_limit=100_000, operation_limit=6)  # type: ignore[arg-type]
        self.mirror = ""  # kept by the changes alone
        self.gone_tokens: set[str] = set()  # taken out again by a refusal or a reset
        self.refused: set[str] = set()  # what the handle said was refused
        self.handle.on_change(self._mirror)
        self.handle.on_refused(
            lambda operation, _: self.refused.update(*(part for part in operation.components if isinstance(part, str)))
        )
        self.handle._rejoin()

    def _mirror(self, operation: Any, origin: str) -> None:
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
    def post(self, event: str, data: Any = None, answer: Answer | None = None) -> None:
        if self.link is not None:
            self.link.up.append((event, data, answer))

    def later(self, action: Callable[[], object], attempt: int = 1) -> None:
        self.delayed.append(action)

    def _forget_document(self, handle: Handle) -> None:
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
            if event == "document:operation":
                self.server.ghosts.append((link, event, data))
            if answer is not None:
                answer(None, ConnectionLost("lost"))
        self.delayed.clear()
        self.handle._state.detach()

    def come_back(self, user: str | None = None) -> None:
        if self.link is None:
            self.user = user or self.user
            self.link = Link(self.server, self.user)
            self.handle._rejoin()

    def run_delayed(self) -> None:
        actions, self.delayed = self.delayed, []
        for action in actions:
            action()
