"""Services without a protocol: a caller in the process, with no socket, no envelope, no handler, does what a client can."""

from __future__ import annotations

from typing import Any

import pytest

from syncline.core import errors
from syncline.core.errors import SynclineError
from syncline.core.rooms.room import Position
from syncline.server.app import App
from syncline.server.documents.join import Joining
from syncline.server.node import Node
from syncline.server.rooms import delivery_proof
from syncline.server.rooms.messages import Targets
from syncline.server.seams.auth import Credentials
from syncline.server.sessions.connection import Connection
from syncline.server.sessions.ids import new_id
from syncline.server.sessions.session import Session, State
from tests.waiting import until

from .sink import Sink


class Answer:
    """Of one submission."""

    wanted = True

    def __init__(self, arrived: float) -> None:
        self.arrived = arrived
        self.result: Any = None
        self.error: SynclineError | None = None

    def reply(self, result: object) -> None:
        self.result = result

    def fail(self, error: SynclineError) -> None:
        self.error = error


async def caller(node: Node, user: str) -> tuple[Session, Sink]:
    """Somebody in this process; a session of no protocol."""
    session, taken = Session(node.sessions, "json"), Sink()
    connection = Connection(new_id(), "json", taken, node.flusher, 2**20, session.overflowed)
    session.opened(connection, None)
    await node.authentication.accept(session, Credentials(user, user.title()))
    assert session.state is State.OPEN
    return session, taken


async def test_rooms_and_messages(app: App) -> None:
    node, now = app.node, app.node.clock.monotonic
    rooms, messages = node.rooms, node.messages
    (ada, to_ada), (bob, to_bob) = await caller(node, "ada"), await caller(node, "bob")
    await rooms.create(ada, "vault", "s3cret", "reader")
    for name in ("", "a\nb", "x" * 129):
        with pytest.raises(SynclineError, match="a name has"):
            await rooms.join(ada, name)
        with pytest.raises(SynclineError, match="a name has"):
            await node.documents.create(ada, name, None, None, "text")
    with pytest.raises(SynclineError, match="wrong password"):
        await rooms.join(bob, "vault", "guess")
    joined = await rooms.join(bob, "vault", "s3cret")
    assert joined.membership.role == "reader" and joined.recovered is None and joined.occupancy["users"] == 1
    assert [one["user"] for one in (await rooms.join(ada, "vault")).members] == ["ada", "bob"]
    outcomes: list[tuple[Position | None, bool, Exception | None]] = []

    def done(*outcome: Any) -> None:
        outcomes.append(outcome)

    with pytest.raises(SynclineError, match="readers do not send"):
        messages.send(bob, "vault", b"1", done, arrived=now())
    for _ in range(2):
        messages.send(ada, "vault", b'{"text": "hi"}', done, arrived=now(), once="k")
    with pytest.raises(SynclineError):
        messages.send(ada, "vault", b'{"a": oops', done, arrived=now())
    await until(lambda: len(outcomes) == 2)
    assert [(position is not None and position.offset, again) for position, again, _ in outcomes] == [
        (1, False),
        (1, True),
    ]
    messages.tell(ada, "vault", "knock", b"true", None, arrived=now())
    messages.tell(ada, "vault", "whisper", b"true", Targets(("bob",)), arrived=now())
    assert rooms.set_status(bob, "busy", b'"deep work"') == ["vault"]
    for status, metadata in (("flying", b"1"), ("away", b"{bad"), ("away", b'"' + b"x" * 100_000 + b'"')):
        with pytest.raises(SynclineError, match=r"status|JSON|limited|invalid"):
            rooms.set_status(bob, status, metadata)
    await rooms.grant(ada, "vault", "bob", "member")
    messages.send(bob, "vault", b"2", done, arrived=now())
    await until(lambda: len(outcomes) == 3)
    members = {one["user"]: (one["role"], one["status"]) for one in await rooms.members(bob, "vault")}
    assert members == {"ada": ("owner", "online"), "bob": ("member", "busy")}
    await until(lambda: all(to_bob.has(event) for event in ("message:received", "knock", "whisper", "room:role")))
    assert not to_ada.has("whisper")
    again = await rooms.join(bob, "vault", since=Position(1, outcomes[0][0].epoch))  # type: ignore[union-attr]
    assert again.recovered and [one.offset for one in again.publications] == [2]
    begun = delivery_proof.begin(again.membership, again.publications, None, behind=again.behind)
    assert begun is not None and delivery_proof.check(bob, "vault", Position(1, ""), 0) is not None
    await rooms.leave(bob, "vault", resign=True)
    with pytest.raises(SynclineError, match="join the room"):
        await rooms.members(bob, "vault")
    for session in (ada, bob):
        session.lost()
    assert not node.sessions.connections and not node.hub.rooms
    assert len(node.arrivals) == node.arrivals.known == 0, "it has taken no place of a client with a socket"


