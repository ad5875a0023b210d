"""What work beside the loop costs its user, and that it is not done again."""

from __future__ import annotations

import pytest

from syncline.server.documents import snapshots
from syncline.server.documents.snapshots import LABOUR
from syncline.server.limits.keyed_buckets import KeyedBuckets
from tests.serving import Serve
from tests.waiting import until

from .wsclient import Wire, dial


async def insert(client: Wire, seq: int, revision: int, count: int) -> None:
    operation = [{"p": [0], "li": seq}] * count
    await client.call("document:operation", document="d", seq=seq, revision=revision, operation=operation)


async def behind(ada: Wire, bob: Wire, count: int, components: int) -> None:
    """A JSON list to which Ada has added so much so often, and which Bob has joined."""
    await ada.call("document:create", document="d", type="json", content=[0])
    for client, name in ((ada, "a"), (bob, "b")):
        await client.call("document:join", document="d", client=name, type="json")
    for seq in range(1, count + 1):
        await insert(ada, seq, seq - 1, components)


async def test_work_costs_what_it_took(serve: Serve) -> None:
    """As much as it could cost must be there before it begins; what it did not take is given back."""
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        labours = app.node.documents.context.labours = KeyedBuckets(1.0, 1_000_000.0, 10, app.node.clock.monotonic)
        await behind(ada, bob, 10, 10)
        await ada.call("document:undo", document="d", seq=11, revision=10)
        for seq in range(1, 3):
            await insert(bob, seq, 10 + seq, 400)
        assert len(labours) == 0
        await ada.call("document:undo", document="d", seq=12, revision=13)
        assert len(labours) == 1 and labours.take(ada.user, 800_000.0) == 0.0, "planned are 200,000, and it took a few"
        assert await ada.error("document:undo", document="d", seq=13, revision=14) == "rate_limited"
        assert labours.take(ada.user, 200_000.0) > 0.0, "what was taken is not forgotten"


async def test_what_took_long_to_undo_is_stored_and_not_planned_again(serve: Serve) -> None:
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await behind(ada, bob, 2, 700)
        await insert(bob, 1, 2, 700)
        await ada.call("document:undo", document="d", seq=3, revision=3)
        assert app.node.counters.snapshots == 0
        await ada.call("document:undo", document="d", seq=4, revision=4)
        await until(lambda: app.node.counters.snapshots == 1)
        assert app.node.documents.live["d"].core.undo_labour > LABOUR


async def test_a_storm_of_undoing_stores_no_snapshot_each_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LABOUR", 1)
    monkeypatch.setattr(snapshots, "BYTES", 10**9)
    async with serve() as app, dial(app.url, name="Ada") as ada, dial(app.url, name="Bob") as bob:
        await behind(ada, bob, 1, 10)
        await insert(bob, 1, 1, 10)
        for seq in range(2, 12):
            kind = "undo" if seq % 2 == 0 else "redo"
            await ada.call(f"document:{kind}", document="d", seq=seq, revision=2 * seq - 2)
            await insert(bob, seq, 2 * seq - 1, 10)
        await until(lambda: app.node.counters.snapshots > 0)
        assert app.node.documents.live["d"].core.undo_labour > 10 and app.node.counters.snapshots == 1
