"""The SQLite backends pass the exported suites. What is the Database's own is in test_database.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from syncline.core.rooms.room import Publication
from syncline.server.backends.sqlite import SqliteBroker, SqliteEventLog, SqlitePresence, SqliteStore, open_database
from syncline.server.seams.outcome import Unavailable
from syncline.testing import (
    DurableBrokerSuite,
    DurableEventLogSuite,
    DurablePresenceSuite,
    DurableStoreSuite,
    ManualClock,
    Outcomes,
    Recorder,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "syncline.db"


class TestSqliteBroker(DurableBrokerSuite):
    @pytest.fixture
    def create(self, path: Path) -> Callable[..., SqliteBroker]:
        def create(**options: Any) -> SqliteBroker:
            return SqliteBroker(open_database(path, synchronous="normal"), **options)

        return create

    async def test_a_file_is_served_by_one_node(self, create: Callable[..., SqliteBroker]) -> None:
        first, second = create(), create()
        await first.start(Recorder())
        with pytest.raises(Unavailable, match=r"served by another process already \(pid \d+\)"):
            await second.start(Recorder())
        await first.close()
        await second.start(Recorder())
        await second.close()

    @pytest.mark.parametrize(
        "options", [{"history_size": 7}, {"history_bytes": 7 * 110}, {"history_size": 0}, {"history_seconds": 2.5}]
    )
    async def test_the_disk_holds_what_the_bounds_allow(
        self, create: Callable[..., SqliteBroker], path: Path, options: dict[str, int]
    ) -> None:
        broker = create(now=lambda: 1000.0, **options)
        await broker.start(Recorder())
        for turn in range(1, 8):
            outcomes = Outcomes()
            for number in range(turn):
                data = b"x" * (100 + number)
                at = 1000.0 * (number != 1) + turn - number / 10  # the second one's clock is far behind
                broker.publish(Publication("team", "ada", "Ada", at, "json", data), outcomes.done(number))
            await outcomes.wait()
            newest = await broker.history("team", None, 100)
            with closing(sqlite3.connect(path)) as connection:
                rows = connection.execute("SELECT offset, size FROM publications ORDER BY offset").fetchall()
                head = connection.execute("SELECT offset, floor, bytes FROM histories").fetchone()
            assert [offset for offset, _ in rows] == [publication.offset for publication in newest.publications]
            assert head == (newest.position.offset, newest.position.offset - len(rows), sum(size for _, size in rows))
        await broker.close()

    async def test_a_sweep_frees_the_disk(self, create: Callable[..., SqliteBroker], path: Path) -> None:
        clock = ManualClock(1000.0)
        broker = create(history_seconds=10.0, now=clock.time)
        await broker.start(Recorder())
        for turn in range(3):
            outcomes = Outcomes()
            for number in range(700):  # more rooms than one sweep looks at
                data = Publication(f"room{number}", "ada", "Ada", clock.time(), "json", b"1")
                broker.publish(data, outcomes.done(number))
            await outcomes.wait()
            clock.advance(4.0 if turn < 2 else 11.0)

        def stored() -> int:
            with closing(sqlite3.connect(path)) as connection:
                return int(connection.execute("SELECT count(*) FROM publications").fetchone()[0])

        assert stored() == 2100
        await broker.sweep()
        assert stored() == 600
        await broker.sweep()
        assert stored() == 0
        await broker.sweep()
        assert (await broker.history("room3", None, 10)).position.offset == 3
        await broker.close()

    async def test_idle_rooms_in_memory_are_bounded(self, create: Callable[..., SqliteBroker]) -> None:
        broker = create(max_histories=3)
        await broker.start(Recorder())
        for number in range(10):
            await broker.subscribe(f"room{number}")
        assert len(broker) == 10
        for number in range(10):
            await broker.unsubscribe(f"room{number}")
        assert len(broker) == 3
        for number in range(10):
            await broker.history(f"other{number}", None, 1)
        assert len(broker) == 3
        await broker.close()
        assert len(broker) == 0


class TestSqliteStore(DurableStoreSuite):
    @pytest.fixture
    def create(self, path: Path) -> Callable[[ManualClock], SqliteStore]:
        return lambda clock: SqliteStore(open_database(path, synchronous="normal"), clock)


class TestSqliteEventLog(DurableEventLogSuite):
    @pytest.fixture
    def create(self, path: Path) -> Callable[..., SqliteEventLog]:
        def create(clock: ManualClock, **options: Any) -> SqliteEventLog:
            return SqliteEventLog(open_database(path, synchronous="normal"), clock, **options)

        return create


class TestSqlitePresence(DurablePresenceSuite):
    @pytest.fixture
    def create(self, path: Path) -> Callable[[ManualClock], SqlitePresence]:
        return lambda clock: SqlitePresence(open_database(path, synchronous="normal"), clock)
