"""Work in a thread: whose turn it is, what is refused, and what nobody wants any more."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from syncline.core.errors import ErrorCode, SynclineError
from syncline.server.app import App
from syncline.server.limits import fair_thread
from syncline.server.limits.fair_thread import FairThread, Key, Steps
from tests.loglines import LogLines
from tests.serving import serving
from tests.waiting import until

from .wsclient import dial


class Held:
    """A thread that is busy until it is let go; what is asked of it meanwhile is noted in the order in which it is done."""

    def __init__(self, most: int = 1000) -> None:
        self.thread = FairThread(asyncio.get_running_loop(), "test", most)
        self.done: list[str] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self._go = threading.Event()

    async def hold(self) -> None:
        started = threading.Event()

        def wait() -> None:
            started.set()
            assert self._go.wait(30)

        self.tasks.append(asyncio.create_task(self.thread.run(("own",), wait, bounded=False)))
        await until(started.is_set)

    def ask(
        self, key: Key, name: str, check: Callable[[], object] = bool, *, bounded: bool = True
    ) -> asyncio.Task[None]:
        task = asyncio.create_task(self.thread.run(key, self.done.append, name, check=check, bounded=bounded))
        self.tasks.append(task)
        return task

    async def let_go(self) -> None:
        await asyncio.sleep(0)  # the tasks begin
        self._go.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def close(self) -> None:
        self._go.set()
        self.thread.close()


@pytest.fixture
async def held() -> AsyncIterator[Held]:
    made = Held()
    await made.hold()
    yield made
    made.close()


async def test_kinds_addresses_and_users_take_turns_and_each_ones_own_keep_their_order(held: Held) -> None:
    for number in range(3):
        for user in ("a", "b", "c"):
            held.ask(("create", "1.1.1.1", user), f"{user}{number}")
    held.ask(("create", "2.2.2.2", "d"), "other address")
    held.ask(("join", "1.1.1.1", "a"), "other kind")
    await held.let_go()
    # The addresses of one kind take turns with each other, after the kinds did.
    assert held.done[:4] == ["a0", "other kind", "other address", "b0"]
    assert held.done[4:] == ["c0", "a1", "b1", "c1", "a2", "b2", "c2"]


async def test_a_thousand_requests_of_many_users_cost_another_kind_one_turn(held: Held) -> None:
    for number in range(500):
        held.ask(("create", "", f"u{number}"), "x")
    held.ask(("join", "", "v"), "join")
    await held.let_go()
    assert held.done.index("join") <= 1


async def test_work_in_steps_lets_others_in_between_and_returns_its_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_thread, "SLICE_SECONDS", 0.0)
    held = Held()
    await held.hold()

    def steps(name: str) -> Steps[str]:
        for number in range(3):
            held.done.append(f"{name}{number}")
            yield
        return name

    long = [asyncio.create_task(held.thread.work(("ask", "", user), steps(user))) for user in ("a", "b")]
    await held.let_go()
    assert await asyncio.gather(*long) == ["a", "b"]
    assert held.done == ["a0", "b0", "a1", "b1", "a2", "b2"]
    held.close()


async def test_errors_of_the_work_reach_who_asked_and_the_thread_goes_on(held: Held) -> None:
    failing = asyncio.create_task(held.thread.run(("ask", "", "a"), int, "no number"))
    after = held.ask(("ask", "", "a"), "after")
    await held.let_go()
    with pytest.raises(ValueError, match="no number"):
        await failing
    await after
    assert held.done == ["after"]


@pytest.mark.parametrize(
    ("keys", "key", "code"),
    [
        ([("ask", "", "u")] * 2, ("ask", "", "u"), ErrorCode.RATE_LIMITED),  # a user's sixteenth
        ([("ask", "x", f"u{n}") for n in range(8)], ("ask", "x", "v"), ErrorCode.RATE_LIMITED),  # an address' quarter
        (
            [("ask", f"x{n}", "u") for n in range(16)],
            ("ask", "x1", "v"),
            ErrorCode.UNAVAILABLE,
        ),  # half of it for a kind
        ([(f"k{n % 3}", f"x{n}", "u") for n in range(32)], ("k1", "x1", "v"), ErrorCode.UNAVAILABLE),  # all
    ],
)
async def test_what_waits_has_bounds_and_what_is_refused_may_try_again(
    keys: list[Key], key: Key, code: ErrorCode
) -> None:
    held = Held(most=32)
    await held.hold()
    for one in keys:
        held.ask(one, "x")
    await until(lambda: held.thread.waiting == len(keys))
    with pytest.raises(SynclineError) as refused:
        await held.thread.run(key, bool)
    assert (refused.value.code, refused.value.retry_after) == (code, fair_thread.RETRY_SECONDS)
    assert held.thread.refused == 1
    own = held.ask(("own",), "own", bounded=False)  # never
    held.ask(("new", "an address that has nothing waiting", "v"), "let in")
    await held.let_go()
    await own
    assert (len(held.done), held.thread.waiting) == (len(keys) + 2, 0)
    held.close()


async def test_what_nobody_wants_any_more_is_not_done(held: Held) -> None:
    class Gone(Exception):
        pass

    def check() -> None:
        raise Gone

    gone = held.ask(("ask", "", "a"), "gone", check)
    cancelled = held.ask(("ask", "", "b"), "cancelled")
    kept = held.ask(("ask", "", "c"), "kept")
    await until(lambda: held.thread.waiting == 3)
    cancelled.cancel()
    await held.let_go()
    await kept
    assert isinstance(gone.exception(), Gone)
    assert held.done == ["kept"]


async def test_long_work_ends_between_two_steps_when_its_client_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_thread, "SLICE_SECONDS", 0.0)
    held = Held()
    there, closed, steps = True, threading.Event(), Counter[str]()

    def check() -> None:
        if not there:
            raise ConnectionError

    def endless() -> Steps[None]:
        try:
            while True:
                steps["done"] += 1
                yield
        finally:
            closed.set()

    work = asyncio.create_task(held.thread.work(("ask", "", "a"), endless(), check))
    await until(lambda: steps["done"] > 3)
    there = False
    with pytest.raises(ConnectionError):
        await work
    assert closed.is_set()
    held.close()


# -- as clients meet it ------------------------------------------------------------------------------------------------


async def test_a_join_with_a_password_does_not_wait_for_rooms_that_others_make(tmp_path: Path) -> None:
    """1,200 rooms with passwords, asked for by as many guests, held up the others for 12 s."""
    async with serving(tmp_path) as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await ada.call("room:create", room="r", password="right", default_role="member")
        done: list[str] = []
        hashing = app.node.hashing
        run = hashing.run

        async def noted(key: Key, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
            def noting() -> Any:
                done.append(key[0])
                return call(*args)

            return await run(key, noting, **options)

        hashing.run = noted  # type: ignore[method-assign, assignment]
        go, entered = threading.Event(), threading.Event()

        def busy() -> None:
            entered.set()
            assert go.wait(30)

        holding = asyncio.create_task(run(("own",), busy, bounded=False))
        await until(entered.is_set)
        async with contextlib.AsyncExitStack() as stack:
            guests = [await stack.enter_async_context(dial(app.url, name=f"G{n}")) for n in range(6)]
            asked = [
                asyncio.create_task(guest.call("room:create", room=f"g{n}", password="p"))
                for n, guest in enumerate(guests)
            ]
            await until(lambda: hashing.waiting == 6)
            join = asyncio.create_task(bob.call("room:join", room="r", password="right"))
            await until(lambda: hashing.waiting == 7)
            go.set()
            assert (await join)["role"] == "member"
            await asyncio.gather(holding, *asked)
        assert done.index("join") <= 1


async def test_wrong_passwords_of_one_room_and_address_are_limited_before_they_are_read(
    tmp_path: Path, log_lines: LogLines
) -> None:
    async with serving(tmp_path, limits={"wrong_passwords_per_minute": 3}) as app:
        async with dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob, dial(app.url) as eve:
            await ada.call("room:create", room="r", password="right", default_role="member")
            await ada.call("room:create", room="other", password="right", default_role="member")
            await eve.call("auth")
            for _ in range(3):
                assert await bob.error("room:join", room="r", password="wrong") == "password_wrong"
            # By whatever user and connection from there, and whether it is right or not: it is not looked at.
            for client in (bob, eve):
                for password in ("wrong", "right"):
                    assert await client.error("room:join", room="r", password=password) == "rate_limited"
            assert app.node.counters.wrong_passwords == 3
            assert await eve.error("room:join", room="other", password="wrong") == "password_wrong"
            assert (await bob.call("room:join", room="other", password="right"))["role"] == "member"
    told = log_lines("request refused: password_wrong")
    assert [one["room"] for one in told] == ["r", "r", "r", "other"]
    assert all(one["address"] == "127.0.0.1" and one["user"].startswith("guest-") for one in told)
    held = log_lines("request refused: rate_limited")
    assert len(held) == 4 and all("too many wrong passwords" in one["detail"] for one in held)
    assert not log_lines("right")


async def test_who_knows_the_password_is_never_held_up(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"wrong_passwords_per_minute": 1}) as app:
        async with dial(app.url, name="Ada") as ada:
            await ada.call("room:create", room="r", password="right", default_role="member")
            for number in range(4):
                async with dial(app.url, name=f"B{number}") as bob:
                    await bob.call("room:join", room="r", password="right")
        assert len(app.node.guesses) == 1


async def test_a_client_that_has_gone_is_not_blamed_for(tmp_path: Path) -> None:
    """History that was asked for by a connection which is gone is not looked up."""
    async with serving(tmp_path) as app, dial(app.url, name="Ada") as ada:
        await ada.call("document:join", document="d", client="a")
        await ada.call("document:operation", document="d", seq=1, revision=0, operation=["text"])
        go, entered = threading.Event(), threading.Event()

        def busy() -> None:
            entered.set()
            assert go.wait(30)

        holding = asyncio.create_task(app.node.threads.own(busy))
        await until(entered.is_set)
        async with dial(app.url, name="Bob") as bob:
            await bob.send({"event": "document:blame", "id": 9, "data": {"document": "d"}})
            await until(lambda: app.node.threads.history.waiting == 1)
        await until(lambda: len(app.node.sessions.connections) == 1)
        go.set()
        await holding
        await until(lambda: app.node.threads.history.waiting == 0)
        assert (await ada.call("document:blame", document="d"))["ranges"][0]["length"] == 4


async def test_a_large_document_is_loaded_beside_the_loop_and_others_are_not_held_up(tmp_path: Path) -> None:
    async with serving(tmp_path, "sqlite", documents={"idle_seconds": 0.0}) as app, dial(app.url, name="Ada") as ada:
        large = [["x" * 10] for _ in range(20_000)]
        await ada.call("document:create", document="large", type="json", content=large)
        await ada.call("document:create", document="small", type="json", content=[1])
        go, entered = threading.Event(), threading.Event()

        def busy() -> None:
            entered.set()
            assert go.wait(30)

        holding = asyncio.create_task(app.node.threads.loads.run(("own",), busy, bounded=False))
        await until(entered.is_set)
        waiting = [asyncio.create_task(dial_and_join(app, "large")) for _ in range(3)]
        await until(lambda: app.node.threads.loads.waiting == 1)  # once, however many ask
        assert (await ada.call("document:join", document="small"))["content"] == [1]
        go.set()
        await holding
        assert await asyncio.gather(*waiting) == [large] * 3


async def dial_and_join(app: App, document: str) -> Any:
    async with dial(app.url, name="Bob") as bob:
        return (await bob.call("document:join", document=document))["content"]