async def test_a_callers_token_ends_too(app: App) -> None:
    """No ping wheel comes by a session without a socket."""
    session, taken = Session(app.node.sessions, "json"), Sink()
    session.opened(Connection(new_id(), "json", taken, app.node.flusher, 2**20, session.overflowed), None)
    clock, authentication = app.node.clock, app.node.authentication
    authentication._comes_by = 0.0
    await authentication.accept(
        session, Credentials("ada", "Ada", clock.time() + 0.2 - app.node.config.auth.leeway_seconds)
    )
    await until(lambda: taken.closed is not None)
    assert taken.closed == errors.TOKEN_EXPIRED.code


async def test_documents(app: App) -> None:
    node, now = app.node, app.node.clock.monotonic
    documents = node.documents
    (ada, to_ada), (bob, to_bob) = await caller(node, "ada"), await caller(node, "bob")
    await documents.create(ada, "notes", "Hello", None, "text")
    states: list[dict[str, Any]] = []
    with pytest.raises(SynclineError, match="invited"):
        await documents.join(bob, Joining("notes"), states.append)
    await documents.join(ada, Joining("notes", client="a"), states.append)
    await documents.grant(ada, "notes", "bob", "editor")
    await documents.join(bob, Joining("notes", client="b"), states.append)
    assert [(state["text"], state["role"]) for state in states] == [("Hello", "owner"), ("Hello", "editor")]

    async def submitted(session: Session, kind: Any, seq: int, revision: int, operand: Any = None) -> Any:
        answer = Answer(now())
        documents.submit(session, "notes", answer, kind, seq, revision, operand)
        await until(lambda: answer.result is not None or answer.error is not None)
        assert answer.error is None
        return answer.result

    await submitted(ada, "edit", 1, 0, [5, "!"])
    await submitted(bob, "edit", 1, 0, ["Oh. "])  # made at the same time
    documents.move_cursor(bob, "notes", 2, 3, 3)
    undone = await submitted(ada, "undo", 2, 2)
    assert undone["revision"] == 3 and undone["redo"] == 1
    assert (await documents.at(bob, "notes", 3)).content == "Oh. Hello"
    page = await documents.page(bob, "notes", 0, 10)
    assert [(entry.client, entry.kind) for entry in page.entries] == [("a", "edit"), ("b", "edit"), ("a", "undo")]
    assert [one.user for one in (await documents.blame(ada, "notes", 0, None, "utf-16")).ranges] == ["bob", None]
    answer = Answer(now())
    await documents.restore(bob, "notes", answer, 2, 3, 1)
    await until(lambda: answer.result is not None)
    assert node.documents.live["notes"].core.content() == "Hello!"
    await until(lambda: to_ada.has("document:cursor") and to_bob.has("document:operation"))
    documents.leave(bob, "notes")
    with pytest.raises(SynclineError, match="join the document"):
        documents.leave(bob, "notes")
    for session in (ada, bob):
        session.lost()
    assert not node.documents.live["notes"].collaborators


async def test_who_is_disconnected_is_told(app: App) -> None:
    session, taken = await caller(app.node, "ada")
    await app.node.rooms.join(session, "lobby")
    session.close(errors.DRAIN)
    assert taken.closed == errors.DRAIN.code
    session.lost()
    assert not app.node.hub.rooms
