"""server.session: the table of states, and fuzzing with random and mutated frames."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import msgspec
import pytest

from syncline.server.app import App
from syncline.server.protocol import handlers
from syncline.server.sessions.connection import Connection
from syncline.server.sessions.ids import new_id
from syncline.server.sessions.session import TRANSITIONS, InvalidTransition, Session, State, Transition
from tests.scale import seeds
from tests.serving import Serve, leak_free
from tests.waiting import until

from .sink import Sink
from .wsclient import dial


def test_every_pair_of_state_and_transition() -> None:
    session = Session(None, "json")  # type: ignore[arg-type]
    for state in State:
        for transition in Transition:
            session.state = state
            target = TRANSITIONS.get((state, transition))
            if target is None:
                with pytest.raises(InvalidTransition):
                    session.step(transition)
                assert session.state is state
            else:
                session.step(transition)
                assert session.state is target
    assert all(TRANSITIONS[state, Transition.LOST] is State.CLOSED for state in State if state is not State.CLOSED)
    reachable, seen = {State.CONNECTING}, set[State]()
    while reachable - seen:
        seen |= reachable
        reachable |= {target for (state, _), target in TRANSITIONS.items() if state in seen}
    assert reachable == set(State)


def test_the_documented_events_are_the_handled_ones(pytestconfig: pytest.Config) -> None:
    text = (pytestconfig.rootpath / "docs" / "protocol.md").read_text()
    for event, handler in handlers.table().items():
        assert f'"{event}"' in text or f"`{event}`" in text, event
        assert f'"{handler.reply}"' in text or f"`{handler.reply}`" in text, handler.reply


ROOMS = ["r", "r", "s", "", "x" * 200, "\x00", 5, None]
NAMES = ["d", "d", "e", "", "\n", 7, None]


def random_data(rng: random.Random) -> Any:
    """Requests that are nearly right: every field may be right, missing or wrong."""
    wild = [None, True, -1, 0, 1, 2**31, 2**53, 2**70, 0.5, "", "x", "😀", [], {}, [[]], {"a": None}]
    fields: dict[str, list[Any]] = {
        "room": ROOMS,
        "document": NAMES,
        "data": wild,
        "name": ["n", "", *wild],
        "history": [0, 1, 10**9, *wild],
        "recover": [{"offset": 0, "epoch": ""}, {"offset": 1}, *wild],
        "password": ["p", *wild],
        "role": ["owner", "member", "editor", "reader", None, "king"],
        "user": ["u", *wild],
        "status": ["online", "busy", *wild],
        "metadata": wild,
        "seq": [1, 2, 3, 4, 5, *wild],
        "revision": [0, 1, 2, 3, *wild],
        "operation": [
            ["x"],
            [1, "y"],
            [1, -1],
            ["a", -1],
            [5, "z"],
            [0],
            [-1, -1],
            [""],
            [2**40],
            [True],
            ["😀"],
            [1, "\ud83d"],
            {"type": "insert", "position": 0, "content": "q"},
            {"type": "delete", "position": 0, "length": 1},
            {"type": "insert", "position": -1, "content": 5},
            {"type": None},
            *wild,
        ],
        "anchor": [0, 1, *wild],
        "head": [0, 1, *wild],
        "unit": ["utf-16", "unicode", "utf-8", None],
        "client": ["c", "d", None, *wild],
        "generation": ["g", None, *wild],
        "token": [None, "x.y.z", *wild],
        "text": ["", "😀", *wild],
        "default_role": ["editor", "reader", "member", None, *wild],
        "resign": [True, False, *wild],
    }
    return {name: rng.choice(fields[name]) for name in fields if rng.random() < 0.6}


def random_frame(rng: random.Random, codec: str) -> bytes:
    events = [*handlers.table(), "no:such", "", 5]

    def envelope() -> Any:
        data = random_data(rng) if rng.random() < 0.9 else rng.choice([None, [], 1, "x"])
        made: dict[str, Any] = {"event": rng.choice(events), "data": data}
        if rng.random() < 0.7:
            made["id"] = rng.choice([0, 1, 5, -1, "x", 2**53, 1.5])
        return made

    value = envelope() if rng.random() < 0.8 else [envelope() for _ in range(rng.randrange(4))]
    try:
        frame = (msgspec.json if codec == "json" else msgspec.msgpack).encode(value)
    except (OverflowError, UnicodeEncodeError):
        return rng.randbytes(rng.randrange(30))
    if rng.random() < 0.3:  # mutate
        mutable = bytearray(frame)
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(mutable))
            mutable[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
            if not mutable:
                break
        frame = bytes(mutable)
    return frame if rng.random() < 0.95 else rng.randbytes(rng.randrange(60))


@pytest.mark.parametrize("seed", seeds(6, 60, 300))
async def test_random_and_mutated_frames(serve: Serve, seed: int) -> None:
    """Straight into the sessions of a real node: nothing but protocol errors, nothing logged as a fault, nothing left."""
    rng = random.Random(seed)
    async with serve(limits={"bad_requests_per_minute": 100_000, "message_bytes": 65_536}) as app:
        node = app.node
        for _ in range(3):
            session = node.session("json" if rng.random() < 0.5 else "msgpack", "")
            connection = Connection(new_id(), session.codec, Sink(), node.flusher, 2**26, session.overflowed)  # type: ignore[arg-type]
            session.opened(connection, None)
            if rng.random() < 0.9:
                session.receive(
                    (msgspec.json if session.codec == "json" else msgspec.msgpack).encode({"event": "auth"}), 0.0
                )
            for number in range(250):
                session.receive(random_frame(rng, session.codec), 0.0)
                if number % 20 == 0:
                    await asyncio.sleep(0)
            await idle(app, session)
            assert session.state in (State.OPEN, State.CONNECTING)
            node.flusher.flush()
            session.lost()
        # The node still works.
        async with dial(app.url, name="Ada") as ada:
            await ada.call("room:join", room="after")
            await ada.call("message:send", room="after", data=1)
            await ada.call("document:join", document="after", client="a")
            await ada.call("document:operation", document="after", seq=1, revision=0, operation=["x"])
        await leak_free(app)
        assert node.counters.errors["internal"] == 0


async def idle(app: App, session: Session) -> None:
    """Until the session has nothing in its inbox and no request waits."""
    await until(lambda: not session._waiting and not session._inbox)


@pytest.mark.parametrize("codec", ["json", "msgpack"])
async def test_random_bytes_over_a_socket(serve: Serve, codec: str) -> None:
    rng = random.Random(7)
    async with serve(limits={"bad_requests_per_minute": 100_000}) as app:
        async with dial(app.url, name="Ada", codec=codec) as client:
            for _ in range(300):
                frame = random_frame(rng, codec)
                if codec == "json":
                    await client.raw(frame.decode("utf-8", "replace"))
                else:
                    await client.raw(frame)
            await client.flushed()
        await leak_free(app)
